"""The command line: `python -m service serve | predict | score | models`.

Keras is imported inside the commands, so that `--help` and errors in options are fast.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import orjson
import typer
from pydantic import ValidationError
from rich.console import Console

from models.tables.rows import WINDOW_ROWS
from service.settings import Settings, faults_in

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Serve sentiment classifiers, or run one locally.")

ModelsDir = Annotated[
    Path | None, typer.Option("--models-dir", help="Folder of bundles. Default: HEED_MODELS_DIR, or models/saved.")
]
Model = Annotated[str | None, typer.Option(help="Name of a bundle. Default: HEED_DEFAULT_MODEL, or default.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: HEED_HOST, or 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. Default: HEED_PORT, or 8000.")] = None,
    models_dir: ModelsDir = None,
) -> None:
    """Answer HTTP requests until a signal comes. Every HEED_* setting is in docs/settings.md."""
    settings = _settings(host=host, port=port, models_dir=models_dir)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the log is for what the service says
    from service.http.server import serve
    from service.inference.loading import EngineMissing

    try:
        serve(settings)
    except EngineMissing as error:
        _fail(str(error))


@app.command()
def predict(
    text: Annotated[str, typer.Argument(help="The text to classify; - reads it from standard input.")],
    model: Model = None,
    models_dir: ModelsDir = None,
    lines: Annotated[bool, typer.Option("--lines", help="With -: read one text per line.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line and text.")] = False,
) -> None:
    """Classify texts without a service and colour their tokens by weight."""
    settings = _settings(models_dir=models_dir)
    texts = _texts(text, lines)
    _silence_tensorflow()
    from models.bundle.verification import BundleError
    from service.http.observe import configure_logging
    from service.local import LocalModel
    from service.terminal import print_predictions, say_what_weights_are_worth

    configure_logging("warning")
    try:
        loaded = LocalModel.load(settings, model)
        predictions = loaded.predict(texts)
    except (BundleError, ValueError) as error:
        _fail(str(error))
    if as_json:
        for prediction in predictions:
            sys.stdout.buffer.write(orjson.dumps(prediction, option=orjson.OPT_APPEND_NEWLINE))
    else:
        print_predictions(Console(), texts, predictions)
    say_what_weights_are_worth(Console(stderr=True), loaded.bundle.card)


@app.command()
def score(
    table: Annotated[
        str,
        typer.Argument(
            help="A .csv, .tsv, .txt, .jsonl, .json or .parquet file, also .gz or .zst; - for standard input."
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="The file to write, in any of these formats; - for standard output.")
    ],
    column: Annotated[str, typer.Option(help="The column of texts.")] = "text",
    tokens: Annotated[bool, typer.Option("--tokens", help="Add every token with its weight and contribution.")] = False,
    explain_columns: Annotated[
        bool, typer.Option("--explain-columns", help="Add the most important tokens as text columns.")
    ] = False,
    prefix: Annotated[str, typer.Option(help="Prefix of the added columns' names.")] = "",
    stream_format: Annotated[Literal["csv", "tsv", "jsonl"], typer.Option(help="Format of -.")] = "jsonl",
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of the input. Default: that of its byte order mark, or UTF-8.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Character between the input's fields, or tab. Default: found in the header.")
    ] = None,
    no_quotes: Annotated[bool, typer.Option("--no-quotes", help="Read quotes in the input as text.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start over and replace the output.")] = False,
    window_rows: Annotated[
        int, typer.Option(min=1, help="Rows to sort by length, hold in memory and write together.")
    ] = WINDOW_ROWS,
    model: Model = None,
    models_dir: ModelsDir = None,
) -> None:
    """Classify every text of a file and write the file with the answers added (docs/scoring.md)."""
    settings = _settings(models_dir=models_dir)
    if resume and force:
        _fail("Expected --resume or --force. Received both.")
    from models.tables.columns import Chosen
    from models.tables.errors import TableError
    from models.tables.table import Spelling, open_reader, open_writer, table_at
    from service.scoring.errors import ScoreError
    from service.scoring.output import check_free

    try:  # before loading Keras and a model, which takes seconds
        source, to = table_at(table, stream_format), table_at(output, stream_format)
        if to.path is not None:
            check_free(to.path, resume=resume, force=force)
        spelling = Spelling.of_options(encoding, delimiter, no_quotes)
        chosen = Chosen(column, "--column")
        reader = open_reader(source, chosen, spelling=spelling, window_rows=window_rows, to=to)
        open_writer(to, reader, {})
    except (ScoreError, TableError) as error:
        _fail(str(error))
    _silence_tensorflow()
    from models.bundle.verification import BundleError
    from service.http.observe import configure_logging
    from service.inference.loading import prepare_process
    from service.local import open_for_scoring
    from service.scoring.columns import Added
    from service.scoring.run import Job, score

    configure_logging("warning")
    kept = "" if output == "-" else " Written rows are kept: continue with --resume."
    try:
        prepare_process(settings)
        scorer = open_for_scoring(settings, model)
        added = Added(scorer.bundle.card.labels, tokens=tokens, explain=explain_columns, prefix=prefix)
        score(Job(reader, to, added, resume=resume, force=force), scorer)
    except (BundleError, ScoreError, TableError) as error:
        _fail(str(error))
    except BrokenPipeError:  # the reader of our output has stopped
        raise typer.Exit(1) from None
    except OSError as error:
        _fail(f"{error}.{kept}")
    except KeyboardInterrupt:
        typer.echo(f"Stopped.{kept}", err=True)
        raise typer.Exit(130) from None


@app.command()
def models(models_dir: ModelsDir = None) -> None:
    """List the bundles in a folder."""
    settings = _settings(models_dir=models_dir)
    _silence_tensorflow()
    from models.bundle.verification import BundleError
    from service.local import find_bundles
    from service.terminal import print_bundles

    try:
        found = find_bundles(settings.models_dir)
    except BundleError as error:
        _fail(str(error))
    print_bundles(Console(), found)


def _texts(text: str, lines: bool) -> list[str]:
    """Return the texts that `predict` was given, without blank lines."""
    if text != "-":
        if lines:
            _fail("Expected - as the text with --lines. Received a text.")
        try:
            text.encode()
        except UnicodeEncodeError:
            _fail("Expected a text in UTF-8. Received other bytes.")
        return [text]
    try:
        whole = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        _fail(f"Expected UTF-8 on standard input. Received other bytes at offset {error.start}.")
    # Not splitlines(), which also splits at characters that occur inside reviews.
    texts = [line for line in whole.replace("\r\n", "\n").split("\n") if line.strip()] if lines else [whole]
    if not texts:
        _fail("Expected at least one line with a word on standard input. Received none.")
    return texts


def _silence_tensorflow() -> None:
    """Silence TensorFlow's messages while it loads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # silences its message; a few texts are fast without


def _settings(**given: Any) -> Settings:
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        _fail("\n".join(faults_in(error, [name for name, value in given.items() if value is not None])))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(2)
