"""Weights that lie in `model.keras` already, read from there: a graph beside it need not hold them twice."""

import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

_WEIGHTS = "model.weights.h5"
_SMALLEST_BYTES = 1 << 16  # below that a copy is simpler
_LOCAL_HEADER = 30  # bytes, of which the last four are the lengths of the two names that follow


def share_weights(graph: onnx.GraphProto, archive: Path) -> None:
    """Let each large weight of `graph` that the Keras archive holds byte by byte point there and hold nothing."""
    places = _places(archive)
    content = archive.read_bytes()
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.nbytes < _SMALLEST_BYTES:
            continue
        data = values.tobytes()
        start = next((start for start in places.get(len(data), ()) if content[start : start + len(data)] == data), None)
        if start is not None:
            _point(tensor, archive.name, start, len(data))


def _places(archive: Path) -> dict[int, list[int]]:
    """Where in the archive the values of each weight begin, by their length in bytes; none if it is compressed."""
    places: dict[int, list[int]] = {}
    with zipfile.ZipFile(archive) as members:
        member = members.getinfo(_WEIGHTS)
        if member.compress_type != zipfile.ZIP_STORED:
            return places
        with archive.open("rb") as stream:
            stream.seek(member.header_offset)
            name, extra = struct.unpack("<HH", stream.read(_LOCAL_HEADER)[-4:])
        begin = member.header_offset + _LOCAL_HEADER + name + extra

        def note(_: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype == np.float32:
                offset = item.id.get_offset()
                if offset is not None:  # in one piece
                    places.setdefault(item.nbytes, []).append(begin + offset)

        with members.open(member) as content, h5py.File(content, "r") as weights:
            weights.visititems(note)
    return places


def _point(tensor: onnx.TensorProto, file: str, start: int, length: int) -> None:
    for values in ("raw_data", "float_data"):
        tensor.ClearField(values)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", start), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
