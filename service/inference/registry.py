"""The models that are served: the bundles of one folder, reloaded while requests run."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from models.bundle.card import CARD_FILE, read_card
from models.bundle.parts import BundleParts
from models.bundle.verification import BundleError
from service.inference.batcher import Batcher, answers_probe
from service.inference.engine import Engine
from service.inference.errors import NotReady, UnknownModel
from service.inference.loading import open_model
from service.inference.process import lower_priority, trim_memory, usable_cores
from service.inference.queue import Admission
from service.settings import Settings

log = structlog.get_logger(__name__)

_NICENESS = 10
"""Of the thread that loads and compiles: below the workers."""

_END = object()

Stamp = tuple[tuple[str, int, int], ...]
"""Name, modification time in nanoseconds and size of every file of a bundle: differs when the bundle does."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One loaded and warmed model."""

    bundle: BundleParts
    engine: Engine
    batcher: Batcher


class Registry:
    """Serves every bundle of `settings.models_dir` under its card's name, and follows the folder as it changes.

    A new version is loaded and warmed beside the running one and takes its place in one step; requests that hold the
    old one finish on it. A bundle that is refused leaves the running model as it is. One thread loads and compiles, so
    at most one competes with the requests.
    """

    def __init__(self, settings: Settings) -> None:
        self.admission = Admission(settings.max_queued_tokens)
        """Shared by the queues of all models."""
        self.served: Mapping[str, ServedModel] = {}
        """By name. Replaced at every change, never changed: a reference to it is a snapshot."""
        self.refused: Mapping[str, str] = {}
        """By folder: why its bundle is not served."""
        self.started = False
        """Whether every bundle that was there at the start is loaded or refused."""
        self._settings = settings
        self._stamps: dict[str, Stamp] = {}  # by folder
        self._retiring: list[ServedModel] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loader = ThreadPoolExecutor(1, "loader", lower_priority, (_NICENESS,))
        self._fault: str | None = None
        self._closing = False

    @property
    def ready(self) -> bool:
        """Whether predictions are answered: a model is warm, at the start the default one, and none is unhealthy."""
        return self.not_ready_reason is None

    @property
    def not_ready_reason(self) -> str | None:
        """Why not `ready`; None where it is."""
        if self._closing:
            return "The service is shutting down."
        if not self.started and self._settings.default_model not in self.served:
            return "The service is starting: its models are being loaded."
        if not self.served:
            why = self._fault or "; ".join(self.refused.values()) or "there is no bundle in it"
            return f"No model could be loaded from {self._settings.models_dir}: {why}"
        unhealthy = sorted(name for name, model in self.served.items() if not model.batcher.healthy)
        return f"The last forward pass failed: {', '.join(unhealthy)}." if unhealthy else None

    def get(self, name: str | None) -> ServedModel:
        """Return the model of this name, or the default one.

        Raises:
            NotReady: starting, shutting down, or no model at all is loaded.
            UnknownModel: others are loaded, but not this one.
        """
        wanted = self._settings.default_model if name is None else name
        model = self.served.get(wanted)
        if self._closing or (model is None and not (self.started and self.served)):
            raise NotReady(
                self.not_ready_reason or "The service is starting: some of its models are still being loaded."
            )
        if model is None:
            raise UnknownModel(wanted, sorted(self.served))
        return model

    async def start(self) -> None:
        """Begin to load in the background, and to follow the folder; returns at once."""
        self._spawn(self._watch())

    async def close(self) -> None:
        """Stop loading, let every model finish what it has admitted within `drain_seconds`, and let go of them."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        models = [*self.served.values(), *self._retiring]
        await asyncio.gather(*(model.batcher.close(self._settings.drain_seconds) for model in models))
        for model in models:
            model.engine.close()
        self._loader.shutdown(wait=False, cancel_futures=True)

    # Following the folder

    async def _watch(self) -> None:
        while True:
            try:
                await self._follow()
                self._fault = None
            except OSError as error:  # a folder out of reach for a moment is no reason to stop what runs
                if self._fault != str(error):
                    log.warning("models folder cannot be read", error=str(error))
                self._fault = str(error)
            if not self.started:
                self.started = True
                await self._in_loader(trim_memory)
                log.info("started", models=sorted(self.served), refused=sorted(self.refused))
                for model in self.served.values():
                    self._spawn(self._warm_rest(model))
            if not self._settings.reload_seconds:
                return
            await asyncio.sleep(self._settings.reload_seconds)

    async def _follow(self) -> None:
        """Bring what is served in line with what is in the folder now."""
        found = await self._in_loader(_bundle_stamps, self._settings.models_dir)
        for folder in self._stamps.keys() - found.keys():
            self._forget(folder)
        # The default model first: it makes the service useful soonest.
        for folder in sorted(found, key=lambda folder: (folder != self._settings.default_model, folder)):
            if self._stamps.get(folder) != found[folder]:
                self._stamps[folder] = found[folder]
                await self._consider(folder)

    async def _consider(self, folder: str) -> None:
        """Serve the bundle of a folder that is new or changed, or say why not."""
        path = self._settings.models_dir / folder
        try:
            card = await self._in_loader(read_card, path)
            running = self.served.get(card.name)
            if running is not None and running.bundle.path.name != folder:
                raise BundleError(
                    f"{path}: a model named {card.name!r} is served from {running.bundle.path.name} already; rename or "
                    "remove one of them."
                )
            if running is None or running.bundle.card.version != card.version:
                self._replace(folder, await self._in_loader(self._load, path))
        except Exception as error:  # whatever is wrong with one bundle, the others and the running one go on
            why = str(error) if isinstance(error, BundleError) else f"{path}: {type(error).__name__}: {error}"
            if self.refused.get(folder) != why:
                log.error("bundle refused", folder=folder, reason=why, exc_info=not isinstance(error, BundleError))
            self.refused = {**self.refused, folder: why}
        else:
            self.refused = {other: why for other, why in self.refused.items() if other != folder}

    def _load(self, path: Path) -> ServedModel:
        """Return a model that answers every text, if not yet as fast as it can. In the loader's thread.

        Raises:
            BundleError: the bundle is refused, or its model does not work.
        """
        started = time.perf_counter()
        bundle, engine = open_model(path, self._settings)
        loaded = time.perf_counter()
        next(engine.warm(), None)
        if not answers_probe(engine):
            raise BundleError(f"{path}: expected finite answers from its model. The first forward pass gave none.")
        log.info(
            "model loaded",
            model=bundle.card.name,
            version=bundle.card.version,
            engine=type(engine).__name__,
            load_seconds=round(loaded - started, 2),
            warm_seconds=round(time.perf_counter() - loaded, 2),
        )
        batcher = Batcher(
            engine,
            self.admission,
            threads=self._settings.engine_threads or usable_cores(),
            largest_batch=self._settings.batch_sizes[-1],
            max_batch_tokens=self._settings.max_batch_tokens,
        )
        return ServedModel(bundle, engine, batcher)

    def _replace(self, folder: str, model: ServedModel) -> None:
        """Serve a loaded model in place of what its folder served before."""
        model.batcher.start()
        self._remove(folder)
        self.served = {**self.served, model.bundle.card.name: model}
        if self.started:
            self._spawn(self._warm_rest(model))

    def _forget(self, folder: str) -> None:
        """Serve a folder that is gone no longer, and look again at what was refused, perhaps for its sake."""
        self._remove(folder)
        self.refused = {other: why for other, why in self.refused.items() if other != folder}
        self._stamps = {
            other: stamp for other, stamp in self._stamps.items() if other != folder and other not in self.refused
        }

    def _remove(self, folder: str) -> None:
        """Serve no more what a folder served, and retire it."""
        for name, model in self.served.items():
            if model.bundle.path.name == folder:
                log.info("model removed", model=name, version=model.bundle.card.version)
                self._spawn(self._retire(model))
        self.served = {name: model for name, model in self.served.items() if model.bundle.path.name != folder}

    async def _retire(self, model: ServedModel) -> None:
        """Close a model that is served no longer, once no request can hold it: none outlives its deadline."""
        self._retiring.append(model)
        await asyncio.sleep(self._settings.deadline_seconds)
        await model.batcher.close(self._settings.drain_seconds)
        model.engine.close()
        self._retiring.remove(model)
        await self._in_loader(trim_memory)
        log.info("model retired", model=model.bundle.card.name, version=model.bundle.card.version)

    async def _warm_rest(self, model: ServedModel) -> None:
        """Make answers faster, one step at a time, so that a new bundle does not wait long for the thread."""
        name = model.bundle.card.name
        started = time.perf_counter()
        steps = model.engine.warm()
        try:
            while self.served.get(name) is model and await self._in_loader(next, steps, _END) is not _END:
                pass
        except Exception as error:  # what is warm already answers every text
            log.error("model cannot be warmed further", model=name, error=repr(error), exc_info=True)
            return
        await self._in_loader(trim_memory)
        log.info("model warm", model=name, seconds=round(time.perf_counter() - started, 1))

    async def _in_loader(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._loader, function, *arguments)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _bundle_stamps(models_dir: Path) -> dict[str, Stamp]:
    """Return the stamps of the folders that hold a card, without hidden ones, such as bundles in the making."""
    stamps = {}
    for folder in models_dir.iterdir():
        if not folder.name.startswith(".") and (folder / CARD_FILE).is_file():
            with os.scandir(folder) as entries:
                files = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
            stamps[folder.name] = tuple(sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in files))
    return stamps
