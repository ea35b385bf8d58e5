"""The FastAPI app: its lifespan and its routes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from models.bundle.card import BundleCard
from service import VERSION
from service.http.metrics import Metrics
from service.http.middleware import REFUSAL, SECURITY_SCHEMES, LoadShedding, Observe, check_key
from service.http.openapi import PREDICTING, describe, json_body, path_parameter, problems, success
from service.http.page import add_page
from service.http.predict import predict, refuse_while_draining
from service.http.problems import (
    ClientGone,
    InternalError,
    Unauthorised,
    UnknownRoute,
    WrongMethod,
    problem_response,
)
from service.http.requests import PredictRequest
from service.http.schemas import Health, ModelList, PredictResponse
from service.inference.errors import HeedError, NotReady, UnknownModel
from service.inference.registry import Registry
from service.predictions import describe_model
from service.settings import Settings

_PREDICT = "/predict"
_ASSETS = "static-offline-docs"
_DOCUMENTATION = {"tryItOutEnabled": True, "displayRequestDuration": True}
_CORS_HEADERS = ("Authorization", "Content-Encoding", "Content-Type", "X-API-Key", "X-Request-Id")
_CORS_EXPOSED = ("Retry-After", "Server-Timing", "X-Request-Id")


class RawRoute(APIRoute):
    """A route whose endpoint takes the raw request and returns the response.

    FastAPI documents it, but solves no dependencies and serialises nothing. A route with dependencies needs an API key.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.app = self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        if self.dependencies:
            check_key(scope["app"], scope)
        await (await self.endpoint(request))(scope, receive, send)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service as an ASGI app; without `settings` they are read from the environment.

    `app.state` holds `settings`, `registry`, `metrics`, `draining`, and `load_shedding`, by which the server refuses
    requests unread.
    """
    settings = settings or Settings()
    app = FastAPIOffline(
        docs_url=None,
        static_url=f"/{_ASSETS}",
        title="Heed",
        summary="Sentiment classifiers that say where they looked.",
        version=VERSION,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.registry = Registry(settings)
    app.state.metrics = Metrics()
    app.state.metrics.show_models(app.state.registry)
    app.state.draining = False
    app.state.load_shedding = LoadShedding(app, _PREDICT)
    _add_routes(app)
    app.add_exception_handler(HeedError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(ClientDisconnect, _answer_disconnect)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=_CORS_HEADERS,
            expose_headers=_CORS_EXPOSED,
        )
    app.add_middleware(Observe, metrics=app.state.metrics)  # added last, so outermost
    document = describe(app, settings)
    app.openapi = lambda: document  # type: ignore[method-assign]
    for route in app.routes:  # not before the document is made, which would describe HEAD apart from GET
        if isinstance(route, APIRoute) and route.endpoint in (livez, startupz, readyz):
            route.methods = {"GET", "HEAD"}
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    registry: Registry = app.state.registry
    await registry.start()
    try:
        yield
    finally:
        app.state.draining = True
        await registry.close()


def _add_routes(app: FastAPI) -> None:
    app.router.route_class = RawRoute
    keyed = list(SECURITY_SCHEMES)
    app.add_api_route(
        _PREDICT,
        predict,
        methods=["POST"],
        dependencies=keyed,
        tags=["predictions"],
        summary="Classify texts and see where the model looked",
        response_model=PredictResponse,
        responses=success("One prediction per text, in their order.", "Server-Timing") | problems(*PREDICTING),
        openapi_extra=json_body(PredictRequest),
    )
    app.add_api_route(
        "/models",
        list_models,
        dependencies=keyed,
        tags=["models"],
        summary="List the models",
        response_model=ModelList,
        responses=success("The loaded models, and the refused bundles.") | problems(Unauthorised, InternalError),
    )
    app.add_api_route(
        "/models/{name}",
        show_model,
        dependencies=keyed,
        tags=["models"],
        summary="Show a model's card",
        response_model=BundleCard,
        responses=success("How the model was made, how good it is, and how far to trust its weights.")
        | problems(Unauthorised, UnknownModel, InternalError, NotReady),
        openapi_extra=path_parameter("name", "Name of a loaded model.", "default"),
    )
    app.add_api_route(
        "/metrics",
        show_metrics,
        dependencies=keyed,
        tags=["operations"],
        summary="Prometheus metrics",
        response_class=Response,
        responses=success("Prometheus' text format.") | problems(Unauthorised, InternalError),
    )
    probes: tuple[tuple[str, Callable[[Request], Awaitable[Response]], str, str, tuple[type[HeedError], ...]], ...] = (
        ("/livez", livez, "Is the process alive?", "The process answers.", ()),
        ("/startupz", startupz, "Is the first load over?", "The first load is over.", (NotReady,)),
        ("/readyz", readyz, "Are predictions answered?", "Predictions are answered.", (NotReady,)),
    )
    for path, endpoint, question, answer, failures in probes:
        app.add_api_route(
            path,
            endpoint,
            tags=["operations"],
            summary=question,
            response_model=Health,
            responses=success(answer) | problems(InternalError, *failures),
        )
    app.add_route("/docs", show_documentation, include_in_schema=False)
    add_page(app)


async def list_models(request: Request) -> Response:
    """List the loaded models, and the bundles that were refused with the reason."""
    registry: Registry = request.app.state.registry
    models = [
        describe_model(card) | {"labels": card.labels, "max_tokens": card.max_tokens}
        for card in (served.bundle.card for served in registry.served.values())
    ]
    refused = [{"name": name, "reason": reason} for name, reason in registry.refused.items()]
    default = request.app.state.settings.default_model
    return _json_response({"default": default, "models": models, "refused": refused})


async def show_model(request: Request) -> Response:
    """Show how a model was made, how good it is, and how far to trust its weights."""
    registry: Registry = request.app.state.registry
    return _json_response(registry.get(request.path_params["name"]).bundle.card.model_dump(mode="json"))


async def show_metrics(request: Request) -> Response:
    """Show counts and times for Prometheus. They hold nothing of a review."""
    return Response(request.app.state.metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def livez(request: Request) -> Response:
    """Say that the process answers."""
    return _json_response({"status": "alive"})


async def startupz(request: Request) -> Response:
    """Say whether the first load of the bundles is over."""
    if not request.app.state.registry.started:
        raise NotReady("The models are being loaded.")
    return _json_response({"status": "started"})


async def readyz(request: Request) -> Response:
    """Say whether predictions are answered: a model is warm, the last forward pass was sound, nothing is draining."""
    refuse_while_draining(request.app.state)
    registry: Registry = request.app.state.registry
    if not registry.ready:
        raise NotReady(registry.not_ready_reason or "No model is ready.")
    return _json_response({"status": "ready"})


async def show_documentation(request: Request) -> Response:
    """Show the API and try it. All addresses are relative, so that any prefix of a proxy may stand before them."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Heed",
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon.png",
        swagger_ui_parameters=_DOCUMENTATION,
    )


def _json_response(document: Any) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HeedError)
    return problem_response(error, request.scope["path"])


async def _answer_disconnect(request: Request, error: Exception) -> Response:
    """Answer for the log and the metrics alone: the client left, or the server closed the connection."""
    return problem_response(request.scope.get(REFUSAL) or ClientGone(), request.scope["path"])


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    """Answer Starlette's own refusals: no such path, or not that method."""
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    problem: HeedError = InternalError()
    if error.status_code == 404:
        problem = UnknownRoute(f"Nothing is served at {path[:100]!r}. See /docs for what is.")
    elif error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        detail = f"Expected one of the methods {allow} at {path!r}. Received {request.method[:20]}."
        problem = WrongMethod(detail, allow=allow)
    return problem_response(problem, path)
