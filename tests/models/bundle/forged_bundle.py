"""Bundles changed after the fact, whose hashes and version fit again: what is refused is the change alone."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py


def seal(bundle: Path, change: Callable[[dict[str, Any]], object] = lambda card: None) -> None:
    """Hash the files that the card lists anew, then `change` the card, then give it the version of its contents."""
    card = json.loads((bundle / "bundle.json").read_text())
    del card["version"]
    for name in card["files"]:
        card["files"][name] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    change(card)
    canonical = json.dumps(card, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    card["version"] = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    (bundle / "bundle.json").write_text(json.dumps(card))


def members(bundle: Path) -> dict[str, bytes]:
    """Return the members of the model's archive."""
    with zipfile.ZipFile(bundle / "model.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(bundle: Path, contents: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Make the model's archive hold `contents`, and seal the bundle."""
    with zipfile.ZipFile(bundle / "model.keras", "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    seal(bundle)


def change_architecture(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let `change` edit the model's `config.json`."""
    contents = members(bundle)
    architecture = json.loads(contents["config.json"])
    change(architecture)
    write_members(bundle, contents | {"config.json": json.dumps(architecture).encode()})


def add_layer(bundle: Path, node: Mapping[str, Any]) -> None:
    """Let the model name one more layer, which nothing is connected to."""
    change_architecture(bundle, lambda architecture: architecture["config"]["layers"].append(dict(node)))


def change_weights(bundle: Path, change: Callable[[h5py.File], object]) -> None:
    """Let `change` edit the model's `model.weights.h5`."""
    contents = members(bundle)
    buffer = io.BytesIO(contents["model.weights.h5"])
    with h5py.File(buffer, "r+") as weights:
        change(weights)
    write_members(bundle, contents | {"model.weights.h5": buffer.getvalue()})
