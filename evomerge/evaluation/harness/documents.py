"""The documents of a harness' task: which of them a search may see, and what each one asks."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from evomerge.errors import EvaluationError
from evomerge.evaluation.harness.installation import plain

SEED = 1234
"""With which the harness draws examples, unless told otherwise."""
TRAIN = "train"
FEWEST, MOST = 100, 10_000
"""Documents of a train split that are worth asking about, and that are."""


def split_documents(task: Any) -> dict[str, Any]:
    """Return the documents by evaluation split: 'validation', 'test', or both."""
    found = {}
    stated = [task.get_config("validation_split"), task.get_config("test_split")]
    if task.has_validation_docs() and (stated[0] is None or stated[0] != stated[1]):
        found["validation"] = task.validation_docs()
    if task.has_test_docs():
        found["test"] = task.test_docs()
    return found


def find_search_split(task: Any) -> str:
    """Return the split whose documents a search may see: 'validation', 'train' or 'test'.

    The validation split, where there is a test split besides; else the train split, unless all it
    holds are examples for prompts; else the one that is reported on has to be divided.
    """
    reported = list(split_documents(task))
    return TRAIN if len(reported) == 1 and _count_training(task) >= FEWEST else reported[0]


def _count_training(task: Any) -> int:
    """Return how many documents nothing is reported on; none where one may be its own example."""
    stated = task.get_config("training_split")
    reported = [task.get_config("validation_split"), task.get_config("test_split")]
    draws_itself = task.get_config("num_fewshot") and not hasattr(task, "sampler")
    if not task.has_training_docs() or draws_itself or (stated is not None and stated in reported):
        return 0
    return len(task.dataset[stated] if stated in (task.dataset or ()) else [*task.training_docs()])


def divide_training(task: Any) -> tuple[list[Any], list[Any]]:
    """Divide the documents of the train split into those to ask about and those to show.

    Args:
        task: the harness' task.

    Returns:
        At most `MOST` questions, drawn by seed, and what examples before them are drawn from: of a
        split that serves for both a tenth, drawn as the task draws examples, is for showing.
    """
    documents, count = list(task.training_docs()), task.get_config("num_fewshot")
    shown: list[Any] = []
    if count and hasattr(task, "sampler"):
        task.set_fewshot_seed(SEED)
        shown = list(task.sampler.fewshot_docs())
        asked = {str(task.doc_to_text(document)) for document in documents}
        if any(str(task.doc_to_text(document)) in asked for document in shown):
            wanted = max(count + 1, len(shown) // 10)
            shown = list(task.sampler.sample(min(wanted, len(shown)), None))
        kept = {str(task.doc_to_text(document)) for document in shown}
        documents = [each for each in documents if str(task.doc_to_text(each)) not in kept]
    places = sorted(random.Random(SEED).sample(range(len(documents)), min(MOST, len(documents))))
    return [documents[place] for place in places], shown


def check_targets(name: str, task: Any, questions: Sequence[Mapping[str, Any]]) -> None:
    """Check that a question can be answered rightly at all, where choices are given.

    Where only some cannot, the harness scores them 0, and so do we.

    Args:
        name: of the task.
        task: the harness' task.
        questions: as `read_question` has them.

    Raises:
        EvaluationError: of no question is the target one of the choices.
    """
    own = callable(task.get_config("process_results")) or getattr(task, "multiple_input", False)
    if own or task.OUTPUT_TYPE != "multiple_choice":
        return
    asked = [fields for fields in questions if "choices" in fields]
    if asked and not any(_has_answer(fields["target"], fields["choices"]) for fields in asked):
        raise EvaluationError(
            f"task {name}: the target of none of its {len(asked)} questions is one of the choices; "
            f"that of the first is {asked[0]['target']!r:.60}, of {len(asked[0]['choices'])}",
            "Let doc_to_target in its YAML file give a choice's index, from 0, or its text",
        )


def _has_answer(target: Any, choices: Sequence[str]) -> bool:
    """Tell whether the harness finds a right choice: by its index, its text, or several indices."""
    if isinstance(target, str):
        return target in choices
    indices = target if isinstance(target, list) else [target]
    return any(isinstance(index, int) and 0 <= index < len(choices) for index in indices)


def read_question(task: Any, document: Any) -> dict[str, Any]:
    """Return a document as people, and the check for equal questions, see it.

    Raises:
        TypeError: what shall be continued is no text.
    """
    target = task.doc_to_target(document)
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return {"text": plain(target)}
    choices = task.doc_to_choice(document) if task.get_config("doc_to_choice") else None
    asked = {"prompt": plain(task.doc_to_text(document))}
    if task.OUTPUT_TYPE == "generate_until" and not isinstance(asked["prompt"], str):
        raise TypeError(f"doc_to_text gives {asked['prompt']!r:.60}, which is no text")
    return {**asked, **({"choices": plain(choices)} if choices else {}), "target": plain(target)}
