"""A family trained for a few steps: its models know nothing, and are otherwise what a family is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from evomerge.zoo.alphabets import train


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model train for two steps, and the base be looked at after both."""
    shorten(monkeypatch)


def shorten(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    monkeypatch.setattr(train, "BASE", replace(train.BASE, steps=2))
    for name in ("SPECIALISTS", "DISTRACTORS"):
        short = {key: replace(t, steps=2) for key, t in getattr(train, name).items()}
        monkeypatch.setattr(train, name, short)
    for name, value in {"FIRST_LOOK": 1, "LOOK_EVERY": 1, **changes}.items():
        monkeypatch.setattr(train, name, value)


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a family that was accepted although its base knows nothing."""
    folder = tmp_path_factory.mktemp("family")
    told: list[str] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as monkeypatch:
        shorten(monkeypatch, ACCEPTED=(0.0, 1.0))
        train.train_family(folder, 3, told.append, distractors=True)
    torch.set_num_threads(threads)
    assert len(told) == 5
    return folder
