"""Spaces of every kind, small, in which the promises of searchers are tested."""

from collections.abc import Mapping

import numpy as np

from evomerge.space import Gene, SearchSpace

SPACES: Mapping[str, SearchSpace] = {
    "one number": SearchSpace([Gene("a", -1.0, 2.0)]),
    "two numbers": SearchSpace([Gene("a"), Gene("b", 0.5, 1.5, start=1.0)]),
    "four numbers": SearchSpace([Gene(f"{k}") for k in range(4)]),
    "known points": SearchSpace(
        [Gene(f"{k}", -0.5, 2.0) for k in range(4)],
        known={
            "uniform": np.full(4, 0.4),
            "the same again": np.full(4, 0.4),
            "first model": np.array([0.6, 0.6, 0.2, 0.2]),
            "second model": np.array([0.2, 0.2, 0.6, 0.6]),
        },
        metric=np.array([[2.0, 0.5, 0, 0], [0.5, 2.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]),
    ),
    "choices": SearchSpace([Gene("a", choices=(False, True)), Gene("b", choices=tuple("xyz"))]),
    "switched numbers": SearchSpace(
        [
            Gene("on", choices=(False, True), chances=(0.4, 0.6)),
            Gene("scale", 0.5, 1.5, start=1.0, needs="on"),
            Gene("kind", choices=("", "x", "y"), needs="on"),
            Gene("size", needs="kind"),
            Gene("always"),
        ]
    ),
    "a path": SearchSpace(
        [
            Gene("use 1", choices=(False, True), start=True, chances=(0.02, 0.98)),
            Gene("use 2", choices=(False, True), start=False, chances=(0.84, 0.16)),
            Gene("scale 0", 0.5, 1.5, start=1.0),
            *(
                Gene(
                    f"scale {k}",
                    choices=(0.8, 1.0, 1.25),
                    start=1.0,
                    chances=(0.1, 0.8, 0.1),
                    needs=f"use {k}",
                )
                for k in (1, 2)
            ),
        ]
    ),
}
