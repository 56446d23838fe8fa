"""``diff``: formats, exit codes, folders, what cannot be compared."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ava import __version__
from ava.load import list_presets

ROOT = Path(__file__).resolve().parents[2]
KEYS = ["path", "class", "before", "after", "consequence", "file", "line"]
BASE = "version: 1\ndescription: One\nterms:\n  ngram_penalty: {weight: 0.1, window: 64}\n"
CLASSES = {
    "breaking": BASE + "  contrastive_loss: {}\n",
    "objective": BASE.replace("0.1", "0.2"),
    "numerics": BASE + "compile: {mode: max-autotune}\n",
    "reporting": BASE + "compile: {checks: full}\n",
    "cosmetic": BASE.replace("One", "Two"),
}
ORDER = list(CLASSES)
OTHERS = [preset.name for preset in list_presets() if preset.origin == "shipped" and preset.name != "standard"]
PAIRS = [*(("standard", name) for name in OTHERS), *((name, "standard") for name in OTHERS), ("fast_prototype", "mtp")]


@pytest.fixture
def files(tmp_path, monkeypatch, run):
    """Write ``base.yaml`` and one file per class, and start among them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)
    for name, text in CLASSES.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("class_", ORDER)
def test_json_is_a_list_with_all_keys(run, files, class_):
    ran = run("diff", "base.yaml", f"{class_}.yaml", "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    assert [list(change) for change in ran.json] == [KEYS]
    assert ran.json[0]["class"] == class_
    assert ran.json[0]["file"] == f"{class_}.yaml"
    assert isinstance(ran.json[0]["line"], int)


def test_the_same_file_has_no_changes(run, files):
    assert run("diff", "base.yaml", "base.yaml", "--format", "json").json == []
    ran = run("diff", "base.yaml", "base.yaml", "--exit-code", "--fail-on", "cosmetic")
    assert (ran.code, ran.out) == (0, "base.yaml → base.yaml\nNo change.\n")


@pytest.mark.parametrize("class_", ORDER)
@pytest.mark.parametrize("limit", ORDER)
def test_fail_on_is_that_class_or_a_worse_one(run, files, class_, limit):
    ran = run("diff", "base.yaml", f"{class_}.yaml", "--fail-on", limit)
    assert ran.code == (1 if ORDER.index(class_) <= ORDER.index(limit) else 0)


@pytest.mark.parametrize("class_", ORDER)
def test_exit_code_is_for_any_change_but_cosmetic_ones(run, files, class_):
    assert run("diff", "base.yaml", f"{class_}.yaml").code == 0
    assert run("diff", "base.yaml", f"{class_}.yaml", "--exit-code").code == (class_ != "cosmetic")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BASE.replace("terms:", "terms:  # a comment"), "comments or layout only"),
        ("# a comment\n" + BASE, "comments or layout only"),
        (BASE.replace("{weight: 0.1, window: 64}", "{window: 64, weight: 0.1}"), "the keys are in another order"),
        (BASE.replace("64}", "64, size: 4}"), "a default written out"),
    ],
)
def test_another_text_of_the_same_is_cosmetic(run, files, text, said):
    (files / "other.yaml").write_text(text)
    (change,) = run("diff", "base.yaml", "other.yaml", "--format", "json").json
    assert (change["class"], change["consequence"]) == ("cosmetic", said)
    assert run("diff", "base.yaml", "other.yaml", "--exit-code").code == 0


def test_presets_and_overrides(run):
    changes = run("diff", "standard", "production", "--format", "json").json
    assert {change["path"]: change["class"] for change in changes} == {
        "primary.temperature.bounds": "objective",
        "terms.z_loss": "objective",
        "description": "cosmetic",
    }
    for sides in (["standard", "standard"], ["standard"]):
        (change,) = run("diff", *sides, "--set", "terms.ngram_penalty.weight=0.2", "--format", "json").json
        assert (change["before"], change["after"], change["file"]) == (0.1, 0.2, "--set")


def test_your_own_presets(run, tmp_path):
    (tmp_path / "mine.yaml").write_text("version: 1\nextends: standard\ntargets: {shift: true}\n")
    changes = run("diff", "standard", "mine", "--preset-path", tmp_path, "--format", "json").json
    assert changes[0]["path"] == "targets.shift"
    assert changes[0]["file"] == str(tmp_path / "mine.yaml")


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_the_text(run, golden, monkeypatch, columns, pair):
    monkeypatch.setenv("COLUMNS", str(columns))
    ran = run("diff", *pair)
    assert max(map(len, ran.out.splitlines())) <= columns
    golden(f"diff_{pair[0]}_{pair[1]}_{columns}", ran.out)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_markdown_of_each_pair(run, golden, pair):
    golden(f"diff_{pair[0]}_{pair[1]}_markdown", run("diff", *pair, "--format", "markdown").out)


