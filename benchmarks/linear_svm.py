"""Measure a baseline: TF-IDF and a linear support vector machine, trained in half a minute.

    .venv/bin/python -m benchmarks.linear_svm --data aclImdb_v1.tar.gz

Prints test accuracy for word pairs and for word triples.
"""

import argparse
import time
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from training.data.load import load_corpus, load_test


def main() -> None:
    """Train and print the test accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    corpus, test = load_corpus(data), load_test(data)
    for longest in (2, 3):
        started = time.monotonic()
        classifier = make_pipeline(
            TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", ngram_range=(1, longest), min_df=2, sublinear_tf=True),
            LinearSVC(random_state=1),
        )
        classifier.fit(corpus.train.texts, corpus.train.labels)
        accuracy = classifier.score(test.texts, test.labels)
        seconds = time.monotonic() - started
        print(f"words up to {longest} in a row: test accuracy {accuracy:.4f}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
