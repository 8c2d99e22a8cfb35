"""Losses: with weights, masks and reductions, smoothing, indices to ignore."""

import torch
import torch.nn.functional as F

from .common import COMPOSED, EVEN, ODD, TIGHT, draw, given, whole

REDUCTIONS = ("NONE", "SUM", "MEAN", "MEAN_BY_WEIGHT", "MEAN_BY_NONZERO_WEIGHT_COUNT")
MEAN = REDUCTIONS[-1]


def reduced(losses, weights, reduction):
    w = torch.ones_like(losses) if weights is None else weights.broadcast_to(losses.shape).to(losses.dtype)
    total = (torch.where(w != 0, losses, 0) * w).sum()
    return {
        "NONE": lambda: torch.where(w != 0, losses, 0) * w,
        "SUM": lambda: total,
        "MEAN": lambda: total / losses.numel(),
        "MEAN_BY_WEIGHT": lambda: total / w.sum(),
        "MEAN_BY_NONZERO_WEIGHT_COUNT": lambda: total / (w != 0).sum(),
    }[reduction]()


# The loss of each element, and where predictions and labels are drawn. On grids of their own no difference is 0, nor as
# large as a delta.
NEAR = dict(low=-2, high=2)
PROBABLE = dict(low=0.1, high=0.9)
ELEMENTS = {
    "mean_squared_error": (lambda p, z: F.mse_loss(p, z, reduction="none"), NEAR, NEAR),
    "mean_absolute_error": (
        lambda p, z: F.l1_loss(p, z, reduction="none"),
        NEAR | {"grid": ODD},
        NEAR | {"grid": EVEN},
    ),
    "huber": (
        lambda p, z, delta=1.0: F.huber_loss(p, z, reduction="none", delta=delta),
        NEAR | {"grid": ODD},
        NEAR | {"grid": EVEN},
    ),
    "log_cosh": (lambda p, z: torch.log(torch.cosh(p - z)), NEAR, NEAR),
    "hinge": (lambda p, z: F.relu(1 - torch.where(z > 0.5, 1.0, -1.0) * p), NEAR | {"grid": ODD}, None),
    "log_loss": (
        lambda p, z, epsilon=1e-7: -z * torch.log(p + epsilon) - (1 - z) * torch.log(1 - p + epsilon),
        PROBABLE,
        PROBABLE,
    ),
    "poisson": (
        lambda p, z, log_input=True, full=False, epsilon=1e-8: F.poisson_nll_loss(
            p, z, log_input=log_input, full=full, eps=epsilon, reduction="none"
        ),
        dict(low=0.3, high=2),
        dict(low=1.5, high=3),
    ),
    "sigmoid_cross_entropy": (
        lambda x, z, label_smoothing=0.0: F.binary_cross_entropy_with_logits(
            x, z * (1 - label_smoothing) + label_smoothing / 2, reduction="none"
        ),
        dict(low=-3, high=3),
        PROBABLE,
    ),
}
OWN = {
    "huber": ({"delta": 0.5},),
    "log_loss": ({"epsilon": 0.125},),
    "poisson": ({"log_input": False, "epsilon": 0.125}, {"full": True}),
    "sigmoid_cross_entropy": ({"label_smoothing": 0.25},),
}


def name_of(op):
    return "logits" if op.endswith("entropy") or op.endswith("dense") else "predictions"


def elements(case):
    for op, (of, low_high, labels) in ELEMENTS.items():
        first = name_of(op)

        def operands(*dims):
            z = given([0.0, 1.0, 1.0])[torch.arange(torch.Size(dims).numel()) % 3].reshape(dims)
            return {first: draw(*dims, **low_high), "labels": z if labels is None else draw(*dims, **labels)}

        how = {"tolerance": COMPOSED, "grad": ("labels",) if labels is None else True}
        if labels is None:  # labels of 0 and 1: what stands between has no meaning
            how["grad"] = ("labels",)
        case(op, "plain", operands(3, 4), {}, lambda p, z: reduced(of(p, z), None, MEAN), **how)
        for r in REDUCTIONS:
            case(
                op,
                f"weights_{r.lower()}",
                operands(2, 3) | {"weights": draw(2, 1, low=0.5, high=1.5)},
                {"reduction": r},
                lambda p, z, w: reduced(of(p, z), w, r),
                **how,
            )
        mask = torch.tensor([[[True], [False]], [[True], [True]]])
        case(
            op,
            "mask",
            operands(2, 2, 3) | {"weights": mask},
            {},
            lambda p, z, w: reduced(of(p, z), w, MEAN),
            **how,
        )
        for k, own in enumerate(OWN.get(op, ())):
            case(
                op,
                f"own_{k}",
                operands(2, 3),
                own | {"reduction": "SUM"},
                lambda p, z: reduced(of(p, z, **own), None, "SUM"),
                **how,
            )


