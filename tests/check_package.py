#!/usr/bin/env python3
"""What a stranger gets: an installed Rondo, static and shared, that works wherever it is moved.

    check_package.py install BUILD OUT       installs both kinds and moves them to OUT/static and OUT/shared; nothing there
                                             may point back, and the shared library shows namespace rondo alone
    check_package.py pkg-config CONSUMER OUT builds CONSUMER against both with one line of g++, and runs it
"""
import pathlib
import re
import shutil
import subprocess
import sys

KINDS = ("static", "shared")
# Some of what programs call or catch.
EXPORTED = ("_ZTIN5rondo5ErrorE", "_ZN5rondo15linked_backendsEv", "_ZN5rondo8registryEv")


def run(*command, **more):
    return subprocess.run([str(c) for c in command], check=True, text=True, **more).stdout


def output(*command):
    return run(*command, stdout=subprocess.PIPE)


def pointers_back(prefix, folders):
    """Files of an installed tree that name a folder of the build."""
    for path in sorted(prefix.rglob("*")):
        if path.is_symlink() or path.is_dir():
            continue
        data = path.read_bytes()
        binary = data[:4] == b"\x7fELF" or data[:7] == b"!<arch>"
        text = output("readelf", "-d", path).encode() if data[:4] == b"\x7fELF" else b"" if binary else data
        yield from (f"{path} names {f}" for f in folders if str(f).encode() in text)


def foreign_symbols(library):
    """Exported names that are not of namespace rondo, or of its files and backends."""
    names = [line.split()[-1] for line in output("nm", "-D", "--defined-only", library).splitlines()]
    ours = re.compile(r"_Z(N|NK|TIN|TSN|TVN)5rondo")
    inner = re.compile(r"_ZNK?5rondo(5proto|3cpu|9reference)\d")
    yield from (f"{name} is not exported" for name in EXPORTED if name not in names)
    yield from (f"{name} is exported" for name in names if not ours.match(name) or inner.match(name))
    print(f"{library.name} exports {len(names)} symbols")


def install(build, out):
    shutil.rmtree(out, ignore_errors=True)
    bad = []
    for kind in KINDS:
        first = out / "first" / kind
        for component in ("development", kind):
            run("cmake", "--install", build, "--prefix", first, "--component", component, stdout=subprocess.DEVNULL)
        first.rename(out / kind)
        bad += pointers_back(out / kind, (build, out))
    library = out / "shared/lib/librondo.so"
    bad += foreign_symbols(library.resolve())
    soname = re.search(r"SONAME.*\[(.*)\]", output("readelf", "-d", library))[1]
    if not re.fullmatch(r"librondo\.so\.\d+\.\d+", soname) or not (library.parent / soname).exists():
        bad.append(f"its soname is {soname}")
    return bad


def pkg_config(consumer, out):
    bad = []
    examples = consumer.parents[1] / "examples"
    for kind in KINDS:
        work = out / f"pkg-config-{kind}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        line = f"""
            export PKG_CONFIG_PATH='{out}/{kind}/lib/pkgconfig'
            protoc --cpp_out=. -I '{consumer}' note.proto
            g++ -std=c++20 -I. '{consumer}/main.cc' note.pb.cc -o consumer \\
              $(pkg-config --cflags --libs rondo protobuf) -Wl,-rpath,"$(pkg-config --variable=libdir rondo)"
            ./consumer
            # An example that was copied out: it is told where its data lies, and says so when it is not.
            cp '{examples}/vowels.cc' mine.cc
            g++ -std=c++20 mine.cc -o mine $(pkg-config --cflags --libs rondo) -Wl,-rpath,"$(pkg-config --variable=libdir rondo)"
            ./mine --epochs 0 --data '{examples}/data/japanese_vowels'
            if ./mine --epochs 0 2> said; then exit 1; fi
            grep -e '--data' said
        """
        if subprocess.run(["bash", "-ec", line], cwd=work).returncode:
            bad.append(f"the {kind} one failed")
    return bad


COMMANDS = {"install": install, "pkg-config": pkg_config}
problems = COMMANDS[sys.argv[1]](*(pathlib.Path(a).resolve() for a in sys.argv[2:]))
print("\n".join(problems))
sys.exit(1 if problems else 0)
