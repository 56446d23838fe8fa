"""The quick answer of ``validate`` is the command's own, byte for byte, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ava.cli import quick
from tests.cli.conftest import ROOT, Ran

CLEAN: list[list[str]] = [
    ["validate", "standard"],
    ["validate", "standard", "moe", "standard"],
    ["validate", "presets"],
    ["validate", "presets/*.yaml"],
    ["validate", "presets/standard.yaml", "presets", "mtp"],
    ["validate", "{tmp}/good.yaml"],
    ["validate", "{tmp}/child.yaml", "{tmp}/../{name}/good.yaml"],
    ["validate", "{tmp}/advice.yaml"],
    ["validate", "{tmp}/good folder"],
]
OTHER: list[list[str]] = [
    [],
    ["validate"],
    ["validate", ""],
    ["validate", "standrad"],
    ["validate", "standard", "standrad"],
    ["validate", "{tmp}"],
    ["validate", "{tmp}/empty"],
    ["validate", "{tmp}/*.nothing"],
    ["validate", "{tmp}/no-such-file.yaml"],
    ["validate", "{tmp}/wrong.yaml"],
    ["validate", "{tmp}/good.yaml", "{tmp}/wrong.yaml"],
    ["validate", "{tmp}/child-of-wrong.yaml", "{tmp}/wrong.yaml"],
    ["validate", "{tmp}/unreadable.yaml"],
    ["validate", "{tmp}/latin-1.yaml"],
    ["validate", "a\0b.yaml"],
    ["validate", "standard", "--quiet"],
    ["validate", "--format", "json", "standard"],
    ["validate", "standard", "--set", "terms.z_loss.weight=-1"],
    ["validate", "--", "standard"],
    ["validate", "--colour", "standard"],
    ["validate", "--help"],
    ["validate", "-h"],
    ["lint", "standard"],
    ["--version"],
    ["valdate", "standard"],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with good and bad files."""
    (tmp_path / "good.yaml").write_text("version: 1\nterms: {z_loss: {}}\n")
    (tmp_path / "child.yaml").write_text("version: 1\nextends: [./good.yaml, mtp]\n")
    (tmp_path / "advice.yaml").write_text("version: 1\nterms: {z_loss: null}\n")
    (tmp_path / "wrong.yaml").write_text("version: 1\nterms: {z_los: {}}\n")
    (tmp_path / "child-of-wrong.yaml").write_text("version: 1\nextends: ./wrong.yaml\n")
    (tmp_path / "unreadable.yaml").write_text("version: [\n")
    (tmp_path / "latin-1.yaml").write_bytes("description: é".encode("latin-1"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "good folder").mkdir()
    (tmp_path / "good folder" / "a.yml").write_text("version: 1\n")
    return tmp_path


@pytest.mark.parametrize("arguments", [*CLEAN, *OTHER], ids=" ".join)
def test_both_ways_say_the_same(
    arguments: list[str], folder: Path, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = [item.format(tmp=folder, name=folder.name) for item in arguments]
    answers: list[int | None] = []
    answer = quick.validate_quickly

    def watched(arguments: list[str]) -> int | None:
        answers.append(answer(arguments))
        return answers[-1]

    monkeypatch.setattr(quick, "validate_quickly", watched)
    fast = run(*filled)
    monkeypatch.setattr(quick, "validate_quickly", lambda arguments: None)
    assert run(*filled) == fast
    assert answers == ([0] if arguments in CLEAN else [None])


def test_a_warning_in_a_pull_request_is_the_commands_business(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert quick.validate_quickly(["validate", "standard"]) is None


def test_an_interrupt_ends_it_as_it_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ava.cli.sources.open_source", interrupted)
    assert quick.validate_quickly(["validate", "standard"]) == 130
