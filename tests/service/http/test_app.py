"""`POST /predict` and the routes beside it, over real bundles: the answer's shape, its laws, and what operators see."""

import asyncio
import json
import math
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from service.http.app import create_app
from service.http.predict import THREAD_CHARACTERS, unless_client_leaves
from service.http.problems import ClientGone
from service.http.schemas import PredictResponse
from service.inference.errors import Overloaded
from service.inference.queue import Admission
from service.predictions import OFFSET_ENCODINGS
from service.settings import Settings
from tests.service.running import AppClient, client_of, ready_client_of

REVIEW = "I did NOT like it — the plot was dull 🎬, l'été café... frankly wörse than the zzzyx!"
CODECS = {"codepoint": ("utf-32-le", 4), "utf16": ("utf-16-le", 2), "utf8": ("utf-8", 1)}
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)
in_one_app = hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


def predict(client: AppClient, **request: Any) -> dict[str, Any]:
    answer = client.post("/predict", json=request)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    # The contract, to the letter: nothing is missing, nothing is there besides.
    assert PredictResponse.model_validate(document).model_dump(mode="json") == document
    return document


def log_odds(prediction: dict[str, Any]) -> float:
    """Compute the contrast from the scores, as a client would."""
    others = [math.log(score) for label, score in prediction["scores"].items() if label != prediction["target"]]
    return math.log(prediction["scores"][prediction["target"]]) - sum(others) / len(others)


def explained(prediction: dict[str, Any]) -> float:
    return prediction["base_log_odds"] + sum(token["contribution"] for token in prediction["tokens"])


@pytest.mark.parametrize("model", ["default", "stars"])
def test_an_answer_obeys_its_laws(client: AppClient, model: str) -> None:
    document = predict(client, texts=[REVIEW, "A wonderful, moving film; the acting is superb!"], model=model)
    assert document["model"]["name"] == model
    assert len(document["predictions"]) == 2
    for prediction in document["predictions"]:
        assert (
            prediction["probability"] == max(prediction["scores"].values()) == prediction["scores"][prediction["label"]]
        )
        assert sum(prediction["scores"].values()) == pytest.approx(1, abs=1e-9)
        assert sum(token["weight"] for token in prediction["tokens"]) == pytest.approx(1, abs=1e-5)
        assert explained(prediction) == pytest.approx(log_odds(prediction), abs=1e-4)
        assert prediction["target"] == ("positive" if model == "default" else prediction["label"])


def loop_time() -> float:
    return asyncio.get_running_loop().time()


@in_one_app
@given(text=TEXTS, encoding=st.sampled_from(OFFSET_ENCODINGS))
def test_tokens_are_the_very_slices_of_any_text(client: AppClient, text: str, encoding: str) -> None:
    answer = client.post("/predict", json={"text": text, "offset_encoding": encoding})
    if answer.status_code == 422:  # nothing to read in it
        assert answer.json()["errors"][0]["pointer"] == "/text"
        return
    [prediction] = answer.json()["predictions"]
    codec, width = CODECS[encoding]
    units = text.encode(codec)
    end = 0
    for token in prediction["tokens"]:
        assert units[token["start"] * width : token["end"] * width].decode(codec) == token["text"]
        assert end <= token["start"] < token["end"]
        end = token["end"]
    assert explained(prediction) == pytest.approx(log_odds(prediction), abs=1e-4)


def test_the_answers_shape_does_not_depend_on_what_was_asked(client: AppClient) -> None:
    [whole] = predict(client, text=REVIEW)["predictions"]
    [bare] = predict(client, text=REVIEW, attention=False)["predictions"]
    assert bare == whole | {"tokens": []}


def test_the_heaviest_tokens_are_given_in_text_order(client: AppClient) -> None:
    [whole] = predict(client, text=REVIEW)["predictions"]
    [few] = predict(client, text=REVIEW, top_tokens=3)["predictions"]
    heaviest = sorted(whole["tokens"], key=lambda token: -token["weight"])[:3]
    assert few["tokens"] == sorted(heaviest, key=lambda token: token["start"])
    assert predict(client, text=REVIEW, top_tokens=2**63)["predictions"] == [whole]


def test_a_prediction_does_not_depend_on_its_neighbours(client: AppClient) -> None:
    alone = predict(client, text=REVIEW)["predictions"][0]
    crowded = predict(client, texts=["dull " * n for n in range(1, 20)] + [REVIEW])["predictions"][-1]
    assert crowded["probability"] == pytest.approx(alone["probability"], abs=1e-5)
    for one, other in zip(alone["tokens"], crowded["tokens"], strict=True):
        assert one["weight"] == pytest.approx(other["weight"], abs=1e-5)


