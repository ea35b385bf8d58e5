"""Command line: python -m training train | evaluate | compare | export."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

# Otherwise TensorFlow logs its optimisations on stderr while it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer
from rich.console import Console
from rich.table import Table

from models.bundle.store import BundleError, export_bundle
from training.config import read_config
from training.data import Corpus, load_corpus
from training.download import IMDB_DIGESTS, IMDB_URL, download
from training.errors import TrainingError
from training.evaluate import Evaluation, evaluate
from training.progress import ConsoleProgress
from training.run import train

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train and measure bundles.")
console = Console(stderr=True)

Data = Annotated[
    Path | None,
    typer.Option(
        help="IMDB archive or folder, or your own .csv, .tsv, .jsonl or .parquet; downloads IMDB if not given."
    ),
]
TextColumn = Annotated[str, typer.Option(help="Column with the texts of your own table.")]
LabelColumn = Annotated[str, typer.Option(help="Column with the labels of your own table.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")]

_FIGURES = ("accuracy", "auc", "f1", "brier", "ece", "nll")


@app.command("train")
def train_command(
    config: Annotated[Path, typer.Argument(help="A TOML file such as training/configs/default.toml.")],
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the bundle; default: models/saved/NAME.")] = None,
    seed: Annotated[int | None, typer.Option(help="Override the seed of the configuration.")] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    resume: Annotated[bool, typer.Option("--resume", help="Resume a stopped run.")] = False,
) -> None:
    """Train a classifier and save it as a bundle."""
    settings = read_config(config)
    if seed is not None:
        settings = settings.model_copy(update={"seed": seed})
    out = out or Path("models/saved") / settings.name
    corpus = _corpus(data, text_column, label_column)
    work = out.parent / f".{out.name}.training"
    with ConsoleProgress(console) as progress:
        try:
            card = train(settings, corpus, out, work=work, resume=resume, progress=progress)
        except KeyboardInterrupt:
            progress.say(f"Stopped. To resume, repeat the command with --resume; checkpoints are in {work}.")
            raise typer.Exit(130) from None
    _print_table([Evaluation(out, card, card.metrics["test"], same_data=True)])
    console.print(f"Saved {out} (version {card.version}), with pictures in {out / 'report'}.", highlight=False)


@app.command("evaluate")
def evaluate_command(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    data: Data = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    json_file: Json = None,
) -> None:
    """Measure a bundle on the test set."""
    _measure([bundle], _corpus(data, text_column, label_column), json_file)


@app.command("compare")
def compare_command(
    bundles: Annotated[list[Path], typer.Argument(help="Folders of bundles.")],
    data: Data = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    json_file: Json = None,
) -> None:
    """Measure several bundles on the same test set."""
    _measure(bundles, _corpus(data, text_column, label_column), json_file)


@app.command("export")
def export_command(bundles: Annotated[list[Path], typer.Argument(help="Folders of bundles.")]) -> None:
    """Add or rebuild the model for ONNX Runtime (HEED_ENGINE=onnx); the versions of the bundles change."""
    for path in bundles:
        with console.status(f"exporting {path}"):
            card = export_bundle(path)
        console.print(f"Saved {path} (version {card.version}), with a model for HEED_ENGINE=onnx.", highlight=False)


def _corpus(data: Path | None, text_column: str, label_column: str) -> Corpus:
    if data is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        data = download(IMDB_URL, cache / "heed" / "aclImdb_v1.tar.gz", IMDB_DIGESTS)
    with console.status(f"reading {data}"):
        return load_corpus(data, text_column=text_column, label_column=label_column)


def _measure(bundles: list[Path], corpus: Corpus, json_file: Path | None) -> None:
    evaluations = []
    for path in bundles:
        with console.status(f"measuring {path} on {len(corpus.test):,} texts"):
            evaluations.append(evaluate(path, corpus))
    _print_table(evaluations)
    for one in evaluations:
        if not one.same_data:
            console.print(f"{one.path}: trained on other data, so the figures of its card may differ.")
    if json_file is not None:
        json_file.write_text(json.dumps([one.to_dict() for one in evaluations], indent=2) + "\n", encoding="utf-8")


def _print_table(evaluations: list[Evaluation]) -> None:
    table = Table(title=f"Test figures over {evaluations[0].metrics['texts']:,} texts", title_justify="left")
    table.add_column("bundle")
    table.add_column("mechanism")
    for figure in _FIGURES:
        table.add_column(figure, justify="right")
    for one in evaluations:
        table.add_row(
            f"{one.card.name} {one.card.version}",
            one.card.mechanism,
            *(f"{one.metrics[figure]:.4f}" for figure in _FIGURES),
        )
    Console().print(table)


def main() -> None:
    """Run a command; print an expected error as one line and exit with 2."""
    try:
        app()
    except (TrainingError, BundleError) as error:
        console.print(f"[red]error:[/red] {error}", highlight=False, markup=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
