"""Paths, parents and overrides: what a file names is a finding (exit code 1), what a person typed a failure (2)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ava.cli import main
from ava.cli.sources import expand
from ava.config import Config, validate
from ava.errors import ArgumentTypeError, AvaError, ConfigError, SourceError
from ava.load import load


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVA_PRESET_PATH", raising=False)


def write(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")


PARENTS = {
    "itself": ("./child.yaml", "AVA022"),
    "a folder": ("./folder.yaml", "AVA021"),
    "a pipe": ("./pipe.yaml", "AVA021"),
    "a device that never ends": ("/dev/zero", "AVA021"),
    "the terminal": ("/dev/tty", "AVA021"),
    "a link to itself": ("./loop.yaml", "AVA021"),
    "a link to nothing": ("./dangling.yaml", "AVA021"),
    "a null character": ('"./a\\0.yaml"', "AVA021"),
    "nothing": ('""', "AVA023"),
    "spaces": ('"  "', "AVA023"),
    "an address": ("https://example.org/x.yaml", "AVA024"),
    "an address of a file": ("file:///etc/passwd", "AVA024"),
    "a path out of everything": ("../" * 200 + "no/such/file.yaml", "AVA021"),
}


@pytest.mark.parametrize("name", PARENTS)
def test_a_parent_that_is_none(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe.yaml")
    Path("folder.yaml").mkdir()
    Path("loop.yaml").symlink_to("loop.yaml")
    Path("dangling.yaml").symlink_to("nowhere.yaml")
    reference, code = PARENTS[name]
    write("child.yaml", f"version: 1\nextends: {reference}\n")
    (finding,) = validate(load("child.yaml"))[1]
    assert (finding.code, str(finding.span)) == (code, "child.yaml:2:10")
    assert main(["validate", "child.yaml"]) == 1


def test_a_circle_and_a_long_chain() -> None:
    for number in range(150):
        write(f"c{number}.yaml", f"version: 1\nextends: ./c{number + 1}.yaml\n")
    write("c150.yaml", "version: 1\n")
    (finding,) = validate(load("c0.yaml"))[1]
    assert (finding.code, str(finding.span)) == ("AVA010", "c99.yaml:2:10")
    write("c50.yaml", "version: 1\nextends: [standard, ./c0.yaml]\n")
    (finding,) = validate(load("c0.yaml"))[1]
    assert (finding.code, str(finding.span)) == ("AVA022", "c50.yaml:2:21")


@pytest.mark.parametrize(
    "paths",
    [
        ["d"],
        ["d/base.yaml", "d/child.yaml"],
        ["./d/base.yaml", "d/child.yaml"],
        ["d/child.yaml", "{here}/d/base.yaml"],
        ["{here}/d/child.yaml", "d/../d/other.yaml", "link.yaml"],
    ],
    ids=" ".join,
)
def test_a_parents_mistake_is_told_once(paths: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    write("d/base.yaml", "version: 1\nterms: {z_los: {}}\n")
    write("d/child.yaml", "version: 1\nextends: ./base.yaml\n")
    write("d/other.yaml", "version: 1\nextends: base.yaml\n")
    Path("link.yaml").symlink_to("d/base.yaml")
    assert main(["validate", *(path.format(here=Path.cwd()) for path in paths)]) == 1
    assert capsys.readouterr().out.count(" AVA101 ") == 1


@pytest.mark.parametrize(
    "path",
    ["", "nothing", "no.yaml", "./no.yaml", "folder/*.yaml", "empty", "a\0b.yaml", "a" * 5000, "./" + "a" * 5000,
     "\udcff.yaml"],
    ids=ascii,
)  # fmt: skip
def test_a_path_that_cannot_be_opened_is_no_finding(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert main(["validate", path]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")


OVERRIDES: dict[str, tuple[str, int]] = {
    "no equals sign": ("terms.z_loss", 2),
    "no key": ("=1", 2),
    "an empty step": ("terms..weight=1", 2),
    "an index": ("terms.mtp_loss.weight_range.0=1", 2),
    "many steps": ("a." * 5000 + "b=1", 2),
    "a null character": ("description=\0", 2),
    "half a surrogate pair as the value": ("description=\udcff", 2),
    "half a surrogate pair as the key": ("\udcff=1", 2),
    "brackets": ("terms=" + "[" * 5000, 2),
    "an open quote": ('description="', 2),
    "a tag": ("terms.z_loss.weight=!!float 1", 2),
    "an alias inside itself": ("terms=&t {z_loss: *t}", 2),
    "two mebibytes": ("description=" + "x" * 2097152, 2),
    "two documents": ("terms=1\n---\n2", 2),
    "extends": ("extends=moe", 2),
    "an unknown key": ("terms.z_los.weight=1", 1),
    "a wrong value": ("terms.z_loss.weight=on", 1),
    "too large": ("model.vocab_size=" + "9" * 5000, 1),
    "another version": ("version=2", 1),
    "null for a section": ("terms=", 1),
    "several lines": ("terms={z_loss:\n {weight: x}}", 1),
    "a term": ("terms.z_loss={}", 0),
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_an_override(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text, code = OVERRIDES[name]
    assert main(["validate", "standard", "--set", text]) == code
    captured = capsys.readouterr()
    if code == 2:
        assert captured.err.startswith(("error: --set ", "error: overrides"))
        assert len(captured.err) < 600
    elif code == 1:
        assert captured.out.startswith("--set:1:")


LOOP: dict[str, Any] = {"version": 1}
LOOP["terms"] = LOOP
BOMB: list[Any] = ["x"]
for _ in range(9):
    BOMB = [BOMB] * 10


@pytest.mark.parametrize(
    ("arguments", "keywords", "error"),
    [
        ([LOOP], {}, ConfigError),
        ([{"version": 1, "x": BOMB}], {}, ConfigError),
        ([{"version": 1, "model": {"vocab_size": 10**5000}}], {}, ConfigError),
        ([{"version": -(10**5000)}], {}, ConfigError),
        ([{1: 2, None: 3, b"x": 4, (): 5}], {}, ConfigError),
        ([{"version": 1, "description": object()}], {}, ConfigError),
        ([{"version": 1, "description": "\ud800"}], {}, ConfigError),
        ([b"standard"], {}, SourceError),
        ([None], {}, SourceError),
        (["standard\n"], {}, SourceError),
        ([Path("a\0b")], {}, SourceError),
        (["standard"], {"overrides": 3}, SourceError),
        (["standard"], {"overrides": "terms.z_loss.weight=1"}, SourceError),
        (["standard"], {"overrides": [None]}, SourceError),
        (["standard"], {"overrides": {None: 1}}, SourceError),
        (["standard"], {"overrides": {"terms": LOOP}}, SourceError),
        (["standard"], {"overrides": {"model.vocab_size": 10**5000}}, ConfigError),
        (["standard"], {"preset_path": "presets"}, SourceError),
        (["standard"], {"preset_path": [3]}, SourceError),
        (["standard"], {"preset_path": ["a" * 5000]}, SourceError),
        (["standard"], {"vocab_size": 10**5000}, ArgumentTypeError),
        (["standard"], {"vocab_size": -(10**5000)}, ArgumentTypeError),
        (["standard"], {"logit_scale": 10**5000}, ArgumentTypeError),
        (["standard"], {"logit_scale": float("nan")}, ArgumentTypeError),
        (["standard"], {"vocab_size": "\ud800"}, ArgumentTypeError),
    ],
)
def test_what_is_no_configuration_in_python(
    arguments: list[Any], keywords: dict[str, Any], error: type[AvaError]
) -> None:
    with pytest.raises(error) as caught:
        Config.load(*arguments, **keywords)
    assert str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_in_a_folder_is_no_configuration(tmp_path):
    (tmp_path / "x.yaml").write_text("version: 1\n")
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path, tmp_path / "*.yaml"):
        failures: list[str] = []
        assert list(expand([str(path)], None, failures)) == [str(tmp_path / "x.yaml")]
        assert failures == []
