"""Writes the pages that follow from the code: ``docs/terms/``, ``docs/rules/``, ``docs/reference/`` and more.

    python docs/generate.py            # write them
    python docs/generate.py --check    # exit 1 if a page is not what the code says

Everything comes from the terms' own classes; nothing here needs torch. A test holds the pages against the code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cli_pages import PAGE as CLI
from cli_pages import cli_page
from config_pages import PAGE as CONFIGURATION
from config_pages import config_page
from curves import CURVES, svg
from rule_pages import rule_pages
from term_notes import HELPS, HURTS

from ava.cli.render.explain_markdown import table, term_fields_markdown
from ava.cli.render.words import range_text, value_text
from ava.config import ROSTER
from ava.config.words import expected, field_schema
from ava.config.words import range_text as limits_text
from ava.losses.keywords import DEFAULTS, PLACES, WORDS, Keywords
from ava.numbers import number
from ava.plan.explain_term import TermInfo, paragraphs
from ava.plan.subjects import term_page
from ava.plan.words import cost_text
from ava.terms.base import Candidates, Kind, Needs, Pick, Source, Statistic
from ava.terms.main_loss import Temperature

DOCS = Path(__file__).parent
MAIN = "main_loss"
TOKENS = {"eos_token_id": 50256, "vocab_size": 50257, "hidden_size": 768, "num_experts": 8}
STATISTICS = {
    Statistic.LSE: "the log-partition `ℓ`",
    Statistic.ENTROPY: "the entropy `H(p)`",
    Statistic.MEAN_LOGIT: "the mean logit",
    Statistic.MAX_LOG_PROB: "the largest log-probability (without a gradient)",
    Statistic.MARGIN: "the log-odds of the most likely token, where it is certain",
    Statistic.ARGMAX: "the most likely token (without a gradient)",
    Statistic.DIVERGENCE: "the divergence from the teacher",
}
PICKS = {
    "target": "of the target",
    "context": "of the last context token",
    "eos": "of the end-of-sequence token",
}
POSITIONS = {
    "run": "how many equal context tokens end there",
    "before": "how many valid positions of the segment come before it",
}
KINDS = {
    Kind.ROWS: "A value for every row of logits, averaged over the valid positions.",
    Kind.HEADS: "A value for every row of each future-token head: the mean over heads of the sum over valid positions "
    "divided by their number.",
    Kind.OWN_MEAN: "A mean over items of its own, which counts in proportion to the valid positions of the call.",
}


def pages() -> dict[str, str]:
    """Return every generated file: its path under ``docs/``, and its text."""
    written = {f"terms/{name}.md": page(name) for name in (MAIN, *ROSTER)}
    written |= {f"terms/{name}.svg": svg(name, axis, curves) for name, (axis, curves) in CURVES.items()}
    written |= {"terms/index.md": index(), "unified-loss.md": unified(), CONFIGURATION: config_page(), CLI: cli_page()}
    return written | rule_pages()


def page(name: str) -> str:
    """Return a term's page."""
    term, fields, vocab_size = term_page(ROSTER.get(name))
    fields = tuple(field for field in fields if field.path != ("primary", "temperature"))
    parts = [f"# {name}", *term.documentation]
    parts.append(f"```text\n{term.formula}\n```")
    if name in CURVES:
        parts.append(f"![What {name} charges, and its gradient, against the {CURVES[name][0]}]({name}.svg)")
        parts.append("Left: the value. Right: its derivative with respect to that token's logit.")
    parts.append("The symbols are those of [the list of terms](index.md#notation).")
    parts.append(f"## When it helps\n\n{_bullets(HELPS[name])}")
    parts.append(f"## When it hurts\n\n{_bullets(HURTS[name])}")
    parts.append(f"## Fields\n\n{term_fields_markdown(fields).strip()}")
    if name == MAIN:
        parts += ["## Temperature", *paragraphs(Temperature), _temperature()]
    parts.append("## Needs\n\n" + _bullets(needs(term.needs, name)))
    parts.append(f"## Cost\n\nOn its own: {cost_text(term.cost)}.")
    if term.untrained is not None:
        parts.append(
            f"For an untrained model (uniform over {vocab_size:,} tokens, a penalty at its largest) the raw value is "
            f"{number(term.untrained)}, in the total {number(term.weighted)}."
        )
    parts.append(f"## In a file\n\n```yaml\n{example(term)}```\n\n```python\n{call(term)}```")
    if term.sources:
        parts.append("## Source\n\n" + _bullets(map(_source, term.sources)))
    return "\n\n".join(parts) + "\n"


def needs(need: Needs, name: str) -> list[str]:
    """Return what a term must be given, in words."""
    words = [f"of each row, {STATISTICS[item]}" for item in Statistic if item in need.statistics]
    words += [f"of each row, the log-probability {_column(pick)}" for pick in need.picks]
    words += [f"of each position, {POSITIONS[item]}" for item in sorted(need.positions)]
    words += [f"in a call, `{item}`" for item in need.inputs]
    words += [f"in the configuration, `model.{item}`" for item in need.model]
    if name in ROSTER:
        words.append(KINDS[ROSTER[name].kind])
    return words


def _column(pick: Pick | Candidates) -> str:
    return PICKS.get(str(pick), f"of up to {pick.width} candidates, `{pick}`")


