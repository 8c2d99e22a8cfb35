#!/usr/bin/env python3
"""Runs ours and each peer in turn, A B A B, and writes how many times quicker ours is.

    bench/compare.py [--rows PATTERN,...] [--rounds N] [--python PYTHON] [--out DIR]
    bench/compare.py --render DIR/compare.json [--out DIR]      the table and the plot again, nothing is measured
    bench/compare.py ... --write-docs                           also into docs/performance.md and README.md
    bench/compare.py ... --write-page docs/performance_NAME.md  also as a page of its own, of another machine
    bench/compare.py --list

Build first what it runs: ninja -C build rondo_bench. The peers in Python are those that PYTHON has (docs/performance.md says how to
install them); oneDNN is the one of the build and, with --onednn-libs, a newer one. A peer that is not there is left out and named.
Written into DIR: compare.md (tables), compare.svg (a plot), compare.json (every sample). Every program may use as many processors as
its row has threads, and no others; a ratio is the median, over the rounds, of the peer's median time by ours of the same round.
"""

import argparse
import fnmatch
import json
import os
import pathlib
import sys
import time

import machine
import report
from rows import PEERS, ROWS
from subjects import Failed, Subjects

ROOT = pathlib.Path(__file__).resolve().parent.parent


def say(text, end="\n"):
    print(text, end=end, file=sys.stderr, flush=True)


def measured_times(row, subjects, options):
    """{subject: [sample of each round]} and {subject: why it has none}; ours is "rondo"."""
    running, notes = {}, {}
    for name in ["rondo", *row.subjects()]:
        try:
            running[name] = subjects.start(name, row.ours if name in ("rondo", "fused") else row.theirs)
        except Failed as e:
            notes[name] = str(e)
            if name == "rondo":
                break
    samples = {name: [] for name in running}
    try:
        alone = len(running) == 1 and all(t.limit_ms is None for t in row.targets)
        for _ in range(1 if alone else options.rounds):
            for name in list(running):
                try:
                    samples[name].append(running[name].sample(options.min_time))
                except Failed as e:
                    notes[name] = str(e)
                    running.pop(name).end()
                    samples.pop(name)
            if "rondo" not in running:
                break
    finally:
        for subject in running.values():
            subject.end()
    return samples, notes


def measured_memory(row, subjects, options):
    """Bytes that the workload adds to the peak of the same program's smallest run."""
    samples, notes = {}, {}
    for _ in range(min(options.rounds, 3)):
        for name in ["rondo", *row.subjects()]:
            try:
                if name not in notes:
                    bytes_ = subjects.peak_bytes(name, row.ours if name == "rondo" else row.theirs)
                    samples.setdefault(name, []).append({"bytes": bytes_})
            except Failed as e:
                notes[name] = str(e)
    return samples, notes


def chosen(patterns):
    rows = [r for r in ROWS if any(fnmatch.fnmatchcase(r.id, f"*{p}*") for p in patterns.split(","))]
    if not rows:
        sys.exit(f"compare.py: no row is like {patterns}; --list names them")
    return rows


def measure(options):
    rows = chosen(options.rows)
    subjects = Subjects(options)
    result = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine.describe(),
        "rounds": options.rounds,
        "min_time": options.min_time,
        "peers": subjects.versions,
        "peaks": {},
        "rows": [],
    }
    say(f"{len(rows)} rows on {result['machine']['text']}")
    for name, version in subjects.versions.items():
        say(f"  {PEERS[name]}: {version or 'not there'}")
    for threads in sorted({r.ours.threads for r in rows}):
        sizes = {r.ours.step_bytes() for r in rows if r.ours.threads == threads} - {0}
        result["peaks"][str(threads)] = subjects.peaks(threads, sorted(sizes))
    start = time.monotonic()
    for number, row in enumerate(rows, 1):
        say(f"[{number}/{len(rows)}] {row.id}: ", end="")
        samples, notes = (measured_memory if row.measures == "memory" else measured_times)(row, subjects, options)
        result["rows"].append({"id": row.id, "samples": samples, "notes": notes})
        say(report.one_line(row, result["rows"][-1]))
        write(result, options.out, quiet=True)  # what is there so far is not lost
    say(f"{time.monotonic() - start:.0f} s")
    return result


def write(result, folder, quiet=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "compare.json": json.dumps(result, indent=1) + "\n",
        "compare.md": report.markdown(result),
        "compare.svg": report.svg(result),
    }.items():
        (folder / name).write_text(text)
    if not quiet:
        say(f"written: {folder}/compare.md, compare.svg, compare.json")


def write_docs(result, root):
    """The tables and the plot in the documents, which nobody edits by hand."""
    pages = {"docs/performance.md": report.measured(result, 3), "README.md": report.extract(result)}
    texts = {name: report.between_marks((root / name).read_text(), lines) for name, lines in pages.items()}
    for name, text in texts.items():
        if text is None:
            sys.exit(f"compare.py: {name} has not the line {report.BEGIN} and, behind it, {report.END}")
    for name, text in {**texts, "docs/performance.svg": report.svg(result)}.items():
        (root / name).write_text(text)
        say(f"written: {root / name}")
    absent = {r.id for r in ROWS} - {r["id"] for r in result["rows"]}
    if absent:
        say(f"{len(absent)} of {len(ROWS)} rows were not measured, so the documents lack them: {', '.join(sorted(absent))}")


def write_page(result, page):
    """The tables and the plot of another machine than the documents' own."""
    plot = page.with_suffix(".svg")
    title, *rest = report.markdown(result).splitlines()
    note = "Another machine's figures; what they mean, and how they were measured, stands in [performance.md](performance.md#measured)."
    page.write_text("\n".join([title, "", note, "", f"![Ratios of the peers' times to ours, by row]({plot.name})", *rest]) + "\n")
    plot.write_text(report.svg(result))
    say(f"written: {page}, {plot}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", default="*", help="rows whose id holds one of these patterns")
    p.add_argument("--rounds", type=int, default=5, help="how often each is timed in turn (5)")
    p.add_argument("--min-time", type=float, default=1, help="seconds of runs in each round (1)")
    p.add_argument("--python", default=sys.executable, help="the Python that has the peers (this one)")
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="the build folder")
    p.add_argument("--onednn-libs", type=pathlib.Path, help="a folder with a newer libdnnl.so.3 and what it needs")
    p.add_argument("--without", default="", help="peers to leave out, with commas")
    p.add_argument("--timeout", type=float, default=900, help="seconds that a peer may take to be ready (900)")
    p.add_argument("--out", type=pathlib.Path, help="where the results go (build/compare; with --render beside the file)")
    p.add_argument("--render", type=pathlib.Path, metavar="FILE.json")
    p.add_argument("--write-docs", action="store_true", help="also into docs/performance.md, its plot, and README.md")
    p.add_argument("--write-page", type=pathlib.Path, metavar="FILE.md", help="also into this page, and its plot beside it: another machine's")
    p.add_argument("--docs", type=pathlib.Path, default=ROOT, metavar="DIR", help="the folder with that README.md (this repository)")
    p.add_argument("--list", action="store_true", help="the rows")
    options = p.parse_args()
    if options.list:
        for row in chosen(options.rows):
            print(f"{row.id:34} {row.title}: {', '.join(report.promise(t) for t in row.targets)}")
        return 0
    if options.render:
        result = json.loads(options.render.read_text())
        options.out = options.out or options.render.parent
    else:
        options.out = options.out or options.build / "compare"
        result = measure(options)
    write(result, options.out)
    if options.write_docs:
        write_docs(result, options.docs)
    if options.write_page:
        write_page(result, options.write_page)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
