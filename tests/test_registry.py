"""Plug-ins by name: ours by a line, strangers' by entry point, broken ones without a crash."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evomerge.errors import UnknownName
from evomerge.registry import Registry, suggest

GROUP = "evomerge.test_group"
Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return install(entry points, source): a package `stranger` as pip would leave it."""

    def put(points: str, source: str) -> None:
        (tmp_path / "stranger.py").write_text(source)
        info = tmp_path / "stranger-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "stranger", raising=False)

    return put


@pytest.fixture
def registry() -> Registry[str]:
    found: Registry[str] = Registry("colour", GROUP)
    found.register("red", "#f00")
    return found


def test_a_strangers_entry_is_found_beside_ours(registry: Registry[str], install: Install) -> None:
    install("blue = stranger:blue", "blue = '#00f'")
    assert registry.names() == ["blue", "red"]
    assert dict(registry.items()) == {"blue": "#00f", "red": "#f00"}


def test_a_stranger_cannot_replace_ours(registry: Registry[str], install: Install) -> None:
    install("red = stranger:red", "red = 'not red'")
    assert registry.get("red") == "#f00"


@pytest.mark.parametrize(
    ("points", "source", "reason"),
    [
        (
            "bad = stranger:bad",
            "raise RuntimeError('line one\\nline two')",
            "RuntimeError: line one",
        ),
        ("bad = stranger:bad", "import no_such_module_at_all", "ModuleNotFoundError: No module"),
        ("bad = stranger:bad", "good = 1", "AttributeError: module 'stranger' has no attribute"),
        ("bad = stranger:bad", "def bad(:", "SyntaxError: invalid syntax"),
    ],
)
def test_a_broken_stranger_is_named_and_left_out(
    registry: Registry[str],
    install: Install,
    caplog: pytest.LogCaptureFixture,
    points: str,
    source: str,
    reason: str,
) -> None:
    install(points, source)
    with caplog.at_level(logging.WARNING):
        assert registry.names() == ["red"]
        assert registry.get("red") == "#f00"
    (message,) = caplog.messages
    assert message.startswith(f"colour 'bad' of package stranger cannot be loaded ({reason}")
    assert message.endswith("; repair or uninstall the package")
    assert "\n" not in message


def test_an_unknown_name_is_met_with_the_closest_one(registry: Registry[str]) -> None:
    with pytest.raises(UnknownName, match=r"^unknown colour 'rad' \(did you mean 'red'\?\)") as got:
        registry.get("rad")
    assert got.value.hint == "Known: red"
    assert got.value.exit_code == 2


def test_a_name_is_taken_once(registry: Registry[str]) -> None:
    with pytest.raises(ValueError, match="colour 'red' is registered twice"):
        registry.register("red", "#e00")
    assert registry.get("red") == "#f00"


def test_a_suggestion_is_close_or_absent() -> None:
    assert suggest("wieght", ["weight", "density"]) == " (did you mean 'weight'?)"
    assert suggest("xyz", ["weight", "density"]) == ""
    assert suggest("", []) == ""
