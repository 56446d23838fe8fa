"""The two scripts for Hugging Face's trainers, run for a few steps."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

pytest.importorskip("transformers")

EXAMPLES = Path(__file__).parents[2] / "examples"


def losses(name: str, arguments: list[str], folder: Path) -> list[float]:
    script = importlib.import_module(name)
    trainer = script.main([*arguments, "--output", str(folder)])
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    for entry in logs:
        assert entry["loss"] == pytest.approx(entry["loss/total"], abs=1e-4)
    return [entry["loss/main"] for entry in logs]


@pytest.mark.parametrize("engine", ["logits", "linear"])
def test_huggingface_trainer(tmp_path: Path, engine: str) -> None:
    found = losses("huggingface_trainer", ["--steps", "6", "--engine", engine], tmp_path)
    assert len(found) == 6
    assert found[-1] < found[0] - 0.3
    assert (tmp_path / "checkpoint-6" / "ava_loss.safetensors").exists()


@pytest.mark.filterwarnings("ignore")
def test_trl_sft(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    found = losses("trl_sft", ["--steps", "10"], tmp_path)
    assert found[-1] < found[0] - 0.5


@pytest.mark.parametrize("name", ["huggingface_trainer", "trl_sft"])
def test_they_are_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 80
