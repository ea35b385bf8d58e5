"""The registry with real bundles in a real folder that changes under it."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from models.bundle.replacement import replace_folder
from models.bundle.store import MODEL_FILE, load_bundle, save_bundle
from models.config import ClassifierConfig
from service.inference.errors import NotReady, PredictionFailed, UnknownModel
from service.inference.queue import Answer
from service.inference.registry import Registry, ServedModel
from service.settings import Settings
from tests.tiny_bundle import build_tiny_bundle

pytestmark = pytest.mark.anyio

PROMPT = 100.0  # seconds: a test that waits so long for something that comes in one has failed
TEXT = "The acting is superb, and the jokes were dull!"


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles to copy from: two versions of "default", and "other"."""
    folder = tmp_path_factory.mktemp("bundles")
    build_tiny_bundle(folder / "first", seed=1)
    build_tiny_bundle(folder / "second", seed=2)
    build_tiny_bundle(folder, name="other", mechanism="dot_product")
    return folder


@pytest.fixture
def models_dir(tmp_path: Path, bundles: Path) -> Path:
    folder = tmp_path / "models"
    install(bundles / "first/default", folder / "default")
    return folder


def install(bundle: Path, place: Path) -> None:
    """Put a copy of a bundle into its place in one step, as a training run does."""
    beside = place.with_name(f".{place.name}.partial")
    shutil.copytree(bundle, beside)
    replace_folder(beside, place)


@contextlib.asynccontextmanager
async def serving(models_dir: Path, **options: Any) -> AsyncIterator[Registry]:
    """A registry that has loaded what there is."""
    small = {"batch_sizes": (1,), "token_buckets": (64,), "reload_seconds": 0.02, "deadline_seconds": PROMPT}
    registry = Registry(Settings(models_dir=models_dir, **{**small, **options}))
    await registry.start()
    try:
        async with asyncio.timeout(PROMPT):
            await until(lambda: registry.started)
            yield registry
    finally:
        await registry.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def ask(model: ServedModel) -> Answer:
    encoding = model.bundle.tokenizer.encode(TEXT, model.bundle.card.max_tokens)
    [answer] = await model.batcher.submit_many([encoding], deadline=asyncio.get_running_loop().time() + PROMPT)
    return answer


def expected_logits(bundle: Path) -> np.ndarray:
    loaded = load_bundle(bundle)
    return np.asarray(loaded.model(loaded.tokenizer.encode(TEXT, 64).ids[np.newaxis])["logits"][0])


def version_of(bundle: Path) -> str:
    return load_bundle(bundle).card.version


async def test_it_starts_in_the_background_and_says_so(models_dir: Path, bundles: Path) -> None:
    registry = Registry(Settings(models_dir=models_dir, batch_sizes=(1,), token_buckets=(64,), reload_seconds=0))
    before = time.perf_counter()
    await registry.start()
    assert time.perf_counter() - before < 0.1
    assert not registry.started
    assert not registry.ready
    assert "starting" in (registry.not_ready_reason or "")
    for name in (None, "default", "nobody"):
        with pytest.raises(NotReady, match="starting"):
            registry.get(name)
    await until(lambda: registry.started)
    assert registry.ready
    assert registry.not_ready_reason is None
    assert registry.get(None) is registry.get("default") is registry.served["default"]
    answer = await ask(registry.get(None))
    np.testing.assert_allclose(answer.result.logits, expected_logits(bundles / "first/default"), atol=1e-5)
    assert registry.get(None).engine.facts()["retraces"] == 0
    await registry.close()
    with pytest.raises(NotReady, match="shutting down"):
        registry.get(None)
    assert not registry.ready


async def test_a_new_version_takes_over_and_requests_finish_on_the_old_one(models_dir: Path, bundles: Path) -> None:
    async with serving(models_dir, deadline_seconds=15.0) as registry:
        old = registry.get(None)
        with capture_logs() as logs:
            install(bundles / "second/default", models_dir / "default")
            while registry.get(None) is old:
                np.testing.assert_allclose(
                    (await ask(old)).result.logits, expected_logits(bundles / "first/default"), atol=1e-5
                )
            new = registry.get(None)
            assert new.bundle.card.version == version_of(bundles / "second/default")
            # A request that took hold of the old one before the swap is admitted there after it.
            late = await ask(old)
            np.testing.assert_allclose(late.result.logits, expected_logits(bundles / "first/default"), atol=1e-5)
            answer = await ask(new)
            np.testing.assert_allclose(answer.result.logits, expected_logits(bundles / "second/default"), atol=1e-5)
            await until(lambda: any(line["event"] == "model retired" for line in logs))
        with pytest.raises(NotReady):
            await ask(old)
        assert registry.ready
        assert registry.refused == {}


async def test_a_touched_bundle_of_the_same_version_is_not_loaded_again(models_dir: Path) -> None:
    async with serving(models_dir) as registry:
        model = registry.get(None)
        for file in (models_dir / "default").iterdir():
            file.touch()
        await asyncio.sleep(0.3)
        assert registry.get(None) is model
        assert registry.refused == {}


async def test_a_refused_bundle_leaves_the_running_model_and_is_logged_once(models_dir: Path, bundles: Path) -> None:
    async with serving(models_dir) as registry:
        model = registry.get(None)
        broken = models_dir.parent / "broken"
        shutil.copytree(bundles / "second/default", broken)
        with (broken / MODEL_FILE).open("ab") as file:
            file.write(b"more")
        with capture_logs() as logs:
            install(broken, models_dir / "default")
            await until(lambda: registry.refused)
            await asyncio.sleep(0.2)  # ten looks more
        assert MODEL_FILE in registry.refused["default"]
        assert [line["event"] for line in logs].count("bundle refused") == 1
        assert registry.get(None) is model
        assert registry.ready
        await ask(model)
        shutil.copy(bundles / "second/default" / MODEL_FILE, models_dir / "default")  # mended in place
        await until(lambda: registry.get(None) is not model)
        await until(lambda: not registry.refused)


