"""Weights read from `model.keras` without Keras or h5py."""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from models.bundle.card import WeightPlace
from models.bundle.verification import BundleError


def read_weights(file: Path, places: Mapping[str, WeightPlace]) -> dict[str, np.ndarray]:
    """Read arrays from a file that was verified.

    Raises:
        BundleError: a place is outside the file, or all together are larger than it.
    """
    dtypes = {name: np.dtype(place.dtype).newbyteorder("<") for name, place in places.items()}
    sizes = {name: dtypes[name].itemsize * prod(place.shape) for name, place in places.items()}
    weights = {}
    try:
        with file.open("rb") as stream:
            end = stream.seek(0, 2)
            if sum(sizes.values()) > end:
                raise BundleError(f"{file}: expected weights of at most {end} bytes. Received {sum(sizes.values())}.")
            for name, place in places.items():
                if place.offset + sizes[name] > end:
                    raise BundleError(
                        f"{file}: expected {name} within {end} bytes. Received {sizes[name]} from {place.offset} on."
                    )
                stream.seek(place.offset)
                weights[name] = np.fromfile(stream, dtypes[name], prod(place.shape)).reshape(place.shape)
    except (OSError, ValueError) as error:
        raise BundleError(f"{file}: expected a readable file. {error}.") from error
    return weights
