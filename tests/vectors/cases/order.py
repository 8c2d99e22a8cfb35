"""What runs along an axis, and what puts it in order."""

import torch

from .common import COMPOSED, EXACT, ODD, draw, flags, given, whole
from .reduce import INTS, SPECIAL

TIES = [[2.0, 1.0, 2.0, 1.0, 2.0], [0.0, -0.0, 0.0, -1.0, -0.0]]


def running(f, one, axis, exclusive, reverse):
    def of(x):
        x = x.flip(axis) if reverse else x
        y = f(x, axis).to(x.dtype)
        if exclusive and x.shape[axis]:
            first = torch.full_like(y.narrow(axis, 0, 1), one)
            y = torch.cat([first, y.narrow(axis, 0, x.shape[axis] - 1)], axis)
        return y.flip(axis) if reverse else y

    return of


def scan(axis, reverse):
    def of(a, b):
        y, last = [], torch.zeros_like(b.select(axis, 0)) if b.shape[axis] else None
        steps = range(b.shape[axis])
        for t in reversed(steps) if reverse else steps:
            last = a.select(axis, t) * last + b.select(axis, t)
            y.append(last)
        if not y:
            return a * b
        return torch.stack(y[::-1] if reverse else y, axis)

    return of


def add(case):
    for op, f, one in (("cumsum", torch.cumsum, 0), ("cumprod", torch.cumprod, 1)):
        for label, dims, axis, exclusive, reverse in (
            ("first", (4, 3), 0, False, False),
            ("last", (2, 5), -1, False, False),
            ("middle", (2, 3, 2), 1, False, False),
            ("exclusive", (4, 2), 0, True, False),
            ("reverse", (2, 4), 1, False, True),
            ("exclusive_reverse", (2, 3, 2), -2, True, True),
            ("one", (1, 3), 0, True, False),
            ("nothing", (0, 3), 0, False, False),
            ("no_rows", (0, 3), 1, True, True),
        ):
            config = {"axis": axis, "exclusive": exclusive, "reverse": reverse}
            g = running(f, one, axis, exclusive, reverse)
            case(op, label, {"x": draw(*dims, low=-2, high=2)}, config, g)
        case(op, "defaults", {"x": draw(3, 2)}, {}, running(f, one, 0, False, False))
        for name, dtype in INTS.items():
            x = whole(2, 5, low=-9, high=9, dtype=dtype)
            case(op, name, {"x": x}, {"axis": 1}, running(f, one, 1, False, False))
        case(op, "special", {"x": given(SPECIAL)}, {"axis": 1}, running(f, one, 1, False, False), grad=False)
    zeros = given([[2.0, 0.0, -3.0, 4.0], [0.0, 5.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 0.0]])
    for exclusive in False, True:
        for reverse in False, True:
            label = "zeros" + "_exclusive" * exclusive + "_reverse" * reverse
            config = {"axis": -1, "exclusive": exclusive, "reverse": reverse}
            case("cumprod", label, {"x": zeros}, config, running(torch.cumprod, 1, -1, exclusive, reverse))

    for label, dims, axis, reverse in (
        ("first", (5, 2), 0, False),
        ("first_reverse", (5, 2), 0, True),
        ("last", (2, 4), -1, False),
        ("middle_reverse", (2, 3, 2), 1, True),
        ("one", (1, 3), 0, False),
        ("nothing", (0, 3), 0, False),
        ("no_rows", (0, 3), 1, True),
        ("vector", (6,), 0, False),
    ):
        inputs = {"a": draw(*dims), "b": draw(*dims)}
        case("linear_scan", label, inputs, {"axis": axis, "reverse": reverse}, scan(axis, reverse), tolerance=COMPOSED)
    case("linear_scan", "defaults", {"a": draw(3, 2), "b": draw(3, 2)}, {}, scan(0, False), tolerance=COMPOSED)
    stop = given([0.5, 0.0, 2.0, 0.0])
    case("linear_scan", "zeros", {"a": stop, "b": draw(4)}, {}, scan(0, False), tolerance=COMPOSED)

    for i, op in enumerate(("sort", "argsort")):
        one = lambda axis, down: lambda x: torch.sort(x, dim=axis, descending=down, stable=True)[i]
        for label, dims, axis, down in (
            ("last", (3, 5), -1, False),
            ("first", (5, 2), 0, False),
            ("middle_down", (2, 4, 2), 1, True),
            ("last_down", (2, 6), -1, True),
            ("one", (3, 1), 1, False),
            ("nothing", (2, 0), 1, False),
            ("no_rows", (0, 3), -1, True),
        ):
            x = draw(*dims, grid=ODD)
            case(op, label, {"x": x}, {"axis": axis, "descending": down}, one(axis, down), tolerance=EXACT)
        case(op, "defaults", {"x": draw(7, grid=ODD)}, {}, one(-1, False), tolerance=EXACT)
        for down in False, True:
            label = "_down" * down
            config = {"descending": down}
            case(op, f"ties{label}", {"x": given(TIES)}, config, one(-1, down), tolerance=EXACT)
            case(op, f"special{label}", {"x": given(SPECIAL)}, config, one(-1, down), tolerance=EXACT, grad=False)
            for name, dtype in INTS.items():
                x = whole(2, 8, low=-3, high=3, dtype=dtype)
                case(op, f"{name}{label}", {"x": x}, config, one(-1, down), tolerance=EXACT)
            case(op, f"bool{label}", {"x": flags(2, 5)}, config, one(-1, down), tolerance=EXACT)

    def best(k):
        def of(x):
            values, indices = torch.sort(x, dim=-1, descending=True, stable=True)
            return {"values": values[..., :k], "indices": indices[..., :k]}

        return of

    for label, dims, k in (
        ("matrix", (3, 5), 2),
        ("cube", (2, 2, 4), 3),
        ("vector", (6,), 4),
        ("all", (2, 4), 4),
        ("none", (2, 3), 0),
        ("one", (3, 1), 1),
        ("no_rows", (0, 3), 2),
        ("of_nothing", (2, 0), 0),
    ):
        case("top_k", label, {"x": draw(*dims, grid=ODD)}, {"k": k}, best(k), tolerance=EXACT)
    case("top_k", "defaults", {"x": draw(2, 3, grid=ODD)}, {}, best(1), tolerance=EXACT)
    case("top_k", "ties", {"x": given(TIES)}, {"k": 4}, best(4), tolerance=EXACT)
    case("top_k", "special", {"x": given(SPECIAL)}, {"k": 2}, best(2), tolerance=EXACT, grad=False)
    for name, dtype in INTS.items():
        case("top_k", name, {"x": whole(2, 8, low=-3, high=3, dtype=dtype)}, {"k": 5}, best(5), tolerance=EXACT)
    case("top_k", "bool", {"x": flags(2, 5)}, {"k": 3}, best(3), tolerance=EXACT)
