"""A client for the service: `HeedClient`, and `AsyncHeedClient` for asyncio. It needs neither Keras nor TensorFlow.

    with HeedClient("http://127.0.0.1:8000") as client:
        prediction = client.predict("I did not like it.")
        print(prediction.label, prediction.probability, [token.text for token in prediction.heaviest(3)])

`service.client.answers` defines the results and errors.
"""

from service.client.answers import (
    AnsweringModel,
    Caveat,
    ClientError,
    NotAuthorised,
    NotFound,
    Prediction,
    Problem,
    RequestRefused,
    ServiceProblem,
    ServiceUnavailable,
    Token,
    Truncation,
    Unreachable,
)
from service.client.clients import AsyncHeedClient, HeedClient, PredictOptions

__all__ = [
    "AnsweringModel",
    "AsyncHeedClient",
    "Caveat",
    "ClientError",
    "HeedClient",
    "NotAuthorised",
    "NotFound",
    "PredictOptions",
    "Prediction",
    "Problem",
    "RequestRefused",
    "ServiceProblem",
    "ServiceUnavailable",
    "Token",
    "Truncation",
    "Unreachable",
]
