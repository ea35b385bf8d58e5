"""Bundles used in this very process, without a service: what is in a folder, and predictions from one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from models.bundle.card import CARD_FILE, BundleCard, read_card
from models.bundle.verification import BundleError
from service.inference.loading import ServingEngine, batch_tokens, open_engine
from service.inference.memory import settle
from service.predictions import describe_prediction
from service.scoring.fixed_shapes import FixedShapes
from service.scoring.forward import FileEngine
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """A folder that holds a bundle, or something like one: then `card` is None and `reason` says why it is none."""

    path: Path
    card: BundleCard | None
    reason: str | None = None


def find_bundles(models_dir: Path) -> list[FoundBundle]:
    """The bundles in `models_dir`, by name of their folder. Only their cards are read.

    Raises:
        BundleError: there is no such folder.
    """
    if not models_dir.is_dir():
        raise BundleError(f"Expected a folder of bundles at {models_dir}. There is none; see --models-dir.")
    found = []
    for folder in sorted(
        card.parent for card in models_dir.glob(f"*/{CARD_FILE}") if not card.parent.name.startswith(".")
    ):
        try:
            found.append(FoundBundle(folder, read_card(folder)))
        except BundleError as error:
            found.append(FoundBundle(folder, None, str(error)))
    return found


def open_named(settings: Settings, name: str | None = None) -> ServingEngine:
    """The bundle called `name` on the engine that is set; None: the default one.

    Raises:
        BundleError: there is none of that name, or it is refused.
    """
    wanted = name or settings.default_model
    found = find_bundles(settings.models_dir)
    for each in found:
        if each.card is not None and each.card.name == wanted:
            return open_engine(each.path, settings)
    known = ", ".join(repr(each.card.name) for each in found if each.card is not None) or "none"
    raise BundleError(f"Expected the name of a bundle in {settings.models_dir}. Received {wanted!r}. There: {known}.")


class LocalModel:
    """One loaded bundle, ready to classify."""

    def __init__(self, engine: ServingEngine) -> None:
        self.bundle = engine.bundle
        self._engine = engine
        self._engine.warm_core()

    @classmethod
    def load(cls, settings: Settings, name: str | None = None) -> Self:
        """The bundle called `name`; None: the default one.

        Raises:
            BundleError: there is none of that name, or it is refused.
        """
        return cls(open_named(settings, name))

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """One prediction a text, of the shape `schemas.Prediction`.

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


def open_for_scoring(settings: Settings, name: str | None = None) -> FileEngine:
    """The bundle called `name`, made ready for whole files.

    Raises:
        BundleError: there is none of that name, or it is refused.
    """
    engine = open_named(settings, name)
    settle()
    if engine.name == "native":  # only then is Keras surely installed
        from service.inference.native_engine import NativeEngine
        from service.scoring.native_files import NativeFiles

        if isinstance(engine, NativeEngine):
            return NativeFiles(engine)
    return FixedShapes(engine, batch_tokens(engine.name, settings))
