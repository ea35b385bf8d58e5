"""The same script in PyTorch, with a DataLoader that pads each batch to its longest review.

Batches are not packed: on a CPU the backward pass of an LSTM takes several times as long over a packed batch.
"""

import contextlib
import random
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.trainers.reviews import Reviews
from benchmarks.trainers.stopwatch import GoalReached, Stopwatch
from models.tokenizer import PAD_ID


class Classifier(nn.Module):
    """Embedding, encoder, additive attention, linear head."""

    def __init__(self, encoder: str, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, 128, padding_idx=PAD_ID)
        self.lstm = nn.LSTM(128, 96, batch_first=True, bidirectional=True) if encoder == "bilstm" else None
        self.convolution = nn.Conv1d(128, 128, 3, padding=1) if encoder != "bilstm" else None
        features = 192 if encoder == "bilstm" else 128
        self.hidden = nn.Linear(features, 64)
        self.score = nn.Linear(64, 1, bias=False)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(features, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        states = self.embedding(ids)  # [batch, tokens, 128]
        if self.lstm is not None:
            states = self.lstm(states)[0]
        if self.convolution is not None:
            states = torch.relu(self.convolution(states.transpose(1, 2))).transpose(1, 2)
        scores = self.score(torch.tanh(self.hidden(states))).squeeze(-1)  # [batch, tokens]
        weights = torch.softmax(scores.masked_fill(ids == PAD_ID, -1e9), dim=-1)
        return self.head(self.dropout(torch.einsum("bt,btf->bf", weights, states)))  # [batch, labels]


def train(encoder: str, reviews: Reviews, seed: int, *, batch_size: int, epochs: int) -> dict[str, Any]:
    """Train for at most `epochs` and return the figures."""
    random.seed(seed)
    torch.manual_seed(seed)
    model = Classifier(encoder, reviews.vocabulary_size)

    def predict(positions: np.ndarray) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            found = [
                model(_padded([reviews.test_ids[position] for position in some])).argmax(dim=1)
                for some in np.array_split(positions, -(-len(positions) // 256))
            ]
        model.train()
        return torch.cat(found).numpy()

    pairs = list(zip(reviews.train_ids, reviews.train_labels.tolist(), strict=True))
    loader = torch.utils.data.DataLoader(pairs, batch_size=batch_size, shuffle=True, collate_fn=_collate)
    stopwatch = Stopwatch(reviews.test_labels, predict, batches=len(loader))
    with contextlib.suppress(GoalReached):
        _fit(model, loader, epochs, stopwatch)
    return stopwatch.figures()


def _fit(model: Classifier, loader: Any, epochs: int, stopwatch: Stopwatch) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(epochs):
        for ids, labels in loader:
            optimizer.zero_grad()
            loss_of(model(ids), labels).backward()
            optimizer.step()
            stopwatch.batch_done()


def _collate(pairs: list[tuple[np.ndarray, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    return _padded([ids for ids, _ in pairs]), torch.tensor([label for _, label in pairs])


def _padded(ids: list[np.ndarray]) -> torch.Tensor:
    """Pad to int64[texts, longest]."""
    tensors = [torch.from_numpy(one).long() for one in ids]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=PAD_ID)
