"""``Loss`` in the Hugging Face ``Trainer``, in TRL and in axolotl.

::

    loss = ava.Loss.load("standard", **model_fields(model))
    trainer = Trainer(
        model, args, compute_loss_func=compute_loss_func(loss, model=model), callbacks=[LossCallback(loss)], …
    )

``install(trainer, loss)`` does both to a trainer that exists, and ``as_loss_function(loss)`` is for
``model.loss_function = …``. What needs transformers is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ava.integrations.huggingface.compute import ComputeLoss, compute_loss_func
from ava.integrations.huggingface.fields import model_fields
from ava.integrations.huggingface.function import LossFunction, as_loss_function

if TYPE_CHECKING:
    from ava.integrations.huggingface.axolotl import AvaPlugin
    from ava.integrations.huggingface.callback import LossCallback, install

__all__ = [
    "AvaPlugin",
    "ComputeLoss",
    "LossCallback",
    "LossFunction",
    "as_loss_function",
    "compute_loss_func",
    "install",
    "model_fields",
]

_LAZY = {"LossCallback": "callback", "AvaPlugin": "axolotl", "install": "callback"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from importlib import import_module

    try:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "transformers":
            raise
        from ava.errors import MissingDependencyError

        raise MissingDependencyError(
            f"`{name}` needs transformers, which is not installed: pip install 'ava-loss[huggingface]'"
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
