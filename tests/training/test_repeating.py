import os
import subprocess
import sys
from pathlib import Path


def test_two_runs_with_one_seed_give_the_same_weights() -> None:
    command = [sys.executable, "-m", "tests.training.repeated_run"]
    root = Path(__file__).parents[2]
    runs = [
        subprocess.Popen(
            command, cwd=root, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONHASHSEED": str(order)}
        )
        for order in (1, 2)
    ]
    one, other = (run.communicate(timeout=180)[0] for run in runs)
    assert len(set(one.splitlines())) == 2
    assert one == other
