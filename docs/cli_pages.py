"""``docs/reference/cli.md``: every command with its options, its exit codes and an example, run for the page."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from unittest import mock

import typer

from ava.cli import main
from ava.cli.app import COMMANDS, build_app
from ava.cli.render.explain_markdown import table

__all__ = ["EXAMPLES", "FILES", "MEASURED", "PAGE", "cli_page", "commands"]

PAGE = "reference/cli.md"

FILES = {
    "wrong.yaml": """\
version: 1
extends: standard
terms:
  ngram_penalty: {windw: 64}
  immediate_repetition_penalty: {weight: 3.0}
""",
    "one.yaml": """\
version: 1
terms:
  z_loss: {}
  ngram_penalty: {window: 64}
""",
    "two.yaml": """\
version: 1
terms:
  z_loss: {weight: 0.001}
  ngram_penalty: {window: 128}
""",
    "old.yaml": """\
vocab_size: 50257
use_ngram_penalty: true
ngram_window_size: 64
""",
}

CODES = {
    "validate": ("no error", "an error in a file", "a path cannot be read or holds nothing"),
    "lint": (
        "nothing at or above `--fail-on`",
        "a finding at or above it, or `--diff` shows a change",
        "as `validate`",
    ),
    "explain": ("explained", "the configuration has an error", "no such preset, term or field"),
    "dry-run": (
        "ran, nothing at or above `--fail-on`",
        "a finding at or above it",
        "cannot run: torch is missing, say",
    ),
    "report": ("written", "a finding at or above `--fail-on`", "a log or preset cannot be read"),
    "bench": ("timed", "results differ, so nothing was timed", "cannot run: torch is missing, say"),
    "diff": ("compared", "a change that `--exit-code` or `--fail-on` asks for", "a comparison that cannot be made"),
    "presets list": ("listed", "–", "a folder cannot be read"),
    "presets show": ("printed", "the preset has an error", "no such preset"),
    "presets path": ("printed", "–", "no such preset"),
    "init": ("written", "–", "the file is there already"),
    "migrate": ("printed", "a mistake in the old file", "it cannot be read, or `--output` is there already"),
    "schema": ("printed", "–", "cannot be written"),
    "graph": ("printed", "the configuration has an error", "no such preset"),
    "rule": ("printed", "–", "no such rule"),
    "rules": ("listed", "–", "no such rule"),
}
"""Command to what 0, 1 and 2 mean; the tests hold them against the commands."""


@dataclass(frozen=True)
class Example:
    """A command line, and what the page shows of its output: all of it, or the first lines."""

    line: str
    code: int = 0
    first: int | None = None


EXAMPLES = {
    "validate": Example("ava-loss validate wrong.yaml", 1),
    "lint": Example("ava-loss lint --select AVA2 wrong.yaml", 1),
    "explain": Example("ava-loss explain one.yaml ngram_penalty.window"),
    "diff": Example("ava-loss diff one.yaml two.yaml"),
    "presets list": Example("ava-loss presets list"),
    "presets show": Example("ava-loss presets show fast_prototype"),
    "presets path": Example("ava-loss presets path standard"),
    "init": Example("ava-loss init my.yaml"),
    "migrate": Example("ava-loss migrate old.yaml"),
    "schema": Example("ava-loss schema", first=4),
    "graph": Example("ava-loss graph one.yaml"),
    "rule": Example("ava-loss rule unknown-key"),
    "rules": Example("ava-loss rules AVA31"),
}
MEASURED = {
    "dry-run": """\
$ ava-loss dry-run one.yaml --scenario repetitive --vocab-size 512 --steps 2 --no-compile
one.yaml
…
Terms
                  raw  weight  weighted  % total  % grad    cos
…
main_loss     …
z_loss        …
ngram_penalty …
…
finite       yes
…
""",
    "bench": """\
$ ava-loss bench one.yaml --rows 64 --vocab-size 1024 --rounds 1 --set compile.enabled=false --quiet
…
""",
    "report": """\
$ ava-loss report --no-run one.yaml --output one.html
…
""",
}
"""What takes torch, or shows this machine's times: written by hand, and run by the tests."""


def cli_page() -> str:
    """Return the page."""
    parts = [
        "# Command line",
        "`ava-loss COMMAND --help` prints what stands here. A `PRESET` is a preset's name, a path, or `-` for standard "
        "input. Results go to standard output and messages to standard error; `--output FILE` writes the result to a "
        "file, whole or not at all. Only `dry-run`, `bench`, `report` (without `--no-run`) and `diff --numeric` need "
        "torch.",
        "## Exit codes\n\n"
        + table(
            ["code", "means"],
            [
                ["0", "clean"],
                ["1", "findings: whatever a file *contains*"],
                ["2", "could not do it: usage, a path that cannot be opened, an unknown preset, rule or option"],
            ],
        ).strip(),
        "## Environment\n\n"
        + table(
            ["variable", "does"],
            [
                ["`AVA_PRESET_PATH`", "folders with presets of your own, looked through after `--preset-path`"],
                ["`NO_COLOR`", "switches colour off"],
                ["`COLUMNS`", "width of tables where there is no terminal"],
                ["`GITHUB_ACTIONS`", "is `true` there: `validate` and `lint` annotate, see [CI](../ci.md)"],
            ],
        ).strip(),
        "## Files of the examples",
        *(f"<!-- file: {name} -->\n\n`{name}`:\n\n```yaml\n{text}```" for name, text in FILES.items()),
    ]
    with _folder() as run:
        for name, function in commands():
            parts += _command(name, function, run)
    return "\n\n".join(parts) + "\n"


