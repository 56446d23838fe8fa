"""Run by torchrun in two processes: trains as `test_two_ranks_are_one` does alone, and writes what came out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

import torch

from ava.integrations.huggingface import LossCallback, compute_loss_func
from tests.integrations.hf import gpt2, logged, trainer_of, two_rank_loss

KEYS = ("loss", "loss/main", "loss/eos_penalty", "metrics/tokens", "metrics/accuracy")


def main(folder: str, report: str) -> None:
    model, loss = gpt2(tie_word_embeddings=False), two_rank_loss()
    trainer = trainer_of(
        model,
        Path(folder),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        ddp_backend="gloo",
        compute_loss_func=compute_loss_func(loss, model=model, engine="linear"),
        callbacks=[LossCallback(loss)],
    )
    trainer.train()
    states = [None, None]
    torch.distributed.all_gather_object(states, {name: value.tolist() for name, value in loss.state_dict().items()})
    if trainer.is_world_process_zero():
        found = {key: logged(trainer, key) for key in KEYS}
        found["parameters"] = {name: value.flatten()[:3].tolist() for name, value in model.named_parameters()}
        found["riders"] = sum("ava_loss" in name for name in found["parameters"])
        found["states_differ"] = states[0] != states[1]
        Path(report).write_text(json.dumps(found))
    torch.distributed.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo may wait for ever in its own clean-up


if __name__ == "__main__":
    main(*sys.argv[1:])
