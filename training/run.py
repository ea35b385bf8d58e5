"""A whole training run, from texts to a bundle."""

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
from models.tokenizer import RULES
from training.batches import EncodedTexts, for_prediction, predict_logits, predict_tokens
from training.checkpoint import CHECKPOINT_FILE, VECTORS_FILE, Checkpoint, open_work_folder
from training.config import TrainConfig
from training.data import Corpus, Splits, label_counts
from training.fit import Fit
from training.measuring.metrics import confusion, measure, reliability
from training.measuring.report import Example, write_report
from training.ngrams import start_at_naive_bayes
from training.prepare import Prepared, prepare
from training.progress import Progress

EXAMPLES = 4
FAITHFULNESS_TEXTS = 300


def run_identity(config: TrainConfig, corpus: Corpus) -> dict[str, Any]:
    """Return what a stopped run must have in common with the run that resumes it."""
    return {"config": config.model_dump(mode="json"), "data": corpus.fingerprint(), "token_rules": RULES}


def train(
    config: TrainConfig,
    corpus: Corpus,
    out: Path,
    *,
    work: Path,
    resume: bool,
    restart: bool = False,
    progress: Progress,
    prepared: Prepared | None = None,
) -> BundleCard:
    """Train a classifier on `corpus` and save it as a bundle in `out`.

    Args:
        work: folder for checkpoints; deleted once the bundle is saved.
        resume: continue the stopped run in `work`.
        restart: throw away a stopped run in `work`.
        prepared: the result of `prepare`, to share it between runs; None calls it.

    Raises:
        ResumeError: `work` holds a stopped run and neither `resume` nor `restart` is set, or there is none to resume.
        DataError: the corpus cannot be split.
    """
    started = time.monotonic()
    keras.utils.set_random_seed(config.seed)
    identity = run_identity(config, corpus)
    open_work_folder(work, identity, resume=resume, restart=restart)

    # Split, tokenize, train word vectors.
    if prepared is None:
        prepared = prepare(config, corpus, vectors_file=work / VECTORS_FILE, progress=progress)
    tokenizer, validation, test = prepared.tokenizer, prepared.validation, prepared.test

    # Build and fit the classifier.
    architecture = config.classifier(vocabulary_size=tokenizer.vocabulary_size, labels=len(corpus.label_names))
    model = build_classifier(architecture)
    if prepared.vectors is not None:
        model.get_layer(EMBEDDING).set_weights([prepared.vectors])
    if config.ngrams:
        start_at_naive_bayes(model, config.ngrams, prepared.train.ids, prepared.train.labels)
    fit = Fit(model, config, prepared.train, validation, Checkpoint(work / CHECKPOINT_FILE))
    processor_started = time.process_time()
    fit.run(progress, resume=resume)
    fit_seconds = time.process_time() - processor_started

    # Calibrate on validation, then measure on the test set, once.
    forward = for_prediction(model)
    validation_logits = predict_logits(forward, validation.ids)
    temperature = fit_temperature(validation_logits, validation.labels)
    scores = probabilities(predict_logits(forward, test.ids), temperature)  # [texts, labels]
    progress.say("measuring the faithfulness of the weights")
    trust = _faithfulness(forward, test, temperature, config.seed)

    # Save it with its report.
    report = work / "report"
    write_report(
        report,
        history=fit.state.history,
        counts=confusion(scores, test.labels),
        label_names=corpus.label_names,
        bins=reliability(scores, test.labels),
        examples=_pick_examples(corpus, prepared, scores, forward),
    )
    card = save_bundle(
        out,
        model=model,
        tokenizer=tokenizer,
        config=architecture,
        labels=corpus.label_names,
        max_tokens=config.data.max_tokens,
        temperature=temperature,
        data=_describe_data(corpus, prepared.splits, identity["data"]),
        training={
            "config": identity["config"],
            "history": fit.state.history,
            "minutes": round((time.monotonic() - started) / 60, 1),
            "fit_processor_seconds": round(fit_seconds, 1),
            "resumed": resume,
        },
        metrics={
            "validation": measure(probabilities(validation_logits, temperature), validation.labels),
            "test": measure(scores, test.labels),
        },
        faithfulness=trust,
        report=report,
    )
    if card.without_onnx:
        progress.say(f"no model for ONNX Runtime: {card.without_onnx}")
    shutil.rmtree(work)
    return card


def _faithfulness(forward: keras.Model, test: EncodedTexts, temperature: float, seed: int) -> dict[str, Any]:
    """Measure how faithful weights and contributions are, on test texts drawn by `seed`."""
    readable = np.flatnonzero(test.lengths > 0)
    drawn = np.random.default_rng(seed).permutation(readable)[:FAITHFULNESS_TEXTS]
    ids = [test.ids[position] for position in drawn]
    rankings: dict[str, list[np.ndarray]] = {}
    for one in ids:
        outputs = predict_tokens(forward, one)
        rankings.setdefault("attention", []).append(outputs["attention"])
        if "contributions" in outputs:
            logits = outputs["logits"]
            # With two labels contributions are those to label 1: negate them if label 0 wins.
            sign = -1.0 if len(logits) == 2 and logits.argmax() == 0 else 1.0
            rankings.setdefault("contributions", []).append(sign * outputs["contributions"])
    return faithfulness(
        lambda texts: probabilities(predict_logits(forward, texts), temperature), ids, rankings, seed=seed
    )


def _pick_examples(corpus: Corpus, prepared: Prepared, scores: np.ndarray, forward: keras.Model) -> list[Example]:
    """Pick test texts of readable length, spread over the range of confidence, right and wrong ones alike."""
    texts, encoded = prepared.splits.test, prepared.test
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
                encoding=prepared.tokenizer.encode(texts.texts[position], len(encoded.ids[position])),
                weights=outputs["attention"],
                contributions=outputs.get("contributions"),
            )
        )
    return examples


def _describe_data(corpus: Corpus, splits: Splits, fingerprint: str) -> dict[str, Any]:
    return {
        "source": corpus.source,
        "fingerprint": fingerprint,
        "train": label_counts(splits.train.labels, corpus.label_names),
        "validation": label_counts(splits.validation.labels, corpus.label_names),
        "test": label_counts(splits.test.labels, corpus.label_names),
        "unlabelled": len(splits.unlabelled),
        "duplicates": splits.left_out,
    }
