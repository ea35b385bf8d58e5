"""Attention over hashed n-grams in C, with tables in 8 bits, under a linear head."""

import ctypes
from collections.abc import Mapping

import numpy as np

from models.native import unlocked_library
from models.native.kernel import CompiledKernel

_MAX_BUCKETS, _MAX_LONGEST, _MAX_OUTPUTS, _LARGEST_ID = 1 << 23, 8, 65536, (1 << 24) - 1
"""As in ngrams.c."""
_MAX_TABLE_BYTES = 256 << 20
_MAX_SCALE = 1e30
_UNSEEN = -1e4  # as in models/layers/ngram_attention.py

DTYPES = {
    "ngram_logits": "uint8",
    "ngram_values": "int8",
    "ngram_logit_range": "float32",
    "ngram_value_step": "float32",
}
HEAD = ("head_kernel", "head_bias")


class _Model(ctypes.Structure):
    """`Model` of ngrams.c."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("buckets", "longest", "features", "labels")),
        *((name, ctypes.c_void_p) for name in ("rows", "logits", "head", "head_bias", "contrasts")),
    ]


class NativeNgrams(CompiledKernel):
    """Computes what `NgramAttention` with `bits=8` and a linear head compute.

    The logits of another path, given to `compute`, are the sum of both: their highest names the label that
    contributions are of, where there are more than two.

    Args:
        weights: arrays by name, as Keras saves them, where B is the number of buckets, F that of features and L that of
            labels: `ngram_logits` uint8[B] and `ngram_values` int8[B, F], codes; `ngram_logit_range` float32[2] and
            `ngram_value_step` float32[1], what they stand for; `head_kernel` float32[F, L] and `head_bias` float32[L].
        longest: tokens in the longest n-gram.
        scale: factor of the mean.

    Raises:
        RuntimeError: the kernels are not compiled, or not wanted.
        ValueError: a weight is missing, or of another type or shape; the message says which.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], *, longest: int = 3, scale: float = 10.0) -> None:
        loaded = unlocked_library()
        if loaded is None:
            raise RuntimeError("The kernels are not compiled, or not wanted.")
        _check(weights, longest, scale)
        codes = weights["ngram_values"]
        buckets, features = codes.shape
        labels = len(weights["head_bias"])
        rows = np.empty((buckets, 1 + features), np.uint8)  # together, so that an n-gram costs one cache miss
        rows[:, 0], rows[:, 1:] = weights["ngram_logits"], codes.view(np.uint8)
        low, step = weights["ngram_logit_range"]
        logits = low + step * np.arange(256, dtype=np.float32)
        logits[0] = _UNSEEN
        head = (weights["head_kernel"] * (np.float32(scale) * weights["ngram_value_step"])).T  # [labels, features]
        contrasts = head - (head.sum(axis=0) - head) / np.float32(labels - 1)
        arrays = (rows, logits, *(np.ascontiguousarray(each) for each in (head, weights["head_bias"], contrasts)))
        self._arrays = arrays  # the structure holds only their addresses
        model = _Model(buckets, longest, features, labels, *(array.ctypes.data for array in arrays))
        super().__init__(loaded.heed_ngrams, model, labels=labels, largest_id=_LARGEST_ID)


def _check(weights: Mapping[str, np.ndarray], longest: int, scale: float) -> None:
    """Raise a ValueError unless every weight and option is of the type and size that the kernel takes."""
    dtypes = DTYPES | dict.fromkeys(HEAD, "float32")
    if weights.keys() != dtypes.keys():
        raise ValueError(f"Expected the weights {sorted(dtypes)}. Received {sorted(weights)}.")
    buckets, features = weights["ngram_values"].shape if weights["ngram_values"].ndim == 2 else (0, 0)
    labels = weights["head_bias"].size
    shapes = {
        "ngram_logits": (buckets,),
        "ngram_values": (buckets, features),
        "ngram_logit_range": (2,),
        "ngram_value_step": (1,),
        "head_kernel": (features, labels),
        "head_bias": (labels,),
    }
    for name, array in weights.items():
        if array.dtype != dtypes[name] or array.shape != shapes[name] or array.size == 0:
            raise ValueError(
                f"Expected {name} of {dtypes[name]}{list(shapes[name])}. Received {array.dtype}{list(array.shape)}."
            )
    if buckets > _MAX_BUCKETS or features > _MAX_OUTPUTS or not 2 <= labels <= _MAX_OUTPUTS:
        raise ValueError(
            f"Expected at most {_MAX_BUCKETS} buckets, {_MAX_OUTPUTS} features and 2 to {_MAX_OUTPUTS} labels. "
            f"Received {buckets}, {features} and {labels}."
        )
    if buckets * (1 + features) > _MAX_TABLE_BYTES:
        raise ValueError(f"Expected tables of at most {_MAX_TABLE_BYTES} bytes. {buckets} of {1 + features} take more.")
    if not isinstance(longest, int) or not 1 <= longest <= _MAX_LONGEST:
        raise ValueError(f"Expected n-grams of 1 to {_MAX_LONGEST} tokens. Received {longest!r}.")
    if not isinstance(scale, int | float) or not abs(scale) <= _MAX_SCALE:
        raise ValueError(f"Expected a scale of at most {_MAX_SCALE}. Received {scale!r}.")
