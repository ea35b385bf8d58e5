"""The kernels can be deleted: the folder, and one adapter for each kernel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

SCRIPT = """
import sys
from pathlib import Path
from models.tokenizer import Tokenizer
assert Tokenizer(["film"]).encode("A film!", 9).ids.tolist() == [1, 2, 1]
from fastapi.testclient import TestClient
from service.http.app import create_app
from service.settings import Settings
import time
settings = Settings(models_dir=Path(sys.argv[1]), batch_sizes=(1,), token_buckets=(64,), reload_seconds=0)
with TestClient(create_app(settings)) as client:
    for _ in range(3000):
        if client.get("/readyz").status_code == 200:
            break
        time.sleep(0.1)
    answer = client.post("/predict", json={"text": "A wonderful, moving film"})
    assert answer.status_code == 200, answer.text
    tokens = answer.json()["predictions"][0]["tokens"]
    assert [token["text"] for token in tokens] == ["A", "wonderful", ",", "moving", "film"]
    assert abs(sum(token["weight"] for token in tokens) - 1) < 1e-4
assert not any(name.startswith("models.native") for name in sys.modules)
"""


def test_without_the_kernels_everything_works(tmp_path: Path) -> None:
    from tests.tiny_bundle import build_tiny_bundle

    for room in ("models", "service"):
        ignored = shutil.ignore_patterns("native", "native_engine.py", "saved", "__pycache__")
        shutil.copytree(ROOT / room, tmp_path / "code" / room, ignore=ignored)
    build_tiny_bundle(tmp_path / "models", encoder="bilstm", encoder_units=16)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "code")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, str(tmp_path / "models")],
        cwd=tmp_path / "code",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
