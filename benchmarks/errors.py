"""Show where a classifier of IMDB reviews errs: by length, by rating, by confidence, and the worst mistakes.

    .venv/bin/python -m benchmarks.errors models/saved/default --data aclImdb_v1.tar.gz --worst 20

Measures on the validation part that the bundle's training held out, and prints Markdown.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from models.bundle.parts import REPORT_FOLDER
from models.bundle.store import Bundle, load_bundle
from training.batches import for_prediction, predict_tokens
from training.data.corpus import LabelledTexts
from training.data.exclusion import EXCLUDED_FILE, leave_out
from training.data.imdb import load_imdb
from training.measuring.answers import answers_of
from training.measuring.evaluate import validation_of
from training.measuring.metrics import reliability

LENGTHS = (0, 100, 150, 200, 300, 500, 1024)  # tokens
MOST_MARKED, AROUND = 5, 60  # tokens in bold, characters on either side of the first and the last


def by_group(groups: np.ndarray, right: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Yield each group, its number of texts and the share of these that were classified right."""
    for group in np.unique(groups):
        inside = groups == group
        yield int(group), int(inside.sum()), float(right[inside].mean())


def rating_of(name: str) -> int:
    """Return the stars of the review in a file such as train/pos/123_8.txt."""
    return int(PurePosixPath(name).stem.partition("_")[2])


def marked(bundle: Bundle, text: str) -> str:
    """Return an excerpt of `text`, the tokens that count most towards its label in bold."""
    encoding = bundle.tokenizer.encode(text, bundle.card.max_tokens)
    outputs = predict_tokens(for_prediction(bundle.model), encoding.ids)
    counts = outputs.get("contributions", outputs["attention"])
    if "contributions" in outputs and outputs["logits"].argmax() == 0:
        counts = -counts
    first = int(counts.argmax())
    near = np.flatnonzero(np.abs(encoding.starts - encoding.starts[first]) < 2 * AROUND)
    number = min(MOST_MARKED, -(-len(near) // 4))
    chosen = np.sort(near[np.argsort(-counts[near], kind="stable")[:number]])
    start, end = max(int(encoding.starts[chosen[0]]) - AROUND, 0), int(encoding.ends[chosen[-1]]) + AROUND
    parts, place = [], start
    for token in chosen:
        parts += [text[place : encoding.starts[token]], f"**{text[encoding.starts[token] : encoding.ends[token]]}**"]
        place = int(encoding.ends[token])
    excerpt = "".join([*parts, text[place:end]]).replace("<br />", " ").replace("|", "/")
    return f"{'…' if start else ''}{' '.join(excerpt.split())}{'…' if end < len(text) else ''}"


def report(bundle: Bundle, texts: LabelledTexts, names: Mapping[str, str], worst: int) -> Iterator[str]:
    """Yield lines of Markdown.

    Args:
        bundle: the classifier.
        texts: to measure on.
        names: of the files of texts, by text.
        worst: how many mistakes to show, the most confident first.
    """
    scores = answers_of(bundle)(texts.texts)
    right = scores.argmax(axis=1) == texts.labels
    tokens = np.array([len(bundle.tokenizer.encode(text, LENGTHS[-1]).ids) for text in texts.texts])
    yield f"{len(texts):,} reviews, {right.mean():.4f} right"
    yield from ("", "| tokens | reviews | right |", "| --- | --- | --- |")
    for place, number, accuracy in by_group(np.digitize(tokens, LENGTHS), right):
        upper = f"to {LENGTHS[place] - 1:,}" if place < len(LENGTHS) else "or more"
        yield f"| {LENGTHS[place - 1]:,} {upper} | {number:,} | {accuracy:.4f} |"
    yield from ("", "| stars | reviews | right |", "| --- | --- | --- |")
    for stars, number, accuracy in by_group(np.array([rating_of(names[text]) for text in texts.texts]), right):
        yield f"| {stars} | {number:,} | {accuracy:.4f} |"
    yield from ("", "| probability of the label, mean | reviews | right |", "| --- | --- | --- |")
    for one in reliability(scores, texts.labels):
        yield f"| {one.confidence:.3f} | {one.texts:,} | {one.accuracy:.3f} |"
    wrong = np.flatnonzero(~right)
    yield from ("", "| stars | given | the words that count most towards it |", "| --- | --- | --- |")
    for place in wrong[np.argsort(-scores[wrong].max(axis=1), kind="stable")[:worst]]:
        given = f"{bundle.card.labels[int(scores[place].argmax())]} {scores[place].max():.3f}"
        yield f"| {rating_of(names[texts.texts[place]])} | {given} | {marked(bundle, texts.texts[place])} |"


def main() -> None:
    """Print the report of a bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--worst", type=int, default=20)
    given = parser.parse_args()
    bundle, corpus = load_bundle(given.bundle), load_imdb(given.data)
    names = dict(zip(corpus.train.texts, corpus.names, strict=False))  # then come those of unlabelled texts
    excluded = given.bundle / REPORT_FOLDER / EXCLUDED_FILE
    known = leave_out(corpus, excluded) if excluded.is_file() else corpus
    for line in report(bundle, validation_of(bundle.card, known), names, given.worst):
        print(line)


if __name__ == "__main__":
    main()
