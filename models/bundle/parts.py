"""What of a bundle is read whatever runs its model, without Keras."""

from dataclasses import dataclass
from pathlib import Path

from models.bundle.card import CARD_FILE, BundleCard, read_card
from models.bundle.verification import BundleError, check_files
from models.tokenizer import Tokenizer

MODEL_FILE = "model.keras"
ONNX_FILE = "model.onnx"
PROBE_FILE = "probe.json"
TOKENIZER_FILE = "tokenizer.json"
REPORT_FOLDER = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleParts:
    """A classifier but for what runs it.

    Attributes:
        path: the bundle's folder.
        card: what is known of it.
        tokenizer: makes ids of texts.
        bases: for each label what it has over the mean of the others before any token is read, as logits; None where
            contributions are not exact.
    """

    path: Path
    card: BundleCard
    tokenizer: Tokenizer
    bases: tuple[float, ...] | None

    def base_log_odds(self, target: int) -> float | None:
        """Calibrated log-odds of label `target` before any token is read; None where contributions are not exact.

        base_log_odds(target) + sum(contributions) / temperature = ln p(target) - mean of ln p(every other label).
        """
        return None if self.bases is None else self.bases[target] / self.card.temperature


def read_verified(path: Path) -> tuple[BundleCard, Tokenizer]:
    """The card and the tokenizer of the bundle in folder `path`, once every file in it is what the card says.

    Raises:
        BundleError: a hash differs, a path climbs out, a size passes its cap, or the two do not fit each other.
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
    return card, tokenizer


def check_config(path: Path, card: BundleCard, tokenizer: Tokenizer) -> None:
    """Refuse an architecture that is not for these labels and this vocabulary.

    Raises:
        BundleError: it is not.
    """
    check_fit(
        path,
        ("labels in config", len(card.labels), card.config.get("labels")),
        ("ids in config", tokenizer.vocabulary_size, card.config.get("vocabulary_size")),
    )


def check_fit(path: Path, *facts: tuple[str, object, object]) -> None:
    """Refuse parts that are sound each by itself but do not belong together.

    Args:
        path: the bundle's folder.
        facts: of each what it is, what is expected of it, and what it is.

    Raises:
        BundleError: the first that is something else.
    """
    for what, expected, received in facts:
        if expected != received:
            raise BundleError(f"{path}: the parts do not fit: expected {expected} {what}. Received {received}.")
