"""Tasks of lm-evaluation-harness: our numbers are its numbers, question by question."""

import random
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import lm_eval.evaluator
import numpy as np
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from evomerge.errors import EvaluationError
from evomerge.evaluation import Evaluator, build_evaluator
from evomerge.evaluation.lm_eval_harness import LmEval
from evomerge.evaluation.task import items_of
from evomerge.inference.transformers_model import TransformersModel
from evomerge.records import Item

LoadModel = Callable[[str], Any]
CHAT = (
    "{{ bos_token }}{% for m in messages %}{{ m.role[0] }} {{ m.content }}. {% endfor %}"
    "{% if add_generation_prompt %}a {% endif %}"
)


@pytest.fixture(autouse=True)
def in_the_folder_of_the_data(tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself finds data files in the current folder only."""
    monkeypatch.chdir(tasks)
    monkeypatch.setattr(lm_eval.evaluator, "add_env_info", lambda _: None)  # a second of pip


def make(tasks: Path, name: str, **options: Any) -> LmEval:
    evaluator = build_evaluator("lm_eval", {"task_search_path": [str(tasks)], **options}, name)
    assert isinstance(evaluator, LmEval)
    return evaluator


def reported(evaluator: LmEval) -> tuple[Item, ...]:
    return items_of("t", evaluator.reported())


def ours(tasks: Path, name: str, model: Any, **options: Any) -> list[float]:
    evaluator = make(tasks, name, **options)
    return evaluator.evaluate(model, reported(evaluator))


def theirs(
    tasks: Path, name: str, model: Any, metric: str = "acc", filter_: str = "none", **options: Any
) -> list[Any]:
    """Let the harness evaluate; return its value per document, in order."""
    settings = {"apply_chat_template": bool(model.tokenizer.chat_template), **options}
    with torch.random.fork_rng():
        results = lm_eval.evaluator.simple_evaluate(
            HFLM(pretrained=model.module, tokenizer=model.tokenizer, batch_size=7),
            tasks=[name],
            task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
            bootstrap_iters=0,
            **settings,
        )
    samples = [s for s in results["samples"][name] if s["filter"] == filter_]
    return [s[metric] for s in sorted(samples, key=lambda s: s["doc_id"])]


@pytest.fixture
def chatty(zoo_model: LoadModel) -> Any:
    """Return a model whose tokenizer has a chat template."""
    model = zoo_model("reverse")
    tokenizer = deepcopy(model.tokenizer)
    tokenizer.chat_template = CHAT
    return TransformersModel(model.module, tokenizer)


# ---------------------------------------------------------------------------- equal numbers


@pytest.mark.parametrize("scorer", ["own", "harness"])
@pytest.mark.parametrize("metric", ["acc", "acc_norm"])
@pytest.mark.parametrize("shots", [0, 2])
def test_multiple_choice(
    tasks: Path, zoo_model: LoadModel, scorer: str, metric: str, shots: int
) -> None:
    model = zoo_model("base")
    found = ours(tasks, "reverse_choice", model, scorer=scorer, metric=metric, num_fewshot=shots)
    assert found == theirs(tasks, "reverse_choice", model, metric, num_fewshot=shots)
    assert len(found) == 24
    assert shots == 0 or 0 < sum(found) < 24  # without examples it is too easy for the zoo


def test_one_word_answers(tasks: Path, zoo_model: LoadModel) -> None:
    model = zoo_model("base")
    found = ours(tasks, "yes_no", model)
    assert found == theirs(tasks, "yes_no", model)
    assert len(found) == 30


@pytest.mark.parametrize("filter_", ["none", "letters"])
def test_generated_answers_through_a_filter(
    tasks: Path, zoo_model: LoadModel, filter_: str
) -> None:
    model = zoo_model("sort")
    found = ours(tasks, "sort_words", model, metric=f"exact_match,{filter_}")
    expected = theirs(tasks, "sort_words", model, "exact_match", filter_)
    by_the_harness = ours(
        tasks, "sort_words", model, metric=f"exact_match,{filter_}", scorer="harness"
    )
    assert found == expected == by_the_harness
    assert 0 < sum(found) < len(found) == 40


@pytest.mark.parametrize("metric", ["word_perplexity", "byte_perplexity", "bits_per_byte"])
def test_perplexity_is_a_rate_of_each_document_over_windows_of_the_context(
    tasks: Path, zoo_model: LoadModel, metric: str
) -> None:
    model = zoo_model("base")  # its context of 64 tokens is shorter than most documents
    pairs = np.array(theirs(tasks, "prose", model, metric))
    unit = np.log(2) if metric == "bits_per_byte" else 1.0
    found = ours(tasks, "prose", model, metric=metric)
    np.testing.assert_allclose(found, -pairs[:, 0] / pairs[:, 1] / unit, rtol=1e-5)
    assert not make(tasks, "prose", metric=metric).higher_is_better


def test_brier_score_per_question_averages_to_that_of_the_harness(
    tasks: Path, zoo_model: LoadModel
) -> None:
    model = zoo_model("sort")
    pairs = theirs(tasks, "reverse_choice", model, "brier_score")
    expected = [((p - np.eye(len(p))[gold]) ** 2).sum() for gold, p in pairs]
    found = ours(tasks, "reverse_choice", model, metric="brier_score")
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("turns", [True, False])
def test_chat_template_with_system_instruction_and_examples(
    tasks: Path, chatty: Any, turns: bool
) -> None:
    options = {"num_fewshot": 1, "system_instruction": "reverse", "fewshot_as_multiturn": turns}
    expected = theirs(tasks, "reverse_choice", chatty, "acc_norm", **options)
    found = ours(
        tasks, "reverse_choice", chatty, metric="acc_norm", apply_chat_template=True, **options
    )
    assert found == expected
    auto = {"apply_chat_template": "auto", "metric": "acc_norm", **options}
    assert ours(tasks, "reverse_choice", chatty, **auto) == expected


def test_generation_arguments_pass_through(tasks: Path, zoo_model: LoadModel) -> None:
    model = zoo_model("reverse")
    short = ours(tasks, "sort_words", model, metric="exact_match", gen_kwargs={"max_gen_toks": 1})
    assert sum(short) == 0
    assert short == theirs(
        tasks, "sort_words", model, "exact_match", gen_kwargs={"max_gen_toks": 1}
    )
    text = ours(tasks, "sort_words", model, metric="exact_match", gen_kwargs="max_gen_toks=1")
    assert text == short


@pytest.mark.parametrize("shots", [0, 3])
def test_tokens_that_span_prompt_and_answer(
    tasks: Path, subword_model: TransformersModel, shots: int
) -> None:
    model = subword_model
    for metric in ("acc", "acc_norm"):
        found = ours(tasks, "reverse_choice", model, metric=metric, num_fewshot=shots)
        assert found == theirs(tasks, "reverse_choice", model, metric, num_fewshot=shots)
    answers = [i.resps for i in _answered(make(tasks, "sort_words", metric=None), model)]
    by_the_harness = make(tasks, "sort_words", metric=None, scorer="harness")
    assert answers == [instance.resps for instance in _answered(by_the_harness, model)]
    assert len({answer for (answer,) in answers}) > 5
    rate = np.array(theirs(tasks, "prose", model, "bits_per_byte"))
    np.testing.assert_allclose(
        ours(tasks, "prose", model, metric="bits_per_byte"),
        -rate[:, 0] / rate[:, 1] / np.log(2),
        rtol=1e-5,
    )


WORDS = """
from lm_eval.api.task import ConfigurableTask


class Words(ConfigurableTask):
    def __init__(self, config=None):
        stated = {key: value for key, value in config.items() if key != "class"}
        super().__init__(config={**stated, "doc_to_text": "r {{word}}="})

    def process_results(self, doc, results):
        return {"acc": float(results[0][0] > results[1][0])}
"""


def test_task_that_is_a_class(own_tasks: Path, zoo_model: LoadModel) -> None:
    (own_tasks / "words.py").write_text(WORDS)
    yaml = own_tasks / "yes_no.yaml"
    yaml.write_text(yaml.read_text() + "class: !function words.Words\n")
    model = zoo_model("sort")
    found = ours(own_tasks, "yes_no", model)
    assert found == theirs(own_tasks, "yes_no", model)
    assert 0 < sum(found) < 30


# ---------------------------------------------------------------------------- many candidates


def test_second_candidate_is_not_mistaken_for_the_first(tasks: Path, zoo_model: LoadModel) -> None:
    judge = make(tasks, "reverse_choice", metric="acc_norm", num_fewshot=1)
    first = judge.evaluate(zoo_model("reverse"), reported(judge))
    second = judge.evaluate(zoo_model("sort"), reported(judge))
    again = judge.evaluate(zoo_model("reverse"), reported(judge))
    options: dict[str, Any] = {"metric": "acc_norm", "num_fewshot": 1}
    assert first == again == ours(tasks, "reverse_choice", zoo_model("reverse"), **options)
    assert second == ours(tasks, "reverse_choice", zoo_model("sort"), **options)
    assert first != second


def test_requests_are_built_once_per_tokenizer(
    tasks: Path, zoo_model: LoadModel, chatty: Any
) -> None:
    judge = make(tasks, "reverse_choice", apply_chat_template="auto")
    for model in (zoo_model("reverse"), zoo_model("sort"), zoo_model("reverse")):
        judge.evaluate(model, reported(judge))
    assert len(judge._requests) == 1
    judge.evaluate(chatty, reported(judge))
    assert len(judge._requests) == 2


def test_a_question_is_asked_alike_whichever_others_are_asked(
    tasks: Path, zoo_model: LoadModel
) -> None:
    options: dict[str, Any] = {"metric": "brier_score", "num_fewshot": 2}
    judge = make(tasks, "reverse_choice", **options)
    whole = judge.evaluate(zoo_model("sort"), reported(judge))
    few = make(tasks, "reverse_choice", **options)
    some = few.evaluate(zoo_model("sort"), [reported(few)[k] for k in (20, 3, 11)])
    np.testing.assert_allclose(some, [whole[k] for k in (20, 3, 11)], rtol=1e-4, atol=1e-7)


@pytest.fixture
def generators() -> Iterator[None]:
    """Check that no global generator is read or set."""
    numpys = np.random.get_state()  # noqa: NPY002 - the global generator is meant
    before = (random.getstate(), numpys, torch.get_rng_state())
    yield
    assert random.getstate() == before[0]
    now = np.random.get_state()  # noqa: NPY002 - the global generator is meant
    assert all(np.array_equal(a, b) for a, b in zip(now, before[1], strict=True))
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("scorer", ["own", "harness"])
@pytest.mark.usefixtures("generators")
def test_global_generators_are_left_alone(tasks: Path, zoo_model: LoadModel, scorer: str) -> None:
    ours(tasks, "reverse_choice", zoo_model("sort"), num_fewshot=3, scorer=scorer)
    ours(tasks, "sort_words", zoo_model("sort"), metric="exact_match", scorer=scorer)


@pytest.mark.usefixtures("generators")
def test_even_sampling_leaves_the_global_generators_alone_and_repeats(
    own_tasks: Path, zoo_model: LoadModel
) -> None:
    options: dict[str, Any] = {
        "metric": "exact_match",
        "scorer": "harness",
        "gen_kwargs": {"do_sample": True, "temperature": 2.0},
    }
    first = ours(own_tasks, "sort_words", zoo_model("sort"), **options)
    assert first == ours(own_tasks, "sort_words", zoo_model("sort"), **options)


def test_a_broken_model_gives_no_answer(tasks: Path, zoo_model: LoadModel) -> None:
    sound = zoo_model("sort")
    module = deepcopy(sound.module)
    module.model.norm.weight.data.fill_(torch.nan)
    with pytest.raises(EvaluationError, match="24 of 24 scores are NaN or infinite"):
        ours(tasks, "reverse_choice", TransformersModel(module, sound.tokenizer))


def test_audit_is_told_of_answers_in_which_the_filter_found_nothing(
    tasks: Path, zoo_model: LoadModel
) -> None:
    from evomerge.evaluation import Audit

    judge = make(tasks, "sort_words", metric="exact_match,letters", gen_kwargs={"max_gen_toks": 1})
    audit = Audit()
    model = zoo_model("reverse")
    judge.evaluate(model, reported(judge), audit)
    plain = make(tasks, "sort_words", metric="exact_match", gen_kwargs={"max_gen_toks": 1})
    first_letters = [instance.resps[0] for instance in _answered(plain, model)]
    expected = sum(letter in ("", "a") for letter in first_letters) / len(first_letters)
    assert audit.measures()["unparsed"] == expected
    assert audit.measures()["answers"] == 40


def _answered(judge: LmEval, model: Any) -> list[Any]:
    """Return the harness' requests with the answers of a model."""
    judge.evaluate(model, reported(judge))
    (requests,) = judge._requests.values()
    return [instance for built in requests._built.values() for instance in built]


# ---------------------------------------------------------------------------- documents


def test_validation_is_searched_and_the_test_split_kept(tasks: Path) -> None:
    found = make(tasks, "reverse_choice").documents()
    assert {split: len(rows) for split, rows in found.items()} == {
        "search+validation": 40,
        "test": 24,
    }
    assert found["test"][3].keys() == {"prompt", "choices", "target", "place"}
    assert found["test"][3]["place"] == "test:3"


def test_one_split_is_not_divided_yet(tasks: Path) -> None:
    assert [*make(tasks, "yes_no").documents()] == [None]
    assert make(tasks, "yes_no").reporting_split == "validation"


def test_split_that_is_called_both_is_one(own_tasks: Path) -> None:
    yaml = own_tasks / "sort_words.yaml"
    yaml.write_text(yaml.read_text() + "validation_split: test\n")
    judge = make(own_tasks, "sort_words", metric=None)
    assert {split: len(rows) for split, rows in judge.documents().items()} == {None: 40}


def test_question_in_both_splits_belongs_to_the_test(own_tasks: Path) -> None:
    test = (own_tasks / "choice_test.jsonl").read_text().splitlines()
    validation = own_tasks / "choice_validation.jsonl"
    validation.write_text(validation.read_text() + test[5] + "\n")
    found = make(own_tasks, "reverse_choice").documents()
    assert {split: len(rows) for split, rows in found.items()} == {
        "search+validation": 40,
        "test": 24,
    }


@pytest.mark.parametrize("sampler", ["default", "first_n"])
def test_no_question_stands_among_its_own_examples(
    own_tasks: Path, zoo_model: LoadModel, sampler: str
) -> None:
    yaml = own_tasks / "sort_words.yaml"
    changes = f"fewshot_split: test\nfewshot_config: {{sampler: {sampler}}}\n"
    yaml.write_text(yaml.read_text() + changes)
    judge = make(own_tasks, "sort_words", metric="exact_match", num_fewshot=5)
    for instance in _answered(judge, zoo_model("sort")):
        # "s abc=abc s bca=abc s cab=": examples, then the question
        *examples, question = re.findall(r"(?:^| )s (\S+=\S*)", instance.args[0])
        assert len(examples) == 5
        assert not any(example.startswith(question) for example in examples)


def test_examples_are_those_of_the_harness_when_they_come_from_the_same_split(
    own_tasks: Path, zoo_model: LoadModel
) -> None:
    yaml = own_tasks / "sort_words.yaml"
    yaml.write_text(yaml.read_text() + "fewshot_split: test\n")
    options: dict[str, Any] = {"num_fewshot": 3}
    found = ours(own_tasks, "sort_words", zoo_model("sort"), metric="exact_match", **options)
    assert found == theirs(own_tasks, "sort_words", zoo_model("sort"), "exact_match", **options)


# ---------------------------------------------------------------------------- identity


def test_identity_follows_what_the_yaml_says_but_not_where_it_stands(
    tasks: Path, own_tasks: Path
) -> None:
    first = make(tasks, "sort_words", metric="exact_match").identity
    assert make(own_tasks, "sort_words", metric="exact_match").identity == first
    yaml = own_tasks / "sort_words.yaml"
    yaml.write_text(yaml.read_text().replace("s {{word}}=", "s: {{word}}="))
    assert make(own_tasks, "sort_words", metric="exact_match").identity != first


def test_identity_follows_the_functions_that_a_yaml_names(own_tasks: Path) -> None:
    yaml = own_tasks / "sort_words.yaml"
    yaml.write_text(yaml.read_text() + "process_docs: !function words.keep\n")
    code = own_tasks / "words.py"
    code.write_text("def keep(documents):\n    return documents\n")
    first = make(own_tasks, "sort_words", metric="exact_match").identity
    assert make(own_tasks, "sort_words", metric="exact_match").identity == first
    code.write_text("def keep(documents):\n    return documents.select(range(9))\n")
    changed = make(own_tasks, "sort_words", metric="exact_match")
    assert changed.identity != first
    assert len(changed.reported()) == 9


# ---------------------------------------------------------------------------- groups


def test_group_shares_by_size_where_it_says_so(tasks: Path) -> None:
    options = {"task_search_path": [str(tasks)]}
    assert LmEval.parts("letters", options) == pytest.approx(
        {"reverse_choice": 24 / 54, "yes_no": 30 / 54}
    )
    assert LmEval.parts("yes_no", options) == {"yes_no": 1.0}
    assert LmEval.parts("mine", {**options, "task": "yes_no"}) == {"mine": 1.0}


def test_group_shares_equally_where_it_says_so(own_tasks: Path) -> None:
    yaml = own_tasks / "letters.yaml"
    yaml.write_text(yaml.read_text().replace("weight_by_size: true", "weight_by_size: false"))
    options = {"task_search_path": [str(own_tasks)]}
    assert LmEval.parts("letters", options) == {"reverse_choice": 0.5, "yes_no": 0.5}


def test_group_hands_its_settings_down_to_its_members(own_tasks: Path) -> None:
    yaml = own_tasks / "letters.yaml"
    yaml.write_text("num_fewshot: 2\n" + yaml.read_text())
    assert make(own_tasks, "reverse_choice", group="letters").description["num_fewshot"] == 2
    assert make(own_tasks, "reverse_choice").description["num_fewshot"] == 0


# ---------------------------------------------------------------------------- bad input


def refusal(tasks: Path, name: str, **options: Any) -> str:
    with pytest.raises(EvaluationError) as error:
        make(tasks, name, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_unknown_task_with_suggestions(tasks: Path) -> None:
    assert refusal(tasks, "revers_choice").startswith(
        "lm-evaluation-harness has no task 'revers_choice' (did you mean 'reverse_choice'?). Your "
        "own tasks are found with --task-search-path FOLDER"
    )
    assert "(did you mean 'arc_easy'?)" in refusal(tasks, "arc_esay")


def test_metric_that_the_task_does_not_give(tasks: Path) -> None:
    assert refusal(tasks, "yes_no", metric="acc_nrm,none") == (
        "task yes_no does not give the metric 'acc_nrm,none' (did you mean 'acc,none'?). "
        "It gives acc,none"
    )
    assert refusal(tasks, "sort_words") == (
        "task sort_words does not give the metric 'acc,none' (did you mean 'exact_match,none'?). "
        "It gives exact_match,none, exact_match,letters"
    )


def test_metric_of_all_questions_together(tasks: Path) -> None:
    assert refusal(tasks, "reverse_choice", metric="mcc") == (
        "task reverse_choice: 'mcc' exists for all questions together only (matthews_corrcoef), "
        "not for each. Per question it gives acc,none, acc_norm,none, brier_score,none"
    )


def test_task_whose_data_set_is_out_of_reach_names_the_command_that_fetches_it() -> None:
    with pytest.raises(EvaluationError) as error:
        build_evaluator("lm_eval", {}, "arc_easy")
    assert str(error.value) == (
        "task arc_easy needs the data set allenai/ai2_arc, which is not on this machine, and the "
        "hub cannot be reached. Where there is a network: "
        "hf download allenai/ai2_arc --repo-type dataset"
    )


def test_empty_and_missing_splits(own_tasks: Path) -> None:
    (own_tasks / "yes_no.jsonl").write_text("")
    assert refusal(own_tasks, "yes_no").startswith("task yes_no: ")
    yaml = own_tasks / "sort_words.yaml"
    yaml.write_text(yaml.read_text().replace("test_split: test", "test_split: tset"))
    message = refusal(own_tasks, "sort_words", metric="exact_match")
    assert "task sort_words: the harness cannot make it: its data have no split 'tset'" in message


def test_missing_data_file(own_tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own_tasks.parent)
    (own_tasks / "yes_no.jsonl").unlink()
    assert "task yes_no: there is no file yes_no.jsonl, neither in" in refusal(own_tasks, "yes_no")


def test_data_files_stand_beside_the_yaml(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(make(tasks, "yes_no").reported()) == 30


def test_too_few_examples(tasks: Path) -> None:
    assert refusal(tasks, "reverse_choice", num_fewshot=8).startswith(
        "task reverse_choice: num_fewshot is 8, but there are 8 documents to draw"
    )
    assert "num_fewshot must be 0 or more" in refusal(tasks, "reverse_choice", num_fewshot=-1)


def test_sampling_is_the_harness_own_business(tasks: Path) -> None:
    assert refusal(tasks, "sort_words", metric="exact_match", gen_kwargs={"do_sample": True}) == (
        "task sort_words: generation with do_sample: True is not greedy. Leave it out, or let the "
        "harness generate with scorer: harness"
    )
    assert "with num_beams: 4 is not greedy" in refusal(
        tasks, "sort_words", metric="exact_match", gen_kwargs={"num_beams": 4}
    )


def test_chat_template_that_is_not_there(tasks: Path, zoo_model: LoadModel) -> None:
    with pytest.raises(EvaluationError, match="the model's tokenizer has no chat template"):
        ours(tasks, "yes_no", zoo_model("base"), apply_chat_template=True)


def test_prompt_that_leaves_no_room(tasks: Path, zoo_model: LoadModel) -> None:
    options = {"metric": "exact_match", "gen_kwargs": {"max_gen_toks": 64}}
    with pytest.raises(EvaluationError, match="max_gen_toks: 64 leaves no room for a prompt"):
        ours(tasks, "sort_words", zoo_model("base"), **options)


def test_long_contexts_are_cut_as_the_harness_cuts_them(
    own_tasks: Path, zoo_model: LoadModel
) -> None:
    yaml = own_tasks / "reverse_choice.yaml"
    long = "look at the word and turn it. " * 4
    yaml.write_text(yaml.read_text() + f'description: "{long}"\n')
    model = zoo_model("reverse")
    found = ours(own_tasks, "reverse_choice", model, metric="acc_norm")
    assert found == theirs(own_tasks, "reverse_choice", model, "acc_norm")


def test_group_as_a_task_needs_one_of_its_members(tasks: Path) -> None:
    assert refusal(tasks, "letters").startswith(
        "letters stands for several tasks (reverse_choice, yes_no …). Name one of them"
    )


def test_folder_and_yaml_that_cannot_be_read(own_tasks: Path) -> None:
    assert "there is no folder" in refusal(own_tasks / "nowhere", "yes_no")
    yaml = own_tasks / "sort_words.yaml"
    yaml.write_text(yaml.read_text() + "process_docs: !function nowhere.keep\n")
    message = refusal(own_tasks, "sort_words", metric="exact_match")
    assert "sort_words.yaml cannot be read: ImportError" in message


def test_group_that_contains_itself(own_tasks: Path) -> None:
    yaml = own_tasks / "letters.yaml"
    yaml.write_text("group: letters\ntask: [letters, yes_no]\n")
    assert "task group letters contains itself" in refusal(own_tasks, "letters")


def test_code_of_the_model_runs_only_where_that_is_wanted(own_tasks: Path) -> None:
    yaml = own_tasks / "sort_words.yaml"
    yaml.write_text(yaml.read_text() + "unsafe_code: true\n")
    message = refusal(own_tasks, "sort_words", metric="exact_match")
    assert message.startswith("task sort_words runs code that the model has written")
    judge: Evaluator = make(
        own_tasks, "sort_words", metric="exact_match", confirm_run_unsafe_code=True
    )
    assert judge.identity


# ---------------------------------------------------------------------------- many metrics


def test_without_a_metric_it_is_accuracy_or_the_first_there_is(tasks: Path) -> None:
    assert make(tasks, "reverse_choice", metric=None).metric.name == "acc"
    assert make(tasks, "sort_words", metric=None).metric.name == "exact_match"
    assert make(tasks, "prose", metric=None).metric.name == "word_perplexity"


def test_all_metrics_of_what_was_asked_are_known_afterwards(
    tasks: Path, zoo_model: LoadModel
) -> None:
    judge = make(tasks, "sort_words", metric="exact_match,letters")
    found = judge.evaluate(zoo_model("sort"), reported(judge))
    assert judge.noted["exact_match,letters"] == found
    plain = ours(tasks, "sort_words", zoo_model("sort"), metric="exact_match")
    assert judge.noted["exact_match,none"] == plain
    assert plain != found
