"""Tiny models, uneven batches and trainers that the tests of the Hugging Face integration share."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, MixtralConfig, MixtralForCausalLM, Trainer, TrainingArguments

from ava import Loss

VOCAB, EOS, PAD, WIDTH = 64, 1, 0, 16
EAGER = {"compile.enabled": False}


def gpt2(seed: int = 0, **config: Any) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB,
            n_positions=64,
            n_embd=WIDTH,
            n_layer=2,
            n_head=2,
            eos_token_id=EOS,
            bos_token_id=EOS,
            pad_token_id=PAD,
            **{"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, **config},
        )
    )


def mixtral(seed: int = 0, **config: Any) -> MixtralForCausalLM:
    torch.manual_seed(seed)
    return MixtralForCausalLM(
        MixtralConfig(
            vocab_size=VOCAB,
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            num_local_experts=8,
            num_experts_per_tok=2,
            eos_token_id=EOS,
            bos_token_id=EOS,
            pad_token_id=PAD,
            **config,
        )
    )


def loss_of(source: Any, overrides: dict[str, Any] | None = None, **model: Any) -> Loss:
    fields = {"vocab_size": VOCAB, "eos_token_id": EOS, **model}
    return Loss.load(source, overrides={**EAGER, **(overrides or {})}, **fields)


def two_rank_loss() -> Loss:
    """A loss with penalties, an adaptive temperature and heads of its own, whose state is that of all ranks."""
    torch.manual_seed(0)
    overrides = {"reduction.across": "data_parallel", "terms.mtp_loss": {"num_future_tokens": 2}}
    return loss_of("standard", overrides, hidden_size=WIDTH)


def rows(count: int = 40, seed: int = 0) -> list[dict[str, list[int]]]:
    """Rows of 4 to 20 tokens with repeats in them, so that penalties fire; the first labels are a prompt's."""
    random.seed(seed)
    made = []
    for _ in range(count):
        length = random.randint(4, 20)
        ids = [random.randint(2, 9) for _ in range(length - 1)] + [EOS]
        prompt = random.randint(0, 2)
        made.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    return made


def collate(batch: list[dict[str, list[int]]]) -> dict[str, Tensor]:
    length = max(len(row["input_ids"]) for row in batch)

    def padded(name: str, fill: int) -> Tensor:
        return torch.tensor([row[name] + [fill] * (length - len(row[name])) for row in batch])

    ids = padded("input_ids", PAD)
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (length - len(row["input_ids"])) for row in batch])
    return {"input_ids": ids, "attention_mask": mask, "labels": padded("labels", -100)}


def arguments(folder: Path, **more: Any) -> TrainingArguments:
    given = {
        "per_device_train_batch_size": 8,
        "max_steps": 5,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 3,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        **more,
    }
    return TrainingArguments(str(folder), **given)


def trainer_of(model: nn.Module, folder: Path, *, data: Any = None, **more: Any) -> Trainer:
    ours = {name: more.pop(name) for name in ("compute_loss_func", "callbacks", "eval_dataset") if name in more}
    return Trainer(model, arguments(folder, **more), train_dataset=data or rows(), data_collator=collate, **ours)


def logged(trainer: Trainer, name: str = "loss") -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def largest_difference(one: nn.Module, other: nn.Module) -> float:
    theirs = dict(other.named_parameters())
    return max(float((value - theirs[name]).detach().abs().max()) for name, value in one.named_parameters())
