"""What a run rests on: models, tasks, versions; recorded as it begins, compared as it goes on."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from evomerge.checkpoints.locate import ZOO
from evomerge.config import RunConfig
from evomerge.engine import Models
from evomerge.errors import StoreError
from evomerge.evolve.prepare import RUN_FILE, Preparation
from evomerge.recipe import write_yaml
from evomerge.store import RunRow, RunStore

PACKAGES = (
    *("evomerge", "torch", "transformers", "tokenizers", "cmaes", "numpy", "safetensors"),
    "lm_eval",
)
"""Whose versions are kept with a run."""


def record_run(store: RunStore, config: RunConfig, preparation: Preparation) -> None:
    """Write down what a run rests on, as it begins.

    Raises:
        StoreError: another process was faster, or the run's folder cannot be written.
    """
    if store.run() is not None:
        raise StoreError(
            f"another process has begun the run {config.name!r}", "See `evomerge runs`"
        )
    models = preparation.models
    names = dict.fromkeys([*config.genome.models, config.genome.base_model])
    known = {
        name: {
            "fingerprint": models[name].fingerprint,
            "stamp": models[name].stamp(),
            "tokenizer": models.tokenizer_fingerprint(name),
        }
        for name in names
        if name
    }
    document = config.model_dump(mode="json")
    try:
        (store.folder / RUN_FILE).write_text(write_yaml(document), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{store.folder} cannot be written: {reason}", "Check the disk") from error
    tasks = {task.name: task.fingerprint for task in preparation.tasks}
    store.create(
        config.name,
        config=document,
        seed=config.seed,
        models=known,
        versions=_versions(),
        tasks=tasks,
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def refuse_changes(known: RunRow, preparation: Preparation) -> None:
    """Check that no model, item or judge was touched since the run began.

    Args:
        known: the run as it was recorded when it began.
        preparation: the run as it is found now.

    Raises:
        StoreError: naming what was changed.
    """
    models = preparation.models
    changed = [name for name, seen in known.models.items() if not _is_same(models, name, seen)]
    changed += [
        f"task {task.name} (its items or its judge)"
        for task in preparation.tasks
        if known.tasks.get(task.name, task.fingerprint) != task.fingerprint
    ]
    if changed:
        raise StoreError(
            f"{changed[0]} was changed since the run {known.name!r} began",
            "Put the old files back, or start a new run with --name",
        )


def _is_same(models: Models, name: str, seen: Mapping[str, Any]) -> bool:
    same = models[name].fingerprint == seen["fingerprint"]
    if "tokenizer" in seen:
        same = same and models.tokenizer_fingerprint(name) == seen["tokenizer"]
    return same and (name.startswith(ZOO) or models[name].stamp() == seen["stamp"])
