"""``presets``, ``schema``, ``init``, ``graph``, ``rule``, ``rules`` and ``--version``."""

from __future__ import annotations

import json
import re

import pytest

from ava import __version__
from ava.cli.app import COMMANDS
from ava.cli.rule import every_rule
from ava.config import ROSTER, Config
from ava.config.schema import schema_text
from ava.load import data_folder, list_presets

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]
SECTIONS = ("## What it does", "## Why is this bad", "## Example", "## Use instead")


@pytest.mark.parametrize("columns", [80, 200])
def test_the_list_of_presets(run, columns, golden, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    golden(f"presets_list_{columns}", run("presets", "list").out)


def test_your_own_presets_come_first(run, tmp_path):
    (tmp_path / "standard.yaml").write_text("version: 1\ndescription: Mine\n")
    listed = run("presets", "list", "--preset-path", tmp_path, "--format", "json").json
    assert listed[0] == {
        "name": "standard",
        "origin": str(tmp_path),
        "description": "Mine",
        "path": str(tmp_path / "standard.yaml"),
    }
    assert run("presets", "path", "standard", "--preset-path", tmp_path).out == f"{tmp_path / 'standard.yaml'}\n"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_shown_as_it_is_or_resolved(run, name, tmp_path):
    path = data_folder("presets") / f"{name}.yaml"
    assert run("presets", "path", name).out == f"{path}\n"
    assert run("presets", "show", name).out == path.read_text()
    target = tmp_path / "resolved.yaml"
    assert run("presets", "show", name, "--resolved", "--output", target).code == 0
    assert Config.load(target) == Config.load(name)


def test_an_unknown_preset_is_2(run):
    for command in ("show", "path"):
        ran = run("presets", command, "standrd")
        assert (ran.code, ran.out) == (2, "")
        assert "did you mean `standard`?" in ran.err


def test_the_schema(run):
    assert run("schema").out == schema_text()


@pytest.mark.parametrize("name", PRESETS)
def test_the_graph_of_each_preset(run, name, golden):
    golden(f"graph_{name}", run("graph", name).out)


def test_init_writes_a_valid_file_and_never_overwrites(run, tmp_path, golden):
    path = tmp_path / "ava-loss.yaml"
    ran = run("init", tmp_path)
    assert (ran.code, ran.out) == (0, "")
    text = path.read_text()
    golden("init", text)
    assert run("validate", path).code == 0
    assert run("init", path).code == 2
    assert path.read_text() == text
    assert run("init", tmp_path / "no" / "folder.yaml").code == 2
    assert run("init", tmp_path / "other.yaml", "--extends", "nope").code == 2


def test_every_line_of_the_starter_can_be_switched_on(run, tmp_path):
    path = tmp_path / "all.yaml"
    run("init", path)
    old = path.read_text().splitlines()
    lines = [line[2:] if re.match(r"# (  )?(\w+:|# )", line) else line for line in old]
    path.write_text("\n".join(lines) + "\n")
    assert run("validate", path).code == 0, path.read_text()
    assert {term.name for term in Config.load(path).enabled} == set(ROSTER)


@pytest.mark.parametrize("name", PRESETS)
def test_what_init_writes_is_what_it_builds_on_and_fits_a_page(run, tmp_path, name):
    path = tmp_path / "new.yaml"
    assert run("init", path, "--extends", name).code == 0
    assert Config.load(path) == Config.load(name)
    assert max(map(len, path.read_text().splitlines())) <= 100


@pytest.mark.parametrize("name", ["2024", "true", "my.preset", "for all of us"])
def test_init_builds_on_a_preset_of_any_name(run, tmp_path, monkeypatch, name):
    (tmp_path / f"{name}.yaml").write_text("version: 1\nmodel: {eos_token_id: 5}\nterms: {z_loss: {weight: 0.5}}\n")
    monkeypatch.setenv("AVA_PRESET_PATH", str(tmp_path))
    assert run("init", tmp_path / "new.yaml", "--extends", name).code == 0
    assert Config.load(tmp_path / "new.yaml") == Config.load(name)


@pytest.mark.parametrize("rule", every_rule(), ids=lambda rule: rule.code)
def test_every_rule_has_a_page(run, rule):
    assert all(section in rule.doc for section in SECTIONS)
    for name in (rule.code, rule.code.lower(), rule.name):
        ran = run("rule", name)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith(f"{rule.code} {rule.name}")


def test_rules_have_one_code_and_one_name(run):
    rules = run("rules", "--format", "json").json
    assert len({rule["code"] for rule in rules}) == len({rule["name"] for rule in rules}) == len(rules)
    assert all(rule["summary"] for rule in rules)
    assert run("rule", "unknown-kye").code == 2


def test_version_help_and_usage(run):
    assert run("--version").out == f"ava-loss {__version__}\n"
    assert run("--help").code == 0
    assert run("nonsense").code == 2
    assert run("presets", "nonsense").code == 2


def test_json_is_alone_on_standard_output(run):
    for arguments in (
        ["presets", "list"],
        ["rules"],
        ["rule", "AVA101"],
        ["explain", "standard"],
        ["explain", "z_loss"],
    ):
        json.loads(run(*arguments, "--format", "json").out)


@pytest.fixture
def project(tmp_path, monkeypatch, run):
    """Return a project whose pyproject.toml names a folder of presets, with a file that builds on one of them."""
    (tmp_path / "pyproject.toml").write_text('[tool.ava-loss]\npreset-path = "confs"\n')
    (tmp_path / "confs").mkdir()
    (tmp_path / "confs" / "mine.yaml").write_text("version: 1\ndescription: Ours\nextends: standard\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.yaml").write_text("version: 1\nextends: mine\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "validate mine sub",
        "validate mine sub --quiet",
        "lint mine sub",
        "explain mine",
        "explain sub/x.yaml eos_penalty",
        "presets show mine --resolved",
        "presets path mine",
        "graph mine",
        "graph sub/x.yaml",
        "diff mine sub/x.yaml",
        "init new.yaml --extends mine",
        "report mine --no-run",
    ],
)
def test_every_command_looks_for_presets_where_the_project_says(run, project, line):
    assert run(*line.split()).code == 0


