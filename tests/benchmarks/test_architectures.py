"""A few of the random architectures that `python -m benchmarks.architectures` runs thousands of."""

from benchmarks.architectures import check


def test_each_answers_as_keras_does_or_is_left_to_keras(compiled: None) -> None:
    found = check(20)
    assert found.total() == 20
    assert not [outcome for outcome in found if outcome.startswith("crash") or "wrong" in outcome]
