"""Elementwise ops: a row each. From a row come plain values with gradients, a scalar, nothing at all, and what is
special among floats, in f64 and (computed in f64, rounded) in f32."""

import torch
import torch.nn.functional as F

from .common import EVEN, EXACT, ODD, TIGHT, by_numpy, draw, flags, given, np, whole

FINITE = [0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 1e-8, -1e-8, 3.3, -3.3, 20.0, -20.0]
NO_NUMBERS = [float("nan"), 0.0, -0.0, float("inf"), float("-inf")]
F64 = NO_NUMBERS + FINITE + [5e-324, -5e-324, 1e-310, 2.2250738585072014e-308, 1e300, -1e300]
F32 = NO_NUMBERS + FINITE + [2.0**-149, -(2.0**-149), 2.0**-130, 2.0**-126, 2.0**127, -(2.0**127)]
# Results that are denormal have few bits.
SPECIAL = {"float64": {"atol": 1e-320, "rtol": 1e-14}, "float32": {"atol": 1e-44, "rtol": 1e-6}}


def in_f32(f):
    def rounded(*args):
        r = f(*[a.double() if a.is_floating_point() else a for a in args])
        return r.float() if r.is_floating_point() else r

    rounded.source = getattr(f, "source", "PyTorch")
    return rounded


def special(case, op, f, names, config, without=(), tolerance=SPECIAL, signed_zeros=True, label="special"):
    """Each of the special numbers; with two operands, each with each."""
    for dtype, values, g in (("f64", F64, f), ("f32", F32, in_f32(f))):
        torch_dtype = {"f64": torch.float64, "f32": torch.float32}[dtype]
        x = given([v for v in values if not any(v == w for w in without)], torch_dtype)
        inputs = {n: x.clone() for n in names}
        if len(names) == 2:
            inputs[names[1]] = x[::2].clone().reshape(-1, 1)
        case(
            op,
            f"{label}_{dtype}",
            inputs,
            config,
            g,
            grad=False,
            dtypes=[dtype],
            tolerance=tolerance,
            signed_zeros=signed_zeros,
        )


INTS = [0, 1, -1, 2, -2, 7, -7, 1000, -1000, 12345]


def unary(
    case,
    op,
    f,
    low=-2,
    high=2,
    config=None,
    *,
    grid=None,
    ints=None,
    without=(),
    signed_zeros=True,
    tolerance=TIGHT,
    at_special=SPECIAL,
    grad=True,
    label="",
):
    """
    ints: the same for integers, where the op takes them.
    without: special numbers at which ours is defined otherwise.
    signed_zeros: whether ours promises the sign of a 0 (functions of e^x do not).
    """
    config = config or {}
    prefix = f"{label}_" if label else ""
    shared = {"tolerance": tolerance, "grad": grad}
    case(op, f"{prefix}plain", {"x": draw(3, 5, low=low, high=high, grid=grid)}, config, f, **shared)
    if not label:
        case(op, "scalar", {"x": draw(low=low, high=high, grid=grid)}, config, f, **shared)
        case(op, "empty", {"x": draw(0, 3)}, config, f, **shared)
    special(case, op, f, ["x"], config, without, at_special, signed_zeros, f"{prefix}special")
    if ints:
        for dtype in (torch.int32, torch.int64):
            name = {torch.int32: "i32", torch.int64: "i64"}[dtype]
            case(op, name, {"x": given(INTS, dtype)}, config, ints, tolerance=EXACT)


def binary(
    case,
    op,
    f,
    low=-2,
    high=2,
    grids=(None, None),
    ints=None,
    without=(),
    signed_zeros=True,
    tolerance=TIGHT,
    grad=True,
):
    def pair(a, b):
        return {
            "a": draw(*a, low=low, high=high, grid=grids[0]),
            "b": draw(*b, low=low, high=high, grid=grids[1]),
        }

    shared = {"tolerance": tolerance, "grad": grad}
    case(op, "same_shape", pair([3, 5], [3, 5]), {}, f, **shared)
    case(op, "broadcast", pair([2, 1, 3], [4, 1]), {}, f, **shared)
    case(op, "scalar", pair([], [4]), {}, f, **shared)
    case(op, "empty", pair([0, 3], [3]), {}, f, **shared)
    special(case, op, f, ["a", "b"], {}, without, signed_zeros=signed_zeros)
    if ints:
        for dtype in (torch.int32, torch.int64):
            name = {torch.int32: "i32", torch.int64: "i64"}[dtype]
            b = given(INTS, dtype).reshape(-1, 1)
            case(op, name, {"a": given(INTS, dtype), "b": b}, {}, ints, tolerance=EXACT)


