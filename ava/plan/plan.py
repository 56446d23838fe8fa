"""The plan: what has to be computed for a configuration, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from ava.config.model import Config
from ava.plan.cost import Cost
from ava.plan.memory import peak_memory
from ava.plan.passes import PASSES, Draft, PlannedTerm
from ava.terms.base import Needs
from ava.terms.main_loss import PrimaryLoss

__all__ = ["ENGINES", "Engine", "Plan"]

Engine = Literal["logits", "linear", "vocab_parallel"]
ENGINES: tuple[Engine, ...] = ("logits", "linear", "vocab_parallel")
_HEAD_INPUTS = ("hidden_states", "lm_head")


@dataclass(frozen=True)
class Plan:
    """What a configuration computes: the terms, their merged needs, their cost. Free of torch.

    Equal configurations have equal plans. Plans with an equal :attr:`key` share one compiled graph.

    >>> plan = Plan(Config.load({"version": 1, "terms": {"eos_penalty": {}}}, eos_token_id=2))
    >>> [str(pick) for pick in plan.needs.picks], plan.required_model
    (['target', 'eos'], ('eos_token_id',))
    """

    config: Config

    @cached_property
    def _draft(self) -> Draft:
        draft = Draft(self.config)
        for step in PASSES:
            draft = step(draft)
        return draft

    @property
    def primary(self) -> PrimaryLoss:
        """The primary loss."""
        return self.config.primary

    @property
    def terms(self) -> tuple[PlannedTerm, ...]:
        """The enabled terms, in the order of the roster."""
        return self._draft.terms

    @property
    def needs(self) -> Needs:
        """What the primary loss and all terms need together; picks as target, context, EOS, candidates."""
        return self._draft.needs

    @property
    def cost(self) -> Cost:
        """What all of it costs for a row, each shared need counted once."""
        return self._draft.cost

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the arguments of ``forward`` that a call must give, beyond logits and targets."""
        return self.needs.inputs

    @property
    def required_model(self) -> tuple[str, ...]:
        """Fields of ``model`` that must be set when the loss is built."""
        return self.needs.model

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Everything that is part of the compiled graph: the static fields, without weights and temperatures.

        Changing a field that is not in here never recompiles.
        """
        config, model = self.config, self.config.model
        temperature = config.primary.temperature
        settings = config.compile
        return (
            ("primary", config.primary.type, config.primary.label_smoothing),
            ("temperature", None if temperature is None else temperature.adaptive),
            *((planned.name, type(planned.term), planned.term.static) for planned in self.terms),
            ("model", *((name, getattr(model, name)) for name in self.static_model)),
            ("targets", config.targets.shift),
            ("balancing", config.balancing),
            ("reduction", config.reduction.across, config.reduction.gradient_accumulation_steps),
            ("compile", *((name, getattr(settings, name)) for name in type(settings).model_fields)),
        )

    @property
    def static_model(self) -> tuple[str, ...]:
        """The fields of ``model`` that are part of the compiled graph."""
        optional = {
            "hidden_size": "hidden_size" in self.required_model,
            "num_experts": "num_experts" in self.required_model or "gate_logits" in self.inputs,
            "top_k": "gate_logits" in self.inputs,
        }
        return tuple(name for name in type(self.config.model).model_fields if optional.get(name, True))

    def memory(
        self, rows: int, vocab_size: int, itemsize: int, engine: Engine = "logits", *, hidden_size: int | None = None
    ) -> int:
        """Return the most bytes that forward and backward hold at once, above the tensors that they are given.

        ``logits`` and ``vocab_parallel`` hold the gradient of the logits (``vocab_size`` being the local shard's);
        ``linear`` holds a chunk of logits with its gradient, and the gradients of the hidden states and the head.
        With ``compile.enabled: false`` it is several times as much.

        Args:
            rows: positions of a call, ``B * T``.
            vocab_size: columns of the logits.
            itemsize: bytes of one logit.
            engine: where the statistics come from.
            hidden_size: ``H``; by default the configuration's.

        Raises:
            ArgumentValueError: ``linear``, and the hidden size is not known.
        """
        return peak_memory(self, rows, vocab_size, itemsize, engine, hidden_size)

    def collectives(
        self, rows: int = 1, *, chunk: int | None = None, heads: Literal["logits", "lm_head"] | None = None
    ) -> int:
        """Return the reductions over the ranks of a vocabulary that is split, in forward and backward of one call.

        All statistics of a pass together take one maximum and one sum. Where the head is split, every chunk is a
        pass, and the gradient of the hidden states is one sum more.

        >>> Plan(Config.load("standard", vocab_size=50257)).collectives()
        2

        Args:
            rows: positions of a call, ``B * T``.
            chunk: rows of a chunk, where ``lm_head`` is split; None where ``logits`` are.
            heads: where the logits of future-token heads come from: split logits, or the split ``lm_head``. None
                without such heads, and for those of the loss with a projection of their own, which every rank has.
        """
        passes = 1 if chunk is None else -(-rows // chunk)
        sums = 0 if chunk is None else 1
        if heads == "logits":
            return 2 * passes + sums + 2
        if heads is None:
            return 2 * passes + sums
        ahead = self.config.terms.mtp_loss
        number = ahead.num_future_tokens if ahead is not None and chunk is not None else 1
        return 2 * passes * (1 + number) + sums + 1

    def __str__(self) -> str:
        from ava.plan.text import plan_text

        return plan_text(self)
