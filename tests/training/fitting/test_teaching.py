"""Teachers label further texts, which a classifier learns beside the labelled ones."""

from pathlib import Path

import numpy as np
import pytest

from models.bundle.store import read_card, save_bundle
from models.classifier import build_classifier
from tests.training.tiny_run import TINY, RecordedProgress
from training import ConfigError
from training.batches import EncodedTexts
from training.checkpoint import VECTORS_FILE
from training.config import DataConfig, NgramsConfig, PhaseConfig, TeachingConfig, TrainConfig
from training.data.corpus import Corpus
from training.data.imdb import load_imdb
from training.fitting.teaching import TAUGHT_FILE, with_taught_texts
from training.prepare import Prepared, prepare
from training.run import train

TEACHER = """
name = "teacher"
batch_size = 16
model = { encoder = "none", mechanism = "ngram_attention", attention = { longest = 2, buckets = 4096 } }
ngrams = { min_count = 1 }
[[phases]]
epochs = 2
learning_rate = 0.3
"""
STUDENT = TrainConfig(
    name="student",
    seed=3,
    batch_size=16,
    data=TINY.data.model_copy(update={"swap_names": True}),
    ngrams=NgramsConfig(),
    model={"encoder": "none", "mechanism": "ngram_attention", "attention": {"longest": 2, "buckets": 4096, "bits": 8}},
    phases=(PhaseConfig(epochs=2, learning_rate=0.3),),
)


@pytest.fixture(scope="module")
def corpus(imdb_folder: Path) -> Corpus:
    return load_imdb(imdb_folder)


@pytest.fixture(scope="module")
def prepared(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    return prepare(STUDENT, corpus, vectors_file=folder / VECTORS_FILE, progress=RecordedProgress())


def taught_by(file: Path, **options: object) -> TrainConfig:
    teaching = TeachingConfig.model_validate({"teachers": [str(file)], "unlabelled": 5, **options})
    return STUDENT.model_copy(update={"teaching": teaching})


class Keeper(RecordedProgress):
    """Reads the labels before the run deletes them."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self.kept = b""

    def say(self, message: str) -> None:
        super().say(message)
        self.kept = self._file.read_bytes() if self._file.exists() else self.kept


def test_a_teacher_is_trained_once_and_its_labels_are_kept(corpus: Corpus, tmp_path: Path) -> None:
    file, work = tmp_path / "teacher.toml", tmp_path / "work"
    file.write_text(TEACHER)
    config = taught_by(file, sentences=7, templates=0)

    class Killed(Exception):
        pass

    class Killer(RecordedProgress):
        def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
            if (work / TAUGHT_FILE).exists():
                raise Killed

    with pytest.raises(Killed):
        train(config, corpus, tmp_path / "student", work=work, resume=False, progress=Killer())
    teacher = read_card(work / "teacher")
    assert teacher.training["config"]["data"] == config.data.model_dump(mode="json")
    labels = (work / TAUGHT_FILE).read_bytes()
    progress = Keeper(work / TAUGHT_FILE)
    card = train(config, corpus, tmp_path / "student", work=work, resume=True, progress=progress)
    assert not any("labelling" in line for line in progress.lines)
    assert card.training["config"]["teaching"]["sentences"] == 7
    assert progress.kept == labels


def fake_labels(work: Path, texts: np.ndarray, sentences: np.ndarray) -> None:
    work.mkdir()
    np.savez(work / TAUGHT_FILE, texts=texts, sentences=sentences)


def test_a_sentence_leans_on_its_text(prepared: Prepared, tmp_path: Path) -> None:
    def untrained(teacher: TrainConfig, folder: Path) -> None:
        raise AssertionError("the labels are there")

    config = taught_by(Path("none.toml"), sentences=6, of_text=0.25, sentence_weight=0.1)
    texts = np.tile(np.array([[0.2, 0.8]], np.float32), (5, 1))
    fake_labels(tmp_path / "work", texts, np.tile(np.array([[0.6, 0.4]], np.float32), (6, 1)))
    taught = with_taught_texts(
        config, prepared, ("negative", "positive"), tmp_path / "work", untrained, RecordedProgress()
    )
    labelled = len(prepared.train.labels)
    assert len(taught.ids) == labelled + 5 + 6
    assert taught.soft is not None
    assert taught.weights is not None
    np.testing.assert_array_equal(taught.soft[:labelled], np.eye(2)[prepared.train.labels])
    np.testing.assert_allclose(taught.soft[labelled : labelled + 5], texts)
    for soft in taught.soft[labelled + 5 :]:
        whole = (soft - 0.75 * np.array([0.6, 0.4])) / 0.25
        assert min(abs(whole[1] - each) for each in (0, 1, 0.8)) < 1e-5
    np.testing.assert_allclose(taught.weights, [1] * (labelled + 5) + [0.1] * 6)


@pytest.mark.parametrize(
    ("labels", "data", "fault"),
    [
        (("bad", "good"), STUDENT.data, "expected the labels"),
        (("negative", "positive"), TINY.data, "trained on the same texts"),
    ],
)
def test_a_bundle_that_may_know_the_validation_texts_is_no_teacher(
    prepared: Prepared, tmp_path: Path, labels: tuple[str, ...], data: DataConfig, fault: str
) -> None:
    architecture = STUDENT.classifier(vocabulary_size=prepared.tokenizer.vocabulary_size, labels=2)
    save_bundle(
        tmp_path / "teacher",
        model=build_classifier(architecture),
        tokenizer=prepared.tokenizer,
        config=architecture,
        labels=labels,
        max_tokens=32,
        training={"config": {"data": data.model_dump(mode="json")}},
        onnx=False,
    )
    config = taught_by(tmp_path / "teacher")
    with pytest.raises(ConfigError, match=fault):
        with_taught_texts(config, prepared, ("negative", "positive"), tmp_path, lambda *_: None, RecordedProgress())


def test_soft_labels_are_taken_along() -> None:
    texts = EncodedTexts([np.array([2]), np.array([3, 4])], np.array([1, 0], np.int32))
    both = texts.and_taught([np.array([5])], np.array([[0.3, 0.7]], np.float32), np.array([0.5], np.float32))
    np.testing.assert_allclose(both.targets(2), [[0, 1], [1, 0], [0.3, 0.7]])
    last = both.take(np.array([2]))
    assert last.labels.tolist() == [1]
    assert last.weights is not None
    np.testing.assert_allclose(last.weights, [0.5])
