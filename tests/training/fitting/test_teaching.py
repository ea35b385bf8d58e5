"""Teachers label further texts, which a classifier learns beside the labelled ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle.store import load_bundle, read_card, save_bundle
from models.classifier import build_classifier
from models.tokenizer import Tokenizer
from tests.training.tiny_run import TINY, RecordedProgress
from training import ConfigError, ResumeError
from training.batches import EncodedTexts
from training.checkpoint import VECTORS_FILE
from training.config import NgramsConfig, PhaseConfig, TeachingConfig, TrainConfig, read_config
from training.data.corpus import Corpus
from training.data.imdb import load_imdb
from training.fitting.teaching import TAUGHT_FILE, _with_unknown_names, read_teachers, teach
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
    teacher = read_card(work / "teacher_1")
    assert teacher.training["config"]["data"] == config.data.model_dump(mode="json")
    labels = (work / TAUGHT_FILE).read_bytes()
    progress = Keeper(work / TAUGHT_FILE)
    card = train(config, corpus, tmp_path / "student", work=work, resume=True, progress=progress)
    assert not any("labelling" in line for line in progress.lines)
    assert card.training["taught"]["sentences"] == 7
    rounding = card.training["rounding"]  # its tables have 8 bits
    assert rounding["accuracy"] == card.metrics["validation"]["accuracy"]
    assert 0 < rounding["largest_change_of_a_logit"] < 0.2
    assert card.training["taught"]["teachers"] == [{"name": "teacher_1", "version": teacher.version}]
    assert progress.kept == labels


def test_a_run_stopped_while_its_teacher_is_trained_is_not_thrown_away(corpus: Corpus, tmp_path: Path) -> None:
    file, work = tmp_path / "teacher.toml", tmp_path / "work"
    file.write_text(TEACHER)

    class Killed(Exception):
        pass

    class Killer(RecordedProgress):
        def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
            raise Killed

    config = taught_by(file)
    with pytest.raises(Killed):
        train(config, corpus, tmp_path / "student", work=work, resume=False, progress=Killer())
    with pytest.raises(ResumeError, match="holds a stopped run"):
        train(config, corpus, tmp_path / "student", work=work, resume=False, progress=RecordedProgress())
    file.write_text(TEACHER.replace("0.3", "0.2"))
    with pytest.raises(ResumeError, match="of this configuration"):
        train(config, corpus, tmp_path / "student", work=work, resume=True, progress=RecordedProgress())


def untrained(teacher: TrainConfig, folder: Path) -> None:
    raise AssertionError("the teacher is there")


def test_a_sentence_leans_on_its_text(prepared: Prepared, saved: Path, tmp_path: Path) -> None:
    config = taught_by(saved, sentences=6, of_text=0.25, sentence_weight=0.1)
    texts = np.tile(np.array([[0.2, 0.8]], np.float32), (5, 1))
    np.savez(tmp_path / TAUGHT_FILE, texts=texts, sentences=np.tile(np.array([[0.6, 0.4]], np.float32), (6, 1)))
    labels = ("negative", "positive")
    taught = teach(config, [saved], prepared, labels, tmp_path, untrained, RecordedProgress())
    labelled = len(prepared.train.labels)
    assert len(taught.texts.ids) == labelled + 5 + 6
    assert taught.texts.soft is not None
    assert taught.texts.weights is not None
    np.testing.assert_array_equal(taught.texts.soft[:labelled], np.eye(2)[prepared.train.labels])
    np.testing.assert_allclose(taught.texts.soft[labelled : labelled + 5], texts)
    for soft in taught.texts.soft[labelled + 5 :]:
        whole = (soft - 0.75 * np.array([0.6, 0.4])) / 0.25
        assert min(abs(whole[1] - each) for each in (0, 1, 0.8)) < 1e-5
    np.testing.assert_allclose(taught.texts.weights, [1] * (labelled + 5) + [0.1] * 6)
    assert taught.facts is not None
    assert taught.facts["teachers"] == [{"name": "saved", "version": read_card(saved).version}]


@pytest.fixture
def saved(corpus: Corpus, prepared: Prepared, tmp_path: Path) -> Path:
    """An untrained bundle that says it was trained on the texts of `STUDENT`."""
    architecture = STUDENT.classifier(vocabulary_size=prepared.tokenizer.vocabulary_size, labels=2)
    save_bundle(
        tmp_path / "saved",
        model=build_classifier(architecture),
        tokenizer=prepared.tokenizer,
        config=architecture,
        labels=("negative", "positive"),
        max_tokens=32,
        data={"fingerprint": corpus.fingerprint()},
        training={"config": {"data": STUDENT.data.model_dump(mode="json")}},
        onnx=False,
    )
    return tmp_path / "saved"


@pytest.mark.parametrize(
    ("change", "labels", "data", "fault"),
    [
        ({}, ("bad", "good"), "same", "expected the labels"),
        ({"data": TINY.data}, ("negative", "positive"), "same", "differs in \\['swap_names'\\]"),
        ({}, ("negative", "positive"), "other", "differs in \\['fingerprint'\\]"),
    ],
)
def test_a_bundle_that_may_know_the_validation_texts_is_no_teacher(
    corpus: Corpus, saved: Path, change: dict[str, Any], labels: tuple[str, ...], data: str, fault: str
) -> None:
    config = taught_by(saved)
    assert read_teachers(config, corpus.label_names, corpus.fingerprint()) == [saved]
    fingerprint = corpus.fingerprint() if data == "same" else data
    with pytest.raises(ConfigError, match=fault):
        read_teachers(config.model_copy(update=change), labels, fingerprint)


def test_teachers_are_read_before_anything_is_trained(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="readable TOML"):
        read_teachers(taught_by(tmp_path / "none.toml"), corpus.label_names, "")
    with pytest.raises(ConfigError, match="expected two labels"):
        read_teachers(taught_by(tmp_path / "none.toml", templates=3), ("bad", "fair", "good"), "")


READER = """
name = "teacher"
batch_size = 16
model = { encoder = "none", embedding_dim = 8, attention_units = 4 }
vectors = { window = 2, min_count = 1, epochs = 1 }
phases = [{ epochs = 1, learning_rate = 0.01 }]
"""


def test_a_student_starts_at_the_weights_of_its_teacher(corpus: Corpus, tmp_path: Path) -> None:
    """Alone or beside n-grams; what is not trained stays as it was."""
    file = tmp_path / "teacher.toml"
    file.write_text(READER)
    reader = read_config(file)
    config = taught_by(file, start=True, sentences=9, flipped=2)
    phase = PhaseConfig(epochs=1, learning_rate=1e-3, train_embedding=False, average=0.9)
    alone = config.model_copy(update={"model": reader.model, "ngrams": False, "phases": (phase,)})
    train(alone, corpus, tmp_path / "alone", work=tmp_path / "work", resume=False, progress=RecordedProgress())
    train(
        reader.model_copy(update={"data": alone.data, "seed": alone.seed}),
        corpus,
        tmp_path / "teacher",
        work=tmp_path / "work",
        resume=False,
        progress=RecordedProgress(),
    )
    taught_by_bundle = alone.model_copy(
        update={
            "model": {**reader.model, "ngrams": {"longest": 2, "buckets": 4096}},
            "ngrams": NgramsConfig(epochs=1),
            "teaching": alone.teaching and alone.teaching.model_copy(update={"teachers": (str(tmp_path / "teacher"),)}),
        }
    )
    card = train(
        taught_by_bundle,
        corpus,
        tmp_path / "beside",
        work=tmp_path / "work",
        resume=False,
        progress=RecordedProgress(),
    )
    words = [
        load_bundle(tmp_path / name).model.get_layer("embedding").get_weights()[0]
        for name in ("teacher", "alone", "beside")
    ]
    np.testing.assert_array_equal(words[0], words[1])
    np.testing.assert_array_equal(words[0], words[2])
    assert card.training["taught"].keys() == {"teachers", "unlabelled", "sentences", "flipped"}


def test_names_are_unknown_in_every_other_text() -> None:
    tokenizer = Tokenizer(["karen", "sang", "jamal"])
    texts = [tokenizer.encode("Karen and Jamal sang", 9).ids] * 400
    hidden = [ids.tolist() for ids in _with_unknown_names(tokenizer, texts, np.random.default_rng(1))]
    assert texts[0].tolist() == [2, 1, 4, 3]
    assert 150 < hidden.count([1, 1, 1, 3]) < 250
    assert hidden.count([1, 1, 1, 3]) + hidden.count([2, 1, 4, 3]) == 400


def test_two_teachers_of_a_kind_have_seeds_of_their_own(corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "teacher.toml"
    file.write_text(READER)
    config = taught_by(file)
    assert config.teaching
    twice = config.model_copy(update={"teaching": config.teaching.model_copy(update={"teachers": (str(file),) * 2})})
    teachers = read_teachers(twice, corpus.label_names, "")
    seeds = [teacher.seed for teacher in teachers if isinstance(teacher, TrainConfig)]
    assert seeds == [STUDENT.seed, STUDENT.seed + 1]


def test_a_student_of_another_architecture_cannot_start_there(corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "teacher.toml"
    file.write_text(READER)
    with pytest.raises(ConfigError, match=r"same architecture. It differs in model.\['attention', 'attention_units'"):
        read_teachers(taught_by(file, start=True), corpus.label_names, "")


def test_there_is_no_teaching_without_a_validation_part(prepared: Prepared, saved: Path, tmp_path: Path) -> None:
    few = replace(prepared, validation=prepared.validation.take(np.arange(0)))
    with pytest.raises(ConfigError, match="expected a validation part"):
        teach(taught_by(saved), [saved], few, ("negative", "positive"), tmp_path, untrained, RecordedProgress())


def test_a_teacher_has_vectors_of_its_own_unless_they_are_the_same(corpus: Corpus, tmp_path: Path) -> None:
    """The run of an attention over n-grams has none to share with a teacher that reads words."""
    file = tmp_path / "teacher.toml"
    file.write_text(READER)
    progress = RecordedProgress()
    train(taught_by(file), corpus, tmp_path / "student", work=tmp_path / "work", resume=False, progress=progress)
    assert any(task == "word vectors" for task, _, _ in progress.steps)


def test_soft_labels_are_taken_along() -> None:
    texts = EncodedTexts([np.array([2]), np.array([3, 4])], np.array([1, 0], np.int32))
    both = texts.and_taught([np.array([5])], np.array([[0.3, 0.7]], np.float32), np.array([0.5], np.float32))
    np.testing.assert_allclose(both.targets(2), [[0, 1], [1, 0], [0.3, 0.7]])
    assert both.found() is both
    made = texts.and_taught([np.array([5])], np.array([[0.3, 0.7]], np.float32), np.array([0.5], np.float32), made=1)
    assert [one.tolist() for one in made.found().ids] == [[2], [3, 4]]
    last = both.take(np.array([2]))
    assert last.labels.tolist() == [1]
    assert last.weights is not None
    np.testing.assert_allclose(last.weights, [0.5])
