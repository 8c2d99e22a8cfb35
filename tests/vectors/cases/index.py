"""Elements by index, indices, and masks by length."""

import torch

from .common import EXACT, by_numpy, draw, given, np, whole
from .shape import ANY


def updated(x, indices, updates):
    last = {n: i for i, n in enumerate(indices.reshape(-1).tolist())}
    rows = updates.reshape(-1, *x.shape[1:]) if indices.numel() else None
    parts = [rows[last[n]] if n in last else x[n] for n in range(x.shape[0])]
    return torch.stack(parts) if parts else x * 1


def add(case):
    i32, i64 = torch.int32, torch.int64
    for label, dims, m, axis, kind in (
        ("last", (2, 4), 3, -1, i32),
        ("first", (3, 2), 5, 0, i64),
        ("middle", (2, 3, 2), 2, 1, i32),
        ("negative", (2, 3, 2), 4, -2, i64),
        ("vector", (5,), 3, 0, i32),
        ("of_one", (2, 1), 3, 1, i32),
        ("none", (2, 3), 0, 1, i32),
        ("no_rows", (0, 3), 2, 1, i64),
    ):
        n = dims[axis]
        at = list(dims)
        at[axis] = m
        indices = whole(*at, high=n - 1, dtype=kind)
        for dtype in ANY if label == "middle" else ("f64",):
            name = label if dtype == "f64" else f"{label}_{dtype}"
            inputs = {"x": ANY[dtype](*dims), "indices": indices}
            case("take_along", name, inputs, {"axis": axis}, lambda x, i: x.gather(axis, i.long()))
            if dtype == "bool":
                continue
            zeros = lambda u: torch.zeros(*dims, dtype=u.dtype)
            inputs = {"indices": indices, "updates": ANY[dtype](*at)}
            f = lambda i, u: zeros(u).scatter_add(axis, i.long(), u)
            case("add_along", name, inputs, {"axis": axis, "length": [n]}, f)
    inputs = {"x": draw(2, 3), "indices": whole(2, 2, high=2)}
    case("take_along", "defaults", inputs, {}, lambda x, i: x.gather(-1, i.long()))
    inputs = {"indices": whole(2, 3, high=4), "updates": draw(2, 3)}
    f = lambda i, u: torch.zeros(2, 5, dtype=u.dtype).scatter_add(-1, i.long(), u)
    case("add_along", "defaults", inputs, {"length": [5]}, f)
    inputs = {"indices": given([[1, 1, 1], [2, 0, 2]], i64), "updates": draw(2, 3)}
    f = lambda i, u: torch.zeros(2, 4, dtype=u.dtype).scatter_add(1, i, u)
    case("add_along", "one_index_often", inputs, {"axis": 1, "length": [4]}, f)

    tuples = lambda *dims, high, kind=i32: whole(*dims, high=high, dtype=kind)
    parts = lambda x, i: x[tuple(i.long().unbind(-1))]
    for dtype, some in ANY.items():
        inputs = {"x": some(3, 4, 2), "indices": tuples(5, 2, high=2)}
        case("gather_nd", f"rows_{dtype}", inputs, {}, parts)
    for label, dims, indices in (
        ("elements", (3, 3), tuples(2, 3, 2, high=2, kind=i64)),
        ("by_one", (4, 3), tuples(5, 1, high=3)),
        ("one_tuple", (3, 2, 2), tuples(2, high=1)),
        ("of_three", (2, 3, 2), given([[1, 2, 0], [0, 0, 1], [1, 2, 0]], i64)),
        ("none", (3, 2), tuples(0, 2, high=1)),
        ("of_empty_rows", (3, 0), tuples(2, 1, high=2)),
    ):
        case("gather_nd", label, {"x": draw(*dims), "indices": indices}, {}, parts)

    for label, shape, indices in (
        ("matrix", [2, 3], given([[0, 2], [1, 1], [1, 0]], i32)),
        ("cube", [3, 4, 2], given([[[0, 3, 1], [2, 0, 0]], [[1, 1, 1], [2, 3, 1]]], i64)),
        ("vector", [5], given([[4], [0]], i32)),
        ("one_tuple", [3, 7], given([2, 6], i64)),
        ("none", [3, 2], whole(0, 2)),
        ("large", [100000, 100000], given([[99999, 99999], [50000, 3]], i32)),
    ):
        columns = lambda i: tuple(np.moveaxis(i.astype(np.int64), -1, 0))
        f = by_numpy(lambda i: np.ravel_multi_index(columns(i), shape).astype(np.int64))
        case("flat_index", label, {"indices": indices}, {"shape": shape}, f)

    for dtype, some in ANY.items():
        inputs = {"x": some(4, 3), "indices": given([2, 0], i32), "updates": some(2, 3)}
        case("scatter_update", f"rows_{dtype}", inputs, {}, updated, tolerance=EXACT)
    for label, dims, indices in (
        ("the_last_stays", (4, 2), given([1, 3, 1, 1], i64)),
        ("matrix_of_indices", (5, 2), given([[4, 0, 2], [0, 1, 4]], i32)),
        ("numbers", (5,), given([3, 0, 3], i32)),
        ("one_index", (3, 2), given(1, i64)),
        ("every_row", (2, 2), given([1, 0], i32)),
        ("none", (3, 2), whole(0)),
        ("of_nothing", (0, 2), whole(0)),
    ):
        of = indices if isinstance(indices, torch.Tensor) else torch.zeros(0)
        inputs = {"x": draw(*dims), "indices": indices, "updates": draw(*of.shape, *dims[1:])}
        case("scatter_update", label, inputs, {}, updated, tolerance=EXACT)

    kinds = {"f64": np.float64, "f32": np.float32, "i32": np.int32, "i64": np.int64, "bool": np.bool_}
    for label, dims, depth, on, off, dtype, kind in (
        ("vector", (4,), 3, 1, 0, "f64", i32),
        ("matrix", (2, 3), 4, 1, 0, "f32", i64),
        ("smooth", (3,), 2, 0.75, 0.25, "f64", i32),
        ("integers", (3,), 4, 5, -2, "i32", i64),
        ("long_integers", (2, 2), 3, 1, 0, "i64", i32),
        ("bool", (4,), 3, 1, 0, "bool", i32),
        ("scalar", (), 3, 1, 0, "f64", i32),
        ("of_one", (3,), 1, 1, 0, "f64", i32),
        ("none", (0,), 3, 1, 0, "f64", i32),
    ):
        f = by_numpy(lambda i: np.where(i[..., None] == np.arange(depth), on, off).astype(kinds[dtype]))
        config = {"depth": [depth], "on": on, "off": off, "dtype": dtype}
        case("one_hot", label, {"indices": whole(*dims, high=depth - 1, dtype=kind)}, config, f)
    f = by_numpy(lambda i: (i[..., None] == np.arange(3)).astype(np.float32))
    case("one_hot", "defaults", {"indices": whole(3, high=2)}, {"depth": [3]}, f)
    case("one_hot", "out_of_range", {"indices": given([-1, 0, 3, 2, 100], i32)}, {"depth": [3]}, f)
    f = by_numpy(lambda i: np.zeros((2, 0), np.float32))
    case("one_hot", "no_depth", {"indices": given([0, 1], i32)}, {"depth": [0]}, f)

    for label, lengths, steps, batch_major, kind in (
        ("time_major", [2, 0, 4], 4, False, i32),
        ("batch_major", [1, 3], 3, True, i64),
        ("out_of_range", [-2, 7, 3], 3, False, i64),
        ("out_of_range_batch_major", [-2, 7, 3], 3, True, i32),
        ("one", [1], 1, False, i32),
        ("no_steps", [1, 0], 0, False, i32),
        ("no_rows", [], 3, True, i32),
    ):
        f = by_numpy(lambda n: np.arange(steps) < n[:, None] if batch_major else np.arange(steps)[:, None] < n)
        config = {"steps": [steps], "batch_major": batch_major}
        case("sequence_mask", label, {"lengths": given(lengths, kind)}, config, f, output="mask")
    f = by_numpy(lambda n: np.arange(4)[:, None] < n)
    case("sequence_mask", "defaults", {"lengths": given([3, 1], i32)}, {"steps": [4]}, f, output="mask")
