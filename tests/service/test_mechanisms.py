"""Every mechanism behind `POST /predict`: weights that sum to 1, contributions where a token's share can be told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.bundle.store import load_bundle
from models.mechanisms import MECHANISMS
from service.http.schemas import PredictResponse
from service.settings import Settings
from tests.service.running import AppClient, ready_client_of
from tests.tiny_bundle import build_tiny_bundle

TEXTS = ["A wonderful, moving film; the acting is superb!", "dull", "I did not like it, it was duller than the plot."]
NOT_SUMMED = {"multi_head_projected", "keras_multi_head_attention", "keras_group_query_attention", "transformer"}


@pytest.fixture(scope="module")
def every_mechanism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppClient]:
    """One app that serves a bundle of every mechanism."""
    models_dir = tmp_path_factory.mktemp("mechanisms")
    for mechanism in MECHANISMS:
        build_tiny_bundle(models_dir, name=mechanism, mechanism=mechanism)
    settings = Settings(
        models_dir=models_dir, default_model="uniform", batch_sizes=(4,), token_buckets=(16,), reload_seconds=0
    )
    with ready_client_of(settings) as client:
        yield client


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism_is_served(every_mechanism: AppClient, mechanism: str) -> None:
    answer = every_mechanism.post("/predict", json={"texts": TEXTS, "model": mechanism})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    assert PredictResponse.model_validate(document).model_dump(mode="json") == document
    assert document["model"]["mechanism"] == mechanism
    assert document["model"]["attention_is"] == MECHANISMS[mechanism].attention_is
    assert document["model"]["attention_above_chance"] is None
    for prediction in document["predictions"]:
        weights = [token["weight"] for token in prediction["tokens"]]
        assert min(weights) >= 0
        assert sum(weights) == pytest.approx(1, abs=1e-5)
        nothing = mechanism in NOT_SUMMED
        assert (prediction["base_log_odds"] is None) is nothing
        assert {token["contribution"] is None for token in prediction["tokens"]} == {nothing}


def test_the_weights_of_a_bundle_survive_its_folder(tmp_path: Path) -> None:
    """A bundle holds its mechanism, options included."""
    for mechanism in ("transformer", "multi_head_of", "keras_attention"):
        bundle = load_bundle(build_tiny_bundle(tmp_path, name=mechanism, mechanism=mechanism))
        assert bundle.card.token_weight_rule == MECHANISMS[mechanism].token_weight_rule
        assert bundle.card.mechanism == mechanism
        assert (bundle.base_log_odds(1) is None) is (mechanism in NOT_SUMMED)
