import keras
import numpy as np
import pytest

from training.optimizer import make_adam

ROWS = 50


def trained(optimizer: keras.optimizers.Optimizer) -> list[np.ndarray]:
    """Weights of a small classifier after ten steps; most rows of its table are in none of the batches."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.layers.Embedding(ROWS, 6), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(2)]
    )
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    generator = np.random.default_rng(3)
    for _ in range(10):
        ids = generator.integers(0, 10, (4, 7)) + generator.integers(0, ROWS - 10)
        model.train_on_batch(ids, generator.integers(0, 2, 4))
    return model.get_weights()


@pytest.mark.parametrize("gradient_norm", [0.05, 1.0])
def test_it_is_keras_adam_to_the_rounding(gradient_norm: float) -> None:
    def rate() -> keras.optimizers.schedules.LearningRateSchedule:
        return keras.optimizers.schedules.CosineDecay(0.05, 10, alpha=0.1)

    ours = trained(make_adam(rate(), gradient_norm=gradient_norm))
    theirs = trained(keras.optimizers.Adam(rate(), global_clipnorm=gradient_norm))
    untrained = trained(keras.optimizers.SGD(0.0))
    for one, other, start in zip(ours, theirs, untrained, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
        assert np.abs(one - start).max() > 0.01
