"""Changes as Markdown for a pull request: a table of what matters, the rest folded away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ava.cli.render.diff import counted, gradient_text, numeric_rows, shown, where
from ava.config.change import Change

if TYPE_CHECKING:
    from ava.cli.compare import Comparison, Uncomparable
    from ava.run.compare import Numeric

__all__ = ["MARKER", "diff_markdown"]

MARKER = "<!-- ava-loss-diff -->"
"""First line of every answer, by which a bot finds the comment that it wrote before."""

_ICONS = {"breaking": "🔴", "objective": "🟠", "numerics": "🔵", "reporting": "⚪", "cosmetic": "⚪"}
_CLASSES = """\
- **breaking**: it needs an input, a parameter shape or a state that it did not, or no longer loads
- **objective**: the value or the gradient changes beyond rounding
- **numerics**: rounding or cost only
- **reporting**: what is checked and shown
- **cosmetic**: nothing but the text
"""


def diff_markdown(
    compared: Sequence[Comparison], failed: Sequence[Uncomparable], measured: Numeric | None = None
) -> str:
    """Return the comment: :data:`MARKER`, a line that counts, what could not be compared, a table a comparison."""
    changes = [change for item in compared for change in item.changes]
    headline = counted(changes) if compared else "nothing could be compared"
    lines = [MARKER, f"### ava-loss diff: {headline}", ""]
    for problem in failed:
        lines += [f"> ⚠️ **{_text(problem.title)}** could not be compared: {_text(problem.reason)}", ""]
    for item in compared:
        if item.changes or len(compared) == 1:
            lines += _section(item)
    if measured is not None:
        lines += _numeric(measured)
    if changes:
        lines += ["<details><summary>What the classes mean</summary>", "", _CLASSES, "</details>"]
    return "\n".join(lines).rstrip() + "\n"


def _section(item: Comparison) -> Iterator[str]:
    yield f"**{_text(item.before.label)}** → **{_text(item.after.label)}**"
    yield ""
    main = [change for change in item.changes if change.class_ in ("breaking", "objective", "numerics")]
    rest = [change for change in item.changes if change not in main]
    if main:
        yield from _table(main)
    elif not rest:
        yield "No change."
        yield ""
    if rest:
        yield f"<details><summary>{counted(rest)}</summary>"
        yield ""
        yield from _table(rest)
        yield "</details>"
        yield ""


def _table(changes: Sequence[Change]) -> Iterator[str]:
    yield "| class | field | before | after | consequence | where |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for change in changes:
        cells = [
            f"{_ICONS[change.class_]} {change.class_}",
            _code(change.name),
            _code(shown(change.before, change)) if change.path else "",
            _code(shown(change.after, change)) if change.path else "",
            _text(change.consequence, code=True),
            _code(where(change)),
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _numeric(measured: Numeric) -> Iterator[str]:
    yield "<details open><summary>On the same tensors</summary>"
    yield ""
    yield "| | before | after | change |"
    yield "| --- | ---: | ---: | ---: |"
    for name, *figures in numeric_rows(measured):
        label = f"&emsp;{_text(name.strip())}" if name.startswith(" ") else f"**{_text(name)}**"
        yield f"| {label} | {' | '.join(figures)} |"
    yield ""
    yield gradient_text(measured)
    yield ""
    yield "</details>"
    yield ""


_SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "\\*[]|~#@`"} | {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
}


def _text(text: str, *, code: bool = False) -> str:
    """Return ``text`` as one line of Markdown that shows it as it is; with ``code``, what is in backticks is code."""
    parts = " ".join(text.split()).split("`") if code else [" ".join(text.split())]
    if len(parts) % 2 == 0:  # an odd backtick is no code
        parts = ["`".join(parts)]
    return "".join(_code(part) if index % 2 else part.translate(_SIGNS) for index, part in enumerate(parts))


def _code(text: str) -> str:
    """Return ``text`` as code; in HTML, so that no backtick or pipe in it ends the cell."""
    return f"<code>{' '.join(text.split()).translate(_SIGNS)}</code>" if text else ""
