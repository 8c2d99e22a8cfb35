#!/usr/bin/env python3
"""bench/compare.py without a clock: from samples to ratios, to the best peer, to a table and a plot; what is missing is named.

    check_compare.py   run from the root of the repository
"""

import contextlib
import dataclasses
import io
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

sys.dont_write_bytecode = True
sys.path.insert(0, "bench")

import report  # noqa: E402
import subjects  # noqa: E402
from rows import BEST, PEERS, ROWS, PlanCost  # noqa: E402
from workload import Workload, parser, of  # noqa: E402

failures = 0


def check(what, ok):
    global failures
    if not ok:
        failures += 1
        print(f"FAILED: {what}")


def near(a, b):
    return a is not None and abs(a - b) <= 1e-9 * abs(b)


def times(*ms):
    return [{"ms_median": m} for m in ms]


def row(id):
    return next(r for r in ROWS if r.id == id)


INFER, TRAIN, RAGGED = row("lstm-infer-b1-h256"), row("lstm-train-b16-h256"), row("ragged-infer-b64-h256")

# ---- the rows themselves -----------------------------------------------------------------------

check("ids are unique", len({r.id for r in ROWS}) == len(ROWS))
check("titles are unique", len({r.title for r in ROWS}) == len(ROWS))
check("every peer has a name", all(p in PEERS for r in ROWS for t in r.targets for p in t.peers))
for r in ROWS:  # what a peer is asked for is what the row says
    if r.subjects() != ["fused"] and not isinstance(r.ours, PlanCost):
        check(f"{r.id}: the arguments say the workload", of(parser().parse_args(r.theirs.arguments())) == r.theirs)
check("the tool is told the form", "--form" in row("own-sru-scan").ours.arguments())

# ---- ratios ------------------------------------------------------------------------------------

samples = {
    "rondo": times(1, 2, 4),
    "torch": times(3, 3, 12),  # paired: 3, 1.5, 3
    "onednn": times(2, 2, 4),  # paired: 2, 1, 1
    "jax": times(9, 9),
}
found = report.outcomes(INFER, {"samples": samples, "notes": {}})
check("one outcome for each target", len(found) == 1)
best = found[0]
check("the best is the peer nearest to ours", best.peer == "onednn" and near(best.ratio, 1))
check("the spread is that of the rounds", near(best.low, 1) and near(best.high, 2))
check("1 is not 1.15", best.met is False)
del samples["onednn"]
best = report.outcomes(INFER, {"samples": samples, "notes": {}})[0]
check("without it the next one counts", best.peer == "torch" and near(best.ratio, 3) and best.met is True)
either = report.outcomes(RAGGED, {"samples": {"rondo": times(1), "torch": times(5), "torch_padded": times(2)}, "notes": {}})
check("of packed and padded the quicker one counts", either[1].peer == "torch_padded" and near(either[1].ratio, 2))
check("a target without its peer is not judged", either[0].peer is None and either[0].met is None)
check("what is only shown is not judged", report.Outcome(report.rows_of({"rows": [{"id": "ragged-infer-b64-h256"}]})[0][0].targets[2], "onednn", 2.0).met is None)
nothing = report.outcomes(TRAIN, {"samples": {"torch": times(1)}, "notes": {"rondo": "refused"}})
check("without ours there is no ratio", all(o.ratio is None and o.met is None for o in nothing))
memory = report.outcomes(row("memory-train-b64-h256"), {"samples": {"rondo": [{"bytes": 10}], "torch": [{"bytes": 30}]}, "notes": {}})
check("memory is compared in bytes", near(memory[0].ratio, 3) and memory[0].met)
limit = report.outcomes(row("plan-specialise"), {"samples": {"rondo": times(0.05, 0.1, 0.4)}, "notes": {}})[0]
check("a limit is met by who takes less", near(limit.ratio, 1) and limit.met and near(limit.low, 0.25) and near(limit.high, 2))
check("and not by who takes more", report.outcomes(row("plan-compile"), {"samples": {"rondo": times(50.1)}, "notes": {}})[0].met is False)
check("without ours a limit is not judged", report.outcomes(row("plan-node"), {"samples": {}, "notes": {}})[0].met is None)
check("BEST holds no padded peer", "torch_padded" not in BEST)

# ---- what is the least -------------------------------------------------------------------------

