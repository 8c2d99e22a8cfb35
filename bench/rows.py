"""The rows of the comparison: what is run, against whom, and by how much ours is to be quicker."""

import dataclasses

from workload import Workload

PEERS = {
    "torch": "PyTorch",
    "torch_padded": "PyTorch, padded",
    "torch_unbound": "PyTorch, unbound",
    "torch_compile": "torch.compile",
    "torch_compile_unbound": "torch.compile, unbound",
    "onnxruntime": "ONNX Runtime",
    "jax": "JAX",
    "onednn": "oneDNN",
    "onednn_new": "oneDNN, newer",
    "fused": "our fused form",
}
# A target may name several peers: the quickest of them counts.
BEST = ("torch", "onnxruntime", "jax", "onednn", "onednn_new")
ONEDNN = ("onednn", "onednn_new")


@dataclasses.dataclass(frozen=True)
class PlanCost:
    """A figure of rondo_bench_plan, which no other program has."""

    figure: str
    threads: int = 1

    def arguments(self):
        return [self.figure]

    def step_bytes(self):
        return 0


@dataclasses.dataclass(frozen=True)
class Target:
    peers: tuple
    ratio: float | None  # None: shown, nothing promised
    name: str = ""
    limit_ms: float | None = None  # in the place of a peer: ours may take so long

    @property
    def title(self):
        return self.name or PEERS[self.peers[0]]


def best(ratio, name="the best"):
    return Target(BEST, ratio, name)


def against(peer, ratio=None):
    return Target(ONEDNN if peer == "onednn" else (peer,), ratio)


def at_most(text, ms):
    return Target((), 1.0, f"at most {text}", ms)


@dataclasses.dataclass(frozen=True)
class Row:
    id: str
    title: str
    ours: Workload | PlanCost
    targets: tuple
    peers: Workload | None = None  # where they run something else than we do
    measures: str = "time"  # memory: what one run adds to the resident size at its peak
    allocations: int | None = None  # of one run, at most

    @property
    def theirs(self):
        return self.peers or self.ours

    def subjects(self):
        """The peers that it needs, each once, in a fixed order."""
        wanted = {p for t in self.targets for p in t.peers}
        return [p for p in PEERS if p in wanted]


def work(cell, mode, batch, hidden, **more):
    return Workload(cell, batch, hidden, more.pop("input", hidden), mode=mode, **more)


def own_cell(cell, form):
    """A cell of the user's own against the library's layer: a ratio below 1 where it is slower."""
    ours = work(cell, "train", 16, 256, form=form)
    return Row(f"own-{cell}-{form}", f"{cell}, one's own cell ({form}), train B16 H256", ours, (against("fused", 1 / 1.15),))


TORCH_LOOP = (against("torch_unbound"), against("torch_compile_unbound"))
OWN_CELLS = ("lstm_peephole", "gru_reset_before", "lstm_layer_norm", "sru")

