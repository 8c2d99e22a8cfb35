"""Random numbers: an independent Philox4x32-10, written from the paper (Salmon, Moraes, Dror, Shaw, 2011), with the
packing of counter and key that ops/random.h documents."""

import torch

from .common import EXACT, TIGHT, draw, np

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


def add(case):
    dropout(case)
