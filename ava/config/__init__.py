"""``Source`` → :class:`Config`: the language's fields, their rules, their schema.

``roster`` names the terms · ``model`` has the fields and defaults (``implied`` those that follow from others) ·
``validation`` turns a source into a configuration or findings (``problems``, ``messages``, ``words``, ``conflicts``;
``rules`` documents them) · ``quick`` sees that there are none · ``load`` is ``Config.load`` · ``write`` goes back to
YAML · ``schema`` is for editors.

Each is imported when it is first used, because pydantic's models take longer to build than most commands to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ava.config.model import VERSION, Compile, Config, Model, Reduction, Targets
    from ava.config.roster import ROSTER, Terms, find_term
    from ava.config.rules import RULES
    from ava.config.validation import validate

__all__ = [
    "ROSTER",
    "RULES",
    "VERSION",
    "Compile",
    "Config",
    "Model",
    "Reduction",
    "Targets",
    "Terms",
    "find_term",
    "validate",
]

_LAZY = {
    **dict.fromkeys(("VERSION", "Compile", "Config", "Model", "Reduction", "Targets"), "ava.config.model"),
    **dict.fromkeys(("ROSTER", "Terms", "find_term"), "ava.config.roster"),
    "RULES": "ava.config.rules",
    "validate": "ava.config.validation",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module `ava.config` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
