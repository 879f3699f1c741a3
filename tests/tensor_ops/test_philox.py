"""Streams of random numbers: every bit where the description says, parts as in the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.tensor_ops.philox import PER_COUNTER, draw_below, draw_bits, philox_key

KEY = philox_key((3, "model", "tensor"))


def test_philox_starts_as_its_authors_published() -> None:
    # Random123 1.14.0, tests/kat_vectors: philox4x64 10 with counter and key zero. numpy counts
    # up before it draws, so its first four numbers belong to counter 1; counter -1 gives these.
    bits = np.random.Philox(counter=2**256 - 1, key=0).random_raw(4)
    published = (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)
    assert tuple(int(word) for word in bits) == published


@pytest.mark.parametrize("plane", [0, 1, 31])
def test_a_bit_lies_where_its_plane_and_group_say(plane: int) -> None:
    group, key = 5, int.from_bytes(KEY, "little")
    words = np.random.Philox(counter=group + (plane << 64), key=key).random_raw(4)
    numbers = draw_bits(KEY, group * PER_COUNTER, PER_COUNTER)
    for index in range(PER_COUNTER):
        bit = int(words[index // 64]) >> index % 64 & 1
        assert int(numbers[index]) >> 31 - plane & 1 == bit


@settings(deadline=None, max_examples=60)
@given(
    start=st.integers(0, 2**40),
    length=st.integers(0, 700),
    limit=st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 1 << 31, 3 << 30, 2**32 - 1]),
)
def test_planes_decide_as_whole_numbers_do(start: int, length: int, limit: int) -> None:
    numbers = draw_bits(KEY, start, length)
    assert np.array_equal(draw_below(KEY, limit, start, length), numbers < limit)


def test_a_number_itself_is_not_below_itself() -> None:
    numbers = draw_bits(KEY, 0, 64)
    for index, number in enumerate(numbers.tolist()):
        assert not draw_below(KEY, number, index, 1)[0]
        assert draw_below(KEY, number + 1, index, 1)[0]


@settings(deadline=None, max_examples=40)
@given(start=st.integers(0, 900), length=st.integers(0, 300))
def test_a_part_of_a_stream_is_the_stream_of_that_part(start: int, length: int) -> None:
    assert np.array_equal(draw_bits(KEY, start, length), draw_bits(KEY, 0, 1200)[start:][:length])


def test_numbers_are_spread_evenly_in_every_bit_and_beside_their_neighbours() -> None:
    numbers = draw_bits(KEY, 0, 1 << 16)
    spread = 4 * 0.5 / 256  # four standard deviations of a share of 65536
    for plane in range(32):
        bits = numbers >> np.uint32(plane) & 1
        assert abs(bits.mean() - 0.5) < spread
        assert abs((bits[1:] ^ bits[:-1]).mean() - 0.5) < spread
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 4 / 256
