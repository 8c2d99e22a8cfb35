"""One recurrent workload: what `rondo bench` and every peer are asked to run, in the tool's own words."""

import argparse
import dataclasses
import statistics
import time

CELLS = ("lstm", "gru", "rnn_tanh", "rnn_relu", "sru", "lstm_peephole", "gru_reset_before", "lstm_layer_norm")
GATES = dict(zip(CELLS, (4, 3, 1, 1, 3, 4, 3, 4)))


class NotOffered(Exception):
    """The peer has no such thing; the message says what."""


@dataclasses.dataclass(frozen=True)
class Workload:
    cell: str
    batch: int
    hidden: int
    input: int
    time: int = 100
    layers: int = 1
    bidirectional: bool = False
    mode: str = "infer"  # train: one forward and backward pass, gradients of x and of every weight
    dtype: str = "f32"
    lengths: str = "full"  # ragged: spread evenly over [0.25 T, T]
    form: str = "fused"  # of ours: the library's layer, or a cell of the user's own
    threads: int = 1

    @property
    def directions(self):
        return 2 if self.bidirectional else 1

    @property
    def train(self):
        return self.mode == "train"

    @property
    def ragged(self):
        return self.lengths == "ragged"

    def row_lengths(self):
        if not self.ragged:
            return [self.time] * self.batch
        return [max(1, round(self.time * (0.25 + 0.75 * (b + 1) / self.batch))) for b in range(self.batch)]

    def arguments(self):
        """As the tool takes them; what is as it is anyway is left away."""
        given = [self.cell]
        for field in dataclasses.fields(self)[1:]:
            value = getattr(self, field.name)
            if field.name == "bidirectional":
                given += ["--bidirectional"] if value else []
            elif value != field.default:
                given += [f"--{field.name}", str(value)]
        return given if self.time != 100 else [*given, "--time", "100"]

    # ---- what it takes at least ----

    def layer_inputs(self):
        return [self.input] + [self.directions * self.hidden] * (self.layers - 1)

    def flops(self):
        """(of products with a state, of all products): 2 for each multiplication with a weight, three times that in training."""
        if self.mode == "stream":
            rows = self.batch
        else:
            rows = sum(self.row_lengths())
        unit = 2 * rows * self.directions * GATES[self.cell] * self.hidden
        recurrent = 0 if self.cell == "sru" else unit * self.hidden * self.layers
        return (recurrent * (2 if self.train else 1), (unit * sum(self.layer_inputs()) + recurrent) * (3 if self.train else 1))

    def step_bytes(self):
        """Of weights that every step reads: one layer's recurrent ones and, where x comes a step at a time, those of x too."""
        size = {"f32": 4, "bf16": 2, "int8": 1}[self.dtype]
        inputs = self.input if self.mode == "stream" else 0
        return self.directions * GATES[self.cell] * self.hidden * (inputs + (0 if self.cell == "sru" else self.hidden)) * size

    def steps(self):
        """How often a run reads them: each step, and each step back."""
        return (1 if self.mode == "stream" else self.time) * self.layers * (2 if self.train else 1)


def parser(**more):
    p = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, **more)
    p.add_argument("cell", choices=CELLS)
    for name in ("time", "batch", "input", "hidden"):
        p.add_argument("--" + name, type=int, required=True)
    p.add_argument("--layers", type=int, default=1)
    p.add_argument("--bidirectional", action="store_true")
    p.add_argument("--mode", choices=["infer", "train", "stream"], default="infer")
    p.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    p.add_argument("--lengths", choices=["full", "ragged"], default="full")
    p.add_argument("--threads", type=int, default=1)
    return p


def of(arguments):
    names = {f.name for f in dataclasses.fields(Workload)}
    return Workload(**{k: v for k, v in vars(arguments).items() if k in names})


def times(f, seconds, warm_up=3, steps=1):
    """Milliseconds of a run, `steps` of which are one call of f: at least 5 calls, `seconds` of them."""
    for _ in range(warm_up):
        f()
    ms, end = [], time.perf_counter() + seconds
    while len(ms) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        f()
        ms.append((time.perf_counter() - start) * 1e3 / steps)
    return {"ms_min": min(ms), "ms_median": statistics.median(ms), "runs": len(ms)}
