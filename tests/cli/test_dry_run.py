"""The command: its outputs for every preset, captured tensors, exit codes."""

from __future__ import annotations

import json
import re
import sys

import pytest
import torch
from safetensors.torch import save_file

from ava.load import list_presets
from ava.run.capture import capture_call
from ava.run.loss import Loss

PRESETS = [preset.name for preset in list_presets() if preset.origin == "shipped"]
SMALL = ("--no-compile", "--vocab-size", 64, "--batch", 2, "--seq-len", 24, "--steps", 1)
QUICK = ("--no-compile", "--steps", 1)
_TIMES = re.compile(r"(forward|backward|throughput)( +\| +| +)[\d,.e+]+( ms| tokens/s)")
_PEAK = re.compile(r"[\d.]+ [KMG]?i?B above the inputs, planned [\d.]+ [KMG]?i?B \(× [\d.]+\)")


def masked(text: str) -> str:
    """Return the text without what differs from run to run and from machine to machine."""
    text = _TIMES.sub(lambda found: f"{found[1]}{found[2]}…{found[3]}", text)
    return _PEAK.sub("… above the inputs, planned …", text)


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_in_a_terminal(run, golden, monkeypatch, name, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    done = run("dry-run", name, *SMALL, "--scenario", "repetitive")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= width
    golden(f"dry_run_{name}_{width}", masked(done.out))


@pytest.mark.parametrize("engine", ["logits", "linear"])
@pytest.mark.parametrize("name", PRESETS)
def test_json_of_each_preset(run, name, engine):
    done = run("dry-run", name, *SMALL, "--engine", engine, "--format", "json")
    told = done.json
    assert done.code == 0
    assert told["engine"] == engine
    assert told["finite"]
    assert next(iter(told["terms"])) == "main_loss"
    assert all(set(row) == set(told["terms"]) - {term} for term, row in told["conflicts"].items())
    assert sum(term["weighted"] for term in told["terms"].values()) == pytest.approx(told["total"], rel=1e-4)


def test_markdown(run, golden):
    golden("dry_run_standard_markdown", masked(run("dry-run", "standard", *SMALL, "--format", "markdown").out))


def test_a_special_token_beyond_the_vocabulary_is_moved_and_told(run):
    sets = ("--set", "model.vocab_size=50257", "--set", "model.eos_token_id=50256")
    done = run("dry-run", "standard", *SMALL, *sets, "--format", "json")
    assert done.code == 0
    assert "model.eos_token_id: 50256 → 63" in done.err


def test_quiet_says_nothing_but_the_result(run):
    done = run("dry-run", "standard", *SMALL, "--format", "json", "--quiet")
    assert done.err == ""
    assert json.loads(done.out)["preset"] == "standard"


def test_progress_is_shown_on_a_terminal_only(run, monkeypatch):
    assert run("dry-run", "fast_prototype", *SMALL).err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = run("dry-run", "fast_prototype", *SMALL)
    assert "measuring memory" in shown.err or "step 1" in shown.err or "importing torch" in shown.err
    assert "importing torch" not in shown.out
    assert run("dry-run", "fast_prototype", *SMALL, "--quiet").err == ""


@pytest.fixture
def captured(tmp_path):
    """Return a file with a call of `standard` in bfloat16, after some steps."""
    loss = Loss.load("standard", vocab_size=50, eos_token_id=49, overrides={"compile.enabled": False})

    def call():
        logits = torch.randn(3, 7, 50).bfloat16().requires_grad_()
        loss(logits, torch.randint(0, 49, (3, 7)))

    torch.manual_seed(0)
    for _ in range(4):
        call()
    file = tmp_path / "call.safetensors"
    capture_call(loss, file)
    call()
    return file


def test_captured_tensors(run, captured):
    done = run("dry-run", "standard", "--input", captured, *QUICK)
    assert done.code == 0
    assert "captured in call.safetensors · engine logits · 3 × 7 bfloat16 on cpu" in done.out
    assert "state as captured: step 4" in done.out
    assert "model.vocab_size 50, model.eos_token_id 49" in " ".join(done.out.split())
    as_json = run("dry-run", "standard", "--input", captured, *QUICK, "--format", "json", "--scenario", "trained")
    assert as_json.json["finite"]
    assert "without effect beside --input: --scenario" in as_json.err


def test_another_preset_on_captured_tensors_starts_afresh(run, captured):
    done = run("dry-run", "anti_repetition", "--input", captured, "--dtype", "float32", *QUICK)
    assert done.code == 0
    assert "float32 on cpu" in done.out
    assert "state as captured" not in done.out


def test_captured_figures_are_those_of_the_call(run, tmp_path):
    document = tmp_path / "z.yaml"
    document.write_text("version: 1\nterms:\n  z_loss: {weight: 0.01}\n", encoding="utf-8")
    torch.manual_seed(1)
    logits, targets = torch.randn(2, 5, 20), torch.randint(0, 20, (2, 5))
    save_file({"logits": logits, "targets": targets}, tmp_path / "a")
    told = run("dry-run", document, "--input", tmp_path / "a", *QUICK, "--format", "json").json
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()
    assert told["terms"]["main_loss"]["raw"] == pytest.approx(expected, rel=1e-5)
    assert told["terms"]["z_loss"]["raw"] == pytest.approx(logits.logsumexp(-1).square().mean().item(), rel=1e-5)


def test_captured_hidden_states_run_on_the_linear_engine(run, tmp_path):
    tensors = {"hidden_states": torch.randn(2, 5, 8), "lm_head": torch.randn(20, 8)}
    tensors["targets"] = torch.randint(0, 20, (2, 5))
    save_file(tensors, tmp_path / "a")
    assert run("dry-run", "fast_prototype", "--input", tmp_path / "a", *QUICK, "--format", "json").json["engine"] == (
        "linear"
    )
    wrong = run("dry-run", "fast_prototype", "--input", tmp_path / "a", *QUICK, "--engine", "logits")
    assert wrong.code == 1
    assert "has no `logits`" in wrong.err


def test_captured_layers_of_experts(run, tmp_path):
    gates = {f"gate_logits.{index}": torch.randn(2, 5, 4) for index in range(2)}
    save_file({"logits": torch.randn(2, 5, 20), "targets": torch.randint(0, 20, (2, 5)), **gates}, tmp_path / "a")
    done = run("dry-run", "moe", "--input", tmp_path / "a", *QUICK, "--set", "model.num_experts=4", "--format", "json")
    assert done.code == 0, done.err
    assert done.json["terms"]["moe_balance_loss"]["gradient_norm"] > 0
    assert "expert_diversity_loss" not in done.json["terms"]
    assert "`expert_diversity_loss` is left out" in done.err


LOGITS, TARGETS = torch.zeros(2, 3, 8), torch.zeros(2, 3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"logits": LOGITS, "target": TARGETS}, "did you mean `targets`"),
        ({"logits": LOGITS}, "no `targets`"),
        ({"logits": LOGITS, "targets": TARGETS[:, :2].contiguous()}, "`targets` should be [B, T] = [2, 3]"),
        ({"logits": LOGITS, "targets": TARGETS.float()}, "`targets` should hold integers"),
        ({"logits": TARGETS[0], "targets": TARGETS + 1}, "`logits` should be a floating-point tensor"),
    ],
)
def test_wrong_content_is_exit_1(run, tmp_path, tensors, words):
    save_file(tensors, tmp_path / "a.safetensors")
    done = run("dry-run", "fast_prototype", "--input", tmp_path / "a.safetensors", *QUICK)
    assert done.code == 1
    assert words in done.err
    assert "a.safetensors" in done.err
    assert done.out == ""