def divide_ints(a, b):
    """Towards zero, and 0 where b is 0."""
    return torch.where(
        b == 0, torch.zeros_like(a), torch.div(a, torch.where(b == 0, torch.ones_like(b), b), rounding_mode="trunc")
    )


def floor_divide_ints(a, b):
    nonzero = torch.where(b == 0, torch.ones_like(b), b)
    return torch.where(b == 0, torch.zeros_like(a), torch.div(a, nonzero, rounding_mode="floor"))


def modulo_ints(a, b):
    return torch.where(b == 0, torch.zeros_like(a), torch.remainder(a, torch.where(b == 0, torch.ones_like(b), b)))


class CubeRoot(torch.autograd.Function):
    """NumPy's: PyTorch has none."""

    @staticmethod
    def forward(context, x):
        y = torch.from_numpy(np.array(np.cbrt(x.numpy())))
        context.save_for_backward(y)
        return y

    @staticmethod
    def backward(context, g):
        return g / (3 * context.saved_tensors[0] ** 2)


def arithmetic(case):
    unary(case, "neg", torch.neg, ints=torch.neg, tolerance=EXACT)
    unary(case, "abs", torch.abs, grid=ODD, ints=torch.abs, tolerance=EXACT)
    unary(case, "sign", by_numpy(np.sign), grid=ODD, ints=torch.sign, signed_zeros=False, grad=False)
    unary(case, "floor", torch.floor, grid=ODD, ints=lambda x: x.clone(), tolerance=EXACT)
    unary(case, "ceil", torch.ceil, grid=ODD, ints=lambda x: x.clone(), tolerance=EXACT)
    unary(case, "trunc", torch.trunc, grid=ODD, ints=lambda x: x.clone(), tolerance=EXACT)
    unary(case, "round", torch.round, grid=ODD, ints=lambda x: x.clone(), tolerance=EXACT)
    ties = given([0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, 0.49999999999999994, 4503599627370497.5, -0.0])
    case("round", "ties", {"x": ties}, {}, torch.round, grad=False, dtypes=["f64"], tolerance=EXACT, signed_zeros=True)
    unary(case, "square", torch.square, ints=torch.square)
    unary(case, "reciprocal", torch.reciprocal, 0.3, 3)
    unary(case, "exp", torch.exp, -4, 4)
    unary(case, "expm1", torch.expm1, -4, 4, signed_zeros=False)
    unary(case, "log", torch.log, 0.05, 6)
    unary(case, "log1p", torch.log1p, -0.9, 6)
    unary(case, "sqrt", torch.sqrt, 0.05, 6)
    unary(case, "rsqrt", torch.rsqrt, 0.05, 6)
    unary(case, "erf", torch.erf, -3, 3)
    unary(case, "log2", torch.log2, 0.05, 6)
    unary(case, "cbrt", CubeRoot.apply, -6, 6)
    unary(case, "asin", torch.asin, -0.95, 0.95)
    unary(case, "acos", torch.acos, -0.95, 0.95)
    unary(case, "atan", torch.atan, -6, 6)
    unary(case, "sin", torch.sin, -6, 6)
    unary(case, "cos", torch.cos, -6, 6)
    unary(case, "tan", torch.tan, -1.4, 1.4)
    unary(case, "sinh", torch.sinh, -4, 4, signed_zeros=False)
    unary(case, "cosh", torch.cosh, -4, 4)

    binary(case, "add", torch.add, ints=torch.add)
    binary(case, "sub", torch.sub, ints=torch.sub)
    binary(case, "mul", torch.mul, ints=torch.mul)
    binary(case, "div", torch.div, 0.3, 3, ints=divide_ints)
    divided = {"low": -1.9, "high": 1.9, "grids": (ODD, EVEN)}
    binary(case, "floor_div", torch.floor_divide, **divided, ints=floor_divide_ints, signed_zeros=False, grad=False)
    binary(case, "mod", torch.remainder, **divided, ints=modulo_ints)
    binary(case, "pow", torch.pow, 0.3, 3)
    binary(case, "atan2", torch.atan2)
    binary(case, "minimum", torch.minimum, grids=(ODD, EVEN), ints=torch.minimum, signed_zeros=False)
    binary(case, "maximum", torch.maximum, grids=(ODD, EVEN), ints=torch.maximum, signed_zeros=False)