def test_the_project_is_that_of_the_file_or_of_the_current_folder(run, project, tmp_path, monkeypatch):
    assert "mine" in [preset["name"] for preset in run("presets", "list", "--format", "json").json]
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "pyproject.toml").write_text("[tool.ava-loss]\n")  # the nearest table counts, with the key or without
    monkeypatch.chdir(outside)
    assert run("validate", "../sub/x.yaml").code == 0
    assert run("validate", "mine").code == 2
    (outside / "pyproject.toml").write_text("[tool.ava-loss]\npreset-path = 3\n")
    ran = run("validate", "standard")
    assert (ran.code, ran.out) == (2, "")
    assert "preset-path: expected a list of texts" in ran.err


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("[tool.ava-loss]\npreset_path = ['confs']", True),
        ("[tool]\nava-loss.preset-path = ['confs']", True),
        ("tool.ava-loss = {preset-path = ['confs']}", True),
        ("tool = {ava-loss = {preset-path = ['confs']}}", True),
        ("['tool'.\"ava-loss\"]\npreset-path = ['confs']", True),
        ("[project]\nname = 'ava-loss'\n[project.scripts]\nava-loss = 'x'", False),
    ],
)
def test_the_table_is_found_however_it_is_written(run, project, table, found):
    (project / "pyproject.toml").write_text(table + "\n")
    assert run("presets", "path", "mine").code == (0 if found else 2)


def test_help_keeps_brackets_and_paragraphs(run):
    assert "pip install 'ava-loss[torch]'" in run("dry-run", "--help").out
    lines = [line.strip() for line in run("migrate", "--help").out.splitlines()]
    assert "`losses:` section of a larger file. A file that is of the present version" in lines
    for command in ("explain", "init"):
        assert "[[" not in run(command, "--help").out


@pytest.mark.parametrize(
    "command", [*(name for name in COMMANDS if name != "presets"), "presets list", "presets show", "presets path"]
)
def test_options_that_every_command_has(run, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    said = run(*command.split(), "--help").out
    wanted = {"--quiet", "--color"} | ({"--output"} if command != "init" else set())
    assert {option for option in wanted if option not in said} == set()


@pytest.mark.parametrize(
    "line",
    [
        "schema",
        "graph moe",
        "rules",
        "rule AVA101",
        "presets list",
        "presets show moe",
        "presets path moe",
        "explain moe",
    ],
)
def test_quiet_and_a_file_leave_the_result_as_it_is(run, line, tmp_path):
    plain = run(*line.split())
    target = tmp_path / "out"
    filed = run(*line.split(), "--quiet", "--color", "never", "--output", target)
    assert (filed.code, filed.out, filed.err) == (0, "", "")
    assert target.read_text(encoding="utf-8") == plain.out
