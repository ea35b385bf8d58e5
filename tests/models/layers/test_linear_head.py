from pathlib import Path

import numpy as np
import pytest

from models.layers import LinearHead
from tests.layer_checks import Case, check_case, to_numpy

GENERATOR = np.random.default_rng(6)
HEADS, SIZE = 2, 3
COEFFICIENTS = GENERATOR.dirichlet(np.ones(5), size=(4, HEADS)).astype("float32")  # [batch, heads, tokens]
VALUES = GENERATOR.normal(size=(4, 5, HEADS * SIZE)).astype("float32")
SHARED = VALUES[..., :SIZE]

CASES = {
    "heads_with_values_of_their_own": Case(
        LinearHead, {"labels": 2}, (VALUES[:, 0], VALUES, COEFFICIENTS), {"float32_outputs": True}
    ),
    "heads_that_share_their_values": Case(
        LinearHead, {"labels": 3}, (VALUES[:, 0], SHARED, COEFFICIENTS), {"float32_outputs": True}
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_linear_head_passes_the_harness(case: str, tmp_path: Path) -> None:
    check_case(CASES[case], tmp_path)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("shared", [False, True])
def test_linear_head_of_heads_is_its_equation(labels: int, shared: bool) -> None:
    """The tokens' shares in all heads plus the base give the contrast of the logits."""
    values = SHARED if shared else VALUES
    blocks = [values if shared else values[..., h * SIZE : (h + 1) * SIZE] for h in range(HEADS)]
    pooled = np.concatenate([np.einsum("bt,btf->bf", COEFFICIENTS[:, h], block) for h, block in enumerate(blocks)], 1)
    layer = LinearHead(labels)
    layer(pooled, values, COEFFICIENTS)
    layer.set_weights([GENERATOR.normal(size=weight.shape) for weight in layer.get_weights()])
    outputs = {name: to_numpy(output) for name, output in layer(pooled, values, COEFFICIENTS).items()}
    kernel = to_numpy(layer.kernel).astype("float64")
    for row, logits in enumerate(outputs["logits"]):
        target = 1 if labels == 2 else int(logits.argmax())
        contrast = kernel[:, target] - np.delete(kernel, target, axis=1).mean(axis=1)
        expected = sum(
            COEFFICIENTS[row, h] * (block[row] @ contrast[h * SIZE : (h + 1) * SIZE]) for h, block in enumerate(blocks)
        )
        np.testing.assert_allclose(outputs["contributions"][row], expected, atol=1e-5)
        log_odds = logits[target] - np.delete(logits, target).mean()
        assert layer.base(target) + outputs["contributions"][row].sum() == pytest.approx(log_odds, abs=1e-5)
