#!/usr/bin/env python3
"""Doxygen says nothing about the public headers: every type, free function and function that changes something has
its line of documentation, and what is written is understood.

    check_doxygen.py ROOT BUILD     exit status 1 and the warnings, if there are any

Doxygen would ask the same of fields, constants, constructors and accessors, whose names say what they are, of each of several
declarations under one comment, and of the structs of a builder's options, operands and results: those are let pass.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

UNDOCUMENTED = re.compile(r"warning: Member (?P<member>.*) \((?P<kind>[a-z ]+)\) of (?P<in>\w+) (?P<owner>.*) is not documented")


def under_a_comment(line):
    """A warning about a declaration whose paragraph begins with documentation."""
    file, number = line.split(":")[:2]
    lines = pathlib.Path(file).read_text().splitlines()[: int(number)]
    paragraph = lines[max((i for i, text in enumerate(lines) if not text.strip()), default=-1) + 1:]
    return paragraph[0].lstrip().startswith("///")


def speaks_for_itself(line):
    """A warning about a member that needs no words."""
    m = UNDOCUMENTED.search(line)
    if not m:
        # A specialisation of what is documented; what goes with one builder.
        return re.search(r"Compound \S+(<.*>|Options|Config|Inputs|Outputs|Weights|Result) is not", line) is not None
    name = re.search(r"(~?\w+|operator.*?)\s*\(", m["member"])
    owner = re.sub("<.*", "", m["owner"]).split("::")[-1]
    return (
        m["kind"] in ("variable", "friend")
        or (m["in"] in ("namespace", "file") and ("operator" in m["member"] or under_a_comment(line)))
        or (m["in"] in ("class", "struct") and m["kind"] == "function" and name is not None
            and (name[1].lstrip("~") == owner or "operator" in m["member"]
                 or re.search(r"\) (const|override)( override| noexcept)?$", m["member"]) is not None))
    )


def main():
    root, build = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as out:
        config = (root / "docs/Doxyfile").read_text() + f"OUTPUT_DIRECTORY = {out}\nINCLUDE_PATH = {build}/include\n"
        run = subprocess.run(["doxygen", "-"], input=config, text=True, capture_output=True, cwd=root)
    warnings = [w for w in run.stderr.splitlines() if w.strip() and not speaks_for_itself(w)]
    print("\n".join(warnings))
    print(f"{len(warnings)} warnings of doxygen")
    return 1 if warnings or run.returncode else 0


sys.exit(main())
