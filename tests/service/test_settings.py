"""Settings are read from the environment, refuse what cannot work, and document themselves."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, faults_in, settings_table

ROOT = Path(__file__).parents[2]


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEED_PORT", "9000")
    monkeypatch.setenv("HEED_API_KEYS", "one, two,")
    monkeypatch.setenv("HEED_BATCH_SIZES", "1,4")
    settings = Settings()
    assert settings.port == 9000
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two"]
    assert settings.batch_sizes == (1, 4)


def test_keys_never_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEED_API_KEYS", "very-secret")
    assert "very-secret" not in repr(Settings()) + str(Settings()) + Settings().model_dump_json()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("port", "70000", "less than or equal to 65535"),
        ("batch_sizes", "8,1", "in rising order"),
        ("batch_sizes", ",", "one or more"),
        ("token_buckets", "16,2147483648", "less than 2147483648"),
        ("api_keys", " , ", "expected keys separated by commas"),
        ("api_keys", " ", "expected keys separated by commas"),
        ("root_path", "heed/", "pattern"),
        ("token_buckets", "16,16", "in rising order"),
        ("token_buckets", "0", "greater than 0"),
        ("max_batch_tokens", "0", "greater than 0"),
        ("deadline_seconds", "0", "greater than 0"),
        ("log_level", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_what_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str) -> None:
    monkeypatch.setenv(f"HEED_{name.upper()}", value)
    with pytest.raises(ValidationError, match=expected):
        Settings()


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_variable_means_the_default(monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    for name in set(Settings.model_fields) - {"api_keys"}:
        monkeypatch.setenv(f"HEED_{name.upper()}", blank)
    monkeypatch.setenv("HEED_API_KEYS", "")
    assert Settings() == Settings(_env_prefix="OTHER_")  # type: ignore[call-arg]


def test_the_log_level_may_be_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEED_LOG_LEVEL", "INFO")
    assert Settings().log_level == "info"


def test_a_wrong_value_is_named_with_its_variable_or_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEED_PORT", "tcp://10.0.0.1:80")  # as Kubernetes does for a Service named heed
    monkeypatch.setenv("HEED_API_KEYS", ",")
    with pytest.raises(ValidationError) as caught:
        Settings(host=5)  # type: ignore[arg-type]
    lines = {line.split(": ")[0]: line for line in faults_in(caught.value, given=["host"])}
    assert set(lines) == {"HEED_PORT", "HEED_API_KEYS", "--host"}
    assert "'tcp://10.0.0.1:80'" in lines["HEED_PORT"]
    assert "Received" not in lines["HEED_API_KEYS"]


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="batch_size"):
        Settings(batch_size=3)  # type: ignore[call-arg]


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `HEED_{name.upper()}` |" in settings_table()


def test_the_page_is_what_the_command_prints() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "service.settings"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert printed == (ROOT / "docs" / "settings.md").read_text() == settings_table()
