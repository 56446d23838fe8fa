"""What the trainer does around the loss: steps, checkpoints, logs, and the loss's own parameters."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import Trainer, TrainerCallback

from ava.errors import ArgumentTypeError, ArgumentValueError
from ava.integrations.huggingface.adapter import check_loss
from ava.integrations.huggingface.compute import Engine, compute_loss_func
from ava.integrations.huggingface.record import run_of
from ava.integrations.huggingface.riders import add_riders
from ava.run.loss import Loss
from ava.terms.base import CONTEXT, Candidates
from ava.terms.mtp_loss import MtpLoss

__all__ = ["STATE_FILE", "LossCallback", "install"]

STATE_FILE = "ava_loss.safetensors"
"""The loss's state inside a checkpoint's folder."""
_STATE_KEY = "ava_loss"


def install(trainer: Trainer, loss: Loss, *, engine: Engine = "logits") -> LossCallback:
    """Make a trainer that exists train with a loss, and return the callback that it was given.

    The callback comes first, so that loggers (TensorBoard, Weights & Biases) are told every term.

    Args:
        trainer: a ``Trainer`` or ``SFTTrainer``.
        loss: the loss.
        engine: see :func:`compute_loss_func`.
    """
    if not isinstance(trainer, Trainer):
        raise ArgumentTypeError(f"`trainer` should be a transformers `Trainer`, but is {type(trainer).__name__}.")
    model: Any = trainer.model
    trainer.compute_loss_func = compute_loss_func(loss, model=model, engine=engine)
    callback = LossCallback(loss)
    trainer.callback_handler.callbacks.insert(0, callback)
    callback.on_init_end(trainer.args, trainer.state, trainer.control, model=model)
    return callback


class LossCallback(TrainerCallback):
    """Closes the loss's step with the optimizer's, logs every term, and saves the state with each checkpoint.

    Values are kept on the device and read when the trainer logs. The loss's own parameters (future-token heads,
    uncertainties) train with the model's; they and the state are saved as ``ava_loss.safetensors`` in the checkpoint,
    the model's own files stay as they are. Resuming continues bit for bit.

    Args:
        loss: the loss.
        resume_from: folder of the checkpoint that is resumed from, where it is not ``output_dir/checkpoint-<step>``.
    """

    def __init__(self, loss: Loss, *, resume_from: str | os.PathLike[str] | None = None) -> None:
        check_loss(loss)
        self.loss = loss
        self.resume_from = resume_from
        self.run = run_of(loss)
        self.run.recording = self.run.has_callback = True
        self._name = uuid.uuid4().hex
        self._steps = 0
        self._guard: Any = None

    def on_init_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Let the optimizer that the trainer will make find the loss's own parameters."""
        add_riders(more["model"], self.loss)

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Check the trainer's settings, attach the optimizer, and on resuming load the state."""
        self._check(args)
        inner = more["optimizer"]
        while hasattr(inner, "optimizer"):
            inner = inner.optimizer
        self._check_parameters(args, inner)
        self.loss.attach(inner)
        if state.global_step > 0:
            self._restore(args, state)
        state.stateful_callbacks[_STATE_KEY] = {"args": {}, "attributes": {"run": self._name}}
        self._steps = 0
        self._guard = self.loss.register_forward_pre_hook(_demands_items(args), with_kwargs=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Let the loss be called without the trainer again."""
        if self._guard is not None:
            self._guard.remove()
            self._guard = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count the step."""
        self._steps += 1

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Add every term to the trainer's logs and to its history: ``loss/<term>``, ``raw/<term>``, ``metrics/…``."""
        if logs is None:
            return
        prefix = ""
        if "loss" in logs:
            found = self.run.training.drain(self._steps, sum_ranks=bool(args.average_tokens_across_devices))
            self._steps = 0
        else:
            prefix = next((name.removesuffix("runtime") for name in logs if name.endswith("_runtime")), "train_")
            found = {} if prefix == "train_" else self.run.evaluation.drain(1, sum_ranks=True)
        named = {f"{prefix}{name}": value for name, value in found.items()}
        logs.update(named)
        if state.log_history and state.log_history[-1].get("step") == state.global_step:
            state.log_history[-1].update(named)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save the loss beside the model, once."""
        if not args.should_save:
            return
        folder = _folder(args, state.global_step)
        if folder is None:
            raise ArgumentValueError(f"no folder of step {state.global_step} to save the loss in {args.output_dir}.")
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.loss.state_dict().items()}
        save_file(tensors, folder / STATE_FILE, metadata={"run": self._name, "step": str(state.global_step)})

    def _restore(self, args: Any, state: Any) -> None:
        saved = state.stateful_callbacks.get(_STATE_KEY)
        given = self.resume_from or (args.resume_from_checkpoint if _is_folder(args.resume_from_checkpoint) else None)
        folder = Path(given) if given is not None else _folder(args, state.global_step)
        file = None if folder is None else folder / STATE_FILE
        if file is None or not file.exists():
            raise ArgumentValueError(
                f"training resumes at step {state.global_step}, but there is no `{STATE_FILE}` in "
                f"{folder or args.output_dir}: the loss would start afresh. Name the checkpoint, "
                "`LossCallback(loss, resume_from=…)`; one saved without the callback cannot be resumed with it."
            )
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        name = None if saved is None else saved["attributes"]["run"]
        if metadata.get("step") != str(state.global_step) or metadata.get("run") != name:
            raise ArgumentValueError(
                f"training resumes at step {state.global_step}, but `{file}` was saved at step "
                f"{metadata.get('step')}, or by another run. Name the checkpoint: `LossCallback(loss, resume_from=…)`."
            )
        try:
            self.loss.load_state_dict(tensors)
        except RuntimeError as error:
            raise ArgumentValueError(f"`{file}` is of a loss with another configuration: {error}") from error

    def _check(self, args: Any) -> None:
        plan, steps = self.loss.plan, self.loss.config.reduction.gradient_accumulation_steps
        if steps not in (1, args.gradient_accumulation_steps):
            raise ArgumentValueError(
                f"`reduction.gradient_accumulation_steps` is {steps}, and the trainer's is "
                f"{args.gradient_accumulation_steps}: leave it out of the configuration, the trainer's counts."
            )
        if args.label_smoothing_factor:
            raise ArgumentValueError(
                f"`label_smoothing_factor={args.label_smoothing_factor}` does nothing beside `compute_loss_func`: set "
                "`primary.label_smoothing` in the configuration."
            )
        parallel = getattr(args, "parallelism_config", None)
        sizes = [getattr(parallel, name, 1) or 1 for name in ("cp_size", "sp_size")]
        along = [p.name for p in plan.terms if _looks_along(p)]
        if max(sizes) > 1 and along:
            raise ArgumentValueError(
                f"`{along[0]}` looks along a row, and context or sequence parallelism gives each rank a part of it: "
                f"set `terms.{along[0]}: null`."
            )

    def _check_parameters(self, args: Any, optimizer: Any) -> None:
        own = {id(parameter): name for name, parameter in self.loss.named_parameters()}
        if not own:
            return
        if getattr(args, "deepspeed", None) or getattr(args, "fsdp", None):
            raise ArgumentValueError(
                f"the loss has parameters of its own (`{next(iter(own.values()))}`), which FSDP and DeepSpeed would "
                "shard: give the model future-token heads of its own and pass `mtp_logits`, or use DDP."
            )
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        left = next((name for key, name in own.items() if key not in held), None)
        if left is not None:
            raise ArgumentValueError(
                f"the optimizer does not hold the loss's own `{left}`: give the callback to the trainer when it is "
                "made, `callbacks=[LossCallback(loss)]`, or add `loss.parameters()` to the optimizer that you pass."
            )


def _demands_items(args: Any) -> Any:
    steps = args.gradient_accumulation_steps

    def demand(loss: nn.Module, _: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if steps > 1 and kwargs.get("num_items") is None and loss.training and torch.is_grad_enabled():
            raise ArgumentValueError(
                f"the loss was called without `num_items` under `gradient_accumulation_steps={steps}`: the trainer "
                f"does not divide what `compute_loss_func` returns, so this mean would come out {steps} times too "
                "large. Give the trainer `compute_loss_func=compute_loss_func(loss)`, and `labels` in every batch."
            )

    return demand


def _looks_along(planned: Any) -> bool:
    needs = planned.needs
    picks = any(pick == CONTEXT or isinstance(pick, Candidates) for pick in needs.picks)
    return picks or bool(needs.positions) or isinstance(planned.term, MtpLoss)


def _is_folder(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike)) and Path(value).is_dir()


def _folder(args: Any, step: int) -> Path | None:
    """Return the checkpoint's folder: of the run itself, or of the newest trial of a search."""
    name = f"checkpoint-{step}"
    if (Path(args.output_dir) / name).is_dir():
        return Path(args.output_dir) / name
    trials = [found for found in Path(args.output_dir).glob(f"*/{name}") if found.is_dir()]
    return max(trials, key=lambda found: found.stat().st_mtime, default=None)
