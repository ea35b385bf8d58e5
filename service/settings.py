"""The settings of the service: one table, read from `HEED_*` environment variables, documented from itself.

`python -m service.settings` prints the table as Markdown; it is `docs/settings.md`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PositiveInt, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _split_at_commas(value: Any) -> Any:
    """`"1, 8,32"` -> `["1", "8", "32"]`; what is a sequence already stays as it is."""
    if isinstance(value, str):
        return [part for part in (each.strip() for each in value.split(",")) if part]
    return value


# NoDecode: an environment variable holds a plain comma separated list, not JSON.
IntegerList = Annotated[tuple[PositiveInt, ...], NoDecode, BeforeValidator(_split_at_commas)]
SecretList = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_at_commas)]


class Settings(BaseSettings):
    """Every setting, its default and what it does. `Settings(port=9000)` overrides, `HEED_PORT=9000` as well."""

    model_config = SettingsConfigDict(env_prefix="HEED_", frozen=True, extra="forbid", validate_default=True)

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` for every interface.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    models_dir: Path = Field(Path("models/saved"), description="Folder whose sub-folders are the bundles to serve.")
    default_model: str = Field("default", min_length=1, description="Model that answers a request that names none.")
    api_keys: SecretList = Field(
        (), description="Comma separated keys, any of which opens the service; none: it is open."
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
    deadline_seconds: float = Field(30.0, gt=0, description="Longest wait for an answer, queue and compute together.")
    max_queued_tokens: PositiveInt = Field(131_072, description="Tokens admitted and not yet answered; beyond it, 429.")
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

    @model_validator(mode="after")
    def _check_shapes(self) -> Self:
        for name, sizes in (("batch_sizes", self.batch_sizes), ("token_buckets", self.token_buckets)):
            if not sizes or list(sizes) != sorted(set(sizes)):
                raise ValueError(f"{name}: expected one or more different integers in rising order. Received {sizes}.")
        return self


def settings_table() -> str:
    """`docs/settings.md`: every setting as a Markdown table, derived from `Settings`."""
    prefix = Settings.model_config["env_prefix"]
    lines = [
        "# Settings",
        "",
        "Read from the environment when the service starts. Lists are comma separated.",
        "This page is printed by `python -m service.settings`.",
        "",
        "| variable | default | what it does |",
        "| --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else field.default
        shown = ",".join(str(each) for each in default) if isinstance(default, tuple) else str(default)
        lines.append(f"| `{prefix}{name.upper()}` | {f'`{shown}`' if shown else 'none'} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(settings_table(), end="")
