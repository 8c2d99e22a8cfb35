#!/usr/bin/env python3
"""Keeps the street one-way: who may include whom, and what may stand where.

    check_layers.py ROOT          names each violation as file:line: what, rule; fails if any
    check_layers.py --self-test   plants every violation and sees it caught
"""

import pathlib
import re
import sys
import tempfile

# ---- the rules, as data --------------------------------------------------------------------------

# A folder, and the folders of ours that it may include besides itself.
LAYERS = {
    "graph": (),
    "ops": ("graph",),
    "autodiff": ("graph", "ops"),
    "proto": ("graph", "ops"),
    "runtime": ("graph", "ops", "autodiff", "proto"),
    "backends": ("graph", "ops", "runtime"),
}
# Outside the library: may include every layer, and nothing includes them.
OUTSIDE = ("cli", "bench", "examples", "tests")
# The public face of the library, for those outside alone; it shows no backend.
UMBRELLA = ("rondo.h", ("graph", "ops", "autodiff", "proto", "runtime"))

# A header that is not ours, and the files it may be included in (both from the start of the path).
TOOLS = r"(cli|bench|tests)/"
HOMES = (
    (r"(oneapi/|dnnl)", r"(backends/cpu|tests|bench)/", "oneDNN stays in backends/cpu"),
    (r"hwy/", r"(backends/cpu|tests)/", "Highway stays in backends/cpu"),
    (r"(\w+intrin|arm_neon|arm_sve)\.h", r"(backends/cpu/|bench/peak\.cc)", "intrinsics stay in backends/cpu"),
    (r"(cuda|cudnn|cublas|nvrtc|nccl)", r"(backends/cuda|tests)/", "CUDA stays in backends/cuda"),
    (r"(.*\.pb\.h$|google/protobuf/)", r"(proto/.*\.cc$|tests/consumer/)", "protobuf stays in proto/*.cc"),
    (r"nlohmann/", r"(proto/.*\.cc$|(cli|bench|tests)/)", "JSON stays in proto/*.cc and the tools"),
    (r"(unsupported/)?Eigen/", r"(backends/|.*\.cc$)", "Eigen stays out of public headers"),
    (r"Random123/", r"(backends/|.*\.cc$)", "Random123 stays out of public headers"),
    (r"(CLI|fmt|spdlog)/", TOOLS, "only tools print and parse; the library logs by a callback"),
    (r"catch2/", r"tests/", "only tests are tests"),
    (r"(omp\.h|cassert|assert\.h)", TOOLS, "the library has its own threads and errors"),
)

# What a library must not do to its user's program.
CALLS = re.compile(r"(?<![\w.>])(abort|exit|_Exit|quick_exit|terminate|assert)\s*\(")

# ---- reading a file ------------------------------------------------------------------------------

TOKENS = re.compile(
    r"""(?P<include>^[ \t]*\#[ \t]*include[ \t]*(?P<target><[^>\n]*>|"[^"\n]*"))
      | (?P<skip> //(?:\\\n|[^\n])* | /\*.*?\*/
                | \bR"(?P<mark>[^()\s\\"]{0,16})\(.*?\)(?P=mark)"
                | "(?:\\.|[^"\\\n])*" | (?<![0-9a-zA-Z_])'(?:\\.|[^'\\\n])+' )""",
    re.M | re.S | re.X,
)


def read(text):
    """Returns [(line, spelling)] of the includes, and the code without comments and literals."""
    includes = []

    def blank(match):
        if match["include"]:
            line = text.count("\n", 0, match.start("target")) + 1
            includes.append((line, match["target"]))
        return "\n" * match[0].count("\n")

    return includes, TOKENS.sub(blank, text)


def folder_of(path):
    return path.split("/")[0] if "/" in path else ""


# ---- checking ------------------------------------------------------------------------------------