def softmaxes(case):
    sparse = lambda x, z, s=0.0: F.cross_entropy(
        x.reshape(-1, x.shape[-1]), z.long().flatten(), reduction="none", label_smoothing=s
    ).reshape(z.shape)
    dense = lambda x, z, s=0.0: F.cross_entropy(
        x.reshape(-1, x.shape[-1]), z.reshape(-1, x.shape[-1]), reduction="none", label_smoothing=s
    ).reshape(x.shape[:-1])
    of_index = lambda *dims: {"logits": draw(*dims, 5, low=-3, high=3), "labels": whole(*dims, high=4)}
    of_parts = lambda *dims: {"logits": draw(*dims, 5, low=-3, high=3), "labels": draw(*dims, 5, low=0.1, high=0.9)}
    for op, of, operands in (
        ("softmax_cross_entropy", sparse, of_index),
        ("softmax_cross_entropy_dense", dense, of_parts),
    ):
        how = {"tolerance": COMPOSED}
        case(op, "plain", operands(3), {}, lambda x, z: of(x, z).mean(), **how)
        case(op, "steps", operands(3, 2), {}, lambda x, z: of(x, z).mean(), **how)
        smooth = {"label_smoothing": 0.25}
        case(op, "smoothing", operands(3), smooth, lambda x, z: of(x, z, 0.25).mean(), **how)
        for r in REDUCTIONS:
            case(
                op,
                f"weights_{r.lower()}",
                operands(3, 2) | {"weights": draw(2, low=0.5, high=1.5)},
                {"reduction": r},
                lambda x, z, w: reduced(of(x, z), w, r),
                **how,
            )
    # What PyTorch calls ignore_index.
    labels = given([[2, -100], [-100, 0], [4, 1]], torch.int64)
    case(
        "softmax_cross_entropy",
        "ignored",
        {"logits": draw(3, 2, 5), "labels": labels, "weights": labels != -100},
        {"label_smoothing": 0.25},
        lambda x, z, w: F.cross_entropy(x.reshape(-1, 5), z.flatten(), ignore_index=-100, label_smoothing=0.25),
        tolerance=COMPOSED,
    )


def rows(case):
    divergence = lambda p, z, axis=-1, log_input=False: F.kl_div(
        p if log_input else torch.log(p), z, reduction="none"
    ).sum(axis)
    cosine = lambda p, z, axis=-1: 1 - (p * z).sum(axis)
    for op, of, tolerance, own in (
        ("kl_divergence", divergence, COMPOSED, ({"axis": 0}, {"log_input": True})),
        ("cosine_distance", cosine, TIGHT, ({"axis": 0}, {"axis": -2})),
    ):
        operands = lambda *dims: {"predictions": draw(*dims, **PROBABLE), "labels": draw(*dims, **PROBABLE)}
        case(op, "plain", operands(3, 4), {}, lambda p, z: of(p, z).mean(), tolerance=tolerance)
        for r in REDUCTIONS:
            case(
                op,
                f"weights_{r.lower()}",
                operands(2, 3, 4) | {"weights": draw(3, low=0.5, high=1.5)},
                {"reduction": r},
                lambda p, z, w: reduced(of(p, z), w, r),
                tolerance=tolerance,
            )
        for k, o in enumerate(own):
            case(op, f"own_{k}", operands(3, 2), o, lambda p, z: of(p, z, **o).mean(), tolerance=tolerance)
    # As PyTorch's "batchmean".
    case(
        "kl_divergence",
        "zeros",
        {"predictions": given([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25]]), "labels": given([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])},
        {},
        lambda p, z: F.kl_div(torch.log(torch.where(z > 0, p, 1)), z, reduction="batchmean"),
        tolerance=COMPOSED,
        grad=("labels",),
    )


def add(case):
    elements(case)
    softmaxes(case)
    rows(case)
