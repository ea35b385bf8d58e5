"""A training run that takes seconds and learns."""

from training.config import DataConfig, PhaseConfig, TrainConfig, VectorsConfig

TINY = TrainConfig(
    name="tiny",
    seed=3,
    batch_size=16,
    data=DataConfig(validation_share=0.2, fewest_validation=0, max_words=100, max_tokens=32),
    vectors=VectorsConfig(window=3, min_count=1, epochs=1),
    model={"embedding_dim": 8, "embedding_dropout": 0.1, "encoder_units": 4, "attention_units": 4, "dropout": 0.1},
    phases=(
        PhaseConfig(epochs=2, learning_rate=0.05, train_embedding=False),
        PhaseConfig(epochs=3, learning_rate=0.05, patience=3),
    ),
)


class RecordedProgress:
    """Record the progress of a run."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
        self.steps.append((task, done, total))
