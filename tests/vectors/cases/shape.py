"""What moves elements and computes nothing, and what makes tensors from nothing."""

import torch
import torch.nn.functional as F

from .common import EXACT, TIGHT, by_numpy, draw, flags, given, np, whole

ANY = {
    "f64": lambda *dims: draw(*dims),
    "i32": lambda *dims: whole(*dims, low=-99, high=99),
    "i64": lambda *dims: whole(*dims, low=-99, high=99, dtype=torch.int64),
    "bool": lambda *dims: flags(*dims),
}


def moved(case, op, label, dims, config, f, dtypes=("f64",)):
    """An op of one operand in each of the dtypes, exact."""
    for dtype in dtypes:
        case(op, label if dtype == "f64" else f"{label}_{dtype}", {"x": ANY[dtype](*dims)}, config, f, tolerance=EXACT)


def pad(axis, before, after):
    def f(x):
        widths = [0, 0] * x.dim()
        at = 2 * (x.dim() - 1 - axis % x.dim())
        widths[at : at + 2] = [before, after]
        return F.pad(x, widths)

    return f


def scatter_add(rows):
    def f(indices, updates):
        rest = updates.shape[indices.dim() :]
        flat = updates.reshape(-1, *rest)
        return torch.zeros(rows, *rest, dtype=updates.dtype).index_add(0, indices.reshape(-1), flat)

    return f


