"""Presets and the shipped folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from ava.errors import SourceError
from ava.load import presets


def test_the_wheel_comes_before_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "ava"
    monkeypatch.setattr(presets, "_PACKAGE", package)
    (tmp_path / "presets").mkdir()
    with pytest.raises(SourceError, match="shipped folder `presets` is missing"):
        presets.data_folder("presets")  # somebody else's folder beside an installed package
    (tmp_path / "pyproject.toml").touch()
    assert presets.data_folder("presets") == tmp_path / "presets"
    (package / "_data" / "presets").mkdir(parents=True)
    assert presets.data_folder("presets") == package / "_data" / "presets"


def test_the_list_has_each_presets_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "b.yaml": "description: |\n  Two\n  lines\n",
        "a.yml": "version: 1\n",
        "c.yaml": "[broken",
        "d.yaml": "description: [1]\n",
        "README.md": "",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "e.yaml").mkdir()
    monkeypatch.setattr(presets, "data_folder", lambda name: tmp_path)
    monkeypatch.delenv("AVA_PRESET_PATH", raising=False)
    listed = presets.list_presets()
    assert [(preset.name, preset.description) for preset in listed] == [("a", ""), ("b", "Two"), ("c", ""), ("d", "")]
    assert {preset.origin for preset in listed} == {"shipped"}
    assert listed[0].path == tmp_path / "a.yml"


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "x" * 5000, "ü", "~", "*"])
def test_odd_names_are_unknown(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "data_folder", lambda _: tmp_path)
    assert presets.find_preset(name) is None
    assert presets.unknown_preset(name).isprintable()
    assert len(presets.unknown_preset(name)) < 200
