"""Checks of the Keras archive before Keras reads it, and where in it the weights are."""

import inspect
import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from models.bundle.verification import MAX_FILE_BYTES, BundleError
from models.layers import CUSTOM_OBJECTS

MAX_ARCHITECTURE_BYTES = 8 << 20

_STORED_DTYPES = (np.dtype("<f4"), np.dtype("uint8"), np.dtype("int8"))
_LOCAL_HEADER = 30  # bytes of a zip member's header; the last four are the lengths of the two names that follow

_ARCHITECTURE = "config.json"
_WEIGHTS = "model.weights.h5"
_ARCHIVE_MEMBERS = {"metadata.json", _ARCHITECTURE, _WEIGHTS}

_KERAS_MODULES = {
    "keras.layers": keras.layers,
    "keras.initializers": keras.initializers,
    "keras.regularizers": keras.regularizers,
    "keras.constraints": keras.constraints,
}
_KERAS_CLASSES = {
    ("keras", "DTypePolicy"),
    ("keras.src.models.functional", "Functional"),
    ("keras", "Functional"),
}
# Keras' own layers that run code or read files named by the bundle.
_REFUSED_LAYERS = {
    *("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),
    *("StringLookup", "IntegerLookup", "TextVectorization"),
}


def check_model_archive(file: Path) -> None:
    """Raise a BundleError if a `.keras` archive has foreign members or classes, or members that are too large."""
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                _check_member(file, member)
            architecture = archive.read(_ARCHITECTURE)
            with archive.open(_WEIGHTS) as weights:
                _check_weights(file, h5py.File(weights, "r"))
    except BundleError:
        raise
    except Exception as error:  # the readers of zip, of its compressions and of HDF5 each raise errors of their own
        raise BundleError(f"{file}: expected a whole .keras archive. {type(error).__name__}: {error}.") from error
    try:
        config = json.loads(architecture)
        for node in _class_nodes(config):
            _check_class(file, node)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: expected {_ARCHITECTURE} to be JSON of a sane depth. {error}.") from error


def stored_weights(file: Path) -> dict[int, list[int]]:
    """Return the offsets of all weights in the archive, by their size in bytes; none if they are compressed.

    Weights of other types than float32, uint8 and int8 are left out.
    """
    places: dict[int, list[int]] = {}
    with zipfile.ZipFile(file) as archive:
        member = archive.getinfo(_WEIGHTS)
        if member.compress_type != zipfile.ZIP_STORED:
            return places
        with file.open("rb") as stream:
            stream.seek(member.header_offset)
            name, extra = struct.unpack("<HH", stream.read(_LOCAL_HEADER)[-4:])
        begin = member.header_offset + _LOCAL_HEADER + name + extra

        def note(_: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype in _STORED_DTYPES:
                offset = item.id.get_offset()
                if offset is not None:  # in one piece
                    places.setdefault(item.nbytes, []).append(begin + offset)

        with archive.open(member) as content, h5py.File(content, "r") as weights:
            weights.visititems(note)
    return places


def _check_member(file: Path, member: zipfile.ZipInfo) -> None:
    if member.filename not in _ARCHIVE_MEMBERS:
        raise BundleError(
            f"{file}: expected only {sorted(_ARCHIVE_MEMBERS)} in the archive. Received {member.filename!r}."
        )
    cap = MAX_FILE_BYTES if member.filename == _WEIGHTS else MAX_ARCHITECTURE_BYTES
    if member.file_size > cap:
        raise BundleError(
            f"{file}: expected {member.filename} of at most {cap} bytes unpacked. Received {member.file_size}."
        )


def _check_weights(file: Path, weights: h5py.File) -> None:
    """Refuse weights that refer to other files, which HDF5 allows in three ways."""

    def check(group: h5py.Group) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise BundleError(f"{file}: expected plain weights. {group.name}/{name} is a {type(link).__name__}.")
            item = group[name]
            if isinstance(item, h5py.Group):
                check(item)
            elif isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
                raise BundleError(f"{file}: expected plain weights. {item.name} reads another file.")

    with weights:
        check(weights)


def _class_nodes(config: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object of a Keras configuration that names a class."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from _class_nodes(value)
    elif isinstance(config, list):
        for value in config:
            yield from _class_nodes(value)


def _check_class(file: Path, node: Mapping[str, Any]) -> None:
    module, name, registered = node.get("module"), node.get("class_name"), node.get("registered_name")
    if not all(part is None or isinstance(part, str) for part in (module, name, registered)):
        raise BundleError(f"{file}: refused class {module}.{name}: expected names. Received {registered!r:.100}.")
    if registered in CUSTOM_OBJECTS and CUSTOM_OBJECTS[registered].__name__ == name:
        return
    if name == "__keras_tensor__" and module is None:
        return
    is_keras = (module, name) in _KERAS_CLASSES or (
        module in _KERAS_MODULES
        and isinstance(name, str)
        and inspect.isclass(getattr(_KERAS_MODULES[module], name, None))
        and name not in _REFUSED_LAYERS
    )
    if not is_keras or registered not in (None, name):
        raise BundleError(
            f"{file}: refused class {module}.{name} (registered as {registered!r}): expected a class of Keras' own "
            f"that runs no foreign code, or one of {sorted(CUSTOM_OBJECTS)}."
        )
