"""PyYAML's two parsers as one stream of events, and their errors as findings.

libyaml's (``CParser``) is some twenty times faster; the pure-Python one is always there, and is the judge: what
libyaml finds fault with, or is known to read differently, is read again by it. So a file gets the same verdict,
positions included, on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ava.errors import Finding
from ava.load import rules
from ava.load.text import Lines

if TYPE_CHECKING:
    from yaml.events import Event

__all__ = ["SyntaxFaultError", "events", "has_c_parser"]


class SyntaxFaultError(Exception):
    """The text is not YAML; ``index`` is where that showed, ``finding`` says it.

    ``sure`` is True where both parsers are known to say so.
    """

    def __init__(self, finding: Finding, index: int, *, sure: bool = False) -> None:
        super().__init__(finding)
        self.finding = finding
        self.index = index
        self.sure = sure


def has_c_parser() -> bool:
    """Return whether PyYAML was built with libyaml."""
    import yaml

    return bool(yaml.__with_libyaml__)


def events(text: str, lines: Lines, *, fast: bool) -> Iterator[Event]:
    """Yield the events of ``text``, which must end in a line break.

    Raises :class:`SyntaxFaultError` where the parser stops. With ``fast`` libyaml parses.
    """
    import yaml

    parser = _c_parser(text) if fast else _python_parser(text)
    try:
        while parser.check_event():
            yield parser.get_event()
    except yaml.MarkedYAMLError as error:
        raise _fault(error, lines) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # What chr() and int() refuse in an escape or a directive; the pure parser lets their errors through.
        index = 0 if fast else parser.get_mark().index
        raise _at(lines, index, "this escape or directive has an impossible value") from None
    finally:
        parser.dispose()


def _c_parser(text: str) -> Any:
    from yaml._yaml import CParser

    return CParser(text)


def _python_parser(text: str) -> Any:
    from ava.load.pure import PythonParser

    return PythonParser(text)


# PyYAML's wording → ours, and whether the fault is shown where its context (a quote, a bracket, a key) begins.
_WORDING: tuple[tuple[str, str, bool], ...] = (
    (r"mapping values are not allowed", "a `:` cannot stand here; quote the text, or check the indentation", False),
    (r"could not find expected ':'", "expected `:` after this key", True),
    (r"found unexpected end of stream", "this quoted text has no end", True),
    (r"found unexpected document separator", "this quoted text has no end before the next document", True),
    (r"expected <block end>, but found", "this does not fit what is above it; check the indentation", False),
    (r"expected .* but got '<stream end>'", "this bracket is never closed", True),
    (r"found character '`' that cannot start any token", "a backtick cannot begin a value; quote the text", False),
    (r"found character '(.)' that cannot start any token", r"`\1` cannot begin a value; quote the text", False),
    (r"expected '(.)' or '(.)', but got '(.*)'", r"expected `\1` or `\2`, found `\3`", False),
    (r"found unknown escape character '(.+)'", r"`\\\1` is no escape; single quotes take a backslash as it is", False),
    (r"expected alphabetic or numeric character", "this is no name of an anchor or alias; quote the text", True),
    (
        r"expected chomping or indentation|expected a comment or a line break",
        "text after `|` or `>` starts on the next line",
        False,
    ),
    (r"expected escape sequence of (\d+) hexa", r"this escape needs \1 hexadecimal digits", False),
    (r"mapping keys are not allowed here", "a `?` cannot stand here; quote the text, or check the indentation", False),
    (r"sequence entries are not allowed here", "a list's `-` cannot stand here; put it on a new line", False),
    (r"expected '<document start>', but found .*", "this does not fit what is above it; check the indentation", False),
    (r"expected the node content, but found '<stream end>'", "the text ends where a value should be", False),
    (r"expected the node content, but found '(.*)'", r"expected a value, found `\1`", False),
)

_TOKEN = re.compile("`<(?:scalar|anchor|alias|tag)>`")


def _fault(error: Any, lines: Lines) -> SyntaxFaultError:
    problem = str(error.problem or error.context or "not YAML")
    mark = error.problem_mark or error.context_mark
    index = mark.index if mark is not None else 0
    if problem.startswith("found undefined tag handle"):
        span = lines.span(index, index + 1)
        return SyntaxFaultError(rules.TAG.finding("tags are not supported; write the plain value", span), index)
    if problem.startswith("found character '\\t'"):
        span = lines.span(index, index + 1)
        return SyntaxFaultError(rules.TAB.finding("a tab stands where only spaces may; use spaces", span), index)
    for pattern, wording, at_context in _WORDING:
        match = re.search(pattern, problem, re.DOTALL)
        if match:
            shown = error.context_mark.index if at_context and error.context_mark is not None else index
            message = _TOKEN.sub("another value", match.expand(wording))
            return _at(lines, shown, message, index, sure="unexpected end of stream" in pattern)
    return _at(lines, index, problem, index)


def _at(lines: Lines, index: int, message: str, reached: int | None = None, *, sure: bool = False) -> SyntaxFaultError:
    """Return the fault at ``index``, which stays on the last line that says something."""
    shown = min(index, len(lines.text.rstrip()))
    finding = rules.SYNTAX_ERROR.finding(message, lines.span(shown, min(shown + 1, len(lines.text))))
    return SyntaxFaultError(finding, index if reached is None else reached, sure=sure)
