"""Which models are served: the bundles of one folder, replaced while requests run."""

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
from service.inference.batcher import Batcher
from service.inference.cores import stand_back
from service.inference.errors import NotReady, UnknownModel
from service.inference.isolation import IsolatingRunner
from service.inference.loading import ServingEngine, crew_of, open_engine
from service.inference.memory import settle
from service.settings import Settings

log = structlog.get_logger(__name__)

_BEHIND_THE_ENGINES = 10
"""Steps of niceness of the thread that loads and compiles."""

Stamp = tuple[tuple[str, int, int], ...]
"""Name, modification time in nanoseconds and size of every file of a bundle: differs when the bundle does."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One loaded and warmed model."""

    bundle: BundleParts
    engine: ServingEngine
    batcher: Batcher


class Registry:
    """Serves every bundle of `settings.models_dir` under its card's name, and follows the folder as it changes.

    A new version is loaded and warmed beside the running one and takes its place in one step; requests that hold the
    old one finish on it. A bundle that is refused leaves the running model as it is. Loading, and compiling what the
    engines did not need to be ready, share one thread: at most one of them competes with the requests.
    """

    def __init__(self, settings: Settings) -> None:
        self.served: Mapping[str, ServedModel] = {}
        """By name. Replaced at every change, never changed: a reference to it is a snapshot."""
        self.refused: Mapping[str, str] = {}
        """By folder: why its bundle is not served."""
        self.started = False
        """Whether every bundle that was there at the start is loaded or refused."""
        self._settings = settings
        self._stamps: dict[str, Stamp] = {}
        self._folders: dict[str, str] = {}  # by model name
        self._retiring: list[ServedModel] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loader = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="loader", initializer=stand_back, initargs=(_BEHIND_THE_ENGINES,)
        )
        self._fault: str | None = None
        self._closing = False

    @property
    def ready(self) -> bool:
        """Whether predictions are answered: a model is warm, at the start the default one, and none is sick."""
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
        sick = sorted(name for name, model in self.served.items() if not model.batcher.healthy)
        return f"The last forward pass failed: {', '.join(sick)}." if sick else None

    def get(self, name: str | None) -> ServedModel:
        """The model of this name, or the default one.

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
                await self._look()
                self._fault = None
            except OSError as error:  # a folder out of reach for a moment is no reason to stop what runs
                if self._fault != str(error):
                    log.warning("models folder cannot be read", error=str(error))
                self._fault = str(error)
            if not self.started:
                self.started = True
                await self._in_loader(settle)
                log.info("started", models=sorted(self.served), refused=sorted(self.refused))
                for model in self.served.values():
                    self._spawn(self._warm_rest(model))
            if not self._settings.reload_seconds:
                return
            await asyncio.sleep(self._settings.reload_seconds)

    async def _look(self) -> None:
        """Bring what is served in line with what is in the folder now."""
        found = await self._in_loader(_bundle_stamps, self._settings.models_dir)
        for folder in [folder for folder in self._stamps if folder not in found]:
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
            owner = self._folders.get(card.name, folder)
            if owner != folder:
                raise BundleError(
                    f"{path}: a model named {card.name!r} is served from {owner} already; rename or remove one of them."
                )
            running = self.served.get(card.name)
            if running is None or running.bundle.card.version != card.version:
                await self._replace(folder, await self._in_loader(self._load, path))
        except Exception as error:  # whatever is wrong with one bundle, the others and the running one go on
            why = str(error) if isinstance(error, BundleError) else f"{path}: {type(error).__name__}: {error}"
            if self.refused.get(folder) != why:
                log.error("bundle refused", folder=folder, reason=why, exc_info=not isinstance(error, BundleError))
            self.refused = {**self.refused, folder: why}
        else:
            self.refused = {other: why for other, why in self.refused.items() if other != folder}

    def _load(self, path: Path) -> ServedModel:
        """In the loader's thread: a model that is ready to be served, if not yet in every shape.

        Raises:
            BundleError: the bundle is refused, or its model does not work.
        """
        started = time.perf_counter()
        engine = open_engine(path, self._settings)
        loaded = time.perf_counter()
        engine.warm_core()
        trial = IsolatingRunner(engine)
        trial.probe()
        if not trial.healthy:
            raise BundleError(f"{path}: expected finite answers from its model. The first forward pass gave none.")
        log.info(
            "model loaded",
            model=engine.bundle.card.name,
            version=engine.bundle.card.version,
            engine=engine.name,
            load_seconds=round(loaded - started, 2),
            warm_seconds=round(time.perf_counter() - loaded, 2),
        )
        return ServedModel(engine.bundle, engine, Batcher(crew_of(engine, self._settings)))

    async def _replace(self, folder: str, model: ServedModel) -> None:
        """Serve a loaded model in place of what its folder served before."""
        await model.batcher.start()
        name = model.bundle.card.name
        before = [other for other, owner in self._folders.items() if owner == folder]
        old = [self.served[other] for other in before]
        self.served = {other: served for other, served in self.served.items() if other not in before} | {name: model}
        self._folders = {other: owner for other, owner in self._folders.items() if owner != folder} | {name: folder}
        for each in old:
            self._spawn(self._retire(each))
        if self.started:
            self._spawn(self._warm_rest(model))

    def _forget(self, folder: str) -> None:
        """A folder is gone: retire its model, and look again at what was refused, perhaps for its sake."""
        gone = [name for name, owner in self._folders.items() if owner == folder]
        for name in gone:
            log.info("model removed", model=name, folder=folder)
            self._spawn(self._retire(self.served[name]))
        self.served = {name: model for name, model in self.served.items() if name not in gone}
        self._folders = {name: owner for name, owner in self._folders.items() if owner != folder}
        self.refused = {other: why for other, why in self.refused.items() if other != folder}
        self._stamps = {
            other: stamp for other, stamp in self._stamps.items() if other != folder and other not in self.refused
        }

    async def _retire(self, model: ServedModel) -> None:
        """Close a model that is served no longer, once no request can hold it: none outlives its deadline."""
        self._retiring.append(model)
        await asyncio.sleep(self._settings.deadline_seconds)
        await model.batcher.close(self._settings.drain_seconds)
        model.engine.close()
        self._retiring.remove(model)
        await self._in_loader(settle)
        log.info("model retired", model=model.bundle.card.name, version=model.bundle.card.version)

    async def _warm_rest(self, model: ServedModel) -> None:
        """Compile the other shapes, one at a time, so that a new bundle does not wait long for the thread."""
        name = model.bundle.card.name
        started = time.perf_counter()
        try:
            while self.served.get(name) is model and await self._in_loader(model.engine.warm_next):
                pass
        except Exception as error:  # texts are padded up to the shapes that there are
            log.error("shape cannot be compiled", model=name, error=repr(error), exc_info=True)
            return
        await self._in_loader(settle)
        log.info(
            "model warm", model=name, shapes=len(model.engine.compiled), seconds=round(time.perf_counter() - started, 1)
        )

    async def _in_loader(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._loader, function, *arguments)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _bundle_stamps(models_dir: Path) -> dict[str, Stamp]:
    """The folders that hold a card, without those that a dot hides, such as bundles in the making."""
    stamps = {}
    for folder in models_dir.iterdir():
        if not folder.name.startswith(".") and (folder / CARD_FILE).is_file():
            with os.scandir(folder) as entries:
                files = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
            stamps[folder.name] = tuple(sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in files))
    return stamps
