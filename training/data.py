"""Labelled texts: the IMDB reviews, or your own table."""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from sklearn.model_selection import train_test_split

from models.tables.columns import Chosen
from models.tables.errors import TableError
from models.tables.source import EncodingFault
from models.tables.table import AS_NAMED, Spelling, open_reader, table_at
from training import DataError

IMDB_LABELS = {"neg": "negative", "pos": "positive"}
OWN_TEST_SHARE = 0.2
# Not the seed of the run: training and evaluation must hold out the same texts.
_OWN_TEST_SEED = 1
_ROWS_SHOWN = 10
_LABELS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Texts and their labels, int32[texts]."""

    texts: tuple[str, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, positions: np.ndarray) -> "LabelledTexts":
        """Return the texts at `positions`, in that order."""
        return LabelledTexts(tuple(self.texts[i] for i in positions), self.labels[positions])


@dataclass(frozen=True, slots=True)
class Corpus:
    """Data to train and test on.

    Attributes:
        source: name of the file or data set.
        label_names: names of labels 0, 1, ...
        train: texts to learn from, validation included.
        test: texts that are measured once.
        unlabelled: further texts, for word vectors.
        notes: what to tell of the rows that were read, such as those left out.
    """

    source: str
    label_names: tuple[str, ...]
    train: LabelledTexts
    test: LabelledTexts
    unlabelled: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    def all_labelled(self) -> LabelledTexts:
        """Return the texts to learn from and those of the test set."""
        return LabelledTexts(self.train.texts + self.test.texts, np.concatenate([self.train.labels, self.test.labels]))

    def fingerprint(self) -> str:
        """Return a short hash of every text and label, in order."""
        digest = hashlib.sha256()
        for part in (self.train, self.test):
            digest.update(np.asarray(part.labels, dtype="<i4").tobytes())
            for text in part.texts:
                digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Splits:
    """A split corpus; no training or unlabelled text is a duplicate of a validation or test text.

    Attributes:
        left_out: counts of duplicates, by where they were; texts that differ in case and white space alone count.
    """

    train: LabelledTexts
    validation: LabelledTexts
    test: LabelledTexts
    unlabelled: tuple[str, ...]
    left_out: dict[str, int]


def load_corpus(
    path: Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    spelling: Spelling = AS_NAMED,
    strict: bool = False,
    whole: bool = False,
) -> Corpus:
    """Load the IMDB archive or folder, or your own table; the arguments are those of `load_table`.

    Raises:
        DataError: it is neither, or has no labelled texts.
    """
    if path.is_dir() or path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return load_imdb(path)
    return load_table(
        path, text_column=text_column, label_column=label_column, spelling=spelling, strict=strict, whole=whole
    )


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
                parts.setdefault((steps[0], steps[1]), []).append((steps[2], content.decode("utf-8")))
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
    return Corpus("IMDB", tuple(IMDB_LABELS.values()), train, test, texts.get(("train", "unsup"), ()))


def load_table(
    path: Path,
    *,
    text_column: str,
    label_column: str,
    spelling: Spelling = AS_NAMED,
    strict: bool = False,
    whole: bool = False,
) -> Corpus:
    """Load your own table with any number of labels, which are sorted as text.

    A fifth of the rows, stratified and always the same ones, becomes the test set. Labels are stripped of white space.

    Args:
        path: the file.
        text_column: column of the texts.
        label_column: column of the labels.
        spelling: how a text format is spelled.
        strict: whether to refuse a table with a row that has no text or label, instead of leaving the row out.
        whole: whether the table is used as a whole: one that cannot be split is all test set then.

    Raises:
        DataError: the file cannot be read or decoded, lacks a column, has no row, or cannot be split.
    """
    try:
        texts, labels, notes = _read_rows(path, text_column, label_column, spelling, strict)
    except TableError as error:
        raise DataError(str(error)) from error
    label_names = tuple(sorted(set(labels)))
    if len(label_names) < (1 if whole else 2):
        raise DataError(
            f"{path}: expected {'a label' if whole else 'at least 2 labels'} in {label_column!r}. "
            f"Found {list(label_names)}." + "".join(f" {note}" for note in notes)
        )
    index = {name: position for position, name in enumerate(label_names)}
    rows = LabelledTexts(tuple(texts), np.array([index[name] for name in labels], dtype=np.int32))
    try:
        train, test = _split(rows, label_names, OWN_TEST_SHARE, _OWN_TEST_SEED, path)
    except DataError:
        if not whole:
            raise
        train, test = rows.take(np.arange(0)), rows
    return Corpus(path.name, label_names, train, test, notes=tuple(notes))


def _read_rows(
    path: Path, text_column: str, label_column: str, spelling: Spelling, strict: bool
) -> tuple[list[str], list[str], list[str]]:
    """Return the texts and labels of a table, and notes on what was left out or trimmed."""
    texts: list[str] = []
    labels: list[str] = []
    left_out: list[str] = []
    trimmed = 0
    table = table_at(str(path))
    chosen = Chosen(text_column, "--text-column"), Chosen(label_column, "--label-column")
    row = "Row" if table.kind == "parquet" else "Line"
    with closing(open_reader(table, *chosen, spelling=spelling)) as reader:
        for window in reader.windows():
            for text, label, fault, line in zip(window.texts, window.labels, window.faults, window.lines, strict=True):
                if fault is not None:
                    if strict or isinstance(fault, EncodingFault):
                        raise DataError(f"{path}: {row.lower()} {line}: {fault}")
                    left_out.append(f"{row.lower()} {line} ({fault.removesuffix('.')})")
                    continue
                assert text is not None
                assert label is not None
                texts.append(text)
                labels.append(label.strip())
                trimmed += labels[-1] != label
    notes = list(reader.warnings)
    if left_out:
        shown = "; ".join(left_out[:_ROWS_SHOWN]) + ("; ..." if len(left_out) > _ROWS_SHOWN else "")
        rows = len(left_out) + len(texts)
        notes.append(f"{path}: left out {len(left_out):,} of {rows:,} rows: {shown}. --strict refuses them.")
    if trimmed:
        notes.append(f"{path}: trimmed white space around {trimmed:,} labels.")
    folded: dict[str, set[str]] = {}
    for label in set(labels):
        folded.setdefault(label.casefold(), set()).add(label)
    for alike in folded.values():
        if len(alike) > 1:
            notes.append(f"{path}: {sorted(alike)} differ in case alone, and are labels of their own.")
    return texts, labels, notes


def split_corpus(corpus: Corpus, *, validation_share: float, seed: int) -> Splits:
    """Hold out a validation set, the same for the same seed, and remove duplicates of held-out texts from train.

    A share of 0 holds out none.

    Raises:
        DataError: a label has too few texts to split.
    """
    if validation_share:
        train, validation = _split(corpus.train, corpus.label_names, validation_share, seed, Path(corpus.source))
    else:
        train, validation = corpus.train, corpus.train.take(np.arange(0))
    test_keys = {_key(text) for text in corpus.test.texts}
    held_out = test_keys | {_key(text) for text in validation.texts}
    train_keys = [_key(text) for text in train.texts]
    kept = np.array([i for i, key in enumerate(train_keys) if key not in held_out], dtype=np.int64)
    unlabelled = tuple(text for text in corpus.unlabelled if _key(text) not in held_out)
    left_out = {
        "train_in_test": sum(key in test_keys for key in train_keys),
        "train_in_validation_or_test": len(train) - len(kept),
        "validation_in_test": sum(_key(text) in test_keys for text in validation.texts),
        "unlabelled_in_validation_or_test": len(corpus.unlabelled) - len(unlabelled),
        "twice_in_train": len(train_keys) - len(set(train_keys)),
        "twice_in_test": len(corpus.test) - len(test_keys),
    }
    return Splits(train.take(kept), validation, corpus.test, unlabelled, left_out)


def _split(
    whole: LabelledTexts, label_names: Sequence[str], share: float, seed: int, path: Path
) -> tuple[LabelledTexts, LabelledTexts]:
    """Split in two, stratified by label; the second part gets `share` of the texts."""
    try:
        first, second = train_test_split(
            np.arange(len(whole)), test_size=share, random_state=seed, stratify=whole.labels
        )
    except ValueError as error:
        counts = sorted(label_counts(whole.labels, label_names).items(), key=lambda each: each[1])
        fewest = ", ".join(f"{name!r} {count}" for name, count in counts[:_LABELS_SHOWN])
        raise DataError(
            f"{path}: cannot be split with {share:.0%} held out: each part needs a text of every label. "
            f"Labels with the fewest texts: {fewest}. Add texts, or leave out rare labels."
        ) from error
    return whole.take(np.sort(first)), whole.take(np.sort(second))


def _key(text: str) -> bytes:
    """Return a key that is equal for texts that differ in case and white space alone."""
    return hashlib.blake2b(" ".join(text.lower().split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()


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


def label_counts(labels: Iterable[int], names: Sequence[str]) -> dict[str, int]:
    """Return the number of texts of each label."""
    counts = np.bincount(np.fromiter(labels, dtype=np.int64), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))
