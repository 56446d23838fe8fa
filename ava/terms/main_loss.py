"""The primary loss: cross-entropy, with label smoothing and a temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ava.terms.base import RUNTIME, TARGET, Needs, Section, Statistic
from ava.terms.fields import Bounds

if TYPE_CHECKING:
    from torch import Tensor

    from ava.terms.rows import Rows

__all__ = ["PrimaryLoss", "Temperature"]


class Temperature(Section):
    """The temperature of every logit term, fixed or adapted to how unsteady the main loss is.

    With ``adaptive``, a buffer holds the last 100 values of the main loss. At each step boundary, once it holds
    10 or more, the temperature rises by ``rate`` when their coefficient of variation is above 0.1, falls by
    ``rate`` when it is below 0.05, and stays within ``bounds``.
    """

    recommended: ClassVar[dict[str, tuple[float, float]]] = {
        "initial": (0.8, 1.5),
        "bounds": (0.5, 2.0),
        "rate": (0.001, 0.05),
    }

    initial: Annotated[float, Field(gt=0), RUNTIME] = Field(default=1.0, description="Temperature at the first step.")
    adaptive: bool = Field(default=False, description="Whether the temperature follows the main loss.")
    bounds: Annotated[Bounds, RUNTIME] = Field(default=(0.5, 2.0), description="Lowest and highest temperature.")
    rate: Annotated[float, Field(ge=0), RUNTIME] = Field(default=0.01, description="Change of the temperature a step.")


class PrimaryLoss(Section):
    """Cross-entropy of the targets, with label smoothing; its weight in the total is 1.

    ``standard`` is what ``torch.nn.functional.cross_entropy`` computes. ``deepseek`` is the same at a temperature,
    fixed or adaptive. ``adaptive_mtp`` is ``standard`` with an ``mtp_loss`` that weighs positions by confidence.
    """

    type: Literal["standard", "deepseek", "adaptive_mtp"] = Field(
        default="standard", description="Kind of the primary loss."
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Share of the target's probability spread over the vocabulary."
    )
    temperature: Temperature | None = Field(default=None, description="Temperature (with `type: deepseek`).")

    recommended: ClassVar[dict[str, tuple[float, float]]] = {"label_smoothing": (0.05, 0.15)}
    formula: ClassVar[str] = "mean_M [(1-ε)(ℓ - z_y) + ε(ℓ - mean_v z_v)],  z = x/τ"

    def needs(self) -> Needs:
        """Return what the primary loss must be given."""
        smoothed = {Statistic.LSE, Statistic.MEAN_LOGIT} if self.label_smoothing else set()
        return Needs(frozenset(smoothed), picks=(TARGET,))

    def value(self, rows: Rows) -> Tensor:
        """Return the loss of each row, ``[N]``, in nats.

        Source:
            Szegedy et al. (2016), *Rethinking the Inception Architecture*, section 7 (label smoothing).
        """
        if not self.label_smoothing:
            return rows.nll
        return (1 - self.label_smoothing) * rows.nll + self.label_smoothing * (rows.lse - rows.mean_logit)

    def untrained(self, vocab_size: int) -> float:
        """Return the value for a uniform prediction: ``ln V``."""
        import math

        return math.log(vocab_size)
