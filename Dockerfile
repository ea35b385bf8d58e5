# Four targets: cpu (the default) serves, onnx serves without Keras and TensorFlow, gpu serves and trains on NVIDIA GPUs, train trains
# on a CPU.
#
#   docker build -t heed:cpu .
#   docker build -t heed:onnx --target onnx --build-arg VARIANT=onnx .
#   docker build -t heed:gpu --target gpu --build-arg VARIANT=gpu .
#   docker build -t heed:train --target train --build-arg VARIANT=train .
#
# BuildKit needs no VARIANT; the classic builder does (see docker/install-lock). More in docs/containers.md.

FROM python:3.11-slim-bookworm AS builder
RUN apt-get update && apt-get install -y -q --no-install-recommends binutils gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY docker/install-lock /usr/local/bin/install-lock

FROM builder AS environment-gpu
ARG TARGETARCH
ARG VARIANT=serve
COPY requirements/gpu.txt /requirements/
RUN install-lock gpu

FROM builder AS environment-train
ARG TARGETARCH
ARG VARIANT=serve
COPY requirements/train.txt /requirements/
RUN install-lock train

FROM builder AS environment-onnx
ARG TARGETARCH
ARG VARIANT=serve
COPY requirements/onnx.txt /requirements/
RUN install-lock onnx

FROM builder AS environment-serve
ARG TARGETARCH
ARG VARIANT=serve
COPY requirements/serve.txt /requirements/
RUN install-lock serve

# Our own packages, with their C and their byte code compiled. The bundles stand apart, because they alone belong to the user that runs.
FROM builder AS source
COPY models /app/models
COPY training /app/training
COPY service /app/service
RUN mkdir -p /app/models/saved && mv /app/models/saved /saved \
    && cd /app && python -c "from models.native.build import build; build()" \
    && python -m compileall -q --invalidation-mode unchecked-hash /app

FROM python:3.11-slim-bookworm AS runtime
LABEL org.opencontainers.image.title="heed" \
      org.opencontainers.image.description="Serves sentiment classifiers that say where they looked." \
      org.opencontainers.image.version="0.3.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin heed
# HOME: nothing is ever written outside /tmp and the bundles, so the root file system may be read-only.
ENV PATH=/opt/heed/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    HEED_HOST=0.0.0.0 \
    HEED_PORT=8000
WORKDIR /app
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=180s --retries=3 \
    CMD ["/opt/heed/bin/python", "-S", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['HEED_PORT']), timeout=3); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["/opt/heed/bin/python", "-m", "service", "serve"]

FROM runtime AS trainer
ENV XDG_CACHE_HOME=/cache
RUN install -d -o heed -g heed /cache /data

FROM trainer AS gpu
COPY --from=environment-gpu /opt/heed /opt/heed
COPY --from=source /app /app
COPY --from=source --chown=10001:10001 /saved /app/models/saved
USER 10001:10001

FROM trainer AS train
COPY --from=environment-train /opt/heed /opt/heed
COPY --from=source /app /app
COPY --from=source --chown=10001:10001 /saved /app/models/saved
USER 10001:10001
HEALTHCHECK NONE
ENTRYPOINT ["/opt/heed/bin/python", "-m", "training"]
CMD ["--help"]

FROM runtime AS onnx
ENV HEED_ENGINE=onnx
COPY --from=environment-onnx /opt/heed /opt/heed
COPY --from=source /app/models /app/models
COPY --from=source /app/service /app/service
COPY --from=source --chown=10001:10001 /saved /app/models/saved
USER 10001:10001

FROM runtime AS cpu
COPY --from=environment-serve /opt/heed /opt/heed
COPY --from=source /app/models /app/models
COPY --from=source /app/service /app/service
COPY --from=source --chown=10001:10001 /saved /app/models/saved
USER 10001:10001
