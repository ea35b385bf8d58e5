from pathlib import Path

import pytest

from training import ConfigError
from training.config import TrainConfig, read_config

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
MINIMAL = 'name = "x"\n[[phases]]\nepochs = 1\nlearning_rate = 1e-3\n'


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_config_of_the_project_is_valid_and_named_for_its_file(file: Path) -> None:
    assert read_config(file).name == file.stem


def test_a_minimal_file_gets_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(MINIMAL)
    config = read_config(file)
    assert config == TrainConfig(name="x", phases=config.phases)
    assert config.vectors is False


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name = ", "expected TOML"),
        (MINIMAL + "patient = 3\n", "patient"),
        (MINIMAL.replace("[[", "[model]\nunits = 3\n[["), r"model: .*\['units'\]"),
        (MINIMAL.replace("[[", "[model]\nlabels = 3\n[["), r"model: .*no key that the data determines.*labels"),
        (MINIMAL.replace("[[", '[model]\nencoder_units = "many"\n[['), "model: .*Expected the values"),
        (MINIMAL.replace("[[", '[model]\nmechanism = "magic"\n[['), "mechanism"),
        (
            MINIMAL.replace("[[", "[model]\nattention = { sharpness = 2 }\n[["),
            r"Expected only options of additive_pool",
        ),
        (MINIMAL.replace("[[", "[model]\nattention = { units = 0 }\n[["), "units of at least 1"),
        (MINIMAL.replace("[[", '[model]\nposition = "trainable"\n[['), "as many positions as data.max_tokens=1024"),
        (MINIMAL.replace("[[", "[model]\ndropout = 1.5\n[["), r"dropout in \[0, 1\)"),
        (MINIMAL.replace("epochs = 1", "epochs = 0"), "phases.0.epochs"),
        (MINIMAL.replace("epochs = 1", 'epochs = "1"'), "phases.0.epochs"),
        ('name = "x"\n', "phases"),
        (MINIMAL.replace('"x"', '"../x"'), "name"),
    ],
)
def test_a_wrong_file_is_refused_and_the_key_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message) as refusal:
        read_config(file)
    assert "wrong.toml" in str(refusal.value)


def test_a_file_says_only_what_its_base_does_not(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(MINIMAL.replace("[[", "[model]\ndropout = 0.5\nencoder_units = 7\n[["))
    file = tmp_path / "y.toml"
    file.write_text('base = "base.toml"\nname = "y"\n[model]\nencoder_units = 9\n')
    config = read_config(file)
    assert (config.name, config.model) == ("y", {"dropout": 0.5, "encoder_units": 9})
    assert config.phases == read_config(tmp_path / "base.toml").phases


@pytest.mark.parametrize("base", ["../base.toml", "none.toml", "y.toml", "/etc/passwd"])
def test_a_base_that_is_not_a_file_beside_it_without_a_base_is_refused(tmp_path: Path, base: str) -> None:
    file = tmp_path / "y.toml"
    file.write_text(f'base = "{base}"\nname = "y"\n')
    with pytest.raises(ConfigError, match=r"in the same folder|readable TOML file"):
        read_config(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a readable TOML file"):
        read_config(tmp_path / "none.toml")
