"""The JSON Schema of the configuration language, for editors and for error messages.

``python -m ava.config.schema`` writes ``schemas/ava-loss.schema.json``. It is draft 7, which editors read.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

from pydantic import Field, create_model
from pydantic.json_schema import GenerateJsonSchema

from ava.config.model import Config
from ava.config.roster import ROSTER, Terms
from ava.errors import DOCS_URL
from ava.terms.base import Section, Term

__all__ = ["SCHEMA_URL", "document_schema", "schema_text", "section_schema"]

SCHEMA_URL = DOCS_URL.removesuffix("rules/") + "schemas/ava-loss.schema.json"
_EXTENDS = {
    "description": "What this file builds on: a preset's name, a path relative to this file, or a list of them; "
    "a later one wins, and this file last.",
    "anyOf": [
        {"type": "string", "pattern": "\\S"},
        {"type": "array", "items": {"type": "string", "pattern": "\\S"}},
    ],
}


class _Draft7(GenerateJsonSchema):
    """Pydantic's schema without the titles that only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _first_paragraph(text: str) -> str:
    return " ".join(text.strip().split("\n\n")[0].split()).replace("``", "`")


def _draft7(value: Any) -> Any:
    """Return ``value`` in the words of draft 7: tuples, definitions and references."""
    if isinstance(value, list):
        return [_draft7(item) for item in value]
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for key, item in value.items():
        if key == "prefixItems":
            result["items"] = _draft7(item)
            result["additionalItems"] = False
        elif key == "$defs":
            result["definitions"] = _draft7(item)
        elif key == "$ref":
            result["$ref"] = item.replace("#/$defs/", "#/definitions/")
        elif key == "oneOf":
            result["anyOf"] = _draft7(item)
        elif key == "discriminator":
            continue
        elif key == "description" and isinstance(item, str):
            result[key] = _first_paragraph(item)
        else:
            result[key] = _draft7(item)
    return result


@cache
def section_schema(section: type[Section]) -> dict[str, Any]:
    """Return the schema of one section, with its own definitions."""
    schema: dict[str, Any] = _draft7(section.model_json_schema(by_alias=True, schema_generator=_Draft7))
    return schema


def _with_terms(foreign: tuple[type[Term], ...]) -> type[Config]:
    """Return ``Config`` with fields for terms of other packages."""
    fields: dict[str, Any] = {cls.name: (cls | None, None) for cls in foreign}
    terms: type[Terms] = create_model("Terms", __base__=Terms, __doc__=Terms.__doc__, **fields)
    return create_model("Config", __base__=Config, __doc__=Config.__doc__, terms=(terms, Field(default_factory=terms)))


@cache
def document_schema(foreign: tuple[type[Term], ...] = ()) -> dict[str, Any]:
    """Return the schema of a whole file, in which the terms ``foreign`` of other packages may stand too."""
    schema = json.loads(json.dumps(section_schema(_with_terms(foreign) if foreign else Config)))
    terms = schema["definitions"]["Terms"]
    terms["additionalProperties"] = False
    for name, cls in {**ROSTER, **{cls.name: cls for cls in foreign}}.items():
        entry = terms["properties"][name]
        entry.pop("default", None)
        entry["description"] = _first_paragraph(cls.__doc__ or name)
    properties = schema["properties"]
    version, description = properties.pop("version"), properties.pop("description")
    for name, entry in properties.items():
        reference = entry.pop("$ref", None)
        if reference is not None:  # draft 7 ignores what stands beside a reference
            properties[name] = {
                "description": schema["definitions"][reference.rsplit("/", 1)[1]]["description"],
                "allOf": [{"$ref": reference}],
            }
    version = {"type": "integer", "enum": [1], "description": version["description"]}
    schema["properties"] = {"version": version, "description": description, "extends": _EXTENDS, **properties}
    schema["required"] = ["version"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": SCHEMA_URL,
        **schema,
        "title": "ava-loss configuration",
    }


def schema_text(foreign: tuple[type[Term], ...] = ()) -> str:
    """Return the text of ``schemas/ava-loss.schema.json``, with the terms ``foreign`` where there are any."""
    return json.dumps(document_schema(foreign), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the schema file, or with ``--check`` say whether it is out of date; return the exit code."""
    from ava.load import data_folder

    path = data_folder("schemas") / "ava-loss.schema.json"
    stale = not path.exists() or path.read_text(encoding="utf-8") != schema_text()
    if "--check" not in arguments:
        path.write_text(schema_text(), encoding="utf-8")
        return 0
    if stale:
        sys.stderr.write(f"{path.name} is out of date: run `make schema`\n")
    return int(stale)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
