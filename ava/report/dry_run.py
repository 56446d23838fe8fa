"""What a dry run measured, as parts of a page."""

from __future__ import annotations

from ava.report.bars import bar
from ava.report.figures import findings_list
from ava.report.heat import heat_map
from ava.report.html import Child, Html, breakable, code, element, prose
from ava.report.measured import DryRun
from ava.report.numbers import bytes_text, count, number, plural, signed
from ava.report.page import Part
from ava.report.tables import table

__all__ = ["dry_run_facts", "dry_run_parts"]


def dry_run_facts(run: DryRun) -> list[tuple[str, Child, Child]]:
    """Return the figures that stand on top of the page."""
    found: list[tuple[str, Child, Child]] = [
        ("measured loss", number(run.total), "finite" if run.finite else "NOT FINITE"),
    ]
    if run.forward_ms is not None and run.backward_ms is not None:
        remark = f"{number(run.forward_ms, 3)} forward, {number(run.backward_ms, 3)} backward"
        found.append(("a step", f"{number(run.forward_ms + run.backward_ms, 3)} ms", remark))
    if run.peak_bytes is not None:
        planned = None if not run.planned_bytes else f"planned {bytes_text(run.planned_bytes)}"
        found.append(("peak memory", bytes_text(run.peak_bytes), planned))
    worst = [finding.severity for finding in run.findings]
    counts = [plural(worst.count(name), name) for name in ("error", "warning") if name in worst]
    found.append(("findings", str(len(worst)), ", ".join(counts) or None))
    return found


def dry_run_parts(run: DryRun) -> list[Part]:
    """Return the findings, the figures of each term, shares as bars, conflicts as a heat map, and the run itself."""
    parts = [Part("findings", "Findings", _findings(run)), Part("measured", "Measured terms", _terms(run))]
    if len(run.matrix) > 1:
        parts.append(Part("conflicts", "Conflicts", _conflicts(run)))
    parts.append(Part("run", "Run", _run(run)))
    return parts


def _findings(run: DryRun) -> Child:
    if run.findings:
        return findings_list(run.findings)
    return element(
        "ul",
        element("li", element("strong", "None:"), " the dry run found nothing to say.", class_="good"),
        class_="findings",
    )


def _terms(run: DryRun) -> Child:
    low = min(0.0, *(min(row.contribution or 0.0, row.gradient_share or 0.0) for row in run.terms.values()), 0.0)
    bars = [
        [
            breakable(name),
            bar(name, "the total", row.contribution, low=low),
            bar(name, "the gradient", row.gradient_share, low=low, tone="other"),
        ]
        for name, row in run.terms.items()
    ]
    figures = [
        [
            breakable(name),
            number(row.raw),
            number(row.weight),
            number(row.weighted),
            number(row.gradient_norm),
            signed(row.cosine_to_main),
        ]
        for name, row in run.terms.items()
    ]
    heads = ("term", "raw", "weight", "weighted", "gradient norm", "cosine with main")
    return [
        table(
            "Shares of the total and of the gradient",
            ("term", "of the total", "of the gradient"),
            bars,
            class_="shares",
        ),
        element("h3", "In numbers"),
        table(
            "Figures of each term", heads, [*figures, ["total", "", "", number(run.total), "", ""]], right=range(1, 6)
        ),
        element(
            "p",
            "Gradients are those of the weighted terms, with respect to all inputs of the call. A dash stands for what "
            "is not finite, or was not measured.",
            class_="note",
        ),
    ]


def _conflicts(run: DryRun) -> list[Html]:
    key = element(
        "p",
        element("span", "−1", element("span", class_="ramp", aria_hidden="true"), "+1"),
        element("span", "−1: takes back what the other does. 0: has nothing to do with it. +1: pulls the same way."),
        class_="key",
    )
    return [
        element("p", "Cosines between the gradients of the terms.", class_="note"),
        heat_map("Cosines between the gradients of the terms", run.matrix),
        key,
    ]


def _run(run: DryRun) -> Child:
    rows: list[list[Child]] = [
        ["preset", code(run.preset)],
        ["engine", run.engine],
        ["finite", "yes" if run.finite else element("strong", "no", class_="error")],
        ["compiled", "yes" if run.compiled else "no"],
        ["graph breaks", count(run.graph_breaks)],
        ["recompiles", count(run.recompiles)],
    ]
    if run.compiled:
        rows.append(["compiling", f"{number(run.compile_seconds, 3)} s"])
        rows.append(["compiled against not compiled", f"{number(run.eager_difference, 3)} relative"])
    if run.forward_ms is not None and run.backward_ms is not None:
        rows.append(["forward", f"{number(run.forward_ms, 3)} ms"])
        rows.append(["backward", f"{number(run.backward_ms, 3)} ms"])
    if run.peak_bytes is not None:
        rows.append(["peak memory above the inputs", bytes_text(run.peak_bytes)])
    if run.planned_bytes is not None:
        rows.append(["memory that the plan expects", bytes_text(run.planned_bytes)])
    notes = element("ul", [element("li", prose(note)) for note in run.notes]) if run.notes else None
    return [table("The run", ("what", "figure"), rows, class_="pairs"), notes]
