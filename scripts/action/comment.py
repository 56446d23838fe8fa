"""Writes the comparison as a comment of the pull request, over the one that it wrote before.

Reads MARKDOWN (a path), CHANGED, TOKEN, and GitHub's GITHUB_API_URL, GITHUB_REPOSITORY and GITHUB_EVENT_PATH. Where
nothing changed, a new comment would say nothing, so only an old one is brought up to date. A token that may not write,
as in a pull request from a fork, is a warning: the summary of the job has the comparison too.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

MARKER = "<!-- ava-loss-diff -->"
MOST = 65_000  # GitHub takes 65,536 characters


def call(method: str, url: str, body: dict[str, str] | None = None) -> Any:
    """Return what the API answers."""
    request = urllib.request.Request(
        url,
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {os.environ['TOKEN']}", "Accept": "application/vnd.github+json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def earlier(issue: str) -> str | None:
    """Return the address of the comment that begins with the marker, or None."""
    page = 1
    while comments := call("GET", f"{issue}/comments?per_page=100&page={page}"):
        for comment in comments:
            if (comment["body"] or "").startswith(MARKER):
                return str(comment["url"])
        page += 1
    return None


def main() -> None:
    text = Path(os.environ["MARKDOWN"]).read_text(encoding="utf-8")
    text = text if text.startswith(MARKER) else f"{MARKER}\n{text}"
    if len(text) > MOST:
        text = text[:MOST].rpartition("\n")[0] + "\n\nThe rest is in the summary of the job.\n"
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    repository = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}"
    issue = f"{repository}/issues/{int(event['pull_request']['number'])}"
    try:
        old = earlier(issue)
        if old is not None:
            call("PATCH", old, {"body": text})
        elif os.environ.get("CHANGED") == "true":
            call("POST", f"{issue}/comments", {"body": text})
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403, 404):
            raise
        print(f"::warning title=ava-loss::The comment was not written: {error.code} {error.reason}. "
              "The job needs `permissions: {pull-requests: write}`.")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
