#!/usr/bin/env python3
"""The rules of the sources and the codes of docs/errors.md are the same.

    check_errors.py ROOT TOOL   TOOL: the built tool, `rondo`

Each code that a source throws stands in the table (cli/error_codes.cc) or among the refused calls of an op, and each code
of the table is thrown somewhere. Each rule that an op states by itself is broken once: by a refused call of the op's
definition, or by the vectors of other systems (tests/vectors/*/refusals.txt), or, where it takes a body or symbols, by a test.
"""
import fnmatch
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(sys.argv[1])
LAYERS = ("graph", "ops", "autodiff", "proto", "runtime", "backends", "cli")
WORD = r'"([a-z][a-z_0-9.]*)"'

# Functions that pass a rule on: file, how they are called, and the code; * = whatever the call says.
FORWARDERS = (
    (r"runtime/bind_feeds\.cc", rf"refuse\(p, t, {WORD}", r"placeholder.*.\1"),
    (r"runtime/recurrence_steps\.cc", rf"refuse\({WORD}", r"recurrence.\1"),
    (r"ops/streamify\.cc", rf"refuse\(n, {WORD}", r"streamify.\1"),
    (r"runtime/ts_format\.cc", rf"refuse\({WORD}", r"ts.\1"),
    (r"runtime/checkpoint\.cc", rf"refuse\({WORD}", r"file.checkpoint.\1"),
    (r".*", rf"refuse_file\([^,]*,[^,]*, {WORD},\s*{WORD}", r"file.\1.\2"),
    (r"proto/file\.cc", rf'rc != 0 \? {WORD}', r"file.read.\1"),
    (r"proto/file\.cc", rf'rc != 0 \? "status" : {WORD}', r"file.read.\1"),
    (r"proto/file\.cc", rf"fail_call\({WORD}", r"file.save.\1"),
    (r"proto/bundle_load\.cc", rf"(?:refuse|at)\(&?place, {WORD},\s*{WORD}", r"file.\1.\2"),
    (r"proto/bundle_load\.cc", rf"refuse\(&place, section, {WORD}", r"file.*.\1"),
    (r"proto/bundle_load\.cc", rf"refuse\(p, {WORD}", r"file.tensor.\1"),
    (r"proto/bundle_save\.cc", rf"refuse\({WORD}, {WORD}", r"file.\1.\2"),
    (r"proto/bundle_save\.cc", rf"refuse\(section, {WORD}", r"file.*.\1"),
    (r"proto/container\.cc", rf"refuse\({WORD}, {WORD}", r"file.\1.\2"),
    (r"proto/safetensors\.cc", rf"refuse\((?:path|source\.name\(\)), {WORD}", r"file.safetensors.\1"),
    (r"proto/safetensors\.cc", rf"bad\({WORD}", r"file.safetensors.\1"),
    (r"proto/safetensors\.cc", rf"bad\(.* \? {WORD} :", r"file.safetensors.\1"),
    (r"proto/wire_scan\.cc", rf"refuse\({WORD}", r"file.*.\1"),
    (r"proto/wire_scan\.cc", rf"&Limits::\w+, {WORD}", r"file.*.\1"),
    (r"ops/weights/check\.cc", rf"return \{{{WORD},", r"weights.format.\1"),
    (r"ops/weights/check\.cc", rf"return \{{other_gru \? {WORD}", r"weights.format.\1"),
    (r"ops/weights/check\.cc", rf'return \{{other_gru \? "reset" : {WORD}', r"weights.format.\1"),
    (r"proto/wire_scan\.cc", r"&ModelCounts::(nodes|names|tensors),\s*&Limits", r"file.*.\1"),
    (r"ops/weights/check\.cc", rf"check_range\({WORD}", r"weights.\1.range"),
    (r"ops/weights/check\.cc", rf"need_lstm\({WORD}", r"weights.\1.mode"),
    (r"graph/verify\.cc", rf"fail\({WORD}", r"graph.verify.\1"),
    (r"graph/(op|signature)\.cc", rf"refuse\([\w.]+, {WORD}", r"*.*.\1"),
    (r"graph/(op|signature)\.cc", rf"refuse\({WORD}, {WORD}", r"*.\1.\2"),
    (r"graph/(signature|attribute|callbacks)\.cc", rf"DefinitionError\(\s*{WORD}", r"*.*.\1"),
    (r"graph/callbacks\.cc", rf"blame\([\w.*()]+, [\w\"]+, {WORD}", r"*.*.\1"),
    (r"graph/graph\.cc", rf"c\.refuse\({WORD}, {WORD}", r"*.\1.\2"),
    (r"backends/", rf"integer_in_range\({WORD}", r"\1.range"),
    (r"backends/", rf"checked_index\({WORD}", r"\1.range"),
    (r"ops/(?!nn)", rf"nn::check_range\([^;]*?{WORD}(?:,|\))", r"\1.range"),
    (r"ops/layer\.cc", r'nn::check_range\([^;]*?cat\(op, "(\.lengths)"', r"*\1.range"),
)
# fail(Fault::kX, CODE, ...): CODE is text, cat(...) or a sum.
FAIL = re.compile(r"(?:\bfail|throw Error|\bError)\(\s*(?=Fault::k(\w+)|\w+ \?)")
OP_RULE = re.compile(rf"c\.refuse\(\s*{WORD},\s*{WORD}")
ANY_OP_RULE = re.compile(r"c\.refuse\(")
# Thrown and caught by ourselves.
INNER = {"roll.rows"}


