import json
from pathlib import Path

import pytest

from models.bundle.amend import amend_card
from models.bundle.looks import LOOKS_FILE, add_look
from models.bundle.store import BundleError, export_bundle, load_bundle
from tests.tiny_bundle import build_tiny_bundle


def looks_at(bundle: Path) -> list[int]:
    return [json.loads(line)["look"] for line in (bundle / LOOKS_FILE).read_text().splitlines()]


def test_looks_are_no_part_of_a_bundle_and_stay_when_it_is_replaced(tmp_path: Path) -> None:
    bundle = build_tiny_bundle(tmp_path)
    version = load_bundle(bundle).card.version
    assert [add_look(bundle, {"look": number}) for number in (1, 2)] == [1, 2]
    card = load_bundle(bundle).card
    assert card.version == version
    assert LOOKS_FILE not in card.files
    build_tiny_bundle(tmp_path, seed=1)  # in its place
    assert load_bundle(bundle).card.version != version
    assert looks_at(bundle) == [1, 2]
    export_bundle(bundle)
    amend_card(bundle, warnings=("amended",))
    assert looks_at(bundle) == [1, 2]
    assert LOOKS_FILE not in load_bundle(bundle).card.files
    add_look(bundle, {"look": 3})
    assert looks_at(bundle) == [1, 2, 3]


def test_a_look_that_cannot_be_logged_is_an_error(tmp_path: Path) -> None:
    (tmp_path / LOOKS_FILE).mkdir()
    with pytest.raises(BundleError, match=r"looks\.jsonl: cannot log a look"):
        add_look(tmp_path, {})


def test_a_link_in_a_foreign_bundle_leads_nowhere(tmp_path: Path) -> None:
    bundle, outside = build_tiny_bundle(tmp_path), tmp_path / "outside"
    outside.write_text("mine\n")
    (bundle / LOOKS_FILE).symlink_to(outside)
    with pytest.raises(BundleError, match="Found a link"):
        add_look(bundle, {"look": 1})
    amend_card(bundle, warnings=("amended",))
    assert not (bundle / LOOKS_FILE).exists()
    assert outside.read_text() == "mine\n"
