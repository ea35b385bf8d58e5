import json
from pathlib import Path

import pytest

from models.bundle.amend import amend_card
from models.bundle.store import BundleError, load_bundle, read_card
from tests.models.bundle.forged_bundle import seal
from tests.tiny_bundle import build_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return build_tiny_bundle(tmp_path)


def test_an_amended_card_changes_in_what_was_given_alone(bundle: Path, tmp_path: Path) -> None:
    before = load_bundle(bundle).card
    amended = amend_card(bundle, robustness={"negation": 0.5})
    assert load_bundle(bundle).card == amended
    assert amended.robustness == {"negation": 0.5}
    assert amended.files == before.files
    assert amended.version != before.version
    assert amend_card(bundle, robustness={}).version == before.version
    assert [path.name for path in tmp_path.iterdir()] == ["default"]


def test_a_card_without_the_section_loads_as_before(bundle: Path) -> None:
    values = json.loads((bundle / "bundle.json").read_text())
    del values["robustness"]
    (bundle / "bundle.json").write_text(json.dumps(values))
    seal(bundle)
    assert "robustness" not in (bundle / "bundle.json").read_text()
    assert load_bundle(bundle).card.robustness == {}
    assert amend_card(bundle, robustness={"a": 1}).robustness == {"a": 1}


def test_what_is_no_card_or_no_whole_bundle_is_refused_and_nothing_changes(bundle: Path) -> None:
    before = read_card(bundle)
    with pytest.raises(BundleError, match="cannot be saved: labels"):
        amend_card(bundle, labels=["one"])
    (bundle / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match="the file was changed"):
        amend_card(bundle, robustness={"a": 1})
    assert read_card(bundle) == before
