"""Fine-tune a small GPT-2, made from a configuration, with TRL's ``SFTTrainer`` and a loss from a file.

    python examples/trl_sft.py --loss anti_repetition --steps 20

Prompts are ignored by the loss as targets, and are still the context that its repetition penalties look back on.
Needs ``pip install 'ava-loss[trl]'``.
"""

from __future__ import annotations

import argparse

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from ava import Loss
from ava.integrations.huggingface import install, model_fields

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words."""
    words = ["<pad>", "<eos>", "count", "from", "to", ":", *NUMBERS]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")


def examples() -> Dataset:
    """Return prompts and completions: ``count from two to four :`` and ``two three four``."""
    spans = [(first, last) for first in range(10) for last in range(first + 1, 10)]
    return Dataset.from_list(
        [
            {
                "prompt": f"count from {NUMBERS[first]} to {NUMBERS[last]} :",
                "completion": " " + " ".join(NUMBERS[first : last + 1]),
            }
            for first, last in spans
        ]
    )


def main(arguments: list[str] | None = None) -> SFTTrainer:
    """Train, and return the trainer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loss", default="standard", help="a preset's name, or the path of a configuration")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--output", default="out/trl")
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    words = tokenizer()
    sizes = {"vocab_size": len(words), "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=1, pad_token_id=0))
    settings = SFTConfig(
        options.output, loss_type="nll", max_steps=options.steps, per_device_train_batch_size=4,
        gradient_accumulation_steps=2, learning_rate=1e-2, logging_steps=max(options.steps // 10, 1), max_length=32,
        gradient_checkpointing=False, bf16=False, save_strategy="no", report_to=[],
    )  # fmt: skip
    trainer = SFTTrainer(model, settings, train_dataset=examples(), processing_class=words)
    loss = Loss.load(options.loss, overrides={"compile.enabled": False}, **model_fields(trainer.model))
    install(trainer, loss, engine="linear")
    trainer.train()
    return trainer


if __name__ == "__main__":
    main()