def example(term: TermInfo) -> str:
    """Return a configuration that uses a term with its defaults written out."""
    if term.name == MAIN:
        return (
            "version: 1\nprimary:\n  type: deepseek\n  label_smoothing: 0.1\n"
            "  temperature: {initial: 1.0, adaptive: true, bounds: [0.5, 2.0]}\n"
        )
    wanted = (*term.needs.model, *(("hidden_size",) if "heads" in term.defaults else ()))  # heads of its own
    model = ", ".join(f"{field}: {TOKENS[field]}" for field in wanted)
    fields = [f"{name}: {value_text(value)}" for name, value in term.defaults.items() if name != "if_missing"]
    head = f"version: 1\nmodel: {{{model}}}\n" if model else "version: 1\n"
    return f"{head}terms:\n  {term.name}: {{{', '.join(fields)}}}\n"


def call(term: TermInfo) -> str:
    """Return a call of that configuration."""
    tensors = "".join(f", {name}={name}" for name in term.needs.inputs)
    return f'loss_fn = ava.Loss.load("loss.yaml", vocab_size=50257)\nloss = loss_fn(logits, targets{tensors})\n'


def index() -> str:
    """Return the list of terms."""
    rows = []
    for name in (MAIN, *ROSTER):
        term = term_page(ROSTER.get(name))[0]
        usual = range_text(term.recommended.get("weight"))
        rows.append([f"[`{name}`]({name}.md)", value_text(term.weight), usual, term.summary])
    symbols = [
        ["`B`, `T`, `V`, `H`, `E`, `K`", "rows, positions, vocabulary, hidden width, experts, future tokens"],
        ["`x`, `z = x/τ`, `τ`", "logits, logits over the temperature, the temperature (1 unless `type: deepseek`)"],
        ["`ℓ`, `p(v)`, `H(p)`", "`logsumexp z`, `exp(z_v - ℓ)`, the entropy of `p`"],
        ["`y`, `u`, `q`", "the target, the last context token, valid positions before this one in its segment"],
        ["`mean_M`", "the sum over valid positions, divided by their number (or by `num_items`)"],
        ["`sg`", "without a gradient"],
    ]
    return (
        "# Terms\n\nThe total is `main_loss` plus each term times its weight. A term is on when it is named under "
        "`terms:`. In the order in which they are computed:\n\n"
        + table(["term", "weight", "usual", "what it is"], rows)
        + "## Notation\n\n"
        + table(["symbol", "meaning"], symbols)
        + "How to write one of your own: [add a term](../add-a-term.md).\n"
    )


def unified() -> str:
    """Return the page of the flat keywords."""
    keywords = ("vocab_size", "hidden_size", *Keywords.__annotations__)
    rows = [[f"`{name}`", f"`{PLACES[name]}`", value_text(DEFAULTS[name]), _accepts(name)] for name in keywords]
    return (
        "# UnifiedLoss, keyword by keyword\n\n"
        "`ava.losses.UnifiedLoss(**keywords)` is an `ava.Loss`; this is where each keyword stands in a file.\n"
        "`loss.config.to_yaml()` writes that file. Beside these, `overrides={…}` reaches every other field.\n\n"
        "A `use_…` keyword names its term under `terms:`. Where it is not given, a weight that is given and not 0 "
        "turns the term on;\nthe EOS penalty is on where `eos_token_id` is given. "
        "`use_diversity_loss` means the experts where `num_experts` is set,\nelse the tokens; "
        "`load_balancing_weight` brings `method: switch`.\n\n"
        + table(["keyword", "sets", "default", "accepts"], rows).rstrip("\n")
        + "\n"
    )


def _accepts(keyword: str) -> str:
    if keyword in WORDS:
        return ", ".join(f"`{value}` (`{word}`)" for value, word in WORDS[keyword].items())
    if keyword.startswith("use_"):
        return "`True` or `False`"
    schemas = field_schema(tuple(PLACES[keyword].split("` ")[0].split(".")))
    limits = limits_text(schemas)
    return expected(schemas) + (f", {limits}" if limits else "")


def _temperature() -> str:
    rows = []
    for name, field in Temperature.model_fields.items():
        schemas = field_schema(("primary", "temperature", name))
        limits = limits_text(schemas)
        accepts = expected(schemas) + (f", {limits}" if limits else "")
        rows.append([f"`{name}`", value_text(_listed(field.default)), accepts, field.description or ""])
    return table(["field", "default", "accepts", "meaning"], rows).strip()


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _source(source: Source) -> str:
    text = f"[{source.paper}]({source.link})" if source.link else source.paper
    return f"{text}, {source.equation}" if source.equation else text


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or hold them against the code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page differs")
    check = parser.parse_args(arguments).check
    written = pages()
    here = [path for folder in ("terms", "rules") for path in (DOCS / folder).glob("*")]
    stale = {str(path.relative_to(DOCS)) for path in here if path.suffix in (".md", ".svg")}
    stale -= written.keys()
    differs = [name for name, text in written.items() if not _is(DOCS / name, text)]
    if not check:
        for name in differs:
            (DOCS / name).parent.mkdir(exist_ok=True)
            (DOCS / name).write_text(written[name], encoding="utf-8")
        for name in stale:
            (DOCS / name).unlink()
    for name in sorted({*differs, *stale}):
        sys.stdout.write(f"{'differs' if check else 'wrote'}: docs/{name}\n")
    return int(check and bool(differs or stale))


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    raise SystemExit(main())
