"""CMA-ES: too many genes for covariances, and learning rates that adapt."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest

from evomerge.records import Evaluated
from evomerge.search import Searcher
from evomerge.search.cma import CMA
from evomerge.search.sep_cma import SepCMA
from evomerge.space import Gene, SearchSpace

if TYPE_CHECKING:
    from evomerge.types import Genome

    Spend: TypeAlias = Callable[[Searcher, int, Callable[[Genome], float]], list[Genome]]

MANY = SearchSpace([Gene(f"{k}", start=0.3) for k in range(301)], known={"here": np.full(301, 0.6)})


def sphere(point: "Genome") -> float:
    return -float(((point - 0.8) ** 2).sum())


def test_above_300_genes_it_asks_what_sep_cma_asks_and_says_so_once(
    spend: "Spend", caplog: pytest.LogCaptureFixture
) -> None:
    options = {"population": 12, "sigma": 0.1, "seed": 5}
    with caplog.at_level(logging.WARNING):
        asked = spend(CMA(MANY, **options), 60, sphere)  # type: ignore[arg-type]  # one type for all
    [record] = caplog.records
    assert "301 genes are too many for cma" in record.message
    assert "goes on as sep_cma" in record.message
    other = spend(SepCMA(MANY, **options), 60, sphere)  # type: ignore[arg-type]  # likewise
    assert all(np.array_equal(a, b) for a, b in zip(asked, other, strict=True))


def test_options_of_cma_keep_their_meaning_above_300_genes(spend: "Spend") -> None:
    searcher = CMA(MANY, mean=0.9, sigma=0.01, population=30)
    assert np.allclose(np.mean(searcher.ask(), axis=0), 0.9, atol=0.02)
    warm = CMA(MANY, sigma=0.01, population=30, warm_start=True, restarts="ipop")
    spend(warm, 1, sphere)
    assert np.allclose(warm.recommend(), 0.6)
    assert np.allclose(np.mean(warm.ask(), axis=0), 0.6, atol=0.02)


def test_300_genes_still_have_covariances(caplog: pytest.LogCaptureFixture) -> None:
    space = SearchSpace([Gene(f"{k}") for k in range(300)])
    searcher = CMA(space, population=4)
    searcher.tell([Evaluated(point, (sphere(point),)) for point in searcher.ask()])
    assert searcher.ask()[0].shape == (300,)
    assert not caplog.records


def test_thousand_genes_take_milliseconds_a_candidate(spend: "Spend") -> None:
    searcher = CMA(SearchSpace([Gene(f"{k}") for k in range(1024)]))
    begin = time.process_time()
    spend(searcher, 5 * searcher.batch, sphere)
    assert time.process_time() - begin < 2.0


@pytest.mark.parametrize("sigma", [0.02, 1 / 6, 1.0])
def test_learning_rates_adapt_without_diverging(sigma: float, spend: "Spend") -> None:
    rng = np.random.default_rng(0)
    space = SearchSpace([Gene(f"{k}") for k in range(5)])
    searcher = CMA(space, seed=1, sigma=sigma, learning_rate_adaptation=True)
    asked = spend(searcher, 3000, lambda point: sphere(point) + float(rng.normal()) / 10)
    assert np.isfinite(asked).all()
    assert sphere(searcher.recommend()[0]) > sphere(space.start()) / 4


def test_learning_rates_are_those_of_the_paper_unless_they_adapt(spend: "Spend") -> None:
    space = SearchSpace([Gene(f"{k}") for k in range(5)])
    plain, adaptive = (CMA(space, learning_rate_adaptation=flag) for flag in (False, True))
    asked, others = (spend(searcher, 40, sphere) for searcher in (plain, adaptive))
    assert all(np.array_equal(a, b) for a, b in zip(asked[:8], others[:8], strict=True))
    assert not np.array_equal(asked[-1], others[-1])