# T=100, I=H, one thread and f32 unless the row says otherwise. The bound of a target is the issue's.
ROWS = (
    Row("lstm-infer-b1-h256", "lstm infer B1 H256", work("lstm", "infer", 1, 256), (best(1.15),)),
    Row("lstm-infer-b1-h256-2t", "lstm infer B1 H256, 2 threads", work("lstm", "infer", 1, 256, threads=2), (best(1.3),)),
    Row("lstm-infer-b1-h1024", "lstm infer B1 H1024", work("lstm", "infer", 1, 1024), (best(1.15),)),
    Row(
        "lstm-infer-b1-h1024-int8",
        "lstm infer B1 H1024, int8 weights",
        work("lstm", "infer", 1, 1024, dtype="int8"),
        (best(4, "the best in f32"),),
        peers=work("lstm", "infer", 1, 1024),
    ),
    Row("lstm-infer-b1-h256-bf16", "lstm infer B1 H256 bf16", work("lstm", "infer", 1, 256, dtype="bf16"), (against("torch", 1.5), against("onednn"))),
    Row("lstm-infer-b1-h1024-bf16", "lstm infer B1 H1024 bf16", work("lstm", "infer", 1, 1024, dtype="bf16"), (against("torch", 1.5), against("onednn"))),
    Row("lstm-infer-b16-h256", "lstm infer B16 H256", work("lstm", "infer", 16, 256), (best(1.0),)),
    Row("lstm-infer-b64-h512", "lstm infer B64 H512", work("lstm", "infer", 64, 512), (best(1.0),)),
    # With AMX where the machine has it, ours and theirs.
    Row("lstm-infer-b16-h256-bf16", "lstm infer B16 H256 bf16", work("lstm", "infer", 16, 256, dtype="bf16"), (best(1.0),)),
    Row("lstm-infer-t29", "lstm infer T29 B16 I12 H64", work("lstm", "infer", 16, 64, input=12, time=29), (best(1.1),)),
    Row("lstm-train-b1-h256", "lstm train B1 H256", work("lstm", "train", 1, 256), (against("onednn", 1.2), against("torch", 2.2))),
    Row("lstm-train-b16-h256", "lstm train B16 H256", work("lstm", "train", 16, 256), (against("onednn", 1.05), against("torch", 1.12))),
    Row("lstm-train-b64-h256", "lstm train B64 H256", work("lstm", "train", 64, 256), (against("onednn", 1.1), against("torch", 1.35))),
    Row("gru-train-b16-h256", "gru train B16 H256", work("gru", "train", 16, 256), (against("onednn", 1.12), against("torch", 3))),
    Row("rnn_tanh-train-b16-h256", "rnn_tanh train B16 H256", work("rnn_tanh", "train", 16, 256), (against("onednn", 1.08), against("torch", 3))),
    Row(
        "gru_reset_before-train-b16-h256",
        "gru_reset_before train B16 H256",
        work("gru_reset_before", "train", 16, 256),
        (against("onednn", 1.1), against("jax", 1.5), against("torch", 6), against("torch_unbound")),
    ),
    Row(
        "lstm_peephole-train-b16-h256",
        "lstm_peephole train B16 H256",
        work("lstm_peephole", "train", 16, 256),
        (against("onednn", 1.15), against("jax", 2.3), against("torch", 4.5), against("torch_compile", 3), *TORCH_LOOP),
    ),
    Row(
        "lstm_layer_norm-train-b16-h256",
        "lstm_layer_norm train B16 H256",
        work("lstm_layer_norm", "train", 16, 256),
        (against("jax", 2.2), against("torch", 4.5), against("torch_unbound")),
    ),
    Row(
        "sru-train-b16-h256",
        "sru train B16 H256",
        work("sru", "train", 16, 256),
        (against("jax", 1.5), against("torch", 5), against("torch_compile", 4), *TORCH_LOOP),
    ),
    Row(
        "ragged-infer-b64-h256",
        "lstm infer B64 H256, ragged",
        work("lstm", "infer", 64, 256, lengths="ragged"),
        (against("onnxruntime", 1.7), Target(("torch", "torch_padded"), 1.5, "PyTorch, the better of packed and padded"), against("onednn")),
    ),
    Row(
        "ragged-train-b64-h256",
        "lstm train B64 H256, ragged",
        work("lstm", "train", 64, 256, lengths="ragged"),
        (Target(("torch",), 5, "PyTorch, packed"), against("torch_padded", 1.9), Target(ONEDNN, 1.4, "oneDNN, padded")),
    ),
    Row(
        "bidirectional-train-b16-h256-2t",
        "lstm train B16 H256, 2 layers, both directions, 2 threads",
        work("lstm", "train", 16, 256, layers=2, bidirectional=True, threads=2),
        (against("torch", 1.4), against("onednn", 1.1)),
    ),
    *(own_cell(cell, form) for cell in OWN_CELLS for form in ("scan", "unrolled")),
    Row(
        "stream-i16-h32",
        "lstm, one step, B1 I16 H32",
        work("lstm", "stream", 1, 32, input=16),
        (against("onnxruntime", 15), against("onednn")),
        allocations=0,
    ),
    Row("stream-h256", "lstm, one step, B1 H256", work("lstm", "stream", 1, 256), (against("onnxruntime"), against("onednn", 1.1)), allocations=0),
    Row("memory-train-b64-h256", "lstm train B64 H256, peak memory", work("lstm", "train", 64, 256), (against("torch", 2), against("onednn")), measures="memory"),
    Row("plan-node", "plan: one node more in a run", PlanCost("node"), (at_most("0.15 µs", 0.15e-3),)),
    Row("plan-specialise", "plan of the vowels demo's training: new T and B", PlanCost("specialise"), (at_most("0.1 ms", 0.1),)),
    Row("plan-compile", "plan of the vowels demo's training: compiled", PlanCost("compile"), (at_most("50 ms", 50),)),
)