def test_warnings_tell_of_what_was_not_read(client: AppClient) -> None:
    [long, strange, plain] = predict(client, texts=["it was " * 40, "qwx zxq vvq dull", "I like the movie."])[
        "predictions"
    ]
    assert long["truncation"] == {"applied": True, "tokens_total": 80, "tokens_read": 64}
    assert long["warnings"] == [{"code": "truncated", "message": "The text has 80 tokens; the first 64 were read."}]
    assert len(long["tokens"]) == 64
    assert [warning["code"] for warning in strange["warnings"]] == ["mostly_unknown"]
    assert [token["known"] for token in strange["tokens"]] == [False, False, False, True]
    assert plain["warnings"] == []


def test_much_text_is_answered_the_same(client: AppClient) -> None:
    text = "dull " * 3900
    assert len(text) * 3 > THREAD_CHARACTERS
    predictions = predict(client, texts=[text] * 3)["predictions"]
    assert predictions[0] == predictions[1] == predictions[2]
    assert predictions[0]["truncation"]["tokens_total"] == 3900


def test_models_and_cards(client: AppClient, settings: Settings) -> None:
    listed = client.get("/models").json()
    assert listed["default"] == "default"
    assert {model["name"]: model["labels"] for model in listed["models"]} == {
        "default": ["negative", "positive"],
        "stars": ["bad", "fair", "good"],
    }
    card = client.get("/models/stars").json()
    assert card == json.loads((settings.models_dir / "stars" / "bundle.json").read_text())
    unknown = client.get("/models/nope")
    assert unknown.status_code == 404
    assert "'default', 'stars'" in unknown.json()["detail"]


def test_request_ids_are_echoed_where_they_are_fit_to_be(client: AppClient) -> None:
    assert client.get("/livez", headers={"X-Request-Id": "abc-123"}).headers["X-Request-Id"] == "abc-123"
    for unfit in ("", "a" * 129, "two words", "tab\there", b"\xe9"):
        made = client.get("/livez", headers={"X-Request-Id": unfit}).headers["X-Request-Id"]
        assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert client.get("/nowhere", headers={"X-Request-Id": "abc"}).headers["X-Request-Id"] == "abc"


def test_server_timing_names_every_stage(client: AppClient) -> None:
    timing = client.post("/predict", json={"text": REVIEW}).headers["Server-Timing"]
    assert re.fullmatch(r"tokenize;dur=\d+\.\d\d, queue;dur=\d+\.\d\d, compute;dur=\d+\.\d\d", timing)


