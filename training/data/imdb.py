"""Load the IMDB reviews."""

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from training import DataError
from training.data.corpus import Corpus, LabelledTexts

IMDB_LABELS = {"neg": "negative", "pos": "positive"}
_UNLABELLED = "unsup"

Reviews = dict[str, list[tuple[str, str]]]
"""The names and texts of reviews, by label, in the order of the names."""


def load_imdb(path: Path) -> Corpus:
    """Load the training part of the Large Movie Review Dataset (Maas et al. 2011), from its archive or its folder.

    Its test part is not read: see `load_imdb_test`.

    Raises:
        DataError: reviews are missing, or are not UTF-8.
    """
    reviews = _read(path, "train")
    unlabelled = reviews.get(_UNLABELLED, [])
    names = [name for part in (*(reviews[label] for label in IMDB_LABELS), unlabelled) for name, _ in part]
    return Corpus(
        "IMDB",
        tuple(IMDB_LABELS.values()),
        _labelled(reviews),
        None,
        tuple(text for _, text in unlabelled),
        names=tuple(names),
    )


def load_imdb_test(path: Path) -> LabelledTexts:
    """Load the test part from the archive or the folder.

    Raises:
        DataError: reviews are missing, or are not UTF-8.
    """
    return _labelled(_read(path, "test"))


def _labelled(reviews: Reviews) -> LabelledTexts:
    counts = [len(reviews[label]) for label in IMDB_LABELS]
    texts = tuple(text for label in IMDB_LABELS for _, text in reviews[label])
    return LabelledTexts(texts, np.repeat(np.arange(2, dtype=np.int32), counts))


def _read(path: Path, part: str) -> Reviews:
    """Read one part, `train` or `test`; no file of the other one is decoded, or opened in a folder."""
    reviews: Reviews = {}
    for name, content in _files_of_folder(path, part) if path.is_dir() else _files_of_archive(path, part):
        steps = PurePosixPath(name).parts[-3:]
        try:
            reviews.setdefault(steps[1], []).append(("/".join(steps), content.decode("utf-8")))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: {name}: expected UTF-8. {error}.") from error
    if missing := [f"{part}/{label}" for label in IMDB_LABELS if label not in reviews]:
        raise DataError(
            f"{path}: expected the layout of the IMDB archive, {{train,test}}/{{pos,neg}}/*.txt. Found no {missing}. "
            "Pass the archive, or the folder aclImdb that it unpacks to."
        )
    return {label: sorted(found) for label, found in reviews.items()}


def _is_of(part: str, name: str) -> bool:
    """Return whether a file such as aclImdb/train/pos/123_8.txt holds a review of `part`."""
    steps = PurePosixPath(name).parts[-3:]
    labels = (*IMDB_LABELS, _UNLABELLED)
    return len(steps) == 3 and steps[0] == part and steps[1] in labels and steps[2].endswith(".txt")


def _files_of_folder(path: Path, part: str) -> Iterator[tuple[str, bytes]]:
    for file in path.rglob("*.txt"):
        name = file.relative_to(path.parent).as_posix()
        if _is_of(part, name):
            yield name, file.read_bytes()


def _files_of_archive(path: Path, part: str) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() and _is_of(part, member.name) else None
                if stream is not None:
                    yield member.name, stream.read()
            # tarfile accepts an archive that was cut between two members; a complete one ends with a block of zeros.
            archive.fileobj.seek(archive.offset)
            if archive.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                raise tarfile.ReadError("it is cut off")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise DataError(
            f"{path}: expected a complete tar archive. {error}. If it was downloaded, download it again."
        ) from error
