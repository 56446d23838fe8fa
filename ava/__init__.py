"""The loss of a language model, as a file.

``Config`` and ``Plan`` need no torch; ``Loss`` is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ava.config import Config
    from ava.plan import Plan
    from ava.run.loss import Loss
    from ava.run.output import LossOutput

__all__ = ["Config", "Loss", "LossOutput", "Plan", "__version__"]
__version__ = "0.1.0"

_LAZY = {
    "Config": "ava.config",
    "Loss": "ava.run.loss",
    "LossOutput": "ava.run.output",
    "Plan": "ava.plan",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module `ava` has no attribute `{name}`")
    from importlib import import_module

    try:
        return getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from ava.errors import MissingDependencyError

        raise MissingDependencyError(
            f"`ava.{name}` needs torch, which is not installed: pip install 'ava-loss[torch]'"
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
