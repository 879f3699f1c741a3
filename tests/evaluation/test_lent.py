"""Whoever is lent a model gives it back as it was, or has failed."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from evomerge.errors import EvaluationError
from evomerge.evaluation.lent import lent


@pytest.fixture
def module() -> torch.nn.Module:
    """Return a module with parameters and buffers, one of them shared."""
    made = torch.nn.Sequential(torch.nn.Linear(90, 90), torch.nn.BatchNorm1d(90)).eval()
    made.register_module("tied", made[0])
    return made


@torch.no_grad()
def write_a_single_element(module: Any) -> None:
    module[0].weight[89, 88] += 1.0  # none of those that are looked at


def scale_behind_the_counters_back(module: Any) -> None:
    module[0].weight.data.mul_(2.0)


def replace_the_storage(module: Any) -> None:
    module[0].weight.data = torch.zeros(90, 90)


def write_a_buffer(module: Any) -> None:
    module[1].running_mean.fill_(1.0)


def learn_statistics(module: Any) -> None:
    module.train()(torch.rand(4, 90))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_a_single_element, "0.weight$"),
        (scale_behind_the_counters_back, "0.weight$"),
        (replace_the_storage, "0.weight$"),
        (write_a_buffer, "1.running_mean$"),
        (learn_statistics, "1.running_mean and 2 more"),
    ],
)
def test_who_writes_into_a_model_has_failed(
    module: torch.nn.Module, write: Callable[[Any], None], name: str
) -> None:
    with pytest.raises(EvaluationError) as error, lent(module):
        write(module)
    assert error.value.what.startswith("the judge has changed the model it was lent: ")
    assert error.match(name.replace("$", r"\. Let it work on a copy"))


def run_it(module: Any) -> None:
    module(torch.rand(4, 90))


def differentiate(module: Any) -> None:
    module(torch.rand(4, 90)).sum().backward()


def change_a_copy(module: Any) -> None:
    write_a_buffer(deepcopy(module))


@pytest.mark.parametrize(
    "use",
    [run_it, differentiate, change_a_copy, lambda module: module.half(), torch.nn.Module.train],
)
def test_who_only_uses_it_has_not(module: torch.nn.Module, use: Callable[[Any], Any]) -> None:
    with lent(module):
        use(module)


def test_weights_that_are_no_numbers_are_the_same_before_and_after(
    module: torch.nn.Module,
) -> None:
    torch.nn.init.constant_(module.get_parameter("0.weight"), float("nan"))
    with lent(module):
        run_it(module)


def test_what_was_made_for_inference_only_can_be_lent() -> None:
    with torch.inference_mode():
        module = torch.nn.Linear(2, 2)
    with lent(module):
        pass
    with pytest.raises(EvaluationError, match="weight"), lent(module), torch.inference_mode():
        module.weight.zero_()


def test_what_is_no_module_is_not_looked_at() -> None:
    with lent({"merge_method": "linear"}):
        pass
