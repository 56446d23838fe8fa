"""The real Trainer with the loss: accumulation, the stock loss, routers, evaluation, mixed precision, two ranks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import torch

from ava import Loss
from ava.integrations.huggingface import LossCallback, as_loss_function, compute_loss_func
from tests.integrations.hf import (
    arguments,
    gpt2,
    largest_difference,
    logged,
    loss_of,
    mixtral,
    rows,
    trainer_of,
    two_rank_loss,
)


def train(model, loss, folder, accumulate=1, *, engine="logits", **more):
    trainer = trainer_of(
        model,
        folder,
        per_device_train_batch_size=8 // accumulate,
        gradient_accumulation_steps=accumulate,
        compute_loss_func=compute_loss_func(loss, model=model, engine=engine),
        callbacks=[LossCallback(loss)],
        **more,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("engine", ["logits", "linear"])
def test_accumulation_changes_nothing(tmp_path: Path, engine: str) -> None:
    once = train(gpt2(), loss_of("standard"), tmp_path)
    four = train(gpt2(), loss_of("standard"), tmp_path, 4, engine=engine)
    assert logged(four) == pytest.approx(logged(once), abs=1e-5)
    assert largest_difference(four.model, once.model) < 1e-5
    assert logged(once)[-1] < logged(once)[0] - 0.3, "it has to learn, or equal parameters show nothing"
    for name in ("loss/main", "loss/eos_penalty", "loss/immediate_repetition_penalty", "metrics/perplexity"):
        assert logged(four, name) == pytest.approx(logged(once, name), rel=1e-4, abs=1e-6)
        assert all(logged(once, name))
    assert logged(four, "loss/total") == pytest.approx(logged(four), abs=1e-5)
    assert logged(four, "metrics/tokens") == logged(once, "metrics/tokens")


def test_the_state_takes_one_step_with_the_optimizer(tmp_path: Path) -> None:
    loss = loss_of({"version": 1, "terms": {"z_loss": {"weight": {"from": 0.0, "to": 1.0, "steps": 10}}}})
    train(gpt2(), loss, tmp_path, 4)
    assert int(loss.state.step) == 5
    assert loss.metrics()["weight/z_loss"].item() == pytest.approx(0.5)


def test_plain_cross_entropy_is_the_stock_loss(tmp_path: Path) -> None:
    stock = trainer_of(gpt2(), tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    stock.train()
    ours = train(gpt2(), loss_of("fast_prototype"), tmp_path, 4)
    assert logged(ours) == pytest.approx(logged(stock), abs=1e-5)
    assert largest_difference(ours.model, stock.model) < 1e-5


def test_a_model_loss_function_is_the_stock_loss(tmp_path: Path) -> None:
    stock = trainer_of(mixtral(), tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    stock.train()
    model, loss = mixtral(), loss_of("fast_prototype")
    model.loss_function = as_loss_function(loss)
    ours = trainer_of(
        model, tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4, callbacks=[LossCallback(loss)]
    )
    ours.train()
    assert logged(ours) == pytest.approx(logged(stock), abs=1e-5)
    assert logged(ours, "loss/total") == pytest.approx(logged(stock), abs=1e-5)
    assert largest_difference(ours.model, stock.model) < 1e-5
    assert int(loss.state.step) == 5


def test_router_terms_are_counted_once(tmp_path: Path) -> None:
    def run(accumulate: int, weight: float):
        overrides = {"terms.moe_balance_loss.weight": weight, "terms.router_z_loss.weight": weight}
        loss = loss_of("moe", overrides, num_experts=8)
        model = mixtral(output_router_logits=True, router_aux_loss_coef=100.0)  # its own: nowhere in the total
        return train(model, loss, tmp_path, accumulate)

    without_once, without_four = run(1, 0.0), run(4, 0.0)
    assert logged(without_four) == pytest.approx(logged(without_once), abs=1e-5)
    assert largest_difference(without_four.model, without_once.model) < 1e-5

    once, four = run(1, 0.1), run(4, 0.1)
    for trainer in (once, four):
        parts = ("loss/main", "loss/ngram_penalty", "loss/moe_balance_loss", "loss/router_z_loss")
        total = [sum(step) for step in zip(*(logged(trainer, part) for part in parts), strict=True)]
        assert logged(trainer) == pytest.approx(total, abs=1e-5), "the logged loss is its terms and nothing else"
    # at the first step the parameters are equal; a mean over the window's tokens differs by how they are spread
    assert logged(four, "loss/main")[0] == pytest.approx(logged(once, "loss/main")[0], abs=1e-5)
    assert logged(four, "raw/router_z_loss")[0] == pytest.approx(logged(once, "raw/router_z_loss")[0], rel=1e-2)
    assert logged(once, "raw/router_z_loss")[0] == pytest.approx(4.3, abs=0.3)  # about log(8)², once
    assert logged(four) == pytest.approx(logged(once), abs=2e-2)
    assert largest_difference(once.model, without_once.model) > 1e-3, "and the terms do train the router"


def test_evaluation_is_the_mean_and_leaves_the_state_alone(tmp_path: Path) -> None:
    model, loss = gpt2(), loss_of("standard")
    model.loss_type = "ForCausalLM"  # GPT-2 names none, and the trainer then counts each row's first label too
    trainer = trainer_of(
        model,
        tmp_path,
        compute_loss_func=compute_loss_func(loss, model=model),
        callbacks=[LossCallback(loss)],
        eval_dataset=rows(8, seed=9),
        per_device_eval_batch_size=8,
        prediction_loss_only=True,
    )
    trainer.train()
    before = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    metrics = trainer.evaluate()
    assert all(torch.equal(tensor, before[name]) for name, tensor in loss.state_dict().items())
    logs = trainer.state.log_history[-1]
    assert logs["eval_loss/total"] == pytest.approx(metrics["eval_loss"], abs=1e-5)
    batch = trainer.data_collator(rows(8, seed=9))
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    plain = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), batch["labels"][:, 1:])
    smooth = 0.1 * (logits.logsumexp(2) - logits.mean(2))[:, :-1][batch["labels"][:, 1:] != -100].mean()
    assert logs["eval_loss/main"] == pytest.approx(float(0.9 * plain + smooth), abs=1e-5)


@pytest.mark.parametrize("engine", ["logits", "linear"])
def test_autocast(tmp_path: Path, engine: str) -> None:
    plain = train(gpt2(), loss_of("standard"), tmp_path)
    mixed = train(gpt2(), loss_of("standard"), tmp_path, 4, engine=engine, bf16=True)
    assert logged(mixed) == pytest.approx(logged(plain), rel=2e-2)
    assert logged(mixed) != logged(plain)


@pytest.mark.compiled
def test_compiled(tmp_path: Path) -> None:
    eager = train(gpt2(), loss_of("standard"), tmp_path, 2, max_steps=3)
    compiled = train(gpt2(), loss_of("standard", {"compile.enabled": True}), tmp_path, 2, max_steps=3)
    assert logged(compiled) == pytest.approx(logged(eager), abs=1e-5)
    assert largest_difference(compiled.model, eager.model) < 1e-5


def test_two_ranks_are_one(tmp_path: Path) -> None:
    """Two processes under DDP with the linear engine, against one with the logits."""
    alone = train(gpt2(tie_word_embeddings=False), two_rank_loss(), tmp_path, 2)
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = [str(Path(__file__).with_name("hf_two_ranks.py")), str(tmp_path / "ranks"), str(report)]
    root = Path(__file__).parents[2]
    done = subprocess.run([*command, *script], capture_output=True, text=True, cwd=root, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(report.read_text())
    assert told["loss"] == pytest.approx(logged(alone), abs=1e-5)
    for name in ("loss/main", "loss/eos_penalty", "metrics/tokens", "metrics/accuracy"):
        assert told[name] == pytest.approx(logged(alone, name), rel=1e-4, abs=1e-6)
    for name, parameter in alone.model.named_parameters():
        assert parameter.flatten()[:3].tolist() == pytest.approx(told["parameters"][name], abs=1e-5)
    assert told["states_differ"] is False
    assert told["riders"] == 3, "the loss's own heads train like the model's parameters, averaged over the ranks"


def test_a_loss_alone_is_no_compute_loss_func(tmp_path: Path) -> None:
    trainer = trainer_of(gpt2(), tmp_path, compute_loss_func=Loss.load("fast_prototype"))
    with pytest.raises(TypeError, match="num_items"):
        trainer.train()


def test_a_mean_inside_the_trainer(tmp_path: Path) -> None:
    loss = loss_of("fast_prototype", {"targets.shift": True})

    def mean(outputs, labels, num_items_in_batch=None):
        return loss(outputs.logits, labels)

    trainer = trainer_of(
        gpt2(), tmp_path, compute_loss_func=mean, callbacks=[LossCallback(loss)], gradient_accumulation_steps=4
    )
    with pytest.raises(ValueError, match=r"without `num_items`.*4 times too large.*compute_loss_func\(loss\)"):
        trainer.train()


@pytest.mark.parametrize(
    ("overrides", "settings", "message"),
    [
        ({"reduction.gradient_accumulation_steps": 2}, {"gradient_accumulation_steps": 4}, "leave it out"),
        ({}, {"label_smoothing_factor": 0.1}, "primary.label_smoothing"),
    ],
)
def test_settings_that_contradict_the_loss(tmp_path: Path, overrides, settings, message) -> None:
    model, loss = gpt2(), loss_of("fast_prototype", overrides)
    trainer = trainer_of(
        model,
        tmp_path,
        compute_loss_func=compute_loss_func(loss, model=model),
        callbacks=[LossCallback(loss)],
        **settings,
    )
    with pytest.raises(ValueError, match=message):
        trainer.train()


def test_terms_that_look_along_a_row_are_refused_under_context_parallelism(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from transformers import TrainerControl, TrainerState

    args = arguments(tmp_path)
    args.parallelism_config = SimpleNamespace(cp_size=2, sp_size=1)
    optimizer = torch.optim.SGD(gpt2().parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"context or sequence parallelism.*terms\.\w+: null"):
        LossCallback(loss_of("standard")).on_train_begin(args, TrainerState(), TrainerControl(), optimizer=optimizer)
    LossCallback(loss_of("fast_prototype")).on_train_begin(args, TrainerState(), TrainerControl(), optimizer=optimizer)
