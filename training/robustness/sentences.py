"""Cut texts into sentences, by a plain rule for English."""

import re
from collections.abc import Sequence

import numpy as np

FEWEST_WORDS, MOST_WORDS = 3, 40

# A line break, or a stop before a capital letter or a digit, with a quotation mark or bracket on either side.
_END = re.compile(r"""(?:<br\s*/?>|\n)|[.!?…]["'”’)]?(?=\s+["'“‘(]?[A-Z0-9])""")
_NO_END = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|vs)|\b[A-Z])\.$")  # titles and initials
_ASIDE = re.compile(r", ([a-z][a-zI' ]{6,60}),")
_MOST_ASIDE_WORDS = 10
_WORD = re.compile(r"\w+(?:['’]\w+)*")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return the start and end of each sentence of 3 to 40 words: half-open, into `text` as it is."""
    spans = []
    start = 0
    for found in (*_END.finditer(text), None):
        stop, after = found.span() if found else (len(text), len(text))
        end = stop if text[stop:after].startswith(("<", "\n")) else after
        if found and end == after and _NO_END.search(text, max(start, end - 4), end):
            continue
        inside = text[start:end]
        start, end = end - len(inside.lstrip()), start + len(inside.rstrip())
        if FEWEST_WORDS <= len(_WORD.findall(text, start, end)) <= MOST_WORDS:
            spans.append((start, end))
        start = after
    return spans


def sample_sentences(texts: Sequence[str], number: int, generator: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Draw sentences of `texts` without replacement, each with the same chance.

    Returns:
        `number` sentences, or all if there are fewer, in the order of the texts; and int64[sentences], the position of
        the text that each is from.
    """
    spans = [sentence_spans(text) for text in texts]
    of = np.repeat(np.arange(len(texts)), [len(inside) for inside in spans])
    flat = [span for inside in spans for span in inside]
    chosen = np.sort(generator.choice(len(flat), min(number, len(flat)), replace=False))
    return [texts[of[i]][slice(*flat[i])] for i in chosen], of[chosen]


def asides(texts: Sequence[str]) -> list[str]:
    """Return what stands between two commas in `texts`, of 2 to 10 words; each once, in the order of the texts."""
    found = dict.fromkeys(aside for text in texts for aside in _ASIDE.findall(text))
    return [aside for aside in found if 2 <= len(aside.split()) <= _MOST_ASIDE_WORDS]
