"""Random architectures around those that the forward kernels know: each answers as Keras does, or is left to Keras.

    .venv/bin/python -m benchmarks.architectures --count 2000

Every batch runs in a process of its own, so that a crash is counted and not suffered.
"""

import argparse
import dataclasses
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

BATCH = 100
TOLERANCE = 2e-4
"""Of an output: the probe allows 1e-4."""

VOCABULARY, LABELS, MAX_TOKENS = 23, ("no", "yes"), 12


def main() -> None:
    """Run the batches, print what came of the architectures, and fail if one crashed or answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.batch is not None:
        print(json.dumps(run_batch(options.seed, options.batch)))
        return
    found = check(options.count, options.seed)
    for outcome, count in sorted(found.items()):
        print(f"{count:6} {outcome}")
    if any(outcome.startswith("crash") or "wrong" in outcome for outcome in found):
        raise SystemExit(1)


def check(count: int, seed: int = 0) -> Counter[str]:
    """Return how often each outcome came up among `count` architectures."""
    found: Counter[str] = Counter()
    for first in range(0, count, BATCH):
        command = [sys.executable, "-m", "benchmarks.architectures", "--seed", str(seed + first)]
        size = min(BATCH, count - first)
        done = subprocess.run([*command, "--batch", str(size)], capture_output=True, text=True)
        if done.returncode:
            found[f"crash {done.returncode} with --seed {seed + first}: {done.stderr[-500:]}"] += size
        else:
            found.update(json.loads(done.stdout.splitlines()[-1]))
    return found


def run_batch(seed: int, count: int) -> dict[str, int]:
    """Save, load and ask `count` architectures; return how often each outcome came up."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        other: Path | None = None
        for number in range(count):
            chance = random.Random(f"{seed} {number}")
            path = Path(folder) / f"model{number}"
            outcome = _save(chance, path)
            if outcome is None:
                tampered = chance.random() < 0.4 and _tamper(chance, path, other)
                outcome = f"{'tampered' if tampered else 'as saved'}: {_ask(path)}"
                other = path if not tampered and "kernel" in outcome else other
            found[outcome if "wrong" not in outcome else f"{outcome} (seed {seed}, {number})"] += 1
    return dict(found)


def _save(chance: random.Random, path: Path) -> str | None:
    """Save a bundle of a random model, whose card claims the architecture that kernels know; why not, where Keras or
    the bundle refuses it."""
    import keras
    import numpy as np

    from models.bundle.store import BundleError, save_bundle
    from models.config import ClassifierConfig
    from models.tokenizer import Tokenizer
    from tests.tiny_bundle import fill_ngrams

    encoder: Any = chance.choice(("bilstm", "bigru"))
    units = 16 * chance.choice((1, 1, 1, 2, 3))
    options: dict[str, Any] = chance.choice(({}, {}, {"temperature": 2.0}, {"use_bias": False}, {"score": "dot"}))
    config = ClassifierConfig(
        vocabulary_size=VOCABULARY,
        embedding_dim=chance.choice((4, 8)),
        encoder=encoder,
        encoder_units=units,
        attention=options,
        attention_units=chance.choice((1, 5, 64, 70)),
        mechanism="additive_pooling",
        ngrams=chance.choice((None, {"buckets": chance.choice((1, 7, 5000)), "longest": 2, "bits": 8})),
        ngram_share=chance.choice((0.0, 0.3, 1.0)),
    )
    if config.ngrams and chance.random() < 0.3:
        alone: dict[str, Any] = {
            "encoder": "none",
            "mechanism": "ngram_attention",
            "attention": config.ngrams,
            "ngrams": None,
        }
        config = dataclasses.replace(config, **alone)
    keras.backend.clear_session()
    try:
        model = _model(chance, config)
    except Exception as error:
        return f"refused by Keras: {type(error).__name__}"
    generator = np.random.default_rng(chance.randrange(1000))
    for weight in model.trainable_weights:
        weight.assign(generator.normal(scale=0.5, size=weight.shape))
    fill_ngrams(model)
    try:
        save_bundle(
            path,
            model=model,
            tokenizer=Tokenizer([f"w{number}" for number in range(VOCABULARY - 2)]),
            config=config,
            labels=LABELS,
            max_tokens=MAX_TOKENS,
            onnx=False,
        )
    except BundleError:
        return "refused when saved"
    return None


