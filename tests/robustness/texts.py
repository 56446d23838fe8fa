"""Every text that the tests keep, as raw material."""

from __future__ import annotations

from ava.load import list_presets
from tests.config import documents
from tests.corpus import files

__all__ = ["TEXTS"]

TEXTS: list[str] = [
    *documents.GOOD.values(),
    *(text for text, _ in [*documents.BAD.values(), *documents.BEYOND_THE_SCHEMA.values()]),
    *(data.decode("utf-8", "replace") for data in [*files.GOOD.values(), *files.BAD.values()]),
    *(preset.path.read_text(encoding="utf-8") for preset in list_presets()),
]