def arguments(text, at):
    """The arguments of a call whose "(" ends at `at`."""
    parts, start, depth, i = [], at, 0, at
    while True:
        ch = text[i]
        if ch == '"':
            i = re.compile(r'(?:[^"\\]|\\.)*"').match(text, i + 1).end() - 1
        elif ch in "([{":
            depth += 1
        elif ch in ")]}":
            depth -= 1
        if depth < 0 or (depth == 0 and ch == ","):
            parts.append(text[start:i].strip())
            start = i + 1
            if depth < 0:
                return parts
        i += 1


def pattern_of(expression):
    """"a." + x + ".b" and cat("a.", x, ".b") as a.*.b; None when it names no rule."""
    if expression.startswith("cat("):
        parts = arguments(expression, len("cat("))
    elif re.match(r"[^?]*\?", expression):
        return None
    else:
        parts = re.split(r"\s\+\s", expression)
    text = "".join(m[1] if (m := re.fullmatch(r'"(.*)"', p)) else "*" for p in parts)
    return text if re.search(r"\.[a-z_]+$", text) and text.count(".") > text.startswith("*.") else None


def sources():
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*")):
            if path.suffix in (".cc", ".h"):
                yield str(path.relative_to(ROOT)), path.read_text()


def thrown():
    """Codes of the sources; each with the places that throw it, and the fault where it is plain."""
    found = {}
    for name, text in sources():
        def add(code, at, fault=None):
            found.setdefault(code, []).append((f"{name}:{text.count(chr(10), 0, at) + 1}", fault))

        for m in FAIL.finditer(text):
            given = arguments(text, m.end())
            if len(given) < 2:
                continue
            code = pattern_of(given[1])
            for one in re.findall(r'"([a-z_]+\.[a-z_.]+)"', given[1]) if "?" in given[1] else [code] if code else []:
                add(one, m.start(), m[1].lower() if m[1] else None)
        for where, call, code in FORWARDERS:
            if code and re.match(where, name):
                for m in re.finditer(call, text):
                    add(m.expand(code), m.start())
    return found


def fits(pattern, row):
    """Whether a code of the sources, * for what they fill in, may be the row's."""
    a, b = pattern.split("."), row.split(".")
    return len(a) == len(b) and all(fnmatch.fnmatchcase(y, x) for x, y in zip(a, b))


def rules_of_ops():
    """Literal rules of c.refuse, by source; and how many name their argument or rule by a variable."""
    rules, others = {}, 0
    for name, text in sources():
        if not name.startswith("ops/"):
            continue
        found = {f"{m[1]}.{m[2]}" for m in OP_RULE.finditer(text)}
        others += len(ANY_OP_RULE.findall(text)) - len(OP_RULE.findall(text))
        if found:
            rules[name] = (found, text)
    return rules, others


def main():
    rows = dict(line.split(" | ")[:2] for line in (ROOT / "cli/error_codes.cc").read_text().splitlines()
                if line.count(" | ") == 3 and not line.startswith("//"))
    listed = subprocess.run([sys.argv[2], "errors"], check=True, text=True, capture_output=True).stdout
    broken = {line.split()[0] for line in listed.splitlines()} - rows.keys()
    bad = []

    codes = thrown()
    for code, places in sorted(codes.items()):
        if code in INNER or code in broken:
            continue
        hits = [row for row in rows if fits(code, row)]
        if not hits:
            bad.append(f"{places[0][0]}: {code} does not stand in cli/error_codes.cc")
        for place, fault in places:
            if fault and "*" not in code and hits and rows[hits[0]] != fault:
                bad.append(f"{place}: {code} is a fault of kind {fault}, the table says {rows[hits[0]]}")
    rules, unnamed = rules_of_ops()
    of_ops = [f"*.{r}" for found, _ in rules.values() for rule in found for r in (rule, "*." + rule.split(".")[1])]
    for row in rows:
        if not any(fits(code, row) for code in [*codes, *of_ops]):
            bad.append(f"cli/error_codes.cc: nothing throws {row}")

    vectors = {line.split(" | ")[1] for f in ROOT.glob("tests/vectors/*/refusals.txt")
               for line in f.read_text().splitlines() if line.count(" | ") == 2}
    tests = "".join(p.read_text() for p in ROOT.glob("tests/*.cc"))
    checked = 0
    for name, (found, text) in sorted(rules.items()):
        for rule in sorted(found):
            checked += 1
            of_file = {c for c in broken | vectors if c.endswith("." + rule) and f'"{c[: -len(rule) - 1]}"' in text}
            shared = not re.search(r"\br\.add\(", text) and any(c.endswith("." + rule) for c in broken | vectors)
            in_tests = re.search(rf'"\w+\.{re.escape(rule)}"', tests)
            if not of_file and not shared and not in_tests:
                bad.append(f"{name}: nothing breaks the rule {rule}; add it to the op's `.refuses`")
            elif not any(c.endswith("." + rule) for c in broken) and not any(
                    fits(f"*.{rule}", row) or row == f"OP.OPERAND.{rule.split('.')[1]}" for row in rows):
                bad.append(f"{name}: nothing says what {rule} means; add it to cli/error_codes.cc")
    for code in sorted(c for c in codes if "*" not in c and c.endswith(".range")):
        if re.match(r"(backends|ops)/", codes[code][0][0]) and code not in rows and code not in broken | vectors:
            bad.append(f"{codes[code][0][0]}: nothing breaks {code}; add it to the op's `.refuses`")

    print("\n".join(bad))
    print(f"{len(rows)} codes in the table, {sum(map(len, codes.values()))} places that throw; {len(broken)} refused calls and "
          f"{len(vectors)} codes of vectors break {checked} literal rules of ops ({unnamed} more are named by variables); "
          f"{len(bad)} problems")
    return 1 if bad or not codes or not broken else 0


sys.exit(main())
