"""The recurrent layers beside the contract: each row by itself, step by step, in PyTorch, from the equations in
docs/ops.md; and PyTorch's own LSTMs."""

import torch
import torch.nn.functional as F

from .common import COMPOSED, draw, given

sigmoid, tanh = torch.sigmoid, torch.tanh


def lstm_layer_norm(w, x, s, config):
    z = F.layer_norm(
        x @ w["input_weights"] + s[0] @ w["recurrent_weights"],
        [4 * len(s[0])],
        w["gain"],
        w["biases"],
        config.get("epsilon", 1e-5),
    )
    i, f, g, o = z.chunk(4)
    c = sigmoid(f) * s[1] + sigmoid(i) * tanh(g)
    return [sigmoid(o) * tanh(c), c]


def gru_layer_norm(w, x, s, config):
    n, eps = [3 * len(s[0])], config.get("epsilon", 1e-5)
    a = F.layer_norm(x @ w["input_weights"], n, w["input_gain"], w["biases"], eps).chunk(3)
    b = F.layer_norm(s[0] @ w["recurrent_weights"], n, w["recurrent_gain"], w["recurrent_biases"], eps).chunk(3)
    r, u = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
    return [u * s[0] + (1 - u) * tanh(a[2] + r * b[2])]


def ind_rnn(w, x, s, config):
    z = x @ w["input_weights"] + w["recurrent_weights"] * s[0]
    act = tanh if config.get("activation") == "TANH" else torch.relu
    return [act(z if w["biases"] is None else z + w["biases"])]


def min_gru(w, x, s, config):
    a = x @ w["input_weights"]
    z, n = (a if w["biases"] is None else a + w["biases"]).chunk(2)
    return [(1 - sigmoid(z)) * s[0] + sigmoid(z) * n]


def min_lstm(w, x, s, config):
    a = x @ w["input_weights"]
    f, i, n = (a if w["biases"] is None else a + w["biases"]).chunk(3)
    k = sigmoid(f) / (sigmoid(f) + sigmoid(i))
    return [k * s[0] + (1 - k) * n]


# step, weights (axes of one direction), those that may be absent, states
LAYERS = {
    "lstm_layer_norm": (
        lstm_layer_norm,
        {"input_weights": "I4", "recurrent_weights": "H4", "gain": "4", "biases": "4"},
        ["gain", "biases"],
        ["h", "c"],
    ),
    "gru_layer_norm": (
        gru_layer_norm,
        {
            "input_weights": "I3",
            "recurrent_weights": "H3",
            "input_gain": "3",
            "recurrent_gain": "3",
            "biases": "3",
            "recurrent_biases": "3",
        },
        ["input_gain", "recurrent_gain", "biases", "recurrent_biases"],
        ["h"],
    ),
    "ind_rnn": (ind_rnn, {"input_weights": "I1", "recurrent_weights": "1", "biases": "1"}, ["biases"], ["h"]),
    "min_gru": (min_gru, {"input_weights": "I2", "biases": "2"}, ["biases"], ["h"]),
    "min_lstm": (min_lstm, {"input_weights": "I3", "biases": "3"}, ["biases"], ["h"]),
}
TO_TNS = {"TNS": (0, 1, 2), "NTS": (1, 0, 2), "NST": (2, 0, 1)}
FROM_TNS = {"TNS": (0, 1, 2), "NTS": (1, 0, 2), "NST": (1, 2, 0)}


def one_direction(step, w, x, lengths, states, backward, config):
    """x [T,B,I], states [B,H] each -> y [T,B,H], last states."""
    steps, rows = x.shape[:2]
    y = [[None] * rows for _ in range(steps)]
    last = []
    for b in range(rows):
        s = [v[b] for v in states]
        n = steps if lengths is None else int(lengths[b])
        for t in range(steps):
            y[t][b] = torch.zeros_like(s[0])
        for t in reversed(range(n)) if backward else range(n):
            s = step(w, x[t, b], s, config)
            y[t][b] = s[0]
        last.append(s)
    return torch.stack([torch.stack(row) for row in y]), [torch.stack([s[k] for s in last]) for k in range(len(states))]


