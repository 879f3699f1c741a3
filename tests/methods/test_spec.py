"""A method's declaration is its signature: strangers' functions are read like ours."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
import torch

from evomerge.methods import (
    METHODS,
    Formula,
    MethodSpec,
    Operands,
    PerModel,
    merge_method,
    merge_tensors,
)
from evomerge.methods.spec import MISSING, Density, InGenomes, Limit, Range, Search, Weight
from evomerge.registry import Registry
from evomerge.tensor_ops.blocks import gather

Rank = Annotated[float, Range(1.0, 64.0), Search(2.0, 8.0)]


@merge_method("foreign", base="required", min_models=2, max_models=5, symmetric=False)
def foreign(
    operands: Operands,
    positional: int = 3,
    *,
    weight: PerModel[Weight],
    density: PerModel[Density] = 0.5,  # type: ignore[assignment]  # one value stands for all
    rank: Rank = 4.0,
    plain: float = 0.25,
    flag: bool = False,
    mode: Literal["fast", "exact"] = "fast",
    either: bool | Literal["auto"] = "auto",
    maybe: Annotated[float, Range(low=0.0)] | None = None,
    lambda_: Weight = 1.0,
) -> Formula:
    """Do nothing in particular.

    At length.
    """
    found = (operands, positional, weight, density, rank, plain, flag, mode, either, maybe)
    return lambda block: block.base.mul_(len(found) * lambda_)


def test_names_defaults_and_places_are_read_off_the_signature() -> None:
    names = "weight density rank plain flag mode either maybe lambda"
    assert list(foreign.parameters) == names.split()
    assert [n for n, p in foreign.parameters.items() if p.per_model] == ["weight", "density"]
    assert [n for n, p in foreign.parameters.items() if p.default is MISSING] == ["weight"]
    assert foreign.parameters["rank"].default == 4.0
    assert foreign.summary == "Do nothing in particular."
    assert (foreign.base, foreign.min_models, foreign.max_models) == ("required", 2, 5)
    assert not foreign.symmetric


def test_bounds_and_search_ranges_are_read_off_the_annotations() -> None:
    parameters = foreign.parameters
    assert parameters["rank"].range == Range(1.0, 64.0)
    assert parameters["rank"].search == Search(2.0, 8.0)
    assert parameters["density"].range == Range(0.0, 1.0)
    assert parameters["plain"].range == Range()
    assert parameters["plain"].search is None
    assert parameters["maybe"].range == Range(low=0.0)
    assert parameters["flag"].range is None


def test_choices_are_read_off_literals() -> None:
    assert foreign.parameters["mode"].choices == ("fast", "exact")
    assert foreign.parameters["either"].choices == ("auto",)
    assert foreign.parameters["either"].kinds == (bool,)
    assert foreign.parameters["mode"].options == ("fast", "exact")
    assert foreign.parameters["flag"].options == (False, True)
    assert foreign.parameters["either"].options == (False, True, "auto")
    assert foreign.parameters["plain"].options == ()


def test_choices_may_be_annotated_too() -> None:
    Mode = Annotated[bool | Literal["auto", "never"], Search(), InGenomes("auto")]  # noqa: N806 - a type

    @merge_method("choosy")
    def choosy(operands: Operands, *, mode: Mode = False) -> Formula:  # noqa: ARG001 - never called
        return lambda block: block.spare

    mode = choosy.parameters["mode"]
    assert (mode.options, mode.range) == ((False, True, "auto", "never"), None)
    assert (mode.search, mode.in_genomes, mode.default) == (Search(), "auto", False)
    assert foreign.parameters["mode"].in_genomes is MISSING


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("weight", -3, ""),
        ("weight", math.nan, "weight must be in (-inf, inf): nan"),
        ("weight", math.inf, "weight must be in (-inf, inf): inf"),
        ("weight", True, "weight must be a number, not True"),
        ("weight", None, "weight must be a number, not None"),
        ("density", 1, ""),
        ("density", 0.0, ""),
        ("density", -0.01, "density must be in [0, 1]: -0.01"),
        ("density", 1.01, "density must be in [0, 1]: 1.01"),
        ("rank", 0.5, "rank must be in [1, 64]: 0.5"),
        ("maybe", None, ""),
        ("maybe", -1.0, "maybe must be in [0, inf): -1"),
        ("flag", 1.0, ""),
        ("flag", 0, ""),
        ("flag", 0.5, "flag must be true or false, not 0.5"),
        ("mode", "exact", ""),
        ("mode", "slow", "mode must be 'fast' or 'exact', not 'slow'"),
        ("mode", 3, "mode must be 'fast' or 'exact', not 3"),
        ("either", "auto", ""),
        ("either", "never", "either must be true or false or 'auto', not 'never'"),
        ("lambda", [1], "lambda must be a number, not [1]"),
    ],
)
def test_a_bad_value_is_told_in_one_line(name: str, value: object, complaint: str) -> None:
    assert foreign.parameters[name].complain(value) == complaint


def test_yaml_names_reach_python_keywords() -> None:
    found: dict[str, Any] = {}

    @merge_method("listener")
    def listener(operands: Operands, *, lambda_: Weight = 1.0, weight: Weight = 2.0) -> Formula:  # noqa: ARG001 - only listens
        found.update(lambda_=lambda_, weight=weight)
        return lambda block: block.spare

    listener.bind(gather([torch.ones(1)]), {"lambda": 0.5})
    assert found == {"lambda_": 0.5, "weight": 2.0}


def test_a_method_without_a_docstring_can_still_be_listed() -> None:
    @merge_method("mute")
    def mute(operands: Operands) -> Formula:  # noqa: ARG001 - never called
        return lambda block: block.spare

    assert mute.summary == ""


def test_settled_values_are_complete() -> None:
    settled = foreign.settle({"weight": 1, "lambda_": 0.5, "density": [0.1, 0.2]}, 2)
    assert settled["weight"] == (1, 1)
    assert settled["density"] == (0.1, 0.2)
    assert settled["lambda"] == 0.5
    assert list(settled) == list(foreign.parameters)


def test_settling_lists_everything_that_is_wrong() -> None:
    with pytest.raises(ValueError, match="densty") as caught:
        foreign.settle({"densty": 1, "density": [-1.0, 2.0], "rank": 99, "plain": [1]}, 3)
    assert str(caught.value).split("; ") == [
        "foreign has no parameter 'densty' (did you mean 'density'?)",
        "weight is missing",
        "density needs 3 values",
        "density must be in [0, 1]: -1",
        "density must be in [0, 1]: 2",
        "rank must be in [1, 64]: 99",
        "plain must be a number, not [1]",
    ]


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "text"),
    [
        (Range(0.0, 1.0), [0.0, 1.0], [-1e-9, 1.1], "[0, 1]"),
        (Range(0.0, 1.0, open_low=True), [1e-9, 1.0], [0.0], "(0, 1]"),
        (Range(0.0, 0.5, open_high=True), [0.0, 0.4999], [0.5], "[0, 0.5)"),
        (Range(low=2.0), [2.0, 1e30], [1.9, math.inf, math.nan], "[2, inf)"),
    ],
)
def test_a_range_holds_what_it_prints(
    bounds: Range, inside: list[float], outside: list[float], text: str
) -> None:
    assert str(bounds) == text
    assert all(bounds.holds(value) for value in inside)
    assert not any(bounds.holds(value) for value in outside)
    clipped = [bounds.clip(value) for value in (*inside, *outside) if math.isfinite(value)]
    assert all(bounds.holds(value) for value in clipped)
    assert [bounds.clip(value) for value in inside[:1]] == pytest.approx(inside[:1], abs=1e-6)


def below_weight(values: Mapping[str, Any]) -> list[Limit]:
    """Demand that density is below weight."""
    bounds = Range(0.0, values["weight"], open_high=True)
    return [Limit("density", bounds, "density must be below weight")]


def test_values_that_do_not_go_together_are_told_per_model() -> None:
    method = replace(foreign, limits=below_weight)
    good = {"weight": [0.5, 0.2], "density": [0.4, 0.1]}
    assert method.settle(good, 2)["density"] == (0.4, 0.1)
    message = r"density must be in \[0, 0.2\), not 0.3: density must be below weight$"
    with pytest.raises(ValueError, match=message):
        method.settle({**good, "density": [0.4, 0.3]}, 2)
    with pytest.raises(ValueError, match=r"weight is missing$"):  # limits come after the rest
        method.settle({"density": 0.3}, 2)


def test_values_that_do_not_go_together_can_be_reconciled() -> None:
    method = replace(foreign, limits=below_weight)
    found = method.reconcile({"weight": 0.2, "density": 0.9})
    assert found == {"weight": 0.2, "density": pytest.approx(0.2, abs=2e-6)}
    assert not method.complain_together(found)
    assert foreign.reconcile({"weight": 0.2, "density": 0.9}) == {"weight": 0.2, "density": 0.9}


SHIPPED = [
    "breadcrumbs", "breadcrumbs_ties", "dare_linear", "dare_ties", "della", "della_linear",
    "generalized_task_arithmetic", "linear", "passthrough", "slerp", "task_arithmetic", "ties",
]  # fmt: skip


def test_the_shipped_methods_declare_what_the_documents_say() -> None:
    assert set(SHIPPED) <= set(METHODS.names())
    searched = {
        name: [p.name for p in METHODS.get(name).parameters.values() if p.search]
        for name in SHIPPED
    }
    assert searched["slerp"] == ["t"]
    assert searched["passthrough"] == []
    assert searched["ties"] == searched["dare_ties"] == ["weight", "density"]
    assert searched["breadcrumbs"] == ["weight", "density", "gamma"]
    assert searched["della"] == ["weight", "density", "epsilon"]
    random = [name for name in SHIPPED if METHODS.get(name).random]
    assert random == [n for n in SHIPPED if n.startswith(("dare", "della", "generalized"))]


def test_a_name_is_taken_once() -> None:
    registry: Registry[MethodSpec] = Registry("merge method", "evomerge.no_such_group")
    registry.register("foreign", foreign)
    with pytest.raises(ValueError, match="merge method 'foreign' is registered twice"):
        registry.register("foreign", foreign)


@merge_method(
    "by_rows_or_not",
    base="optional",
    granularity=lambda values: "rows" if values["flag"] else "elements",
)
def by_rows_or_not(operands: Operands, *, flag: bool = False) -> Formula:  # noqa: ARG001 - read by its granularity
    """Tell how the operands are walked, and whether there is a base."""
    mark = 2.0 * (operands.granularity == "rows") + (operands.base is not None)
    return lambda block: block.spare.fill_(mark)


@pytest.mark.parametrize(("flag", "granularity"), [(True, "rows"), (False, "elements")])
def test_granularity_may_depend_on_the_values(flag: bool, granularity: str) -> None:
    assert by_rows_or_not.granularity_for({"flag": flag}) == granularity
    assert foreign.granularity_for({}) == "elements"
    walked = merge_tensors(by_rows_or_not, [torch.ones(3, 2)], flag=flag)
    assert walked.unique().tolist() == [2.0 * flag]


def test_an_optional_base_may_be_there_or_not() -> None:
    tensor = torch.ones(3, 2)
    assert merge_tensors(by_rows_or_not, [tensor]).unique().tolist() == [0.0]
    assert merge_tensors(by_rows_or_not, [tensor], tensor).unique().tolist() == [1.0]
