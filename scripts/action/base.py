"""Prints the revision that an event of GitHub changed something since: a pull request's base, what a push replaced.

Prints nothing where there is none, as for the first push of a branch.
"""

import json
import os
from pathlib import Path


def base(event: dict[str, object]) -> str:
    """Return the revision's hash, or an empty text."""
    pull = event.get("pull_request")
    target = pull.get("base") if isinstance(pull, dict) else None
    found = target.get("sha") if isinstance(target, dict) else event.get("before")
    text = found if isinstance(found, str) else ""
    known = len(text) in (40, 64) and set(text) <= set("0123456789abcdef") and set(text) != {"0"}
    return text if known else ""


if __name__ == "__main__":
    path = os.environ.get("GITHUB_EVENT_PATH")
    print(base(json.loads(Path(path).read_text(encoding="utf-8")) if path else {}))
