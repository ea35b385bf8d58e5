"""Read the parts of a bundle that need no Keras."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.bundle.card import CARD_FILE, BundleCard, WeightPlace, read_card
from models.bundle.probe import PROBE_FILE, Probe, read_probe
from models.bundle.verification import BundleError, check_files
from models.tokenizer import Tokenizer

MODEL_FILE = "model.keras"
ONNX_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
REPORT_FOLDER = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleParts:
    """A classifier without an engine that runs it.

    Attributes:
        bases: the contrast of each label with the mean of the others before any token is read, as logits; None where
            contributions are not exact, or a bundle without a probe was read without Keras.
        probe: a few texts with Keras' outputs for them; None in older bundles.
        kernel: where a kernel finds the weights; None where no kernel may compute the model.
    """

    path: Path
    card: BundleCard
    tokenizer: Tokenizer
    bases: tuple[float, ...] | None
    probe: Probe | None
    kernel: Mapping[str, WeightPlace] | None

    def base_log_odds(self, target: int) -> float | None:
        """Calibrated log-odds of label `target` before any token is read; None where contributions are not exact.

        base_log_odds(target) + sum(contributions) / temperature = ln p(target) - mean of ln p(every other label).
        """
        return None if self.bases is None else self.bases[target] / self.card.temperature


def read_bundle_parts(path: Path) -> BundleParts:
    """Read and verify the bundle in folder `path`, without Keras.

    Raises:
        BundleError: a hash differs, a path leads out of the folder, a file is too large, or the parts do not fit each
            other.
    """
    card = read_card(path)
    for required in (MODEL_FILE, TOKENIZER_FILE):
        if required not in card.files:
            raise BundleError(
                f"{path / CARD_FILE}: expected {required} among its files. Received {sorted(card.files)}."
            )
    check_files(path, card.files)
    try:
        tokenizer = Tokenizer.from_json((path / TOKENIZER_FILE).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path / TOKENIZER_FILE}: {error}") from error
    check_fit(
        path,
        ("labels in config", len(card.labels), card.config.get("labels")),
        ("ids in config", tokenizer.vocabulary_size, card.config.get("vocabulary_size")),
    )
    if PROBE_FILE not in card.files:
        return BundleParts(path=path, card=card, tokenizer=tokenizer, bases=None, probe=None, kernel=None)
    probe = read_probe(path)
    exact = probe.bases is not None
    check_fit(
        path,
        ("labels of the probe", len(card.labels), len(probe.texts[0].logits)),
        ("ids of the probe", tokenizer.vocabulary_size, 1 + max(max(text.ids, default=0) for text in probe.texts)),
        ("bases", len(card.labels) if exact else 0, len(probe.bases or ())),
        ("texts with contributions", exact, all(text.contributions is not None for text in probe.texts)),
    )
    bases = None if probe.bases is None else tuple(probe.bases)
    return BundleParts(path=path, card=card, tokenizer=tokenizer, bases=bases, probe=probe, kernel=card.kernel)


def check_fit(path: Path, *facts: tuple[str, object, object]) -> None:
    """Raise a BundleError for valid parts that do not belong together: facts with what was expected and received."""
    for what, expected, received in facts:
        if expected != received:
            raise BundleError(f"{path}: the parts do not fit: expected {expected} {what}. Received {received}.")
