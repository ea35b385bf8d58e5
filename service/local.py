"""Bundles used in this process, without a service: list a folder, predict a few texts, score whole files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from models.bundle.card import CARD_FILE, BundleCard, read_card
from models.bundle.parts import BundleParts
from models.bundle.verification import BundleError
from service.inference.engine import Engine
from service.inference.loading import open_model
from service.inference.process import trim_memory, usable_cores
from service.predictions import describe_prediction
from service.scoring.forward import Scorer
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """A folder with a bundle, or with a broken one: then `card` is None and `reason` says what is wrong."""

    path: Path
    card: BundleCard | None
    reason: str | None = None


def find_bundles(models_dir: Path) -> list[FoundBundle]:
    """Return the bundles in `models_dir`, by name of their folder. Only their cards are read.

    Raises:
        BundleError: there is no such folder.
    """
    if not models_dir.is_dir():
        raise BundleError(f"Expected a folder of bundles at {models_dir}. Found none; --models-dir names another.")
    found = []
    for card in sorted(models_dir.glob(f"[!.]*/{CARD_FILE}")):
        try:
            found.append(FoundBundle(card.parent, read_card(card.parent)))
        except BundleError as error:
            found.append(FoundBundle(card.parent, None, str(error)))
    return found


def open_named(settings: Settings, name: str | None = None) -> tuple[BundleParts, Engine]:
    """Open the bundle called `name`; None: the default one.

    Raises:
        BundleError: no bundle has that name, or it is refused.
    """
    wanted = name or settings.default_model
    found = find_bundles(settings.models_dir)
    for each in found:
        if each.card is not None and each.card.name == wanted:
            return open_model(each.path, settings)
    known = ", ".join(repr(each.card.name) for each in found if each.card is not None) or "none"
    raise BundleError(f"Expected the name of a bundle in {settings.models_dir}. Received {wanted!r}. There: {known}.")


def open_for_scoring(settings: Settings, name: str | None = None) -> Scorer:
    """Open the bundle called `name` for whole files, in one batch size: what is compiled then takes seconds.

    Raises:
        BundleError: no bundle has that name, or it is refused.
    """
    largest_batch = settings.batch_sizes[-1]
    bundle, engine = open_named(settings.model_copy(update={"batch_sizes": (largest_batch,)}), name)
    for _ in engine.warm():
        pass
    trim_memory()
    threads = settings.engine_threads or usable_cores()
    return Scorer(bundle, engine, threads, largest_batch, settings.max_batch_tokens)


class LocalModel:
    """One loaded bundle, ready to classify."""

    def __init__(self, bundle: BundleParts, engine: Engine) -> None:
        self.bundle = bundle
        self._engine = engine
        next(engine.warm())

    @classmethod
    def load(cls, settings: Settings, name: str | None = None) -> Self:
        """Load the bundle called `name`; None: the default one.

        Raises:
            BundleError: no bundle has that name, or it is refused.
        """
        return cls(*open_named(settings, name))

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return one prediction a text, of the shape `schemas.Prediction`.

        Raises:
            ValueError: a text has no token.
        """
        encodings = [self.bundle.tokenizer.encode(text, self.bundle.card.max_tokens) for text in texts]
        for number, encoding in enumerate(encodings, start=1):
            if len(encoding.ids) == 0:
                raise ValueError(f"Text {number}: expected at least one word. Received none.")
        results = self._engine.run([encoding.ids for encoding in encodings])
        return [
            describe_prediction(self.bundle, text, encoding, result)
            for text, encoding, result in zip(texts, encodings, results, strict=True)
        ]
