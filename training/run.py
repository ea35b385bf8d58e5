"""A whole training run, from texts to a bundle."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.bundle.store import BundleCard, save_bundle
from models.calibration import fit_temperature, probabilities
from models.explain import faithfulness
from models.tokenizer import RULES, Tokenizer
from training.batches import EncodedTexts, for_prediction, predict_logits, predict_tokens
from training.checkpoint import VECTORS_FILE, holds_run, open_work_folder
from training.config import TrainConfig
from training.data.corpus import Corpus, LabelledTexts, label_counts
from training.data.exclusion import EXCLUDED_FILE, leave_out
from training.data.splits import Splits
from training.fit import label_weights
from training.fitting.members import fit_classifier
from training.fitting.teaching import identity_of, read_teachers, teach
from training.measuring.metrics import measure, measure_labels, reliability
from training.measuring.picture import Example
from training.measuring.report import Report, write_report
from training.measuring.warnings import find_warnings
from training.prepare import Prepared, prepare
from training.progress import Progress

EXAMPLES = 4
FAITHFULNESS_TEXTS = 300


def run_identity(config: TrainConfig, corpus: Corpus) -> dict[str, Any]:
    """Return what a stopped run must have in common with the run that resumes it, given what `leave_out` returns."""
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
        ResumeError: `work` holds a stopped run but neither `resume` nor `restart` is set, or `resume` is set but `work`
            holds no run.
        DataError: the corpus cannot be split, or does not hold a text that is to be left out.
        ConfigError: a label in `class_weight` is unknown, or a teacher does not fit.
    """
    started = time.monotonic()
    keras.utils.set_random_seed(config.seed)
    corpus = leave_out(corpus, config.data.exclude_file)
    identity = run_identity(config, corpus)
    teachers = read_teachers(config, corpus.label_names, identity["data"])
    if teachers:
        identity["teachers"] = [identity_of(teacher) for teacher in teachers]
    label_weights(config, corpus.train.labels, corpus.label_names)  # refuses unknown labels before all else
    open_work_folder(work, identity, resume=resume, restart=restart)

    # Split, tokenize, measure baselines, train word vectors.
    if prepared is None:
        prepared = prepare(config, corpus, vectors_file=work / VECTORS_FILE, progress=progress)
    tokenizer = prepared.tokenizer
    part, texts, encoded = prepared.measured

    # Build and fit the classifier.
    architecture = config.classifier(vocabulary_size=tokenizer.vocabulary_size, labels=len(corpus.label_names))

    def train_teacher(teacher: TrainConfig, folder: Path) -> None:
        own = folder.with_name(f".{folder.name}.training")
        shared = prepared if _has_vectors_of(teacher, config) else None
        train(teacher, corpus, folder, work=own, resume=holds_run(own), progress=progress, prepared=shared)

    taught = teach(config, teachers, prepared, corpus.label_names, work, train_teacher, progress)
    learned = replace(prepared, train=taught.texts, start=taught.start)
    fitted = fit_classifier(config, corpus.label_names, learned, work, resume=resume, progress=progress)

    # Calibrate on validation, then measure: on a test part of the corpus' own, once, or else on validation.
    forward = for_prediction(fitted.model)
    temperature = fit_temperature(fitted.logits, fitted.labels)
    held_out = probabilities(fitted.logits, temperature)  # [texts, labels]
    scores = held_out if prepared.test is None else probabilities(predict_logits(forward, encoded.ids), temperature)
    figures = measure(scores, encoded.labels) | measure_labels(scores, encoded.labels, corpus.label_names)
    progress.say("measuring the faithfulness of the weights")
    trust = {"part": part} | _faithfulness(forward, encoded, temperature, config.seed)
    metrics = {
        "validation": measure(held_out, fitted.labels),
        "validation" if prepared.test is None else "test": figures,
        "baselines": prepared.baselines,
    }
    rows = label_counts(corpus.all_labelled().labels, corpus.label_names)
    warnings = find_warnings(metrics, rows, trust)
    data = _describe_data(corpus, prepared.splits, identity["data"])

    # Save it with its report.
    folder = work / "report"
    report = Report(
        name=out.name,
        mechanism=architecture.mechanism,
        labels=corpus.label_names,
        metrics=metrics,
        faithfulness=trust,
        warnings=warnings,
        data=data,
        history=fitted.history,
        bins=reliability(scores, encoded.labels),
        examples=_pick_examples(texts, encoded, tokenizer, corpus.label_names, scores, forward),
    )
    write_report(folder, report)
    if corpus.excluded is not None:
        (folder / EXCLUDED_FILE).write_text("\n".join(corpus.excluded.names) + "\n", encoding="utf-8")
    card = save_bundle(
        out,
        model=fitted.model,
        tokenizer=tokenizer,
        config=architecture,
        labels=corpus.label_names,
        max_tokens=config.data.max_tokens,
        temperature=temperature,
        data=data,
        training={
            "config": identity["config"],
            "history": fitted.history,
            "vectors": prepared.coverage,
            "taught": taught.facts,
            "rounding": fitted.rounding,
            "cross_validated": not len(prepared.validation.labels),
            "minutes": round((time.monotonic() - started) / 60, 1),
            "fit_processor_seconds": round(fitted.processor_seconds, 1),
            "resumed": resume,
        },
        metrics=metrics,
        faithfulness=trust,
        warnings=warnings,
        report=folder,
    )
    if card.without_onnx:
        progress.say(f"no model for ONNX Runtime: {card.without_onnx}")
    shutil.rmtree(work)
    return card


def _has_vectors_of(teacher: TrainConfig, config: TrainConfig) -> bool:
    """Return whether a teacher can use the word vectors of a run, or uses none."""
    sizes = {each.classifier(vocabulary_size=3, labels=2).embedding_dim for each in (teacher, config)}
    return not teacher.vectors or (teacher.vectors == config.vectors and len(sizes) == 1)


def _faithfulness(forward: keras.Model, texts: EncodedTexts, temperature: float, seed: int) -> dict[str, Any]:
    """Measure how faithful weights and contributions are, on texts drawn by `seed`."""
    readable = np.flatnonzero(texts.lengths > 0)
    drawn = np.random.default_rng(seed).permutation(readable)[:FAITHFULNESS_TEXTS]
    ids = [texts.ids[position] for position in drawn]
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


def _pick_examples(
    texts: LabelledTexts,
    encoded: EncodedTexts,
    tokenizer: Tokenizer,
    label_names: tuple[str, ...],
    scores: np.ndarray,
    forward: keras.Model,
) -> list[Example]:
    """Pick texts of readable length, spread over the range of confidence, right and wrong ones alike."""
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
                truth=label_names[texts.labels[position]],
                label=label_names[winner],
                probability=float(scores[position, winner]),
                encoding=tokenizer.encode(texts.texts[position], len(encoded.ids[position])),
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
        **({} if splits.test is None else {"test": label_counts(splits.test.labels, corpus.label_names)}),
        "unlabelled": len(splits.unlabelled),
        "duplicates": splits.left_out,
        **({"excluded": corpus.excluded.facts()} if corpus.excluded else {}),
    }