def comparisons(case):
    near = {"low": -0.1, "high": 0.1, "grids": (ODD, ODD)}  # few numbers, so that some are equal
    for op, f in {
        "less": torch.lt,
        "less_equal": torch.le,
        "greater": torch.gt,
        "greater_equal": torch.ge,
        "equal": torch.eq,
        "not_equal": torch.ne,
    }.items():
        binary(case, op, f, **near, ints=f)
        case(op, "bool", {"a": flags(2, 4), "b": flags(4)}, {}, f)
    for op, f in {
        "logical_and": torch.logical_and,
        "logical_or": torch.logical_or,
        "logical_xor": torch.logical_xor,
    }.items():
        case(op, "same_shape", {"a": flags(3, 5), "b": flags(3, 5)}, {}, f)
        case(op, "broadcast", {"a": flags(2, 1, 3), "b": flags(4, 1)}, {}, f)
        case(op, "empty", {"a": flags(0, 3), "b": flags(3)}, {}, f)
    for op, f in {"is_nan": torch.isnan, "is_inf": torch.isinf, "is_finite": torch.isfinite}.items():
        unary(case, op, f)
    case("logical_not", "plain", {"x": flags(3, 5)}, {}, torch.logical_not)
    case("logical_not", "scalar", {"x": flags()}, {}, torch.logical_not)
    case("logical_not", "empty", {"x": flags(0)}, {}, torch.logical_not)


def activations(case):
    unary(case, "tanh", torch.tanh, -3, 3, signed_zeros=False)
    unary(case, "relu", F.relu, signed_zeros=False)
    unary(case, "relu6", F.relu6, -3, 3.9, grid=ODD, signed_zeros=False)
    case("relu6", "above", {"x": given([5.5, 5.75, 6.25, 8.0, 100.0, -1.0])}, {}, F.relu6)
    unary(case, "sigmoid", torch.sigmoid, -5, 5)
    unary(case, "log_sigmoid", F.logsigmoid, -5, 5, signed_zeros=False)
    unary(case, "softplus", lambda x: torch.logaddexp(x, torch.zeros_like(x)), -5, 5)
    unary(case, "softsign", F.softsign, -3, 3)
    unary(case, "silu", F.silu, -5, 5)
    # 1 + erf(x / sqrt 2) loses 9 bits at -3.3.
    unary(case, "gelu", F.gelu, -3, 3, at_special=SPECIAL | {"float32": {"atol": 1e-44, "rtol": 4e-6}})
    unary(case, "mish", F.mish, -5, 5)
    unary(case, "selu", F.selu, -3, 3, signed_zeros=False)
    unary(case, "hard_tanh", F.hardtanh, grid=ODD)
    # PyTorch's hardsigmoid has slope 1/6.
    unary(case, "hard_sigmoid", lambda x: torch.clamp(0.2 * x + 0.5, 0, 1), -3.9, 3.9, grid=ODD, signed_zeros=False)
    # At -infinity ours is the limit, 0; 6 x may be too large.
    unary(case, "hard_swish", F.hardswish, -3.9, 3.9, grid=ODD, without=(float("-inf"), 2.0**127), signed_zeros=False)
    for alpha in (0.25, 1.5):
        label = "" if alpha < 1 else "steep"
        unary(case, "leaky_relu", lambda x: F.leaky_relu(x, alpha), config={"alpha": alpha}, label=label)
        unary(case, "elu", lambda x: F.elu(x, alpha), -3, 3, config={"alpha": alpha}, label=label)
        # As ONNX has it; PyTorch's threshold lets NaN pass.
        unary(
            case,
            "thresholded_relu",
            lambda x: torch.where(x > alpha, x, 0),
            -3.9,
            3.9,
            grid=ODD,
            config={"alpha": alpha},
            label=label,
            signed_zeros=False,
        )
    for label, low, high in (("", -0.75, 1.25), ("one_point", 0.5, 0.5)):
        unary(
            case, "clip", lambda x: torch.clamp(x, low, high), grid=ODD, config={"low": low, "high": high}, label=label
        )
    for label, alpha, beta in (("", 0.75, -0.5), ("other", -2.5, 1.25)):
        numbers = {"alpha": alpha, "beta": beta}
        unary(case, "affine", lambda x: alpha * x + beta, config=numbers, label=label)
        unary(
            case, "scaled_tanh", lambda x: alpha * torch.tanh(beta * x), config=numbers, label=label, signed_zeros=False
        )