def check_include(path, spelling, exists):
    """Yields (what, rule) for one include of a file; `exists` says what is in the repository."""
    target, quoted = spelling[1:-1], spelling[0] == '"'
    folder = folder_of(path)
    in_library = folder in LAYERS or path == UMBRELLA[0]

    for header, home, rule in HOMES:
        if re.match(header, target) and not re.match(home, path):
            yield f"includes {spelling}", rule

    ours = target[len("rondo/"):] if target.startswith("rondo/") else None
    if ours is None:
        generated = target.endswith(".pb.h")
        if quoted and in_library and not generated:
            yield f"includes {spelling}", "ours is spelt <rondo/...>, others' <...>"
        elif not generated and (folder_of(target) in LAYERS and exists(target)):
            yield f"includes {spelling}", "ours is spelt <rondo/...>"
        return
    if quoted:
        yield f"includes {spelling}", "ours is spelt <rondo/...>"
    if not exists(ours):
        yield f"includes {spelling}", "there is no such file"
    to = folder_of(ours)
    if to in OUTSIDE:
        yield f"includes {spelling}", "nothing includes cli, bench, examples or tests"
    elif path == UMBRELLA[0]:
        if to not in UMBRELLA[1]:
            yield f"includes {spelling}", "the umbrella shows public headers alone"
    elif folder in LAYERS:
        if ours == UMBRELLA[0]:
            yield f"includes {spelling}", "the umbrella is for the library's users"
        elif to != folder and to not in LAYERS[folder]:
            may = ", ".join(LAYERS[folder]) or "nothing of ours"
            yield f"includes {spelling}", f"{folder} may include {may}"
        elif to == folder == "backends":
            here, there = path.split("/"), ours.split("/")
            if len(there) > 2 and len(here) > 2 and here[1] != there[1]:
                yield f"includes {spelling}", "one backend never includes another"


def circles(edges):
    """Yields each circle of includes once: [(path, line), ...]."""
    done, trail = set(), []

    def visit(path):
        if path in done:
            return
        for line, to in edges.get(path, ()):
            on_trail = [p for p, _ in trail] + [path]
            if to in on_trail:
                yield (trail + [(path, line)])[on_trail.index(to):]
            else:
                trail.append((path, line))
                yield from visit(to)
                trail.pop()
        done.add(path)

    for path in sorted(edges):
        yield from visit(path)


def check(root):
    """Returns the violations under a root, as lines, and the number of files read."""
    root = pathlib.Path(root)
    files = sorted(p for folder in (*LAYERS, *OUTSIDE) for p in (root / folder).rglob("*")
                   if p.suffix in (".h", ".cc", ".def"))
    files += [p for p in [root / UMBRELLA[0]] if p.exists()]
    found, edges = [], {}
    for file in files:
        path = file.relative_to(root).as_posix()
        includes, code = read(file.read_text(encoding="utf-8"))
        for line, spelling in includes:
            for what, rule in check_include(path, spelling, lambda p: (root / p).exists()):
                found.append(f"{path}:{line}: {what}, {rule}")
            if spelling[1:-1].startswith("rondo/"):
                edges.setdefault(path, []).append((line, spelling[1:-1][len("rondo/"):]))
        if folder_of(path) in LAYERS:
            for line, text in enumerate(code.split("\n"), 1):
                for call in CALLS.finditer(text):
                    found.append(f"{path}:{line}: calls {call[1]}(), "
                                 "a library leaves its user's program running")
    for circle in circles(edges):
        way = " -> ".join([p for p, _ in circle] + [circle[0][0]])
        found.append(f"{circle[0][0]}:{circle[0][1]}: {way}, includes go in no circle")
    return found, len(files)


# ---- the check, checked --------------------------------------------------------------------------

CLEAN = {
    "graph/a.h": "#include <vector>\n// abort(), #include <rondo/ops/b.h>\n",
    "graph/a.cc": '#include <rondo/graph/a.h>\nconst char* s = "exit(1)"; static_assert(true);\n'
                  'auto k = R"(\n#include <cuda_fp16.h>\n  assert(x))";\n'
                  "int n = 1'000; void f() { g.exit(); }\n",
    "ops/b.h": "#include <rondo/graph/a.h>\n",
    "proto/p.cc": '#include <nlohmann/json.hpp>\n#include "p.pb.h"\n',
    "runtime/r.cc": "#include <Random123/philox.h>\n#include <rondo/ops/b.h>\n",
    "backends/kernel.h": "#include <rondo/graph/a.h>\n",
    "backends/cpu/c.cc": "#include <immintrin.h>\n#include <rondo/backends/kernel.h>\n"
                         "#include <oneapi/dnnl/dnnl.hpp>\n#include <hwy/highway.h>\n",
    "backends/cpu/c.h": "#include <Eigen/Core>\n",
    "backends/reference/r.h": "",
    "rondo.h": "#include <rondo/ops/b.h>\n",
    "cli/main.cc": '#include <fmt/core.h>\n#include <rondo/rondo.h>\n#include "other.h"\n',
    "tests/t.cc": "#include <catch2/catch_test_macros.hpp>\n#include <rondo/backends/cpu/c.h>\n",
}

