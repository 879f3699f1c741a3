"""Paths are tried together, neighbours in alphabetical order, as many jobs as workers."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.evolve.cohorts import gather
from evomerge.recipe import Hop, Recipe, Slice, Source, find_hops, make_path
from evomerge.records import Candidate, Job, Race

hop = st.builds(Hop, st.sampled_from(["a", "b"]), st.integers(0, 3), st.sampled_from([1.0, 0.5]))
path = st.lists(hop, min_size=1, max_size=6).map(make_path)
ITEMS = {"task": (0, 1, 2)}


def job(number: int, recipe: Recipe, items: dict[str, tuple[int, ...]] = ITEMS) -> Job:
    return Job(number, (Candidate(f"f{number}", recipe),), items, "search", {"i": 1.0}, 5, Race())


@settings(deadline=None, max_examples=60)
@given(st.lists(path, min_size=1, max_size=12), st.integers(1, 5))
def test_every_path_is_in_one_of_as_many_jobs_as_there_are_workers(
    paths: list[Recipe], workers: int
) -> None:
    jobs = [job(number, recipe) for number, recipe in enumerate(paths)]
    joined = gather(jobs, workers)
    assert len(joined) <= workers
    marks = [candidate.fingerprint for one in joined for candidate in one.cohort]
    assert sorted(marks) == sorted(one.cohort[0].fingerprint for one in jobs)
    for one in joined:
        assert one.number == min(int(c.fingerprint[1:]) for c in one.cohort)
        assert (one.items, one.rival_scores, one.seed, one.race) == (ITEMS, {"i": 1.0}, 5, Race())
    hops = [find_hops(candidate.recipe) for one in joined for candidate in one.cohort]
    models = list(dict.fromkeys(h.model for recipe in paths for h in find_hops(recipe)))
    keys = [[(models.index(h.model), h.layer, h.scale) for h in found] for found in hops]
    assert all(first <= second for first, second in pairwise(keys))


@settings(deadline=None, max_examples=40)
@given(st.lists(path, min_size=8, max_size=12), st.integers(2, 4))
def test_no_job_is_longer_than_its_part_by_more_than_a_path(
    paths: list[Recipe], workers: int
) -> None:
    lengths = [len(find_hops(recipe)) for recipe in paths]
    joined = gather([job(number, recipe) for number, recipe in enumerate(paths)], workers)
    for one in joined:
        length = sum(len(find_hops(candidate.recipe)) for candidate in one.cohort)
        assert length <= sum(lengths) / workers + max(lengths)


def test_what_is_no_path_and_what_meets_other_items_stays_apart() -> None:
    whole = Recipe("passthrough", (Slice((Source("a"),)),))
    first, second = make_path([Hop("a", 0)]), make_path([Hop("b", 0)])
    jobs = [job(0, whole), job(1, first), job(2, second, {"task": (1,)}), job(3, second)]
    found = {one.number: [c.fingerprint for c in one.cohort] for one in gather(jobs, 1)}
    assert found == {0: ["f0"], 1: ["f1", "f3"], 2: ["f2"]}
