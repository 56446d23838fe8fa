"""``validate``: what it reads, how it says what it found, and its exit codes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from ava.load import list_presets

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]
KEYS = [
    "code",
    "name",
    "severity",
    "message",
    "file",
    "line",
    "column",
    "end_line",
    "end_column",
    "path",
    "fix",
    "url",
]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_clean(run, name):
    ran = run("validate", name)
    assert (ran.code, ran.out, ran.err) == (0, "No errors in 1 file.\n", "")
    assert run("validate", name, "--format", "json").out == "[]\n"
    assert run("validate", name, "--format", "github").out == ""
    assert run("validate", name, "--quiet").out == ""


def test_text_shows_each_mistake_with_its_frame(run, wrong, monkeypatch, golden):
    monkeypatch.chdir(wrong.parent)
    ran = run("validate", "wrong.yaml", "--set", "terms.z_loss.weight=-1")
    assert (ran.code, ran.err) == (1, "")
    golden("validate_text", ran.out)


def test_json_has_always_all_keys(run, wrong):
    ran = run("validate", wrong, "--format", "json")
    assert ran.code == 1
    assert [list(item) for item in ran.json] == [KEYS, KEYS]
    first = ran.json[0]
    assert (first["file"], first["line"], first["column"], first["end_column"]) == (str(wrong), 4, 5, 10)
    assert (first["code"], first["path"]) == ("AVA101", "terms.ngram_penalty.windw")
    assert first["fix"]["edits"][0]["replacement"] == "window"
    assert ran.json[1]["fix"] is None


def test_what_a_file_contains_is_1_whatever_it_is(run, tmp_path):
    for index, content in enumerate([b"\xff\xfe\x00", b"a: [", b"- 1", b"\t", b"", b"x" * (1 << 21), b"a: *a"]):
        path = tmp_path / f"{index}.yaml"
        path.write_bytes(content)
        assert run("validate", path).code == 1, content[:10]


def test_what_cannot_be_opened_is_2(run, tmp_path):
    for arguments in (
        ["no/such/file.yaml"],
        ["unknown_preset"],
        [tmp_path],
        [f"{tmp_path}/*.yaml"],
        ["standard", "--set", "no-equals-sign"],
        ["standard", "--set", "a=[1"],
        ["standard", "--preset-path", tmp_path / "missing"],
        ["standard", "--format", "xml"],
        ["standard", "--output", tmp_path / "no" / "folder.txt"],
        [],
        ["--nonsense"],
        [""],
        ["a\0b"],
    ):
        ran = run("validate", *arguments)
        assert ran.code == 2, arguments
        assert ran.err, arguments


def test_the_rest_is_still_validated_beside_what_cannot_be_opened(run, wrong):
    ran = run("validate", "no/such/file.yaml", wrong, "--format", "json")
    assert ran.code == 2
    assert len(ran.json) == 2
    assert "no/such/file.yaml" in ran.err


def test_a_mistake_of_a_shared_parent_is_said_once(run, tmp_path):
    write(tmp_path / "base.yaml", "version: 1\nterms: {z_los: {}}\n")
    for name in ("one", "two"):
        write(tmp_path / f"{name}.yaml", "version: 1\nextends: ./base.yaml\n")
    for paths in ([tmp_path], [tmp_path / "one.yaml", tmp_path / "two.yaml"], [f"{tmp_path}/*.yaml"]):
        found = run("validate", *paths, "--format", "json").json
        assert [(item["code"], item["file"]) for item in found] == [("AVA101", str(tmp_path / "base.yaml"))]


def test_folders_are_searched_and_hidden_ones_are_not(run, tmp_path):
    write(tmp_path / "a.yaml", "version: 1\n")
    write(tmp_path / "deep" / "b.yml", "version: 2\n")
    write(tmp_path / ".hidden" / "c.yaml", "nonsense: 1\n")
    write(tmp_path / "notes.txt", "nonsense")
    ran = run("validate", tmp_path)
    assert ran.code == 1
    assert "b.yml" in ran.out
    assert "Found 1 error in 1 file." in ran.out
    assert run("validate", tmp_path / "a.yaml", tmp_path / "a.yaml").out == "No errors in 1 file.\n"


def test_a_recursive_glob(run, tmp_path):
    write(tmp_path / "deep" / "b.yaml", "version: 2\n")
    assert run("validate", f"{tmp_path}/**/*.yaml").code == 1


def test_standard_input(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"version: 1\nversion: 1\n")))
    ran = run("validate", "-", "--format", "json")
    assert [(item["code"], item["file"], item["line"]) for item in ran.json] == [("AVA002", "<stdin>", 2)]


def test_set_has_its_own_place(run):
    ran = run("validate", "standard", "--set", "terms.z_los={}", "--format", "json")
    assert (ran.code, ran.json[0]["file"], ran.json[0]["line"]) == (1, "--set", 1)


def test_output_is_written_whole(run, wrong, tmp_path):
    target = tmp_path / "findings.json"
    target.write_text("old")
    ran = run("validate", wrong, "--format", "json", "--output", target)
    assert (ran.code, ran.out) == (1, "")
    assert len(json.loads(target.read_text())) == 2
    assert not list(tmp_path.glob(".*"))


def test_colour_on_demand(run, wrong, monkeypatch):
    assert "\x1b[" not in run("validate", wrong).out
    assert "\x1b[" in run("validate", wrong, "--color", "always").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in run("validate", wrong).out


def test_github_annotations(run, wrong):
    lines = run("validate", wrong, "--format", "github").out.splitlines()
    assert lines[0].startswith(f"::error file={wrong},line=4,col=5,endLine=4,endColumn=10,title=AVA101 unknown-key::")


def test_under_github_actions_text_is_annotated_and_summed_up(run, tmp_path, monkeypatch):
    keys = "".join(f"  nonsense_{index}: {{}}\n" for index in range(12))
    path = write(tmp_path / "many.yaml", f"version: 1\nterms:\n{keys}")
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    out = run("validate", path).out
    assert out.count("::error ") == 10
    assert "Found 12 errors in 1 file." in out
    assert summary.read_text().count("AVA101") == 12
    assert "::" not in run("validate", path, "--format", "json").out.replace("://", "")


def test_annotations_are_escaped(run, monkeypatch):
    ran = run("validate", "standard", "--format", "github", "--set", 'description=["%0A"]')
    assert ran.out.count("\n") == 1
    assert "file=" not in ran.out  # what was set on the command line is in no file
