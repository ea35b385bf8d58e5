import json
import os
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models.bundle.replacement
import models.bundle.store
from models.bundle.store import Bundle, BundleError, load_bundle, read_card, save_bundle
from models.config import ClassifierConfig
from tests.models.bundle.forged_bundle import change_architecture, seal
from tests.tiny_bundle import MAX_TOKENS, SENTENCES, build_tiny_bundle

KILLED_WITHIN = 60  # seconds after which a saving process that should have died is stopped


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_bundle(tmp_path_factory.mktemp("saved"))


@pytest.fixture(scope="module")
def loaded(saved: Path) -> Bundle:
    return load_bundle(saved)


@pytest.fixture
def bundle(saved: Path, tmp_path: Path) -> Path:
    """A bundle to spoil."""
    return shutil.copytree(saved, tmp_path / "default")


def save_again(path: Path, bundle: Bundle, **changes: Any) -> models.bundle.store.BundleCard:
    parts: dict[str, Any] = {
        "model": bundle.model,
        "tokenizer": bundle.tokenizer,
        "config": ClassifierConfig.from_dict(bundle.card.config),
        "labels": bundle.card.labels,
        "max_tokens": bundle.card.max_tokens,
        "onnx": False,
    }
    return save_bundle(path, **(parts | changes))


def answers(bundle: Bundle) -> dict[str, np.ndarray]:
    encodings = [bundle.tokenizer.encode(text, MAX_TOKENS).ids for text in SENTENCES]
    ids = np.zeros((len(encodings), max(map(len, encodings))), "int32")
    for row, encoding in zip(ids, encodings, strict=True):
        row[: len(encoding)] = encoding
    return {name: np.asarray(output) for name, output in bundle.model(ids).items()}


def test_a_loaded_bundle_answers_bit_for_bit_as_the_saved_one(loaded: Bundle, tmp_path: Path) -> None:
    card = save_again(tmp_path / "again", loaded, temperature=1.7)
    again = load_bundle(tmp_path / "again")
    assert again.card == card
    assert again.tokenizer.words == loaded.tokenizer.words
    expected, received = answers(loaded), answers(again)
    assert received.keys() == {"logits", "attention", "contributions"}
    for name, output in expected.items():
        assert received[name].dtype == np.float32
        np.testing.assert_array_equal(received[name], output)


def test_base_log_odds_are_of_the_calibrated_scores(loaded: Bundle) -> None:
    negative, positive = np.asarray(loaded.model.get_layer("head").bias)
    assert loaded.base_log_odds(1) == pytest.approx((positive - negative) / loaded.card.temperature)
    assert loaded.base_log_odds(0) == pytest.approx((negative - positive) / loaded.card.temperature)


def test_base_log_odds_are_none_without_contributions(bundle: Path) -> None:
    def forget(architecture: dict[str, Any]) -> None:
        del architecture["config"]["output_layers"]["contributions"]

    change_architecture(bundle, forget)
    assert load_bundle(bundle).base_log_odds(1) is None


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 1.5},
        {"labels": ("bad", "good")},
        {"max_tokens": 63},
        {"name": "other"},
        {"metrics": {"accuracy": 0.9}},
        {"data": {"fingerprint": "a"}},
        {"training": {"seed": 2}},
        {"faithfulness": {"comprehensiveness": 0.1}},
        {"warnings": ("Few texts.",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_version_changes_with_the_contents(loaded: Bundle, tmp_path: Path, change: dict[str, Any]) -> None:
    versions = [save_again(tmp_path / "same", loaded, **(change if changed else {})).version for changed in (0, 1)]
    assert versions[0] != versions[1]
    assert read_card(tmp_path / "same").version == versions[1]


@pytest.mark.parametrize(
    ("faithfulness", "expected"),
    [
        ({"above_chance": {"attention": False, "contributions": True}}, False),
        ({"above_chance": {"attention": True}}, True),
        ({"above_chance": {"contributions": True}}, None),
        ({"above_chance": "yes"}, None),
        ({}, None),
    ],
)
def test_a_card_says_whether_attention_is_above_chance_where_it_was_measured(
    loaded: Bundle, faithfulness: dict[str, Any], expected: bool | None
) -> None:
    assert loaded.card.model_copy(update={"faithfulness": faithfulness}).attention_above_chance is expected


def test_version_is_that_of_equal_contents_wherever_they_lie(bundle: Path, saved: Path) -> None:
    seal(bundle)
    assert read_card(bundle).version == read_card(saved).version


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"temperature": 2}, "temperature", 2.0),
        ({"metrics": {"confusion": {10: 1, 9: 2}}}, "metrics", {"confusion": {"10": 1, "9": 2}}),
        ({"metrics": {"auc": float("nan")}}, "metrics", {"auc": None}),
        ({"training": {"sizes": (1, 2)}}, "training", {"sizes": [1, 2]}),
        ({"data": {"source": "naïve 🎬"}}, "data", {"source": "naïve 🎬"}),
    ],
    ids=["whole-temperature", "number-as-key", "nan", "tuple", "unicode"],
)
def test_what_json_changes_is_hashed_as_json_has_it(
    loaded: Bundle, tmp_path: Path, change: dict[str, Any], field: str, expected: object
) -> None:
    card = save_again(tmp_path / "same", loaded, **change)
    assert getattr(card, field) == expected
    assert read_card(tmp_path / "same") == card


