"""The configuration: frozen, hashable, strict, with every default in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from ava.config.implied import with_mtp
from ava.config.roster import Terms
from ava.errors import ArgumentTypeError
from ava.terms.base import Section, Term
from ava.terms.main_loss import PrimaryLoss

if TYPE_CHECKING:
    from ava.config.change import Change
    from ava.load import Source
    from ava.load.overrides import Overrides

__all__ = ["VERSION", "Compile", "Config", "Model", "Reduction", "Targets"]

VERSION = 1

Count = Annotated[int, Field(ge=1)]
TokenId = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


def _switch(value: object) -> object:
    if isinstance(value, bool) or value == "auto":
        return value
    raise PydanticCustomError("wrong_type", "expected `true`, `false` or `auto`")


def _count_or_auto(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        raise PydanticCustomError("out_of_range", "expected at least 1")
    raise PydanticCustomError("wrong_type", "expected an integer or `auto`")


class Model(Section):
    """What the loss has to know of the model. Whatever a run needs and the file lacks comes from the caller."""

    vocab_size: Count | None = Field(
        default=None, description="Tokens of the vocabulary; by default, the logits' width."
    )
    padded_vocab_size: Count | None = Field(
        default=None, description="Width of the logits where it is larger than the vocabulary; the rest takes no part."
    )
    hidden_size: Count | None = Field(default=None, description="Width of the hidden states.")
    eos_token_id: TokenId | None = Field(default=None, description="The token that ends a document.")
    pad_token_id: TokenId | None = Field(
        default=None, description="The token that fills a row; as a target it is ignored, unless it is the EOS token."
    )
    ignore_index: int = Field(default=-100, description="The target that marks a position as not valid.")
    num_experts: Count | None = Field(default=None, description="Experts of a mixture-of-experts layer.")
    top_k: Count = Field(default=2, description="Experts that the router picks for a token.")
    logit_scale: Positive = Field(default=1.0, description="Factor of the logits where the loss does the head itself.")
    logit_softcap: Positive | None = Field(
        default=None, description="`c` of `c·tanh(x/c)` on the logits where the loss does the head itself."
    )


class Targets(Section):
    """How targets lie against the logits."""

    shift: bool = Field(default=False, description="Whether position `t` predicts the target at `t + 1`.")


class Reduction(Section):
    """What the loss is divided by, and when a step ends."""

    across: Literal["none", "data_parallel"] = Field(
        default="none", description="Whether the valid positions are counted over all data-parallel ranks."
    )
    gradient_accumulation_steps: Count = Field(default=1, description="Forward passes of an optimizer step.")


class Compile(Section):
    """How the loss is compiled."""

    enabled: Annotated[Literal[True, False, "auto"], BeforeValidator(_switch)] = Field(
        default="auto", description="Whether to compile; `auto` falls back to eager where compiling fails."
    )
    backend: Literal["inductor", "aot_eager", "eager"] = Field(
        default="inductor", description="Backend of the compiler."
    )
    mode: Literal["default", "reduce-overhead", "max-autotune"] = Field(
        default="default", description="Mode of the compiler."
    )
    chunk_tokens: Annotated[Count | Literal["auto"], BeforeValidator(_count_or_auto)] = Field(
        default="auto", description="Rows of logits that exist at a time where the loss does the head itself."
    )
    checks: Literal["off", "cheap", "full"] = Field(
        default="cheap", description="How closely a call's tensors are looked at."
    )


class Config(Section):
    """A loss, completely described: sections of the configuration language, with defaults filled in.

    :meth:`load` is the way to get one; it reports every mistake with its place. Equal configurations hash equal,
    whatever file they came from.

    >>> config = Config.load({"version": 1, "terms": {"z_loss": {}}}, vocab_size=50257)
    >>> [term.name for term in config.enabled], config.model.vocab_size
    (['z_loss'], 50257)
    """

    version: Literal[1] = Field(default=1, description="Version of the configuration language.")
    description: str = Field(
        default="", description="What this configuration is for; its first line names it in lists."
    )
    model: Model = Field(default_factory=Model)
    targets: Targets = Field(default_factory=Targets)
    primary: PrimaryLoss = Field(default_factory=PrimaryLoss)
    terms: Terms = Field(default_factory=Terms)
    balancing: Literal["fixed", "uncertainty"] = Field(
        default="fixed", description="Whether the terms' weights are as given, or also scaled by learned uncertainties."
    )
    reduction: Reduction = Field(default_factory=Reduction)
    compile: Compile = Field(default_factory=Compile)

    _source: Source | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _add_mtp(cls, data: Any) -> Any:
        """``primary.type: adaptive_mtp`` brings ``mtp_loss`` with ``weighting: adaptive``."""
        return with_mtp(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _agree(self, info: ValidationInfo) -> Self:
        from ava.config.conflicts import conflicts

        if not (info.context or {}).get("partial"):
            found = "; ".join(conflict.message for conflict in conflicts(self))
            if found:
                raise PydanticCustomError("conflict", "{found}", {"found": found})
        return self

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any] | Config,
        *,
        overrides: Overrides | None = None,
        preset_path: Sequence[str | os.PathLike[str]] = (),
        **model: Any,
    ) -> Config:
        """Return the configuration that ``source`` describes: a preset's name, a path, a mapping, or a ``Config``.

        ``overrides`` lie on top of it (``{"terms.z_loss.weight": 1e-4}``); keywords fill the fields of ``model``
        that it leaves open.

        Raises:
            ConfigError: what the source contains is wrong; it holds all findings.
            SourceError: there is nothing to read.
            ArgumentTypeError, ArgumentValueError: a keyword that does not exist, or contradicts the source.
        """
        from ava.config.load import load_config

        return load_config(source, overrides=overrides, preset_path=preset_path, model=model)

    @property
    def enabled(self) -> tuple[Term, ...]:
        """The terms that are on, in the order of the roster."""
        return self.terms.enabled

    @property
    def source(self) -> Source | None:
        """Where each value was set, or None for a configuration made in Python. No part of equality."""
        return self._source

    def to_dict(self) -> dict[str, Any]:
        """Return every field with its value, as plain dicts, lists and scalars; terms that are off are left out."""
        from ava.config.write import to_dict

        return to_dict(self)

    def to_yaml(self) -> str:
        """Return the shortest YAML file that loads as an equal configuration."""
        from ava.config.write import to_yaml

        return to_yaml(self)

    def diff(self, other: Config) -> tuple[Change, ...]:
        """Return what changes from this configuration to ``other``, each change with its class, worst first.

        >>> config = Config.load("standard")
        >>> [change.class_ for change in config.diff(Config.load(config, overrides={"terms.ngram_penalty.size": 3}))]
        ['objective']
        """
        if not isinstance(other, Config):
            raise ArgumentTypeError(f"diff takes an `ava.Config`, not {type(other).__name__}; see `Config.load`.")
        changes: tuple[Change, ...] = import_module("ava.plan.diff").diff(self, other)  # stands above: bound late
        return changes

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if isinstance(other, Config) else NotImplemented

    def __hash__(self) -> int:
        return hash((*self.__dict__.values(), *self.enabled))