def test_metrics_count_without_a_word_of_the_reviews(client: AppClient) -> None:
    def value(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    names = [
        'heed_texts_total{model="stars"}',
        'heed_tokens_total{model="stars"}',
        'heed_unknown_tokens_total{model="stars"}',
    ]
    before = [value(name) for name in names]
    predict(client, texts=["dull xylophonist", "dull"], model="stars")
    assert [value(name) - old for name, old in zip(names, before, strict=True)] == [2, 3, 1]
    client.get("/made/up/xylophonist")
    metrics = client.get("/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain; version=")
    assert "xylophonist" not in metrics.text
    assert 'heed_requests_total{method="GET",route="unmatched",status="404"}' in metrics.text
    assert "heed_ready 1.0" in metrics.text
    assert re.search(r'heed_model_info\{model="stars",version="[0-9a-f]{12}"\} 1\.0', metrics.text)
    assert 'heed_stage_seconds_count{stage="compute"}' in metrics.text


def test_keys_open_what_is_not_health(settings: Settings) -> None:
    with ready_client_of(
        settings.model_copy(update={"api_keys": Settings(api_keys="one,schlüssel").api_keys})
    ) as client:
        for path in ("/livez", "/readyz", "/startupz", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200, path
        for path in ("/models", "/models/default", "/metrics"):
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"].startswith("Bearer")
            assert refused.headers["Content-Type"] == "application/problem+json"
        body = {"text": "Fine."}
        for headers in ({}, {"X-API-Key": "two"}, {"Authorization": "Bearer on"}, {"Authorization": "Basic one"}):
            assert client.post("/predict", json=body, headers=headers).status_code == 401
        for headers in ({"X-API-Key": "one"}, {"Authorization": "Bearer one"}, {"X-API-Key": "schlüssel".encode()}):
            assert client.post("/predict", json=body, headers=headers).status_code == 200


def test_an_answer_that_would_come_too_late_is_a_504(settings: Settings) -> None:
    with ready_client_of(settings.model_copy(update={"deadline_seconds": 1e-6})) as client:
        answer = client.post("/predict", json={"text": "Fine."})
    assert answer.status_code == 504
    assert answer.json()["type"] == "urn:heed:problem:deadline-exceeded"


def test_more_than_the_queue_holds_is_a_429_that_says_when_to_come_back(settings: Settings) -> None:
    with ready_client_of(settings.model_copy(update={"max_queued_tokens": 64})) as client:
        body = {"texts": ["dull " * 60] * 64}
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: client.post("/predict", json=body), range(16)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert refused[0].json()["type"] == "urn:heed:problem:overloaded"


def test_while_it_drains_it_takes_no_more(settings: Settings) -> None:
    with ready_client_of(settings) as client:
        client.app.state.draining = True
        for answer in (client.get("/readyz"), client.post("/predict", json={"text": "Fine."})):
            assert answer.status_code == 503
            assert "shutting down" in answer.json()["detail"]
            assert answer.headers["Connection"] == "close"
            assert int(answer.headers["Retry-After"]) >= 1
        assert client.get("/livez").json() == {"status": "alive"}
        assert client.get("/startupz").json() == {"status": "started"}


def test_a_service_without_models_is_alive_and_not_ready(settings: Settings, tmp_path: Any) -> None:
    with client_of(create_app(settings.model_copy(update={"models_dir": tmp_path}))) as client:
        assert client.get("/livez").status_code == 200
        for answer in (client.get("/readyz"), client.post("/predict", json={"text": "Fine."})):
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"]


def test_a_fault_of_our_own_is_a_problem_with_its_id_and_no_trace(settings: Settings) -> None:
    app = create_app(settings)

    @app.get("/broken")
    async def broken(request: Request) -> Response:
        raise ValueError("the review said xylophone")

    with client_of(app) as client:
        answer = client.get("/broken", headers={"X-Request-Id": "abc"})
    assert answer.status_code == 500
    assert answer.headers["X-Request-Id"] == "abc"
    assert answer.json()["type"] == "urn:heed:problem:internal-error"
    assert "xylophone" not in answer.text
    assert "Traceback" not in answer.text


async def stay() -> dict[str, str]:
    await asyncio.sleep(60)
    return {"type": "http.disconnect"}


@pytest.mark.anyio
async def test_work_is_cancelled_when_the_client_leaves() -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def leave() -> dict[str, str]:
        await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGone):
        await unless_client_leaves(Request({"type": "http"}, leave), work())
    assert cancelled.is_set()


@pytest.mark.anyio
async def test_work_that_is_done_first_is_the_answer() -> None:
    async def work() -> int:
        return 7

    assert await unless_client_leaves(Request({"type": "http"}, stay), work()) == 7


@pytest.mark.anyio
async def test_work_that_is_cancelled_from_outside_stays_cancelled() -> None:
    asking = asyncio.create_task(unless_client_leaves(Request({"type": "http"}, stay), asyncio.sleep(60)))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/docs", "/"])
def test_head_is_get_without_the_body(client: AppClient, path: str) -> None:
    asked, headed = client.get(path), client.head(path)
    assert headed.status_code == asked.status_code
    assert headed.content == b""
    assert headed.headers.get("Content-Length") == asked.headers.get("Content-Length")


def test_pages_elsewhere_may_not_call_the_service_unless_they_are_named(settings: Settings, client: AppClient) -> None:
    def preflight(client: httpx.Client, origin: str) -> httpx.Response:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        return client.options("/predict", headers=headers | {"Access-Control-Request-Headers": "content-type"})

    assert preflight(client, "https://here.example").status_code == 405
    with client_of(create_app(settings.model_copy(update={"cors_origins": ("https://here.example",)}))) as named:
        allowed = preflight(named, "https://here.example")
        assert allowed.status_code == 200
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://here.example"
        assert "Access-Control-Allow-Origin" not in preflight(named, "https://there.example").headers
        answer = named.get("/livez", headers={"Origin": "https://here.example"})
        assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("prefix", ["", "/heed"])
def test_behind_a_proxy_with_a_prefix_everything_is_found(settings: Settings, prefix: str) -> None:
    """Whether the proxy strips its prefix or not."""
    with client_of(create_app(settings.model_copy(update={"root_path": "/heed"}))) as client:
        assert client.get(f"{prefix}/livez").status_code == 200
        for path in ("/", "/docs"):
            page = client.get(f"{prefix}{path}").text
            for address in re.findall(r"""(?:src|href|url)(?:=|: )["'](.+?)["']""", page):
                assert not address.startswith("/"), "an absolute address would lose the prefix"
                assert client.get(f"{prefix}/{address}").status_code == 200, address
        assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": "/heed"}]


def test_a_full_service_refuses_after_the_key_check_and_before_the_body_is_read(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise Overloaded(2.5)

    keyed = settings.model_copy(update={"api_keys": Settings(api_keys="one").api_keys})
    with ready_client_of(keyed) as client:
        monkeypatch.setattr(Admission, "expect", refuse)
        assert client.post("/predict", content=b"not json").status_code == 401
        answer = client.post("/predict", content=b"not json", headers={"X-API-Key": "one"})
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "3"
        assert answer.json()["type"] == "urn:heed:problem:overloaded"
        assert client.get("/livez").status_code == 200


def test_tokenizing_is_covered_by_the_deadline(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    with ready_client_of(settings.model_copy(update={"deadline_seconds": 0.2})) as client:
        monkeypatch.setattr("service.http.predict._encode_all", lambda *arguments: released.wait(60))
        try:
            answer = client.post("/predict", json={"texts": ["dull " * 3900] * 2})
        finally:
            released.set()
    assert answer.status_code == 504
    assert "within 0.2 seconds" in answer.json()["detail"]
