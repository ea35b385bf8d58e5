"""FastAPI and one `tf.function` of any length, one text at a time: the usual second step."""

from typing import Any

from fastapi import FastAPI

from benchmarks.serving.peers.classifier import Classifier
from benchmarks.serving.peers.schemas import Answer, Request

app = FastAPI()
classifier = Classifier()


@app.post("/predict")
def predict(request: Request) -> Answer:
    """Answer in a thread of FastAPI's pool, as what blocks should."""
    answer: Any = classifier.answer(request.text)  # validated and serialised by FastAPI
    return answer


@app.get("/ready")
def ready() -> bool:
    """Tell that the model is loaded."""
    return True
