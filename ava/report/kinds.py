"""What a report can be made of, told from a file's name, or from how it begins."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path

from ava.report.log.read import STEP_KEYS

__all__ = ["Kind", "kind_of"]

_LOGS = (".jsonl", ".ndjson", ".log")
_ENOUGH = 1 << 20


class Kind(StrEnum):
    """What a source is."""

    CONFIG = "a configuration"
    DRY_RUN = "a saved dry run"
    LOG = "a training log"


def kind_of(source: str) -> Kind:
    """Return what ``source`` is. A file that cannot be read is what its name says; reading it tells the reason.

    >>> kind_of("standard"), kind_of("run.jsonl"), kind_of("missing.json")
    (<Kind.CONFIG: 'a configuration'>, <Kind.LOG: 'a training log'>, <Kind.DRY_RUN: 'a saved dry run'>)
    """
    suffix = Path(source).suffix.lower()
    if suffix in _LOGS:
        return Kind.LOG
    by_name = Kind.DRY_RUN if suffix == ".json" else Kind.CONFIG
    if suffix in (".yaml", ".yml") or not os.path.isfile(source):  # noqa: PTH113  (False where no system call takes it)
        return by_name
    try:
        with open(source, encoding="utf-8-sig", errors="replace") as file:
            text = file.read(_ENOUGH).strip()
    except OSError:
        return by_name
    for part in (text.partition("\n")[0], text):
        try:
            data = json.loads(part)
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict):
            return _kind_of_object(data, by_name)
    return by_name


def _kind_of_object(data: dict[str, object], by_name: Kind) -> Kind:
    if "version" in data:
        return Kind.CONFIG
    if "terms" in data:
        return Kind.DRY_RUN
    return Kind.LOG if any(key in data for key in STEP_KEYS) else by_name
