"""``Config`` → plain values, and the shortest YAML that loads as the same configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ava.errors import DOCS_URL

if TYPE_CHECKING:
    from ava.config.model import Config

__all__ = ["MODELINE", "SCHEMA_URL", "flow", "minimal", "to_dict", "to_yaml"]

SCHEMA_URL = DOCS_URL.removesuffix("rules/") + "schemas/ava-loss.schema.json"
MODELINE = f"# yaml-language-server: $schema={SCHEMA_URL}"
_PUNCTUATION = ",.;/+()'"  # harmless inside plain text outside brackets


def _fields(section: BaseModel) -> Iterator[tuple[str, Any, bool]]:
    """Yield each key with its value and whether that is the default; terms that are off are left out."""
    from ava.config.roster import Terms

    if isinstance(section, Terms):
        for term in section.enabled:
            yield term.name, term, False
        return
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        yield field.alias or name, value, value == field.get_default(call_default_factory=True)


def _plain(value: Any, full: bool) -> Any:
    if isinstance(value, BaseModel):
        return {key: _plain(item, full) for key, item, default in _fields(value) if full or not default}
    return [_plain(item, full) for item in value] if isinstance(value, tuple) else value


def to_dict(config: Config) -> dict[str, Any]:
    """Return every field of ``config``."""
    data: dict[str, Any] = _plain(config, True)
    return data


def minimal(config: Config) -> dict[str, Any]:
    """Return the fields of ``config`` that differ from the defaults, and ``version``."""
    return {"version": config.version, **{key: item for key, item in _plain(config, False).items() if item != {}}}


def to_yaml(config: Config) -> str:
    """Return ``config`` as the text of a file, sections in the order of the language."""
    return "\n".join([MODELINE, *_lines(minimal(config), "")]) + "\n"


def _lines(data: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in data.items():
        if (isinstance(value, dict) and any(isinstance(item, dict) for item in value.values())) or key == "terms":
            yield f"{indent}{_text(key)}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{_text(key)}: {_text(value, _PUNCTUATION) if isinstance(value, str) else flow(value)}"


def flow(value: Any) -> str:
    """Return plain data as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str, also: str = "") -> str:
    """Return ``text`` as a YAML scalar, quoted unless it is plain words, with ``also`` inside."""
    from ava.load.resolver import resolve

    plain = text[:1].isalpha() and text == text.strip() and all(char.isalnum() or char in " -_" + also for char in text)
    if plain and text.isascii() and isinstance(resolve(text), str):
        return text
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable() and char != "\ufeff":
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
