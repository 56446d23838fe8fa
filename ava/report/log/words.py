"""What a training log's pictures say, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ava.report.html import Html, code, element
from ava.report.log.study import Panel, Study
from ava.report.numbers import count, number, plural

__all__ = ["described", "events", "group_word", "letter"]

_FEW = 5
_MANY = 12


def letter(index: int) -> str:
    """Return the letter of a run: A to Z, then A2 and so on."""
    return chr(ord("A") + index % 26) + (str(index // 26 + 1) if index >= 26 else "")


def group_word(panel: Panel) -> str:
    """Return what tells a term's two values apart: `` (weighted)``, `` (raw)``; nothing for others."""
    return f" ({panel.place.group})" if panel.place.group in ("weighted", "raw") else ""


def described(panel: Panel, several: bool) -> str:
    """Return what a chart shows, run by run."""
    return " ".join(_study(study, several) for study in panel.studies) or "No values."


def _study(study: Study, several: bool) -> str:
    who = f"Run {letter(study.index)}, {study.run.name}: " if several else ""
    steps, values = study.series.steps, study.series.values
    text = f"{who}{plural(len(values), 'value')} from step {count(steps[0])} to {count(steps[-1])}"
    if study.lowest and study.highest:
        text += (
            f", first {number(study.finite[0])}, last {number(study.finite[-1])}"
            f", lowest {number(study.lowest[0])} at step {count(study.lowest[1])}"
            f", highest {number(study.highest[0])} at step {count(study.highest[1])}"
        )
    text += "."
    if study.spikes:
        peaks = _listed([count(steps[spike.peak]) for spike in study.spikes])
        text += f" {plural(len(study.spikes), 'spike').capitalize()}, at {peaks}."
    if study.lost:
        text += f" Not finite at {_stretches(study)}."
    if study.run.resumed:
        text += f" Resumed at {_listed(list(map(count, study.run.resumed)))}."
    return text


def _stretches(study: Study) -> str:
    steps = study.series.steps
    return _listed(
        [_between(steps[a], steps[b]) for a, b in study.lost],
    )


def _listed(words: Sequence[str]) -> str:
    """Return ``step 1``, or ``steps 1, 2, 3 and 7 more``."""
    shown = list(words[:_FEW])
    rest = len(words) - len(shown)
    if rest:
        return f"steps {', '.join(shown)} and {rest} more"
    if len(shown) == 1:
        return f"{'steps' if ' to ' in shown[0] else 'step'} {shown[0]}"
    return f"steps {', '.join(shown[:-1])} and {shown[-1]}"


def events(panels: Sequence[Panel], run: int) -> Html:
    """Return what stands out in a run: where it was not finite, its spikes, where it was resumed."""
    mine = [(panel, study) for panel in panels for study in panel.studies if study.index == run]
    items = [*_not_finite(mine), *_spikes(mine)]
    resumed = [study.run.resumed for _, study in mine[:1] if study.run.resumed]
    for steps in resumed:
        text = f" at {_listed(list(map(count, steps)))}: what had been logged from there on is replaced."
        items.append(_item("info", "Resumed", text))
    good = _item("good", "Nothing:", " every value is finite, and none stands out.")
    return element("ul", items or [good], class_="findings")


def _not_finite(mine: Sequence[tuple[Panel, Study]]) -> list[Html]:
    bad = [(study.series.steps[study.lost[0][0]], panel, study) for panel, study in mine if study.lost]
    if not bad:
        return []
    first = min(step for step, _, _ in bad)
    names = [panel.key for step, panel, _ in bad if step == first]
    worst = max(study.missing for _, _, study in bad)
    text = [f" first at step {count(first)}: ", *_names(names), f". {plural(worst, 'step')} in all."]
    later = [panel.key for step, panel, _ in bad if step > first]
    if later:
        text += [" Later also ", *_names(later), "."]
    return [_item("error", "Not finite", text)]


def _names(keys: Sequence[str]) -> list[Html | str]:
    shown: list[Html | str] = []
    for index, key in enumerate(keys[:_FEW]):
        shown += [", " if index else "", code(key)]
    return [*shown, f" and {len(keys) - _FEW} more"] if len(keys) > _FEW else shown


@dataclass
class _Event:
    """Spikes of several values that overlap."""

    start: float
    stop: float
    keys: list[str]
    told: str


def _spikes(mine: Sequence[tuple[Panel, Study]]) -> list[Html]:
    """Return an item for every stretch of steps in which values spike together, in the order of the steps."""
    found: list[_Event] = []
    spans = [
        (study.series.steps[spike.start], study.series.steps[spike.stop - 1], panel, study, spike)
        for panel, study in mine
        for spike in study.spikes
    ]
    for start, stop, panel, study, spike in sorted(spans, key=lambda span: span[0]):
        if not found or start > found[-1].stop:
            found.append(_Event(start, stop, [], ""))
        event = found[-1]
        event.stop = max(event.stop, stop)
        event.keys.append(panel.key)
        if panel.place.group == "total":
            event.told = f"; the total rises to {number(study.series.values[spike.peak])}"
    worst = sorted(found, key=lambda event: (not event.told, -len(event.keys)))[:_MANY]
    items = [
        _item(
            "warning",
            f"Spike at {_listed([_between(event.start, event.stop)])}",
            [": ", *_names(list(dict.fromkeys(event.keys))), f"{event.told}."],
        )
        for event in sorted(worst, key=lambda event: event.start)
    ]
    if len(found) > _MANY:
        items.append(
            _item("warning", f"{len(found) - _MANY} more", " spikes of fewer values; the summary counts them.")
        )
    return items


def _between(start: float, stop: float) -> str:
    return count(start) if start == stop else f"{count(start)} to {count(stop)}"


def _item(severity: str, word: str, text: Iterable[Html | str] | str) -> Html:
    return element("li", element("strong", word), text, class_=severity)
