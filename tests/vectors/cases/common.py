"""How a case is said, computed and stored.

A case is an op of ours, its configuration, its operands, and a function that computes the same by PyTorch (or NumPy,
SciPy). Gradients for random cotangents come from torch.autograd. Everything is float64, and all numbers that are
drawn follow from the case's name alone: a case that is added changes no other.
"""

import hashlib
import json
import math
import os
import struct

# The plainest kernels on one thread, so that another machine computes the same bits.
os.environ.update(ATEN_CPU_CAPABILITY="default", MKL_CBWR="COMPATIBLE", OMP_NUM_THREADS="1")

import numpy as np
import torch

torch.set_num_threads(1)

# Draws on a grid are multiples of 1/64, exact in bf16 below 4: neither order nor side of a kink changes there. The odd
# ones are no multiple of 1/32, so that they meet no kink and none of the even ones.
GRID = 64
ODD, EVEN = 1, 0

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.bool: "BOOL",
}
BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "BOOL": 1}

# |got - want| <= atol + rtol |want|. float32: operands are rounded before. The half formats: those of `rondo verify`.
TIGHT = {"float64": {"atol": 1e-14, "rtol": 1e-12}, "float32": {"atol": 1e-6, "rtol": 2e-6}}
# Whatever only moves numbers: all are rounded, none computed.
EXACT = {"float64": {"atol": 0, "rtol": 0}, "float32": {"atol": 0, "rtol": 6e-8}}
# Sums of products, several functions in a row.
COMPOSED = {"float64": {"atol": 1e-12, "rtol": 1e-11}, "float32": {"atol": 1e-5, "rtol": 2e-5}}


class Draw:
    """An operand that is drawn: `of(rng)` gives it."""

    def __init__(self, of):
        self.of = of


def draw(*dims, low=-1.0, high=1.0, grid=None):
    """Floats even in [low, high); on a grid, no two alike as long as there are enough."""

    def of(rng):
        n = math.prod(dims)
        if grid is None:
            return torch.from_numpy(low + (high - low) * rng.random(n)).reshape(dims)
        points = np.arange(math.ceil(low * GRID), math.ceil(high * GRID))
        points = points[points % 2 == grid] / GRID
        return torch.from_numpy(points[permutation(rng, len(points))[np.arange(n) % len(points)]]).reshape(dims)

    return Draw(of)


def whole(*dims, low=0, high=10, dtype=torch.int32):
    """Integers even in [low, high]."""
    return Draw(
        lambda rng: torch.from_numpy(np.floor(low + (high + 1 - low) * rng.random(math.prod(dims))))
        .to(dtype)
        .reshape(dims)
    )


def flags(*dims):
    """Booleans."""
    return Draw(lambda rng: torch.from_numpy(rng.random(math.prod(dims)) < 0.5).reshape(dims))


def given(values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def permutation(rng, n):
    """By random numbers, whose stream NumPy promises to keep; that of its own permutation it does not."""
    return np.argsort(rng.random(n), kind="stable")


def rng_of(name):
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")))


def by_numpy(f):
    """A function of NumPy arrays as one of tensors; it has no gradient."""

    def on_tensors(*args):
        r = f(*[a.detach().numpy() for a in args])
        return torch.from_numpy(np.array(r))

    on_tensors.source = "NumPy"
    return on_tensors


class Cases:
    """All cases of a module, by file name."""

    def __init__(self, folder):
        self.folder = folder
        self.files = {}

    def __call__(
        self,
        op,
        label,
        inputs,
        config,
        f,
        *,
        tolerance=TIGHT,
        grad=True,
        source=None,
        dtypes=None,
        run=None,
        kink_margin=None,
        signed_zeros=False,
        note=None,
        output="y",
    ):
        """
        inputs: by name; a list where the op takes any number; None = absent. f gets them in this order.
        f's result: a tensor (the op's result `output`), a list (where there may be any number) or a dict by name.
        grad: False, or names of operands that get none in ours.
        dtypes: in which the numbers hold, where not in all; the first is that of the file's floats.
        """
        name = f"{op}_{label}"
        assert name not in self.files, name
        rng = rng_of(name)
        made = lambda v: v.of(rng) if isinstance(v, Draw) else v.clone()
        operands = {}
        for key, v in inputs.items():
            if v is not None:
                operands[key] = [made(e) for e in v] if isinstance(v, list) else made(v)
        leaves = {}
        for key, v in operands.items():
            if isinstance(v, list):
                leaves.update({f"{key}.{i}": e for i, e in enumerate(v)})
            else:
                leaves[key] = v
        without = grad if isinstance(grad, (tuple, list)) else ()
        for key, v in leaves.items():
            v.requires_grad_(bool(grad is not False and v.is_floating_point() and key not in without))
        result = f(*[operands.get(key) for key in inputs])
        if isinstance(result, list):
            result = {f"{output}.{i}": e for i, e in enumerate(result)}
        if not isinstance(result, dict):
            result = {output: result}
        result = {key: v for key, v in result.items() if v is not None}

        tensors = {f"in.{k}": v for k, v in leaves.items()} | {f"out.{k}": v for k, v in result.items()}
        flowing = {k: v for k, v in result.items() if v.requires_grad}
        if flowing:
            cotangents = {k: draw(*v.shape).of(rng).to(v.dtype) for k, v in flowing.items()}
            wrt = {k: v for k, v in leaves.items() if v.requires_grad}
            d = torch.autograd.grad(
                list(flowing.values()), list(wrt.values()), list(cotangents.values()), allow_unused=True
            )
            tensors |= {f"cotangent.{k}": v for k, v in cotangents.items()}
            tensors |= {f"grad.{k}": v for k, v in zip(wrt, d) if v is not None}
        metadata = {
            "names": "rondo",
            "op": op,
            "config": dumps(config),
            "source": source or getattr(f, "source", "PyTorch"),
            "tolerance": dumps(tolerance),
        }
        if dtypes:
            metadata["dtypes"] = dumps(dtypes)
        if run:
            metadata["run"] = dumps(run)
        if kink_margin is not None:
            metadata["kink_margin"] = dumps(kink_margin)
        if signed_zeros:
            metadata["signed_zeros"] = "true"
        if note:
            metadata["note"] = note
        self.files[name] = safetensors(tensors, metadata)


def dumps(value):
    return json.dumps(value, separators=(",", ":"))


def safetensors(tensors, metadata):
    """The bytes of a file; wider dtypes first, then by name, as the reference writer does."""
    order = sorted(tensors, key=lambda k: (-BYTES[DTYPES[tensors[k].dtype]], k))
    header, data = {"__metadata__": metadata}, b""
    for k in order:
        t = tensors[k].detach()
        raw = t.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes() if t.numel() else b""
        header[k] = {
            "dtype": DTYPES[t.dtype],
            "shape": list(t.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data
