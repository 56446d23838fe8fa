"""A training log, line by line, into one series for every value that it holds."""

from __future__ import annotations

import json
import math
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

from ava.errors import Finding, Rule, SourceError, Span
from ava.report.rules import BROKEN_RECORD, CUT_RECORD, EMPTY_LOG

__all__ = ["STEP_KEYS", "Run", "Series", "read_run"]

STEP_KEYS = ("step", "global_step", "_step")
_WORDS = {"nan": math.nan, "infinity": math.inf, "inf": math.inf, "-infinity": -math.inf, "-inf": -math.inf}
_SHOWN = 20  # findings of one file that are kept; their number is always told


class Series:
    """One value over the steps, which rise strictly. A value that is null, NaN or infinite is kept as it is (null as
    NaN): it is a step at which the run went wrong, not one that is missing.
    """

    __slots__ = ("steps", "values")

    def __init__(self) -> None:
        self.steps = array("d")
        self.values = array("d")

    def put(self, step: float, value: float) -> None:
        """Add a value at a step that is no earlier than the last; at the same step it replaces the other."""
        if self.steps and self.steps[-1] == step:
            self.values[-1] = value
        else:
            self.steps.append(step)
            self.values.append(value)

    def cut(self, step: float) -> None:
        """Forget ``step`` and what came after it."""
        index = bisect_left(self.steps, step)
        del self.steps[index:]
        del self.values[index:]


@dataclass
class Run:
    """One log.

    Attributes:
        path: as it was given.
        name: what the report calls it.
        series: by key, in the order in which keys appear.
        records: how many lines were read.
        resumed: the steps at which it went back to an earlier step, and on from there; what it had logged after them
            is forgotten.
        broken: how many lines could not be used; the first of them are in ``findings``.
    """

    path: str
    name: str
    series: dict[str, Series] = field(default_factory=dict)
    records: int = 0
    resumed: list[float] = field(default_factory=list)
    broken: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def first(self) -> float | None:
        """The first step."""
        return min((series.steps[0] for series in self.series.values() if series.steps), default=None)

    @property
    def last(self) -> float | None:
        """The last step."""
        return max((series.steps[-1] for series in self.series.values() if series.steps), default=None)

    def find(self, rule: Rule, message: str, line: int, width: int = 0) -> None:
        """Note a mistake in a line."""
        self.broken += rule is not EMPTY_LOG
        if len(self.findings) < _SHOWN:
            self.findings.append(rule.finding(message, Span(self.path, line, 1, line, 1 + width)))


def read_run(path: str, name: str) -> Run:
    """Read a log. Lines that cannot be used become findings of the run; lines without text are passed over.

    Raises:
        SourceError: the file cannot be read.
    """
    run = Run(path, name)
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                _take(run, number, line)
    except (OSError, ValueError) as error:  # ValueError: a path that no system call takes
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SourceError(f"{path}: cannot read: {reason}") from error
    run.series = {key: series for key, series in run.series.items() if series.steps}
    if not run.series:
        text = f"none of the {run.broken} lines can be used" if run.broken else "the log is empty"
        run.find(EMPTY_LOG, f"{text}: no value was logged yet", 1)
    return run


def _take(run: Run, number: int, line: bytes) -> None:
    text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").strip()
    if not text:
        return
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        if not line.endswith(b"\n"):
            message = "the last line is cut off: the run was stopped while it wrote it, or is writing it now"
            run.find(CUT_RECORD, message, number, len(text))
        else:
            run.find(BROKEN_RECORD, f"not JSON: {error.msg} at column {error.colno}", number, len(text))
        return
    except (ValueError, RecursionError):
        run.find(BROKEN_RECORD, "not JSON that can be read: nested too deeply, or a number too long", number, len(text))
        return
    if not isinstance(record, dict):
        run.find(BROKEN_RECORD, 'a line is one JSON object, such as {"step": 1, "loss/total": 10.8}', number, len(text))
        return
    key = next((key for key in STEP_KEYS if key in record), None)
    if key is None:
        run.find(BROKEN_RECORD, 'the object has no "step"; add the optimizer step to every line', number, len(text))
        return
    step = _number(record[key])
    if step is None or not math.isfinite(step):
        message = f'"{key}" is {json.dumps(record[key])[:40]}; it should be a finite number'
        run.find(BROKEN_RECORD, message, number, len(text))
        return
    run.records += 1
    _add(
        run,
        step,
        {name: value for name, item in record.items() if name != key and (value := _number(item)) is not None},
    )


def _add(run: Run, step: float, values: dict[str, float]) -> None:
    """Put a record's values into their series.

    Where one of them has a later step already, the run was resumed, and all that was logged from this step on was
    overwritten. A record of other values (an evaluation that is written late) only adds its own.
    """
    known = [run.series[name] for name in values if name in run.series]
    if any(series.steps and series.steps[-1] > step for series in known):
        for series in run.series.values():
            series.cut(step)
        run.resumed = [*(before for before in run.resumed if before < step), step]
    for name, value in values.items():
        run.series.setdefault(name, Series()).put(step, value)


def _number(value: Any) -> float | None:
    """Return a number; null is one that was not finite. None for what is no number."""
    if value is None:
        return math.nan
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return _WORDS.get(value.strip().lower()) if isinstance(value, str) else None
