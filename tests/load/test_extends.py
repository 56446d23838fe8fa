"""Parents: what is laid over what, and what is said where a parent cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ava.errors import ConfigError, SourceError
from ava.load import Node, Source, load, load_text, presets
from ava.load.source import merge, plain

Files = dict[str, str]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with two shipped presets."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "standard.yaml").write_text("version: 1\ndescription: Standard\nterms:\n  z_loss: {weight: 0.1}\n")
    (shipped / "moe.yaml").write_text("version: 1\nextends: standard\nterms:\n  z_loss: null\n  focal_loss: {}\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(presets, "data_folder", lambda name: shipped)
    monkeypatch.delenv("AVA_PRESET_PATH", raising=False)


def write(**files: str) -> None:
    for name, text in files.items():
        path = Path(name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(source: Source) -> list[str]:
    return [f"{finding.span} {finding.name}" for finding in source.findings]


def test_a_file_is_laid_over_its_parents_in_order() -> None:
    write(
        a="version: 1\nterms: {x: {weight: 1, size: 1}, y: {weight: 1}, z: {weight: 1}}\nlist: [1, 2]\n",
        b="version: 1\nterms: {x: {weight: 2, gamma: 2}}\nonly_b: 1\n",
        c="version: 1\nextends: [./a.yaml, b.yaml]\nterms:\n  x: {gamma: 3}\n  y: null\n  w: {}\nlist: [3]\n",
    )
    source = load("c.yaml")
    assert not source.findings
    assert source.data == {
        "version": 1,
        "terms": {"x": {"weight": 2, "size": 1, "gamma": 3}, "y": None, "z": {"weight": 1}, "w": {}},
        "list": [3],
        "only_b": 1,
    }
    assert str(source.span(("terms", "x", "size"))) == "a.yaml:2:30"
    assert str(source.span(("terms", "x", "weight"))) == "b.yaml:2:21"
    assert str(source.span(("terms", "x", "gamma"), key=True)) == "c.yaml:4:7"
    assert str(source.span(("terms", "x"))) == "c.yaml:4:6"
    assert str(source.origin(("terms", "z", "weight"))) == "a.yaml:2:62"
    assert source.origin(("terms", "z", "weight")).inherited
    assert not source.origin(("terms", "y")).inherited
    assert [info.name for info in source.files] == ["c.yaml", "a.yaml", "b.yaml"]
    assert source.files[0].extends == ("a.yaml", "b.yaml")
    assert set(source.texts) == {"a.yaml", "b.yaml", "c.yaml"}


def test_a_schedule_replaces_a_number_and_the_other_way_round() -> None:
    write(a="t: {weight: 0.1}\nu: {weight: {from: 0, to: 1, steps: 5}}\n")
    data = load_text("extends: ./a.yaml\nt: {weight: {from: 0, to: 1, steps: 2}}\nu: {weight: 0.2}\n").data
    assert data == {"t": {"weight": {"from": 0, "to": 1, "steps": 2}}, "u": {"weight": 0.2}}


def test_null_switches_off_and_tells_what() -> None:
    source = load("moe")
    assert source.data["terms"] == {"z_loss": None, "focal_loss": {}}
    entry = source.entry(("terms", "z_loss"))
    assert entry is not None
    assert isinstance(entry.over, Node)
    assert plain(entry.over) == {"weight": 0.1}
    alone = load_text("terms:\n  z_loss:\n").entry(("terms", "z_loss"))
    assert alone is not None
    assert alone.over is None


def test_null_over_null_remembers_what_is_under_both() -> None:
    source = load_text("extends: moe\nterms: {z_loss: null}\n")
    entry = source.entry(("terms", "z_loss"))
    assert entry is not None
    assert isinstance(entry.over, Node)


def test_presets_by_name() -> None:
    source = load_text("version: 1\nextends: moe\n", "x.yaml")
    assert not source.findings
    assert [info.preset for info in source.files] == [None, "moe", "standard"]
    assert str(source.origin(("description",))) == "preset `standard`"
    assert str(source.origin(("version",))) == "x.yaml:1:10"


def test_paths_start_at_the_file_that_says_them() -> None:
    write(top__a="extends: deep/b.yaml\n", top__deep__b="extends: ../../c.yaml\nb: 1\n", c="c: 1\n")
    source = load("top/a.yaml")
    assert source.data == {"b": 1, "c": 1}
    assert [info.name for info in source.files] == ["top/a.yaml", "top/deep/b.yaml", "c.yaml"]
    absolute = str(Path.cwd() / "c.yaml")
    assert load_text(f"extends: {absolute}\n").span(("c",)).file == absolute
    assert load_text("extends: b.yaml\n", folder="top/deep").data == {"b": 1, "c": 1}
    assert load({"extends": "./c.yaml", "d": 2}).data == {"c": 1, "d": 2}


def test_a_diamond_is_read_once() -> None:
    opened: list[str] = []

    def read_bytes(path: str) -> bytes:
        opened.append(path)
        return Path(path).read_bytes()

    write(
        a="version: 1\nterms: {x: 1, x: 2}\n",
        b="extends: ./a.yaml\nb: 1\n",
        c="extends: [./a.yaml, ../work/a.yaml]\nc: 1\n",
        d="extends: [b.yaml, c.yaml]\n",
    )
    source = load("d.yaml", read_bytes=read_bytes)
    assert [os.path.normpath(path) for path in opened] == ["d.yaml", "b.yaml", "a.yaml", "c.yaml"]
    assert found(source) == ["a.yaml:2:15 duplicate-key"]
    assert [(info.name, info.extends) for info in source.files] == [
        ("d.yaml", ("b.yaml", "c.yaml")),
        ("b.yaml", ("a.yaml",)),
        ("a.yaml", ()),
        ("c.yaml", ("a.yaml",)),
    ]


def test_a_ladder_of_diamonds_takes_no_exponential_time() -> None:
    write(f0="a: 1\n", **{f"f{i}": f"extends: [f{i - 1}.yaml, f{i - 1}.yaml]\nb{i}: 1\n" for i in range(1, 60)})
    assert len(load("f59.yaml").data) == 60


@pytest.mark.parametrize(
    ("text", "place", "rule", "message"),
    [
        ("extends: standrad\n", "1:10", "unknown-preset", "no preset is named `standrad`; did you mean `standard`?"),
        ("extends: zzz\n", "1:10", "unknown-preset", "no preset is named `zzz`; there are moe, standard"),
        ('extends: "a\\0b"\n', "1:10", "unknown-preset", "no preset is named `a\\x00b`; there are moe, standard"),
        ("extends: ./none.yaml\n", "1:10", "missing-parent", "cannot read none.yaml: No such file or directory"),
        ("extends: ./\n", "1:10", "missing-parent", "cannot read .: Is a directory"),
        ('extends: "./a\\0.yaml"\n', "1:10", "missing-parent", "cannot read a\\x00.yaml: embedded null byte"),
        ("extends: [moe, nope.yml]\n", "1:16", "missing-parent", "cannot read nope.yml: No such file or directory"),
        (
            "extends: https://x.org/a.yaml\n",
            "1:10",
            "extends-url",
            "an address cannot be extended; give the path of a file",
        ),
        ("extends: 3\n", "1:10", "extends-type", "expected text or a list of texts, found a number"),
        ("extends:\n", "1:9", "extends-type", "expected text or a list of texts, found nothing"),
        ("extends: ''\n", "1:10", "extends-type", "expected text or a list of texts, found nothing"),
        ("extends: true\n", "1:10", "extends-type", "expected text or a list of texts, found `true`"),
        ("extends: {a: b}\n", "1:10", "extends-type", "expected text or a list of texts, found a mapping"),
        ("extends: [moe, [standard]]\n", "1:16", "extends-type", "expected a preset's name or a path, found a list"),
        ("extends: &a ./none.yaml\n", "1:13", "missing-parent", "cannot read none.yaml: No such file or directory"),
    ],
)
def test_a_parent_that_cannot_be_had(text: str, place: str, rule: str, message: str) -> None:
    source = load_text(text + "a: 1\n", "x.yaml")
    assert [(str(item.span), item.name, item.message) for item in source.findings] == [
        (f"x.yaml:{place}", rule, message)
    ]
    assert source.data["a"] == 1
    assert "extends" not in source.data
    assert source.findings[0].path == ("extends",)


def test_every_wrong_parent_is_reported() -> None:
    source = load_text("extends: [x1, ./x2.yaml, 3, moe]\n", "x.yaml")
    assert [finding.span.column for finding in source.findings] == [11, 15, 26]
    assert source.data["terms"]


def test_circles() -> None:
    write(
        a="extends: ./a.yaml\n",
        b="a: 1\nextends: c.yaml\n",
        c="extends: [moe, ./d.yaml]\n",
        d="extends: ../work/b.yaml\n",
    )
    assert found(load("a.yaml")) == ["a.yaml:1:10 circular-extends"]
    source = load("b.yaml")
    assert found(source) == ["d.yaml:1:10 circular-extends"]
    assert source.findings[0].message == "this leads back to itself: b.yaml → c.yaml → d.yaml → b.yaml"
    assert source.data["a"] == 1


def test_a_chain_too_long() -> None:
    write(**{f"f{i}": f"extends: f{i + 1}.yaml\n" for i in range(500)})
    assert found(load("f0.yaml")) == ["f99.yaml:1:10 too-deep"]


def test_a_parents_faults_are_at_their_place() -> None:
    write(a='version: 1\ndescription: "open\n', b="extends: a.yaml\nb: 1\nb: 2\n")
    source = load("b.yaml")
    assert found(source) == ["b.yaml:3:1 duplicate-key", "a.yaml:2:14 syntax-error"]
    assert source.data == {"b": 1}
    assert source.readable
    assert [info.readable for info in source.files] == [True, False]


def test_each_file_says_whether_it_has_a_version() -> None:
    write(a="version: 2\n", b="extends: a.yaml\n", c='version: 1\nextends: b.yaml\nx: "open\n')
    assert [(info.name, info.has_version) for info in load("b.yaml").files] == [("b.yaml", False), ("a.yaml", True)]
    version = load("b.yaml").files[1].version
    assert version is not None
    assert version.value == 2
    assert [(info.name, info.has_version, info.version) for info in load("c.yaml").files] == [("c.yaml", True, None)]


def test_own_presets_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "given/standard.yaml": "a: 1\n",
        "named/standard.yml": "a: 2\n",
        "named/moe.yaml": "a: 3\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("AVA_PRESET_PATH", os.pathsep.join([str(tmp_path / "absent"), str(tmp_path / "named")]))
    assert load("standard", preset_path=[tmp_path / "given"]).data == {"a": 1}
    assert load("standard").data == {"a": 2}
    assert load_text("extends: moe\n", preset_path=[tmp_path / "given"]).data == {"a": 3}
    listed = presets.list_presets([tmp_path / "given"])
    assert [(preset.name, preset.origin) for preset in listed] == [
        ("standard", str(tmp_path / "given")),
        ("moe", str(tmp_path / "named")),
    ]
    with pytest.raises(SourceError, match="absent: the preset path is not a folder"):
        load("standard", preset_path=[tmp_path / "absent"])


def test_merge_keeps_its_arguments() -> None:
    under, over = load_text("a: {b: 1}\n").root, load_text("a: {c: 2}\n").root
    assert plain(merge(under, over)) == {"a": {"b": 1, "c": 2}}
    assert plain(under) == {"a": {"b": 1}}
    assert plain(over) == {"a": {"c": 2}}


def test_findings_make_a_config_error() -> None:
    error = ConfigError(load_text("extends: standrad\n", "x.yaml").findings)
    assert str(error).startswith("x.yaml:1:10: error AVA020 unknown-preset: ")
