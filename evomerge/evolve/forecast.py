"""What a run will cost, measured on its parents before the search begins."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evomerge.evaluation import SPLITS, Task
from evomerge.evolve.racing import draw_items
from evomerge.records import Race
from evomerge.store import CandidateRow


@dataclass(frozen=True)
class Forecast:
    """The bill in advance.

    Attributes:
        candidates: of the search.
        finalists: re-evaluated on validation items.
        baselines: parents and default recipes, evaluated on test items beside the winner.
        items: split -> items per candidate.
        genes: of the search space.
        seconds_per_candidate: wall seconds of one worker, merge and evaluation, on search items.
        merge_share: share of the merge in that.
        workers: running at once.
        seconds: wall seconds of the whole run from here.
        memory: bytes that the workers' live models take.
        effort: as the run file has it.
        race: when a candidate may be dropped, which makes the search cheaper than forecast.
        notes: where items come from, and how many are missing, a line each.
    """

    candidates: int
    finalists: int
    baselines: int
    items: dict[str, int]
    genes: int
    seconds_per_candidate: float
    merge_share: float
    workers: int
    seconds: float
    memory: int
    effort: str = "normal"
    race: Race | None = None
    notes: tuple[str, ...] = ()


def make_forecast(  # noqa: PLR0913 - all that a bill is made of
    probes: Sequence[CandidateRow],
    tasks: Sequence[Task],
    *,
    genes: int,
    candidates: int,
    finalists: int,
    baselines: int,
    workers: int,
    model_bytes: int,
    stretch: float = 1.0,
    batch: int | None = None,
    effort: str = "normal",
    race: Race | None = None,
) -> Forecast:
    """Extrapolate from the parents' own evaluations.

    Args:
        probes: parents evaluated on the search items.
        tasks: of the run.
        genes: of the search space.
        candidates: budget of the search.
        finalists: how many are validated.
        baselines: how many models meet the test items besides the winner.
        workers: running at once.
        model_bytes: size of one live model.
        stretch: how many times a parent's layers a candidate runs through.
        batch: search items per task and round, where rounds have their own.
        effort: as the run file has it.
        race: how candidates are dropped.
    """
    items = {split: sum(len(task.items[split]) for task in tasks) for split in SPLITS}
    met = sum(map(len, draw_items(tasks, "search", batch=batch).values()))
    timed = [row.seconds for row in probes if row.seconds.get("evaluate")]
    quick = sorted(timed, key=lambda s: sum(s.values()))[: max(1, len(timed) // 2)]
    merge = _mean([seconds["merge"] for seconds in quick])
    evaluate = _mean([seconds["evaluate"] for seconds in quick])
    per_item = evaluate / max(items["search"], 1)
    each = merge + stretch * (evaluate if met == items["search"] else per_item * met)
    later = finalists * (merge + stretch * per_item * items["validation"])
    last = (baselines + 1) * merge + (baselines + stretch) * per_item * items["test"]
    return Forecast(
        candidates=candidates,
        finalists=finalists,
        baselines=baselines,
        items={**items, "search": met},
        genes=genes,
        seconds_per_candidate=each,
        merge_share=merge / each if each else 0.0,
        workers=workers,
        seconds=(candidates * each + later + last) / workers,
        memory=workers * model_bytes,
        effort=effort,
        race=race,
        notes=(*describe_paths(stretch), *describe_items(tasks)),
    )


def describe_paths(stretch: float) -> Iterator[str]:
    """Yield what should be known of a forecast for paths of other lengths than a parent's."""
    if stretch != 1.0:
        yield (
            f"A path is counted as {stretch:.2f} times a parent, as long as paths are where the "
            "search begins; what they share costs less, merges that stand on them cost more."
        )


def describe_items(tasks: Sequence[Task]) -> Iterator[str]:
    """Yield what should be known of the tasks' items, a line each.

    That there are fewer of them than were asked for, that those of a split were divided by seed,
    that those for the search come from a train split.
    """
    if short := [f"{task.name} ({found})" for task in tasks if (found := task.shortfall)]:
        yield f"Fewer items than asked for: {', '.join(short)}."
    if divided := [task.name for task in tasks if task.divided]:
        yield (
            "Items without splits, divided into search, validation and test by seeded hash: "
            f"{', '.join(divided)}."
        )
    if trained := [task.name for task in tasks if task.evaluator.search_split == "train"]:
        yield (
            "Search and validation items come from the train split, on which models may have been "
            f"trained, since there is no other beside the test's: {', '.join(trained)}."
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