async def test_a_model_whose_numbers_are_not_finite_is_refused(models_dir: Path) -> None:
    bundle = load_bundle(models_dir / "default")
    head = bundle.model.get_layer("head")
    head.weights[0].assign(np.full(head.weights[0].shape, np.nan))
    save_bundle(
        models_dir / "default",
        model=bundle.model,
        tokenizer=bundle.tokenizer,
        config=ClassifierConfig.from_dict(bundle.card.config),
        labels=bundle.card.labels,
        max_tokens=bundle.card.max_tokens,
    )
    async with serving(models_dir) as registry:
        assert "finite" in registry.refused["default"]
        assert "finite" in (registry.not_ready_reason or "")
        with pytest.raises(NotReady, match="finite"):
            registry.get(None)


async def test_two_folders_with_one_name_are_not_both_served(models_dir: Path, bundles: Path) -> None:
    install(bundles / "second/default", models_dir / "copy")
    async with serving(models_dir) as registry:
        assert set(registry.served) == {"default"}
        assert registry.get(None).bundle.path.name == "default"
        assert "'default' is served from default already" in registry.refused["copy"]
        shutil.rmtree(models_dir / "default")
        await until(lambda: "default" in registry.served and registry.get(None).bundle.path.name == "copy")
        assert registry.refused == {}
        await ask(registry.get(None))


async def test_a_folder_that_is_removed_takes_its_model_along(models_dir: Path, bundles: Path) -> None:
    install(bundles / "other", models_dir / "anything")
    async with serving(models_dir) as registry:
        assert set(registry.served) == {"default", "other"}
        held = registry.get("other")
        shutil.rmtree(models_dir / "anything")
        await until(lambda: "other" not in registry.served)
        with pytest.raises(UnknownModel):
            registry.get("other")
        await ask(held)
        assert registry.ready


async def test_without_the_default_model_the_error_names_those_there_are(tmp_path: Path, bundles: Path) -> None:
    install(bundles / "other", tmp_path / "models/other")
    async with serving(tmp_path / "models", reload_seconds=0) as registry:
        assert registry.ready
        with pytest.raises(UnknownModel, match="Received 'default'") as error:
            registry.get(None)
        assert error.value.known == ("other",)
        await ask(registry.get("other"))


async def test_it_is_ready_with_the_default_model_while_others_are_being_loaded(
    models_dir: Path, bundles: Path
) -> None:
    install(bundles / "other", models_dir / "another")  # before "default" by name, after it in order
    registry = Registry(Settings(models_dir=models_dir, batch_sizes=(1,), token_buckets=(64,)))
    await registry.start()
    await until(lambda: registry.served)
    assert set(registry.served) == {"default"}
    assert registry.ready
    assert not registry.started
    with pytest.raises(NotReady):
        registry.get("other")
    await until(lambda: registry.started)
    assert registry.get("other").bundle.card.name == "other"
    await registry.close()


async def test_a_folder_without_bundles_is_started_but_not_ready_until_one_comes(tmp_path: Path, bundles: Path) -> None:
    async with serving(tmp_path / "models") as registry:
        assert not registry.ready
        assert str(tmp_path / "models") in (registry.not_ready_reason or "")
        (tmp_path / "models").mkdir()
        await until(lambda: "no bundle" in (registry.not_ready_reason or ""))
        with pytest.raises(NotReady):
            registry.get(None)
        install(bundles / "first/default", tmp_path / "models/default")
        await until(lambda: registry.ready)


async def test_a_folder_out_of_reach_stops_nothing(models_dir: Path, bundles: Path) -> None:
    async with serving(models_dir) as registry:
        model = registry.get(None)
        models_dir.rename(models_dir.with_name("away"))
        await asyncio.sleep(0.1)
        assert registry.ready
        assert registry.get(None) is model
        models_dir.with_name("away").rename(models_dir)
        install(bundles / "other", models_dir / "other")
        await until(lambda: "other" in registry.served)
        assert registry.get(None) is model


async def test_a_failing_engine_makes_it_unready(models_dir: Path) -> None:
    async with serving(models_dir) as registry:
        model = registry.get(None)
        model.engine.close()
        with pytest.raises(PredictionFailed):
            await ask(model)
        assert not registry.ready
        assert registry.not_ready_reason == "The last forward pass failed: default."


async def test_the_other_shapes_are_compiled_while_it_serves(models_dir: Path) -> None:
    async with serving(models_dir, batch_sizes=(1, 4), token_buckets=(8, 16, 64)) as registry:
        model = registry.get(None)
        assert model.engine.facts()["compiled_shapes"] < 6
        while model.engine.facts()["compiled_shapes"] < 6:
            await asyncio.gather(*(ask(model) for _ in range(5)))
        assert model.engine.facts()["retraces"] == 0


async def test_closing_lets_requests_finish(models_dir: Path) -> None:
    async with serving(models_dir) as registry:
        model = registry.get(None)
        asked = [asyncio.create_task(ask(model)) for _ in range(20)]
        await asyncio.sleep(0)
        await registry.close()
        assert len(await asyncio.gather(*asked)) == 20