def layer(op, config, hidden):
    step, weights, _, names = LAYERS[op]
    mode, layout = config.get("direction_mode", "FWD"), config.get("data_format", "TNS")
    both = mode.startswith("BIDIR")

    def f(x, lengths, *operands):
        w, first = dict(zip(weights, operands)), operands[len(weights) :]
        x = x.permute(TO_TNS[layout])
        halves = []
        for d in (0, 1) if both else (0,):
            of = lambda v: None if v is None else v[d] if both else v
            states = [torch.zeros(x.shape[1], hidden, dtype=x.dtype) if v is None else of(v) for v in first]
            backward = d == 1 or mode == "BWD"
            halves.append(one_direction(step, {k: of(v) for k, v in w.items()}, x, lengths, states, backward, config))
        join = {
            "BIDIR_SUM": lambda ys: ys[0] + ys[1],
            "BIDIR_CONCAT": lambda ys: torch.cat(ys, -1),
            "BIDIR_EXTRA_DIM": lambda ys: torch.stack(ys, 1),
        }
        y = join.get(mode, lambda ys: ys[0])([h[0] for h in halves])
        result = {"y": y if y.dim() == 4 else y.permute(FROM_TNS[layout])}
        for k, name in enumerate(names):
            last = [h[1][k] for h in halves]
            result[f"last_{name}"] = torch.stack(last) if both else last[0]
        return result

    return f


def of_pytorch(case):
    """Where PyTorch has the same cell: gates i, f, g, o; its weights are transposed, one of its biases is 0."""
    b, i, h, p, t = 2, 3, 2, 1, 3

    def cell(x, wx, wh, biases, y, c):
        y, c = torch.lstm_cell(x, (y, c), wx.T, wh.T, biases, torch.zeros_like(biases))
        return {"h": y, "c": c}

    for label, rows in (("rows", b), ("one_row", 1), ("no_rows", 0)):
        inputs = {
            "x": draw(rows, i),
            "input_weights": draw(i, 4 * h),
            "recurrent_weights": draw(h, 4 * h),
            "biases": draw(4 * h),
        }
        inputs |= {"y_last": draw(rows, h), "c_last": draw(rows, h)}
        case("lstm_layer_cell", f"pytorch_{label}", inputs, {}, cell, tolerance=COMPOSED)

    def lstm(x, y, c, wx, wh, biases, wp):
        weights = [wx.T, wh.T, biases, torch.zeros_like(biases)] + ([] if wp is None else [wp.T])
        return {"h": torch.lstm(x, (y[None], c[None]), weights, True, 1, 0.0, False, False, False)[0]}

    for label, out in (("projection", p), ("plain", h)):
        inputs = {"x": draw(t, b, i), "h_last": draw(b, out), "c_last": draw(b, h), "input_weights": draw(i, 4 * h)}
        inputs |= {
            "recurrent_weights": draw(out, 4 * h),
            "biases": draw(4 * h),
            "projection_weights": draw(h, p) if out == p else None,
        }
        case("lstmp", f"pytorch_{label}", inputs, {"projection": out == p}, lstm, tolerance=COMPOSED)


def add(case):
    of_pytorch(case)
    for op, (_, weights, optional, states) in LAYERS.items():

        def one(label, config, t=3, b=2, i=2, h=2, lengths=None, absent=(), first=True, **more):
            both = [2] if config.get("direction_mode", "").startswith("BIDIR") else []
            sizes = {"I": i, "H": h}
            at = {"TNS": (t, b, i), "NTS": (b, t, i), "NST": (b, i, t)}[config.get("data_format", "TNS")]
            inputs = {"x": draw(*at), "lengths": lengths}
            for name, axes in weights.items():
                dims = [sizes[a] if a in sizes else int(a) * h for a in axes]
                inputs[name] = None if name in absent else draw(*both, *dims)
            for s in states:
                inputs[f"{s}_last"] = draw(*both, b, h) if first else None
            case(op, label, inputs, config, layer(op, config, h), tolerance=COMPOSED, **more)

        one("plain", {}, absent=optional, first=False)
        one("everything", {}, lengths=given([2, 3], torch.int32))
        one("backward", {"direction_mode": "BWD", "data_format": "NTS"}, lengths=given([3, 1], torch.int64))
        one("sum", {"direction_mode": "BIDIR_SUM", "data_format": "NST"}, t=2, absent=optional[-1:])
        one("concat", {"direction_mode": "BIDIR_CONCAT"}, t=2, lengths=given([0, 2], torch.int32), absent=optional[:1])
        one("extra_dim", {"direction_mode": "BIDIR_EXTRA_DIM"}, t=2, first=False)
        one("one_of_each", {}, t=1, b=1, i=1, h=1)
        if op.endswith("norm"):
            one("epsilon", {"epsilon": 0.25}, h=1, absent=optional)
    one_unit = {
        "x": draw(3, 2, 2),
        "lengths": None,
        "input_weights": draw(2, 3),
        "recurrent_weights": draw(3),
        "biases": draw(3),
        "h_last": draw(2, 3),
    }
    config = {"activation": "TANH"}
    case("ind_rnn", "tanh", one_unit, config, layer("ind_rnn", config, 3), tolerance=COMPOSED)
