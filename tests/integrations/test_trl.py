"""TRL's supervised trainer with the loss: whole rows, rows packed without padding, LoRA, accumulation."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("trl")

import trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ava.integrations.huggingface import LossCallback, compute_loss_func, install
from tests.integrations.hf import gpt2, largest_difference, logged, loss_of, mixtral, rows

pytestmark = pytest.mark.filterwarnings("ignore")


def tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "<eos>": 1, **{str(i): i for i in range(2, 64)}}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")


def trainer_of(model, folder: Path, *, data=None, peft_config=None, ours=None, **settings) -> trl.SFTTrainer:
    given = {
        "per_device_train_batch_size": 8,
        "max_steps": 5,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "loss_type": "nll",
        "gradient_checkpointing": False,
        "max_length": 32,
        "dataloader_pin_memory": False,
        **settings,
    }
    data = [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows()] if data is None else data
    return trl.SFTTrainer(
        model,
        trl.SFTConfig(str(folder), **given),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer(),
        peft_config=peft_config,
        **(ours or {}),
    )


@pytest.mark.parametrize("accumulate", [1, 4])
def test_nll_is_the_stock_loss(tmp_path: Path, accumulate: int) -> None:
    sizes = {"per_device_train_batch_size": 8 // accumulate, "gradient_accumulation_steps": accumulate}
    stock = trainer_of(gpt2(), tmp_path, **sizes)
    stock.train()
    model, loss = gpt2(), loss_of("fast_prototype")
    func = compute_loss_func(loss, model=model)
    ours = trainer_of(model, tmp_path, ours={"compute_loss_func": func, "callbacks": [LossCallback(loss)]}, **sizes)
    ours.train()
    assert logged(ours) == pytest.approx(logged(stock), abs=1e-5)
    assert largest_difference(ours.model, stock.model) < 1e-5
    if accumulate == 1:  # TRL's own is the plain mean of its micro-batches
        assert logged(ours, "mean_token_accuracy") == pytest.approx(logged(ours, "metrics/accuracy"), abs=1e-4)
    assert func.watch.read == {}, "TRL's second forward, for its metrics, leaves nothing behind"


@pytest.mark.parametrize("engine", ["logits", "linear"])
def test_accumulation_with_every_term(tmp_path: Path, engine: str) -> None:
    trained = []
    for accumulate in (1, 4):
        trainer = trainer_of(
            gpt2(), tmp_path, per_device_train_batch_size=8 // accumulate, gradient_accumulation_steps=accumulate
        )
        install(trainer, loss_of("standard"), engine=engine)
        trainer.train()
        trained.append(trainer)
    assert logged(trained[1]) == pytest.approx(logged(trained[0]), abs=1e-5)
    assert largest_difference(trained[1].model, trained[0].model) < 1e-5
    assert all(logged(trained[0], "loss/immediate_repetition_penalty"))


def test_routers_are_not_lost_and_not_counted_twice(tmp_path: Path) -> None:
    model, loss = mixtral(output_router_logits=True, router_aux_loss_coef=100.0), loss_of("moe", num_experts=8)
    trainer = trainer_of(model, tmp_path, max_steps=2)
    install(trainer, loss)
    trainer.train()
    assert logged(trainer) == pytest.approx(logged(trainer, "loss/total"), abs=1e-5)
    assert all(4 < value < 5 for value in logged(trainer, "raw/router_z_loss"))
    assert logged(trainer)[0] < 6


def test_packed_without_padding(tmp_path: Path) -> None:
    """One row that holds all documents has the loss of the padded batch."""
    data = [{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in rows(8)]
    logs = []
    for packed in (False, True):
        trainer = trainer_of(mixtral(), tmp_path, data=data, padding_free=packed, max_steps=1, max_length=None)
        install(trainer, loss_of("standard"))
        trainer.train()
        logs.append(trainer)
    assert logged(logs[1], "metrics/tokens") == logged(logs[0], "metrics/tokens")
    for name in ("loss", "loss/eos_penalty", "loss/immediate_repetition_penalty"):
        assert logged(logs[1], name) == pytest.approx(logged(logs[0], name), rel=1e-4)


def test_lora(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], lora_dropout=0.0, task_type="CAUSAL_LM")
    trained = []
    for engine in ("logits", "linear"):
        trainer = trainer_of(gpt2(tie_word_embeddings=False), tmp_path, peft_config=config, max_steps=3)
        install(trainer, loss_of("standard"), engine=engine)
        trainer.train()
        trained.append(trainer)
    assert logged(trained[1]) == pytest.approx(logged(trained[0]), abs=1e-5)


def test_a_model_that_the_trainer_wraps(tmp_path: Path) -> None:
    """The model may be given before TRL puts adapters into it."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM")
    model, loss = gpt2(), loss_of("standard")
    func = compute_loss_func(loss, model=model, engine="linear")
    trainer = trainer_of(model, tmp_path, peft_config=config, ours={"compute_loss_func": func})
    trainer.train()
    other = trainer_of(gpt2(), tmp_path, peft_config=config)
    install(other, loss_of("standard"), engine="linear")
    other.train()
    assert logged(trainer) == pytest.approx(logged(other), abs=1e-5)
