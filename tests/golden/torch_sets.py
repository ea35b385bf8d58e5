"""Answers of PyTorch: its own layers, and the two functions of the second write-up as published."""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from drawn import FEATURES, MASK, draw, states
from golden_file import GoldenSet
from torch import nn
from torch.nn import functional

HEADS = 2


def sets() -> list[GoldenSet]:
    with torch.no_grad():
        return [*_published(), *_multi_head_attention(), *_encoder_layer()]


def attention_1(x: torch.Tensor) -> torch.Tensor:
    k = x.transpose(1, 2)
    att_score = functional.softmax(torch.matmul(x, k) / math.sqrt(x.size(-1)), dim=-1)
    return torch.matmul(att_score, x).sum(1)


def attention_2(x: torch.Tensor, w_omega: torch.Tensor, u_omega: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    u = torch.tanh(torch.matmul(x, w_omega))
    att_score = functional.softmax(torch.matmul(u, u_omega), dim=1)
    return torch.sum(x * att_score, dim=1), att_score


def _published() -> Iterator[GoldenSet]:
    inputs = states()
    yield GoldenSet(
        "attention_1", "attention_1", {}, [inputs], [], {}, {"output": attention_1(torch.tensor(inputs)).numpy()}
    )
    weights = {"w_omega": draw("w_omega", (FEATURES, FEATURES)), "u_omega": draw("u_omega", (FEATURES, 1))}
    output, scores = attention_2(*map(torch.tensor, (inputs, *weights.values())))
    outputs = {"output": output.numpy(), "map": scores[..., 0].numpy()}
    yield GoldenSet("attention_2", "attention_2", {}, [inputs], [], weights, outputs)


def _drawn(module: nn.Module) -> dict[str, np.ndarray]:
    weights = {name: draw(name, weight.shape) for name, weight in module.state_dict().items()}
    module.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return weights


def _ignored(mask: np.ndarray | None) -> torch.Tensor | None:
    """PyTorch marks the padding, not the tokens."""
    return None if mask is None else torch.tensor(~mask)


def _multi_head_attention() -> Iterator[GoldenSet]:
    inputs = states()
    for bias, causal, mask in product((True, False), (False, True), (None, MASK)):
        layer = nn.MultiheadAttention(FEATURES, HEADS, bias=bias, batch_first=True).eval()
        weights = _drawn(layer)
        x = torch.tensor(inputs)
        later = torch.triu(torch.ones(inputs.shape[1], inputs.shape[1], dtype=torch.bool), 1) if causal else None
        output, scores = layer(x, x, x, key_padding_mask=_ignored(mask), attn_mask=later, average_attn_weights=False)
        yield GoldenSet(
            f"MultiheadAttention, bias={bias}, causal={causal}, {'unpadded' if mask is None else 'padded'}",
            "MultiheadAttention",
            {"bias": bias, "causal": causal},
            [inputs],
            [] if mask is None else [mask],
            weights,
            {"output": output.numpy(), "map": scores.numpy()},
        )


def _encoder_layer() -> Iterator[GoldenSet]:
    inputs = states()
    for norm_first, activation, mask in product((False, True), ("gelu", "relu"), (None, MASK)):
        layer = nn.TransformerEncoderLayer(
            FEATURES,
            HEADS,
            dim_feedforward=7,
            activation=activation,
            layer_norm_eps=1e-6,
            batch_first=True,
            norm_first=norm_first,
        ).eval()
        weights = _drawn(layer)
        output = layer(torch.tensor(inputs), src_key_padding_mask=_ignored(mask))
        yield GoldenSet(
            f"TransformerEncoderLayer, norm_first={norm_first}, activation={activation}, "
            f"{'unpadded' if mask is None else 'padded'}",
            "TransformerEncoderLayer",
            {"norm_first": norm_first, "activation": activation, "dim_feedforward": 7, "layer_norm_eps": 1e-6},
            [inputs],
            [] if mask is None else [mask],
            weights,
            {"output": output.numpy()},
        )
