"""The command line: python -m training train | evaluate | compare | export."""

import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated

# TensorFlow tells of its every optimisation on stderr, before Python code can turn it down.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from models.bundle.store import BundleError, export_bundle
from training.config import read_config
from training.data import Corpus, load_corpus
from training.download import IMDB_DIGESTS, IMDB_URL, download
from training.errors import TrainingError
from training.evaluate import Evaluation, evaluate
from training.run import train

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Make and measure bundles.")
console = Console(stderr=True)

Data = Annotated[
    Path | None,
    typer.Option(
        help="IMDB archive or folder, or your own .csv, .tsv, .jsonl or .parquet; without it IMDB is fetched."
    ),
]
TextColumn = Annotated[str, typer.Option(help="Column of the texts in your own table.")]
LabelColumn = Annotated[str, typer.Option(help="Column of the labels in your own table.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")]

_FIGURES = ("accuracy", "auc", "f1", "brier", "ece", "nll")


class ConsoleWatcher:
    """Shows a run as lines that stay and one bar that moves."""

    def __init__(self) -> None:
        self._progress = Progress(
            "[progress.description]{task.description}",
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            "{task.fields[figures]}",
            console=console,
        )
        self._what = ""
        self._task: TaskID | None = None

    def __enter__(self) -> "ConsoleWatcher":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._progress.stop()

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(message, highlight=False)

    def advance(self, what: str, done: int, total: int, figures: str = "") -> None:
        """Move the bar of `what`, or start one."""
        if self._task is None or what != self._what:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._what, self._task = what, self._progress.add_task(what, total=total, figures=figures)
        self._progress.update(self._task, completed=done, total=total, figures=figures)


@app.command("train")
def train_command(
    config: Annotated[Path, typer.Argument(help="A TOML file such as training/configs/default.toml.")],
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="The bundle's folder; models/saved/NAME if not given.")] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the configuration's.")] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
) -> None:
    """Train a classifier and save it as a bundle."""
    settings = read_config(config)
    if seed is not None:
        settings = settings.model_copy(update={"seed": seed})
    out = out or Path("models/saved") / settings.name
    corpus = _corpus(data, text_column, label_column)
    work = out.parent / f".{out.name}.training"
    with ConsoleWatcher() as watcher:
        try:
            card = train(settings, corpus, out, work=work, resume=resume, watcher=watcher)
        except KeyboardInterrupt:
            watcher.say(f"Stopped. What was done is kept in {work}: run the same command with --resume to go on.")
            raise typer.Exit(130) from None
    _print_table([Evaluation(out, card, card.metrics["test"], same_data=True)])
    console.print(f"Saved {out} (version {card.version}), with pictures in {out / 'report'}.", highlight=False)


@app.command("evaluate")
def evaluate_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    data: Data = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    json_file: Json = None,
) -> None:
    """Measure a bundle on the test part of the data."""
    _measure([bundle], _corpus(data, text_column, label_column), json_file)


@app.command("compare")
def compare_command(
    bundles: Annotated[list[Path], typer.Argument(help="Folders of bundles.")],
    data: Data = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    json_file: Json = None,
) -> None:
    """Measure several bundles on the same test part."""
    _measure(bundles, _corpus(data, text_column, label_column), json_file)


@app.command("export")
def export_command(bundles: Annotated[list[Path], typer.Argument(help="Folders of bundles.")]) -> None:
    """Add the model for ONNX Runtime to bundles that have none, or make it anew; their versions change."""
    for path in bundles:
        with console.status(f"exporting {path}"):
            card = export_bundle(path)
        console.print(f"Saved {path} (version {card.version}), with its model for HEED_ENGINE=onnx.", highlight=False)


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
            console.print(f"{one.path}: this is not the data it was trained on, so its card's figures may differ.")
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
    """Run a command; a refusal is one clear line and exit status 2."""
    try:
        app()
    except (TrainingError, BundleError) as error:
        console.print(f"[red]error:[/red] {error}", highlight=False, markup=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
