"""Random numbers: an independent Philox4x32-10, written from the paper (Salmon, Moraes, Dror, Shaw, 2011), with the
packing of counter and key that ops/random.h documents."""

import torch

from .common import COMPOSED, EXACT, TIGHT, draw, np

MASK = 0xFFFFFFFF


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q & MASK, (p >> 32) ^ c[3] ^ k[1], p & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


# The paper's known answers (Random123, kat_vectors).
assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
assert philox([MASK] * 4, [MASK] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def block(seed, stream, step, number):
    counter = [number & MASK, step & MASK, stream & MASK, (number >> 32 & 0xFFFF) | (step >> 32 & 0xFFFF) << 16]
    return philox(counter, [seed & MASK, seed >> 32])


def uniform(seed, stream, step, count):
    """Multiples of 2^-24 in [0, 1)."""
    return np.array([(block(seed, stream, step, i // 4)[i % 4] >> 8) * 2.0**-24 for i in range(count)])


def dropout(case):
    same = lambda x: x * 1
    case("dropout", "inference", {"x": draw(3, 4)}, {}, same, tolerance=EXACT)
    case("dropout", "inference_rate", {"x": draw(5)}, {"rate": 0.9, "stream": 7}, same, tolerance=EXACT)
    case("dropout", "inference_of_nothing", {"x": draw(0, 2)}, {"rate": 0.25}, same, tolerance=EXACT)
    for label, dims, rate, stream, seed, step in (
        ("default_rate", (4, 5), None, 0, 0, 0),
        ("quarter", (3, 3), 0.25, 3, 7, 0),
        ("later_step", (3, 3), 0.25, 3, 7, 12),
        ("large_numbers", (2, 7), 0.75, 2**32 - 1, 2**64 - 2, 2**40 + 5),
        ("rate_0", (2, 3), 0.0, 1, 1, 1),
    ):
        r = 0.5 if rate is None else rate
        n = int(np.prod(dims))
        kept = torch.from_numpy(uniform(seed, stream, step, n) >= r).reshape(dims)
        f = lambda x: torch.where(kept, x / (1 - r), 0)
        config = {"stream": stream} | ({} if rate is None else {"rate": rate})
        run = {"training": True, "seed": seed, "step": step}
        case(
            "dropout",
            f"training_{label}",
            {"x": draw(*dims)},
            config,
            f,
            run=run,
            tolerance=TIGHT,
            source="NumPy, PyTorch",
        )


def words(seed, stream, step, numbers, which):
    return [block(seed, stream, step, n)[w] for n, w in zip(numbers, which)]


def inside(word):
    """In (0, 1)."""
    return (np.array(word, dtype=np.float64) + 0.5) * 2.0**-32


def normal(seed, stream, step, elements):
    half = [e // 2 for e in elements]
    radius = np.sqrt(-2 * np.log(inside(words(seed, stream, step, half, [e % 2 * 2 for e in elements]))))
    angle = np.array(words(seed, stream, step, half, [e % 2 * 2 + 1 for e in elements])) * 2.0**-32
    return radius * np.cos(2 * np.pi * angle)


def truncated(seed, stream, step, elements):
    z = normal(seed, stream, step, elements)
    while np.any(np.abs(z) > 2):
        elements = [e + 2**44 if abs(v) > 2 else e for e, v in zip(elements, z)]
        z = normal(seed, stream, step, elements)
    return z


def gumbel(seed, stream, step, elements):
    word = words(seed, stream, step, [e // 4 for e in elements], [e % 4 for e in elements])
    return -np.log(-np.log(inside(word)))


def permutation(seed, stream, step, n):
    p = list(range(n))
    for k in range(n, 1, -1):
        w = block(seed, stream, step, k - 1)
        at = ((w[0] << 32 | w[1]) >> 11) * k >> 53
        p[k - 1], p[at] = p[at], p[k - 1]
    return np.array(p, dtype=np.int64)


KEYS = (("plain", 0, 0, 0), ("keyed", 7, 3, 12), ("large_numbers", 2**64 - 2, 2**32 - 1, 2**40 + 5))


def numbers(case):
    every = lambda n: list(range(n))
    for label, seed, stream, step in KEYS:
        run = {"seed": seed, "step": step} if seed else None
        key = (seed, stream, step)
        for op, own, of, tolerance in (
            ("uniform", {"low": -1.5, "high": 2.5}, lambda n: 4 * uniform(*key, n) - 1.5, TIGHT),
            ("normal", {"mean": 0.5, "standard_deviation": 2.0}, lambda n: 0.5 + 2 * normal(*key, every(n)), COMPOSED),
            (
                "truncated_normal",
                {"mean": -1.0, "standard_deviation": 0.5},
                lambda n: 0.5 * truncated(*key, every(n)) - 1,
                COMPOSED,
            ),
            ("gumbel", {}, lambda n: gumbel(*key, every(n)), COMPOSED),
        ):
            config = own | {"shape": [3, 7], "dtype": "f64", "stream": stream}
            f = lambda: torch.from_numpy(of(21)).reshape(3, 7)
            case(op, label, {}, config, f, run=run, tolerance=tolerance, source="NumPy")
        config = {"shape": [3, 7], "probability": 0.25, "stream": stream}
        f = lambda: torch.from_numpy(uniform(*key, 21) < 0.25).reshape(3, 7)
        case("bernoulli", label, {}, config, f, run=run, source="NumPy")
        config = {"n": [40], "stream": stream}
        case(
            "permutation", label, {}, config, lambda: torch.from_numpy(permutation(*key, 40)), run=run, source="NumPy"
        )


def add(case):
    numbers(case)
    dropout(case)
