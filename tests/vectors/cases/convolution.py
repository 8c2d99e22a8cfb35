"""Convolutions, poolings, and the patches that they are made of. PyTorch has channels before the axes of an image, and
pads both ends alike: operands are turned and padded in front of it."""

import torch
import torch.nn.functional as F

from .common import COMPOSED, TIGHT, draw

INF = float("inf")


def to_first(x):
    return x.movedim(-1, 1)


def to_last(y):
    return y.movedim(1, -1)


def padded(x, amounts, value=0.0):
    """x [B,C,...], amounts before and after each axis."""
    return F.pad(x, [n for k in reversed(range(len(amounts) // 2)) for n in amounts[2 * k : 2 * k + 2]], value=value)


def same(lengths, size, strides, dilations):
    amounts = []
    for n, k, s, d in zip(lengths, size, strides, dilations):
        total = max(0, ((n + s - 1) // s - 1) * s + (k - 1) * d + 1 - n)
        amounts += [total // 2, total - total // 2]
    return amounts


def amounts_of(config, lengths, size, strides, dilations):
    padding = config.get("padding", "VALID")
    if padding == "SAME":
        return same(lengths, size, strides, dilations)
    if padding == "CAUSAL":
        return [(size[0] - 1) * dilations[0], 0]
    return config.get("amounts", [0, 0] * len(lengths))


def convolution(axes, config):
    conv = F.conv1d if axes == 1 else F.conv2d

    def f(x, kernel, biases):
        strides, dilations = config.get("strides", [1] * axes), config.get("dilations", [1] * axes)
        amounts = amounts_of(config, x.shape[1:-1], kernel.shape[:axes], strides, dilations)
        weight = kernel.permute(axes + 1, axes, *range(axes))
        y = conv(
            padded(to_first(x), amounts),
            weight,
            biases,
            stride=strides,
            dilation=dilations,
            groups=config.get("groups", 1),
        )
        return to_last(y)

    return f


def pooling(op, axes, config):
    def f(x):
        size = config["size"]
        strides = config.get("strides", size)
        amounts = amounts_of(config, x.shape[1:-1], size, strides, [1] * axes)
        if op == "max":
            pool = F.max_pool1d if axes == 1 else F.max_pool2d
            return to_last(pool(padded(to_first(x), amounts, -INF), size, strides))
        pool = F.avg_pool1d if axes == 1 else F.avg_pool2d
        total = pool(padded(to_first(x), amounts), size, strides)
        return to_last(total / pool(padded(torch.ones_like(to_first(x)), amounts), size, strides))

    return f


def unfolded(x, config):
    """Patches of x[B,H,W,C] as [B,P,Q,K], by PyTorch's unfold, which has channels first."""
    size, strides = config["size"], config.get("strides", [1, 1])
    dilations, amounts = config.get("dilations", [1, 1]), config.get("amounts", [0] * 4)
    image = padded(to_first(x), amounts, config.get("padding", 0.0))
    b, c = image.shape[:2]
    places = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(image.shape[2:], size, strides, dilations)]
    y = F.unfold(image, size, dilation=dilations, stride=strides).reshape(b, c, size[0] * size[1], *places)
    return y.permute(0, 3, 4, 2, 1).reshape(b, *places, -1)


def folded(y, config):
    """The adjoint, as the gradient of PyTorch's own."""
    window = config["size"][0] * config["size"][1]
    with torch.enable_grad():
        x = torch.zeros(y.shape[0], *config["image"], y.shape[3] // window, dtype=y.dtype, requires_grad=True)
        places = unfolded(x, config)
        return torch.autograd.grad(places, x, y, create_graph=True)[0]


def convolutions(case):
    def one(label, axes, x, kernel, biases, config):
        inputs = {"x": draw(*x), "kernel": draw(*kernel), "biases": draw(kernel[-1]) if biases else None}
        case(f"conv_{axes}d", label, inputs, config, convolution(axes, config), tolerance=COMPOSED)

    one("valid", 1, (2, 6, 3), (3, 3, 4), True, {})
    one("strided", 1, (1, 9, 2), (3, 2, 2), False, {"strides": [2]})
    one("same", 1, (2, 5, 2), (4, 2, 3), True, {"padding": "SAME"})
    one("same_strided", 1, (1, 8, 2), (3, 2, 2), True, {"padding": "SAME", "strides": [3]})
    one("causal", 1, (2, 6, 2), (3, 2, 2), True, {"padding": "CAUSAL", "dilations": [2]})
    one("amounts", 1, (1, 5, 2), (3, 2, 2), False, {"padding": "AMOUNTS", "amounts": [3, 1]})
    one("groups", 1, (2, 5, 4), (2, 2, 6), True, {"groups": 2})
    one("depthwise", 1, (2, 5, 3), (2, 1, 6), True, {"groups": 3})
    one("of_each_step", 1, (2, 4, 3), (1, 3, 2), True, {})
    one("valid", 2, (2, 4, 5, 2), (2, 3, 2, 3), True, {})
    one("same", 2, (1, 4, 5, 2), (3, 2, 2, 2), False, {"padding": "SAME"})
    one("same_strided", 2, (1, 5, 6, 1), (3, 3, 1, 2), True, {"padding": "SAME", "strides": [2, 3]})
    config = {"padding": "AMOUNTS", "amounts": [1, 0, 2, 3], "dilations": [2, 1], "strides": [1, 2]}
    one("amounts", 2, (1, 5, 4, 2), (3, 2, 2, 2), True, config)
    one("groups", 2, (1, 3, 4, 4), (2, 2, 2, 2), True, {"groups": 2})
    one("depthwise", 2, (2, 3, 3, 2), (2, 2, 1, 2), False, {"groups": 2})


def poolings(case):
    sequences = {
        "valid": ((2, 7, 2), {"size": [2]}),
        "same": ((1, 7, 3), {"size": [3], "padding": "SAME", "strides": [2]}),
        "causal": ((2, 5, 1), {"size": [3], "padding": "CAUSAL", "strides": [1]}),
        "amounts": ((1, 6, 2), {"size": [3], "padding": "AMOUNTS", "amounts": [2, 1]}),
    }
    images = {
        "valid": ((2, 4, 6, 2), {"size": [2, 3]}),
        "same": ((1, 5, 4, 2), {"size": [3, 2], "padding": "SAME", "strides": [2, 1]}),
        "amounts": ((1, 3, 4, 1), {"size": [2, 2], "padding": "AMOUNTS", "amounts": [1, 0, 1, 1], "strides": [1, 2]}),
        "every_other": ((1, 4, 3, 2), {"size": [1, 1], "strides": [2, 2]}),
    }
    for op in ("max", "avg"):
        for axes, all_of in enumerate((sequences, images), 1):
            for label, (dims, config) in all_of.items():
                # On a grid no two are alike: which is the largest does not change in another dtype.
                inputs = {"x": draw(*dims, low=-2, high=2, grid=1)}
                case(f"{op}_pool_{axes}d", label, inputs, config, pooling(op, axes, config), tolerance=TIGHT)


def patches(case):
    windows = {
        "plain": ((2, 3, 4, 2), {"size": [2, 2]}),
        "all_options": (
            (1, 5, 4, 2),
            {"size": [3, 2], "strides": [2, 1], "dilations": [1, 2], "amounts": [1, 2, 0, 1]},
        ),
        "sequence": ((2, 6, 1, 3), {"size": [3, 1], "amounts": [2, 0, 0, 0]}),
        "gaps": ((1, 7, 1, 1), {"size": [1, 1], "strides": [3, 1]}),
    }
    for label, (dims, config) in windows.items():
        case("patches", label, {"x": draw(*dims)}, config, lambda x: unfolded(x, config), tolerance=TIGHT)
        y = unfolded(torch.zeros(dims, dtype=torch.float64), config).shape
        whole = config | {"image": list(dims[1:3])}
        case("sum_patches", label, {"y": draw(*y)}, whole, lambda y: folded(y, whole), tolerance=TIGHT, output="x")
    config = {"size": [2, 3], "amounts": [1, 1, 2, 2], "padding": -1.5}
    case("patches", "padding", {"x": draw(1, 2, 3, 1)}, config, lambda x: unfolded(x, config), tolerance=TIGHT)


def add(case):
    convolutions(case)
    poolings(case)
    patches(case)
