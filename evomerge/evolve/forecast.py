"""What a run will cost, measured on its parents before the search begins."""

from collections.abc import Sequence
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
        rivals: parents and default recipes, evaluated on test items beside the winner.
        items: split -> items per candidate.
        genes: of the search space.
        seconds_per_candidate: wall seconds of one worker, merge and evaluation, on search items.
        merge_share: share of the merge in that.
        workers: running at once.
        seconds: wall seconds of the whole run from here.
        memory: bytes that the workers' live models take.
        effort: as the run file has it.
        race: when a candidate may be dropped, which makes the search cheaper than forecast.
        divided: tasks whose one split was divided by seeded hash into search, validation and test.
    """

    candidates: int
    finalists: int
    rivals: int
    items: dict[str, int]
    genes: int
    seconds_per_candidate: float
    merge_share: float
    workers: int
    seconds: float
    memory: int
    effort: str = "normal"
    race: Race | None = None
    divided: tuple[str, ...] = ()


def make_forecast(  # noqa: PLR0913 - all that a bill is made of
    probes: Sequence[CandidateRow],
    tasks: Sequence[Task],
    *,
    genes: int,
    candidates: int,
    finalists: int,
    rivals: int,
    workers: int,
    model_bytes: int,
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
        rivals: how many models meet the test items besides the winner.
        workers: running at once.
        model_bytes: size of one live model.
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
    each = merge + (evaluate if met == items["search"] else per_item * met)
    later = finalists * (merge + per_item * items["validation"])
    last = (rivals + 1) * (merge + per_item * items["test"])
    return Forecast(
        candidates=candidates,
        finalists=finalists,
        rivals=rivals,
        items={**items, "search": met},
        genes=genes,
        seconds_per_candidate=each,
        merge_share=merge / each if each else 0.0,
        workers=workers,
        seconds=(candidates * each + later + last) / workers,
        memory=workers * model_bytes,
        effort=effort,
        race=race,
        divided=tuple(task.name for task in tasks if task.divided),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
