"""What sets elements elsewhere without looking at them, and numbers in a row."""

import torch

from .common import EXACT, by_numpy, draw, given, np
from .shape import ANY, moved

DTYPES = {"f64": np.float64, "f32": np.float32, "i32": np.int32, "i64": np.int64}


def reversed_rows(time, batch):
    def f(x, lengths):
        y = x.movedim((time, batch), (0, 1))
        rows = []
        for b, n in enumerate(lengths.tolist()):
            rows.append(torch.cat([y[:n, b].flip(0), y[n:, b]]))
        y = torch.stack(rows, 1) if rows else y * 1
        return y.movedim((0, 1), (time, batch))

    return f


def add(case):
    for label, dims, axes in (
        ("all", (2, 3), []),
        ("first", (3, 2), [0]),
        ("last", (2, 3, 2), [-1]),
        ("two", (2, 3, 2), [2, 0]),
        ("scalar", (), []),
        ("one", (1, 2), [0]),
        ("nothing", (0, 2), [0]),
    ):
        f = lambda x: x.flip(axes or list(range(x.dim())))
        moved(case, "reverse", label, dims, {"axes": axes}, f, ANY if label == "two" else ("f64",))

    for label, dims, shift, axis in (
        ("first", (4, 2), 1, 0),
        ("last", (2, 5), -2, -1),
        ("middle", (2, 3, 2), 2, 1),
        ("beyond", (3, 2), 8, 0),
        ("far_back", (3, 2), -10, 0),
        ("not_at_all", (3,), 0, 0),
        ("round", (3,), 3, 0),
        ("one", (1, 2), 1, 0),
        ("nothing", (0, 2), 1, 0),
    ):
        f = lambda x: x.roll(shift, axis)
        moved(case, "roll", label, dims, {"shift": shift, "axis": axis}, f, ANY if label == "middle" else ("f64",))
    moved(case, "roll", "defaults", (3, 2), {}, lambda x: x.roll(1, 0))

    for label, dims, repeats in (
        ("rows", (2, 3), [2, 1]),
        ("both", (2, 3), [2, 3]),
        ("cube", (1, 2, 2), [3, 1, 2]),
        ("vector", (3,), [4]),
        ("once", (2, 2), [1, 1]),
        ("scalar", (), []),
        ("no_times", (2, 2), [0, 2]),
        ("of_nothing", (0, 2), [3, 1]),
    ):
        # Its gradient is a sum.
        for dtype in ANY if label == "both" else ("f64",):
            name = label if dtype == "f64" else f"{label}_{dtype}"
            case("tile", name, {"x": ANY[dtype](*dims)}, {"repeats": repeats}, lambda x: x.repeat(repeats))

    for label, dims, axis, begin, count, step in (
        ("even", (5, 2), 0, 0, 3, 2),
        ("odd", (2, 6), -1, 1, 3, 2),
        ("backwards", (4, 2), 0, 3, 4, -1),
        ("backwards_in_threes", (2, 8, 2), 1, 6, 3, -3),
        ("one", (3, 2), 1, 1, 1, 5),
        ("none", (3, 2), 0, 1, 0, 2),
        ("contiguous", (4, 2), 0, 1, 2, 1),
        ("of_nothing", (0, 3), 1, 2, 2, -2),
    ):
        f = lambda x: x.index_select(axis, torch.arange(count) * step + begin)
        config = {"axis": axis, "begin_count": [begin, count], "step": step}
        dtypes = ANY if label == "backwards_in_threes" else ("f64",)
        moved(case, "strided_slice", label, dims, config, f, dtypes)
    moved(case, "strided_slice", "defaults", (4, 2), {"begin_count": [1, 3]}, lambda x: x[1:4])

    for dtype, some in ANY.items():
        f = lambda xs: torch.stack(xs)
        case("stack", f"rows_{dtype}", {"xs": [some(2, 3), some(2, 3)]}, {}, f, tolerance=EXACT)
    for label, n, dims, axis in (
        ("middle", 3, (2, 2), 1),
        ("last", 2, (2, 3), -1),
        ("negative", 2, (2, 3), -2),
        ("scalars", 3, (), 0),
        ("one", 1, (3,), 1),
        ("nothing", 2, (0, 2), 0),
    ):
        f = lambda xs: torch.stack(xs, axis)
        case("stack", label, {"xs": [draw(*dims) for _ in range(n)]}, {"axis": axis}, f, tolerance=EXACT)

    for dtype, some in ANY.items():
        f = lambda x: list(x.unbind())
        case("unstack", f"rows_{dtype}", {"x": some(3, 2)}, {}, f, output="ys", tolerance=EXACT)
    for label, dims, axis in (
        ("middle", (2, 3, 2), 1),
        ("last", (2, 4), -1),
        ("scalars", (3,), 0),
        ("one", (2, 1), 1),
        ("nothing", (0, 2), 1),
    ):
        f = lambda x: list(x.unbind(axis))
        case("unstack", label, {"x": draw(*dims)}, {"axis": axis}, f, output="ys", tolerance=EXACT)

    for dtype, some in ANY.items():
        inputs = {"x": some(4, 3, 2), "lengths": given([2, 4, 0], torch.int32)}
        case("reverse_sequence", f"rows_{dtype}", inputs, {}, reversed_rows(0, 1), tolerance=EXACT)
    for label, dims, lengths, time, batch, kind in (
        ("batch_major", (3, 4, 2), [3, 1, 4], 1, 0, torch.int64),
        ("last", (2, 2, 5), [5, 3], -1, 1, torch.int32),
        ("matrix", (3, 2), [0, 2], 0, 1, torch.int32),
        ("batch_last", (3, 2, 2), [3, 2], 0, -1, torch.int64),
        ("no_steps", (0, 2), [0, 0], 0, 1, torch.int32),
        ("no_rows", (3, 0), [], 0, 1, torch.int32),
    ):
        inputs = {"x": draw(*dims), "lengths": given(lengths, kind)}
        config = {"time_axis": time, "batch_axis": batch}
        case("reverse_sequence", label, inputs, config, reversed_rows(time, batch), tolerance=EXACT)

    for label, dtype, begin, end, step in (
        ("up", "i32", 0, 4, 1),
        ("to", "i64", -3, 9, 5),
        ("down", "i32", 7, -2, -3),
        ("none", "i64", 3, 1, 2),
        ("fractions", "f64", 0.25, 2.0, 0.5),
        ("tenths", "f64", 0, 1, 0.1),
        ("fractions_down", "f32", 1, 0, -0.25),
        ("no_fractions", "f64", 0, -1, 1),
    ):
        f = by_numpy(lambda: np.arange(begin, end, step, dtype=np.float64).astype(DTYPES[dtype]))
        config = {"dtype": dtype, "begin": begin, "end": end, "step": step}
        case("range", label, {}, config, f)
    case("range", "defaults", {}, {"end": 3}, by_numpy(lambda: np.arange(3, dtype=np.float32)))

    for label, dtype, begin, end, count in (
        ("fifths", "f64", 0, 1, 6),
        ("down", "f64", 3, -1, 4),
        ("single", "f32", -0.1, 0.7, 5),
        ("one", "f64", 0.3, 2, 1),
        ("none", "f64", 0, 1, 0),
        ("still", "f64", 1.5, 1.5, 3),
    ):
        f = by_numpy(lambda: np.linspace(begin, end, count).astype(DTYPES[dtype]))
        case("linspace", label, {}, {"dtype": dtype, "begin": begin, "end": end, "count": count}, f)
    case("linspace", "defaults", {}, {}, by_numpy(lambda: np.linspace(0, 1, 2).astype(np.float32)))

    for dtype, some in ANY.items():
        case("shape_of", f"matrix_{dtype}", {"x": some(2, 3)}, {}, by_numpy(lambda x: np.array(x.shape, np.int64)))
    for label, dims in (("scalar", ()), ("zero", (2, 0, 1)), ("cube", (1, 4, 2))):
        case("shape_of", label, {"x": draw(*dims)}, {}, by_numpy(lambda x: np.array(x.shape, np.int64)))