def _model(chance: random.Random, config: Any) -> Any:
    """A model that is, or is nearly, what `build_classifier` makes of `config`."""
    import keras

    from models.attending import Attended, beside_ngrams
    from models.classifier import build_classifier
    from models.layers import AdditiveAttentionPooling, LinearHead, PaddingMask

    def changed(options: dict[str, Any] | None) -> dict[str, Any] | None:
        """The options of n-grams, rarely others."""
        if not options or chance.random() < 0.7:
            return options
        return options | chance.choice(({"scale": 5.0}, {"longest": 3}, {"bits": 32}, {"dropout": 0.5}))

    if config.mechanism == "ngram_attention":
        return build_classifier(dataclasses.replace(config, attention=changed(config.attention)))
    if chance.random() < 0.25:
        return build_classifier(config)

    def rarely(usual: Any, *others: Any) -> Any:
        return chance.choice(others) if chance.random() < 0.05 else usual

    def one_way(prefix: str) -> Any:
        kind = keras.layers.LSTM if rarely(config.encoder, "bilstm", "bigru") == "bilstm" else keras.layers.GRU
        return kind(
            rarely(config.encoder_units, 16, 48, 17),
            name=prefix + kind.__name__.lower(),
            return_sequences=True,
            activation=rarely("tanh", "relu", "linear"),
            recurrent_activation=rarely("sigmoid", "hard_sigmoid", "tanh"),
            use_bias=rarely(True, False),
            dtype=rarely("float32", "bfloat16", "float64"),
            **({"reset_after": rarely(True, False)} if kind is keras.layers.GRU else {}),
        )

    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = PaddingMask(0, name="mask")(ids)
    embedding = keras.layers.Embedding(
        config.vocabulary_size, config.embedding_dim, mask_zero=rarely(False, True), name="embedding"
    )
    states = embedding(ids)
    if rarely(False, True):
        states = keras.layers.Dense(config.embedding_dim, name="between")(states)
    forward, backward = one_way(""), one_way("backward_")
    backward.go_backwards = rarely(True, False)
    if not backward.go_backwards:
        forward.go_backwards = True
    merge = rarely("concat", "sum", "ave", "mul")
    encoder = keras.layers.Bidirectional(forward, merge_mode=merge, backward_layer=backward, name="encoder")
    states = encoder(states, mask=rarely(mask, None))
    if rarely(False, True):
        states = keras.layers.LayerNormalization(name="normal")(states)
    pooling = AdditiveAttentionPooling(
        config.attention_units,
        score=rarely("tanh", "linear", "dot"),
        activation=rarely("tanh", "relu"),
        temperature=rarely(config.attention.get("temperature", 1.0), 3.0),
        use_bias=config.attention.get("use_bias", True),
        name="attention",
    )
    pooled, weights = pooling(states, mask=rarely(mask, None), return_attention_scores=True)
    if rarely(False, True):
        pooled = keras.layers.Dense(pooled.shape[-1], name="behind")(pooled)
    other = dataclasses.replace(
        config, ngrams=changed(config.ngrams), ngram_share=rarely(config.ngram_share, 0.5, 1 - config.ngram_share)
    )
    pooled, weights, values, coefficients = beside_ngrams(other, Attended(pooled, weights, states, weights), ids, mask)
    outputs = LinearHead(config.labels, name="head")(pooled, values, coefficients)
    if rarely(False, True):
        outputs["logits"] = keras.layers.Activation("relu", name="clipped")(outputs["logits"])
    weights = keras.layers.Activation(rarely("linear", "relu"), dtype="float32", name="weights")(weights)
    return keras.Model(ids, {**outputs, "attention": weights}, name="classifier")


