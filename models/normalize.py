"""Normalize a text for looking its words up, and map each character back to the original."""

import html
import sys
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np
import regex

from models.token_rules import CODES, WHOLE

_APOSTROPHES = "`´\u1ffd‘’ʻʼ′＇"
_TO_ASCII = str.maketrans(dict.fromkeys(_APOSTROPHES, "'"))
_DOTTED_I = "i\u0307"  # the Turkish capital, case-folded
_EMOJI = regex.compile(r"\p{Extended_Pictographic}")

_ENTITY = regex.compile(r"&(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});")

# Invisible characters, except inside an emoji sequence.
_IGNORED = regex.compile(
    r"(?:[\p{Default_Ignorable_Code_Point}--[\u200d\U000e0020-\U000e007f]]"
    r"|\u200d(?!(?<=\p{Extended_Pictographic}[\p{Emoji_Modifier}\ufe0f]?\u200d)\p{Extended_Pictographic}))+",
    regex.V1,
)
_CONTROL = regex.compile(r"\p{Grapheme_Cluster_Break=Control}")

# A letter with the marks that it may be composed with, or that may change places: at most 30 of them, as in Unicode's
# stream-safe format, since sorting takes time in their square. Symbols are composed with one mark alone.
_MARK = r"[\P{Canonical_Combining_Class=0}\p{NFC_QC=Maybe}]"
_MARKED = regex.compile(rf"\S\u0338(?!{_MARK})|\w?{_MARK}{{1,30}}+", regex.V1)


class Places(NamedTuple):
    """Spans in the original text, one for each normalized character.

    Attributes:
        starts: int32[characters].
        ends: int32[characters], exclusive.
    """

    starts: np.ndarray
    ends: np.ndarray


def normalize(text: str) -> tuple[str, Places | None]:
    """Return `text` as `token_rules.SECOND` reads it, and its places; None if no character moved.

    Decodes HTML entities, turns apostrophes into ', drops ignorable characters, and composes (NFKC) and case-folds the
    rest, unless one character would become several tokens.
    """
    places = None
    if "&" in text:
        text, places = _replace(text, places, _ENTITY, _character)
    if text.isascii():
        return text.replace("`", "'").lower(), places
    tables = _tables()
    codes, needs = tables.read(text)
    if needs & _IGNORABLE:
        text, places = _replace(text, places, _IGNORED, lambda found: "")
        codes, needs = tables.read(text)
    if needs & _MARKS and not unicodedata.is_normalized("NFC", text):
        text, places = _replace(text, places, _MARKED, _normal_form)
        codes, needs = tables.read(text)
    text = tables.fold(codes)
    if needs & _GROWING:
        text, places = _replace(text, places, tables.growing, _normal_form)
    if needs & _MARKS and (_DOTTED_I in text or not unicodedata.is_normalized("NFC", text)):
        text, places = _replace(text, places, _MARKED, _normal_form)
    return text, places


def _character(entity: str) -> str:
    found = html.unescape(entity)
    return found if len(found) == 1 else entity


def _fold(text: str) -> str:
    composed = unicodedata.normalize("NFKC", text.translate(_TO_ASCII)).casefold().replace(_DOTTED_I, "i")
    return unicodedata.normalize("NFKC", composed).translate(_TO_ASCII)


@lru_cache(4096)
def _normal_form(written: str) -> str:
    folded = _fold(written)
    return folded if len(folded) == 1 or WHOLE.fullmatch(folded) else written


def _replace(
    text: str, places: Places | None, pattern: regex.Pattern[str], replacement: Callable[[str], str]
) -> tuple[str, Places | None]:
    """Replace what `pattern` finds, and return the new text with the places of its characters."""
    pieces: list[str] = []
    kept = 0
    counts, ends = np.ones(len(text), np.int32), np.arange(1, len(text) + 1, dtype=np.int32)
    for found in pattern.finditer(text):
        old, (start, end) = found.group(), found.span()
        new = replacement(old)
        if new == old:
            continue
        pieces += text[kept:start], new
        counts[start:end], kept = 0, end
        counts[start], ends[start] = len(new), end
        if start and not new and not _CONTROL.match(text, start):  # it belongs to the grapheme before it
            ends[start - 1] = end
    if not pieces:
        return text, places
    new_places = Places(np.arange(len(text), dtype=np.int32).repeat(counts), ends.repeat(counts))
    if places:
        new_places = Places(places.starts[new_places.starts], places.ends[new_places.ends - 1])
    return "".join([*pieces, text[kept:]]), new_places


class _Tables(NamedTuple):
    """Normalization of single code points.

    Attributes:
        needs: uint8[code points], the steps that a text with it needs.
        folded: uint32[code points], the code point to look up in its place.
        growing: matches code points that become several.
    """

    needs: np.ndarray
    folded: np.ndarray
    growing: regex.Pattern[str]

    def read(self, text: str) -> tuple[np.ndarray, int]:
        """Return the code points of a text, uint32[characters], and the steps that it needs."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        return codes, int(np.bitwise_or.reduce(self.needs[codes]))

    def fold(self, codes: np.ndarray) -> str:
        """Return the text with each code point replaced by its normal form."""
        return self.folded[codes].tobytes().decode("utf-32-le", "surrogatepass")


_IGNORABLE, _MARKS, _GROWING = 1, 2, 4


@cache
def _tables() -> _Tables:
    every = "".join(map(chr, chain(range(CODES), range(0x2F800, 0x2FA20), range(0xE0000, 0xE1000))))  # all that change
    needs, folded = np.zeros(sys.maxunicode + 1, np.uint8), np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for step, letters in ((_IGNORABLE, r"\p{Default_Ignorable_Code_Point}"), (_MARKS, _MARK)):
        needs[[*map(ord, regex.findall(letters, every, regex.V1))]] = step
    growing = []
    for letter in every:
        if (letter.casefold() == letter and unicodedata.is_normalized("NFKC", letter)) or _EMOJI.match(letter):
            continue
        form = _fold(letter)
        if len(form) == 1:
            folded[ord(letter)] = ord(form)
        elif WHOLE.fullmatch(form):
            growing.append(letter)
    folded[[*map(ord, _APOSTROPHES)]] = ord("'")
    needs |= needs[folded] & _MARKS
    needs[[*map(ord, growing)]] |= _GROWING
    return _Tables(needs, folded, regex.compile(f"[{''.join(growing)}]"))
