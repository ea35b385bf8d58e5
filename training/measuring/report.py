"""The report of a training run: one page of HTML that needs no other file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle.card import measured_part
from training.measuring.charts import draw_curves, draw_reliability
from training.measuring.metrics import FIGURES, PARTS, ReliabilityBin
from training.measuring.picture import Example, save_picture

_EXAMPLE_TOKENS = 200
_STYLE = Path(__file__).with_suffix(".css")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The content of a report; `metrics`, `faithfulness`, `warnings`, `data` and `history` come from the card."""

    name: str
    mechanism: str
    labels: Sequence[str]
    metrics: Mapping[str, Any]
    faithfulness: Mapping[str, Any]
    warnings: Sequence[str]
    data: Mapping[str, Any]
    history: Sequence[dict[str, Any]]
    bins: Sequence[ReliabilityBin]
    examples: Sequence[Example]


def write_report(folder: Path, report: Report) -> None:
    """Write report.html and examples.png to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(_page(report), encoding="utf-8", errors="replace")
    save_picture(report.examples, folder / "examples.png")


def _page(report: Report) -> str:
    part = measured_part(report.metrics)
    measured = report.metrics[part]
    sections = {
        PARTS[part]: _figures(measured, report.metrics["baselines"]),
        "Labels": _labels(measured) + _confusion(measured, report.labels),
        "Training": _curves(report.history),
        "Calibration": _calibration(report.bins, PARTS[part]),
        "Faithfulness of the weights": _faithfulness(report.faithfulness),
        "Examples": _examples(report.examples, report.labels),
        "Data": _data(report.data, report.labels),
    }
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in report.warnings)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(report.name)}</title><style>{_STYLE.read_text()}</style></head>\n<body>"
        f"<h1>{escape(report.name)}</h1>"
        f'<p class="faint">{escape(report.mechanism)}, trained on {escape(report.data["source"])}</p>'
        + (f'<ul class="warnings">{warnings}</ul>' if warnings else "")
        + "".join(f"\n<section><h2>{heading}</h2>{content}</section>" for heading, content in sections.items())
        + "</body></html>\n"
    )


def _figures(measured: Mapping[str, Any], baselines: Mapping[str, Any]) -> str:
    rows = {
        "this model": measured,
        f"always {baselines['majority']['label']!r}": baselines["majority"],
        "bag of words": baselines["bag_of_words"],
    }
    return _table(
        ["", *FIGURES.values()],
        ([name, *(_number(figures.get(figure)) for figure in FIGURES)] for name, figures in rows.items()),
        f"{measured['texts']:,} texts. The bag of words: TF-IDF of words and word pairs, logistic regression.",
    )


def _labels(measured: Mapping[str, Any]) -> str:
    rows = (
        [name, *(_number(one[figure]) for figure in ("precision", "recall", "f1")), f"{one['support']:,}"]
        for name, one in measured["per_label"].items()
    )
    return _table(["label", "precision", "recall", "F1", "texts"], rows)


def _confusion(measured: Mapping[str, Any], labels: Sequence[str]) -> str:
    if "confusion" not in measured:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in labels)
    body = ""
    for name, counts in zip(labels, measured["confusion"], strict=True):
        shares = np.array(counts) / max(sum(counts), 1)
        cells = (f'<td style="--part: {share:.2f}">{count:,}</td>' for count, share in zip(counts, shares, strict=True))
        body += f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>"
    caption = "Texts of each label (a row) by the label they were given (a column)."
    return _scrolled(f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody>", caption)


def _curves(history: Sequence[dict[str, Any]]) -> str:
    charts = "".join(
        f"<figure><figcaption>{figure}</figcaption>{draw_curves(history, figure)}</figure>"
        for figure in ("loss", "accuracy")
    )
    caption = "Blue: validation. Grey and dashed: training, with dropout. A dotted line begins a new phase or part."
    return f'<div class="charts">{charts}</div><p class="faint">{caption}</p>'


def _calibration(bins: Sequence[ReliabilityBin], part: str) -> str:
    caption = f"Accuracy over confidence, {part.lower()}. On the dashed line, probabilities are right."
    return f'<div class="charts"><figure>{draw_reliability(bins)}<figcaption>{caption}</figcaption></figure></div>'


def _faithfulness(measured: Mapping[str, Any]) -> str:
    verdicts = {True: "yes", False: "no", None: ""}
    rows = (
        [name, *(_number(one[figure]) for figure in ("comprehensiveness", "sufficiency")), verdict]
        for name, one in measured["rankings"].items()
        for verdict in [verdicts[measured["above_chance"].get(name)]]
    )
    caption = (
        "Fall of the probability without the top tokens (comprehensiveness, higher is better) and with only these "
        f"(sufficiency, lower is better), on {measured['texts']:,} texts of {measured['part']}."
    )
    return _table(["ranking", "comprehensiveness", "sufficiency", "above chance"], rows, caption)


def _examples(examples: Sequence[Example], labels: Sequence[str]) -> str:
    caption = "The stronger the shade, the more weight."
    if any(example.contributions is not None for example in examples):
        towards = ("the label given", "others") if len(labels) > 2 else (escape(labels[1]), escape(labels[0]))
        caption += f" Green pushes towards {towards[0]}, red towards {towards[1]}."
    return f'<p class="faint">{caption}</p>' + "".join(map(_example, examples))


def _example(example: Example) -> str:
    """Shade each token by its weight, in green or red by the sign of its contribution, if there is one."""
    starts, ends = example.encoding.starts.tolist(), example.encoding.ends.tolist()
    top = max(float(example.weights.max()), 1e-9)
    parts, position = [], 0
    for token, (start, end) in enumerate(zip(starts[:_EXAMPLE_TOKENS], ends, strict=False)):
        colour = "weight"
        if example.contributions is not None:
            colour = "good" if example.contributions[token] >= 0 else "bad"
        style = f"--part: {float(example.weights[token]) / top:.2f}; --colour: var(--{colour})"
        parts.append(escape(example.text[position:start]))
        parts.append(f'<mark style="{style}">{escape(example.text[start:end])}</mark>')
        position = end
    parts.append(" ..." if len(starts) > _EXAMPLE_TOKENS else escape(example.text[position:]))
    text = "".join(parts)
    return (
        f"<p><strong>{escape(example.label)}</strong> {example.probability:.1%} "
        f'<span class="faint">marked {escape(example.truth)}</span></p><div class="example" dir="auto">{text}</div>'
    )


def _data(data: Mapping[str, Any], labels: Sequence[str]) -> str:
    splits = [split for split in ("train", "validation", "test") if split in data]
    rows = ([name, *(f"{data[split].get(name, 0):,}" for split in splits)] for name in labels)
    return _table(["texts of", *splits], rows)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"<tr><th>{escape(first)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in rest)}</tr>"
        for first, *rest in rows
    )
    return _scrolled(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>", caption)


def _scrolled(table: str, caption: str) -> str:
    return f'<p class="faint">{caption}</p><div class="scroll"><table>{table}</table></div>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
