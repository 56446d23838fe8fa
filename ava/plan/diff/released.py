"""The defaults of each release, recorded, so that a later one can say which of them moved under a file.

``defaults/VERSION.json`` holds every field with its default. A release records its own; it is never edited afterwards.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from ava.config.model import Config
from ava.config.roster import ROSTER
from ava.errors import ArgumentValueError, Path, did_you_mean
from ava.plan.diff.walk import pairs, plain
from ava.terms.base import Section
from ava.terms.main_loss import Temperature

__all__ = ["as_released", "current", "recorded", "released_text", "versions"]


def versions() -> tuple[str, ...]:
    """Return the releases whose defaults are recorded, oldest first."""
    names = [item.name.removesuffix(".json") for item in files("ava.plan.diff").joinpath("defaults").iterdir()]
    return tuple(sorted(names, key=lambda name: [int(part) if part.isdigit() else -1 for part in name.split(".")]))


def recorded(version: str) -> dict[str, Any]:
    """Return each field of a release with its default. Raises ArgumentValueError for a release without a record."""
    if version not in versions():
        known = ", ".join(versions())
        raise ArgumentValueError(
            f"no defaults are recorded for version `{version}`{did_you_mean(version, versions())}; there are {known}"
        )
    text = files("ava.plan.diff").joinpath("defaults", f"{version}.json").read_text(encoding="utf-8")
    defaults: dict[str, Any] = json.loads(text)
    return defaults


def current() -> dict[str, Any]:
    """Return each field with its default, as this version has it."""
    config = Config()
    found = {".".join(map(str, pair.path)): plain(pair.before) for pair in pairs(config, config)}
    sections: dict[str, type[Section]] = {
        "primary.temperature": Temperature,
        **{f"terms.{name}": cls for name, cls in ROSTER.items()},
    }
    for path, cls in sections.items():
        for name, value in plain(cls.model_validate({})).items():
            found[f"{path}.{name}"] = value
    return found


def released_text() -> str:
    """Return the record of this version."""
    return json.dumps(current(), indent=2) + "\n"


def as_released(config: Config, version: str) -> tuple[Config, frozenset[Path]]:
    """Return ``config`` with the defaults of an earlier release where no file sets a value, and where that matters."""
    old, new = recorded(version), current()
    drifted: dict[str, Any] = {}
    for pair in pairs(config, config):
        name = ".".join(map(str, pair.path))
        written = config.source is not None and config.source.get(pair.path) is not None
        if name in old and name in new and not written and plain(pair.before) == new[name] != old[name]:
            drifted[name] = old[name]
    before = Config.load(config, overrides=drifted) if drifted else config
    return before, frozenset(tuple(name.split(".")) for name in drifted)
