"""Command line: python -m training train | evaluate | compare | probe | export."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

# Otherwise TensorFlow logs its optimisations on stderr while it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer
from rich.console import Console
from rich.text import Text

from models.bundle.amend import amend_card
from models.bundle.looks import LOOKS_FILE
from models.bundle.replacement import check_place
from models.bundle.store import BundleError, export_bundle
from models.tables.errors import TableError
from models.tables.table import Spelling
from training import DataError, TrainingError, auto
from training.checkpoint import check_work_folder, how_to_resume
from training.config import read_config
from training.data.corpus import Corpus, LabelledTexts
from training.data.download import IMDB_DIGESTS, IMDB_URL, download
from training.data.load import load_corpus, load_test
from training.measuring.evaluate import Evaluation, evaluate
from training.measuring.terminal import print_evaluations, print_warnings
from training.progress import ConsoleProgress
from training.robustness.probe import probe
from training.robustness.terminal import print_robustness
from training.run import train

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train and measure bundles.")
console = Console(stderr=True)

Data = Annotated[
    Path | None,
    typer.Option(help="IMDB archive or folder, or your own table (docs/tables.md); downloads IMDB if not given."),
]
TextColumn = Annotated[str, typer.Option(help="Column with the texts of your own table.")]
LabelColumn = Annotated[str, typer.Option(help="Column with the labels of your own table.")]
Encoding = Annotated[str | None, typer.Option(help="Encoding of your table; default: UTF-8, or what its mark says.")]
Delimiter = Annotated[
    str | None, typer.Option(help="Between the fields of your table, or tab; default: found in the line of names.")
]
NoQuotes = Annotated[bool, typer.Option("--no-quotes", help="Quotes in your table are part of the text.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at a row without text or label, which is else left out.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")]
All = Annotated[bool, typer.Option("--all", help="Measure on all labelled texts but for the test part of IMDB.")]
Test = Annotated[
    bool,
    typer.Option("--test", help="Measure on the test part of IMDB, and log the look in looks.jsonl of the bundle."),
]
Map = Annotated[
    list[str] | None, typer.Option("--map", help="LABEL=NAME: the bundle's name of a label of the data; repeatable.")
]


@app.command("train")
def train_command(
    config: Annotated[
        Path,
        typer.Argument(help="A TOML file such as training/configs/default.toml, or auto, which looks at the data."),
    ],
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the bundle; default: models/saved/NAME.")] = None,
    seed: Annotated[int | None, typer.Option(help="Override the seed of the configuration.")] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    no_quotes: NoQuotes = False,
    strict: Strict = False,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Override a value: --set model.encoder_units=64; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume a stopped run.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Throw a stopped run away and start anew.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the bundle that is there.")] = False,
) -> None:
    """Train a classifier and save it as a bundle."""
    changes = [*(changes or []), *([] if seed is None else [f"seed={seed}"])]
    settings = None if str(config) == auto.NAME else read_config(config, changes)
    out = out or Path("models/saved") / (auto.NAME if settings is None else settings.name)
    work = out.parent / f".{out.name}.training"
    check_place(out, replace=replace)
    check_work_folder(work, resume=resume, restart=restart)
    corpus = _corpus(_data(data), text_column, label_column, encoding, delimiter, no_quotes, strict)
    if settings is None:
        settings, why = auto.choose(corpus, changes)
        for line in why:
            _say(line)
    with ConsoleProgress(console) as progress:
        try:
            card = train(settings, corpus, out, work=work, resume=resume, restart=restart, progress=progress)
        except KeyboardInterrupt:
            progress.say(f"Stopped. {how_to_resume(work)}")
            raise typer.Exit(130) from None
        except OSError as error:  # such as a full disk
            raise TrainingError(f"{error}. {how_to_resume(work)}".strip()) from error
    print_evaluations(Console(), [Evaluation.of_card(out, card)])
    report = out / "report" / "report.html"
    _say(f"Saved {out} (version {card.version}, seed {settings.seed}), with a report in {report}.")
    print_warnings(console, card.warnings)


@app.command("evaluate")
def evaluate_command(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    data: Data = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    no_quotes: NoQuotes = False,
    strict: Strict = False,
    test: Test = False,
    whole: All = False,
    map_: Map = None,
    json_file: Json = None,
) -> None:
    """Measure a bundle on its validation part of IMDB, on the test part of a table, or on a whole table."""
    options = (text_column, label_column, encoding, delimiter, no_quotes, strict, test, whole, map_, json_file)
    compare_command([bundle], data, *options)


@app.command("compare")
def compare_command(
    bundles: Annotated[list[Path], typer.Argument(help="Folders of bundles.")],
    data: Data = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    no_quotes: NoQuotes = False,
    strict: Strict = False,
    test: Test = False,
    whole: All = False,
    map_: Map = None,
    json_file: Json = None,
) -> None:
    """Measure several bundles, as `evaluate` does one."""
    if test and whole:
        raise DataError("Expected --test or --all. Received both.")
    data = _data(data)
    corpus = _corpus(data, text_column, label_column, encoding, delimiter, no_quotes, strict, whole=whole)
    test_part = corpus.test
    if test and test_part is None:
        with console.status(Text(f"reading the test part of {data}")):
            test_part = load_test(data)
    _measure(bundles, corpus, test_part if test else None, whole, _renamed(map_ or []), json_file)


@app.command("probe")
def probe_command(
    bundles: Annotated[list[Path], typer.Argument(help="Folders of bundles with two labels.")],
    positive: Annotated[
        str | None, typer.Option(help="The positive label; default: the one named positive, pos or 1.")
    ] = None,
    pairs: Annotated[
        list[Path] | None, typer.Option(help="Also measure on this file of counterfactual pairs; repeatable.")
    ] = None,
    sentences: Annotated[
        list[Path] | None, typer.Option(help="Also measure on this file of labelled texts; repeatable.")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Write the figures into the cards; the versions of the bundles change.")
    ] = False,
    json_file: Json = None,
) -> None:
    """Measure how bundles read negation, names, pronouns and apostrophes, short texts and long ones."""
    measured = []
    for path in bundles:
        with console.status(Text(f"probing {path}")):
            card, figures = probe(path, positive=positive, pairs=pairs or (), sentences=sentences or ())
            if save:
                card = amend_card(path, robustness=figures)
        measured.append((card, figures))
    print_robustness(Console(), [(f"{card.name} {card.version}", figures) for card, figures in measured])
    if json_file is not None:
        document = [{"bundle": card.name, "version": card.version, **figures} for card, figures in measured]
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


@app.command("export")
def export_command(bundles: Annotated[list[Path], typer.Argument(help="Folders of bundles.")]) -> None:
    """Add or rebuild the model for ONNX Runtime (HEED_ENGINE=onnx); the versions of the bundles change."""
    for path in bundles:
        with console.status(Text(f"exporting {path}")):
            card = export_bundle(path)
        _say(f"Saved {path} (version {card.version}), with a model for HEED_ENGINE=onnx.")


def _data(data: Path | None) -> Path:
    """Return where the data are; IMDB is downloaded if they are not given."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return data or download(IMDB_URL, cache / "heed" / "aclImdb_v1.tar.gz", IMDB_DIGESTS)


