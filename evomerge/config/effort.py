"""Effort: one word for how much a run spends where its file is silent.

| | quick | normal | thorough |
|---|---|---|---|
| `search.evaluations` | 100 | 200 | 1000 |
| `items.search` | 100 a task | all | all |
| `racing` | yes | yes | no: every candidate meets every item |
| `finalists` | 3 | 5 | 10 |

Validation and test items are never saved on: they are what the verdict rests on. What stands in
the file (or on the command line) wins.
"""

from typing import Any, TypeVar

from pydantic import BaseModel

from evomerge.config.settings import RunConfig

Settings = TypeVar("Settings", bound=BaseModel)

EFFORTS: dict[str, dict[str, Any]] = {
    "quick": {
        "search": {"evaluations": 100},
        "items": {"search": 100},
        "finalists": 3,
    },
    "normal": {},
    "thorough": {
        "search": {"evaluations": 1000},
        "racing": False,
        "finalists": 10,
    },
}
"""Effort -> what it sets besides the run file's own defaults, which are those of 'normal'."""


def apply_effort(config: RunConfig) -> RunConfig:
    """Fill in what the run file leaves open; doing so twice changes nothing.

    Racing that is left open (None) happens where it can: see evomerge.evolve.racing.
    """
    changes = dict(EFFORTS[config.effort])
    if config.limit is not None:  # mergekit-evolve's word for the number of items
        changes.pop("items", None)
    return _fill(config, changes)


def _fill(settings: Settings, changes: dict[str, Any]) -> Settings:
    """Copy settings with the values of those keys that nobody set."""
    filled = {}
    for name, value in changes.items():
        current = getattr(settings, name)
        if isinstance(current, BaseModel) and isinstance(value, dict):
            filled[name] = _fill(current, value)
        elif name not in settings.model_fields_set:
            filled[name] = value
    return settings.model_copy(update=filled)
