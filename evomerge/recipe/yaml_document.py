"""YAML as people expect it: `1e-3` is a number, a key stands once, a bomb does not go off."""

import re
from typing import Any

import yaml

from evomerge.errors import InvalidDocument, Problem

SUFFIXES = (".yml", ".yaml")
"""What the names of YAML files end with, in small letters."""

MOST_NODES = 200_000
"""A document that unfolds (through aliases) to more nodes than this is refused."""

_BAD_TAG = (ValueError, LookupError, AttributeError)
"""What PyYAML raises on a tag that its value does not fit, such as `!!bool maybe`."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 numbers, without YAML 1.1's yes/no, duplicate keys refused."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read a mapping as written, before merge keys; raise on a key that stands twice."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.composer.ComposerError(
                        None, None, f"the key {key.value!r} stands twice", key.start_mark
                    )
                seen.add(key.value)
        return node

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Read a decimal number; `010` is ten."""
        try:
            return int(node.value)
        except ValueError:
            raise yaml.constructor.ConstructorError(
                None, None, "not a number that fits anything", node.start_mark
            ) from None


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what `_Loader` would take for a number or another line break."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Write a string; the rare line breaks stay what they are only as escapes."""
        style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


def _define_scalars() -> None:
    drop = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "timestamp")}
    _Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag not in drop]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    number = (
        r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"
        r"|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
    )
    truth = r"^(true|True|TRUE|false|False|FALSE)$"
    _Loader.add_implicit_resolver(
        "tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789")
    )
    for side in (_Loader, _Dumper):
        side.add_implicit_resolver(
            "tag:yaml.org,2002:float", re.compile(number), list("-+.0123456789")
        )
    _Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(truth), list("tTfF"))
    _Dumper.add_representer(str, _Dumper.represent_text)
    _Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)


_define_scalars()


def read_yaml(text: str, source: str) -> Any:
    """Read one YAML document.

    Args:
        text: the document.
        source: what to call it in messages: usually a file name.

    Raises:
        InvalidDocument: with line and column; or there is more than one document.
    """
    documents = read_all_yaml(text, source)
    if len(documents) > 1:
        raise InvalidDocument(
            source, [Problem("", f"{len(documents)} documents where one is expected")]
        )
    return documents[0] if documents else None


def read_all_yaml(text: str, source: str) -> list[Any]:
    """Read YAML documents that are separated by `---`.

    Args:
        text: the documents.
        source: what to call them in messages: usually a file name.

    Returns:
        One value for each, None for an empty one.

    Raises:
        InvalidDocument: with line and column.
    """
    try:
        nodes = list(yaml.compose_all(text, Loader=_Loader))
        _count_nodes(nodes, source)
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidDocument(source, [Problem(place, str(error.problem))]) from None
    except RecursionError:
        raise InvalidDocument(source, [Problem("", "nested too deeply")]) from None
    except (yaml.YAMLError, *_BAD_TAG) as error:
        reason = str(error).splitlines()[0]
        raise InvalidDocument(source, [Problem("", f"not YAML: {reason}")]) from None


def _count_nodes(roots: list[yaml.Node], source: str) -> None:
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = MOST_NODES + 1  # an alias to itself never ends
            children = node.value if isinstance(node, yaml.CollectionNode) else []
            flat = [c for pair in children for c in (pair if isinstance(pair, tuple) else (pair,))]
            sizes[id(node)] = 1 + sum(size(child) for child in flat)
        return sizes[id(node)]

    if sum(map(size, roots)) > MOST_NODES:
        raise InvalidDocument(source, [Problem("", f"unfolds to more than {MOST_NODES} values")])


def write_yaml(document: Any) -> str:
    """Write plain values as YAML, keys in the order given."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
