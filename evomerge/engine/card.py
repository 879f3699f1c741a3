"""The model card of a merge: front matter, models, method, recipe."""

from collections.abc import Mapping
from typing import Any

from evomerge import __version__
from evomerge.checkpoints.architecture import is_head
from evomerge.checkpoints.locate import display_name
from evomerge.engine.plan import Plan
from evomerge.recipe.model import Recipe
from evomerge.recipe.yaml_document import write_yaml

BAKED = (
    "The layers run in this order, with their inputs scaled; here the scales are part of the "
    "weights, as the recipe below says."
)
BEYOND = "mergekit cannot carry that recipe out: it lacks `shift`, and heads untied by their name."
COMPACT = """\
Each layer of the path is kept once; the code that runs them in its order is in this folder
(`modeling_path.py`). Read it, and load the model with trust in it:

```python
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("this/folder", trust_remote_code=True)
```"""


def write_card(plan: Plan, fingerprints: Mapping[str, str], *, verdict: str = "") -> str:
    """Return README.md of the merged model.

    Args:
        plan: what was carried out.
        fingerprints: contents of the models by reference.
        verdict: Markdown about how good the result is; empty when nobody measured.
    """
    names = {model: display_name(model) for model in plan.recipe.models}
    front: dict[str, Any] = {
        "base_model": list(dict.fromkeys(names.values())),
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["merge", "mergekit", "evomerge", *["custom_code"] * _is_compact(plan)],
    }
    lines = [
        f"---\n{write_yaml(front)}---",
        "# A merge of language models",
        f"Made with evomerge {__version__} by `{plan.spec.name}`: {plan.spec.summary}",
        "## Models",
        "\n".join(f"- {names[model]} (contents {fingerprints[model]})" for model in names),
        *([f"## How good it is\n\n{verdict}"] if verdict else []),
        *([f"## How to load it\n\n{COMPACT}"] if _is_compact(plan) else []),
        *([f"## Path\n\n{BAKED}", _write_yaml(plan.path)] if plan.path else []),
        *([BEYOND] if plan.path and not _is_known_to_mergekit(plan.recipe) else []),
        f"## Recipe\n\nSeed of random masks: {plan.seed}.",
        _write_yaml(plan.recipe),
    ]
    return "\n\n".join(lines) + "\n"


def _is_compact(plan: Plan) -> bool:
    return "path_layers" in plan.config


def _is_known_to_mergekit(baked: Recipe) -> bool:
    """Tell whether mergekit's passthrough has all that a baked path says."""
    schedules = [pair for part in baked.slices for pair in part.parameters]
    filters = [rule.filter or "" for _, schedule in schedules for rule in schedule.rules]
    return all(name == "scale" for name, _ in schedules) and not any(map(is_head, filters))


def _write_yaml(recipe: Recipe) -> str:
    """Write a recipe with local folders shown by their last name only."""
    return f"```yaml\n{write_yaml(_rename(recipe.to_document()))}```"


def _rename(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _rename(entry, name) for name, entry in value.items()}
    if isinstance(value, list):
        return [_rename(entry) for entry in value]
    return display_name(value) if key in ("model", "base_model", "tokenizer_source") else value
