"""``Source`` → :class:`Config`: the language's fields, their rules, their schema.

``roster`` names the terms · ``model`` has the fields and defaults · ``validate`` turns a source into a configuration
or findings (``problems``, ``messages``, ``words``, ``conflicts``; ``rules`` documents them) · ``load`` is
``Config.load`` · ``write`` goes back to YAML · ``schema`` is for editors.
"""

from __future__ import annotations

from ava.config.model import VERSION, Compile, Config, Model, Reduction, Targets
from ava.config.roster import ROSTER, Terms, find_term
from ava.config.rules import RULES
from ava.config.validate import validate

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
