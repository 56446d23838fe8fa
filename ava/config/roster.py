"""The roster: every built-in term, one line each, in the order in which they are computed, printed and documented.

Terms from outside the package come through the entry-point group ``ava.terms``; they are looked up only when a
name stands under ``terms:`` that is not in the roster, because looking is slow.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, get_args

from pydantic import ConfigDict, Field, InstanceOf, model_validator

from ava.errors import AvaError
from ava.terms.base import Section, Term
from ava.terms.contrastive_loss import ContrastiveLoss
from ava.terms.distillation_loss import DistillationLoss
from ava.terms.eos_penalty import EosPenalty
from ava.terms.expert_diversity_loss import ExpertDiversityLoss
from ava.terms.focal_loss import FocalLoss
from ava.terms.immediate_repetition_penalty import ImmediateRepetitionPenalty
from ava.terms.moe_balance_loss import MoeBalanceLoss
from ava.terms.mtp_loss import MtpLoss
from ava.terms.ngram_penalty import NgramPenalty
from ava.terms.router_z_loss import RouterZLoss
from ava.terms.token_diversity_loss import TokenDiversityLoss
from ava.terms.z_loss import ZLoss

__all__ = ["GROUP", "ROSTER", "BrokenTermError", "Terms", "external_names", "find_term"]

GROUP = "ava.terms"


class Terms(Section):
    """The terms that are added to the primary loss. A term is on when it is named; `null` switches it off."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, InstanceOf[Term]] = Field(init=False)

    focal_loss: FocalLoss | None = None
    z_loss: ZLoss | None = None
    token_diversity_loss: TokenDiversityLoss | None = None
    immediate_repetition_penalty: ImmediateRepetitionPenalty | None = None
    ngram_penalty: NgramPenalty | None = None
    eos_penalty: EosPenalty | None = None
    mtp_loss: MtpLoss | None = None
    contrastive_loss: ContrastiveLoss | None = None
    moe_balance_loss: MoeBalanceLoss | None = None
    router_z_loss: RouterZLoss | None = None
    expert_diversity_loss: ExpertDiversityLoss | None = None
    distillation_loss: DistillationLoss | None = None

    @model_validator(mode="after")
    def _named(self) -> Terms:
        for name, term in (self.__pydantic_extra__ or {}).items():
            if term.name != name:
                raise ValueError(f"the term `{term.name}` stands under the name `{name}`")
        return self

    @property
    def enabled(self) -> tuple[Term, ...]:
        """The terms that are on, in the order of the roster, then those from outside by name."""
        own = (getattr(self, name) for name in ROSTER)
        foreign = (term for _, term in sorted((self.__pydantic_extra__ or {}).items()))
        return (*(term for term in own if term is not None), *foreign)


def _term_class(annotation: Any) -> type[Term]:
    """Return the class in ``NAME: Class | None``."""
    cls: type[Term] = next(item for item in get_args(annotation) if item is not type(None))
    return cls


ROSTER: dict[str, type[Term]] = {name: _term_class(field.annotation) for name, field in Terms.model_fields.items()}
"""Name to class of every built-in term."""


class BrokenTermError(AvaError, ImportError):
    """A term's entry point exists and does not yield a usable term."""


@cache
def external_names() -> tuple[str, ...]:
    """Return the names that the entry points of ``ava.terms`` declare, without importing any."""
    from importlib.metadata import entry_points

    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)} - set(ROSTER)))


@cache
def find_term(name: str) -> type[Term] | None:
    """Return the class of the term called ``name``, or None where nothing declares it.

    Raises :class:`BrokenTermError` where its entry point cannot be imported, is no term, or is there twice.
    """
    if name in ROSTER:
        return ROSTER[name]
    if name not in external_names():
        return None
    from importlib.metadata import entry_points

    entries = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if len(entries) > 1:
        raise BrokenTermError(f"the term `{name}` is declared twice, as {' and '.join(sorted(entries))}")
    value, entry = next(iter(entries.items()))
    try:
        loaded = entry.load()
    except Exception as error:  # whatever a foreign module does while it is imported
        raise BrokenTermError(f"the term `{name}` ({value}) cannot be imported: {error!r}") from error
    if not (inspect.isclass(loaded) and issubclass(loaded, Term)):
        raise BrokenTermError(f"the term `{name}` ({value}) is {loaded!r}, not a subclass of ava.terms.base.Term")
    if inspect.isabstract(loaded):
        missing = ", ".join(sorted(loaded.__abstractmethods__))
        raise BrokenTermError(f"the term `{name}` ({value}) lacks {missing}")
    if getattr(loaded, "name", None) != name:
        raise BrokenTermError(f"the term `{name}` ({value}) calls itself `{getattr(loaded, 'name', None)}`")
    return loaded
