"""No value that is valid, however far off, makes a rule raise, and advice about one file is the same twice."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ava.config import ROSTER
from ava.config.words import field_schema
from ava.lint import Project, Settings, lint

TINY, HUGE = 5e-324, 1.7e308
NUMBERS = [0, TINY, 1e-9, 0.5, 1, 2, 50, HUGE]
COUNTS = [1, 2, 3, 8, 50257, 10**30, 10**330]
PAIRS = [[TINY, TINY], [TINY, HUGE], [0.5, 2.0], [1, 1], [HUGE, HUGE], [0, 1], [1, HUGE]]
SCHEDULES = [
    {"from": start, "to": to, "steps": steps, "delay": steps - 1}
    for start in (0, TINY, HUGE)
    for to in (0, 0.1, HUGE)
    for steps in (1, 10**330)
]


def values(path: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Return values that the field at ``path`` may have, and some that it may not."""
    pool: list[Any] = [None]
    for schema in field_schema(path):
        kind = schema.get("type")
        pool += schema.get("enum", []) + ([schema["const"]] if "const" in schema else [])
        pool += {"integer": [0, *COUNTS], "number": [*NUMBERS, 10**330], "boolean": [True, False]}.get(kind, [])
        pool += [*PAIRS, [0.5, 0.5], [1.0]] if kind == "array" else SCHEDULES if kind == "object" else []
    return st.sampled_from(pool)


def section(path: tuple[str, ...], fields: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: values((*path, name)) for name in fields})


def names(path: tuple[str, ...]) -> list[str]:
    return [name for schema in field_schema(path) for name in schema.get("properties", ())]


DOCUMENTS = st.fixed_dictionaries(
    {"version": st.just(1)},
    optional={
        "model": section(("model",), names(("model",))),
        "reduction": section(("reduction",), names(("reduction",))),
        "compile": section(("compile",), names(("compile",))),
        "balancing": st.sampled_from(["fixed", "uncertainty"]),
        "primary": st.builds(
            lambda primary, temperature: {**primary, "temperature": temperature},
            section(("primary",), ["type", "label_smoothing"]),
            st.none() | section(("primary", "temperature"), names(("primary", "temperature"))),
        ),
        "terms": st.fixed_dictionaries(
            {}, optional={name: section(("terms", name), names(("terms", name))) for name in ROSTER}
        ),
    },
)
COUNT = st.none() | st.sampled_from(COUNTS)
PROJECTS = st.builds(Project, COUNT, COUNT, COUNT, st.sampled_from([None, "float16", "bfloat16", "float32", "float64"]))


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS, PROJECTS)
def test_no_value_makes_a_rule_raise(document: dict[str, Any], project: Project) -> None:
    findings = lint(document, settings=Settings(project=project))
    assert findings == lint(document, settings=Settings(project=project))
    assert all(finding.message and finding.span.line >= 1 for finding in findings)
