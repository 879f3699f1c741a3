"""Chat templates: how a conversation becomes text (Jinja), chosen for a merged model."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from evomerge.checkpoints.reader import read_json
from evomerge.checkpoints.tokenizer import write_json
from evomerge.checkpoints.writer import write_text
from evomerge.errors import CheckpointError

FILE = "chat_template.jinja"
LONGEST_NAME = 64


@cache
def named_templates() -> dict[str, str]:
    """Return the well-known templates by name: alpaca, chatml, exaone, llama3, mistral."""
    folder = files("evomerge") / "checkpoints" / "data" / "chat_templates"
    found = sorted(folder.iterdir(), key=lambda file: file.name)
    return {f.name.removesuffix(".jinja"): f.read_text("utf-8") for f in found}


def choose_template(folders: Sequence[Path], choice: str | None) -> str | None:
    """Return the chat template of a merged model, None to leave its tokenizer's own.

    Args:
        folders: of the models, in the recipe's order, one entry for each.
        choice: 'auto' for the one most models have (the first of several), the name of a
            well-known one, or Jinja text.

    Raises:
        ValueError: there is no template of that name, or the text is not valid Jinja.
        CheckpointError: a model's files are damaged.
    """
    if not choice:
        return None
    if choice == "auto":
        found = [template.strip() for folder in folders if (template := read_template(folder))]
        return Counter(found).most_common(1)[0][0] if found else None
    if choice in named_templates():
        return named_templates()[choice]
    if "{" not in choice:
        known = ", ".join(["auto", *named_templates()])
        raise ValueError(
            f"chat_template {choice[:LONGEST_NAME]!r} is neither one of {known} nor Jinja text"
        )
    _check_syntax(choice)
    return choice


def read_template(folder: Path) -> str | None:
    """Return the chat template of a model folder, the default one of several, or None."""
    if (folder / FILE).is_file():
        try:
            return (folder / FILE).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder / FILE} cannot be read: {error}") from None
    if not (folder / "tokenizer_config.json").is_file():
        return None
    stated: Any = read_json(folder / "tokenizer_config.json", str(folder)).get("chat_template")
    if isinstance(stated, list):
        several = [entry for entry in stated if isinstance(entry, dict)]
        stated = {entry.get("name"): entry.get("template") for entry in several}
    if isinstance(stated, dict):
        stated = stated.get("default")
    return stated if isinstance(stated, str) else None


def write_template(folder: Path, template: str) -> list[str]:
    """Give the tokenizer in a folder a chat template, the only one; return the files' names."""
    write_text(folder / FILE, template)
    config = folder / "tokenizer_config.json"
    settings = read_json(config, str(folder)) if config.is_file() else {}
    if "chat_template" not in settings:
        return [FILE]
    write_json(config, {key: value for key, value in settings.items() if key != "chat_template"})
    return [FILE, config.name]


def _check_syntax(template: str) -> None:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The block by which transformers marks what the model itself has said."""

        tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

        def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    try:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
        )
        environment.intercepted_binops = frozenset(("*", "**"))  # 'a' * 10**10 is not worked out
        environment.from_string(template)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise ValueError(f"chat_template is not valid Jinja: {error}{where}") from None