@pytest.mark.parametrize("format", ["text", "markdown"])
@pytest.mark.parametrize("pair", [("standard", "production"), ("standard", "anti_repetition")], ids="-".join)
def test_numeric(run, golden, pair, format):
    shape = ("--vocab-size", 64, "--batch", 2, "--seq-len", 24, "--scenario", "repetitive", "--dtype", "float64")
    ran = run("diff", *pair, "--numeric", *shape, "--format", format)
    assert max(map(len, ran.out.splitlines())) <= 80 or format == "markdown"
    golden(f"diff_numeric_{pair[0]}_{pair[1]}_{format}", ran.out)


def test_quiet_and_colour(run, files):
    loud = run("diff", "base.yaml", "objective.yaml").out
    quiet = run("diff", "base.yaml", "objective.yaml", "--quiet").out
    assert loud.startswith("base.yaml → objective.yaml\n")
    assert loud.endswith("1 objective.\n")
    assert "→ objective.yaml" not in quiet
    assert not quiet.endswith("1 objective.\n")
    assert quiet.strip() in loud
    coloured = run("diff", "base.yaml", "objective.yaml", "--color", "always").out
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == loud


def test_markdown_begins_with_its_marker(run, golden):
    text = run("diff", "standard", "moe", "--format", "markdown").out
    assert text.splitlines()[0] == "<!-- ava-loss-diff -->"
    assert text.count("<details>") == text.count("</details>") == 2
    golden("diff_standard_moe_markdown", text)
    same = run("diff", "moe", "moe", "--format", "markdown").out
    assert same.splitlines()[0] == "<!-- ava-loss-diff -->"
    assert "No change" in same


def test_markdown_shows_a_text_as_it_is(run, files):
    nasty = "<script>alert(1)</script> | a --> `b` **c** [d](e) @all\\n"
    (files / "nasty.yaml").write_text(BASE.replace("One", f"'{nasty}'"))
    text = run("diff", "base.yaml", "nasty.yaml", "--format", "markdown").out
    row = next(line for line in text.splitlines() if "description" in line)
    assert row.replace("\\|", "").count("|") == 7
    for sign in ("<script", "-->", "`", "**", "[d]", "@all"):
        assert sign not in row


def test_github_annotations(run, files):
    (files / "both.yaml").write_text(
        CLASSES["objective"].replace("One", "50%,\\n::error::x") + "  contrastive_loss: {}\n"
    )
    lines = run("diff", "base.yaml", "both.yaml", "--format", "github").out.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::notice"]
    assert lines[0].startswith("::error file=both.yaml,line=5,title=breaking%3A terms.contrastive_loss::off → on: ")
    assert "50%25" in lines[2]


def test_output_goes_to_a_file(run, files):
    ran = run("diff", "base.yaml", "objective.yaml", "--format", "json", "--output", "out.json")
    assert (ran.code, ran.out) == (0, "")
    assert json.loads((files / "out.json").read_text())[0]["path"] == "terms.ngram_penalty.weight"


def test_what_no_longer_loads_is_breaking_with_its_findings(run, files):
    (files / "broken.yaml").write_text(BASE.replace("window", "windw") + "primary: {type: nonsense}\n")
    ran = run("diff", "base.yaml", "broken.yaml", "--format", "json", "--exit-code")
    assert ran.code == 1
    assert {change["class"] for change in ran.json} == {"breaking"}
    assert {(change["path"], change["line"]) for change in ran.json} == {
        ("terms.ngram_penalty.windw", 4),
        ("primary.type", 5),
    }
    assert all(change["consequence"].startswith("no longer loads: AVA") for change in ran.json)
    (files / "torn.yaml").write_text("version: [")
    assert run("diff", "base.yaml", "torn.yaml", "--fail-on", "breaking").code == 1


@pytest.mark.parametrize("format", ["text", "json", "github", "markdown"])
def test_from_what_does_not_load_nothing_can_be_said(run, files, format):
    (files / "broken.yaml").write_text(BASE.replace("window", "windw"))
    ran = run("diff", "broken.yaml", "base.yaml", "--format", format)
    assert ran.code == 2
    assert "broken.yaml:4:32: error AVA101" in ran.err
    assert "No change" not in ran.out
    assert ran.out == "" or "could not be compared" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["base.yaml", "none.yaml"], "none.yaml: there is no such file"),
        (["none.yaml", "base.yaml"], "none.yaml: there is no such file"),
        (["standrd", "standard"], "did you mean `standard`?"),
        (["standard"], "diff takes two configurations, and got 1"),
        (["standard", "moe", "mtp"], "with `--against REV`"),
        ([".", "base.yaml"], "a folder compares with a folder"),
        (["-", "-"], "one side only"),
        (["HEAD:base.yaml", "base.yaml"], "not in a git repository"),
        (["base.yaml", "base.yaml", "--set", "nonsense"], "expected KEY=VALUE"),
        (["base.yaml", "saved.json"], "it is not what `ava-loss explain"),
        (["empty", "empty"], "hold no YAML file"),
    ],
)
def test_what_cannot_be_compared_is_2(run, files, arguments, said):
    (files / "saved.json").write_text("[]")
    (files / "empty").mkdir()
    ran = run("diff", *arguments, "--format", "json")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert run("diff", "base.yaml", "base.yaml", "--fail-on", "nonsense").code == 2


