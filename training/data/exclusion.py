"""Leave texts out of a corpus by name."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from training import DataError
from training.data.corpus import Corpus, Excluded, text_key

EXCLUDED_FILE = "excluded.txt"
"""The file in a bundle's report that lists the names left out."""

_OF_IMDB = re.compile(r"train/(neg|pos|unsup)/\d+_\d+\.txt")


def leave_out(corpus: Corpus, file: Path | None) -> Corpus:
    """Return a corpus without the texts that `file` names, and without any text that duplicates one of these.

    Names of IMDB reviews leave the texts of a table alone, so that a configuration for IMDB also fits a table. A corpus
    from which they were left out already is returned as it is.

    Args:
        corpus: the corpus.
        file: a name on each line, such as `train/neg/1015_2.txt`; blank lines and those that begin with # do not
            count. None leaves nothing out.

    Raises:
        DataError: the file cannot be read, or it names a text that the corpus does not hold.
    """
    if file is None:
        return corpus
    names = read_names(file)
    if corpus.excluded is not None and corpus.excluded.names == names:
        return corpus
    if not corpus.names and all(map(_OF_IMDB.fullmatch, names)):
        return corpus
    if not corpus.names:
        raise DataError(f"{file}: expected texts with names in {corpus.source}. Those of a table have none.")
    places = {name: place for place, name in enumerate(corpus.names)}
    if absent := [name for name in names if name not in places]:
        raise DataError(f"{file}: expected names of texts in {corpus.source}. It has no {absent[0]!r}.")
    texts = (*corpus.train.texts, *corpus.unlabelled)
    keys = {text_key(texts[places[name]]) for name in names}
    kept = np.array([text_key(text) not in keys for text in texts], dtype=bool)
    labelled, unlabelled = kept[: len(corpus.train)], kept[len(corpus.train) :]
    return replace(
        corpus,
        train=corpus.train.take(np.flatnonzero(labelled)),
        unlabelled=tuple(corpus.unlabelled[place] for place in np.flatnonzero(unlabelled)),
        names=tuple(corpus.names[place] for place in np.flatnonzero(kept)),
        excluded=Excluded(file.name, names, int((~labelled).sum()), int((~unlabelled).sum())),
    )


def read_names(file: Path) -> tuple[str, ...]:
    """Return the names in a file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: expected a readable file with a name on each line. {error}.") from error
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
