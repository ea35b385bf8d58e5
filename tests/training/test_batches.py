import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.tokenizer import PAD_ID
from training.batches import WIDTH_STEP, batches_by_length, pad_batch, shuffled_batches

LENGTHS = st.lists(st.integers(0, 300), min_size=1, max_size=80).map(np.array)


@given(LENGTHS, st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_every_text_stands_in_exactly_one_batch(lengths: np.ndarray, batch_size: int, seed: int) -> None:
    for batches in (
        batches_by_length(lengths, batch_size),
        list(shuffled_batches(lengths, batch_size, np.random.default_rng(seed))),
    ):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        assert all(1 <= len(batch) <= batch_size for batch in batches)


@given(LENGTHS, st.integers(1, 9))
def test_sorted_batches_do_not_overlap_in_length(lengths: np.ndarray, batch_size: int) -> None:
    batches = batches_by_length(lengths, batch_size)
    for one, following in itertools.pairwise(batches):
        assert lengths[one].max() <= lengths[following].min()


@given(LENGTHS.filter(lambda lengths: len(lengths) > 20), st.integers(0, 1000))
def test_shuffled_batches_hold_texts_of_about_one_length(lengths: np.ndarray, seed: int) -> None:
    order = np.sort(lengths)
    for batch in shuffled_batches(lengths, 4, np.random.default_rng(seed), spread=5.0):
        within = order[(order >= lengths[batch].min() + 10) & (order <= lengths[batch].max() - 10)]
        assert len(within) <= len(batch)


def test_shuffling_is_the_same_for_the_same_seed_and_changes_batch_mates_between_epochs() -> None:
    lengths = np.random.default_rng(0).integers(1, 40, 200)
    one, again, other = (
        [sorted(batch.tolist()) for batch in shuffled_batches(lengths, 8, np.random.default_rng(seed))]
        for seed in (1, 1, 2)
    )
    assert one == again
    assert sorted(map(tuple, one)) != sorted(map(tuple, other))


@given(st.lists(st.integers(0, 70), min_size=1, max_size=6))
def test_a_batch_is_its_texts_padded_on_the_right(lengths: list[int]) -> None:
    ids = [np.arange(1, length + 1, dtype=np.int32) for length in lengths]
    batch = pad_batch(ids)
    assert batch.dtype == np.int32
    assert batch.shape[1] % WIDTH_STEP == 0
    assert batch.shape[1] - max(1, *lengths, 1) < WIDTH_STEP
    for row, one in zip(batch, ids, strict=True):
        assert row[: len(one)].tolist() == one.tolist()
        assert (row[len(one) :] == PAD_ID).all()