def test_folders_are_matched_by_relative_path(run, files):
    for folder in ("old", "new"):
        (files / folder / "deep").mkdir(parents=True)
        (files / folder / "deep" / "same.yaml").write_text(BASE)
        (files / folder / "changed.yaml").write_text(CLASSES["objective" if folder == "new" else "cosmetic"])
    (files / "old" / "gone.yaml").write_text(BASE)
    (files / "new" / "added.yml").write_text(BASE)
    changes = run("diff", "old", "new", "--format", "json").json
    assert [(change["class"], change["path"], change["file"]) for change in changes] == [
        ("breaking", "", "new/added.yml"),
        ("objective", "terms.ngram_penalty.weight", "new/changed.yaml"),
        ("cosmetic", "description", "new/changed.yaml"),
        ("breaking", "", "new/gone.yaml"),
    ]
    assert [change["consequence"].split(":")[0] for change in (changes[0], changes[3])] == ["new", "deleted"]
    text = run("diff", "old", "new").out
    assert "same.yaml" not in text
    assert text.endswith("2 breaking, 1 objective, 1 cosmetic in 4 files.\n")


def test_a_folder_in_which_one_file_cannot_be_compared_is_2(run, files):
    for folder in ("old", "new"):
        (files / folder).mkdir()
        (files / folder / "a.yaml").write_text(BASE)
    (files / "old" / "a.yaml").write_text("version: [")
    ran = run("diff", "old", "new", "--format", "json")
    assert (ran.code, ran.out) == (2, "")
    (files / "old" / "b.yaml").write_text(BASE)
    (files / "new" / "b.yaml").write_text(CLASSES["objective"])
    ran = run("diff", "old", "new")
    assert ran.code == 2
    assert "1 could not be compared" in ran.out
    assert "0.1" in ran.out
    text = run("diff", "old", "new", "--format", "markdown").out
    assert "could not be compared" in text
    assert run("diff", "old", "new", "--format", "github").out.startswith("::error title=ava-loss diff::")


def test_what_another_version_explained_is_a_side(run, files):
    told = run("explain", "base.yaml", "--format", "json").json
    (files / "saved.json").write_text(json.dumps(told))
    assert run("diff", "saved.json", "base.yaml", "--format", "json").json == []
    for value in told["values"]:
        if value["path"] in ("terms.ngram_penalty.size", "terms.ngram_penalty.window"):
            value["value"] = 3
    (files / "saved.json").write_text(json.dumps(told))
    changes = {item["path"]: item for item in run("diff", "saved.json", "base.yaml", "--format", "json").json}
    assert set(changes) == {"terms.ngram_penalty.size", "terms.ngram_penalty.window"}
    assert changes["terms.ngram_penalty.size"]["consequence"].startswith("the default changed, and no file sets it")
    assert "default" not in changes["terms.ngram_penalty.window"]["consequence"]


def test_numeric_without_torch(run, files, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    ran = run("diff", "base.yaml", "objective.yaml", "--numeric")
    assert (ran.code, ran.out) == (2, "")
    assert "pip install 'ava-loss[torch]'" in ran.err


def test_no_torch_is_imported(files):
    """Only --numeric needs it."""
    watch = (
        "import sys; from ava.cli import main; code = main(sys.argv[1:]); print('torch' in sys.modules); sys.exit(code)"
    )
    for format in ("text", "json", "markdown", "github"):
        done = subprocess.run(
            [sys.executable, "-c", watch, "diff", "base.yaml", "objective.yaml", "--format", format],
            capture_output=True,
            cwd=files,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
        )
        assert done.stdout.decode().endswith("False\n")


def test_since_a_release(run, files, monkeypatch):
    from ava.plan.diff import released

    assert run("diff", "base.yaml", "--since", __version__, "--format", "json").json == []
    old = {**released.current(), "terms.ngram_penalty.size": 3, "terms.ngram_penalty.window": 9}
    with monkeypatch.context() as patched:
        patched.setattr(released, "recorded", lambda version: old)
        (change,) = run("diff", "base.yaml", "--since", "0.0.1", "--format", "json", "--exit-code").json
    assert (change["path"], change["before"], change["after"]) == ("terms.ngram_penalty.size", 3, 4)
    assert change["consequence"].startswith("the default changed, and no file sets it; ")
    ran = run("diff", "base.yaml", "--since", "0.0.1")
    assert (ran.code, ran.out) == (2, "")
    assert "no defaults are recorded for version `0.0.1`" in ran.err


def test_standard_input_is_a_side(run, files, monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(CLASSES["objective"].encode())))
    (change,) = run("diff", "base.yaml", "-", "--format", "json").json
    assert (change["after"], change["file"], change["line"]) == (0.2, "<stdin>", 4)


def test_nothing_that_does_not_print_reaches_the_terminal(run, files):
    (files / "escape.yaml").write_text(BASE.replace("One", '"\\e[31mred\\u202e"'))
    for format in ("text", "markdown", "github"):
        out = run("diff", "base.yaml", "escape.yaml", "--format", format).out
        assert "\x1b" not in out
        assert "\u202e" not in out
