"""Every script of ``examples/`` that shows an integration runs for a few steps, and is short."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SCRIPTS = {
    "plain_loop": "perplexity",
    "accelerate_loop": "loss",
    "lightning_module": "perplexity",
    "ddp": "loss",
    "fsdp2": "loss",
    "titan_step": "loss",
    "tune_step": "loss",
}
NEEDS = {"accelerate_loop": "accelerate", "lightning_module": "lightning", "optuna_search": "optuna"}
NEEDS["log_everywhere"] = "tensorboard"


def run(name: str, folder: Path, *options: str) -> str:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    launcher = TORCHRUN if name in ("ddp", "fsdp2") else []
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(EXAMPLES.parent),
        "WANDB_MODE": "disabled",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, *launcher, str(EXAMPLES / f"{name}.py"), *options]

    def started() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=90
        )

    try:
        done = started()
    except subprocess.TimeoutExpired as late:
        # Seen once in many runs: all printed, then torch 2.13 hangs while gloo's group goes, in spite of the barrier.
        if not launcher or "saved" not in str(late.stdout):
            raise
        done = started()
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_trains(name: str, tmp_path: Path) -> None:
    text = run(name, tmp_path, "--steps", "3")
    found = re.search(rf"step 3: {SCRIPTS[name]} ([\d.]+)", text)
    assert found, text
    assert 0 < float(found[1]) < (200 if SCRIPTS[name] == "perplexity" else 20)


@pytest.mark.parametrize("name", ["ddp", "fsdp2"])
def test_a_loss_with_parameters_on_two_ranks(name: str, tmp_path: Path) -> None:
    (tmp_path / "learned.yaml").write_text("version: 1\nbalancing: uncertainty\nterms: {z_loss: {}}\n")
    text = run(name, tmp_path, "--steps", "2", "--preset", str(tmp_path / "learned.yaml"))
    assert "step 2: loss" in text


def test_a_search_writes_a_configuration(tmp_path: Path) -> None:
    text = run("optuna_search", tmp_path, "--steps", "2")
    assert text.startswith("best of 4: cross-entropy ")
    assert "ngram_penalty:" in text


def test_a_log_of_every_kind(tmp_path: Path) -> None:
    text = run("log_everywhere", tmp_path, "--steps", "3")
    assert "loss/total, loss/main, loss/immediate_repetition_penalty" in text
    lines = (tmp_path / "runs/logged/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert list((tmp_path / "runs/logged").glob("events*"))


@pytest.mark.parametrize("name", [*SCRIPTS, "optuna_search", "log_everywhere", "tiny"])
def test_a_script_is_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 80