def _tamper(chance: random.Random, path: Path, other: Path | None) -> bool:
    """Change the card's index of weights, or write one, and seal the card again; whether that was possible."""
    from tests.models.bundle.forged_bundle import seal

    foreign = json.loads((other / "bundle.json").read_text())["kernel"] if other else None
    if not (path / "probe.json").is_file():
        if other is None:
            return False
        shutil.copy(other / "probe.json", path)  # claims another model's answers

    def change(card: dict[str, Any]) -> None:
        if (path / "probe.json").is_file():
            import hashlib

            card["files"]["probe.json"] = hashlib.sha256((path / "probe.json").read_bytes()).hexdigest()
        if card["kernel"] is None or (foreign is not None and chance.random() < 0.3):
            card["kernel"] = foreign
        if card["kernel"] is None:
            return
        names = sorted(card["kernel"])
        one, another = chance.choice(names), chance.choice(names)
        way = chance.randrange(8)
        if way == 0:
            card["kernel"][one]["offset"] += chance.choice((4, -4, 64, 1 << 20, 1 << 39)) * chance.randrange(1, 9)
            card["kernel"][one]["offset"] = max(0, card["kernel"][one]["offset"])
        elif way == 1:
            card["kernel"][one]["shape"] = [chance.choice((1, 2, 16, 32, 64, 192, 1 << 20)) for _ in range(2)]
        elif way == 2:
            card["kernel"][one], card["kernel"][another] = card["kernel"][another], card["kernel"][one]
        elif way == 3:
            for part in ("kernel", "recurrent", "bias"):
                ends = [card["kernel"].get(f"{direction}_{part}") for direction in ("forward", "backward")]
                if None not in ends:
                    card["kernel"] |= {f"forward_{part}": ends[1], f"backward_{part}": ends[0]}
        elif way == 4:
            card["config"]["attention"] = {"temperature": chance.choice((0, -1.0, 1e-40, 5.0, 1e300, "x", None))}
        elif way == 5:
            options = {
                "bits": 8,
                "longest": chance.choice((1, 3, 0, 99, "x", None)),
                "scale": chance.choice((10.0, -1, "x")),
            }
            card["config"][chance.choice(("ngrams", "attention"))] = options
        elif way == 6:
            card["config"]["ngram_share"] = chance.choice((0.5, -1, 2, "x", None))
        else:
            card["config"]["encoder"] = chance.choice(("bilstm", "bigru"))

    seal(path, change)
    return True


def _ask(path: Path) -> str:
    """Load the bundle with Keras and without, and compare the kernel's outputs, where there is one, with Keras'."""
    import numpy as np

    from models.bundle.parts import read_bundle_parts
    from models.bundle.store import BundleError, load_bundle
    from service.inference import native_engine as module

    vars(module)["_LEAST_LANES"] = 4
    generator = np.random.default_rng(1)
    texts = [generator.integers(1, VOCABULARY, length).astype(np.int32) for length in (1, 7, MAX_TOKENS, 8, 0)]
    try:
        bundle, parts = load_bundle(path), read_bundle_parts(path)
    except BundleError:
        return "refused when loaded"
    outcomes, expected = [], None
    for which, loaded in (("with Keras", bundle), ("without", parts)):
        engine = module.native_engine(loaded, buckets=(MAX_TOKENS,), largest_batch=8)
        if engine is None:
            outcomes.append("left to the graph")
            continue
        if expected is None:
            padded = np.zeros((len(texts), MAX_TOKENS), np.int32)
            for place, text in zip(padded, texts, strict=True):
                place[: len(text)] = text
            expected = {name: np.asarray(output, np.float64) for name, output in bundle.model(padded).items()}
        for row, (text, result) in enumerate(zip(texts, engine.run(texts), strict=True)):
            for name in ("logits", "attention", "contributions"):
                wanted = expected[name][row] if name == "logits" else expected[name][row, : len(text)]
                if not np.allclose(getattr(result, name), wanted, atol=TOLERANCE, rtol=TOLERANCE):
                    return f"wrong {name} {which}"
        outcomes.append("kernel")
    return f"{outcomes[0]} with Keras, {outcomes[1]} without"


if __name__ == "__main__":
    main()
