"""The settings of the service, read from `HEED_*` environment variables.

`python -m service.settings` prints them as a Markdown table, which is `docs/settings.md`.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PositiveInt, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_PREFIX = "HEED_"


def _split_at_commas(value: Any) -> Any:
    """Split `"1, 8,32"` into `["1", "8", "32"]`; a sequence stays as it is."""
    if isinstance(value, str):
        return [part for part in (each.strip() for each in value.split(",")) if part]
    return value


def _split_keys(value: Any) -> Any:
    """Split keys at commas.

    Raises:
        ValueError: there is text but no key in it. Taking that for "no keys" would open the service by mistake.
    """
    keys = _split_at_commas(value)
    if isinstance(value, str) and not keys:
        raise ValueError("expected keys separated by commas, or an empty value for a service without keys.")
    return keys


# NoDecode: an environment variable holds a plain comma separated list, not JSON.
Size = Annotated[int, Field(gt=0, lt=2**31)]
IntegerList = Annotated[tuple[Size, ...], NoDecode, BeforeValidator(_split_at_commas)]
StringList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
SecretList = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_keys)]


class Settings(BaseSettings):
    """Every setting with its default. `Settings(port=9000)` overrides one, and so does `HEED_PORT=9000`."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", validate_default=True
    )

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` for every interface.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    models_dir: Path = Field(Path("models/saved"), description="Folder whose sub-folders are the bundles to serve.")
    default_model: str = Field("default", min_length=1, description="Model that answers a request that names none.")
    api_keys: SecretList = Field(
        (), description="Comma separated keys, any of which opens the service. Without keys it is open to everyone."
    )
    cors_origins: StringList = Field(
        (), description="Comma separated origins whose pages may call the service from a browser; `*` for all."
    )
    root_path: str = Field(
        "",
        pattern="^(/.*[^/])?$",
        description="Path prefix under which a proxy publishes the service, such as `/heed`.",
    )
    engine: Literal["keras", "onnx"] = Field(
        "keras",
        description="What runs the models: `keras` (extra `cpu` or `gpu`), or `onnx`, ONNX Runtime without Keras "
        "(extra `onnx`).",
    )
    native: bool = Field(
        True,
        description="Use the kernels in C where they are compiled: for the tokenizer, for answers and, on a processor, "
        "for the forward passes of the models that they know, whichever `engine` is set.",
    )
    deadline_seconds: float = Field(
        30.0, gt=0, description="Longest wait for an answer once the request is read: tokenizing, queue and compute."
    )
    head_seconds: float = Field(
        10.0, gt=0, description="Longest time for a request's head, and for a connection to stay open unused."
    )
    body_seconds: float = Field(30.0, gt=0, description="Longest time for a request's body.")
    write_seconds: float = Field(30.0, gt=0, description="Longest time for a client to take its answer.")
    max_connections: PositiveInt = Field(
        4096, description="Open connections. Beyond it, the one that has sent no whole request for longest is closed."
    )
    max_queued_tokens: PositiveInt = Field(
        65_536, description="Padded tokens admitted and not yet answered, of all models; beyond it, 429."
    )
    batch_sizes: IntegerList = Field(
        (1, 4, 8), description="Texts in a forward pass; Keras compiles these, other engines run up to the last."
    )
    token_buckets: IntegerList = Field(
        (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024),
        description="Padded lengths in tokens; a text takes the next one up, and shares a batch with texts of its own. "
        "Keras compiles these.",
    )
    max_batch_tokens: PositiveInt = Field(
        4096, description="Padded tokens in one forward pass, at most; a single text always goes."
    )
    engine_threads: int = Field(
        0, ge=0, description="Forward passes of a model at once; 0: one for each core that the process may use."
    )
    reload_seconds: float = Field(
        5.0, ge=0, description="How often `models_dir` is looked at for new bundles; 0: never."
    )
    drain_seconds: float = Field(8.0, ge=0, description="Time for accepted requests to finish after SIGTERM.")
    max_body_bytes: PositiveInt = Field(2 * 1024 * 1024, description="Largest request body; beyond it, 413.")
    max_texts: PositiveInt = Field(64, description="Most texts in one request.")
    max_text_characters: PositiveInt = Field(20_000, description="Longest text, in code points.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity that is logged."
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _ignore_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _drop_blanks(cls, values: Any) -> Any:
        """Let blank values mean the default, except for keys, where a blank may be a mistake that opens the service."""
        return {name: value for name, value in values.items() if name == "api_keys" or not _is_blank(value)}

    @model_validator(mode="after")
    def _check_shapes(self) -> Self:
        for name, sizes in (("batch_sizes", self.batch_sizes), ("token_buckets", self.token_buckets)):
            if not sizes or list(sizes) != sorted(set(sizes)):
                raise ValueError(f"{name}: expected one or more different integers in rising order. Received {sizes}.")
        return self


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def faults_in(error: ValidationError, given: Collection[str] = ()) -> list[str]:
    """Describe each wrong setting in a line: its variable, or its option if it is in `given`, its value, and why."""
    lines = []
    for each in error.errors():
        name = str(each["loc"][0]) if each["loc"] else ""
        where = f"--{name.replace('_', '-')}" if name in given else f"{_PREFIX}{name.upper()}" if name else "settings"
        received = "" if name in ("api_keys", "") else f" Received {each['input']!r}."
        lines.append(f"{where}: {each['msg'].removeprefix('Value error, ')}{'.' if received else ''}{received}")
    return lines


def settings_table() -> str:
    """Return `docs/settings.md`: every setting as a row of a Markdown table."""
    lines = [
        "# Settings",
        "",
        "Read from the environment when the service starts. Lists are comma separated.",
        "A blank value means the default.",
        "This page is printed by `python -m service.settings`.",
        "",
        "| variable | default | what it does |",
        "| --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else field.default
        shown = ",".join(str(each) for each in default) if isinstance(default, tuple) else str(default)
        lines.append(f"| `{_PREFIX}{name.upper()}` | {f'`{shown}`' if shown else 'none'} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(settings_table(), end="")