def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield each command's name and function; those of a group with the group's name in front."""
    app = build_app()
    found: dict[str, Callable[..., Any]] = {}
    for group in app.registered_groups:
        inner = group.typer_instance
        assert inner is not None
        name = group.name or inner.info.name
        found |= {
            f"{name} {item.name or _dashes(item.callback)}": _function(item) for item in inner.registered_commands
        }
    found |= {item.name or _dashes(item.callback): _function(item) for item in app.registered_commands}
    yield from sorted(found.items(), key=lambda item: COMMANDS.index(item[0].split()[0]))


def _function(item: Any) -> Callable[..., Any]:
    assert item.callback is not None
    function: Callable[..., Any] = item.callback
    return function


def _dashes(function: Any) -> str:
    return str(function.__name__).strip("_").replace("_", "-")


def _command(name: str, function: Callable[..., Any], run: Callable[[Example], str]) -> Iterator[str]:
    yield f"## {name}"
    yield " ".join(inspect.cleandoc(function.__doc__ or "").split("\n\n")[0].split())
    rest = inspect.cleandoc(function.__doc__ or "").split("\n\n")[1:]
    yield from (" ".join(text.split()) for text in rest)
    arguments, options = [], []
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        if get_origin(hints[parameter.name]) is not Annotated:  # Typer's context
            continue
        kind, info = get_args(hints[parameter.name])[:2]
        if getattr(info, "hidden", False):
            continue
        text = " ".join((info.help or "").split())
        if isinstance(info, typer.models.ArgumentInfo):
            required = parameter.default is inspect.Parameter.empty
            shown = (info.metavar or parameter.name.upper()).strip("[]")
            default = "required" if required else _default(parameter.default)
            arguments.append([f"`{shown}`", text, default])
        else:
            options.append(
                [_names(parameter.name, info, kind), _accepts(kind, info), _default(parameter.default), text]
            )
    if arguments:
        yield table(["argument", "is", "default"], arguments).strip()
    if options:
        yield table(["option", "takes", "default", "meaning"], options).strip()
    if name not in CODES or name not in EXAMPLES | MEASURED:
        raise SystemExit(f"docs/cli_pages.py: say in CODES what `{name}` answers, and give it an example")
    clean, findings, failed = CODES[name]
    yield f"Exit code 0: {clean} · 1: {findings} · 2: {failed}."
    if name in MEASURED:
        yield f"```console\n{MEASURED[name]}```"
        return
    example = EXAMPLES[name]
    marker = f"<!-- exit: {example.code} -->\n\n" if example.code else ""
    yield f"{marker}```console\n$ {example.line}\n{run(example)}```"


def _names(name: str, info: Any, kind: Any) -> str:
    plain = f"--{name.replace('_', '-')}"
    declared = [item for item in (info.default, *(info.param_decls or ())) if isinstance(item, str)]
    given = [part for item in declared for part in item.split("/")]
    names = given or ([plain, f"--no-{plain[2:]}"] if kind is bool else [plain])
    return ", ".join(f"`{item}`" for item in names)


def _accepts(kind: Any, info: Any) -> str:
    inner = [item for item in get_args(kind) if item is not type(None)]
    if get_origin(kind) is list:
        return f"{_accepts(inner[0], info)}, repeatable"
    if inner:
        return _accepts(inner[0], info)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{item.value}`" for item in kind)
    if kind is bool:
        return "–"
    if info.metavar:
        return f"`{info.metavar}`"
    if kind is int:
        low = "" if info.min is None else f", at least {info.min}"
        return f"an integer{low}"
    return {str: "text", Path: "a path", float: "a number"}[kind]


def _default(value: Any) -> str:
    if value is None or value is False:
        return ""
    if isinstance(value, Enum):
        return f"`{value.value}`"
    return "on" if value is True else f"`{value}`"


@contextlib.contextmanager
def _folder() -> Iterator[Callable[[Example], str]]:
    """Make a folder with the files of the examples, and yield what runs a command line in it."""
    quiet = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    here = {key: value for key, value in os.environ.items() if not key.startswith(("GITHUB_", "AVA_", "FORCE_"))}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), mock.patch.dict(os.environ, clear=True):
        os.environ.update(here | quiet)
        for name, text in FILES.items():
            Path(name).write_text(text, encoding="utf-8")
        yield _run


def _run(example: Example) -> str:
    out, messages = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(messages):
        code = main(example.line.split()[1:])
    if code != example.code:
        raise RuntimeError(f"{example.line}: exit code {code}\n{messages.getvalue()}")
    text = "\n".join(line.rstrip() for line in (out.getvalue() + messages.getvalue()).splitlines())
    text = text.replace(str(_presets()), "…/presets")
    lines = text.splitlines()
    if example.first is not None and len(lines) > example.first:
        lines = [*lines[: example.first], "…"]
    return "".join(f"{line}\n" for line in lines)


def _presets() -> Path:
    from ava.load import data_folder

    return Path(str(data_folder("presets")))
