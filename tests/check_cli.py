#!/usr/bin/env python3
"""Calls the tool as a user does: exit status, last line, one clear line for what is not there.

    check_cli.py TOOL   run from the root of the repository
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

TOOL = sys.argv[1]
VECTORS = "tests/vectors/nd4j"
ONE = f"{VECTORS}/000_lstmLayer_fmt_TNS_FWD.safetensors"
failures = 0


def rondo(*args):
    return subprocess.run([TOOL, *args], capture_output=True, text=True, timeout=300)


def check(what, ok, result):
    global failures
    if not ok:
        failures += 1
        print(f"FAILED: {what}: status {result.returncode}\n{result.stdout}{result.stderr}")


def says(status, last, *args):
    r = rondo(*args)
    lines = (r.stdout + r.stderr).strip().split("\n")
    check(f"rondo {' '.join(args)}", r.returncode == status and last in lines[-1], r)
    return r


def refuses(text, *args):
    """One line that begins with the tool's name, status 2."""
    r = rondo(*args)
    lines = r.stderr.strip().split("\n")
    ok = r.returncode == 2 and not r.stdout and len(lines) == 1
    check(f"rondo {' '.join(args)}", ok and lines[0].startswith("rondo: ") and text in lines[0], r)


# verify
says(0, "145 passed, 0 failed", "verify", VECTORS, "--form", "both")
says(0, "9 passed, 0 failed", "verify", VECTORS, "--only", "lstmLayerC*,gru")
says(0, "1 passed, 0 failed", "verify", ONE, "--no-grad", "--no-optimize", "--form", "eager")
says(0, "8 passed, 0 failed", "verify", "tests/vectors/mxnet", "--only", "convert", "--form", "both")
says(1, "0 passed, 0 failed", "verify", VECTORS, "--only", "lstmLaye")
says(1, "0 passed, 0 failed", "verify", ONE, "--kernel", "reference.argmax")
says(0, "1 passed, 0 failed", "verify", ONE, "--kernel", "runtime.recurrence.steps")
says(0, "1 passed, 0 failed", "verify", "tests/vectors/ops/products/matmul_odd_sizes.safetensors", "--kernel", "cpu.matmul.onednn")
each = ["verify", VECTORS, "--only", "sru,lstmLayerCell,gru", "--kernel", "all"]
table = says(0, "0 failed", *each).stdout
rows = {line.split()[0]: line.split()[3:] for line in table.splitlines() if "   f" in line}
for kernel in ("runtime.recurrence.steps", "cpu.recurrence.engine", "cpu.matmul.eigen", "reference.matmul"):
    check(f"--kernel all runs {kernel}", int(rows[kernel][0]) > 0 and rows[kernel][1] == "0", rondo(*each))
check("--kernel all names what no case holds", "no case holds the op of:" in table, rondo(*each))
says(1, "0 failed", *each, "--dtype", "f64")  # in which oneDNN runs nothing
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / "broken.safetensors").write_bytes(b"no header")
    shutil.copy(ONE, folder)
    report = folder / "report.json"
    says(1, "1 passed, 1 failed", "verify", str(folder), "--json", str(report))
    read = json.loads(report.read_text())
    outcomes = [(c["outcome"], len(c["tensors"]) > 10) for c in read["cases"]]
    check("JSON report", outcomes == [("passed", True), ("failed", False)], rondo("--version"))
refuses("no file or folder", "verify", "no/such/path")
refuses("quantum", "verify", ONE, "--backend", "quantum")
refuses("has no kernel 'nothing'", "verify", ONE, "--kernel", "nothing")
refuses("did you mean 'cpu.recurrence.engine'", "verify", ONE, "--kernel", "cpu.recurrence.engin")
refuses("f8", "verify", ONE, "--dtype", "f8")
refuses("path", "verify")

# inspect
says(1, "", "inspect", "no_such_file.rondo")
refuses("--output", "inspect", "x.rondo", "--output", "y")
refuses("excludes", "inspect", "x.rondo", "--plan", "--explain")

