#!/usr/bin/env python3
"""Every line of C++ that README.md and docs/*.md show stands in a program that the suite compiles.

White space does not count. Blocks of ```cpp are checked; blocks without a language are text. docs/ops.md and docs/errors.md are generated; the
first one's examples are compiled by themselves (rondo ops --examples).
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
COMPILED = [*ROOT.glob("examples/*.cc"), *ROOT.glob("tests/*.cc"), *ROOT.glob("tests/consumer/*.cc")]


def squeeze(text):
    return re.sub(r"\s+", "", text)


def main():
    programs = [squeeze(p.read_text()) for p in COMPILED]
    blocks = bad = 0
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if page.name in ("ops.md", "errors.md"):
            continue
        for match in re.finditer(r"^```cpp\n(.*?)^```", page.read_text(), re.M | re.S):
            blocks += 1
            first = page.read_text()[: match.start()].count("\n") + 2
            for number, line in enumerate(match.group(1).splitlines(), first):
                if squeeze(line) and not any(squeeze(line) in p for p in programs):
                    bad += 1
                    print(f"{page.relative_to(ROOT)}:{number}: no compiled program has this line: {line.strip()}")
    print(f"{blocks} blocks of C++, {bad} lines that are nowhere compiled")
    return 1 if bad or not blocks else 0


sys.exit(main())
