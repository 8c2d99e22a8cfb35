"""Softmax and relatives, normalisation, attention."""

import torch
import torch.nn.functional as F

from .common import COMPOSED, EXACT, draw, given, whole

INF = float("inf")
INDEX = {"i32": torch.int32, "i64": torch.int64}


def softmaxes(case):
    for op, f in {"softmax": F.softmax, "log_softmax": F.log_softmax}.items():
        for label, dims, axis in (
            ("last", (3, 5), None),
            ("middle", (2, 3, 2), 1),
            ("first", (4, 3), 0),
            ("vector", (5,), -1),
            ("one", (3, 1), -1),
            ("no_rows", (0, 3), -1),
        ):
            g = lambda x: f(x, -1 if axis is None else axis)
            config = {} if axis is None else {"axis": axis}
            case(op, label, {"x": draw(*dims, low=-3, high=3)}, config, g, tolerance=COMPOSED)
        large = given([[1000.0, 999.0, 0.0], [-1000.0, -1001.0, -1000.5]])
        case(op, "large", {"x": large}, {}, lambda x: f(x, -1), tolerance=COMPOSED, dtypes=["f64", "f32"])
        masked = given([[1.0, -INF, 0.5], [-INF, 0.0, -INF]])
        case(op, "masked", {"x": masked}, {}, lambda x: f(x, -1), tolerance=COMPOSED, grad=False)
        special = given([[1.0, float("nan"), 0.5], [INF, 0.0, 1.0], [-INF, -INF, -INF], [0.0, 0.0, 0.0]])
        case(op, "special", {"x": special}, {}, lambda x: f(x, -1), tolerance=COMPOSED, grad=False)


def choices(case):
    pick = lambda x, i: x.gather(-1, i.long().unsqueeze(-1)).squeeze(-1)
    for name, dtype in INDEX.items():
        case(
            "pick",
            f"rows_{name}",
            {"x": draw(3, 4), "indices": whole(3, high=3, dtype=dtype)},
            {},
            pick,
            tolerance=EXACT,
        )
    case("pick", "matrix", {"x": draw(2, 3, 4), "indices": whole(2, 3, high=3)}, {}, pick, tolerance=EXACT)
    case("pick", "vector", {"x": draw(4), "indices": whole(high=3)}, {}, pick, tolerance=EXACT)
    case("pick", "no_rows", {"x": draw(0, 4), "indices": whole(0)}, {}, pick, tolerance=EXACT)


def normalisation(case):
    def cases(label, dims, gain, biases, epsilon=None, **more):
        n = dims[-1]
        inputs = {"x": draw(*dims), "gain": draw(n) if gain else None, "biases": draw(n) if biases else None}
        eps = 1e-5 if epsilon is None else epsilon
        f = lambda x, g, b: F.layer_norm(x, [n], g, b, eps)
        case(
            "layer_norm", label, inputs, {} if epsilon is None else {"epsilon": epsilon}, f, tolerance=COMPOSED, **more
        )

    cases("all", (3, 5), True, True)
    cases("gain", (2, 3, 4), True, False)
    cases("biases", (6,), False, True)
    cases("plain", (2, 4), False, False, 0.1)
    cases("one_feature", (3, 1), True, True)
    cases("no_rows", (0, 3), True, True)
    # Of halves a mean of 100 leaves few bits of the rest.
    far = lambda x: F.layer_norm(x, [4])
    case(
        "layer_norm",
        "far_from_0",
        {"x": given([[100.5, 101.0, 99.0, 100.25]])},
        {},
        far,
        dtypes=["f64"],
        tolerance=COMPOSED,
    )


def attended(score):
    """One query a row, over its own positions."""

    def f(query, keys, values, lengths, score_weights):
        contexts, weights = [], []
        for b in range(query.shape[0]):
            n = keys.shape[1] if lengths is None else int(lengths[b])
            k, v = keys[b, :n], values[b, :n]
            if score == "additive":
                s = torch.tanh(query[b] + k) @ score_weights
            else:
                s = k @ query[b]
            if score == "scaled_dot":
                s = s / query.shape[1] ** 0.5
            w = torch.softmax(s, 0)
            contexts.append(w @ v)
            weights.append(torch.cat([w, torch.zeros(keys.shape[1] - n, dtype=w.dtype)]))
        return {"context": torch.stack(contexts), "weights": torch.stack(weights)}

    return f


def attention(case):
    def operands(b, s, a, c, score, lengths=None):
        return {
            "query": draw(b, a),
            "keys": draw(b, s, a),
            "values": draw(b, s, c),
            "lengths": lengths,
            "score_weights": draw(a) if score == "additive" else None,
        }

    for score in ("dot", "scaled_dot", "additive"):
        config = {"score": score}
        f = attended(score)
        case("attention", score, operands(2, 3, 4, 2, score), config, f, tolerance=COMPOSED)
        lengths = given([2, 0, 3], torch.int32)
        case("attention", f"{score}_lengths", operands(3, 3, 2, 2, score, lengths), config, f, tolerance=COMPOSED)
        case(
            "attention",
            f"{score}_one",
            operands(1, 1, 1, 1, score, given([1], torch.int64)),
            config,
            f,
            tolerance=COMPOSED,
        )
    padded = operands(2, 3, 2, 1, "scaled_dot", given([1, 2], torch.int64))
    hole = given([[False, True, True], [False, False, True]], torch.bool).unsqueeze(-1)
    for name in ("keys", "values"):
        numbers = padded[name]
        padded[name] = type(numbers)(lambda rng, numbers=numbers: numbers.of(rng).masked_fill(hole, float("nan")))
    case("attention", "nan_in_padding", padded, {}, attended("scaled_dot"), tolerance=COMPOSED)


def losses(case):
    sparse = lambda logits, labels: F.cross_entropy(logits, labels.long())
    for name, dtype in INDEX.items():
        inputs = {"logits": draw(3, 5, low=-3, high=3), "labels": whole(3, high=4, dtype=dtype)}
        case("softmax_cross_entropy", f"rows_{name}", inputs, {}, sparse, tolerance=COMPOSED)
    case(
        "softmax_cross_entropy",
        "one_class",
        {"logits": draw(2, 1), "labels": whole(2, high=0)},
        {},
        sparse,
        tolerance=COMPOSED,
    )
    large = {"logits": given([[500.0, -500.0], [-300.0, 300.0]]), "labels": given([1, 1], torch.int32)}
    case("softmax_cross_entropy", "large", large, {}, sparse, tolerance=COMPOSED)


def add(case):
    softmaxes(case)
    choices(case)
    normalisation(case)
    attention(case)
    losses(case)
