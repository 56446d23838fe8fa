"""The page of training logs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ava.report.axis import Axis, steps_axis, values_axis
from ava.report.chart import Line, Mark, line_chart
from ava.report.figures import findings_list
from ava.report.html import Child, Html, breakable, element, prose
from ava.report.log.marks import ENOUGH, FACTOR, GAP, WINDOW, segments
from ava.report.log.read import Run
from ava.report.log.sample import chosen, thin
from ava.report.log.study import Panel, Study, panels
from ava.report.log.words import described, events, group_word, letter
from ava.report.numbers import count, number, percent, plural
from ava.report.page import Part, render
from ava.report.tables import details, table

__all__ = ["log_page"]

_POINTS = 900_000  # bytes of the file that lines may take, about; and so on
_ROWS = 400_000
_SIGNS = 300_000


def log_page(runs: Sequence[Run], title: str | None = None) -> str:
    """Return the page of one or several runs."""
    shown = panels(runs)
    book = _Book(runs, shown)
    name = title or (f"Training log {runs[0].name}" if len(runs) == 1 else f"{len(runs)} training runs")
    parts = [Part("runs", "Runs", _runs(runs))]
    broken = [finding for run in runs for finding in run.findings]
    hidden = sum(run.broken for run in runs) - sum(len(run.findings) for run in runs)
    if broken:
        more = [element("p", f"… and {plural(hidden, 'more line')}.")] if hidden > 0 else []
        parts.append(Part("lines", "Lines that could not be used", [findings_list(broken), more]))
    if shown:
        parts.append(Part("events", "What stands out", _events(shown, runs)))
        parts.append(Part("summary", "Summary", _summary(shown, runs)))
        parts += book.parts()
        parts.append(Part("reading", "How to read this", _reading()))
    else:
        parts.append(Part("empty", "Nothing to show", element("p", "No line of the log holds a value yet.")))
    return render(name, _lead(runs), parts)


def _lead(runs: Sequence[Run]) -> Html:
    steps = [step for run in runs for step in (run.first, run.last) if step is not None]
    records = sum(run.records for run in runs)
    text = plural(records, "record")
    if steps:
        text += f", steps {count(min(steps))} to {count(max(steps))}"
    return element("p", f"{text}. Every term of the loss over the steps, weighted and raw.", class_="lead")


def _events(shown: Sequence[Panel], runs: Sequence[Run]) -> Child:
    if len(runs) == 1:
        return events(shown, 0)
    return [
        [element("h3", f"{letter(index)} · {run.name}"), events(shown, index)]
        for index, run in enumerate(runs)
        if run.series
    ]


def _runs(runs: Sequence[Run]) -> Html:
    def row(index: int, run: Run) -> list[Child]:
        swatch = element(
            "svg",
            element("title", f"The line of run {letter(index)}"),
            element("desc", "A sample of its colour and dashes."),
            element("g", element("path", class_="values", d="M0,6H36"), class_=f"line dash-{index % 4}"),
            viewBox="0 0 36 12",
            role="img",
            class_=f"swatch tone-{index % 6}",
        )
        resumed = ", ".join(map(count, run.resumed[:5])) + (" …" if len(run.resumed) > 5 else "")
        return [
            *([[swatch, letter(index)]] if len(runs) > 1 else []),
            element("code", run.path),
            f"{run.records:,}",
            "–" if run.first is None or run.last is None else f"{count(run.first)}\u00a0–\u00a0{count(run.last)}",
            f"at step {resumed}" if run.resumed else "–",
            f"{run.broken:,}" if run.broken else "–",
        ]

    heads = [*(["run"] if len(runs) > 1 else []), "log", "records", "steps", "resumed", "lines not used"]
    right = (len(heads) - 4, len(heads) - 1)
    return table("Runs", heads, [row(*item) for item in enumerate(runs)], right=right, class_="runs")


def _summary(shown: Sequence[Panel], runs: Sequence[Run]) -> Child:
    several = len(runs) > 1
    totals = {study.index: study for panel in shown if panel.place.group == "total" for study in panel.studies}

    def row(panel: Panel, study: Study) -> list[Child]:
        ends = [number(study.finite[0]), number(study.finite[-1])] if study.finite else ["–", "–"]
        low, high = study.lowest, study.highest
        total = totals.get(study.index)
        share = None
        if panel.place.group == "weighted" and total is not None and study.finite and total.finite and total.finite[-1]:
            share = study.finite[-1] / total.finite[-1]
        return [
            breakable(panel.key),
            *([letter(study.index)] if several else []),
            *ends,
            *(f"{number(item[0])} @ {count(item[1])}" if item else "–" for item in (low, high)),
            percent(share),
            f"{len(study.spikes):,}" if panel.place.spiky else "–",
            f"{study.missing:,}",
        ]

    heads = ["value", *(["run"] if several else []), "first", "last", "lowest @ step", "highest @ step"]
    heads += ["last share of total", "spikes", "not finite"]
    ordered = sorted(shown, key=lambda panel: _GROUPS.index(panel.place.group))
    rows = [row(panel, study) for panel in ordered for study in panel.studies]
    return table("Summary of every value", heads, rows, right=range(2 if several else 1, len(heads)))


class _Book:
    """The charts, all with the same axis of steps; how much each may say depends on how many there are."""

    def __init__(self, runs: Sequence[Run], shown: Sequence[Panel]) -> None:
        self.shown, self.several = shown, len(runs) > 1
        steps = [step for run in runs for step in (run.first, run.last) if step is not None]
        self.across: Axis = steps_axis(min(steps), max(steps)) if steps else steps_axis(0, 0)
        lines = max(sum(len(panel.studies) for panel in shown), 1)
        self.columns = min(max(_POINTS // (lines * 30), 50), 400)
        self.signs = min(max(_SIGNS // (lines * 250), 3), 30)
        self.rows = min(max(_ROWS // ((lines + len(shown)) * 45), 6), 40)

    def parts(self) -> list[Part]:
        """Return the sections that have charts."""
        of = {group: [panel for panel in self.shown if panel.place.group == group] for group in _GROUPS}
        found = []
        if of["total"]:
            charts = element("div", [self.chart(panel, wide=True) for panel in of["total"]])
            found.append(Part("total", "Total loss", charts))
        if of["weighted"] or of["raw"]:
            found.append(Part("terms", "Terms", self.terms([*of["weighted"], *of["raw"]])))
        for group, title in (("metrics", "Metrics"), ("other", "Other values")):
            if of[group]:
                charts = element("div", [self.chart(panel) for panel in of[group]], class_="charts")
                found.append(Part(group, title, charts))
        return found

    def terms(self, found: Sequence[Panel]) -> list[Html]:
        """Return each term with its two charts, what it adds to the total and its value before the weight."""
        order = {title: index for index, title in enumerate(dict.fromkeys(panel.place.title for panel in found))}
        found = sorted(found, key=lambda panel: order[panel.place.title])
        return [
            element(
                "div",
                element("h3", breakable(title)),
                element("div", [self.chart(panel, half=True) for panel in members], class_="pair"),
                class_="term",
            )
            for title, members in groupby(found, lambda panel: panel.place.title)
        ]

    def chart(self, panel: Panel, *, wide: bool = False, half: bool = False) -> Html:
        """Return the chart of one value, with its table."""
        up = values_axis([value for study in panel.studies for value in study.finite])
        title = {"weighted": "weighted", "raw": "raw"}[panel.place.group] if half else panel.place.title
        figure = line_chart(
            title,
            f"{panel.place.title}{group_word(panel)} over the steps",
            [self.line(study) for study in panel.studies],
            self.across,
            up,
            described(panel, self.several),
            level=4 if half else 3,
            more=self.table(panel),
        )
        return element("div", figure, class_="wide") if wide else figure

    def line(self, study: Study) -> Line:
        """Return one run's line: thinned, with its largest spikes and what is not finite."""
        steps, values = study.series.steps, study.series.values
        peaks = sorted((spike.peak for spike in study.spikes), key=values.__getitem__, reverse=True)[: self.signs]
        marks = [Mark("spike", steps[index], values[index]) for index in sorted(peaks)]
        stretches = sorted(study.lost, key=lambda ends: ends[0] - ends[1])[: self.signs]
        marks += [Mark("missing", steps[a], None, steps[b]) for a, b in sorted(stretches)]
        marks += [Mark("resumed", step) for step in study.run.resumed[-self.signs :]]
        return Line(
            study.run.name,
            [thin(steps, values, part, self.across, self.columns) for part in segments(steps, values)],
            letter(study.index) if self.several else "",
            study.index,
            study.trend(self.columns // 2),
            marks,
        )

    def head(self, study: Study) -> Child:
        """Return what heads a run's column: its letter, and its name for those who do not see the others."""
        return (
            [letter(study.index), element("span", f" {study.run.name}", class_="unseen")] if self.several else "value"
        )

    def table(self, panel: Panel) -> Html:
        """Return some of the steps with their values, the marked ones among them."""
        every = sorted({step for study in panel.studies for step in study.series.steps})
        marked = {study.series.steps[spike.peak] for study in panel.studies for spike in study.spikes}
        marked |= {study.series.steps[index] for study in panel.studies for ends in study.lost for index in ends}
        some = chosen(every, marked, self.rows)
        known = [dict(zip(study.series.steps, study.series.values, strict=True)) for study in panel.studies]
        name = f"{panel.place.title}{group_word(panel)}"
        heads = [
            "step",
            *(self.head(study) for study in panel.studies),
        ]
        rows = [[count(step), *(number(values.get(step)) for values in known)] for step in some]
        which = (
            f"{len(some):,} of {plural(len(every), 'step')}" if len(some) < len(every) else plural(len(every), "step")
        )
        return details(
            ["Values", element("span", f" of {name}", class_="unseen"), f", {which}"],
            table(f"{name}: {which}", heads, rows, right=range(len(heads))),
        )


_GROUPS = ("total", "weighted", "raw", "metrics", "other")


def _reading() -> list[Html]:
    sentences = [
        f"▲ marks a spike: a value more than {FACTOR:g} robust standard deviations above the median of the {WINDOW} "
        f"finite values before it (at least {ENOUGH}). The robust standard deviation is 1.4826 times the median "
        "absolute deviation; where that is zero, 1.2533 times the mean absolute deviation. Neighbouring spikes count "
        "as one. Only losses, perplexity, expert load and the gradient norm are searched for spikes.",
        "× marks where a value was null, NaN or infinite; the stretch is shaded. ↺ marks where a run went back to an "
        "earlier step; what it had logged from there on is replaced.",
        f"The line is broken where a value is not finite, and where {GAP:g} times the usual number of steps passed "
        "without one. From a hundred values on, the strong line is the running median.",
        "A long run is drawn by the lowest and the highest value of each column of the picture, so that no spike is "
        "lost. A chart whose largest value is thirty times its median is logarithmic, and says so.",
    ]
    return [element("p", prose(sentence)) for sentence in sentences]
