"""Reductions: f(x, axes, keep_dims) over all axes, one, several, negative ones, over axes of size 0 and 1."""

import torch

from .common import EXACT, ODD, TIGHT, by_numpy, draw, flags, given, np, whole

SPECIAL = [[1.0, float("nan"), 2.0], [float("inf"), 1.0, -3.0], [float("inf"), float("-inf"), 0.0], [-0.0, 0.0, -0.0]]
INTS = {"i32": torch.int32, "i64": torch.int64}


def every_axis(x, axes):
    return tuple(range(x.dim())) if not axes else tuple(axes)


def reduction(
    case,
    op,
    f,
    *,
    config=None,
    special=True,
    empty=True,
    ints=False,
    low=-1,
    high=1,
    grid=None,
    tolerance=TIGHT,
    grad=True,
    label="",
):
    """empty: over nothing it has a value. config: other attributes, which f knows."""
    prefix = f"{label}_" if label else ""

    def one(name, x, axes, keep, **more):
        attributes = dict(config or {}, axes=axes, keep_dims=keep)
        shared = {"tolerance": tolerance, "grad": grad} | more
        case(op, prefix + name, {"x": x}, attributes, lambda x: f(x, every_axis(x, axes), keep), **shared)

    numbers = lambda *dims: draw(*dims, low=low, high=high, grid=grid)
    one("all", numbers(2, 3, 4), [], False)
    one("one_axis", numbers(2, 3, 4), [1], False)
    one("first_and_last_kept", numbers(2, 3, 4), [0, -1], True)
    if label:
        return
    one("all_kept", numbers(3, 4), [], True)
    one("last", numbers(3, 5), [-1], False)
    one("scalar", numbers(), [], False)
    one("one_element", numbers(1, 3, 1), [0, 2], False)
    one("no_rows", numbers(0, 3), [1], False)
    if empty:
        one("over_nothing", numbers(2, 0, 3), [1], False)
    if special:
        one("special", given(SPECIAL), [1], False, grad=False)
    if ints:
        for name, dtype in INTS.items():
            one(name, whole(2, 3, 2, low=-9, high=9, dtype=dtype), [0, 2], False)


def first_true(axes):
    def f(x):
        chosen = [a % x.ndim for a in axes] or list(range(x.ndim))
        rest = [a for a in range(x.ndim) if a not in chosen]
        order = rest + sorted(chosen)
        moved = np.transpose(x, order)
        flat = moved.reshape([x.shape[a] for a in rest] + [int(np.prod([x.shape[a] for a in chosen]))])
        first = flat & (np.cumsum(flat, axis=-1) == 1)
        return np.transpose(first.reshape(moved.shape), np.argsort(order))

    return by_numpy(f)


def add(case):
    reduction(case, "sum", lambda x, axes, keep: x.sum(axes, keepdim=keep).to(x.dtype), ints=True)
    reduction(case, "mean", lambda x, axes, keep: x.mean(axes, keepdim=keep))

    largest = lambda x, axes, keep: x.amax(axes, keepdim=keep) if x.numel() else x.sum(axes, keepdim=keep) - torch.inf
    reduction(case, "reduce_max", largest, grid=ODD, tolerance=EXACT)
    # The first of ties takes the gradient.
    ties = given([[1.0, 3.0, 3.0, 2.0], [-1.0, -1.0, -1.0, -2.0]])
    by_index = lambda x: x.gather(1, torch.from_numpy(np.argmax(x.detach().numpy(), axis=1)[:, None])).squeeze(1)
    case("reduce_max", "ties", {"x": ties}, {"axes": [1]}, by_index, tolerance=EXACT)

    for label, dims, axis in (
        ("last", (3, 5), None),
        ("first", (3, 5), 0),
        ("middle", (2, 3, 2), -2),
        ("one", (4, 1), 1),
        ("no_rows", (0, 3), 1),
    ):
        f = by_numpy(lambda x: np.argmax(x, axis=-1 if axis is None else axis))
        case("argmax", label, {"x": draw(*dims, grid=ODD)}, {} if axis is None else {"axis": axis}, f)
    case(
        "argmax",
        "ties",
        {"x": given([[1.0, 2.0, 2.0], [0.0, -0.0, -1.0]])},
        {},
        by_numpy(lambda x: np.argmax(x, axis=-1)),
    )
    case("argmax", "special", {"x": given(SPECIAL)}, {}, by_numpy(lambda x: np.argmax(x, axis=-1)))

    for label, dims, axes in (
        ("all", (3, 4), []),
        ("last", (3, 4), [-1]),
        ("first", (4, 3), [0]),
        ("two", (3, 2, 3), [0, 2]),
        ("two_unordered", (3, 2, 3), [-1, 1]),
        ("empty", (0, 3), [1]),
    ):
        case("first_true", label, {"x": flags(*dims)}, {"axes": axes}, first_true(axes))
    case(
        "first_true", "none", {"x": given([[False, False], [False, True]], torch.bool)}, {"axes": [1]}, first_true([1])
    )
