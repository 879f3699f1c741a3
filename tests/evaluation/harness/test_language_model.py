"""Our models behind the harness' interface: what it refuses, ours refuses in one clear line."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from evomerge.errors import EvaluationError
from evomerge.evaluation.harness.language_model import HarnessModel, OwnModel
from evomerge.inference.transformers_model import TransformersModel

LoadModel = Callable[[str], Any]


def ask(context: str, continuation: str) -> Instance:
    return Instance("loglikelihood", {}, (context, continuation), 0)


def test_an_answer_without_a_token_is_refused_and_not_certain(zoo_model: LoadModel) -> None:
    model = OwnModel(zoo_model("base"), {})
    with pytest.raises(EvaluationError, match="a continuation adds no token to its context"):
        model.loglikelihood([ask("r abc=", "c"), ask("r abc=", "")])
    with pytest.raises(AssertionError):
        HarnessModel(
            pretrained=zoo_model("base").module, tokenizer=zoo_model("base").tokenizer
        ).loglikelihood([ask("r abc=", "")])


@pytest.mark.parametrize("scorer", ["own", "harness"])
def test_a_tokenizer_without_start_and_end_is_refused(zoo_model: LoadModel, scorer: str) -> None:
    make: dict[str, Callable[[TransformersModel], Any]] = {
        "own": lambda model: OwnModel(model, {}),
        "harness": lambda m: HarnessModel(pretrained=m.module, tokenizer=m.tokenizer),
    }
    sound = zoo_model("base")
    tokenizer = deepcopy(sound.tokenizer)
    tokenizer.bos_token = tokenizer.eos_token = None
    model = TransformersModel(sound.module, tokenizer)
    with pytest.raises(EvaluationError, match="has neither a start nor an end token"):
        make[scorer](model)
