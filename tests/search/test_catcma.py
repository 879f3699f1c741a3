"""CatCMA with margin: where it begins, and that what has no effect moves nothing."""

import numpy as np
import pytest

from evomerge.records import Evaluated
from evomerge.search.catcma import CatCMA, Mixed
from evomerge.space import Gene, SearchSpace


def test_no_choice_begins_below_the_margin_that_keeps_it_possible() -> None:
    """With 10 binary genes: 1 - 0.73^(1/10) (Hamano et al., 2025)."""
    genes = [Gene(f"{k}", choices=("x", "y"), chances=(1 - 1e-9, 1e-9)) for k in range(10)]
    searcher = CatCMA(SearchSpace(genes), population=2000)
    drawn = np.array(searcher.ask())
    assert np.mean(drawn == 0.75) == pytest.approx(1 - 0.73**0.1, abs=0.004)


def test_genes_with_different_numbers_of_choices_stand_side_by_side() -> None:
    genes = [Gene("two", choices=("x", "y")), Gene("a"), Gene("five", choices=tuple("vwxyz"))]
    space = SearchSpace(genes)
    drawn = [space.decode(point) for point in CatCMA(space, population=200).ask()]
    assert {values["two"] for values in drawn} == {"x", "y"}
    assert {values["five"] for values in drawn} == set("vwxyz")


@pytest.mark.parametrize("start", [0.0, 0.9])
def test_number_without_effect_stays_where_it_began(start: float) -> None:
    """The switch is off in all that ranks high: its number is told at the mean."""
    switch = Gene("on", choices=(False, True))
    space = SearchSpace([switch, Gene("a", start=start, needs="on"), Gene("b")])
    searcher = CatCMA(space, seed=1, population=30)
    for _ in range(15):
        points = searcher.ask()
        results = [Evaluated(p, (-1e9 * (p[0] > 0.5) - (p[2] - 0.8) ** 2,)) for p in points]
        searcher.tell(results)
    assert isinstance(searcher._distribution, Mixed)
    numbers, chances = searcher._distribution.parameters()
    assert numbers is not None
    assert chances is not None
    assert chances[0, 0] > 0.7
    assert numbers[0] == pytest.approx(start, abs=0.05)
    assert numbers[1] == pytest.approx(0.8, abs=0.05)


def test_choice_without_effect_keeps_its_probabilities() -> None:
    on = Gene("on", choices=(False, True), chances=(0.8, 0.2))
    kind = Gene("kind", choices=tuple("xyz"), needs="on")
    searcher = CatCMA(SearchSpace([on, kind]), seed=3, population=10)
    points = searcher.ask()
    searcher.tell([Evaluated(p, (-float(p[0]),)) for p in points])
    assert isinstance(searcher._distribution, Mixed)
    numbers, chances = searcher._distribution.parameters()
    assert numbers is None
    assert chances is not None
    assert chances[0, 0] > 0.8
    assert np.allclose(chances[1], 1 / 3)


def test_covariance_of_too_many_numbers_is_refused() -> None:
    space = SearchSpace([Gene(f"{k}") for k in range(1001)])
    with pytest.raises(ValueError, match="at most 1000 numbers, this space has 1001; sep_cma"):
        CatCMA(space)
