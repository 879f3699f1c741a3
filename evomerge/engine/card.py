"""The model card of a merge: front matter, models, method, recipe."""

from collections.abc import Mapping
from typing import Any

from evomerge import __version__
from evomerge.checkpoints.locate import display_name
from evomerge.engine.plan import Plan
from evomerge.recipe.yaml_document import write_yaml


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
        "tags": ["merge", "mergekit", "evomerge"],
    }
    lines = [
        f"---\n{write_yaml(front)}---",
        "# A merge of language models",
        f"Made with evomerge {__version__} by `{plan.spec.name}`: {plan.spec.summary}",
        "## Models",
        "\n".join(f"- {names[model]} (contents {fingerprints[model]})" for model in names),
        *([f"## How good it is\n\n{verdict}"] if verdict else []),
        f"## Recipe\n\nSeed of random masks: {plan.seed}.",
        f"```yaml\n{write_yaml(public_document(plan))}```",
    ]
    return "\n\n".join(lines) + "\n"


def public_document(plan: Plan) -> Any:
    """Return the recipe with local folders shown by their last name only."""
    return _rename(plan.recipe.to_document())


def _rename(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _rename(entry, name) for name, entry in value.items()}
    if isinstance(value, list):
        return [_rename(entry) for entry in value]
    return display_name(value) if key in ("model", "base_model", "tokenizer_source") else value
