"""What a term sees of a batch: numbers per row, never logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ava.terms.base import TARGET, Candidates, Pick, Statistic

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CERTAIN", "Rows"]

CERTAIN = -0.5
"""``max log p`` above which the maximum is unique, so that :attr:`Rows.margin` is meant (``p > 0.607``)."""


@dataclass(frozen=True)
class Rows:
    """The statistics of ``N`` rows of logits; each field is there only if some term needs it.

    All are float32 (float64 for float64 logits), differentiable with respect to the logits unless said
    otherwise, and finite at rows that are not valid.

    Attributes:
        statistics: a tensor ``[N]`` for each :class:`~ava.terms.base.Statistic` asked for.
        log_probs: ``log p`` at the picked columns, ``[N]`` or ``[N, width]``; ``-inf`` where there is no token.
        columns: the picked columns themselves, int64, ``-1`` for none.
        positions: ``run`` and ``before``, int64 ``[N]``.
        vocab_size: columns that take part.
    """

    statistics: Mapping[Statistic, Tensor]
    log_probs: Mapping[Pick | Candidates, Tensor]
    columns: Mapping[Pick | Candidates, Tensor]
    positions: Mapping[str, Tensor]
    vocab_size: int

    @property
    def targets(self) -> Tensor:
        """The column to predict, ``[N]``."""
        return self.columns[TARGET]

    @property
    def nll(self) -> Tensor:
        """Negative log-likelihood of the target, ``[N]``, in nats."""
        return -self.log_probs[TARGET]

    @property
    def lse(self) -> Tensor:
        """Log-partition of the logits, ``[N]``."""
        return self.statistics[Statistic.LSE]

    @property
    def entropy(self) -> Tensor:
        """Entropy of the prediction, ``[N]``, in nats."""
        return self.statistics[Statistic.ENTROPY]

    @property
    def mean_logit(self) -> Tensor:
        """Mean of the logits over the vocabulary, ``[N]``."""
        return self.statistics[Statistic.MEAN_LOGIT]

    @property
    def margin(self) -> Tensor:
        """Log-odds of the most likely token, ``[N]``; meant only where it is certain."""
        return self.statistics[Statistic.MARGIN]

    def unlikelihood(self, pick: Pick | Candidates) -> Tensor:
        """Return ``-log(1 - p)`` at the picked columns, exact up to ``p = 1``; 0 where there is no token.

        Where the token is the unique maximum, ``1 - p`` comes from the logsumexp of the others, so neither its
        value nor its gradient is lost to rounding.

        Shape:
            ``[N]`` for a column, ``[N, width]`` for candidates.

        Source:
            Welleck et al. (2020), *Neural Text Generation with Unlikelihood Training*, eq. 3.
        """
        from torch.nn.functional import softplus

        log_prob = self.log_probs[pick]
        margin = self.margin if log_prob.ndim == 1 else self.margin[:, None]
        # Above `CERTAIN` it is the maximum itself. Where it is, the sign is 1, elsewhere 0: Inductor stores a mask
        # for the backward one byte at a time, and this as it is.
        is_top = (log_prob.detach().clamp(min=CERTAIN) - CERTAIN).sign()
        usual = -(-log_prob.clamp(max=CERTAIN / 2).exp()).log1p()
        # torch's own threshold of 20 drops e^-20, which float64 can see
        return usual * (1 - is_top) + softplus(margin, threshold=40.0) * is_top
