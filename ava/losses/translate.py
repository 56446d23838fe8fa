"""Flat keywords → a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ava.errors import ArgumentValueError
from ava.losses.keywords import DEFAULTS, PLACES, WORDS, check
from ava.terms.base import Section

__all__ = ["Translation", "translate"]

_SWITCHES = {  # of the terms that have one switch and one weight each
    "use_mtp": "mtp_weight",
    "use_ngram_penalty": "ngram_penalty_weight",
    "use_immediate_repetition_penalty": "immediate_repetition_weight",
    "use_focal_loss": "focal_weight",
    "use_contrastive_loss": "contrastive_weight",
}
_SKIP = {"if_missing": "skip"}  # the tensors of a mixture may be absent from a call


@dataclass(frozen=True, slots=True)
class Translation:
    """Flat keywords, understood.

    Attributes:
        values: every keyword with its value, given or default; a switch says whether its term is on.
        document: the configuration as plain data, without what is default; ``Config.load`` takes it.
        notes: sentences on keywords that were given and change nothing.
    """

    values: dict[str, Any]
    document: dict[str, Any]
    notes: tuple[str, ...]


def translate(keywords: Mapping[str, Any]) -> Translation:
    """Return the configuration that flat keywords of ``UnifiedLoss`` describe.

    A term is on if its switch says so; where the switch is not given, if its weight is given and not 0.

    >>> translate({"vocab_size": 50257, "use_ngram_penalty": True, "ngram_window_size": 30}).document["terms"]
    {'ngram_penalty': {'window': 30}}

    Raises:
        ArgumentTypeError: a keyword that does not exist, or of the wrong type.
        ArgumentValueError: a value out of range, or two keywords that contradict each other.
    """
    given = check(keywords)
    document: dict[str, Any] = {"version": 1}
    sections = {"model": _at(given, "model"), "primary": _primary(given), "terms": _terms(given)}
    document.update((name, section) for name, section in sections.items() if section)
    values = {**DEFAULTS, **given}
    on = sections["terms"]
    for switch in _SWITCHES:
        values[switch] = given.get(switch, PLACES[switch].removeprefix("terms.") in on)
    values["use_diversity_loss"] = bool(on.keys() & {"token_diversity_loss", "expert_diversity_loss"})
    halves = {"load_balancing_weight": _switch_balancing(on), "router_z_weight": "router_z_loss" in on}
    values["use_auxiliary_loss"] = given.get("use_auxiliary_loss", any(halves.values()))
    if values["use_auxiliary_loss"]:
        values.update((weight, 0.0) for weight, half in halves.items() if not half)
    values["use_moe_balancing"] = "moe_balance_loss" in on and not _switch_balancing(on)
    if values["primary_loss_type"] == "adaptive_mtp":
        values["mtp_type"] = "adaptive"
    return Translation(values, document, tuple(_notes(given, on, sections["primary"])))


def _at(given: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Return the given fields of one section, under the names that they have there."""
    fields: dict[str, Any] = {}
    for keyword, value in given.items():
        above, _, field = PLACES[keyword].rpartition(".")
        if above == section:
            fields[field] = WORDS[keyword][value] if keyword in WORDS else _data(value)
    return fields


def _data(value: Any) -> Any:
    if isinstance(value, Section):  # a schedule in place of a weight
        return value.model_dump(by_alias=True)
    return list(value) if isinstance(value, tuple) else value


def _primary(given: Mapping[str, Any]) -> dict[str, Any]:
    kind = given.get("primary_loss_type", DEFAULTS["primary_loss_type"])
    primary = {**_at(given, "primary"), "type": kind}
    if kind == "deepseek":
        temperature = _at(given, "primary.temperature")
        return {**primary, "temperature": temperature} if temperature else primary
    for keyword in ("initial_temperature", "adaptive_temperature"):
        if given.get(keyword, DEFAULTS[keyword]) != DEFAULTS[keyword]:
            raise ArgumentValueError(
                f"`{keyword}`: `primary_loss_type='{kind}'` has no temperature; use `primary_loss_type='deepseek'`, "
                f"or leave `{keyword}` out."
            )
    return primary


