"""The site: Sphinx with MyST (Markdown) and the theme Furo. ``make docs`` builds it to ``site/``."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from ava import __version__  # noqa: E402
from ava.errors import DOCS_URL  # noqa: E402
from ava.terms.base import Section  # noqa: E402

project = "ava-loss"
author = "the authors of ava-loss"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
root_doc = "index"
default_role = "code"
nitpicky = False
suppress_warnings = ["myst.header", "misc.highlighting_failure"]

myst_heading_anchors = 3
myst_enable_extensions: list[str] = []

html_theme = "furo"
html_title = f"ava-loss {__version__}"
html_baseurl = DOCS_URL.removesuffix("rules/")
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_copyright = False
html_theme_options: dict[str, Any] = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#1d4ed8", "color-brand-content": "#1d4ed8"},
    "dark_css_variables": {"color-brand-primary": "#93c5fd", "color-brand-content": "#93c5fd"},
}
pygments_style = "default"
pygments_dark_style = "github-dark"

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

autodoc_mock_imports = ["accelerate", "axolotl", "lightning", "optuna", "transformers"]  # trainers need not be here
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

EXAMPLES = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)\)")
CHILDREN = re.compile(r"\]\(([\w-]+)\.md\)")
LISTS = ("terms/index", "rules/index")


def read(app: object, name: str, source: list[str]) -> None:
    """Name files beside ``docs/`` instead of linking to them, and give the generated lists their pages as children."""
    text = EXAMPLES.sub(lambda found: _named(found, name), source[0])
    if name in LISTS:
        children = "\n".join(dict.fromkeys(CHILDREN.findall(text)))
        text += f"\n```{{toctree}}\n:hidden:\n\n{children}\n```\n"
    source[0] = text


def _named(found: re.Match[str], name: str) -> str:
    label, target = found.groups()
    path = ((DOCS / name).parent / target).resolve()
    if path.is_relative_to(DOCS):
        return found[0]
    if not path.exists():
        raise FileNotFoundError(f"docs/{name}.md links to {target}, which does not exist")
    place = f"`{path.relative_to(ROOT)}`"
    return place if label.strip("`") in ("Example", "example", path.name, place.strip("`")) else f"{label} ({place})"


def signature(app: object, what: str, name: str, thing: object, options: object, call: str, answer: str) -> Any:
    """Leave out the generated signature of a section of the configuration."""
    return ("", answer) if isinstance(thing, type) and issubclass(thing, Section) else None


def finish(app: Any, failure: Exception | None) -> None:
    """Put the schema where its ``$id`` says it is."""
    if failure is None:
        folder = Path(app.outdir) / "schemas"
        folder.mkdir(exist_ok=True)
        shutil.copy(ROOT / "schemas" / "ava-loss.schema.json", folder)


def setup(app: Any) -> None:
    """Connect the functions above."""
    app.connect("source-read", read)
    app.connect("autodoc-process-signature", signature)
    app.connect("build-finished", finish)
