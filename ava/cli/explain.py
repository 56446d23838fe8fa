"""``ava-loss explain``: every value of a configuration and where it came from; a term; a field."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ava.cli.options import Color, ColorOption, OutputOption, PresetPath, QuietOption, Sets, complete_preset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ava.cli.output import Output
    from ava.plan.explain import Explanation, FieldInfo
    from ava.plan.explain_term import TermInfo
    from ava.terms.base import Term

__all__ = ["register"]


class Format(StrEnum):
    """How an explanation is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


class Dtype(StrEnum):
    """Dtype of the logits, for the memory."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explain)


def _complete_term(incomplete: str) -> list[str]:
    from ava.config.roster import ROSTER

    return [name for name in ("main_loss", *ROSTER) if name.startswith(incomplete)]


def _complete_either(incomplete: str) -> list[tuple[str, str]]:
    return complete_preset(incomplete) + [(name, "a term") for name in _complete_term(incomplete)]


def explain(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="PRESET|TERM", help="A preset's name, a path, `-`, or a term.", autocompletion=_complete_either
        ),
    ],
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="TERM|FIELD",
            help="A term, a field, or TERM.FIELD of the preset.",
            autocompletion=_complete_term,
        ),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.TEXT,
    batch: Annotated[int, typer.Option("--batch", min=1, help="For the memory: rows of a call.")] = 8,
    seq_len: Annotated[int, typer.Option("--seq-len", min=1, help="For the memory: positions of a row.")] = 1024,
    dtype: Annotated[Dtype, typer.Option("--dtype", help="For the memory: dtype of the logits.")] = Dtype.BFLOAT16,
    sets: Sets = None,
    preset_path: PresetPath = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    color: ColorOption = Color.AUTO,
) -> None:
    """Explain a preset, a term or a field: values and their origins, formulas, sizes and costs."""
    from ava.cli.output import Output
    from ava.cli.sources import load_config, preset_folders
    from ava.load import find_preset
    from ava.plan.explain import explain as explain_config
    from ava.plan.explain_engines import Shape
    from ava.plan.subjects import default_fields, term_class

    out = Output(output, color)
    if subject is None and not find_preset(reference, preset_folders(preset_path)):
        cls = term_class(reference)
        if cls is not None or reference == "main_loss":
            _show_term(out, format, cls)
            return
        fields = default_fields(reference)
        if fields:
            _show_fields(out, format, reference, None, fields)
            return
        _refuse_unknown(reference, preset_path)
    told = explain_config(load_config(reference, sets, preset_path), Shape(batch, seq_len, dtype.value))
    if subject is None:
        _show_preset(out, format, told)
    else:
        _show_subject(out, format, told, subject)


def _show_preset(out: Output, format: Format, told: Explanation) -> None:
    if format is Format.JSON:
        from ava import __version__
        from ava.cli.output import dumps

        out.write(dumps({"ava_loss": __version__, **told.to_dict()}))
    elif format is Format.MARKDOWN:
        from ava.cli.render.explain_markdown import preset_markdown

        out.write(preset_markdown(told))
    elif format is Format.HTML:
        from ava.cli.render.explain_html import preset_html

        out.write(preset_html(told))
    else:
        from ava.cli.render.explain import draw_preset

        out.draw(*draw_preset(told))


def _refuse_unknown(reference: str, preset_path: Sequence[Path] | None) -> None:
    """Raise where ``reference`` is neither a path nor near a preset, and near a term."""
    from ava.cli.sources import preset_folders
    from ava.config.roster import ROSTER, external_names
    from ava.errors import SourceError, nearest
    from ava.load import is_preset_name, list_presets

    if reference == "-" or not is_preset_name(reference):
        return
    presets = [preset.name for preset in list_presets(preset_folders(preset_path))]
    near = nearest(reference, [*presets, "main_loss", *ROSTER, *external_names()])
    if near is not None and near not in presets:
        raise SourceError(f"no preset and no term is named `{reference}`; did you mean the term `{near}`?")


def _show_subject(out: Output, format: Format, told: Explanation, subject: str) -> None:
    from ava.plan.subjects import find_field, find_term_info

    term = find_term_info(told, subject)
    fields = find_field(told, subject) if term is None else find_field(told, term.name)
    _show_fields(out, format, told.name, term, fields, None if term is None else told.share(term))


def _show_fields(
    out: Output,
    format: Format,
    name: str,
    term: TermInfo | None,
    fields: Sequence[FieldInfo],
    share: float | None = None,
) -> None:
    from ava.cli.output import dumps

    if format is Format.JSON:
        data: dict[str, Any] = {"values": [field.to_dict() for field in fields]}
        if term is not None:
            data |= {"name": term.name, **term.to_dict(), "share": share}
        out.write(dumps(data if term is not None or len(fields) > 1 else fields[0].to_dict()))
    elif format is Format.MARKDOWN:
        from ava.cli.render.explain_markdown import fields_markdown, term_markdown

        out.write((term_markdown(term, whole=True, share=share) if term is not None else "") + fields_markdown(fields))
    elif format is Format.HTML:
        from ava.cli.render.explain_html import subject_html

        out.write(subject_html(name, term, fields, share))
    else:
        from ava.cli.render.explain import draw_field, draw_fields, draw_term, size_rows

        if term is not None:
            more = size_rows(term, share) if share is not None else []
            out.draw(draw_term(term, whole=True, more=more), "", draw_fields(fields))
        elif len(fields) > 1:
            out.draw(draw_fields(fields))
        else:
            out.draw(*draw_field(fields[0]))


def _show_term(out: Output, format: Format, cls: type[Term] | None) -> None:
    from ava.cli.output import dumps
    from ava.plan.subjects import term_page

    term, fields, vocab_size = term_page(cls)
    if format is Format.JSON:
        out.write(dumps({"name": term.name, **term.to_dict(), "fields": [field.to_dict() for field in fields]}))
    elif format is Format.MARKDOWN:
        from ava.cli.render.explain_markdown import term_fields_markdown, term_markdown

        out.write(term_markdown(term, whole=True) + term_fields_markdown(fields))
    elif format is Format.HTML:
        from ava.cli.render.explain_html import term_html

        out.write(term_html(term, fields, vocab_size))
    else:
        from ava.cli.render.explain import draw_term_page

        out.draw(*draw_term_page(term, fields, vocab_size))
