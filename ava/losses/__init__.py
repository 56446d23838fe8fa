"""``UnifiedLoss``: the loss of the original guide, keyword for keyword, as a configuration.

``keywords`` says where each flat keyword stands in a configuration, its default and what it accepts · ``translate``
makes the configuration · ``rewrite`` writes it with comments, ``migrate`` does so for a whole file · ``unified`` is the
class. Only the class needs torch, so ``ava-loss migrate`` does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ava.losses.translate import Translation, translate

if TYPE_CHECKING:
    from ava.losses.unified import UnifiedLoss, create_unified_loss

__all__ = ["Translation", "UnifiedLoss", "create_unified_loss", "translate"]


def __getattr__(name: str) -> Any:
    if name not in ("UnifiedLoss", "create_unified_loss"):
        raise AttributeError(f"module `ava.losses` has no attribute `{name}`")
    try:
        from ava.losses import unified
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from ava.errors import MissingDependencyError

        raise MissingDependencyError(
            f"`ava.losses.{name}` needs torch, which is not installed: pip install 'ava-loss[torch]'"
        ) from error
    return getattr(unified, name)


def __dir__() -> list[str]:
    return sorted(__all__)
