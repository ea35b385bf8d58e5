"""The rows of the comparison, a training configuration each."""

from pathlib import Path
from typing import NamedTuple

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
BASELINE = "uniform"


class Family(NamedTuple):
    """Rows with the same origin."""

    title: str
    rows: tuple[str, ...]


FAMILIES = (
    Family("Baseline", (BASELINE,)),
    Family("A hand-written Q/K/V layer", ("elementwise", "elementwise_positions")),
    Family(
        "Multi-head and sparse self-attention without an output projection",
        (
            "multi_head",
            "multi_head_sinusoidal",
            "multi_head_trainable_positions",
            "local",
            "atrous",
            "sparse",
        ),
    ),
    Family("Two poolings over states", ("dot_product", "additive_pooling", "linear_pooling", "dot_pooling")),
    Family(
        "keras-self-attention",
        (
            "seq_additive",
            "seq_additive_local",
            "seq_multiplicative",
            "seq_weighted",
            "scaled_dot_product",
            "residual_scaled_dot_product",
        ),
    ),
    Family("keras-multi-head", ("multi_head_of", "multi_head_projected")),
    Family(
        "Keras' own",
        (
            "keras_attention",
            "keras_additive_attention",
            "keras_multi_head_attention",
            "keras_group_query_attention",
        ),
    ),
    Family("A Transformer encoder", ("transformer", "transformer_deep")),
)
ROWS = tuple(row for family in FAMILIES for row in family.rows)


def config_file(row: str) -> Path:
    """Return the TOML file of a row."""
    return CONFIGS / f"{row}.toml"
