"""The plugin for axolotl: ``plugins: [ava.integrations.huggingface.AvaPlugin]`` in its YAML."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ava.errors import ArgumentValueError
from ava.integrations.huggingface.callback import install
from ava.integrations.huggingface.fields import model_fields
from ava.run.loss import Loss

if TYPE_CHECKING or importlib.util.find_spec("axolotl") is None:
    Base = object
else:  # pragma: no cover - axolotl needs a GPU
    from axolotl.integrations.base import BasePlugin as Base

__all__ = ["AvaArgs", "AvaPlugin"]


class AvaArgs(BaseModel):
    """Keys that the plugin adds to axolotl's YAML.

    Attributes:
        ava_loss: a preset's name, or the path of a configuration.
        ava_engine: ``logits``, or ``linear`` to let the loss do the head.
        ava_overrides: values on top of it, ``{"terms.z_loss.weight": 1e-4}``.
    """

    ava_loss: str | None = None
    ava_engine: str | None = None
    ava_overrides: dict[str, Any] | None = None


class AvaPlugin(Base):
    """Trains axolotl's model with the loss that ``ava_loss`` names."""

    def get_input_args(self) -> str:
        """Return the dotted name of the keys' model."""
        return f"{__name__}.AvaArgs"

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        """Install the loss in the trainer.

        Raises:
            ArgumentValueError: ``ava_loss`` is not set.
        """
        name = cfg.get("ava_loss")
        if not name:
            raise ArgumentValueError("`ava_loss` should be a preset's name or a path; set it in axolotl's YAML.")
        loss = Loss.load(name, overrides=cfg.get("ava_overrides"), **model_fields(trainer.model))
        install(trainer, loss, engine=cfg.get("ava_engine") or "logits")
