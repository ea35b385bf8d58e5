"""Train spaCy's text categorizer on a task from standard input, and write its predictions to standard output.

It runs in an environment that has spaCy and nothing of ours. The pipe is `textcat` as it comes (bag of words and a
small network side by side), trained in batches of 32 for ten epochs or 120 seconds; the best epoch on a tenth of
the training part makes the predictions.
"""

import json
import random
import sys
import time

import spacy
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch

EPOCHS = 10
SECONDS = 120
BATCH = 32


def main() -> None:
    """Read, train, predict, write."""
    task = json.load(sys.stdin)
    fix_random_seed(task["seed"])
    labels = task["labels"]
    nlp = spacy.blank(task["language"])
    textcat = nlp.add_pipe("textcat")
    examples = [
        Example.from_dict(
            nlp.make_doc(text), {"cats": {name: float(place == label) for place, name in enumerate(labels)}}
        )
        for text, label in zip(*task["train"], strict=True)
    ]
    random.Random(task["seed"]).shuffle(examples)
    held_out, train = examples[: len(examples) // 10], examples[len(examples) // 10 :]
    for label in labels:
        textcat.add_label(label)
    optimizer = nlp.initialize(lambda: train)
    best, predicted, started = -1.0, [], time.monotonic()
    for _ in range(EPOCHS):
        random.shuffle(train)
        for batch in minibatch(train, BATCH):
            nlp.update(batch, sgd=optimizer)
        score = nlp.evaluate([Example(nlp.make_doc(one.text), one.reference) for one in held_out])["cats_macro_f"]
        if score > best:
            best = score
            predicted = [max(range(len(labels)), key=lambda i: doc.cats[labels[i]]) for doc in nlp.pipe(task["test"])]
        if time.monotonic() - started > SECONDS:
            break
    json.dump(predicted, sys.stdout)


if __name__ == "__main__":
    main()