def test_a_report_becomes_part_of_the_bundle(loaded: Bundle, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "inner").mkdir(parents=True)
    (tmp_path / "pictures" / "inner" / "curve.svg").write_text("<svg/>")
    card = save_again(tmp_path / "same", loaded, report=tmp_path / "pictures")
    assert set(card.files) == {"model.keras", "tokenizer.json", "report/inner/curve.svg"}
    assert (tmp_path / "same" / "report" / "inner" / "curve.svg").read_text() == "<svg/>"
    assert load_bundle(tmp_path / "same").card == card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": {"array": np.zeros(2)}}, r"cannot be saved: expected plain values.*ndarray"),
        ({"metrics": {"half": "\ud800"}}, r"cannot be saved: expected plain values.*surrogates"),
        ({"name": "../up"}, r"cannot be saved: name: .*Received '\.\./up'"),
        ({"temperature": 0.0}, r"cannot be saved: temperature: .*greater than 0"),
        ({"labels": ("same", "same")}, r"cannot be saved: .*Expected different, non-empty labels"),
        ({"labels": ("a", "b", "c")}, r"do not fit: expected 3 labels of the model\. Received 2"),
        ({"max_tokens": 0}, r"cannot be saved: max_tokens"),
    ],
)
def test_saving_refuses_what_would_not_load(
    loaded: Bundle, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        save_again(tmp_path / "same", loaded, **change)
    assert not list(tmp_path.iterdir())


def test_saving_over_what_is_no_bundle_is_refused(loaded: Bundle, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("also work")
    for place in ("thesis", "file"):
        with pytest.raises(BundleError, match=rf"{place}: a bundle is written to a new, an empty or a bundle's folder"):
            save_again(tmp_path / place, loaded)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "also work"


def test_saving_into_an_empty_folder_and_through_a_link(loaded: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    save_again(tmp_path / "empty", loaded, name="first")
    save_again(tmp_path / "link", loaded, name="second")
    assert (tmp_path / "link").is_symlink()
    assert read_card(tmp_path / "empty").name == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link"]


def test_an_error_while_saving_leaves_the_old_bundle_alone(
    loaded: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = save_again(tmp_path / "same", loaded)

    def fill_the_disk(file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loaded.model, "save", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        save_again(tmp_path / "same", loaded, name="other")
    assert load_bundle(tmp_path / "same").card == old
    assert [path.name for path in tmp_path.iterdir()] == ["same"]


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    def call_and_die(*arguments: Any, **named: Any) -> None:
        function(*arguments, **named)
        die()

    return call_and_die


# The moments at which the saving process dies, and whether the new bundle is in place by then.
MOMENTS = {
    "before the model": (models.bundle.store.keras.Model, "save", die, False),
    "after the model": (models.bundle.store.keras.Model, "save", after(models.bundle.store.keras.Model.save), False),
    "before the card": (models.bundle.store, "write_card", die, False),
    "before the move": (models.bundle.store, "replace_folder", die, False),
    "while flushing": (models.bundle.replacement, "_flush_entry", die, False),
    "before the exchange": (models.bundle.replacement, "_exchange", die, False),
    "after the exchange": (models.bundle.replacement, "_exchange", after(models.bundle.replacement._exchange), True),
    "while deleting the old": (os, "unlink", after(os.unlink), True),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_process_killed_while_saving_leaves_a_whole_bundle(moment: str, loaded: Bundle, tmp_path: Path) -> None:
    place = tmp_path / "same"
    old = save_again(place, loaded)
    owner, name, replacement, moved = MOMENTS[moment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX, where it is installed, warns of every fork
        child = os.fork()
    if child == 0:
        signal.alarm(KILLED_WITHIN)
        setattr(owner, name, replacement)
        save_again(place, loaded, name="new")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL

    survivor = load_bundle(place)
    assert survivor.card.name == ("new" if moved else old.name)
    for left_over in set(tmp_path.iterdir()) - {place}:
        assert left_over.name.startswith(".same.")
    newest = save_again(place, loaded, name="newest")
    assert load_bundle(place).card == newest


def write_card(bundle: Path, content: str | bytes) -> None:
    (bundle / "bundle.json").write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected JSON"),
        ("{", "expected JSON"),
        (b"\xff\xfe\x00", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ('{"a":' * 100_000, "expected JSON"),
        ("[1]", "expected format_version 1. Received None"),
        ('{"format_version": 2}', "expected format_version 1. Received 2"),
        ('{"format_version": 1}', "name: Field required"),
        (" " * ((1 << 20) + 1), "expected at most 1048576 bytes"),
    ],
    ids=["empty", "half", "binary", "deep-list", "deep-dict", "list", "newer", "bare", "large"],
)
def test_a_card_that_is_none_is_refused(bundle: Path, content: str | bytes, message: str) -> None:
    write_card(bundle, content)
    for read in (read_card, load_bundle):
        with pytest.raises(BundleError, match=rf"bundle\.json: .*{message}"):
            read(bundle)


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BundleError, match=r"bundle\.json: expected a readable card\. No such file"):
            read_card(place)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(note="hello"), "note: Extra inputs are not permitted"),
        (lambda card: card.update(format_version=2), "expected format_version 1. Received 2"),
        (lambda card: card.update(temperature=-1.0), "temperature: .*greater than 0"),
        (lambda card: card.update(temperature=float("inf")), "temperature: .*finite"),
        (lambda card: card.update(labels=["only"]), "labels: "),
        (lambda card: card.update(labels=["same", "same"]), "Expected different, non-empty labels"),
        (lambda card: card.update(name="../../etc"), "name: "),
        (lambda card: card.update(attention_is="certain"), "attention_is: "),
        (lambda card: card.pop("max_tokens"), "max_tokens: Field required"),
        (lambda card: card.update(max_tokens=1 << 40), "max_tokens: "),
        (lambda card: card["files"].pop("model.keras"), r"expected model\.keras among its files"),
        (lambda card: card["files"].pop("tokenizer.json"), r"expected tokenizer\.json among its files"),
    ],
)
def test_a_card_that_says_something_else_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    seal(bundle, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle)


def test_a_card_whose_version_is_not_its_hash_is_refused(bundle: Path) -> None:
    card = json.loads((bundle / "bundle.json").read_text())
    write_card(bundle, json.dumps(card | {"temperature": 0.5}))
    with pytest.raises(BundleError, match=r"bundle\.json: its version .* is not the hash of its contents"):
        read_card(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(labels=["a", "b", "c"]), "expected 3 labels in config. Received 2"),
        (lambda card: card["config"].update(labels=3), "expected 2 labels in config. Received 3"),
        (lambda card: card["config"].update(vocabulary_size=9), "ids in config. Received 9"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    seal(bundle, change)
    with pytest.raises(BundleError, match=f"the parts do not fit: .*{message}"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ('{"type": "words", "words": ["one"]}', r"the parts do not fit: expected 3 ids in config"),
        ('{"type": "words", "words": ["one", "one"]}', r"tokenizer\.json: Expected 2 different, non-empty words"),
        ('{"type": "bytes", "words": ["one"]}', r"tokenizer\.json: Expected .*Received another JSON document"),
        ("[" * 100_000, r"tokenizer\.json: "),
        ("{", r"tokenizer\.json: "),
    ],
    ids=["short", "twice", "other", "deep", "half"],
)
def test_a_tokenizer_that_is_none_or_another_is_refused(bundle: Path, words: str, message: str) -> None:
    (bundle / "tokenizer.json").write_text(words)
    seal(bundle)
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle)


@pytest.mark.parametrize("encoder", ["bilstm", "bigru"])
def test_a_loaded_recurrent_encoder_is_kept_from_cudnn(tmp_path: Path, encoder: str) -> None:
    encoder_layer = load_bundle(build_tiny_bundle(tmp_path, encoder=encoder)).model.get_layer("encoder")
    for one_way in (encoder_layer.forward_layer, encoder_layer.backward_layer):
        assert one_way.use_cudnn is False
        assert one_way.supports_jit
