#!/usr/bin/env python3
"""Times one workload on a library that one would use instead, with the arguments and in the units of `rondo bench --json`.

    peers.py CELL --peer PEER --time T --batch B --input I --hidden H ...
    peers.py --versions      the peers, and which of them this Python has

torch takes rows of different lengths packed, torch_padded as a rectangle whose padding is masked. A cell that a library has not is
written the way its users write one: in torch a loop over x[t], or (_unbound) over what x.unbind() gives, which is quicker.
What a peer does not offer ends with status 3. How to install them: docs/performance.md.
"""

import importlib
import importlib.metadata
import json
import os
import sys

import workload

MODULES = {
    "torch": ("peer_torch", ["torch"]),
    "torch_padded": ("peer_torch", ["torch"]),
    "torch_unbound": ("peer_torch", ["torch"]),
    "torch_compile": ("peer_torch", ["torch"]),
    "torch_compile_unbound": ("peer_torch", ["torch"]),
    "onnxruntime": ("peer_onnxruntime", ["onnxruntime", "onnx"]),
    "jax": ("peer_jax", ["jax"]),
}


def versions():
    """Of each peer, None where a package that it needs is not installed."""
    found = {}
    for peer, (_, packages) in MODULES.items():
        try:
            found[peer] = [importlib.metadata.version(p) for p in packages][0]
        except importlib.metadata.PackageNotFoundError:
            found[peer] = None
    return found


def main():
    if sys.argv[1:] == ["--versions"]:
        print(json.dumps(versions()))
        return 0
    p = workload.parser(description=__doc__)
    p.add_argument("--peer", required=True, choices=list(MODULES))
    p.add_argument("--min-time", type=float, default=1, help="seconds of timed runs; at least 5 runs")
    p.add_argument("--serve", action="store_true", help="be ready, then time as many seconds as each line of the input says")
    p.add_argument("--json", action="store_true", help="as it is anyway")
    arguments = p.parse_args()
    task = workload.of(arguments)
    # Both are read when the libraries are loaded; XLA has as many threads as there are processors.
    os.environ["OMP_NUM_THREADS"] = str(task.threads)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    try:
        version, run, steps = importlib.import_module(MODULES[arguments.peer][0]).prepare(task, arguments.peer)
    except workload.NotOffered as e:
        print(f"{arguments.peer}: {e}", file=sys.stderr)
        return 3

    def report(seconds, warm_up):
        print(json.dumps({"peer": arguments.peer, "version": version, **workload.times(run, seconds, warm_up, steps)}), flush=True)

    if not arguments.serve:
        report(arguments.min_time, 3)
        return 0
    for _ in range(3):
        run()
    print(json.dumps({"peer": arguments.peer, "version": version, "ready": True}), flush=True)
    for line in sys.stdin:
        report(float(line), 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