def _corpus(
    data: Path,
    text_column: str,
    label_column: str,
    encoding: str | None,
    delimiter: str | None,
    no_quotes: bool,
    strict: bool,
    *,
    whole: bool = False,
) -> Corpus:
    spelling = Spelling.of_options(encoding, delimiter, no_quotes)
    with console.status(Text(f"reading {data}")):
        corpus = load_corpus(
            data, text_column=text_column, label_column=label_column, spelling=spelling, strict=strict, whole=whole
        )
    for note in corpus.notes:
        _say(note)
    return corpus


def _renamed(pairs: list[str]) -> dict[str, str]:
    """Read the pairs of --map."""
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise DataError(f"Expected LABEL=NAME in --map, such as 0=negative. Received {wrong[0]!r}.")
    return dict((pair.split("=", 1)) for pair in pairs)


def _measure(
    bundles: list[Path],
    corpus: Corpus,
    test: LabelledTexts | None,
    whole: bool,
    renamed: dict[str, str],
    json_file: Path | None,
) -> None:
    evaluations = []
    for path in bundles:
        with console.status(Text(f"measuring {path}")):
            evaluations.append(evaluate(path, corpus, test=test, whole=whole, renamed=renamed))
    looks = [] if test is None else [one.log_look() for one in evaluations]  # before anybody sees the figures
    print_evaluations(Console(), evaluations)
    for one in evaluations:
        if whole and one.same_data:
            _say(f"{one.path}: trained on most of these texts, so the figures are too good.")
        elif not whole and not one.same_data:
            _say(
                f"{one.path}: trained on other data, so its card differs (cards until 0.3.0 also do if read without "
                "--test). --all measures on all labelled texts."
            )
        if "texts_in_train" in one.metrics:
            _say(
                f"{one.path}: {one.metrics['texts_in_train']:,} of the texts are among those to learn from; accuracy "
                f"{one.metrics['accuracy_of_others']:.4f} without them."
            )
    for one, number in zip(evaluations, looks, strict=False):
        _say(f"{one.path}: look {number} at a test part, kept in {LOOKS_FILE}.")
    if len({one.fingerprint for one in evaluations}) > 1:
        _say("Each bundle was measured on the validation part that its own training held out. --test compares them.")
    if json_file is not None:
        json_file.write_text(json.dumps([one.to_dict() for one in evaluations], indent=2) + "\n", encoding="utf-8")


def _say(message: str) -> None:
    """Print a line as it is, brackets included."""
    console.print(message, highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Run a command; print an expected error as one line and exit with 2."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # every fold traces its own graphs, which it warns of
    try:
        app()
    except (TrainingError, BundleError, TableError) as error:
        console.print(Text.assemble(("error:", "red"), f" {error}"), soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
