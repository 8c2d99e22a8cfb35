"""Products of matrices, of any axes, and the bilinear form."""

import torch
import torch.nn.functional as F

from .common import COMPOSED, draw, given


def einsums(case):
    for label, equation, dims in (
        ("matrices", "ij,jk->ik", [(3, 4), (4, 2)]),
        ("sequence", "tbi,io->tbo", [(2, 3, 4), (4, 2)]),
        ("batches", "bqd,bkd->bqk", [(2, 3, 4), (2, 2, 4)]),
        ("turned", "abc,cd->dba", [(2, 3, 4), (4, 2)]),
        ("three", "ik,kj,jl->li", [(2, 3), (3, 4), (4, 2)]),
        ("implied", "ba,ac", [(3, 2), (2, 4)]),
        ("outer", "i,j", [(3,), (4,)]),
        ("all", "ij,ij->", [(3, 4), (3, 4)]),
        ("kept", "ij,ij->i", [(3, 4), (3, 4)]),
        ("sum", "ijk->k", [(2, 3, 4)]),
        ("trace", "ii", [(4, 4)]),
        ("diagonal", "iij->ji", [(3, 3, 2)]),
        ("dots", "...i,...ij->...j", [(3, 4), (2, 3, 4, 2)]),
        ("ones", "ij,ij->ij", [(1, 4), (3, 4)]),
        ("nothing", "ij,jk->ik", [(0, 3), (3, 2)]),
    ):
        f = lambda xs: torch.einsum(equation, xs)
        case("einsum", label, {"xs": [draw(*d) for d in dims]}, {"equation": equation}, f, tolerance=COMPOSED)


def bilinears(case):
    for label, lead, i, j, o, biases in (
        ("rows", (4,), 3, 2, 5, True),
        ("sequence", (2, 3), 2, 4, 3, False),
        ("one", (1,), 1, 1, 1, True),
        ("no_rows", (0,), 2, 3, 2, True),
    ):
        inputs = {
            "x1": draw(*lead, i),
            "x2": draw(*lead, j),
            "weights": draw(o, i, j),
            "biases": draw(o) if biases else None,
        }
        case("bilinear", label, inputs, {}, F.bilinear, tolerance=COMPOSED)


def sums_over_time(a, b, begin, end):
    steps = torch.arange(a.shape[0])[:, None]
    inside = torch.ones(a.shape[:2], dtype=torch.bool)
    if begin is not None:
        inside &= steps >= begin
    if end is not None:
        inside &= steps < end
    return torch.einsum("tbk,tbn->kn", a * inside[..., None], b)


def products_over_time(case):
    for label, t, b, k, n, begin, end in (
        ("all_steps", 5, 3, 4, 2, None, None),
        ("windows", 6, 4, 3, 5, [0, 2, 5, 6], [6, 4, 5, 6]),
        ("lengths", 4, 3, 2, 2, None, [4, 0, 1]),
        ("one", 1, 1, 1, 1, None, None),
        ("no_steps", 0, 2, 3, 4, None, None),
    ):
        rows = lambda v: None if v is None else given(v, torch.int32)
        inputs = {"a": draw(t, b, k), "b": draw(t, b, n), "begin": rows(begin), "end": rows(end)}
        case("product_over_time", label, inputs, {}, sums_over_time, tolerance=COMPOSED)


def add(case):
    einsums(case)
    bilinears(case)
    products_over_time(case)
    for ta in (False, True):
        for tb in (False, True):
            config = {"transpose_a": ta, "transpose_b": tb}

            def product(a, b):
                return (a.mT if ta else a) @ (b.mT if tb else b)

            def pair(batch_a, m, k, n, batch_b=()):
                a, b = [k, m] if ta else [m, k], [n, k] if tb else [k, n]
                return {"a": draw(*batch_a, *a), "b": draw(*batch_b, *b)}

            sides = "".join(["_ta" if ta else "", "_tb" if tb else ""])
            case("matmul", f"matrices{sides}", pair([], 3, 5, 4), config, product, tolerance=COMPOSED)
            case("matmul", f"shared_matrix{sides}", pair([2], 3, 4, 2), config, product, tolerance=COMPOSED)
            case("matmul", f"batches{sides}", pair([2, 2], 2, 3, 2, [2, 2]), config, product, tolerance=COMPOSED)
            case("matmul", f"one{sides}", pair([], 1, 1, 1), config, product, tolerance=COMPOSED)
            case("matmul", f"row_and_column{sides}", pair([], 1, 9, 1), config, product, tolerance=COMPOSED)
            case("matmul", f"no_inner{sides}", pair([], 2, 0, 3), config, product, tolerance=COMPOSED)
            case("matmul", f"no_rows{sides}", pair([2], 0, 2, 3), config, product, tolerance=COMPOSED)
            case("matmul", f"odd_sizes{sides}", pair([], 7, 9, 5), config, product, tolerance=COMPOSED)