def selection(case):
    names = ("condition", "a", "b")
    case(
        "where", "same_shape", dict(zip(names, (flags(3, 5), draw(3, 5), draw(3, 5)))), {}, torch.where, tolerance=EXACT
    )
    case("where", "broadcast", dict(zip(names, (flags(2, 1, 3), draw(4, 1), draw(3)))), {}, torch.where)
    case("where", "scalars", dict(zip(names, (flags(4), draw(), draw()))), {}, torch.where)
    case("where", "empty", dict(zip(names, (flags(0, 3), draw(3), draw(1, 1)))), {}, torch.where)
    case("where", "i32", dict(zip(names, (flags(4), whole(4), whole(3, 1)))), {}, torch.where)
    case("where", "bool", dict(zip(names, (flags(4), flags(4), flags(3, 1)))), {}, torch.where)
    nan = given([float("nan"), float("inf"), -0.0, 1.0])
    chosen = given([False, True, False, True], torch.bool)
    case(
        "where",
        "nan_is_not_selected",
        dict(zip(names, (chosen, nan.clone(), given(0.5)))),
        {},
        torch.where,
        signed_zeros=True,
    )

    three = ("a", "b", "t")
    case("lerp", "same_shape", dict(zip(three, (draw(3, 5), draw(3, 5), draw(3, 5)))), {}, torch.lerp)
    case("lerp", "broadcast", dict(zip(three, (draw(2, 1, 3), draw(4, 1), draw(3)))), {}, torch.lerp)
    case("lerp", "number", dict(zip(three, (draw(4), draw(4), draw()))), {}, torch.lerp)
    case("lerp", "empty", dict(zip(three, (draw(0, 3), draw(3), draw(1, 1)))), {}, torch.lerp)

    fixed = lambda x: x.detach().clone()
    case("stop_gradient", "plain", {"x": draw(3, 5)}, {}, fixed, tolerance=EXACT)
    case("stop_gradient", "empty", {"x": draw(0, 3)}, {}, fixed, tolerance=EXACT)
    case("stop_gradient", "i64", {"x": whole(4, dtype=torch.int64)}, {}, fixed, tolerance=EXACT)
    case(
        "stop_gradient",
        "special",
        {"x": given(F64)},
        {},
        fixed,
        tolerance=EXACT,
        signed_zeros=True,
        dtypes=["f64"],
        grad=False,
    )

    # Whole multiples of 1/64 with few bits, so that no run rounds twice.
    x = draw(3, 4, low=-3.9, high=3.9, grid=ODD)
    for name, dtype in {
        "f64": torch.float64,
        "f32": torch.float32,
        "bf16": torch.bfloat16,
        "f16": torch.float16,
    }.items():
        to = lambda x: x.to(dtype)
        # The cotangent is rounded to `dtype`, as the gradient is then.
        case("cast", f"f64_to_{name}", {"x": x}, {"dtype": name}, to, tolerance=EXACT)
        case("cast", f"i32_to_{name}", {"x": whole(5, low=-9, high=9)}, {"dtype": name}, to, tolerance=EXACT)
        case("cast", f"bool_to_{name}", {"x": flags(5)}, {"dtype": name}, to, tolerance=EXACT)
    for name, dtype in {"i32": torch.int32, "i64": torch.int64, "bool": torch.bool}.items():
        to = lambda x: x.to(dtype)
        case("cast", f"f64_to_{name}", {"x": x}, {"dtype": name}, to)
        case(
            "cast",
            f"f64_to_{name}_edges",
            {"x": given([0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 100.0])},
            {"dtype": name},
            to,
        )
        case("cast", f"i64_to_{name}", {"x": whole(5, low=-2, high=2, dtype=torch.int64)}, {"dtype": name}, to)
        case("cast", f"bool_to_{name}", {"x": flags(5)}, {"dtype": name}, to)
    # Ties go to the even neighbour, what is too large to infinity.
    ties = given(
        [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-16, 3.3895e38, 3.4e38, 2.0**-133, float("nan"), float("-inf"), -0.0]
    )
    case(
        "cast",
        "rounding_to_bf16",
        {"x": ties},
        {"dtype": "bf16"},
        lambda x: x.float().bfloat16(),
        grad=False,
        dtypes=["f64", "f32"],
        tolerance=EXACT,
        signed_zeros=True,
    )
    ties = given([1 + 2**-11, 1 + 3 * 2**-11, 65519.0, 65520.0, 2.0**-24, 2.0**-25, 1.5 * 2.0**-25, float("nan"), -0.0])
    case(
        "cast",
        "rounding_to_f16",
        {"x": ties},
        {"dtype": "f16"},
        lambda x: x.float().half(),
        grad=False,
        dtypes=["f64", "f32"],
        tolerance=EXACT,
        signed_zeros=True,
    )
    case("cast", "empty", {"x": draw(0, 2)}, {"dtype": "i64"}, lambda x: x.long())


def add(case):
    arithmetic(case)
    comparisons(case)
    activations(case)
    selection(case)
