"""Attention between sequences, by PyTorch's own with a leading axis for heads."""

import torch
import torch.nn.functional as F

from .common import COMPOSED, draw, given


def attended(config):
    heads = config.get("heads", 1)

    def f(queries, keys, values, key_mask, mask):
        steps, positions = queries.shape[1], keys.shape[1]
        visible = torch.ones(queries.shape[0], steps, positions, dtype=torch.bool)
        if key_mask is not None:
            visible = visible & key_mask.unsqueeze(1)
        if mask is not None:
            visible = visible & mask
        if config.get("causal"):
            visible = visible & torch.ones(steps, positions, dtype=torch.bool).tril()
        # A query that sees nothing gives 0: PyTorch is asked of the others.
        some = visible.any(-1, keepdim=True)
        cut = lambda x: x.unflatten(-1, (heads, -1)).transpose(1, 2)
        y = F.scaled_dot_product_attention(
            cut(queries),
            cut(keys),
            cut(values),
            attn_mask=(visible | ~some).unsqueeze(1),
            scale=config.get("scale"),
        )
        return torch.where(some, y.transpose(1, 2).flatten(-2), 0)

    return f


def add(case):
    def one(label, b, s, t, d, e, config, key_mask=None, mask=None):
        inputs = {
            "queries": draw(b, s, d),
            "keys": draw(b, t, d),
            "values": draw(b, t, e),
            "key_mask": key_mask,
            "mask": mask,
        }
        case("dot_product_attention", label, inputs, config, attended(config), tolerance=COMPOSED)

    flags = lambda rows: given(rows, torch.bool)
    one("plain", 2, 3, 4, 2, 3, {})
    one("heads", 2, 2, 3, 6, 4, {"heads": 2})
    one("scale", 1, 2, 3, 2, 2, {"scale": 0.25})
    one("causal", 2, 4, 4, 3, 2, {"causal": True})
    one("key_mask", 2, 2, 3, 2, 2, {}, key_mask=flags([[1, 0, 1], [0, 0, 0]]))
    pairs = flags([[[1, 1, 0], [0, 0, 0]], [[0, 0, 1], [1, 1, 1]]])
    one("mask", 2, 2, 3, 2, 2, {}, mask=pairs)
    one("all", 2, 2, 3, 4, 4, {"heads": 2, "causal": True}, key_mask=flags([[1, 1, 0], [0, 1, 1]]), mask=pairs)
