"""What a candidate that was dropped early would have scored on all items of its round.

A searcher ranks dropped candidates below all others, and among each other by this:

- `mean`: the mean, corrected by how easy the items were for the incumbent: a control variate with
  one control, not the plain mean (evomerge.evolve.racing.estimate_objective);
- `control_variate`: the mean lead over the five best models known, corrected by how the lead goes
  with their scores (evomerge.statistics.control_variate);
- `item_response`: answers as an ability near the best known model's foretells, by Rasch's model
  (evomerge.statistics.item_response); `control_variate` where scores are not between 0 and 1.

Known are the parents and the latest candidates of earlier rounds that met all of the round's items.
So an estimate depends on what was recorded before the round alone, and never on timing.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from evomerge.evaluation import Task
from evomerge.evolve.objective import weigh
from evomerge.evolve.racing import Places, Scores
from evomerge.evolve.trials import Trials
from evomerge.statistics import control_variate_mean, estimate_means, fit_item_response

Array = NDArray[np.float64]
Estimator = Callable[[Scores], float]
"""From a candidate's scores to its objective on all items of the round."""
KNOWN = 50
"""So many candidates teach what is hard; more cost time, and the early ones are unlike."""
BEST = 5


def make_estimator(name: str, trials: Trials, round_: int, items: Places) -> Estimator | None:
    """Make the estimator of a round; None for `mean`, which needs no model but the incumbent.

    Args:
        name: as in the run file.
        trials: whose store knows the earlier rounds; asked when the first candidate was dropped.
        round_: of the search.
        items: those of the round.
    """
    if name == "mean":
        return None
    kind = Abilities if name == "item_response" else Leads

    @cache
    def make() -> Leads:
        return kind(trials.tasks, find_known(trials, round_, items))

    return lambda scores: make().objective(scores)


def find_known(trials: Trials, round_: int, items: Places) -> list[Scores]:
    """Return the scores on a round's items of parents and earlier candidates that met all of them.

    What is tried in the round itself is left out, lest it matter what finished first.
    """
    search = trials.store.candidates("search")
    own = {row.fingerprint for row in search if row.round == round_}
    earlier = [row for row in search if row.round < round_ and row.state == "done"]
    latest = islice(dict.fromkeys(row.fingerprint for row in reversed(earlier)), KNOWN)
    parents = [row.fingerprint for row in trials.store.candidates("probe")]
    keys = {
        task.name: [task.items["search"][place].key for place in items[task.name]]
        for task in trials.tasks
    }
    known: list[Scores] = []
    others = [fingerprint for fingerprint in latest if fingerprint not in own]
    for fingerprint in dict.fromkeys([*parents, *others]):
        scores = trials.item_scores(fingerprint, "search")
        if all(key in scores[name] for name, wanted in keys.items() for key in wanted):
            known.append({name: {k: scores[name][k] for k in keys[name]} for name in keys})
    return known


class Leads:
    """The control variate: leads over the best known models, and what their scores explain.

    Args:
        tasks: of the run.
        known: scores of models on all items of the round.
    """

    def __init__(self, tasks: Sequence[Task], known: Sequence[Scores]) -> None:
        self._tasks = tasks
        self._places = {
            task.name: {key: k for k, key in enumerate(known[0][task.name])} for task in tasks
        }
        self._known = {
            name: np.array([[scores[name][key] for key in places] for scores in known])
            for name, places in self._places.items()
        }
        total = [
            weigh(tasks, {name: y[k].mean() for name, y in self._known.items()})
            for k in range(len(known))
        ]
        self._ranking = np.argsort(total, kind="stable")[::-1]

    def objective(self, scores: Scores) -> float:
        """Estimate the objective on all items."""
        met = {name: self._find(name, scores) for name in self._known}
        return weigh(self._tasks, self._means(met))

    def _means(self, met: Mapping[str, tuple[Array, list[int]]]) -> dict[str, float]:
        """Estimate every task's mean from scores and their places."""
        means = {}
        for name, (y, places) in met.items():
            typical = self._known[name][self._ranking[:BEST]].mean(axis=0)
            means[name] = float(typical.mean())
            if places:
                means[name] += control_variate_mean(y - typical[places], places, typical).mean
        return means

    def _find(self, name: str, scores: Scores) -> tuple[Array, list[int]]:
        places = self._places[name]
        found = {places[k]: score for k, score in scores.get(name, {}).items() if k in places}
        return np.array(list(found.values())), list(found)


class Abilities(Leads):
    """Rasch's model of all tasks with scores in [0, 1]; control variates for the others."""

    def __init__(self, tasks: Sequence[Task], known: Sequence[Scores]) -> None:
        super().__init__(tasks, known)
        self._fit = {
            name: fit_item_response(y, discriminate=False)
            for name, y in self._known.items()
            if y.min() >= 0 and y.max() <= 1
        }

    def _means(self, met: Mapping[str, tuple[Array, list[int]]]) -> dict[str, float]:
        means = super()._means(met)
        for name, model in self._fit.items():
            y, places = met[name]
            if ((y >= 0) & (y <= 1)).all():
                ability = model.ability(y, places, around=model.abilities[self._ranking[0]])
                means[name] = float(estimate_means(model, y, places, ability)[0])
        return means
