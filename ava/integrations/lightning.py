"""Lightning: a callback that logs every term, closes the loss's steps and saves its state."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ava.errors import ArgumentValueError, MissingDependencyError
from ava.run.loss import Loss
from ava.run.output import LossOutput

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "lightning":
        raise
    raise MissingDependencyError(
        "`ava.integrations.lightning` needs lightning, which is not installed: pip install 'ava-loss[lightning]'"
    ) from error

__all__ = ["LossCallback", "find_loss"]


class LossCallback(Callback):
    """Looks after a loss in a ``Trainer``.

    - Every detailed call of the loss (``return_detailed=True``) in a training step is logged through
      ``pl_module.log_dict``, without synchronising ranks; in a validation step too, as the mean over the epoch.
    - The optimizer's own step closes the loss's, so accumulation and steps skipped by a gradient scaler are right.
    - Where the loss is no submodule of the ``LightningModule``, its state is moved to the module's device and saved in
      the checkpoint with the callback's.

    Args:
        loss: the loss; by default the one ``Loss`` among the module's submodules.
        prefix: before every name that is logged in training.
        optimizer: index of the optimizer that closes the loss's steps.
    """

    def __init__(self, loss: Loss | None = None, *, prefix: str = "", optimizer: int = 0) -> None:
        self.loss = loss
        self.prefix = prefix
        self.optimizer = optimizer
        self._own = True
        self._latest: LossOutput | None = None
        self._hook: torch.utils.hooks.RemovableHandle | None = None
        self._attached: weakref.ref[torch.optim.Optimizer] | None = None
        self._loaded: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the loss, and listen to its detailed calls."""
        if self.loss is None:
            self.loss = find_loss(pl_module)
        loss = self.loss
        self._own = not any(module is loss for module in pl_module.modules())
        if self._own and any(parameter.requires_grad for parameter in loss.parameters()):
            raise ArgumentValueError(
                "this loss has parameters of its own, which no optimizer of the module would see: make it an "
                "attribute of the LightningModule (`self.loss = loss`)."
            )
        if self._own and self._loaded:
            loss.load_state_dict(self._loaded)
        if self._hook is None:
            self._hook = loss.register_forward_hook(self._listen)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop listening."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        self._latest = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the loss to the device, and let the optimizer close its steps."""
        assert self.loss is not None
        if self._own:
            self.loss.to(pl_module.device)
        optimizers = trainer.optimizers
        if self.optimizer >= len(optimizers):
            raise ArgumentValueError(
                f"`optimizer` should be below {len(optimizers)}, the number of optimizers, but is {self.optimizer}."
            )
        chosen = optimizers[self.optimizer]
        if self._attached is None or self._attached() is not chosen:  # a second `fit` may bring the same one
            self.loss.attach(chosen)
            self._attached = weakref.ref(chosen)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log what the training step's call answered."""
        self._log(pl_module, self.prefix, on_step=True, on_epoch=False)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Log the mean of the validation steps' calls over the epoch."""
        self._log(pl_module, f"{self.prefix}val/", on_step=False, on_epoch=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the loss's state where the module does not save it."""
        if self.loss is None or not self._own:
            return {}
        return dict(self.loss.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give the loss its state back."""
        self._loaded = state_dict
        if self.loss is not None and self._own and state_dict:
            self.loss.load_state_dict(state_dict)

    def _listen(self, module: nn.Module, arguments: Any, answer: Any) -> None:
        if isinstance(answer, LossOutput):
            self._latest = answer

    def _log(self, pl_module: LightningModule, prefix: str, *, on_step: bool, on_epoch: bool) -> None:
        latest, self._latest = self._latest, None
        if latest is None:
            return
        values: Mapping[str, Tensor] = latest.log_dict()
        named = {prefix + name: value.float() for name, value in values.items()}
        # a mean weighted by tokens over an epoch
        tokens = 1 if on_step else max(1, int(values["metrics/tokens"]))
        pl_module.log_dict(named, on_step=on_step, on_epoch=on_epoch, sync_dist=False, batch_size=tokens)


def find_loss(module: nn.Module) -> Loss:
    """Return the one ``Loss`` among a module's submodules.

    Raises:
        ArgumentValueError: there is none, or more than one.
    """
    found = [child for child in module.modules() if isinstance(child, Loss)]
    if len(found) != 1:
        raise ArgumentValueError(
            f"{type(module).__name__} should have one `ava.Loss` among its submodules, but has {len(found)}: pass the "
            "loss to `LossCallback(loss)`."
        )
    return found[0]