def add(case):
    for label, dims, to in (
        ("flat", (2, 3, 2), [12]),
        ("split", (4, 6), [2, 2, 3, 2]),
        ("to_scalar", (1, 1), []),
        ("empty", (0, 3), [3, 0, 2]),
    ):
        moved(
            case, "reshape", label, dims, {"shape": to}, lambda x: x.reshape(to), ANY if label == "split" else ("f64",)
        )

    moved(case, "transpose", "reversed", (2, 3, 4), {}, lambda x: x.permute(2, 1, 0), ANY)
    for label, dims, order in (
        ("swap", (3, 5), [1, 0]),
        ("batch", (2, 3, 4), [1, 0, 2]),
        ("cycle", (2, 3, 1, 2), [3, 0, 1, 2]),
        ("empty", (0, 2), [1, 0]),
        ("identity", (2, 2), [0, 1]),
    ):
        moved(case, "transpose", label, dims, {"permutation": order}, lambda x: x.permute(order))

    for label, dims, to in (
        ("rows", (3,), [2, 3]),
        ("columns", (2, 1), [2, 4]),
        ("both", (2, 1, 3, 1), [2, 2, 3, 2]),
        ("scalar", (), [2, 2]),
        ("same", (2, 3), [2, 3]),
        ("to_nothing", (1, 3), [0, 3]),
    ):
        dtypes = ANY if label == "columns" else ("f64",)
        for dtype in dtypes:
            f = lambda x: x.broadcast_to(to)
            case("broadcast_to", f"{label}_{dtype}", {"x": ANY[dtype](*dims)}, {"shape": to}, f)

    for dtype, some in ANY.items():
        join = lambda xs: torch.cat(xs)
        case("concat", f"rows_{dtype}", {"xs": [some(2, 3), some(1, 3), some(3, 3)]}, {}, join, tolerance=EXACT)
    join = lambda xs: torch.cat(xs, -1)
    case("concat", "columns", {"xs": [draw(2, 3), draw(2, 1)]}, {"axis": -1}, join, tolerance=EXACT)
    case(
        "concat",
        "middle",
        {"xs": [draw(2, 1, 2), draw(2, 2, 2)]},
        {"axis": 1},
        lambda xs: torch.cat(xs, 1),
        tolerance=EXACT,
    )
    case("concat", "one", {"xs": [draw(2, 3)]}, {"axis": -1}, join, tolerance=EXACT)
    case("concat", "with_nothing", {"xs": [draw(2, 0), draw(2, 2), draw(2, 0)]}, {"axis": 1}, join, tolerance=EXACT)

    for dtype, some in ANY.items():
        case(
            "split",
            f"rows_{dtype}",
            {"x": some(4, 3)},
            {},
            lambda x: list(x.tensor_split(2)),
            output="ys",
            tolerance=EXACT,
        )
    case(
        "split",
        "columns",
        {"x": draw(2, 6)},
        {"parts": 3, "axis": -1},
        lambda x: list(x.tensor_split(3, -1)),
        output="ys",
        tolerance=EXACT,
    )
    case(
        "split", "one_part", {"x": draw(3, 2)}, {"parts": 1, "axis": 0}, lambda x: [x * 1], output="ys", tolerance=EXACT
    )
    case(
        "split",
        "nothing",
        {"x": draw(0, 2)},
        {"parts": 2, "axis": 0},
        lambda x: list(x.tensor_split(2)),
        output="ys",
        tolerance=EXACT,
    )

    for label, dims, axis, begin, end in (
        ("rows", (4, 3), 0, 1, 3),
        ("last", (2, 5), -1, 2, 5),
        ("middle", (2, 4, 2), 1, 0, 3),
        ("whole", (3, 2), 0, 0, 3),
        ("nothing", (3, 2), 0, 2, 2),
        ("of_nothing", (0, 2), 1, 1, 2),
    ):
        dtypes = ANY if label == "middle" else ("f64",)
        moved(
            case,
            "slice",
            label,
            dims,
            {"axis": axis, "bounds": [begin, end]},
            lambda x: x.narrow(axis, begin, end - begin),
            dtypes,
        )

    for label, dims, axis, before, after in (
        ("rows", (2, 3), 0, 1, 2),
        ("last", (2, 3), -1, 0, 1),
        ("middle", (2, 1, 2), 1, 2, 0),
        ("not_at_all", (2, 2), 0, 0, 0),
        ("nothing", (0, 2), 0, 1, 1),
    ):
        f = pad(axis, before, after)
        moved(
            case,
            "pad",
            label,
            dims,
            {"axis": axis, "amounts": [before, after]},
            f,
            ("f64", "i32", "i64") if label == "rows" else ("f64",),
        )

    rows = lambda x, i: x[i.long()]
    for dtype, some in ANY.items():
        case("gather", f"rows_{dtype}", {"x": some(4, 3), "indices": whole(5, high=3)}, {}, rows, tolerance=TIGHT)
    case("gather", "matrix_of_indices", {"x": draw(4, 2), "indices": whole(2, 3, high=3, dtype=torch.int64)}, {}, rows)
    case("gather", "of_vector", {"x": draw(5), "indices": whole(3, high=4)}, {}, rows)
    case("gather", "one_index", {"x": draw(3, 2), "indices": whole(high=2)}, {}, rows)
    case("gather", "no_index", {"x": draw(3, 2), "indices": whole(0)}, {}, rows)

    for dtype in ("f64", "i32", "i64"):
        updates = ANY[dtype](5, 2)
        case(
            "scatter_add",
            f"rows_{dtype}",
            {"indices": whole(5, high=2), "updates": updates},
            {"rows": [4]},
            scatter_add(4),
        )
    case(
        "scatter_add",
        "matrix_of_indices",
        {"indices": whole(2, 3, high=3, dtype=torch.int64), "updates": draw(2, 3, 2)},
        {"rows": [5]},
        scatter_add(5),
    )
    case("scatter_add", "numbers", {"indices": whole(6, high=1), "updates": draw(6)}, {"rows": [2]}, scatter_add(2))
    case("scatter_add", "nothing", {"indices": whole(0), "updates": draw(0, 2)}, {"rows": [3]}, scatter_add(3))

    kinds = {
        "f64": torch.float64,
        "f32": torch.float32,
        "bf16": torch.bfloat16,
        "f16": torch.float16,
        "i32": torch.int32,
        "i64": torch.int64,
        "bool": torch.bool,
    }
    for name, dtype in kinds.items():
        value = 1 if name == "bool" else -3 if name.startswith("i") else -1.5
        case(
            "fill",
            name,
            {},
            {"dtype": name, "shape": [2, 3], "value": value},
            lambda: torch.full([2, 3], value, dtype=dtype),
            tolerance=EXACT,
        )
    case(
        "fill",
        "scalar",
        {},
        {"dtype": "f64", "shape": [], "value": 0.1},
        lambda: torch.full([], 0.1, dtype=torch.float64),
        tolerance=EXACT,
    )
    case(
        "fill",
        "nothing",
        {},
        {"dtype": "f64", "shape": [0, 2], "value": 1.0},
        lambda: torch.full([0, 2], 1.0, dtype=torch.float64),
    )
    case(
        "fill",
        "infinity",
        {},
        {"dtype": "f64", "shape": [2], "value": "-Infinity"},
        lambda: torch.full([2], -torch.inf, dtype=torch.float64),
    )
    case("fill", "defaults", {}, {}, lambda: torch.full([], 0.0))

    for name in ("f64", "f32", "i32", "i64"):
        case(
            "iota", name, {}, {"dtype": name, "shape": [5]}, lambda: torch.arange(5, dtype=kinds[name]), tolerance=EXACT
        )
    for label, dims, axis in (
        ("rows", [3, 2], 0),
        ("columns", [3, 2], -1),
        ("middle", [2, 3, 2], 1),
        ("nothing", [0, 3], 1),
    ):
        f = by_numpy(lambda: np.indices(dims)[axis].astype(np.int32))
        case("iota", label, {}, {"shape": dims, "axis": axis}, f)

    for label, dims in (("matrix", [2, 3]), ("scalar", []), ("zero", [4, 0, 1])):
        case("dimensions", label, {}, {"shape": dims}, lambda: torch.tensor(dims, dtype=torch.int64))
    same = lambda x: x.clone()
    for name, dtype in {"i32": torch.int32, "i64": torch.int64}.items():
        case("check_range", name, {"x": whole(4, low=-2, high=5, dtype=dtype)}, {"bounds": [-2, 5]}, same)
    case(
        "check_range",
        "at_the_bounds",
        {"x": given([0, 3, 0], torch.int32)},
        {"bounds": [0, 3], "what": "op.lengths", "high_is": "T"},
        same,
    )
    case("check_range", "nothing", {"x": whole(0, 2)}, {"bounds": [0, 0]}, same)
