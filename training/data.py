"""Labelled texts: the IMDB reviews, or your own table."""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from sklearn.model_selection import train_test_split

from training.errors import DataError

IMDB_LABELS = {"neg": "negative", "pos": "positive"}
OWN_TEST_SHARE = 0.2
# Not the seed of the run: training and evaluation must hold out the same texts.
_OWN_TEST_SEED = 1


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
    """

    source: str
    label_names: tuple[str, ...]
    train: LabelledTexts
    test: LabelledTexts
    unlabelled: tuple[str, ...] = field(default=())

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


def load_corpus(path: Path, *, text_column: str = "text", label_column: str = "label") -> Corpus:
    """Load the IMDB archive or folder, or a CSV, TSV, JSONL (each also .gz) or Parquet file.

    Raises:
        DataError: it is neither, or has no labelled texts.
    """
    if path.is_dir() or path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return load_imdb(path)
    return load_table(path, text_column=text_column, label_column=label_column)


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


def load_table(path: Path, *, text_column: str, label_column: str) -> Corpus:
    """Load your own table with any number of labels, which are sorted as text.

    A fifth of the rows, stratified and always the same ones, becomes the test set.

    Raises:
        DataError: the file cannot be read, a column is missing or has an empty row, or there are fewer than 2 labels.
    """
    table = _read_table(path)
    for option, column in (("--text-column", text_column), ("--label-column", label_column)):
        if column not in table.column_names:
            raise DataError(f"{path}: expected a column {column!r} ({option}). Found columns {table.column_names}.")
        if table[column].null_count:
            row = next(i for i, value in enumerate(table[column]) if not value.is_valid)
            raise DataError(f"{path}: expected a value in every row of {column!r}. Row {row} has none.")
    texts = tuple(str(value) for value in table[text_column].to_pylist())
    names = [str(value) for value in table[label_column].to_pylist()]
    label_names = tuple(sorted(set(names)))
    if len(label_names) < 2:
        raise DataError(f"{path}: expected at least 2 labels in {label_column!r}. Found {list(label_names)}.")
    index = {name: position for position, name in enumerate(label_names)}
    whole = LabelledTexts(texts, np.array([index[name] for name in names], dtype=np.int32))
    train, test = _split(whole, OWN_TEST_SHARE, _OWN_TEST_SEED, path)
    return Corpus(path.name, label_names, train, test)


def split_corpus(corpus: Corpus, *, validation_share: float, seed: int) -> Splits:
    """Hold out a validation set, the same for the same seed, and remove duplicates of held-out texts from train.

    Raises:
        DataError: a label has too few texts to split.
    """
    train, validation = _split(corpus.train, validation_share, seed, Path(corpus.source))
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


def _split(whole: LabelledTexts, share: float, seed: int, path: Path) -> tuple[LabelledTexts, LabelledTexts]:
    """Split in two, stratified by label; the second part gets `share` of the texts."""
    try:
        first, second = train_test_split(
            np.arange(len(whole)), test_size=share, random_state=seed, stratify=whole.labels
        )
    except ValueError as error:
        raise DataError(f"{path}: cannot be split with {share:.0%} held out: {error}") from error
    return whole.take(np.sort(first)), whole.take(np.sort(second))


def _key(text: str) -> bytes:
    """Return a key that is equal for texts that differ in case and white space alone."""
    return hashlib.blake2b(" ".join(text.lower().split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _read_table(path: Path) -> pa.Table:
    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            return pa.parquet.read_table(path)
        if name.endswith((".csv", ".tsv")):
            with pa.input_stream(path) as stream:
                return pa.csv.read_csv(
                    stream,
                    parse_options=pa.csv.ParseOptions(
                        delimiter="\t" if name.endswith(".tsv") else ",", newlines_in_values=True
                    ),
                    convert_options=pa.csv.ConvertOptions(strings_can_be_null=True),
                )
        if name.endswith((".jsonl", ".ndjson")):
            with pa.input_stream(path) as stream:
                return pa.json.read_json(stream)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    raise DataError(
        f"{path}: expected the IMDB archive or folder, or a .csv, .tsv, .jsonl or .parquet file. Received neither."
    )


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
