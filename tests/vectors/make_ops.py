#!/usr/bin/env python3
"""Writes tests/vectors/ops: values and gradients of every op from PyTorch, NumPy and SciPy.

    make_ops.py            writes the files anew, and removes those that no case makes
    make_ops.py --check    writes nothing; fails when a file is not what its case makes

tests/vectors/cases holds the cases, a module a family.
"""

import argparse
import importlib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from cases.common import Cases  # noqa: E402

MODULES = sorted(p.stem for p in (HERE / "cases").glob("*.py") if p.stem != "common")


def made():
    files = {}
    for module in MODULES:
        cases = Cases(module)
        importlib.import_module(f"cases.{module}").add(cases)
        files |= {HERE / "ops" / module / f"{name}.safetensors": data for name, data in cases.files.items()}
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    files = made()
    old = set((HERE / "ops").rglob("*.safetensors"))
    differ = [p for p, data in files.items() if p not in old or p.read_bytes() != data]
    gone = sorted(old - set(files))
    if check:
        for p in [*differ, *gone]:
            print(f"{p.relative_to(HERE)}: {'no case makes it' if p in gone else 'is not what its case makes'}")
    else:
        for p in differ:
            p.parent.mkdir(parents=True, exist_ok=True)
            p.write_bytes(files[p])
        for p in gone:
            p.unlink()
    sizes = [len(data) for data in files.values()]
    print(
        f"{len(files)} cases, {sum(sizes)} bytes, the largest {max(sizes)}; {len(differ)} differed, {len(gone)} had no case"
    )
    return 1 if check and (differ or gone) else 0


if __name__ == "__main__":
    sys.exit(main())
