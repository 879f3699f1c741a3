"""Estimators against the plain mean at equal cost, on scores that real merges earned.

python benchmarks/evaluation_estimators.py [--seeds 5] [--smollm2 FOLDER] [--quick]

A part of benchmarks/evaluation.py, which calls run(arguments) and puts the section of Markdown that
it returns into docs/evaluation.md. Searches without racing are run once and kept; every candidate
then meets a random part of the items, again and again, and every estimator says what it would have
scored on all of them.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from evaluation_responses import Array, Responses, collect
from evaluation_runs import print_section, show_mean
from numpy.typing import NDArray

from evomerge.statistics import choose_anchors, control_variate_mean, estimate_means

COUNTS = (10, 20, 30, 50, 100)
DECIDING = 30
"""Items at which rankings are compared: racing's first look."""
BEST = 5
DRAWS, TARGETS, FIRST_MERGES = 16, 16, 28


Estimate = Callable[[Responses, Array, NDArray[np.int64], int], float]
"""From known models, a candidate's scores on all items, the items met, a seed."""


def plain_mean(known: Responses, y: Array, met: NDArray[np.int64], seed: int) -> float:
    """Average task by task; a task of which nothing was met is left out."""
    del seed
    here = [met[known.groups[met] == g] for g in range(len(known.tasks))]
    return float(np.mean([y[items].mean() for items in here if len(items)]))


def corrected(controls: Callable[[Responses], Array], *, lead: bool) -> Estimate:
    """Correct by other models' scores, of the score itself or of the lead over them."""

    def estimate(known: Responses, y: Array, met: NDArray[np.int64], seed: int) -> float:
        del seed
        x, means = controls(known), []
        base = x if lead else np.zeros_like(x)
        for task in known.tasks:
            places = np.flatnonzero(np.isin(task, met))
            if len(places):
                rest = control_variate_mean((y - base)[task[places]], places, x[task]).mean
                means.append(base[task].mean() + rest)
        return float(np.mean(means))

    return estimate


def rasch(known: Responses, y: Array, met: NDArray[np.int64], seed: int) -> float:
    """p-IRT of one parameter around the best known model's ability."""
    del seed
    model = known.rasch
    ability = model.ability(y[met], met, around=model.abilities[known.ranking[0]])
    return float(estimate_means(model, y[met], met, ability).mean())


def mixture(known: Responses, y: Array, met: NDArray[np.int64], seed: int) -> float:
    """MERGE³'s mp-IRT: items of two parameters, the ability a mixture of the parents'."""
    del seed
    model = known.two_parameters
    ability = model.ability(y[met], met, parents=model.abilities[: known.parents])
    return float(estimate_means(model, y[met], met, ability).mean())


def anchored(known: Responses, y: Array, met: NDArray[np.int64], seed: int) -> float:
    """Meet as many anchors of every task instead, chosen by the parents' disagreement."""
    means = []
    for task in known.tasks:
        if count := int(np.isin(task, met).sum()):
            parents = known.scores[: known.parents, task]
            positions, weights = choose_anchors(parents, count, seed=seed)
            means.append(y[task[positions]] @ weights)
    return float(np.mean(means))


ESTIMATORS: dict[str, Estimate] = {
    "plain mean": plain_mean,
    "corrected by the parents' mean": corrected(
        lambda k: k.scores[: k.parents].mean(axis=0), lead=False
    ),
    "corrected by the incumbent (`mean`)": corrected(lambda k: k.scores[k.ranking[0]], lead=False),
    "lead over the best five, corrected (`control_variate`)": corrected(
        lambda k: k.scores[k.ranking[:BEST]].mean(axis=0), lead=True
    ),
    "1PL around the incumbent (`item_response`)": rasch,
    "2PL, mixture of parents (mp-IRT)": mixture,
    "anchors where parents disagree": anchored,
}


MIXED = ("plain mean", "2PL, mixture of parents (mp-IRT)")
HALF = "half of that, half the plain mean (gmp-IRT)"
NAMES = [name for each in ESTIMATORS for name in ([each, HALF] if each == MIXED[1] else [each])]


