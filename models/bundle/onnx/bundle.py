"""A bundle as ONNX Runtime runs it: everything but Keras' own way to say the same model."""

from dataclasses import dataclass
from pathlib import Path

from models.bundle.onnx.probe import read_probe
from models.bundle.onnx.session import OnnxModel
from models.bundle.parts import MODEL_FILE, ONNX_FILE, PROBE_FILE, BundleParts, check_config, check_fit, read_verified
from models.bundle.verification import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxBundle(BundleParts):
    """A loaded classifier: `model` maps ids to outputs."""

    model: OnnxModel


def load_onnx_bundle(path: Path, *, threads: int = 1) -> OnnxBundle:
    """Load the bundle in folder `path`, once everything in it is verified and it answers as Keras did.

    Args:
        path: the bundle's folder.
        threads: cores that one forward pass is shared out over.

    Raises:
        BundleError: it holds no model for ONNX Runtime, a file is not what the card says, or the model gives other
            outputs than Keras gave for the texts of its probe.
    """
    card, tokenizer = read_verified(path)
    for required in (ONNX_FILE, PROBE_FILE):
        if required not in card.files:
            why = f" When it was saved: {card.without_onnx}" if card.without_onnx else ""
            raise BundleError(
                f"{path}: expected {required}, without which HEED_ENGINE=onnx cannot serve it. There is none.{why} "
                f"Add it with `python -m training export {path}`, or serve with HEED_ENGINE=keras."
            )
    probe = read_probe(path)
    try:
        files = {MODEL_FILE: (path / MODEL_FILE).read_bytes()}
        model = OnnxModel((path / ONNX_FILE).read_bytes(), files, threads=threads)
        difference = probe.difference(model)
    except Exception as error:  # also what ONNX Runtime raises of a graph that does not run
        raise BundleError(f"{path / ONNX_FILE}: cannot be loaded: {error}") from error
    if difference is not None:
        raise BundleError(f"{path / ONNX_FILE}: {difference}, for the texts in {PROBE_FILE}.")
    check_fit(
        path,
        ("labels of the model", len(card.labels), len(probe.texts[0].logits)),
        ("ids of the model", tokenizer.vocabulary_size, 1 + max(max(text.ids, default=0) for text in probe.texts)),
        ("bases", len(card.labels) if "contributions" in model.outputs else 0, len(probe.bases or ())),
    )
    check_config(path, card, tokenizer)
    bases = None if probe.bases is None else tuple(probe.bases)
    return OnnxBundle(path=path, card=card, tokenizer=tokenizer, bases=bases, model=model)
