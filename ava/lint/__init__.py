"""Linting: the errors of a configuration, and advice about what is valid and unlikely to be meant.

A rule of advice comes with its check. A term's own stand beside the term (:attr:`ava.terms.base.Term.rules`); those
over several sections here, by subject: ``ranges`` · ``schedules`` · ``tokens`` · ``temperature`` · ``combinations``
· ``cost`` · ``numerics``. ``registry`` lists them all; ``select``, ``settings`` and ``comments`` say which are
wanted; ``run`` runs them; ``fixes`` applies their safe edits; ``api`` is :func:`lint`.

Nothing here imports torch.
"""

from __future__ import annotations

from ava.lint.api import lint
from ava.lint.registry import RULES, known_rules
from ava.lint.select import Selection
from ava.lint.settings import Settings, find_settings
from ava.terms.advice import Project

__all__ = ["RULES", "Project", "Selection", "Settings", "find_settings", "known_rules", "lint"]
