"""Load the IMDB reviews or your own table; a test part that the data publish is loaded apart."""

from contextlib import closing
from pathlib import Path

import numpy as np

from models.tables.columns import Chosen
from models.tables.errors import TableError
from models.tables.source import EncodingFault
from models.tables.table import AS_NAMED, Spelling, open_reader, table_at
from training import DataError
from training.data.corpus import Corpus, LabelledTexts
from training.data.imdb import load_imdb, load_imdb_test
from training.data.splits import split_texts

OWN_TEST_SHARE = 0.2
# Not the seed of the run: training and evaluation must hold out the same texts.
_OWN_TEST_SEED = 1
_ROWS_SHOWN = 10


def load_corpus(
    path: Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    spelling: Spelling = AS_NAMED,
    strict: bool = False,
    whole: bool = False,
) -> Corpus:
    """Load the training part of the IMDB archive or folder, or your own table; the arguments are those of `load_table`.

    Raises:
        DataError: it is neither, or has no labelled texts.
    """
    if _is_imdb(path):
        return load_imdb(path)
    return load_table(
        path, text_column=text_column, label_column=label_column, spelling=spelling, strict=strict, whole=whole
    )


def load_test(path: Path) -> LabelledTexts:
    """Load the test part of the IMDB archive or folder, or that of your own table with columns `text` and `label`.

    Raises:
        DataError: it is neither, or has no labelled texts.
    """
    if _is_imdb(path):
        return load_imdb_test(path)
    test = load_corpus(path).test
    assert test is not None
    return test


def _is_imdb(path: Path) -> bool:
    return path.is_dir() or path.name.endswith((".tar.gz", ".tgz", ".tar"))


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
        train, test = split_texts(rows, label_names, OWN_TEST_SHARE, _OWN_TEST_SEED, path)
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
