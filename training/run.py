"""One training run, from texts to a bundle, top to bottom."""

import shutil
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.bundle.store import BundleCard, save_bundle
from models.calibration import fit_temperature, probabilities
from models.classifier import EMBEDDING, build_classifier
from models.explain import faithfulness
from models.tokenizer import Tokenizer
from training.checkpoint import Checkpoint, open_work_folder
from training.config import TrainConfig
from training.data import Corpus, LabelledTexts, Splits, label_counts
from training.fit import EncodedTexts, Fit
from training.forward import compiled, predict_logits, predict_tokens
from training.material import Material, prepare
from training.metrics import confusion, measure, reliability
from training.ngrams import start_at_naive_bayes
from training.report import Example, write_report
from training.watcher import Watcher

EXAMPLES = 4
TRUST_TEXTS = 300


def train(
    config: TrainConfig,
    corpus: Corpus,
    out: Path,
    *,
    work: Path,
    resume: bool,
    watcher: Watcher,
    material: Material | None = None,
) -> BundleCard:
    """Train on `corpus` as `config` says and save the bundle to `out`.

    Args:
        work: folder for what a stopped run needs to go on; deleted once the bundle is saved.
        resume: go on from what is in `work`.
        material: what `prepare` made of the corpus, if it was called before, for one of several runs alike in data.

    Raises:
        ResumeError: `resume` is asked for, and `work` holds no run or another one.
        DataError: the corpus cannot be divided.
    """
    started = time.monotonic()
    keras.utils.set_random_seed(config.seed)
    identity: dict[str, Any] = {"config": config.model_dump(mode="json"), "data": corpus.fingerprint()}
    work = open_work_folder(work, identity, resume=resume)
    if material is None:
        material = prepare(config, corpus, vectors_file=work / "vectors.npy", watcher=watcher)
    splits, tokenizer = material.splits, material.tokenizer
    architecture = config.classifier(vocabulary_size=tokenizer.vocabulary_size, labels=len(corpus.label_names))
    model = build_classifier(architecture)
    if material.vectors is not None:
        model.get_layer(EMBEDDING).set_weights([material.vectors])
    if config.ngrams:
        start_at_naive_bayes(model, config.ngrams, material.train.ids, material.train.labels)

    checkpoint = Checkpoint(work / "checkpoint.npz")
    fit = Fit(model, config, material.train, material.validation, checkpoint)
    processor_started = time.process_time()
    fit.run(
        resume=resume and checkpoint.file.exists(),
        on_step=lambda step, steps, loss, accuracy: watcher.advance(
            f"epoch {fit.progress.epoch + 1}, phase {fit.progress.phase + 1}",
            step,
            steps,
            f"loss {loss:.3f}  accuracy {accuracy:.3f}",
        ),
        on_epoch=lambda entry: watcher.say(_epoch_line(entry)),
    )
    fit_seconds = time.process_time() - processor_started

    forward = compiled(model)
    validation, test = material.validation, material.test
    validation_logits = predict_logits(forward, validation.ids)
    temperature = fit_temperature(validation_logits, validation.labels)
    scores = probabilities(predict_logits(forward, test.ids), temperature)
    metrics = {
        "validation": measure(probabilities(validation_logits, temperature), validation.labels),
        "test": measure(scores, test.labels),
    }
    watcher.say("measuring whether the weights can be trusted")
    trust = _measure_trust(forward, test, temperature, config.seed)
    report = work / "report"
    write_report(
        report,
        history=fit.progress.history,
        counts=confusion(scores, test.labels),
        label_names=corpus.label_names,
        bins=reliability(scores, test.labels),
        examples=_pick_examples(corpus, splits.test, test, scores, forward, tokenizer),
    )
    card = save_bundle(
        out,
        model=model,
        tokenizer=tokenizer,
        config=architecture,
        labels=corpus.label_names,
        max_tokens=config.data.max_tokens,
        temperature=temperature,
        data=_data_facts(corpus, splits, identity["data"]),
        training={
            "config": identity["config"],
            "history": fit.progress.history,
            "minutes": round((time.monotonic() - started) / 60, 1),
            "fit_processor_seconds": round(fit_seconds, 1),
            "resumed": resume,
        },
        metrics=metrics,
        faithfulness=trust,
        report=report,
    )
    if card.without_onnx:
        watcher.say(f"no model for ONNX Runtime: {card.without_onnx}")
    shutil.rmtree(work)
    return card


def _measure_trust(forward: keras.Model, test: EncodedTexts, temperature: float, seed: int) -> dict[str, Any]:
    """Faithfulness of weights, and of contributions where there are any, on test texts drawn by `seed`."""
    readable = np.flatnonzero(test.lengths > 0)
    drawn = np.random.default_rng(seed).permutation(readable)[:TRUST_TEXTS]
    ids = [test.ids[position] for position in drawn]
    rankings: dict[str, list[np.ndarray]] = {}
    for one in ids:
        outputs = predict_tokens(forward, one)
        rankings.setdefault("attention", []).append(outputs["attention"])
        if "contributions" in outputs:
            logits = outputs["logits"]
            # With two labels contributions speak of label 1; where the other wins, what pushes to it ranks first.
            sign = -1.0 if len(logits) == 2 and logits.argmax() == 0 else 1.0
            rankings.setdefault("contributions", []).append(sign * outputs["contributions"])
    return faithfulness(
        lambda texts: probabilities(predict_logits(forward, texts), temperature), ids, rankings, seed=seed
    )


def _pick_examples(
    corpus: Corpus,
    texts: LabelledTexts,
    encoded: EncodedTexts,
    scores: np.ndarray,
    forward: keras.Model,
    tokenizer: Tokenizer,
) -> list[Example]:
    """Test reviews of readable length, spread over the range of confidence, right and wrong ones alike."""
    readable = np.flatnonzero((encoded.lengths >= 40) & (encoded.lengths <= 120))
    candidates = readable if len(readable) >= EXAMPLES else np.flatnonzero(encoded.lengths > 0)
    ranked = candidates[np.argsort(scores[candidates, -1], kind="stable")]
    chosen = ranked[np.linspace(0.02 * len(ranked), 0.98 * (len(ranked) - 1), EXAMPLES).astype(int)]
    examples = []
    for position in dict.fromkeys(chosen.tolist()):
        outputs = predict_tokens(forward, encoded.ids[position])
        winner = int(scores[position].argmax())
        examples.append(
            Example(
                text=texts.texts[position],
                truth=corpus.label_names[texts.labels[position]],
                label=corpus.label_names[winner],
                probability=float(scores[position, winner]),
                encoding=tokenizer.encode(texts.texts[position], len(encoded.ids[position])),
                weights=outputs["attention"],
                contributions=outputs.get("contributions"),
            )
        )
    return examples


def _data_facts(corpus: Corpus, splits: Splits, fingerprint: str) -> dict[str, Any]:
    return {
        "source": corpus.source,
        "fingerprint": fingerprint,
        "train": label_counts(splits.train.labels, corpus.label_names),
        "validation": label_counts(splits.validation.labels, corpus.label_names),
        "test": label_counts(splits.test.labels, corpus.label_names),
        "unlabelled": len(splits.unlabelled),
        "duplicates": splits.left_out,
    }


def _epoch_line(entry: dict[str, float | int | str]) -> str:
    return (
        f"phase {entry['phase']} epoch {entry['epoch']}: train loss {entry['train_loss']:.4f} "
        f"accuracy {entry['train_accuracy']:.4f}, validation loss {entry['validation_loss']:.4f} "
        f"accuracy {entry['validation_accuracy']:.4f}"
    )
