"""Reductions beside those of reduce.py: extremes, products, logic, norms and moments."""

import torch

from .common import EXACT, ODD, Draw, by_numpy, draw, flags, given, np
from .reduce import SPECIAL, reduction

ARGUMENTS = (
    ("all", (2, 3, 4), [], False),
    ("one_axis", (2, 3, 4), [1], False),
    ("first_and_last_kept", (2, 3, 4), [0, -1], True),
    ("all_kept", (3, 2), [], True),
    ("last", (6, 2), [-1], False),
    ("scalar", (), [], False),
    ("one_element", (1, 3, 1), [0, 2], False),
    ("no_rows", (0, 3), [1], False),
    ("over_nothing", (2, 0, 3), [1], True),
)


def over_one(f):
    """A function that reduces one axis as one that reduces several: they are joined to the last."""

    def of_several(x, axes, keep):
        axes = sorted(a % x.dim() for a in axes) if x.dim() else []
        rest = [a for a in range(x.dim()) if a not in axes]
        n = 1
        for a in axes:
            n *= x.shape[a]
        y = f(x.permute(rest + axes).reshape([x.shape[a] for a in rest] + [n]))
        return y.reshape([1 if a in axes else d for a, d in enumerate(x.shape)]) if keep else y

    return of_several


def far(*dims):
    """Floats of which no two are equally far from 0."""

    def of(rng):
        size = draw(*dims, low=0, high=2, grid=ODD).of(rng)
        return torch.where(flags(*dims).of(rng), size, -size)

    return Draw(of)


def deviation(correction):
    """The gradient of PyTorch's is NaN where all are equal."""

    def f(x, axes, keep):
        v = x.var(axes, correction=correction, keepdim=keep)
        return torch.where(v == 0, v.detach(), torch.where(v == 0, 1.0, v).sqrt())

    return f


def add(case):
    smallest = lambda x, axes, keep: x.amin(axes, keepdim=keep) if x.numel() else x.sum(axes, keepdim=keep) + torch.inf
    reduction(case, "reduce_min", smallest, grid=ODD, tolerance=EXACT)
    # The first of ties takes the gradient.
    ties = given([[3.0, 1.0, 1.0, 2.0], [-1.0, -1.0, -1.0, 2.0]])
    by_index = lambda x: x.gather(1, torch.from_numpy(np.argmin(x.detach().numpy(), axis=1)[:, None])).squeeze(1)
    case("reduce_min", "ties", {"x": ties}, {"axes": [1]}, by_index, tolerance=EXACT)

    for label, dims, axis in (
        ("last", (3, 5), None),
        ("first", (3, 5), 0),
        ("middle", (2, 3, 2), -2),
        ("one", (4, 1), 1),
        ("no_rows", (0, 3), 1),
    ):
        f = by_numpy(lambda x: np.argmin(x, axis=-1 if axis is None else axis))
        case("argmin", label, {"x": draw(*dims, grid=ODD)}, {} if axis is None else {"axis": axis}, f)
    f = by_numpy(lambda x: np.argmin(x, axis=-1))
    case("argmin", "ties", {"x": given([[3.0, 2.0, 2.0], [0.0, -0.0, 1.0]])}, {}, f)
    case("argmin", "special", {"x": given(SPECIAL)}, {}, f)

    product = over_one(lambda x: x.prod(-1).to(x.dtype))
    reduction(case, "prod", product, ints=True, low=-2, high=2)
    zeros = given([[2.0, 0.0, -3.0], [0.0, 0.0, 5.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    case("prod", "zeros", {"x": zeros}, {"axes": [-1]}, lambda x: x.prod(-1))
    case("prod", "zeros_of_two_axes", {"x": given([[2.0, 0.0], [4.0, -3.0]])}, {}, lambda x: x.reshape(-1).prod(0))

    for op, f in (("reduce_all", np.all), ("reduce_any", np.any)):
        for label, dims, axes, keep in ARGUMENTS:
            g = by_numpy(lambda x: f(x, axis=tuple(axes) if axes else None, keepdims=keep))
            case(op, label, {"x": flags(*dims)}, {"axes": axes, "keep_dims": keep}, g)
        every = given([[False, False], [False, True], [True, True]], torch.bool)
        case(op, "every_row", {"x": every}, {"axes": [1]}, by_numpy(lambda x: f(x, axis=1)))
        case(op, "defaults", {"x": given([True, True], torch.bool)}, {}, by_numpy(lambda x: f(x)))

    total = over_one(lambda x: x.logsumexp(-1))
    reduction(case, "logsumexp", total)
    large = given([[1000.0, 999.0, -1000.0], [-1000.0, -1001.0, -1002.0]])
    f = lambda x: x.logsumexp(1)
    case("logsumexp", "large", {"x": large}, {"axes": [1]}, f, dtypes=["f64", "f32", "f16"])
    # Where all is -infinity, PyTorch has a gradient of NaN or 0, by its version; ours is 0.
    lowest = given([[-np.inf, -np.inf], [-np.inf, 2.0]])
    case("logsumexp", "lowest", {"x": lowest}, {"axes": [1]}, lambda x: x.logsumexp(1), grad=False)

    for label, order in (("", None), ("order_1", 1), ("order_2", 2), ("order_infinity", torch.inf)):

        def length(x):
            if order == torch.inf and not x.shape[-1]:
                return x.sum(-1)
            return torch.linalg.vector_norm(x, 2 if order is None else order, -1)

        config = {} if order is None else {"order": "Infinity" if order == torch.inf else order}
        f = over_one(length)
        for name, dims, axes, keep in ARGUMENTS:
            attributes = config | {"axes": axes, "keep_dims": keep}
            g = lambda x: f(x, axes or range(x.dim()), keep)
            case("norm", f"{label}_{name}".strip("_"), {"x": far(*dims)}, attributes, g)
        attributes = config | {"axes": [1]}
        case("norm", f"{label}_special".strip("_"), {"x": given(SPECIAL)}, attributes, length, grad=False)
    # At 0 the gradient is 0.
    rows = given([[0.0, 0.0, 0.0], [3.0, 0.0, -4.0]])
    for label, order in (("1", 1), ("2", 2)):
        f = lambda x: torch.linalg.vector_norm(x, order, 1)
        case("norm", f"zero_order_{label}", {"x": rows}, {"axes": [1], "order": order}, f)
    case("norm", "defaults", {"x": far(2, 3)}, {}, torch.linalg.vector_norm)

    for op, of in (
        ("variance", lambda c: lambda x, axes, keep: x.var(axes, correction=c, keepdim=keep)),
        ("standard_deviation", deviation),
    ):
        reduction(case, op, of(0))
        reduction(case, op, of(1), config={"correction": 1}, label="sample")
        reduction(case, op, of(0.5), config={"correction": 0.5}, label="half")
        rows = lambda x: of(0)(x, (1,), False)
        case(op, "equal", {"x": given([[2.0, 2.0, 2.0], [1.0, 2.0, 4.0]])}, {"axes": [1]}, rows)
        offset = draw(2, 4, low=4096, high=4098, grid=ODD)
        case(op, "far_from_0", {"x": offset}, {"axes": [1]}, rows, dtypes=["f64", "f32"])
        with np.errstate(all="ignore"):
            f = by_numpy(lambda x: (np.var if op == "variance" else np.std)(x, axis=1, ddof=1))
            case(op, "one_of_a_sample", {"x": given([[1.5], [0.0]])}, {"axes": [1], "correction": 1}, f, grad=False)
