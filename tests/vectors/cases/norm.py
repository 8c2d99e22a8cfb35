"""Normalisations beside layer_norm, and whether a run is one of training."""

import torch
import torch.nn.functional as F

from .common import COMPOSED, EXACT, draw, given


def rows(case):
    for label, dims, gain, epsilon in (
        ("gain", (3, 5), True, None),
        ("plain", (2, 3, 4), False, 0.1),
        ("vector", (6,), True, None),
        ("no_rows", (0, 3), True, None),
    ):
        inputs = {"x": draw(*dims), "gain": draw(dims[-1]) if gain else None}
        f = lambda x, g: F.rms_norm(x, [dims[-1]], g, 1e-6 if epsilon is None else epsilon)
        case("rms_norm", label, inputs, {} if epsilon is None else {"epsilon": epsilon}, f, tolerance=COMPOSED)
    for label, dims, axes in (("last", (3, 5), None), ("first", (4, 3), [0]), ("two", (2, 3, 4), [0, 2])):
        f = lambda x: F.normalize(x, dim=-1 if axes is None else axes, eps=1e-6)
        case("l2_normalize", label, {"x": draw(*dims)}, {} if axes is None else {"axes": axes}, f, tolerance=COMPOSED)
    short = lambda x: F.normalize(x, dim=-1, eps=2.0)
    case(
        "l2_normalize", "short", {"x": draw(2, 3, low=0.1, high=0.5)}, {"epsilon": 4.0}, short, tolerance=COMPOSED
    )
    zeros = {"x": given([[0.0, 0.0], [3.0, 4.0]])}
    case("l2_normalize", "zeros", zeros, {}, lambda x: F.normalize(x, dim=-1, eps=1e-6), tolerance=COMPOSED, grad=False)


def batch(case):
    def f(training, config):
        momentum, epsilon = config.get("momentum", 0.9), config.get("epsilon", 1e-5)

        def run(x, mean, variance, gain, biases, mask):
            rows = x.reshape(-1, x.shape[-1]) if mask is None else x[mask]
            kept = [mean.detach().clone(), variance.detach().clone()]
            y = F.batch_norm(rows, kept[0], kept[1], gain, biases, training, 1 - momentum, epsilon)
            y = y.reshape(x.shape) if mask is None else torch.zeros_like(x).masked_scatter(mask.unsqueeze(-1), y)
            if not training:
                return {"y": y, "next_mean": mean.detach(), "next_variance": variance.detach()}
            # PyTorch keeps the variance divided by n - 1, and gives what it keeps no gradient.
            after = lambda old, new: momentum * old.detach() + (1 - momentum) * new
            assert torch.allclose(after(mean, rows.mean(0)), kept[0])
            return {
                "y": y,
                "next_mean": after(mean, rows.mean(0)),
                "next_variance": after(variance, rows.var(0, correction=0)),
            }

        return run

    mask = given([[True, True, False], [True, False, True]], torch.bool)
    for label, dims, gain, biases, hidden, config in (
        ("all", (6, 3), True, True, None, {}),
        ("sequence", (3, 2, 4), True, False, None, {"momentum": 0.5}),
        ("image", (2, 2, 3, 2), False, True, None, {"epsilon": 0.1}),
        ("mask", (2, 3, 2), True, True, mask, {}),
    ):
        n = dims[-1]
        for training in (False, True):
            inputs = {
                "x": draw(*dims),
                "running_mean": draw(n),
                "running_variance": draw(n, low=0.5, high=2),
                "gain": draw(n) if gain else None,
                "biases": draw(n) if biases else None,
                "mask": hidden,
            }
            case(
                "batch_norm",
                f"{'training' if training else 'inference'}_{label}",
                inputs,
                config,
                f(training, config),
                tolerance=COMPOSED,
                grad=("running_mean", "running_variance"),
                run={"training": training},
            )


def training(case):
    module = torch.nn.Identity()
    for label, run in (("is", {"training": True}), ("is_not", {"training": False}), ("later", {"training": True, "step": 7})):
        module.train(run["training"])
        case("training", label, {}, {}, lambda: torch.tensor(module.training), run=run, grad=False, tolerance=EXACT)


def add(case):
    rows(case)
    batch(case)
    training(case)
