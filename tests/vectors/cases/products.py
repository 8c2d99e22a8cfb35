"""Products of matrices."""

from .common import COMPOSED, draw


def add(case):
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
