"""Flat keywords → the text of a configuration, whose comments say which keyword became what."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ava.config.write import MODELINE, flow
from ava.losses.keywords import PLACES, WORDS
from ava.losses.translate import Translation

__all__ = ["left_out", "rewrite"]

_WIDTH = 100  # columns of a line with its comment, before a mapping is written over several lines
_SKIP = "a call without its tensors skips it, as before"
_SWITCHES = {  # the keywords that need a switch, by the place that they share with it
    PLACES[keyword]: keyword for keyword in PLACES if keyword.startswith("use_")
}


def rewrite(given: Mapping[str, Any], translation: Translation, origin: str, more: Iterable[str] = ()) -> str:
    """Return the text of the configuration.

    Args:
        given: the keywords as they were written, without those that are null.
        translation: what they mean.
        origin: where they came from, in words for the first comment.
        more: further sentences to begin with.
    """
    head = [f"From {origin}, by `ava-loss migrate`.", *more, *left_out(given, translation)]
    lines = [MODELINE, *(f"# {line}" for sentence in head for line in _wrapped(sentence))]
    document = translation.document
    for name, section in document.items():
        if not isinstance(section, dict):
            lines.append(f"{name}: {flow(section)}")
            continue
        lines += ["", f"{name}:"]
        for key, value in section.items():
            lines += _entry((name, key), value, given, document, "  ")
    return "\n".join(lines) + "\n"


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, 98, break_long_words=False, break_on_hyphens=False, subsequent_indent="  ")


def _entry(
    path: tuple[str, ...], value: Any, given: Mapping[str, Any], document: Mapping[str, Any], indent: str
) -> Iterator[str]:
    """Yield the lines of one key: on one line with what it was, or a line for each of its own."""
    key = path[-1]
    comment = _comment(path, value, given, document)
    line = f"{indent}{key}: {flow(value)}" + (f"  # {comment}" if comment else "")
    if not isinstance(value, dict) or not value or len(line) <= _WIDTH or "steps" in value:
        yield line
        return
    own = _comment(path, {}, given, document)
    yield f"{indent}{key}:" + (f"  # {own}" if own else "")
    for inner, item in value.items():
        yield from _entry((*path, inner), item, given, document, indent + "  ")


def _comment(path: tuple[str, ...], value: Any, given: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Return what the key at ``path``, and those inside its value, were before; nothing where the names say it."""
    dotted = ".".join(path)
    inside = [f"{dotted}.{key}" for key in value] if isinstance(value, dict) else []
    here = {dotted, *inside}
    was = [
        f"{keyword}: {flow(given[keyword])}" if keyword in WORDS else keyword
        for keyword in given
        if here & set(_places(keyword)) and _said(keyword, here) and _carried(keyword, given, document)
        if keyword != "use_auxiliary_loss" or path[1] == "router_z_loss" or _balances(document) == "switch"
    ]
    parts = [f"was {', '.join(was)}"] if was else []
    if dotted == "primary.type" and "primary_loss_type" not in given:
        parts.append("the default of UnifiedLoss")
    if dotted == "terms.eos_penalty" and not {"eos_penalty_weight", "min_sequence_length"} & given.keys():
        parts.append("on with `eos_token_id`, as in UnifiedLoss")
    if path[-1] == "if_missing" or (isinstance(value, dict) and "if_missing" in value):
        parts.append(_SKIP)
    return "; ".join(parts)


def _said(keyword: str, here: set[str]) -> bool:
    """Return whether there is something to say: the name or the value is another, and a switch is on."""
    return keyword in WORDS or any(place in here and place.rpartition(".")[2] != keyword for place in _places(keyword))


def _places(keyword: str) -> list[str]:
    return re.split("` (?:or|and) `", PLACES[keyword])


def _at(document: Mapping[str, Any], place: str) -> Any:
    """Return what stands at ``place``, or None."""
    found: Any = document
    for step in place.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _balances(document: Mapping[str, Any]) -> Any:
    return _at(document, "terms.moe_balance_loss.method")


def _carried(keyword: str, given: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Return whether the new document says what the keyword said; for a switch that is off, by lacking its term."""
    places = _places(keyword)
    switch_method = _balances(document) == "switch"
    if keyword in ("use_moe_balancing", "gradient_balance_weight") and switch_method:
        return given[keyword] is False
    if keyword == "load_balancing_weight" and not switch_method:
        return False
    if keyword == "use_auxiliary_loss":
        on = switch_method or _at(document, "terms.router_z_loss") is not None
    else:
        on = any(_at(document, place) is not None for place in places)
    return on == given[keyword] if keyword.startswith("use_") else on


def left_out(given: Mapping[str, Any], translation: Translation) -> list[str]:
    """Return a sentence for each reason for which keywords are not in the document, or change nothing there."""
    document = translation.document
    missing = [keyword for keyword in given if not _carried(keyword, given, document)]
    reasons: dict[str, list[str]] = {}
    for keyword in missing:
        reasons.setdefault(_reason(keyword, given, translation), []).append(
            f"`{keyword}: {flow(_plain(given[keyword]))}`"
        )
    said = [f"Left out: {', '.join(keywords)}; {reason}." for reason, keywords in reasons.items()]
    notes = [note for note in translation.notes if not any(f"`{keyword}`" in note for keyword in missing)]
    words = [re.sub(r"`(\w+)=('?)(\w+)\2`", lambda found: f"`{found[1]}: {found[3].lower()}`", note) for note in notes]
    return [*said, *words, *_idle(given, document)]


def _idle(given: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for what is in the document and has no effect, since another keyword says so."""
    adaptive = _at(document, "terms.mtp_loss.weighting") == "adaptive"
    if "mtp_type" in given and not adaptive and _at(document, "terms.mtp_loss") is not None:
        for keyword in ("adaptive_threshold", "adaptive_weight_range"):
            if keyword in given:
                yield f"`{keyword}` has no effect with `mtp_type: {given['mtp_type']}`."
    if given.get("adaptive_temperature") is False and _at(document, "primary.temperature.bounds") is not None:
        yield "`temperature_bounds` has no effect with `adaptive_temperature: false`."


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _reason(keyword: str, given: Mapping[str, Any], translation: Translation) -> str:
    document, place = translation.document, _places(keyword)[0]
    if keyword == "use_mtp":
        return "`primary_loss_type: adaptive_mtp` predicts future tokens all the same"
    if place.startswith("primary.temperature"):
        return f"`primary_loss_type: {document['primary']['type']}` has no temperature"
    if place.startswith("terms.eos_penalty"):
        if given.get("eos_token_id") is None:
            return "there is no `eos_token_id`, which the penalty needs"
        return "`eos_penalty_weight: 0` switches the penalty off"
    if keyword in ("load_balancing_weight", "router_z_weight", "use_auxiliary_loss"):
        return _because("use_auxiliary_loss", keyword, given)
    if keyword in ("diversity_weight", "use_diversity_loss"):
        return _because("use_diversity_loss", keyword, given)
    return _because(_SWITCHES[place.rpartition(".")[0] if place not in _SWITCHES else place], keyword, given)


def _because(switch: str, keyword: str, given: Mapping[str, Any]) -> str:
    """Return why what ``switch`` is for is off although ``keyword`` is there."""
    if given.get(switch) is False:
        return f"`{switch}: false` switches the term off"
    if keyword == switch:
        return "both of its weights are 0"
    if keyword.endswith("weight") and not given[keyword]:
        return "a weight of 0 leaves that out"
    return f"without `{switch}: true` nothing reads that"
