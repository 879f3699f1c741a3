"""A search ends in time: by what its rounds took, over all sittings, the same when replayed."""

from pathlib import Path

import pytest

from evomerge.evolve.deadline import Deadline
from evomerge.store import RunStore, open_store


def test_only_finished_and_interrupted_rounds_before_count(tmp_path: Path) -> None:
    with open_store(tmp_path, write=True) as store:
        store.spend(0, 3.0, finished=True)
        store.spend(1, 2.0, finished=False)
        store.spend(1, 4.0, finished=True)
        store.spend(0, 100.0, finished=True)  # a replay
        assert [store.round_seconds(n) for n in range(4)] == [0.0, 3.0, 9.0, 9.0]
        deadline = Deadline(store, 9.0)
        assert [deadline.has_passed(n) for n in range(4)] == [False, False, True, True]


def test_a_part_of_the_search_has_one_round_at_least(tmp_path: Path) -> None:
    with open_store(tmp_path, write=True) as store:
        store.spend(0, 3.0, finished=True)
        store.spend(1, 3.0, finished=True)
        assert not Deadline(store, 1.0, first=1).has_passed(1)
        assert Deadline(store, 1.0, first=1).has_passed(2)
        assert not Deadline(store, None).has_passed(2)


def work(store: RunStore) -> None:
    with Deadline(store, 1.0).measured(0):
        raise KeyboardInterrupt


def test_interrupted_round_is_paid_for_and_goes_on(tmp_path: Path) -> None:
    with open_store(tmp_path, write=True) as store:
        with pytest.raises(KeyboardInterrupt):
            work(store)
        before = store.round_seconds(1)
        with Deadline(store, 1.0).measured(0):
            pass
        spent = store.round_seconds(1)
        assert 0.0 < before < spent
        with Deadline(store, 1.0).measured(0):
            pass
        assert store.round_seconds(1) == spent
