"""The requests of a task's questions: built once per tokenizer, asked of every candidate."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evomerge.evaluation.chat import has_template
from evomerge.evaluation.harness.tasks import Examples


@dataclass(frozen=True)
class Prompting:
    """How a question becomes a prompt.

    Attributes:
        system_instruction: said before everything else.
        apply_chat_template: yes, no, or 'auto': where the tokenizer has one.
        fewshot_as_multiturn: examples are turns of their own, not one user's text.
    """

    system_instruction: str | None
    apply_chat_template: bool | str
    fewshot_as_multiturn: bool


@dataclass
class Requests:
    """The requests of one task for one tokenizer.

    Args:
        task: the harness' task.
        documents: split -> its documents, in order.
        examples: split -> their examples.
        prompting: how a question becomes a prompt.
    """

    task: Any
    documents: Mapping[str, Sequence[Any]]
    examples: Mapping[str, Examples]
    prompting: Prompting
    tokens: dict[Any, Any] = field(default_factory=dict)
    _built: dict[tuple[str, int], list[Any]] = field(default_factory=dict)

    def of(self, split: str, place: int, model: Any) -> list[Any]:
        """Return the requests of one question, with no answers yet.

        Args:
            split: of the question.
            place: within the split.
            model: of the harness' kind; its tokenizer applies the chat template.
        """
        key = (split, place)
        if key not in self._built:
            with self.examples[split].of(place):
                self._built[key] = self._build(self.documents[split][place], place, model)
        for instance in self._built[key]:
            instance.resps, instance.filtered_resps = [], {}  # else the harness adds to them
        return self._built[key]

    def _build(self, document: Any, place: int, model: Any) -> list[Any]:
        templated = has_template(model.tokenizer, self.prompting.apply_chat_template)
        template = model.apply_chat_template if templated else None
        context = self.task.fewshot_context(
            document,
            num_fewshot=self.task.get_config("num_fewshot"),
            system_instruction=self.prompting.system_instruction,
            apply_chat_template=templated,
            fewshot_as_multiturn=self.prompting.fewshot_as_multiturn and templated,
            chat_template=template,
            gen_prefix=self.task.doc_to_prefix(document),
        )
        found = self.task.construct_requests(
            doc=document,
            ctx=context,
            metadata=(self.task.config["task"], place, self.task.config.repeats),
            apply_chat_template=templated,
            chat_template=template,
        )
        return found if isinstance(found, list) else [found]


def hash_tokenizer(tokenizer: Any) -> str:
    """Hash all that makes a tokenizer turn texts and conversations into ids as it does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    text = f"{rules}\n{getattr(tokenizer, 'chat_template', None)}\n{tokenizer.special_tokens_map}"
    return hashlib.sha256(text.encode()).hexdigest()


def ask(model: Any, instances: Sequence[Any]) -> None:
    """Let a model answer requests, each kind of them in one call."""
    for kind in dict.fromkeys(instance.request_type for instance in instances):
        mine = [instance for instance in instances if instance.request_type == kind]
        asked = [instance for instance in mine for _ in range(instance.repeats or 1)]
        answers = getattr(model, kind)(asked, disable_tqdm=True)
        for instance, answer in zip(asked, answers, strict=True):
            instance.resps.append(answer)


def hash_question(task: Any, question: Sequence[Any]) -> str:
    """Return the harness' hashes of a question's document, prompt and target, one after another.

    Args:
        task: the harness' task.
        question: its requests.
    """
    from lm_eval.utils import handle_non_serializable

    first, plain = question[0], handle_non_serializable
    document = json.dumps(first.doc, indent=2, default=plain, ensure_ascii=False)
    texts = (document, str(first.arguments[0]), str(task.doc_to_target(first.doc)))
    return "".join(hashlib.sha256(text.encode()).hexdigest() for text in texts)