def _terms(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    terms: dict[str, dict[str, Any]] = {}
    for switch, weight in _SWITCHES.items():
        if _on(given, switch, weight):
            place = PLACES[switch]
            terms[place.removeprefix("terms.")] = _at(given, place)
    if given.get("primary_loss_type") == "adaptive_mtp":
        if given.get("mtp_type") == "deepseek":
            raise ArgumentValueError(
                "`mtp_type='deepseek'` weighs every position alike, `primary_loss_type='adaptive_mtp'` by confidence; "
                "leave `mtp_type` out, or use `primary_loss_type='standard', use_mtp=True`."
            )
        terms["mtp_loss"] = _at(given, "terms.mtp_loss")
    if given.get("eos_token_id") is not None and given.get("eos_penalty_weight", DEFAULTS["eos_penalty_weight"]):
        terms["eos_penalty"] = _at(given, "terms.eos_penalty")
    if _on(given, "use_diversity_loss", "diversity_weight"):
        weight_given = _renamed(given, diversity_weight="weight")
        if "num_experts" in given:
            terms["expert_diversity_loss"] = {**weight_given, **_SKIP}
        else:
            terms["token_diversity_loss"] = weight_given
    terms.update(_experts(given))
    return terms


def _experts(given: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what balances a mixture: by gradient, or the Switch Transformer's auxiliary loss; and the router z-loss.

    An auxiliary weight of 0 leaves that half of ``use_auxiliary_loss`` out.
    """
    gradient = _on(given, "use_moe_balancing", "gradient_balance_weight")
    switch = _half(given, "load_balancing_weight")
    usage = _renamed(given, target_expert_usage="target_expert_usage")
    if gradient and switch:
        raise ArgumentValueError(
            "`use_moe_balancing` and `use_auxiliary_loss` both balance the load of the experts, the one by gradient, "
            "the other by the Switch Transformer's loss; leave one out, or keep the router z-loss alone of the latter "
            "with `load_balancing_weight=0`."
        )
    if gradient:
        yield "moe_balance_loss", {**_renamed(given, gradient_balance_weight="weight"), **usage, **_SKIP}
    if switch:
        weight = _renamed(given, load_balancing_weight="weight")
        yield "moe_balance_loss", {"method": "switch", **weight, **usage, **_SKIP}
    if _half(given, "router_z_weight"):
        yield "router_z_loss", {**_renamed(given, router_z_weight="weight"), **_SKIP}


def _on(given: Mapping[str, Any], switch: str, weight: str) -> bool:
    asked = given.get(switch)
    return bool(given.get(weight)) if asked is None else asked


def _half(given: Mapping[str, Any], weight: str) -> bool:
    return _on(given, "use_auxiliary_loss", weight) and bool(given.get(weight, DEFAULTS[weight]))


def _renamed(given: Mapping[str, Any], **names: str) -> dict[str, Any]:
    return {field: _data(given[keyword]) for keyword, field in names.items() if keyword in given}


def _switch_balancing(terms: Mapping[str, Mapping[str, Any]]) -> bool:
    return terms.get("moe_balance_loss", {}).get("method") == "switch"


def _notes(given: Mapping[str, Any], terms: Mapping[str, Any], primary: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each group of keywords that say something other than the default, to no effect.

    Whoever switches a term off by name has said so; those are left alone.
    """
    telling = {keyword for keyword, value in given.items() if value and value != DEFAULTS[keyword]}

    def idle(keywords: Iterable[str], without: str) -> Iterator[str]:
        names = [f"`{keyword}`" for keyword in PLACES if keyword in telling and keyword in set(keywords)]
        if names:
            yield f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'} no effect without {without}."

    for switch in (*_SWITCHES, "use_moe_balancing"):
        term = PLACES[switch].removeprefix("terms.")
        if term not in terms and given.get(switch) is None:
            fields = [name for name in PLACES if PLACES[name].startswith(f"{PLACES[switch]}.")]
            yield from idle(fields, f"`{switch}=True`")
    if "eos_token_id" not in given:
        yield from idle(("eos_penalty_weight", "min_sequence_length"), "`eos_token_id`")
    mtp = terms.get("mtp_loss")
    if mtp is not None and primary["type"] != "adaptive_mtp" and "mtp_type" not in given:
        yield from idle(("adaptive_threshold", "adaptive_weight_range"), "`mtp_type='adaptive'`")
    if "adaptive_temperature" not in given:
        yield from idle(("temperature_bounds",), "`adaptive_temperature=True`")
