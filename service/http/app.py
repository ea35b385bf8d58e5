"""The HTTP service: its lifespan and its routes, each as thin as it can be."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from models.bundle.card import BundleCard
from service import VERSION
from service.http.metrics import Metrics
from service.http.middleware import BodyLimit, key_requirement
from service.http.observe import Observe
from service.http.openapi import PREDICTING, describe, json_body, problems, success
from service.http.predict import PREDICT_PATH, ShortRoad, predict, refuse_while_draining
from service.http.responses import json_response, problem_response
from service.http.schemas import Health, ModelList, PredictRequest, PredictResponse
from service.inference.errors import (
    ClientGone,
    HeedError,
    InternalError,
    NotReady,
    Unauthorised,
    UnknownModel,
    UnknownRoute,
    WrongMethod,
)
from service.inference.registry import Registry
from service.predictions import describe_model
from service.settings import Settings

health = APIRouter(tags=["operations"])
keyed = APIRouter()
"""The routes that need a key, where keys are set."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service as an ASGI app; without `settings` they are read from the environment.

    `app.state` holds `settings`, `registry`, `metrics` and `draining`.
    """
    settings = settings or Settings()
    app = FastAPIOffline(
        title="Heed",
        summary="Sentiment classifiers that say where they looked.",
        version=VERSION,
        lifespan=_lifespan,
        redirect_slashes=False,
        swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
    )
    app.state.settings = settings
    app.state.registry = Registry(settings)
    app.state.metrics = Metrics()
    app.state.metrics.show_models(app.state.registry)
    app.state.draining = False
    app.include_router(keyed, dependencies=[Depends(key_requirement(settings.api_keys))])
    app.include_router(health)
    app.add_exception_handler(HeedError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(ClientDisconnect, _answer_disconnect)
    app.add_middleware(BodyLimit, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(Observe, metrics=app.state.metrics)  # added last, so outermost
    app.state.short_road = Observe(
        BodyLimit(ShortRoad(settings), max_body_bytes=settings.max_body_bytes), metrics=app.state.metrics
    )
    document = describe(app, settings)
    app.openapi = lambda: document  # type: ignore[method-assign]
    return app


def past_the_framework(app: FastAPI) -> ASGIApp:
    """`app` as it is served: the requests that there are many of go past all of its layers."""
    short_road = app.state.short_road

    async def fork(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PREDICT_PATH and scope["method"] == "POST":
            scope["app"] = app
            await short_road(scope, receive, send)
        else:
            await app(scope, receive, send)

    return fork


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    registry: Registry = app.state.registry
    await registry.start()
    try:
        yield
    finally:
        app.state.draining = True
        await registry.close()


keyed.post(
    PREDICT_PATH,
    tags=["predictions"],
    summary="Classify texts and see where the model looked",
    response_model=PredictResponse,
    responses=success("One prediction a text, in their order.", "Server-Timing") | problems(*PREDICTING),
    openapi_extra=json_body(PredictRequest),
)(predict)


@keyed.get(
    "/models",
    tags=["models"],
    summary="What is served",
    response_model=ModelList,
    responses=success("The loaded models, and the bundles that were refused.") | problems(Unauthorised, InternalError),
)
async def list_models(request: Request) -> Response:
    """List the loaded models, and the bundles that were refused with the reason."""
    registry: Registry = request.app.state.registry
    models = [
        describe_model(card) | {"labels": card.labels, "max_tokens": card.max_tokens}
        for card in (served.bundle.card for served in registry.served.values())
    ]
    refused = [{"name": name, "reason": reason} for name, reason in registry.refused.items()]
    default = request.app.state.settings.default_model
    return json_response({"default": default, "models": models, "refused": refused})


@keyed.get(
    "/models/{name}",
    tags=["models"],
    summary="A model's card",
    response_model=BundleCard,
    responses=success("How the model was made, how good it is, and how far its weights can be trusted.")
    | problems(Unauthorised, UnknownModel, InternalError, NotReady),
)
async def show_model(request: Request, name: str) -> Response:
    """Show how a model was made, how good it is, and how far its weights can be trusted."""
    registry: Registry = request.app.state.registry
    return json_response(registry.get(name).bundle.card.model_dump(mode="json"))


@keyed.get(
    "/metrics",
    tags=["operations"],
    summary="Prometheus metrics",
    response_class=Response,
    responses=success("Prometheus' text format.") | problems(Unauthorised, InternalError),
)
async def show_metrics(request: Request) -> Response:
    """Show counts and times for Prometheus; nothing in them is of a review."""
    return Response(request.app.state.metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@health.get("/", include_in_schema=False)
async def start_page() -> Response:
    """Lead whoever opens the bare address in a browser to the documentation."""
    return RedirectResponse("docs")


@health.get(
    "/livez",
    summary="Is the process alive?",
    response_model=Health,
    responses=success("The process answers.") | problems(InternalError),
)
async def livez() -> Response:
    """Tell that the process answers."""
    return json_response({"status": "alive"})


@health.get(
    "/startupz",
    summary="Is the first load over?",
    response_model=Health,
    responses=success("The first load is over.") | problems(InternalError, NotReady),
)
async def startupz(request: Request) -> Response:
    """Tell whether the first load of the bundles is over."""
    if not request.app.state.registry.started:
        raise NotReady("The models are being loaded.")
    return json_response({"status": "started"})


@health.get(
    "/readyz",
    summary="Are predictions answered?",
    response_model=Health,
    responses=success("Predictions are answered.") | problems(InternalError, NotReady),
)
async def readyz(request: Request) -> Response:
    """Tell whether predictions are answered: a model is warm, the last forward pass was sound, nothing is draining."""
    refuse_while_draining(request.app.state)
    registry: Registry = request.app.state.registry
    if not registry.ready:
        raise NotReady(registry.not_ready_reason or "No model is ready.")
    return json_response({"status": "ready"})


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HeedError)
    return problem_response(error, request.scope)


async def _answer_disconnect(request: Request, error: Exception) -> Response:
    return problem_response(ClientGone(), request.scope)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: no such path, or not that method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        return problem_response(
            UnknownRoute(f"Nothing is served at {path[:100]!r}. See /docs for what is."), request.scope
        )
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        detail = f"Expected one of the methods {allow} at {path!r}. Received {request.method[:20]}."
        return problem_response(WrongMethod(detail, allow=allow), request.scope)
    return problem_response(InternalError(), request.scope)
