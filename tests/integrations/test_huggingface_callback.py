"""Checkpoints, the loss's own parameters, loggers, and the plugin for axolotl."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import torch
from transformers import Trainer, TrainerState

from ava.integrations.huggingface import AvaPlugin, LossCallback, compute_loss_func, install
from tests.integrations.hf import EAGER, WIDTH, gpt2, largest_difference, logged, loss_of, rows, trainer_of

EVERYTHING = {
    "version": 1,
    "primary": {"type": "deepseek", "temperature": {"adaptive": True, "rate": 0.05}},
    "terms": {
        "mtp_loss": {"num_future_tokens": 2, "weight": {"from": 0.0, "to": 0.3, "steps": 20}},
        "ngram_penalty": {},
    },
    "balancing": "uncertainty",
}
SAVED = {"max_steps": 20, "save_strategy": "steps", "save_steps": 10, "gradient_accumulation_steps": 2}


def everything(seed: int = 0):
    torch.manual_seed(seed)
    return loss_of(EVERYTHING, hidden_size=WIDTH)


def trained(folder: Path, model, loss, resume=None, **more) -> Trainer:
    callback = LossCallback(loss, resume_from=more.pop("resume_from", None))
    trainer = trainer_of(
        model,
        folder,
        data=rows(320),
        compute_loss_func=compute_loss_func(loss, model=model),
        callbacks=[callback],
        **{**SAVED, **more},
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def test_resuming_is_bit_identical(tmp_path: Path) -> None:
    loss = everything()
    first = trained(tmp_path / "run", gpt2(resid_pdrop=0.1), loss)
    other = everything(seed=5)  # other heads: what they are comes from the checkpoint
    second = trained(tmp_path / "run", gpt2(1, resid_pdrop=0.1), other, str(tmp_path / "run" / "checkpoint-10"))
    assert largest_difference(first.model, second.model) == 0.0
    theirs = other.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in loss.state_dict().items())
    assert logged(first)[10:] == logged(second)[10:]
    assert logged(first, "loss/mtp_loss") == logged(second, "loss/mtp_loss")
    assert int(loss.state.step) == 20
    assert float(loss.state.temperature) != 1.0
    assert set(logged(first, "metrics/temperature")[:5]) == {1.0}


def test_own_parameters_train_and_stay_out_of_the_models_files(tmp_path: Path) -> None:
    from safetensors import safe_open

    loss = everything()
    before = {name: parameter.detach().clone() for name, parameter in loss.named_parameters()}
    trainer = trained(tmp_path, gpt2(), loss, max_steps=10)
    assert all(not torch.equal(parameter, before[name]) for name, parameter in loss.named_parameters())
    with safe_open(tmp_path / "checkpoint-10" / "model.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "ava" in name or "heads" in name]  # noqa: SIM118
    again = type(trainer.model).from_pretrained(tmp_path / "checkpoint-10")
    assert largest_difference(again, trainer.model) == 0.0
    assert {name for name, _ in again.named_parameters()} < {name for name, _ in trainer.model.named_parameters()}


def test_a_checkpoint_elsewhere(tmp_path: Path) -> None:
    first = trained(tmp_path / "run", gpt2(), everything())
    moved = tmp_path / "kept" / "checkpoint-10"
    shutil.copytree(tmp_path / "run" / "checkpoint-10", moved)
    with pytest.raises(ValueError, match=r"resumes at step 10, but there is no .*resume_from"):
        trained(tmp_path / "new", gpt2(), everything(), str(moved))
    second = trained(tmp_path / "new", gpt2(), everything(), str(moved), resume_from=moved)
    assert largest_difference(first.model, second.model) == 0.0
    # the same step of another run is not taken for it
    trained(tmp_path / "third", gpt2(), everything(), max_steps=10)
    with pytest.raises(ValueError, match="by another run"):
        trained(tmp_path / "third", gpt2(), everything(), str(moved))
    saved = str(moved / "trainer_state.json")
    with pytest.raises(ValueError, match="another configuration"):
        LossCallback(loss_of("standard"), resume_from=moved)._restore(first.args, TrainerState.load_from_json(saved))


def test_own_parameters_that_the_optimizer_lacks(tmp_path: Path) -> None:
    model, loss = gpt2(), everything()
    trainer = trainer_of(model, tmp_path, compute_loss_func=compute_loss_func(loss, model=model))
    trainer.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer.add_callback(LossCallback(loss))
    with pytest.raises(ValueError, match=r"optimizer does not hold .*callbacks=\[LossCallback\(loss\)\]"):
        trainer.train()
    trainer.optimizer.add_param_group({"params": list(loss.parameters())})
    trainer.train()
    assert int(loss.state.step) == 5


def test_training_twice_counts_each_step_once(tmp_path: Path) -> None:
    model, loss = gpt2(), loss_of("standard")
    trainer = trainer_of(model, tmp_path)
    install(trainer, loss)
    trainer.train()
    trainer.train()
    assert int(loss.state.step) == 10
    loss.train()
    loss(torch.zeros(1, 2, 64), torch.ones(1, 2, dtype=torch.int64))  # outside training no count is demanded


def test_install_lets_loggers_see_the_terms(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model, loss = gpt2(), loss_of("standard")
    trainer = trainer_of(model, tmp_path, report_to=["tensorboard"])
    install(trainer, loss)
    trainer.train()
    events = next(tmp_path.glob("**/events.out.tfevents.*"))
    found = EventAccumulator(str(events.parent)).Reload()
    assert "train/loss/ngram_penalty" in found.Tags()["scalars"]
    values = [event.value for event in found.Scalars("train/loss/main")]
    assert values == pytest.approx(logged(trainer, "loss/main"), rel=1e-5)


def test_install_takes_a_trainer() -> None:
    with pytest.raises(TypeError, match="transformers `Trainer`, but is str"):
        install("trainer", loss_of("standard"))


def test_logs_average_the_steps_between(tmp_path: Path) -> None:
    each = trainer_of(gpt2(), tmp_path, max_steps=4)
    install(each, loss_of("standard"))
    each.train()
    both = trainer_of(gpt2(), tmp_path, max_steps=4, logging_steps=2)
    install(both, loss_of("standard"))
    both.train()
    for name in ("loss", "loss/main", "loss/total", "loss/eos_penalty"):
        one, two, three, four = logged(each, name)
        assert logged(both, name) == pytest.approx([(one + two) / 2, (three + four) / 2], abs=1e-6)


class Keys(dict):
    """Stands for axolotl's configuration: a mapping whose keys are attributes too."""

    __getattr__ = dict.get


def test_axolotl_plugin(tmp_path: Path) -> None:
    """As axolotl's plugin manager uses one: by its dotted name, the keys' model, then the trainer it created."""
    plugin = AvaPlugin()
    module, _, name = plugin.get_input_args().rpartition(".")
    keys = getattr(importlib.import_module(module), name)
    given = keys(ava_loss="standard", ava_engine="linear", ava_overrides={**EAGER, "terms.z_loss": {}}).model_dump()
    trainer = trainer_of(gpt2(), tmp_path)
    plugin.post_trainer_create(Keys(given), trainer)
    trainer.train()
    assert len(logged(trainer, "loss/z_loss")) == 5
    assert trainer.compute_loss_func.engine == "linear"
    with pytest.raises(ValueError, match="`ava_loss` should be a preset's name"):
        plugin.post_trainer_create(Keys(), trainer)
