"""The file that ``ava-loss init`` writes: every term with its defaults, commented out."""

from __future__ import annotations

from ava.config.roster import ROSTER
from ava.config.write import MODELINE
from ava.terms.base import Term

__all__ = ["starter"]

ON = "z_loss"  # harmless, and so that `terms` has a value
_HEAD = """\
version: 1
description: What this loss is for
extends: {extends}  # a preset's name, or the path of another file; `ava-loss explain {extends}` shows what it says

# Whatever stands here goes over what `extends` says. `ava-loss explain FILE` shows what comes of it.

model:
  # vocab_size: 50257      # by default, the logits' width
  eos_token_id: null       # needed by eos_penalty, unless the training script gives it

# primary: {{type: deepseek, label_smoothing: 0.1, temperature: {{initial: 1.0, adaptive: true}}}}

# A term is on when it is named; `null` switches an inherited one off. Remove a `# ` to name one:
terms:
"""
_TAIL = """
# A weight may also move over the optimizer steps:
#   z_loss: {weight: {from: 0.0, to: 1e-4, steps: 2000, shape: cosine}}
"""


def starter(extends: str = "standard") -> str:
    """Return the text of a first configuration that builds on ``extends``."""
    entries = {
        name: f"  {'' if name == ON else '# '}{name}: {{weight: {_weight(cls)}}}" for name, cls in ROSTER.items()
    }
    width = max(map(len, entries.values()))
    lines = [f"{entry:<{width}}  # {_summary(ROSTER[name])}" for name, entry in entries.items()]
    return f"{MODELINE}\n{_HEAD.format(extends=extends)}" + "\n".join(lines) + "\n" + _TAIL


def _weight(cls: type[Term]) -> str:
    return f"{cls.model_fields['weight'].default:g}"


def _summary(cls: type[Term]) -> str:
    text = " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split()).replace("``", "`").rstrip(".")
    return text if len(text) <= 80 else text.split(":")[0].split(",")[0]