w = Workload("lstm", 1, 256, 256)
check("2 operations for each weight and step", w.flops() == (2 * 100 * 4 * 256 * 256, 4 * 100 * 4 * 256 * 256))
check("three times that in training", Workload("lstm", 1, 256, 256, mode="train").flops()[1] == 3 * w.flops()[1])
check("an sru reads no recurrent weights", Workload("sru", 1, 256, 256).step_bytes() == 0)
check("ragged lengths end at T", Workload("lstm", 4, 8, 8, lengths="ragged").row_lengths() == [44, 62, 81, 100])
peaks = {"1": {"f32": {"isa": "X", "gflops": 100}, "bf16": {"isa": "", "gflops": 0}, "read_gbs": {"1048576": 1}}}
share, what = report.share_of_bound(INFER, {"samples": {"rondo": times(1000)}}, peaks)
check("one row at a time waits for its weights", what == "reading weights" and 0.1 < share < 0.11)
slow_pairs = {"1": {"f32": {"gflops": 100}, "bf16": {"gflops": 10}, "read_gbs": {"1048576": 1e6, "524288": 1e6}}}
half = dataclasses.replace(INFER, ours=dataclasses.replace(INFER.ours, dtype="bf16", batch=64))
whole = dataclasses.replace(INFER, ours=dataclasses.replace(INFER.ours, batch=64))
ours = {"samples": {"rondo": times(1000)}}
check("pairs that are slow are no bound", report.share_of_bound(half, ours, slow_pairs) == report.share_of_bound(whole, ours, slow_pairs))
check("a plan's cost has no bound", report.share_of_bound(row("plan-node"), {"samples": {"rondo": times(1)}}, peaks) is None)
check("without a peak there is no share", report.share_of_bound(INFER, {"samples": {"rondo": times(1)}}, {"1": None}) is None)

# ---- tables and the plot -----------------------------------------------------------------------

result = {
    "date": "2026-01-02",
    "machine": {"text": "a <machine> & more"},
    "rounds": 3,
    "min_time": 1,
    "peers": {"torch": "2.15.0", "onednn": "3.2.0 (OpenMP)", "jax": None},
    "peaks": peaks,
    "rows": [
        {"id": INFER.id, "samples": samples, "notes": {"jax": "not installed"}},
        {"id": TRAIN.id, "samples": {"rondo": times(2), "onednn": times(1), "torch": times(9)}, "notes": {"onednn_new": "died of signal 8"}},
        {"id": "stream-h256", "samples": {}, "notes": {"rondo": "no such mode"}},
        {"id": "plan-node", "samples": {"rondo": times(0.0001)}, "notes": {}},
        {"id": "a row of former days", "samples": {}, "notes": {}},
    ],
}
text = report.markdown(result)
check("a missing peer is named once, above", "Not installed, left out: JAX." in text and "JAX: not installed" not in text)
check("a peer that died is named below", "oneDNN, newer: died of signal 8" in text)
check("what we refuse is not offered yet", "| lstm, one step, B1 H256 | not offered yet |" in text and "Rondo: not offered yet: no such mode" in text)
check("versions are named", "PyTorch 2.15.0, oneDNN 3.2.0 (OpenMP)" in text)
check("the number of targets that are met", "3 of 4 targets that were measured are met" in text)
line = next(li for li in text.splitlines() if li.startswith("| lstm train B16 H256 |"))
check("a line has its figures", re.search(r"\| 2 ms \|.*\| oneDNN \| 1 ms \| \*\*0\.50\*\* \| 1\.05 \| \*\*no\*\* \|", line))
check("a limit stands for a peer", "| plan: one node more in a run | 0.1 µs |  | at most 0.15 µs | 0.15 µs | **1.50** | 1.00 | yes |" in text)
widths = {li.count("|") for li in text.split("## ")[0].splitlines() if li.startswith("|")}
check("every line of the table is as wide", len(widths) == 1)
short = "\n".join(report.extract(result))
check("the extract has a line for each row", sum(li.startswith("| ") for li in short.splitlines()) == 2 + 4)
check("it says each promise and whether it is kept", f"| {TRAIN.title} | 2 ms | oneDNN **0.50**; PyTorch **4.50** | 1.05; 1.12 | **no**; yes |" in short)
check("what is only shown is not in it", "| lstm, one step, B1 H256 | not offered yet | oneDNN | 1.10 | not measured |" in short)
check("and the machine", "a <machine> & more" in short and "3 of 4 targets" in short)
drawn = xml.etree.ElementTree.fromstring(report.svg(result))
words = [e.text for e in drawn.iter() if e.text]
check("the plot has each row that has a ratio", "lstm train B16 H256" in words and "lstm, one step, B1 H256" not in words)
check("the plot says the ratios", {"0.50", "4.50", "3.00"} <= set(words))
check("what is not XML is escaped", any("a <machine> & more" in w for w in words))
bars = [e for e in drawn.iter() if e.tag.endswith("rect") and e.get("fill") == report.COLOURS[False] and e.get("height") != "10"]
check("one bar is too short", len(bars) == 1)
xml.etree.ElementTree.fromstring(report.svg({**result, "rows": []}))

