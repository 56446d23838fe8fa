"""``ava-loss report``: what it takes, what it says, what it exits with."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ava.cli import main
from ava.report.rules import RULES
from tests.report.reading import said


@pytest.fixture
def run(capsys, monkeypatch):
    for name in ("GITHUB_ACTIONS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments):
        capsys.readouterr()
        code = main(["report", *map(str, arguments)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call


@pytest.mark.parametrize("preset", ["standard", "anti_repetition", "fast_prototype", "moe", "mtp", "production"])
def test_every_preset_without_a_run(run, preset):
    code, out, err = run(preset, "--no-run")
    assert (code, err) == (0, "")
    assert out.startswith("<!doctype html>")
    assert "Untrained shares" in out
    assert "Conflicts" not in out
    assert run(preset, "--no-run")[1] == out


def test_without_a_run_torch_is_not_imported(tmp_path, dry_run):
    saved = tmp_path / "dry-run.json"
    saved.write_text(json.dumps(dry_run))
    log = tmp_path / "run.jsonl"
    log.write_text('{"step": 1, "loss/total": 2.0}\n')
    script = (
        "import sys; from ava.cli import main\n"
        f"for arguments in (['standard', '--no-run'], [{str(saved)!r}], [{str(log)!r}]):\n"
        f"    assert main(['report', *arguments, '-o', {str(tmp_path / 'page.html')!r}]) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_preset_runs_dry(run):
    code, out, _ = run(
        "standard", "--no-compile", "--steps", 1, "--batch", 2, "--seq-len", 16, "--scenario", "repetitive"
    )
    assert code == 0
    for words in (
        "Measured terms",
        "Conflicts",
        "Weights over the steps",
        "vocab_parallel",
        "eos_penalty",
        "scenario repetitive: 2 × 16 positions",
    ):
        assert words in out


@pytest.mark.compiled
@pytest.mark.parametrize("engine", ["logits", "linear"])
def test_a_preset_runs_compiled(run, engine):
    shape = ("--vocab-size", 64, "--steps", 1, "--batch", 1, "--seq-len", 8)
    code, out, err = run("fast_prototype", *shape, "--engine", engine)
    assert (code, err) == (0, "")
    words = said(out)
    for row in (f"engine | {engine}", "compiled | yes", "graph breaks | 0", "recompiles | 0", "compiling | … s"):
        assert f"\n{row}\n" in words


def test_a_saved_dry_run(run, tmp_path, dry_run):
    saved = tmp_path / "dry-run.json"
    saved.write_text(json.dumps(dry_run))
    code, out, _ = run(saved)
    assert code == 0
    assert "Dry run of standard" in out
    assert "Plan" not in out
    code, out, _ = run("standard", saved, "--title", "Mine & yours")
    assert code == 0
    assert "<h1>Mine &amp; yours</h1>" in out
    assert "What each term is" in out
    assert run(saved, "--fail-on", "warning")[0] == 1
    code, out, err = run("moe", saved)
    assert (code, out) == (2, "")
    assert "dry-run moe" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "dry-run.json:1:2: error AVA034"),
        ("[]", "AVA034"),
        ('{"preset": "x"}', "terms: field required"),
        ('{"preset": "x", "terms": {"main_loss": {"raw": "much"}}}', "terms.main_loss.raw"),
        ("", "AVA034"),
    ],
)
def test_a_file_that_is_no_dry_run_is_1(run, tmp_path, text, words):
    saved = tmp_path / "dry-run.json"
    saved.write_text(text)
    code, out, err = run(saved)
    assert (code, out) == (1, "")
    assert words in err


def test_figures_that_are_not_finite(run, tmp_path, dry_run):
    dry_run["total"] = None
    dry_run["finite"] = False
    dry_run["terms"]["eos_penalty"] |= {"raw": float("nan"), "contribution": float("inf"), "cosine_to_main": None}
    saved = tmp_path / "dry-run.json"
    saved.write_text(json.dumps(dry_run))
    code, out, _ = run(saved)
    assert code == 0
    assert "NOT FINITE" in out


def test_logs(run, write_log, run_a, run_b, tmp_path):
    one, two = write_log("a.jsonl", run_a), write_log("b.jsonl", run_b)
    code, out, err = run(one, two)
    assert (code, err) == (0, "")
    assert "2 training runs" in out
    page = tmp_path / "page.html"
    assert run(one, two, "--output", page)[1] == ""
    assert page.read_text(encoding="utf-8") == out
    assert "Training log a.jsonl" in run(one)[1]
    assert one.rename(tmp_path / "a.txt")
    assert "Training log a.txt" in run(tmp_path / "a.txt")[1]


def test_a_broken_line_is_said_and_the_page_written(run, write_log):
    path = write_log("run.jsonl", [{"step": 1, "loss/total": 2.0}, "broken", {"step": 2, "loss/total": 1.0}])
    code, out, err = run(path)
    assert code == 1
    assert err.startswith(f"{path}:2:1: error AVA031 broken-record: not JSON")
    assert "Lines that could not be used" in out
    assert "2 records" in out
    assert run(path, "--quiet")[2] == ""


def test_an_empty_log_says_so(run, write_log):
    code, out, err = run(write_log("run.jsonl", []))
    assert code == 1
    assert "the log is empty" in err
    assert "Nothing to show" in out


def test_a_terminal_gets_a_new_file_and_not_the_page(run, write_log, run_a, tmp_path, monkeypatch):
    log = write_log("run.jsonl", run_a)
    _, page, _ = run(log)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert run(log) == (0, "", "written to run.html\n")
    assert (tmp_path / "run.html").read_text(encoding="utf-8") == page
    (tmp_path / "run.html").write_text("mine")
    code, out, err = run(log)
    assert (code, out) == (2, "")
    assert "`--output run.html` replaces it" in err
    assert (tmp_path / "run.html").read_text() == "mine"
    assert run(log, "--output", "run.html") == (0, "", "")
    assert (tmp_path / "run.html").read_text(encoding="utf-8") == page
    assert run(log, log)[2] == "written to report.html\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["none.jsonl"],
        ["none.json"],
        ["none.yaml", "--no-run"],
        ["standrd"],
        [],
        ["standard", "moe"],
        ["a.jsonl", "standard"],
    ],
)
def test_what_cannot_be_done_is_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err


def test_a_configuration_with_mistakes_is_1(run, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nterms:\n  ngram_penalty: {windw: 5}\n")
    code, out, err = run(wrong, "--no-run")
    assert (code, out) == (1, "")
    assert "AVA101" in err


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_rules_are_documented(rule):
    for section in ("What it does", "Why is this bad", "Example", "Use instead"):
        assert f"## {section}\n" in rule.doc
    assert main(["rule", rule.code]) == 0
