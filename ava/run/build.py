"""What is made once, when a loss is built: its own heads, its tables, and the check that nothing is missing."""

from __future__ import annotations

import torch
from torch import Tensor

from ava.compile.heads import MtpHeads
from ava.compile.weights import schedule_table
from ava.errors import ArgumentValueError
from ava.plan import Plan
from ava.terms.base import Kind
from ava.terms.mtp_loss import MtpLoss

__all__ = ["check_model", "own_heads", "tables_of"]


def own_heads(plan: Plan) -> MtpHeads | None:
    """Return the heads of ``mtp_loss``, or None where the model brings its own.

    They are made when ``model.hidden_size`` is set.

    Raises:
        ArgumentValueError: ``model.vocab_size`` is not set, and the heads project to the vocabulary.
    """
    term = next((p.term for p in plan.terms if isinstance(p.term, MtpLoss)), None)
    model = plan.config.model
    if term is None or model.hidden_size is None:
        return None
    width = model.padded_vocab_size or model.vocab_size
    if width is None and term.heads != "tied":
        raise ArgumentValueError(
            f"`mtp_loss` with `heads: {term.heads}` needs `model.vocab_size` to make its heads: set it in the "
            "configuration, or pass `vocab_size=…` to `Loss.load`."
        )
    return MtpHeads(term.heads, term.num_future_tokens, model.hidden_size, width)


def tables_of(plan: Plan) -> dict[str, Tensor]:
    """Return the numbers of the configuration that a graph takes as tensors, by the name of their buffer, float64."""
    temperature = plan.config.primary.temperature
    limits = (0.0, 1.0, 1.0) if temperature is None else (temperature.rate, *temperature.bounds)
    schedules = schedule_table([planned.term.weight for planned in plan.terms])
    return {"_schedules": schedules, "_limits": torch.tensor(limits, dtype=torch.float64)}


def check_model(plan: Plan) -> None:
    """Raise ArgumentValueError where a term misses a field of ``model:``, or is of a kind that cannot run."""
    for planned in plan.terms:
        if planned.term.kind is Kind.HEADS and not isinstance(planned.term, MtpLoss):
            raise ArgumentValueError(
                f"`{planned.name}` is a term on future-token heads, which only `mtp_loss` can be: derive it from "
                "`RowTerm` or `OwnMeanTerm`."
            )
        for field in planned.needs.model:
            if getattr(plan.config.model, field) is None:
                raise ArgumentValueError(
                    f"`{planned.name}` needs `model.{field}`: set it in the configuration, or pass `{field}=…` to "
                    "`Loss.load`."
                )
