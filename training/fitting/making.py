"""Texts that are made rather than found, whose verdict follows from their words: English, label 1 the positive one."""

from collections.abc import Sequence

import numpy as np

from training.config import TeachingConfig
from training.data.corpus import LabelledTexts
from training.robustness.frames import TARGETS
from training.robustness.lexicon import Lexicon, learn_lexicon
from training.robustness.sentences import asides
from training.robustness.taught import TRAINING
from training.robustness.templates import make_examples
from training.robustness.turned import flip, is_neutral, negate

Made = tuple[list[str], np.ndarray]
"""Texts, and float32[texts], P(positive) to teach."""

_LEAST_FLIPS = 2
_SURE_BY_FLIP, _SUREST = 0.06, 0.9  # how sure a label is for each antonym in a long text
_SHRUNK = 0.8  # a sentence with antonyms is turned round this far


def make_texts(
    teaching: TeachingConfig,
    train: LabelledTexts,
    sentences: Sequence[str],
    positive: np.ndarray,
    generator: np.random.Generator,
) -> dict[str, Made]:
    """Make the texts that `teaching` asks for.

    Args:
        teaching: says how many of each kind.
        train: labelled texts, from which the lexicon is learned and whose polar words are replaced.
        sentences: to turn round.
        positive: float32[sentences], their P(positive).
        generator: the same texts for the same state.

    Returns:
        the texts of each kind: templates, turned sentences, flipped texts.

    Raises:
        DataError: no adjectives lean to either label.
    """
    made: dict[str, Made] = {}
    if teaching.templates or teaching.turned:
        lexicon = learn_lexicon(train.texts, train.labels)
        made["templates"] = _templates(lexicon, train.texts, teaching.templates, generator)
        made["turned"] = _turned(lexicon, sentences, positive, teaching.turned, generator)
    if teaching.flipped:
        made["flipped"] = _flipped(train, teaching.flipped, generator)
    return made


def _templates(lexicon: Lexicon, texts: Sequence[str], number: int, generator: np.random.Generator) -> Made:
    """Make sentences out of frames; what is put between their words are neutral asides of `texts`, too."""
    judging = {*lexicon.positive, *lexicon.negative}
    neutral = [aside for aside in asides(texts) if is_neutral(aside) and judging.isdisjoint(aside.split())]
    family = TRAINING._replace(fillers=(*TRAINING.fillers, *neutral))
    examples = make_examples(list(lexicon.positive), list(lexicon.negative), number, generator, family=family)
    return [example.text for example in examples], np.array([example.target for example in examples], np.float32)


def _turned(
    lexicon: Lexicon, sentences: Sequence[str], positive: np.ndarray, number: int, generator: np.random.Generator
) -> Made:
    """Negate sentences with one judgement, and put antonyms into others."""
    adjectives = dict.fromkeys(lexicon.positive, TARGETS["negated"][0])
    adjectives |= dict.fromkeys(lexicon.negative, TARGETS["negated"][1])
    texts: list[str] = []
    targets: list[float] = []
    for place in generator.permutation(len(sentences)):
        if len(texts) == number:
            break
        sentence = sentences[place]
        polar = [word for word in sentence.lower().replace(".", " ").replace(",", " ").split() if word in adjectives]
        negated = negate(sentence, polar, generator) if len(polar) == 1 else None
        flipped, flips = flip(sentence, generator)
        if negated is not None and (not flips or generator.random() < 0.5):
            texts.append(negated)
            targets.append(adjectives[polar[0]])
        elif flips:
            texts.append(flipped)
            targets.append(0.5 + _SHRUNK * (0.5 - float(positive[place])))
    return texts, np.array(targets, np.float32)


def _flipped(train: LabelledTexts, number: int, generator: np.random.Generator) -> Made:
    """Put antonyms into labelled texts; the more there are in it, the surer the opposite label."""
    texts: list[str] = []
    targets: list[float] = []
    for place in generator.permutation(len(train.labels)):
        if len(texts) == number:
            break
        flipped, flips = flip(train.texts[place], generator)
        if flips >= _LEAST_FLIPS:
            sure = min(0.5 + _SURE_BY_FLIP * flips, _SUREST)
            texts.append(flipped)
            targets.append(1 - sure if train.labels[place] else sure)
    return texts, np.array(targets, np.float32)
