"""Paths that are tried together: one job a worker, of paths that begin alike."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter

from evomerge.recipe import Recipe, find_hops, is_path
from evomerge.records import Job

Place = tuple[int, int, float]
"""Number of a model in the order in which they were met, layer, scale."""


def gather(jobs: Sequence[Job], workers: int) -> list[Job]:
    """Join jobs whose candidates are paths that meet the same items; others stay as they are.

    No score depends on who is tried with whom: a member of a population scores to the bit as alone.

    Args:
        jobs: of one candidate each, in order of asking.
        workers: into how many jobs alike ones are joined at most.
    """
    paths = [job for job in jobs if is_path(job.cohort[0].recipe)]
    joined = [job for job in jobs if not is_path(job.cohort[0].recipe)]
    while paths:
        alike = [job for job in paths if _ask_the_same(job, paths[0])]
        paths = [job for job in paths if not _ask_the_same(job, alike[0])]
        joined += [_join(part) for part in _divide(alike, workers)]
    return joined


def _ask_the_same(one: Job, other: Job) -> bool:
    return replace(one, number=other.number, cohort=other.cohort) == other


def _join(jobs: Sequence[Job]) -> Job:
    first = min(jobs, key=lambda job: job.number)
    return replace(first, cohort=tuple(candidate for job in jobs for candidate in job.cohort))


def _divide(jobs: Sequence[Job], workers: int) -> Iterator[Sequence[Job]]:
    """Cut jobs into parts of about equal length in layers, neighbours being those that begin alike.

    Neighbours stand in lexicographic order: what two of them begin with, all between them do.
    """
    places = _order([job.cohort[0].recipe for job in jobs])
    ordered = sorted(zip(places, jobs, strict=True), key=itemgetter(0))
    total, done, count = sum(map(len, places)), 0, 1
    part: list[Job] = []
    for path, job in ordered:
        part.append(job)
        done += len(path)
        if done * workers >= count * total:
            yield part
            part, count = [], done * workers // total + 1


def _order(paths: Sequence[Recipe]) -> list[list[Place]]:
    """Return every path as numbers, by which paths can be sorted."""
    models: dict[str | Recipe, int] = {}
    return [
        [(models.setdefault(h.model, len(models)), h.layer, h.scale) for h in find_hops(path)]
        for path in paths
    ]
