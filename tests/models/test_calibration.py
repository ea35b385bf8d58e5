import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calibration import fit_temperature, negative_log_likelihood, probabilities


def draw(logits: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Labels that are as likely as the logits say."""
    scores = probabilities(logits)
    return (scores.cumsum(axis=1) > generator.random((len(logits), 1))).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("labels", [2, 4])
def test_finds_the_temperature_by_which_logits_were_sharpened(temperature: float, labels: int) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, labels))
    assert fit_temperature(logits * temperature, draw(logits, generator)) == pytest.approx(temperature, rel=0.05)


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_a_temperature_changes_no_label(seed: int, temperature: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (50, 3))
    scores = probabilities(logits, temperature)
    assert (scores.argmax(axis=1) == logits.argmax(axis=1)).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_likelihood_by_hand() -> None:
    logits = np.log([[0.8, 0.2], [0.4, 0.6]])
    assert negative_log_likelihood(logits, np.array([0, 1])) == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert negative_log_likelihood(np.array([[1e4, 0.0]]), np.array([1])) == pytest.approx(1e4)
