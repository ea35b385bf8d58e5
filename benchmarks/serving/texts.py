"""The reviews that every service is sent: the same for all, in the same order."""

from pathlib import Path

import numpy as np

from benchmarks.records import Records

REVIEWS = 2048
_SEED = 20


def load_texts(data: Path, out: Path, count: int = REVIEWS) -> list[str]:
    """`count` reviews of the test part in random order, the same ones every time; kept in `out` once they are read."""
    records = Records(out / "records")
    subject = {"data": data.resolve().name, "bytes": data.stat().st_size, "seed": _SEED, "count": count}
    kept = records.read("texts", subject)
    if kept is None:
        from training.data import load_corpus  # reads the whole archive, so at need only

        texts = load_corpus(data).test.texts
        chosen = np.random.default_rng(_SEED).permutation(len(texts))[:count]
        kept = {"texts": [texts[place] for place in chosen.tolist()]}
        records.write("texts", subject, kept)
    return list(kept["texts"])