@dataclass(frozen=True)
class Trial:
    """One run, one estimator, one number of items.

    Attributes:
        errors: estimates minus truths, shape (draws of items, candidates).
        truth: shape (candidates,).
    """

    errors: Array
    truth: Array

    @property
    def rmse(self) -> float:
        """Root mean square error in points."""
        return 100 * float(np.sqrt((self.errors**2).mean()))

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval of `rmse` over draws of items."""
        squares = (self.errors**2).mean(axis=1)
        spread = float(np.std(squares, ddof=1)) / len(squares) ** 0.5
        return float(1.96 * 100 * spread / (2 * np.sqrt(squares.mean())))

    def selection(self, *, own: bool) -> tuple[float, float]:
        """Return rank correlation and regret (points); all meet the same items, or each its own."""
        draws, count = self.errors.shape
        shift = np.arange(count) if own else np.zeros(count, int)
        found = []
        for draw in range(draws):
            estimates = self.truth + self.errors[(draw + shift) % draws, np.arange(count)]
            chosen = self.truth[np.argmax(estimates)]
            found.append((rank_correlation(estimates, self.truth), self.truth.max() - chosen))
        correlation, regret = np.mean(found, axis=0)
        return float(correlation), 100 * float(regret)


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's, ties at their mean rank."""

    def rank(values: Array) -> Array:
        _, place, sizes = np.unique(values, return_inverse=True, return_counts=True)
        return np.asarray((np.cumsum(sizes) - (sizes - 1) / 2)[place])

    x, y = rank(a), rank(b)
    spread = x.std() * y.std()
    return float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread else 0.0


def try_out(
    responses: Responses, merges: int, *, draws: int = DRAWS
) -> dict[tuple[str, int], Trial]:
    """Estimate later candidates from parts of their scores, parents and first merges known."""
    first = responses.parents + merges
    known = responses.part(slice(first))
    later = responses.part(slice(first, None, max(1, (len(responses.scores) - first) // TARGETS)))
    rng, found = np.random.default_rng(merges), {}
    orders = [interleave(responses.tasks, rng) for _ in range(draws)]
    for name, estimate in ESTIMATORS.items():
        for count in COUNTS:
            values = [
                [estimate(known, y, order[:count], draw) for y in later.scores]
                for draw, order in enumerate(orders)
            ]
            found[name, count] = Trial(np.array(values) - later.objectives, later.objectives)
    for count in COUNTS:
        parts = [found[name, count].errors for name in MIXED]
        found[HALF, count] = Trial(np.mean(parts, axis=0), later.objectives)
    return found


def interleave(tasks: Sequence[NDArray[np.int64]], rng: np.random.Generator) -> NDArray[np.int64]:
    """Put all items in a random order in which the tasks take turns."""
    turns = [rng.permutation(len(task)) + rng.random() for task in tasks]
    return np.concatenate(tasks)[np.argsort(np.concatenate(turns))]


def report(title: str, found: Sequence[dict[tuple[str, int], Trial]]) -> str:
    """Return one table: errors by number of items, and how well candidates are ranked."""
    ranking = ["rank correlation", "regret"]
    columns = [*map(str, COUNTS), *(f"{c}{own}" for c in ranking for own in ("", ", own items"))]
    lines = [f"| {title} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name in NAMES:
        cells = [_show_errors([trials[name, count] for trials in found]) for count in COUNTS]
        deciding = [trials[name, DECIDING] for trials in found]
        same, own = (
            np.array([trial.selection(own=own) for trial in deciding]) for own in (False, True)
        )
        for column in range(2):
            cells += [show_mean(values[:, column], "{:.2f}") for values in (same, own)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _show_errors(trials: Sequence[Trial]) -> str:
    if len(trials) > 1:
        return show_mean([trial.rmse for trial in trials], "{:.1f}")
    return f"{trials[0].rmse:.1f} ± {trials[0].half_width:.1f}"


def run(arguments: argparse.Namespace) -> str:
    """Measure everything; return Markdown."""
    quick, kept = getattr(arguments, "quick", False), getattr(arguments, "results", None)
    parts, draws = [], 4 if quick else DRAWS
    with tempfile.TemporaryDirectory() as scratch:
        runs = kept.parent / f"estimators{'-quick' * quick}" if kept else Path(scratch)
        for family, found in collect(arguments, runs).items():
            models, items = found[0].scores.shape
            parts.append(
                f"**{family}**: searches: {len(found)}, of {models} models; {items} items, {draws} "
                f"draws of items for {TARGETS} or more later candidates. Errors in points, by the "
                f"number of items met; rank correlation and regret (points) at {DECIDING} items."
            )
            for merges in (0, FIRST_MERGES):
                title = f"known: parents{f' and {merges} merges' * bool(merges)}"
                parts.append(report(title, [try_out(r, merges, draws=draws) for r in found]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print_section(run, __doc__.splitlines()[0])
