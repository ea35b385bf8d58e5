"""Tables of docs/mechanisms.md."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from benchmarks.zoo.rows import FAMILIES, ROWS
from models.mechanisms import MECHANISMS


def table(runs: Mapping[str, Sequence[dict[str, Any]]], served: Mapping[str, dict[str, Any]]) -> str:
    """Return the table in Markdown, with means over seeds.

    Args:
        runs: figures of the runs of each row.
        served: figures of each row that was served.
    """
    lines = [
        "| configuration | seeds | accuracy | ± | AUC | ECE | parameters of the attention | training, processor s | "
        "reviews/s served | weights | entropy of the weights |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    for family in FAMILIES:
        rows = [_line(row, runs[row], served.get(row)) for row in family.rows if row in runs]
        if rows:
            lines += [f"| **{family.title}** | | | | | | | | | | |", *rows]
    return "\n".join(lines)


def _line(row: str, figures: Sequence[dict[str, Any]], served: dict[str, Any] | None) -> str:
    def mean(name: str) -> float:
        return float(np.mean([one[name] for one in figures]))

    accuracies = [one["accuracy"] for one in figures]
    cells = [
        f"[`{row}`](../training/configs/{row}.toml)",
        str(len(figures)),
        f"{mean('accuracy'):.4f}",
        f"{np.std(accuracies, ddof=1):.4f}" if len(figures) > 1 else "",
        f"{mean('auc'):.4f}",
        f"{mean('ece'):.4f}",
        f"{figures[0]['parameters_of_attention']:,}",
        f"{mean('fit_processor_seconds'):.0f}",
        f"{served['reviews_a_second']:.0f}" if served else "not served",
        figures[0]["attention_is"] + ("" if figures[0]["contributions"] else ", no contributions"),
        f"{mean('entropy'):.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def rules() -> str:
    """Return the table of each mechanism's layer and token-weight rule."""
    lines = ["| `mechanism` | layer | one weight per token | |", "| --- | --- | --- | --- |"]
    for name, mechanism in MECHANISMS.items():
        layer = f"`{_public_name(mechanism.layer)}`"
        lines.append(f"| `{name}` | {layer} | {mechanism.token_weight_rule} | {mechanism.attention_is} |")
    return "\n".join(lines)


def _public_name(layer: type[keras.layers.Layer]) -> str:
    for name, exported in vars(keras.layers).items():
        if exported is layer:
            return f"keras.layers.{name}"
    return layer.__name__


def trust(runs: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return the table of faithfulness figures, with means over seeds."""
    lines = [
        "| configuration | comprehensiveness: attention | contributions | random | sufficiency: attention | "
        "contributions | random | above chance |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in ROWS:
        if row not in runs:
            continue
        cells = []
        for figure in ("comprehensiveness", "sufficiency"):
            for ranking in ("attention", "contributions", "random"):
                values = [one["faithfulness"][ranking][figure] for one in runs[row] if ranking in one["faithfulness"]]
                cells.append(f"{np.mean(values):.3f}" if values else "none")
        seeds = sum(one["above_chance"]["attention"] for one in runs[row])
        lines.append(f"| `{row}` | {' | '.join(cells)} | {seeds} of {len(runs[row])} seeds |")
    return "\n".join(lines)
