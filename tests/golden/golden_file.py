"""Golden files: what other implementations answered, set by set, in `.npz` files without pickles.

Arrays of one shape and dtype lie in one stack, each once; `sets` is JSON that says which row of which stack is what.
Imports NumPy alone, so that it runs where the files are made and where they are read.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class GoldenSet(NamedTuple):
    """One call of one layer: what it was made with, what it was given and what it answered."""

    name: str
    layer: str
    arguments: Mapping[str, Any]
    inputs: Sequence[np.ndarray]
    masks: Sequence[np.ndarray]  # one for each input, or none at all
    weights: Mapping[str, np.ndarray]  # in the order of the original
    outputs: Mapping[str, np.ndarray]


class GoldenFile(NamedTuple):
    versions: Mapping[str, str]
    sets: Sequence[GoldenSet]


def write(file: Path, sets: Sequence[GoldenSet], versions: Mapping[str, str]) -> None:
    names = [each.name for each in sets]
    assert len(names) == len(set(names)), f"{file.name}: two sets of one name"
    stacks = _Stacks()
    described = [
        {
            "name": each.name,
            "layer": each.layer,
            "arguments": dict(each.arguments),
            "inputs": [stacks.add(value) for value in each.inputs],
            "masks": [stacks.add(value) for value in each.masks],
            "weights": {name: stacks.add(value) for name, value in each.weights.items()},
            "outputs": {name: stacks.add(value) for name, value in each.outputs.items()},
        }
        for each in sets
    ]
    about = json.dumps({"versions": dict(versions), "sets": described}, separators=(",", ":"))
    np.savez_compressed(
        file,
        about=np.frombuffer(about.encode(), np.uint8),
        **{key: np.stack(rows) for key, rows in stacks.rows.items()},
    )


def read(file: Path) -> GoldenFile:
    with np.load(file, allow_pickle=False) as archive:
        stacks = {key: archive[key] for key in archive.files}
    about = json.loads(stacks.pop("about").tobytes())

    def array(place: Sequence[Any]) -> np.ndarray:
        stack, row = place
        return stacks[stack][row]

    return GoldenFile(
        about["versions"],
        [
            GoldenSet(
                each["name"],
                each["layer"],
                each["arguments"],
                [array(place) for place in each["inputs"]],
                [array(place) for place in each["masks"]],
                {name: array(place) for name, place in each["weights"].items()},
                {name: array(place) for name, place in each["outputs"].items()},
            )
            for each in about["sets"]
        ],
    )


class _Stacks:
    """Rows of arrays by dtype and shape; the same values are kept once."""

    def __init__(self) -> None:
        self.rows: dict[str, list[np.ndarray]] = {}
        self._places: dict[tuple[str, bytes], int] = {}

    def add(self, value: np.ndarray) -> tuple[str, int]:
        value = np.array(value, order="C")
        stack = f"{value.dtype.name}_{'x'.join(map(str, value.shape))}"
        rows = self.rows.setdefault(stack, [])
        place = self._places.setdefault((stack, value.tobytes()), len(rows))
        if place == len(rows):
            rows.append(value)
        return stack, place
