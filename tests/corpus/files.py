"""The files of this folder: ``good`` ones, and ``bad`` ones with what each must be told (``expected.yaml``)."""

from __future__ import annotations

from pathlib import Path

import yaml

__all__ = ["BAD", "EXPECTED", "GOOD"]

FOLDER = Path(__file__).resolve().parent


def _files(name: str) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((FOLDER / name).glob("*.yaml"))}


GOOD: dict[str, bytes] = _files("good")
BAD: dict[str, bytes] = _files("bad")
EXPECTED: dict[str, list[str]] = yaml.safe_load((FOLDER / "expected.yaml").read_text(encoding="utf-8"))
