"""Random inputs for the kernels, for a sanitised build: `python -m tests.models.native.fuzz --texts 100000`."""

import argparse
import random
from typing import Any

import numpy as np
import orjson

from models import native
from models.native.hybrid import kernel_of
from models.native.kernel import Kernel
from models.native.text import write_tokens
from models.tokenizer import Tokenizer
from tests.models.native.random_model import random_ngrams, random_weights

PIECES = [
    *("the film", "it's", "don’t", "<br />", "<BR/>", "<br", "/>", "<", "'", " ", "\t\n", ".", "é", "İ", "ς", "中"),
    *("\x00", "\x1f", '"', "\\", "\ud800", "😀", "🇫", "\u0301", "\u200d", "\u0600", "a" * 70, " " * 70, "'a" * 40),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=100_000)
    texts = parser.parse_args().texts
    assert native.library() is not None, "the kernels are not compiled"
    chance = random.Random(1)
    for number in range(texts):
        if number % 1000 == 0:
            words = {chance.choice(PIECES).strip().lower() or "x" for _ in range(20)} | {"the", "film"}
            tokenizer = Tokenizer(sorted(words))
            kernel = random_kernel(chance)
        text = "".join(chance.choices(PIECES, k=chance.randrange(12)))
        encoding = tokenizer.encode(text, chance.choice((0, 1, 5, 1000)))
        write_json(chance, text, encoding)
        if number % 10 == 0:
            run_forward(chance, kernel)
    print(f"{texts} texts, their tokens as JSON, and {texts // 10} forward passes: no fault.")


def random_kernel(chance: random.Random) -> Kernel:
    """A kernel of states, of n-grams or of both, from random weights, some of them not finite."""
    paths = chance.choice(("states", "ngrams", "both"))
    labels, features = chance.randrange(2, 6), chance.randrange(1, 5)
    generator = np.random.default_rng(chance.randrange(1000))
    weights = random_weights(
        generator,
        kind=chance.choice(("lstm", "gru")),
        vocabulary=chance.randrange(2, 40),
        features=chance.randrange(1, 10),
        units=16 * chance.choice((1, 1, 2, 3, 6)),
        hidden=chance.randrange(1, 140),
        labels=labels,
        bias=chance.random() < 0.5,
    )
    ngrams = random_ngrams(generator, buckets=chance.choice((1, 7, 999, 70_000)), features=features, labels=labels)
    options = {"longest": chance.randint(1, 8), "scale": chance.choice((1, 10.0, 1e30))}
    config: dict[str, Any] = {"attention": {"temperature": chance.choice((1.0, 0.1, 1e-30, 1e29))}}
    if paths == "ngrams":
        weights, config = ngrams, {"mechanism": "ngram_attention", "attention": options}
    elif paths == "both":
        head = np.concatenate([weights["head_kernel"], ngrams["head_kernel"]])
        weights, config["ngrams"] = ngrams | weights | {"head_kernel": head}, options
    if chance.random() < 0.1:
        numbers = [array for array in weights.values() if array.dtype == np.float32]
        chance.choice(numbers).fill(chance.choice((np.nan, np.inf, 1e30)))
    with np.errstate(all="ignore"):
        return kernel_of(weights, config)


def run_forward(chance: random.Random, kernel: Kernel) -> None:
    lengths = [chance.choice((0, 1, 2, 9, 33)) for _ in range(chance.randrange(12))]
    texts = [np.array([chance.randint(1, kernel.largest_id) for _ in range(length)], np.int32) for length in lengths]
    with np.errstate(all="ignore"):
        outputs, _ = kernel(texts)
    assert [len(output.attention) for output in outputs] == lengths


def write_json(chance: random.Random, text: str, encoding: object) -> None:
    document = text.encode("utf-8", "replace")
    cuts = sorted(chance.randrange(len(document) + 1) for _ in range(2 * chance.randrange(8)))
    starts, ends = (np.array(cuts[first::2], np.int32) for first in (0, 1))
    weights = np.array([chance.random() ** chance.choice((1, 9, 99)) for _ in starts], np.float32)
    shares = np.array([chance.choice((1, 1e-9, 1e9, 1e30)) * chance.gauss(0, 1) for _ in starts], np.float32)
    written = write_tokens(
        document,
        places=(starts, ends),
        shown=(starts, ends),
        weights=weights,
        weight_digits=chance.randint(1, 9),
        contributions=chance.choice((None, shares)),
        temperature=chance.choice((1.0, 0.1, 1e-3)),
        contribution_decimals=chance.randint(1, 17),
        ids=np.ones(len(starts), np.int32),
        unknown_id=1,
    )
    if written is not None and b"\xff" not in document:
        try:
            written.decode()
        except UnicodeDecodeError:  # a cut in the middle of a character
            return
        assert len(orjson.loads(written)) == len(starts)


if __name__ == "__main__":
    main()
