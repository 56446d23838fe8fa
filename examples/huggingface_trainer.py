"""Train a small GPT-2, made from a configuration, with the Hugging Face ``Trainer`` and a loss from a file.

    python examples/huggingface_trainer.py --loss standard --steps 30 --engine linear

The text is this repository's own documentation, as bytes. Needs ``pip install 'ava-loss[huggingface]' accelerate``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from ava import Loss
from ava.integrations.huggingface import LossCallback, compute_loss_func, model_fields

END, PAD, LENGTH = 256, 257, 96
ROOT = Path(__file__).parents[1]


def paragraphs() -> list[list[int]]:
    """Return the paragraphs of the documentation as token ids, each with its end."""
    text = "\n\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "terms").glob("*.md")))
    return [[*part.encode()[: LENGTH - 1], END] for part in text.split("\n\n") if len(part) > 20]


def collate(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    """Pad a batch: ``labels`` lie on ``input_ids``, the trainer and the loss do the shifting."""
    length = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (length - len(row)) for row in rows])
    mask = (ids != PAD).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def main(arguments: list[str] | None = None) -> Trainer:
    """Train, and return the trainer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loss", default="standard", help="a preset's name, or the path of a configuration")
    parser.add_argument("--engine", default="linear", choices=("logits", "linear"))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--output", default="out/huggingface")
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=258, n_positions=LENGTH, n_embd=64, n_layer=2, n_head=4, eos_token_id=END, bos_token_id=END
        )
    )
    loss = Loss.load(options.loss, overrides={"compile.enabled": False}, **model_fields(model))
    trainer = Trainer(
        model,
        TrainingArguments(
            options.output,
            max_steps=options.steps,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=4,
            learning_rate=3e-3,
            logging_steps=max(options.steps // 10, 1),
            save_steps=max(options.steps // 2, 1),
            report_to=[],
        ),
        train_dataset=paragraphs(),
        data_collator=collate,
        compute_loss_func=compute_loss_func(loss, model=model, engine=options.engine),
        callbacks=[LossCallback(loss)],
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    main()