def test_what_a_term_lacks_is_wrong_content(run, tmp_path):
    save_file({"logits": LOGITS, "targets": TARGETS}, tmp_path / "a")
    done = run("dry-run", "moe", "--input", tmp_path / "a", *QUICK)
    assert done.code == 1
    assert "`gate_logits` is missing" in done.err
    done = run("dry-run", "fast_prototype", "--input", tmp_path / "a", *QUICK, "--vocab-size", 9)
    assert done.code == 1
    assert "9 columns" in done.err


def test_no_file_is_exit_2_and_no_safetensors_file_exit_1(run, tmp_path):
    assert run("dry-run", "standard", "--input", tmp_path / "nothing", *QUICK).code == 2
    assert run("dry-run", "standard", "--input", tmp_path, *QUICK).code == 2
    (tmp_path / "a").write_text("version: 1\n", encoding="utf-8")
    done = run("dry-run", "standard", "--input", tmp_path / "a", *QUICK)
    assert done.code == 1
    assert "no safetensors file" in done.err


def test_a_finding_at_or_above_the_severity_fails(run):
    dominated = ("dry-run", "fast_prototype", *SMALL, "--set", "terms.z_loss.weight=10")
    assert run(*dominated).code == 0
    assert run(*dominated, "--fail-on", "warning").code == 1
    assert run(*dominated, "--fail-on", "info").code == 1
    found = run(*dominated, "--format", "json").json["findings"]
    assert [(item["code"], item["severity"], item["path"]) for item in found] == [
        ("AVA553", "warning", "terms.z_loss"),
    ]
    assert "try `terms.z_loss.weight: " in found[0]["message"]
