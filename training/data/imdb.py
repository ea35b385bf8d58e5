"""Load the IMDB reviews."""

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from training import DataError
from training.data.corpus import Corpus, LabelledTexts

IMDB_LABELS = {"neg": "negative", "pos": "positive"}


def load_imdb(path: Path) -> Corpus:
    """Load the Large Movie Review Dataset (Maas et al. 2011) from its archive or the folder it unpacks to.

    Raises:
        DataError: reviews are missing, or are not UTF-8.
    """
    files = _files_of_folder(path) if path.is_dir() else _files_of_archive(path)
    parts: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, content in files:
        # ".../aclImdb/train/pos/123_8.txt"
        steps = PurePosixPath(name).parts[-3:]
        if len(steps) != 3 or steps[0] not in ("train", "test") or not steps[2].endswith(".txt"):
            continue
        if steps[1] in ("neg", "pos", "unsup"):
            try:
                parts.setdefault((steps[0], steps[1]), []).append(("/".join(steps), content.decode("utf-8")))
            except UnicodeDecodeError as error:
                raise DataError(f"{path}: {name}: expected UTF-8. {error}.") from error
    missing = [
        f"{split}/{label}" for split in ("train", "test") for label in IMDB_LABELS if (split, label) not in parts
    ]
    if missing:
        raise DataError(
            f"{path}: expected the layout of the IMDB archive, {{train,test}}/{{pos,neg}}/*.txt. Found no {missing}. "
            "Pass the archive, or the folder aclImdb that it unpacks to."
        )
    texts = {part: tuple(text for _, text in sorted(named)) for part, named in parts.items()}
    train, test = (
        LabelledTexts(
            tuple(text for label in IMDB_LABELS for text in texts[split, label]),
            np.repeat(np.arange(2, dtype=np.int32), [len(texts[split, label]) for label in IMDB_LABELS]),
        )
        for split in ("train", "test")
    )
    names = tuple(name for label in (*IMDB_LABELS, "unsup") for name, _ in sorted(parts.get(("train", label), [])))
    return Corpus("IMDB", tuple(IMDB_LABELS.values()), train, test, texts.get(("train", "unsup"), ()), names=names)


def _files_of_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in path.rglob("*.txt"):
        yield file.relative_to(path.parent).as_posix(), file.read_bytes()


def _files_of_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
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