# ---- the program ---------------------------------------------------------------------------------

with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder, "old.json")
    file.write_text(json.dumps(result))

    def compare(*args):
        return subprocess.run([sys.executable, "-B", "bench/compare.py", *args], capture_output=True, text=True, timeout=60)

    done = compare("--render", str(file), "--out", folder)
    check("--render writes the table again", done.returncode == 0 and pathlib.Path(folder, "compare.md").read_text() == text)
    # The documents: what stands between the marks is theirs, all else is left alone.
    pages = {"README.md": short, "docs/performance.md": "\n".join(report.measured(result, 3))}
    marked = "above\n" + "\n".join([report.BEGIN, "of old", report.END]) + "\nbelow\n"
    pathlib.Path(folder, "docs").mkdir()
    for name in pages:
        pathlib.Path(folder, name).write_text(marked)
        check(f"{name} has its marks", report.between_marks(pathlib.Path(name).read_text(), []) is not None)
    for _ in range(2):  # the second time nothing changes
        done = compare("--render", str(file), "--out", folder, "--write-docs", "--docs", folder)
        for name, body in pages.items():
            got = pathlib.Path(folder, name).read_text()
            check(f"{name} is written", done.returncode == 0 and got == "\n".join(["above", report.BEGIN, "", body, "", report.END, "below", ""]))
    check("so is the plot", pathlib.Path(folder, "docs/performance.svg").read_text() == report.svg(result))
    check("rows that are not there are named", "plan-compile" in done.stderr and "plan-node" not in done.stderr)
    pathlib.Path(folder, "README.md").write_text("no marks")
    done = compare("--render", str(file), "--out", folder, "--write-docs", "--docs", folder)
    check("a document without marks is refused", done.returncode == 1 and "README.md has not the line" in done.stderr)
    page = pathlib.Path(folder, "docs/performance_other.md")
    compare("--render", str(file), "--out", folder, "--write-page", str(page))
    check("another machine's page has all tables", "\n".join(report.measured(result, 2)) in page.read_text() and "](performance_other.svg)" in page.read_text())
    check("its plot lies beside it", page.with_suffix(".svg").read_text() == report.svg(result))
    check("--rows that nothing is like", "no row is like" in compare("--list", "--rows", "nonsense").stderr)
    check("a limit is listed without a ratio", compare("--list", "--rows", "plan-node").stdout.rstrip().endswith(": at most 0.15 µs"))
    check("--list names every row", len(compare("--list").stdout.splitlines()) == len(ROWS))
    # Nothing is built there and this Python has no peers: said so, not fallen over.
    done = compare("--rows", "lstm-train-b1-", "--build", folder, "--python", "/nonexistent", "--out", folder)
    check("nothing to run", done.returncode == 0 and "is not built" in pathlib.Path(folder, "compare.md").read_text())

# What the documents say in words of another machine's page.
met = re.search(r"(\d+) of (\d+) targets", pathlib.Path("docs/performance_xeon.md").read_text())
for page in ("README.md", "docs/performance.md"):
    told = re.search(r"Intel Xeon[^.]*?(\d+) of (?:the )?(\d+)", pathlib.Path(page).read_text(), re.DOTALL)
    check(f"{page} says how many that page does", told and told.groups() == met.groups())

# A peer that never answers or dies is a line, not an end.
for program, why in (("import sys; sys.exit('broken')", "broken"), ("import os; os.kill(os.getpid(), 8)", "died of signal 8"), ("print('{')", "no JSON")):
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            subjects.Server([sys.executable, "-c", program], 1, None, 30)
        check(f"{program}: is refused", False)
    except subjects.Failed as e:
        check(f"{program}: {e}", why in str(e))

print(f"{failures} failures")
sys.exit(1 if failures else 0)
