import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import ClassifierConfig

CONFIGS = st.builds(
    ClassifierConfig,
    vocabulary_size=st.integers(3, 10**6),
    labels=st.integers(2, 100),
    embedding_dim=st.integers(1, 1024),
    embedding_dropout=st.floats(0, 1, exclude_max=True),
    encoder=st.sampled_from(["none", "convolution", "bilstm", "bigru"]),
    encoder_units=st.integers(1, 1024),
    kernel_size=st.sampled_from([1, 3, 5, 9]),
    recurrent_inputs_dropout=st.floats(0, 1, exclude_max=True),
    mechanism=st.sampled_from(["additive_pooling", "dot_product", "seq_additive", "seq_multiplicative"]),
    attention_units=st.integers(1, 1024),
    pooling=st.sampled_from(["mean", "sum"]),
    dropout=st.floats(0, 1, exclude_max=True),
)


@given(CONFIGS)
def test_a_config_survives_json(config: ClassifierConfig) -> None:
    assert ClassifierConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "values",
    [
        {"vocabulary_size": 2},
        {"labels": 1},
        {"embedding_dim": 0},
        {"encoder_units": 0},
        {"kernel_size": 0},
        {"kernel_size": 4},
        {"attention_units": -3},
        {"encoder": "transformer"},
        {"mechanism": "magic"},
        {"pooling": "max"},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"dropout": float("nan")},
        {"embedding_dropout": 2},
        {"recurrent_inputs_dropout": -1},
    ],
    ids=str,
)
def test_a_value_out_of_range_is_a_clear_error(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(ValueError, match=rf"Expected {name} .*Received"):
        ClassifierConfig(**({"vocabulary_size": 10} | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vocabulary_size": 10, "units": 3}, r"Expected only \[.*\]\. Received \['units'\]"),
        ({}, r"Expected the values of a ClassifierConfig\. Received \{\}: .*vocabulary_size"),
        ({"vocabulary_size": "many"}, r"Expected the values of a ClassifierConfig\. Received .*many"),
    ],
)
def test_invalid_values_are_a_clear_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassifierConfig.from_dict(values)


def test_a_config_is_frozen_and_hashable() -> None:
    config = ClassifierConfig(vocabulary_size=10)
    with pytest.raises(AttributeError):
        config.labels = 3  # type: ignore[misc]
    assert {config: 1}[ClassifierConfig(vocabulary_size=10)] == 1
