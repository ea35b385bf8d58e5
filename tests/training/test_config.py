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


@pytest.mark.parametrize("base", ["../bases/one.toml", "{root}/bases/one.toml", "two.toml"])
def test_a_base_may_stand_anywhere_and_have_one_itself(tmp_path: Path, base: str) -> None:
    for folder in ("bases", "mine"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bases" / "one.toml").write_text('base = "zero.toml"\nbatch_size = 7\n')
    (tmp_path / "bases" / "zero.toml").write_text(MINIMAL.replace("[[", "[model]\ndropout = 0.5\n[["))
    (tmp_path / "mine" / "two.toml").write_text('base = "../bases/one.toml"\n')
    file = tmp_path / "mine" / "y.toml"
    file.write_text(f'base = "{base.format(root=tmp_path)}"\nname = "y"\n')
    config = read_config(file)
    assert (config.name, config.batch_size, config.model) == ("y", 7, {"dropout": 0.5})


def test_a_base_may_be_one_of_the_project(tmp_path: Path) -> None:
    file = tmp_path / "y.toml"
    file.write_text('base = "quick_bilstm.toml"\n')
    assert read_config(file) == read_config(CONFIGS / "quick_bilstm.toml")


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ('"none.toml"', "readable TOML file"),
        ('"y.toml"', "does not build on this file"),
        ('"z.toml"', "does not build on this file"),
        ("5", "name a file"),
    ],
)
def test_a_base_that_is_no_file_or_has_no_end_is_refused(tmp_path: Path, base: str, message: str) -> None:
    file = tmp_path / "y.toml"
    file.write_text(f'base = {base}\nname = "y"\n')
    (tmp_path / "z.toml").write_text('base = "y.toml"\n')
    with pytest.raises(ConfigError, match=message):
        read_config(file)


def test_overrides_change_single_values(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(MINIMAL + "[[phases]]\nepochs = 2\nlearning_rate = 1e-3\n[vectors]\nepochs = 3\n")
    given = ["model.encoder_units=64", 'model.encoder = "bigru"', "phases.1.epochs=5", "seed=1", "seed=2"]
    config = read_config(file, [*given, "vectors=false"])
    assert config.model == {"encoder_units": 64, "encoder": "bigru"}
    assert [phase.epochs for phase in config.phases] == [1, 5]
    assert (config.seed, config.vectors) == (2, False)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.encoder=bigru", r"--set model.encoder=bigru: expected KEY=VALUE with a value in TOML"),
        ("seed", "expected KEY=VALUE"),
        ("model.units=3", r"x.toml with --set model.units=3: model: .*\['units'\]"),
        ("sede=3", "sede: Extra inputs"),
        ("phases.4.epochs=3", "phases"),
        ("batch_size=0", "batch_size: Input should be greater"),
    ],
)
def test_a_wrong_override_is_refused(tmp_path: Path, override: str, message: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text(MINIMAL)
    with pytest.raises(ConfigError, match=message):
        read_config(file, [override])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a readable TOML file"):
        read_config(tmp_path / "none.toml")
