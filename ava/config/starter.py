"""The file that ``ava-loss init`` writes: what it builds on, and beneath it what may be changed, commented out."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator

from ava.config.roster import ROSTER
from ava.config.write import MODELINE, flow
from ava.numbers import short
from ava.terms.base import Term

__all__ = ["starter"]

_WIDTH = 100
_SECTIONS = """\
# description: What this loss is for

# model:
#   vocab_size: 50257    # by default, the logits' width
#   eos_token_id: 50256  # needed by eos_penalty, unless the training script gives it

# primary:
#   type: deepseek
#   label_smoothing: 0.1
#   temperature: {initial: 1.0, adaptive: true, bounds: [0.9, 1.1]}

# A term is on when it is named; `null` switches an inherited one off. A weight may also move over
# the optimizer steps: `{from: 0.0, to: 1e-4, steps: 2000, shape: cosine}`.
# terms:
"""


def starter(extends: str = "standard") -> str:
    """Return the text of a first file that builds on ``extends``, and says nothing else until it is edited."""
    head = (
        f"`extends` names a preset, or the path of another file; `ava-loss explain {shlex.quote(extends)}` shows what "
        "that one says. What stands here goes over it: remove the `# ` before a section and before what you change in "
        "it. `ava-loss explain FILE` shows what comes of it."
    )
    lines = [MODELINE, "version: 1", f"extends: {flow(extends)}", "", *_comment(head, ""), ""]
    return "\n".join(lines) + f"\n{_SECTIONS}" + "\n".join(_terms()) + "\n"


def _terms() -> Iterator[str]:
    for name, cls in ROSTER.items():
        yield from _comment(" ".join((cls.__doc__ or name).strip().split("\n\n")[0].split()).replace("``", "`"), "  # ")
        yield f"#   {name}: {{weight: {_weight(cls)}}}"


def _weight(cls: type[Term]) -> str:
    return short(cls.model_fields["weight"].default)


def _comment(text: str, inner: str) -> list[str]:
    """Return a comment, wrapped; ``inner`` is what stands before it once the line around it is no comment."""
    mark = f"# {inner}"
    return textwrap.wrap(
        text, _WIDTH, initial_indent=mark, subsequent_indent=mark, break_long_words=False, break_on_hyphens=False
    )