# ops
says(0, "", "ops")
check("ops lists", "lstm_layer" in rondo("ops").stdout, rondo("ops"))
check("ops NAME", "maxTSLength" in rondo("ops", "lstm_layer").stdout, rondo("ops", "lstm_layer"))
check("ops NAME, all of it",
      all(w in rondo("ops", "gru").stdout for w in ("[x, h_last]", "Cho et al.", "rnn::gru(", "PyTorch")),
      rondo("ops", "gru"))
check("ops NAME of a function that builds ops",
      all(w in rondo("ops", "cond").stdout for w in ("docs/control.md", "ops/control.h", "recurrence")), rondo("ops", "cond"))
check("ops recurrence", "docs/control.md" in rondo("ops", "recurrence").stdout, rondo("ops", "recurrence"))
check("ops --examples", "op_example: gru" in rondo("ops", "--examples").stdout, rondo("ops", "--examples"))
refuses("excludes", "ops", "gru", "--markdown")
refuses("did you mean 'sigmoid'", "ops", "sigmiod")
check("ops rnn::layer", "docs/layers.md" in rondo("ops", "rnn::layer").stdout, rondo("ops", "rnn::layer"))
refuses("did you mean 'layer'", "ops", "rnn::layr")
refuses("near it are", "ops", "deep_attention_pool")

# errors
check("errors lists", "gather.indices.range" in rondo("errors").stdout, rondo("errors"))
check("errors CODE", "K is not" in rondo("errors", "matmul.b.dim").stdout, rondo("errors", "matmul.b.dim"))
refuses("no error has the code 'nonsense'", "errors", "nonsense")
refuses("did you mean 'plan.memory.budget'", "errors", "plan.memory.bugdet")
refuses("excludes", "errors", "matmul.b.dim", "--markdown")

# the rest
refuses("fly", "fly")
refuses("a command is needed")
check("--version", rondo("--version").stdout.startswith("rondo 0."), rondo("--version"))
check("--help", all(c in rondo("--help").stdout for c in ("verify", "inspect", "ops", "bench")), rondo("--help"))

# bench
SMALL = ("--time", "5", "--batch", "2", "--input", "3", "--hidden", "4", "--min-time", "0")
result = rondo("bench", "lstm", *SMALL, "--json")
figures = json.loads(result.stdout)
check("bench --json", figures["runs"] >= 5 and figures["allocations"] > 0, result)
refuses("lstm2", "bench", "lstm2", *SMALL)
refuses("sru", "bench", "sru", *SMALL)
check("bench --explain", "recurrence" in rondo("bench", "gru", *SMALL, "--explain").stdout, result)
plain, again = (rondo("bench", "lstm", *SMALL[2:], "--time", "500", "--mode", "train", *more, "--json") for more in ((), ("--recompute",)))
check("bench --recompute", json.loads(again.stdout)["peak_bytes"] < json.loads(plain.stdout)["peak_bytes"], again)
forced = rondo("bench", "lstm", *SMALL, "--kernel", "runtime.recurrence.steps", "--json")
check("bench --kernel", json.loads(forced.stdout)["kernel"] == "runtime.recurrence.steps", forced)
check("bench --kernel: the JSON names what was asked", json.loads(forced.stdout)["kernel_asked"] == "runtime.recurrence.steps", forced)
check("bench --recompute: the JSON names it", json.loads(again.stdout)["recompute"] and not json.loads(plain.stdout)["recompute"], again)
refuses("--recompute is about gradients", "bench", "lstm", *SMALL, "--recompute")
refuses("--recompute is about gradients", "bench", "lstm", "--mode", "stream", *SMALL[2:], "--recompute")
refuses("runs no step of this network", "bench", "lstm", *SMALL, "--kernel", "cpu.softmax")
refuses("did you mean 'cpu.recurrence.engine'", "bench", "lstm", *SMALL, "--kernel", "cpu.recurrence.engin")
refuses("a kernel called 'cpu.lstm'", "bench", "lstm", *SMALL, "--kernel", "cpu.lstm")
step = json.loads(rondo("bench", "lstm", "--mode", "stream", *SMALL[2:], "--json").stdout)
check("bench --mode stream", step["time"] == 1 and step["allocations"] == 0, step)
refuses("--time is required", "bench", "lstm", *SMALL[2:])
refuses("no other direction", "bench", "lstm", *SMALL, "--mode", "stream", "--bidirectional")
print("failures:", failures)
sys.exit(failures != 0)
