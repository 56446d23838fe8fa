"""Trains a small language model for about a minute, and shows what every term of its loss did.

    python examples/train_small_lm.py --preset standard
    python examples/train_small_lm.py --preset anti_repetition --set terms.ngram_penalty.weight=0.4 --minutes 2
    python examples/train_small_lm.py --checkpoint run.pt --log run.jsonl            # Ctrl-C stops it …
    python examples/train_small_lm.py --checkpoint run.pt --log run.jsonl --resume   # … and this goes on, bit for bit

The text is the standard library of the interpreter that runs this. What a training loop needs to know about
`ava` is in `Trainer`: how the loss is loaded, called, optimized, saved and restored.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.console import Console
from small_lm.control import Clock, interruptible
from small_lm.data import END, VOCAB, Batch, PackedText, Shuffled, load_corpus
from small_lm.display import Display, summary
from small_lm.evaluation import by_the_loss, greedy, held_out, readable, repetition
from small_lm.files import Record, RunLog, combined, load, save
from small_lm.model import Output, SmallLM
from small_lm.options import Options, parse
from torch import Tensor

import ava
from ava.errors import AvaError

PROMPTS, PROMPT_LENGTH = 8, 32


class Trainer:
    """The model, the loss, the optimizer and the place in the data: all that a step changes."""

    def __init__(self, options: Options, text: PackedText) -> None:
        torch.manual_seed(options.seed)
        self.options, device = options, torch.device(options.device)

        # The loss moves its state once per optimizer step, so it is told how many calls make a step.
        overrides = [*options.set, f"reduction.gradient_accumulation_steps={options.grad_accum}"]
        known = {"vocab_size": VOCAB, "eos_token_id": END, "hidden_size": options.width}
        self.loss_fn = ava.Loss.load(options.preset, overrides=overrides, **known).to(device)
        self.inputs = frozenset(self.loss_fn.plan.inputs)

        wanted = self.loss_fn.config.model
        experts = options.experts or ((wanted.num_experts or 0) if "gate_logits" in self.inputs else 0)
        torch.manual_seed(options.seed)  # the same first weights, whether the loss has some of its own or not
        self.model = SmallLM(VOCAB, options.width, options.layers, experts=experts, top_k=wanted.top_k).to(device)
        self.predict = torch.compile(self.model) if options.compile_model else self.model

        # A loss may have weights of its own (heads that look further ahead, learned balancing): they train too.
        self.weights = [*self.model.parameters(), *self.loss_fn.parameters()]
        groups = [
            {"params": [weight for weight in self.weights if weight.ndim >= 2], "weight_decay": 0.1},
            {"params": [weight for weight in self.weights if weight.ndim < 2], "weight_decay": 0.0},
        ]
        fused = device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.95), fused=fused)

        self.data = Shuffled(text, options.batch_size, options.seq_len, options.seed)
        self.identity = {name: str(value) for name, value in options.recipe().items()} | {"text": text.fingerprint()}
        self.steps_done, self.tokens, self.clock = 0, 0, Clock()

    def loss(self, out: Output, batch: Batch, num_items: int | None = None) -> ava.LossOutput:
        """The loss of a batch in detail, given what the preset's terms need beyond the logits."""
        extras = {"hidden_states": out.hidden, "lm_head": self.model.head.weight, "gate_logits": out.gates}
        extras = {name: value for name, value in extras.items() if name in self.inputs}
        if "gate_logits" in extras:
            extras["expert_indices"] = out.chosen  # not the largest logits, where the router adds a bias
        detail: ava.LossOutput = self.loss_fn(
            logits=out.logits,
            targets=batch.targets,
            input_ids=batch.inputs,
            segment_ids=batch.segments,
            num_items=num_items,
            return_detailed=True,
            **extras,
        )
        return detail

    def step(self) -> tuple[Record, dict[str, Tensor]]:
        """One optimizer step: the numbers that the host knows, and those that are still on the device."""
        with self.clock:
            for group in self.optimizer.param_groups:
                group["lr"] = rate = self.learning_rate()
            batches = self.data.take(self.options.grad_accum)
            count = sum(batch.targets.numel() for batch in batches)
            details = []
            for batch in batches:
                # Divided by the tokens of the whole step, micro-batches add up to exactly one big batch.
                detail = self.loss(self.predict(batch.inputs), batch, count if len(batches) > 1 else None)
                detail.backward()
                details.append(detail.log_dict())
            norm = torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if "gate_logits" in self.inputs:
                self.model.set_expert_bias(self.loss_fn.expert_bias)  # 0 unless the balancing is free of a loss
            self.steps_done += 1
            self.tokens += count
        known: Record = {
            "step": self.steps_done,
            "tokens": self.tokens,
            "lr": rate,
            "seconds": round(self.clock.seconds, 4),
        }
        return known, combined(details) | {"grad_norm": norm}

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine down to a tenth."""
        warm = min(1.0, (self.steps_done + 1) / self.options.warmup)
        return self.options.lr * warm * (0.1 + 0.9 * (1 + math.cos(math.pi * self.done)) / 2)

    @property
    def done(self) -> float:
        """How far along the run is, 0 to 1: by steps or by the clock, whichever is further."""
        spent = self.clock.counted / (60 * self.options.minutes) if self.options.minutes else 0.0
        return min(1.0, max(self.steps_done / self.options.last_step, spent))

    def state_dict(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "loss": self.loss_fn.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": [self.steps_done, self.tokens, self.data.position],
            "clock": [self.clock.seconds, self.clock.counted],
            "rng": [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        then = state["identity"]
        changed = [
            f"{name} was {then.get(name)}, is {now}" for name, now in self.identity.items() if then.get(name) != now
        ]
        if changed:
            raise ValueError(
                f"the checkpoint is of another run: {'; '.join(changed)}; give the options that it began with, or name "
                "another file"
            )
        self.model.load_state_dict(state["model"])
        self.loss_fn.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps_done, self.tokens, self.data.position = state["progress"]
        self.clock.seconds, self.clock.counted = state["clock"]
        torch.set_rng_state(state["rng"][0])
        if state["rng"][1:]:
            torch.cuda.set_rng_state_all(state["rng"][1:])


def assess(trainer: Trainer, batches: Sequence[Batch]) -> tuple[dict[str, float], Tensor]:
    """What the last table shows, and the text that the model continues the held-out prompts with."""
    prompts = batches[0].inputs[:PROMPTS, :PROMPT_LENGTH]
    text = greedy(trainer.model, prompts, trainer.options.sample, trainer.options.seq_len)
    scores = held_out(trainer.model, batches) | repetition(text)
    return scores | by_the_loss(trainer.model, trainer.loss_fn, trainer.loss, batches), text


def train(options: Options, console: Console) -> Trainer:
    training, unseen = (text.to(torch.device(options.device)) for text in load_corpus())
    batches = unseen.spread(options.batch_size, options.eval_batches, options.seq_len)
    trainer, before = Trainer(options, training), {}
    if options.resume and options.checkpoint and options.checkpoint.exists():
        state = load(options.checkpoint)
        trainer.load_state_dict(state)
        before = state["before"]
    log = RunLog(options.log, trainer.steps_done)

    def keep() -> None:
        if options.checkpoint:
            save(trainer.state_dict() | {"before": before}, options.checkpoint)

    with Display(console) as display, interruptible() as interrupted:
        size = sum(weight.numel() for weight in trainer.weights)
        display.say(
            f"{options.preset}, {size:,} weights; {len(training.tokens):,} tokens, {len(unseen.tokens):,} held out"
        )
        compiles = "" if trainer.loss_fn.config.compile.enabled is False else "; the first step compiles"
        display.say(f"going on after step {trainer.steps_done}" if trainer.steps_done else f"starting{compiles}")
        before = before or assess(trainer, batches)[0]
        while trainer.done < 1 and trainer.steps_done != options.stop_at and not interrupted:
            log.add(*trainer.step())
            evaluate = trainer.steps_done % options.eval_every == 0
            if evaluate:
                log.note({f"held_out/{name}": value for name, value in held_out(trainer.model, batches).items()})
            if evaluate or trainer.steps_done % options.log_every == 0:
                with trainer.clock:
                    display.show(log.fetch()[-1], trainer.done)
            if evaluate:
                keep()
        log.fetch()
        keep()

    if trainer.done < 1:
        console.print(f"stopped after step {trainer.steps_done}" + ("; --resume goes on" if options.checkpoint else ""))
    else:
        after, text = assess(trainer, batches)
        real = repetition(batches[0].targets[:PROMPTS, PROMPT_LENGTH - 1 :][:, : options.sample])
        title = f"{options.preset} after {trainer.steps_done:,} steps, {trainer.tokens:,} tokens, on the held-out text"
        console.print(summary(before, after, real, title))
        prompt = readable(batches[0].inputs[0, :PROMPT_LENGTH])
        display.say(f"\nwhat follows {prompt!r}, greedily:\n{readable(text[0])}")
    return trainer


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        train(options, Console())
    except (AvaError, ValueError) as problem:
        Console(stderr=True).print(str(problem), markup=False, highlight=False, soft_wrap=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
