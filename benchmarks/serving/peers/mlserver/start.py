"""Start MLServer on the port that is given, with the settings in this folder and the environment's."""

import asyncio
import os
import sys

from mlserver import MLServer, ModelSettings, Settings
from mlserver.settings import ModelParameters

from benchmarks.serving.peers.classifier import MAX_BATCH, WAIT_SECONDS, WORKERS
from benchmarks.serving.peers.mlserver.server import Sentiment


async def main(port: int) -> None:
    """Serve until a signal comes."""
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=port,
        grpc_port=0,  # any that is free: nobody asks there
        metrics_endpoint=None,
        parallel_workers=WORKERS if WORKERS > 1 else 0,  # 0: in the server's own process, which its docs advise for one
        gzip_enabled=False,
        load_models_at_startup=False,
    )
    model = ModelSettings(
        name="sentiment",
        implementation=Sentiment,
        max_batch_size=MAX_BATCH,
        max_batch_time=WAIT_SECONDS,
        parameters=ModelParameters(version="1"),
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    os.environ.setdefault("MLSERVER_DEBUG", "false")
    asyncio.run(main(int(sys.argv[1])))
