"""The journal: a kill may damage its last line, but no earlier one."""

from io import FileIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.scoring.errors import ScoreError
from service.scoring.journal import Journal

ENTRIES = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers(-(2**53), 2**53) | st.text(max_size=9)),
    min_size=1,
    max_size=6,
)


def written(path: Path, entries: list[dict[str, Any]]) -> list[int]:
    """Write the entries. Returns the size of the file after each."""
    journal = Journal.open(path)
    sizes = []
    for entry in entries:
        journal.append(entry)
        sizes.append(path.stat().st_size)
    journal.close()
    return sizes


@settings(max_examples=60, deadline=None)
@given(entries=ENTRIES, share=st.floats(0, 1))
def test_a_truncated_journal_keeps_the_lines_before_the_cut(entries: list[dict[str, Any]], share: float) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        sizes = written(path, entries)
        size = round(share * sizes[-1])
        with path.open("r+b") as stream:
            stream.truncate(size)
        journal = Journal.open(path)
        whole = sum(each <= size for each in sizes)
        assert journal.entries == entries[:whole]
        journal.append({"more": 1})
        journal.close()
        again = Journal.open(path)
        assert again.entries == [*entries[:whole], {"more": 1}]
        again.close()


@settings(max_examples=60, deadline=None)
@given(entries=ENTRIES, share=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_a_changed_byte_drops_its_line_and_all_after_it(entries: list[dict[str, Any]], share: float, bits: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        sizes = written(path, entries)
        content = bytearray(path.read_bytes())
        place = int(share * len(content))
        content[place] ^= bits
        path.write_bytes(content)
        journal = Journal.open(path)
        assert journal.entries == entries[: sum(each <= place for each in sizes)]
        journal.close()


class NearlyFull(FileIO):
    """A file that takes seven bytes at a time."""

    def write(self, content: Any) -> int:
        return super().write(memoryview(content)[:7])


def test_a_partial_write_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, NearlyFull(path, "ab"), [])
    entries = [{"rows": number, "mark": {"position": 10**number}} for number in range(3)]
    for entry in entries:
        journal.append(entry)
    journal.close()
    again = Journal.open(path)
    assert again.entries == entries
    again.close()


def test_only_one_run_at_a_time(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal")
    with pytest.raises(ScoreError, match="another run is writing"):
        Journal.open(tmp_path / "journal")
    journal.close()
    Journal.open(tmp_path / "journal").close()
