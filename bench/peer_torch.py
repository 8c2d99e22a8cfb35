"""PyTorch: its own layers, packed or padded; cells that it has not as a loop over time, compiled or not."""

import torch
from torch import nn

from workload import GATES, NotOffered

LAYERS = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "rnn_tanh": (nn.RNN, {"nonlinearity": "tanh"}),
    "rnn_relu": (nn.RNN, {"nonlinearity": "relu"}),
}


# ---- cells: (the cell's weights, products with x of this step, x, state) to (output, state) ----


def lstm_of(gates, c):
    i, f, g, o = gates
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return h, (h, c)


def lstm_peephole(m, z, x, state):
    h, c = state
    i, f, g, o = (z + m.recurrent(h)).chunk(4, -1)
    new = torch.sigmoid(f + m.peephole[1] * c) * c + torch.sigmoid(i + m.peephole[0] * c) * torch.tanh(g)
    h = torch.sigmoid(o + m.peephole[2] * new) * torch.tanh(new)
    return h, (h, new)


def lstm_layer_norm(m, z, x, state):
    h, c = state
    return lstm_of(m.norm(z + m.recurrent(h)).chunk(4, -1), c)


def gru_reset_before(m, z, x, state):
    (h,) = state
    a, b = z.split([2 * h.shape[-1], h.shape[-1]], -1)
    r, u = torch.sigmoid(a + m.recurrent(h)).chunk(2, -1)
    h = u * h + (1 - u) * torch.tanh(b + m.candidate(r * h))
    return h, (h,)


def sru(m, z, x, state):
    (c,) = state
    z, f, r = z.chunk(3, -1)
    f, r = torch.sigmoid(f), torch.sigmoid(r)
    c = f * c + (1 - f) * z
    return r * torch.tanh(c) + (1 - r) * x, (c,)


CELLS = {"lstm_peephole": (lstm_peephole, 2), "lstm_layer_norm": (lstm_layer_norm, 2), "gru_reset_before": (gru_reset_before, 1), "sru": (sru, 1)}


class Loop(nn.Module):
    """A cell over time, as one writes it: what does not depend on the state in one product before the loop.

    Most loops read x[t]; its gradient is as large as x, in every step. Those who know that take x apart before the loop.
    """

    def __init__(self, cell, inputs, hidden, unbound):
        super().__init__()
        self.unbound = unbound
        self.step, self.states = CELLS[cell]
        self.hidden = hidden
        gates = GATES[cell] * hidden
        self.input = nn.Linear(inputs, gates, bias=cell != "lstm_layer_norm")
        if cell == "gru_reset_before":
            self.recurrent = nn.Linear(hidden, 2 * hidden, bias=False)
            self.candidate = nn.Linear(hidden, hidden, bias=False)
        elif cell != "sru":
            self.recurrent = nn.Linear(hidden, gates, bias=False)
        if cell == "lstm_layer_norm":
            self.norm = nn.LayerNorm(gates)
        if cell == "lstm_peephole":
            self.peephole = nn.Parameter(torch.randn(3, hidden) * 0.05)

    def forward(self, x):
        state = tuple(x.new_zeros(x.shape[1], self.hidden) for _ in range(self.states))
        zs, xs = self.input(x), x
        if self.unbound:
            zs, xs = zs.unbind(0), xs.unbind(0)
        outputs = []
        for t in range(len(xs)):
            y, state = self.step(self, zs[t], xs[t], state)
            outputs.append(y)
        return torch.stack(outputs)


class Rows(nn.Module):
    """A layer over rows of different lengths."""

    def __init__(self, layer, task, packed):
        super().__init__()
        self.layer, self.packed = layer, packed
        self.lengths = torch.tensor(task.row_lengths())
        self.mask = torch.arange(task.time)[:, None, None] < self.lengths[None, :, None]

    def forward(self, x):
        if not self.packed:
            return self.layer(x)[0] * self.mask
        packed = nn.utils.rnn.pack_padded_sequence(x, self.lengths, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0], total_length=x.shape[0])[0]


class First(nn.Module):
    """The outputs of a layer, without its last state."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


def network(task, peer):
    if task.cell in LAYERS:
        if peer.endswith("unbound"):
            raise NotOffered("it has a layer of its own: nothing to write a loop for")
        kind, more = LAYERS[task.cell]
        layer = kind(task.input, task.hidden, task.layers, bidirectional=task.bidirectional, **more)
        return Rows(layer, task, peer != "torch_padded") if task.ragged else First(layer)
    if task.ragged or task.bidirectional:
        raise NotOffered("a loop of one's own has neither lengths nor directions here")
    unbound = peer.endswith("unbound")
    return nn.Sequential(*[Loop(task.cell, n, task.hidden, unbound) for n in task.layer_inputs()])


def prepare(task, peer):
    """(version, what is one run, 1)"""
    if task.mode == "stream":
        raise NotOffered("streaming is not written for PyTorch here")
    torch.set_num_threads(task.threads)
    torch.manual_seed(1)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[task.dtype]
    net = network(task, peer).to(dtype)
    x = torch.randn(task.time, task.batch, task.input, dtype=dtype)
    parameters = list(net.parameters())
    forward = torch.compile(net) if peer.startswith("torch_compile") else net
    if not task.train:

        def run():
            with torch.inference_mode():
                forward(x)

        return torch.__version__, run, 1
    x.requires_grad_(True)
    dy = torch.randn(task.time, task.batch, task.directions * task.hidden, dtype=dtype)

    def run():
        for p in (x, *parameters):
            p.grad = None
        forward(x).backward(dy)

    return torch.__version__, run, 1