# A file, its content, and what must be said of it: its line and a piece of its rule.
PLANTED = (
    ("graph/x.h", "#include <rondo/ops/b.h>", "graph/x.h:1", "graph may include nothing of ours"),
    ("ops/x.h", "\n#include <rondo/runtime/x.h>", "ops/x.h:2", "ops may include graph"),
    ("autodiff/x.cc", "#include <rondo/backends/kernel.h>", "autodiff/x.cc:1",
     "autodiff may include"),
    ("runtime/x.cc", "#include <rondo/backends/kernel.h>", "runtime/x.cc:1", "runtime may include"),
    ("backends/x.cc", "#include <rondo/proto/p.cc>", "backends/x.cc:1", "backends may include"),
    ("backends/cpu/x.cc", "#include <rondo/backends/reference/r.h>", "backends/cpu/x.cc:1",
     "one backend never"),
    ("graph/x.cc", "#include <rondo/tests/t.cc>", "graph/x.cc:1", "nothing includes cli"),
    ("examples/x.cc", "#include <rondo/cli/main.cc>", "examples/x.cc:1", "nothing includes cli"),
    ("ops/x.cc", "#include <rondo/rondo.h>", "ops/x.cc:1", "the umbrella is for"),
    ("rondo.h", "#include <rondo/backends/kernel.h>", "rondo.h:1", "public headers alone"),
    ("ops/x.cc", "#include <rondo/graph/gone.h>", "ops/x.cc:1", "no such file"),
    ("ops/x.cc", '#include "rondo/graph/a.h"', "ops/x.cc:1", "ours is spelt"),
    ("graph/x.cc", '#include "a.h"', "graph/x.cc:1", "ours is spelt"),
    ("tests/x.cc", "#include <graph/a.h>", "tests/x.cc:1", "ours is spelt"),
    ("graph/x.h", "#include <rondo/graph/y.h>", "graph/x.h:1", "no circle"),
    ("graph/x.h", "#include <rondo/graph/x.h>", "graph/x.h:1", "no circle"),
    ("runtime/x.cc", "#include <oneapi/dnnl/dnnl.hpp>", "runtime/x.cc:1", "oneDNN"),
    ("backends/cuda/x.cc", "#include <dnnl.hpp>", "backends/cuda/x.cc:1", "oneDNN"),
    ("backends/reference/x.cc", "#include <hwy/highway.h>", "backends/reference/x.cc:1", "Highway"),
    ("runtime/x.cc", "# include <immintrin.h>", "runtime/x.cc:1", "intrinsics"),
    ("backends/cpu/x.cc", "#include <cudnn.h>", "backends/cpu/x.cc:1", "CUDA"),
    ("backends/cpu/x.cc", "#include <cuda_runtime.h>", "backends/cpu/x.cc:1", "CUDA"),
    ("proto/x.h", '#include "p.pb.h"', "proto/x.h:1", "protobuf"),
    ("runtime/x.cc", "#include <google/protobuf/message_lite.h>", "runtime/x.cc:1", "protobuf"),
    ("proto/x.h", "#include <nlohmann/json.hpp>", "proto/x.h:1", "JSON"),
    ("graph/x.h", "#include <Eigen/Core>", "graph/x.h:1", "Eigen"),
    ("ops/x.h", "#include <Random123/philox.h>", "ops/x.h:1", "Random123"),
    ("ops/x.cc", "#include <fmt/core.h>", "ops/x.cc:1", "only tools"),
    ("ops/x.cc", "#include <catch2/catch_test_macros.hpp>", "ops/x.cc:1", "only tests"),
    ("ops/x.cc", "#include <cassert>", "ops/x.cc:1", "own threads and errors"),
    ("ops/x.cc", "\n\nvoid f() { std::abort(); }", "ops/x.cc:3", "calls abort()"),
    ("ops/x.cc", "/* \n */ void f() { exit (1); }", "ops/x.cc:2", "calls exit()"),
    ("graph/x.h", "void f(int n) { assert(n > 0); }", "graph/x.h:1", "calls assert()"),
)


def self_test():
    failures = []

    def run(extra):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**CLEAN, **extra}.items():
                file = pathlib.Path(root, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return check(root)[0]

    if clean := run({}):
        failures.append(f"found something in a clean tree: {clean}")
    for path, text, where, rule in PLANTED:
        helpers = {"graph/y.h": "#include <rondo/graph/x.h>\n"} if "graph/y.h" in text else {}
        helpers |= {"runtime/x.h": ""} if "runtime/x.h" in text else {}
        found = run({**helpers, path: text + "\n"})
        if len(found) != 1 or not (found[0].startswith(where + ":") and rule in found[0]):
            failures.append(f"{path} with {text!r}: want one '{where}: ... {rule}', got {found}")
    print("\n".join(failures) or f"all {len(PLANTED)} planted violations were caught")
    return bool(failures)


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if len(arguments) != 1:
        print(__doc__)
        return 2
    found, files = check(arguments[0])
    print("\n".join(found) or f"{files} files keep the layers")
    return bool(found) or files == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
