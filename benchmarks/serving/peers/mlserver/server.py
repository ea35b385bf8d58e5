"""MLServer with adaptive batching: a custom runtime, whose answers are JSON documents in a tensor of bytes."""

import json

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.serving.peers.classifier import Classifier


class Sentiment(MLModel):
    """A tensor of texts in, a tensor of as many documents out; MLServer merges and splits the requests' tensors."""

    async def load(self) -> bool:
        """Load the model."""
        self.classifier = Classifier()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a batch."""
        texts = StringCodec.decode_input(payload.inputs[0])
        documents = [json.dumps(answer) for answer in self.classifier.answers(texts)]
        output = StringCodec.encode_output("predictions", documents)
        return InferenceResponse(model_name=self.name, outputs=[output])
