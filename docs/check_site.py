"""Checks a built site: every internal link and anchor leads somewhere, and no page loads anything from elsewhere.

    python docs/check_site.py site

Nothing is fetched; links to other sites are counted only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ava.cli.rule import every_rule

__all__ = ["main", "problems"]

LOADS = {"script": "src", "img": "src", "link": "href", "source": "src", "iframe": "src"}
"""Tag to the attribute whose address a browser fetches by itself."""
NO_FETCH = {"canonical", "next", "prev", "index", "search", "author"}
"""Relations of a `link` that a browser does not fetch."""


class _Page(HTMLParser):
    """The ids of a page, where it leads, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        address = given.get(LOADS.get(tag, ""))
        if address and not NO_FETCH & set(given.get("rel", "").split()):
            self.loads.append(address)


def problems(site: Path) -> Iterator[str]:
    """Yield what is wrong, a line each."""
    site = site.resolve()

    @cache
    def page(path: Path) -> _Page:
        return _Page(path.read_text(encoding="utf-8"))

    def target(path: Path, address: str) -> Path:
        place = urlsplit(address).path
        found = (site / unquote(place).lstrip("/")) if place.startswith("/") else (path.parent / unquote(place))
        found = found.resolve() if place else path
        return found / "index.html" if found.is_dir() else found

    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site)
        for address in page(path).loads:
            if urlsplit(address).netloc:
                yield f"{name}: loads {address}"
        for address in (*page(path).links, *page(path).loads):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            file = target(path, address)
            if not file.is_file():
                yield f"{name}: {address} leads nowhere"
            elif parts.fragment and file.suffix == ".html" and unquote(parts.fragment) not in page(file).ids:
                yield f"{name}: {address}: there is no such place on that page"
    for rule in every_rule():
        if not (site / "rules" / rule.name / "index.html").is_file():
            yield f"rules/{rule.name}/: the page that findings link to is missing"


def main(arguments: list[str]) -> int:
    """Print the problems of a site; return 1 where there is one."""
    site = Path(arguments[0] if arguments else "site")
    found = list(problems(site))
    sys.stdout.write("".join(f"{line}\n" for line in found))
    count = len(list(site.rglob("*.html")))
    sys.stdout.write(f"{count} pages, {len(found)} problems.\n")
    return int(bool(found) or not count)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
