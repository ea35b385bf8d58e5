"""Runs the command line again and again, each time in a process that is forked off one that has imported everything.

    echo '["score", "in.csv", "-o", "out.csv"]' | python -m tests.service.scoring.forking

Answers each line of arguments with the number of the process, and with its exit status once it has ended.
"""

import json
import os
import sys
from importlib import import_module

from service.cli import app

if __name__ == "__main__":
    for module in (
        "tensorflow",
        "service.local",
        "service.http.observe",
        "service.scoring.run",
        "models.tables.table",
    ):
        import_module(module)
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            app(json.loads(line))
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
