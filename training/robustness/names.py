"""First names and gendered words of English, and texts with them swapped.

The names are common in the United States, by sex and by the group that they are most often taken to tell, as studies of
fairness list them since Bertrand and Mullainathan 2004. Names that are words too, such as Grace or Mark, are left out.
"""

import re
from collections.abc import Iterator

import numpy as np

NAMES = {
    "European American": (
        "Anne Barbara Betty Carrie Claire Emily Heather Helen Jennifer Jessica Julia Karen Kate Katie Laura Linda Lisa "
        "Mary Megan Nancy Sandra Sarah Susan",
        "Brad Brendan Brett Brian Charles Daniel David Edward Geoffrey George Greg James John Kevin Matthew Michael "
        "Paul Peter Richard Robert Scott Steven Thomas",
    ),
    "African American": (
        "Aisha Ebony Imani Keisha Lakisha Latonya Latoya Nia Shanice Tamika Tanisha",
        "Darnell DeAndre Hakim Jamal Jermaine Kareem Leroy Malik Rasheed Terrell Tyrone",
    ),
    "Hispanic": (
        "Alejandra Camila Catalina Esperanza Gabriela Guadalupe Juana Maria Marisol Rosario Ximena",
        "Alejandro Carlos Diego Eduardo Fernando Jorge José Juan Luis Miguel Rafael",
    ),
    "Asian": (
        "Akiko Anjali Deepa Hana Lakshmi Linh Mei Priya Sakura Sunita Yuki",
        "Akira Arjun Haruto Hiroshi Kenji Minh Rahul Raj Ravi Sanjay Wei",
    ),
}
"""Names to swap in training: of women and of men, by group."""

PROBE_NAMES = {
    "European American": ("Allison Amanda Jill Kristen Meredith Molly", "Cody Connor Dustin Luke Neil Todd"),
    "African American": ("Deja Kiara Lakeisha Nichelle Shaniqua Tameka", "DeShawn Deion Lamar Marquise Tremayne Tyree"),
    "Hispanic": ("Consuelo Graciela Lucía Pilar Valentina Yolanda", "Andrés Emilio Javier Pablo Ricardo Santiago"),
    "Asian": ("Kavita Keiko Lan Meena Naoko Xiu", "Deepak Hyun Jin Naoki Takashi Vikram"),
}
"""Other names, to measure with."""

WOMEN, MEN = 0, 1

_PAIRS_WRITTEN = (
    "she/he herself/himself woman/man women/men girl/boy girls/boys actress/actor actresses/actors mother/father "
    "mothers/fathers mom/dad daughter/son daughters/sons sister/brother sisters/brothers wife/husband wives/husbands "
    "aunt/uncle niece/nephew grandmother/grandfather girlfriend/boyfriend girlfriends/boyfriends lady/gentleman "
    "ladies/gentlemen female/male females/males mrs/mr"
)
_PAIRS = dict(pair.split("/") for pair in _PAIRS_WRITTEN.split())
_OTHER = _PAIRS | {man: woman for woman, man in _PAIRS.items()} | {"ms": "mr", "him": "her", "hers": "his"}
FEMALE_WORDS = frozenset({*_PAIRS, "her", "hers", "ms"})
MALE_WORDS = frozenset({*_PAIRS.values(), "him", "his"})

# "Her" and "his" own the word after them, unless it is one of these: "I saw her at home", "a friend of his who left".
_OWNED = re.compile(r"""\s+["'“‘(]?([^\W\d_]+)""")
_WORDS_NOT_OWNED = (
    "a about after again all also an and are as at away back because before but by can could did do does down for from "
    "had has have how if in into is it like more most not of off on or out over so than that the then there they this "
    "through to too under until up very was we were what when where which while who why will with without would "
    "you"
)
_NOT_OWNED = frozenset(_WORDS_NOT_OWNED.split())
_WORD = re.compile(r"(?<!\b[sS]/)[^\W\d_]+")


def names_of(group: str, sex: int, names: dict[str, tuple[str, str]] = NAMES) -> list[str]:
    """Return the names of `WOMEN` or `MEN` in a group of `NAMES` or `PROBE_NAMES`."""
    return names[group][sex].split()


def all_names() -> list[str]:
    """Return every name of `NAMES`."""
    return list(_SEX)


_SEX = {name: sex for group in NAMES for sex in (WOMEN, MEN) for name in names_of(group, sex)}


def swap(text: str, generator: np.random.Generator) -> str:
    """Return `text` with random first names and, in half of all cases, every gendered word of the other sex.

    A name of `NAMES` becomes another one, of the sex that fits the words, and the same one throughout the text. Each
    word stays one word in its case. Words of both sexes trade places.
    """
    turn = bool(generator.random() < 0.5)
    names = list(dict.fromkeys(found for found in _WORD.findall(text) if found in _SEX))
    new_names = dict(zip(names, _draw_names([_SEX[name] ^ turn for name in names], generator), strict=False))

    def other(found: re.Match[str]) -> str:
        word = found.group()
        if word in new_names:
            return new_names[word]
        return _other_sex(word, text, found.end()) if turn else word

    return _WORD.sub(other, text)


def swap_words(text: str) -> str:
    """Return `text` with every gendered word of the other sex, and the names that it has."""
    return _WORD.sub(lambda found: _other_sex(found.group(), text, found.end()), text)


def _draw_names(sexes: list[int], generator: np.random.Generator) -> Iterator[str]:
    """Yield a different random name of each sex; a group has the same chance as any other."""
    used = set[str]()
    groups = list(NAMES)
    for sex in sexes:
        group = groups[generator.integers(len(groups))]
        free = [name for name in names_of(group, sex) if name not in used]
        free = free or [name for name, other in _SEX.items() if other == sex]
        used.add(name := free[generator.integers(len(free))])
        yield name


def _other_sex(word: str, text: str, end: int) -> str:
    """Return the counterpart of a word that ends at `end` of `text`, in its case; the word if it has none."""
    lowered = word.lower()
    if lowered in ("her", "his"):
        after = _OWNED.match(text, end)
        owns = after is not None and after.group(1).lower() not in _NOT_OWNED
        other = {"her": ("him", "his"), "his": ("hers", "her")}[lowered][owns]
    elif (other := _OTHER.get(lowered, "")) == "":
        return word
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
