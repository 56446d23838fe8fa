"""``# ava: ignore[AVA201, weight-range]``: advice that a line does not want, and comments that suppress nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ava.errors import Finding, Rule, Span, did_you_mean, documentation
from ava.lint.select import matches

__all__ = ["RULES", "Suppression", "comments", "suppressions"]

_COMMENT = re.compile(r"#[^\r\n]*")
_HEADER = re.compile(r"[|>][-+0-9]*")
_SUPPRESSION = re.compile(r"#\s*ava:\s*ignore\b[ \t]*(?:\[([^\]]*)\])?")

UNUSED = Rule(
    "AVA390",
    "unused-suppression",
    "warning",
    documentation(
        "Finds a comment `# ava: ignore[RULE]` that suppresses nothing: its line has no advice of that rule. The "
        "comment stands at the end of the line that the advice is about.",
        "It hides the next mistake on that line, which may be another one than was meant. Errors cannot be suppressed.",
        "version: 1\nterms:\n  z_loss: {weight: 1e-4}  # ava: ignore[AVA201]",
        "version: 1\nterms:\n  z_loss: {weight: 1e-4}",
    ),
)
UNKNOWN = Rule(
    "AVA391",
    "unknown-suppression",
    "warning",
    documentation(
        "Finds a comment `# ava: ignore` without rules in brackets, or with a rule that does not exist. A rule is a "
        "code, the beginning of one, or a name; several have commas between them.",
        "It suppresses nothing, and looks as if it did.",
        "version: 1\nterms:\n  z_loss: {weight: 0.01}  # ava: ignore[weight-rnage]",
        "version: 1\nterms:\n  z_loss: {weight: 0.01}  # ava: ignore[weight-range]",
    ),
)
RULES = (UNUSED, UNKNOWN)


@dataclass(frozen=True, slots=True)
class Suppression:
    """One rule in the brackets of a comment, at ``span``; ``rule`` is None where there are no brackets."""

    rule: str | None
    span: Span

    def suppresses(self, finding: Finding) -> bool:
        """Return whether it is about the rule of ``finding``, which is advice."""
        return self.rule is not None and finding.severity != "error" and matches(self.rule, finding.code, finding.name)

    def unused(self) -> Finding:
        """Return the finding that it suppresses nothing."""
        return UNUSED.finding(f"`{self.rule}` suppresses nothing on this line; remove it", self.span)

    def unknown(self, rules: Sequence[Rule]) -> Finding | None:
        """Return the finding that it names no rule of advice, or None."""
        if self.rule is None:
            return UNKNOWN.finding("this suppresses nothing; name rules, as in `ava: ignore[AVA201]`", self.span)
        meant = [rule for rule in rules if matches(self.rule, rule.code, rule.name)]
        if not meant:
            near = did_you_mean(self.rule.lower(), [rule.name for rule in rules]) or did_you_mean(
                self.rule.upper(), [rule.code for rule in rules]
            )
            return UNKNOWN.finding(f"no rule is called `{self.rule}`{near}", self.span)
        if all(rule.severity == "error" for rule in meant):
            return UNUSED.finding(f"`{self.rule}` is an error, and errors cannot be suppressed; remove it", self.span)
        return None


def suppressions(text: str, file: str) -> tuple[Suppression, ...]:
    """Return what the comments of ``text`` suppress, in its order.

    >>> [(item.rule, item.span.line) for item in suppressions('a: "# ava: ignore[X]"\\nb: 1  # ava: ignore[Y, Z]', "f")]
    [('Y', 2), ('Z', 2)]
    """
    if "ava:" not in text:
        return ()
    from ava.load.text import Lines

    lines = Lines(text, file)
    found: list[Suppression] = []
    for start, end in comments(text):
        for match in _SUPPRESSION.finditer(text, start, end):
            if match[1] is None:
                found.append(Suppression(None, lines.span(*match.span())))
                continue
            words = list(re.finditer(r"[^\s,](?:[^,]*[^\s,])?", match[1]))
            for word in words:
                first = match.start(1) + word.start()
                found.append(Suppression(word[0], lines.span(first, first + len(word[0]))))
            if not words:
                found.append(Suppression(None, lines.span(*match.span())))
    return tuple(found)


def comments(text: str) -> Iterator[tuple[int, int]]:
    """Yield where comments start and end: a `#` outside of scalars begins one."""
    done = 0
    for start, end, block in _scalars(text):
        yield from _between(text, done, start)
        if block:
            header = _HEADER.match(text, start)
            body = header.end() if header else start
            yield from _between(text, body, (text + "\n").find("\n", body))
        done = end
    yield from _between(text, done, len(text))


def _between(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in _COMMENT.finditer(text, start, end):
        yield match.span()


def _scalars(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield where scalars start and end, as far as ``text`` is YAML, and whether each is a block."""
    import yaml

    try:
        for token in yaml.scan(text.replace("\t", " "), yaml.SafeLoader):
            if isinstance(token, yaml.ScalarToken):
                yield token.start_mark.index, token.end_mark.index, token.style in ("|", ">")
    except (yaml.YAMLError, ValueError, OverflowError):
        return
