"""The figures of a dry run for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ava.cli.formats.markdown import findings_table as findings_markdown
from ava.cli.render.explain import heading, plain_table
from ava.cli.render.explain_markdown import table as markdown_table
from ava.errors import Finding
from ava.numbers import bytes_text, number, percent, signed
from ava.run.dry_run.report import Measured

if TYPE_CHECKING:
    from ava.run.dry_run.ready import Request

__all__ = ["draw_measured", "measured_markdown"]

_TONES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_COSINES = "Cosines between the gradients of the terms: -1 undoes the other, 0 ignores it, 1 is the same."
_LEGEND = (
    "% total, % grad: the term's share of the total, and of the gradients with respect to the inputs. "
    "cos: cosine of its gradient with the main loss's."
)
_HEAD = ("raw", "weight", "weighted", "% total", "% grad", "cos")


def draw_measured(measured: Measured, request: Request) -> Iterator[RenderableType]:
    """Yield the tables of a dry run."""
    yield Text(measured.preset, "bold")
    yield Text(_title(measured, request))
    for note in measured.notes:
        yield Text(note, "dim")
    yield heading("Terms")
    yield _terms(measured)
    yield Text("")
    yield Text(_LEGEND, "dim")
    if len(measured.parts.terms) > 2:
        yield heading("Conflicts")
        yield _conflicts(measured.parts.conflicts)
        yield Text("")
        yield Text(_COSINES, "dim")
    yield heading("Run")
    yield _run(measured)
    if measured.findings:
        yield heading("Findings")
        yield from _findings(measured.findings)


def _title(measured: Measured, request: Request) -> str:
    shape = f"{request.batch} × {request.length} {request.dtype} on {request.device}"
    what = f"scenario {request.scenario}" if request.captured is None else f"captured in {request.captured.path.name}"
    return f"{what} · engine {measured.engine} · {shape} · {'compiled' if measured.compiled else 'not compiled'}"


def _row(figures: Any) -> list[str]:
    return [
        number(figures.raw, 3),
        number(figures.weight, 3),
        number(figures.weighted, 3),
        percent(figures.contribution).removesuffix(" %"),
        percent(figures.gradient_share).removesuffix(" %"),
        signed(figures.cosine_to_main),
    ]


def _terms(measured: Measured) -> Table:
    table = plain_table("", *_HEAD, right=_HEAD)
    table.columns[0].overflow = "fold"
    for name, figures in measured.parts.terms.items():
        table.add_row(Text(name, "bold"), *_row(figures))
    table.add_section()
    total = number(measured.total, 3) if measured.finite else Text(f"{measured.total}", "bold red")
    table.add_row(Text("total", "dim"), "", "", total, "", "", "")
    return table


def _conflicts(conflicts: dict[str, dict[str, float]]) -> Table:
    """Return the lower triangle; columns are numbered, since names are long."""
    names = list(conflicts)
    heads = [str(index + 1) for index in range(len(names) - 1)]
    table = plain_table("", *heads, right=heads)
    table.columns[0].overflow = "fold"
    for index, name in enumerate(names):
        cells = [_cosine(conflicts[name][other]) for other in names[:index]]
        table.add_row(Text(f"{index + 1} {name}", "bold"), *cells)
    return table


def _cosine(value: float) -> Text:
    return Text(signed(value), "red" if value < -0.9 else "yellow" if value < -0.3 else "")


def _run(measured: Measured) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in _facts(measured):
        grid.add_row(label, text)
    return grid


def _facts(measured: Measured) -> list[tuple[str, str]]:
    ratio, planned = measured.peak_bytes / max(measured.planned_bytes, 1), bytes_text(measured.planned_bytes)
    facts = [("finite", "yes" if measured.finite else "NO")]
    if measured.compiled:
        facts += [
            ("compiling", f"{measured.compile_seconds:.1f} s"),
            ("graph breaks", _breaks(measured)),
            ("recompiles", f"{measured.recompiles}"),
            ("eager − compiled", number(measured.eager_difference, 2) + " relative"),
        ]
    elif measured.graph_breaks:
        facts.append(("graph breaks", _breaks(measured)))
    return [
        *facts,
        ("forward", f"{number(measured.forward_ms, 3)} ms"),
        ("backward", f"{number(measured.backward_ms, 3)} ms"),
        ("throughput", f"{float(f'{measured.tokens_per_second:.3g}'):,.0f} tokens/s"),
        ("peak memory", f"{bytes_text(measured.peak_bytes)} above the inputs, planned {planned} (× {ratio:.2f})"),
    ]


def _breaks(measured: Measured) -> str:
    reasons = "; ".join(measured.break_reasons)
    return f"{measured.graph_breaks}{f': {reasons}' if reasons else ''}"


def _findings(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    for finding in findings:
        yield Text.assemble(
            f"{finding.span}: ",
            (finding.severity, _TONES[finding.severity]),
            f" {finding.code} {finding.name}: ",
            finding.message,
        )


def measured_markdown(measured: Measured, request: Request) -> str:
    """Return the figures as Markdown."""
    rows = [(f"`{name}`", *_row(figures)) for name, figures in measured.parts.terms.items()]
    text = f"# {measured.preset}\n\n{_title(measured, request)}\n\n"
    text += "".join(f"- {note}\n" for note in measured.notes) + ("\n" if measured.notes else "")
    text += markdown_table(("term", *_HEAD), rows)
    text += markdown_table(("run", ""), [("total", number(measured.total, 3)), *_facts(measured)])
    return text + (findings_markdown(measured.findings) if measured.findings else "")
