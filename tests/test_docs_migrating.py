"""docs/migrating.md is true: its snippets run, and its tables match the code."""

import re
from pathlib import Path

import keras
import pytest

from benchmarks.padding import HEADER, rows
from models.layers import SOURCE_NAMES
from models.layers.source_names import SourceName

PAGE = (Path(__file__).parents[1] / "docs" / "migrating.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def snippets(section: str) -> list[str]:
    """Return the programs of a section; a diff becomes its new version."""
    found = re.findall(r"^```(python|diff)\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)
    return [after(text) if language == "diff" else text for language, text in found]


def after(change: str) -> str:
    """Return the new version of a diff."""
    lines = change.splitlines()
    assert all(line == "" or line[0] in "+- " for line in lines)
    return "\n".join(line[1:] for line in lines if not line.startswith("-"))


def shown(value: object) -> str:
    if isinstance(value, keras.layers.Layer):
        return f"{type(value).__name__}()"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def row(name: str, entry: SourceName) -> str:
    arguments = ", ".join(f"{argument}={shown(value)}" for argument, value in entry.arguments.items())
    return f"| `{name}` | {entry.source} | `{entry.layer.__name__}({arguments})` | {entry.difference} |"


@pytest.mark.parametrize("section", [name for name in SECTIONS if snippets(name)])
def test_the_snippets_of_a_section_run_in_order(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    for snippet in snippets(section):
        exec(compile(snippet, f"docs/migrating.md, {section}", "exec"), known)
    for name in ("layer", "model"):
        if name in known:
            assert isinstance(known[name], keras.layers.Layer)


def test_every_section_but_two_has_a_program() -> None:
    assert [name for name in SECTIONS if not snippets(name)] == ["Install", "The names"]


def test_the_padding_table_is_the_output_of_its_command() -> None:
    assert "\n".join([HEADER, *rows()]) in PAGE


def test_the_names_table_matches_the_code() -> None:
    expected = [row(name, entry) for name, entry in SOURCE_NAMES.items()]
    written = [line for line in SECTIONS["The names"].splitlines() if line.startswith("| `")]
    assert written == expected, "\n".join(expected)
