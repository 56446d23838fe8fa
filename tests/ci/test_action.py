"""The composite action: its own scripts, run as GitHub's runner runs them, on a temporary checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ci.checkouts import BAD, BIN, GOOD, ROOT, Repository

ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
STRONGER = GOOD.replace("1e-4", "1e-3")
MARKER = "<!-- ava-loss-diff -->"


@dataclass
class Runner:
    """What GitHub's runner gives to a step, and what steps left behind."""

    checkout: Repository
    temp: Path
    inputs: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in (self.temp / "output").read_text().splitlines())

    @property
    def summary(self) -> str:
        return (self.temp / "summary").read_text()

    def event(self, name: str, **content: Any) -> None:
        (self.temp / "event.json").write_text(json.dumps(content))
        self.extra |= {"GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(self.temp / "event.json")}

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run a step's script with the environment that the step declares."""
        step = STEPS[name]
        for file in ("output", "summary"):
            (self.temp / file).touch()
        runner = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(self.temp / "output"),
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary"),
            "GITHUB_WORKSPACE": str(self.checkout.path),
            "RUNNER_TEMP": str(self.temp),
        }
        env = {key: self.value(text) for key, text in step["env"].items()}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.checkout.path,
            env={**os.environ, **runner, **self.extra, **env},
            capture_output=True,
            text=True,
            check=False,
        )

    def value(self, text: str) -> str:
        """Return what an expression of a step's environment comes to."""
        (expression,) = re.fullmatch(r"\$\{\{ (\S+) \}\}", text).groups()  # type: ignore[union-attr]
        scope, _, name = expression.rpartition(".")
        if scope == "inputs":
            default = ACTION["inputs"][name].get("default", "")
            return self.inputs.get(name, default)
        if expression == "github.action_path":
            return str(ROOT)
        assert scope == "steps.diff.outputs"
        return self.outputs[name]


@pytest.fixture
def runner(repository: Callable[[str], Repository], tmp_path: Path) -> Runner:
    """Return a runner on which the action is installed: its environment is the one of these tests."""
    temp = tmp_path / "temp"
    temp.mkdir()
    (temp / "ava-loss").mkdir()
    (temp / "ava-loss" / "bin").symlink_to(BIN)
    return Runner(repository("checkout"), temp, {"paths": "conf"})


def test_no_script_has_an_expression_in_it():
    for step in STEPS.values():
        assert "${{" not in step.get("run", "")
    for file in (ROOT / "scripts" / "action").iterdir():
        assert "${{" not in file.read_text(encoding="utf-8")


def test_every_input_is_read_and_every_output_is_written():
    text = json.dumps(ACTION["runs"])
    for name in ACTION["inputs"]:
        assert f"inputs.{name} " in text, name
    for output in ACTION["outputs"].values():
        step, name = re.findall(r"steps\.(\w+)\.outputs\.(\w+)", output["value"])[0]
        script = (ROOT / "scripts" / "action" / f"{step}.sh").read_text()
        assert f"{name}=" in script


def test_scripts_are_sound_shell():
    for file in (ROOT / "scripts" / "action").glob("*.sh"):
        subprocess.run(["bash", "-n", file], check=True)


# -- lint -------------------------------------------------------------------------------------------------------


def test_lint_annotates_sums_up_and_fails(runner: Runner):
    runner.checkout.commit(conf__bad=BAD, conf__good=GOOD)
    made = runner.run("Lint")
    assert made.returncode == 1
    assert "::error file=conf/bad.yaml,line=3,col=3,endLine=3,endColumn=8,title=AVA101 unknown-key::" in made.stdout
    assert "| `conf/bad.yaml:3:3` |" in runner.summary
    assert runner.outputs == {"findings": "true"}


def test_lint_of_good_files_is_quiet(runner: Runner):
    runner.checkout.commit(conf__good=GOOD)
    made = runner.run("Lint")
    assert (made.returncode, runner.outputs, runner.summary) == (0, {"findings": "false"}, "")
    assert "::" not in made.stdout


def test_lint_takes_paths_arguments_and_a_threshold(runner: Runner):
    runner.checkout.commit(conf__a="version: 1\nterms:\n  ngram_penalty:\n", **{"other files__b": BAD})
    assert runner.run("Lint").returncode == 1  # a warning
    runner.inputs |= {"fail-on": "error"}
    assert runner.run("Lint").returncode == 0
    runner.inputs |= {"fail-on": "", "args": "--ignore=AVA301\n\n  --quiet  "}
    assert runner.run("Lint").returncode == 0
    runner.inputs |= {"paths": "\n  conf/*.yaml \n  other files\n"}
    made = runner.run("Lint")
    assert made.returncode == 1
    assert "other files/b.yaml:3:3" in made.stdout


@pytest.mark.parametrize("paths", ["$(touch pwned)", "`touch pwned`", "conf; touch pwned", "--help\n$(touch pwned)"])
def test_paths_are_never_code(runner: Runner, paths: str):
    runner.checkout.commit(conf__good=GOOD)
    runner.inputs["paths"] = paths
    made = runner.run("Lint")
    assert made.returncode == 2
    assert "Usage:" not in made.stdout
    runner.inputs["diff"] = paths.splitlines()[0]
    assert runner.run("Compare").returncode == 2
    assert not (runner.checkout.path / "pwned").exists()


def test_nothing_to_lint_is_no_success(runner: Runner):
    runner.checkout.commit()
    runner.inputs["paths"] = " \n"
    assert runner.run("Lint").returncode == 2
    assert runner.run("Compare").returncode == 2
    runner.inputs["paths"] = "conf"
    assert runner.run("Lint").returncode == 2
    assert runner.outputs == {"findings": "false"}


# -- compare ----------------------------------------------------------------------------------------------------


def pull_request(runner: Runner) -> str:
    """Make the checkout what GitHub makes of a pull request, a merge commit alone; return the base's revision."""
    origin = runner.checkout
    origin.commit(conf__a=GOOD, conf__b=GOOD)
    origin.git("checkout", "--quiet", "-b", "change")
    origin.commit(conf__a=STRONGER)
    origin.git("checkout", "--quiet", "main")
    base = origin.commit(conf__b=GOOD.replace("1e-4", "5e-4"))  # meanwhile, by somebody else
    origin.git("merge", "--quiet", "--no-ff", "--no-edit", "change")
    origin.git("branch", "merged")
    clone = runner.temp.parent / "clone"
    origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=1", "--branch=merged", f"file://{origin.path}", clone], check=True
    )
    runner.checkout = Repository(clone)
    return base


def test_a_pull_request_is_compared_with_what_it_is_merged_into(runner: Runner):
    pull_request(runner)
    runner.event("pull_request", pull_request={"number": 7, "base": {"sha": "f" * 40}})
    made = runner.run("Compare")
    assert made.returncode == 0, made.stderr
    assert runner.outputs["changed"] == "true"
    text = Path(runner.outputs["markdown"]).read_text()
    assert text.startswith(MARKER)
    assert "z_loss" in text
    assert "0.001" in text
    assert "0.0005" not in text  # the other's change is not this one's
    assert text.strip() in runner.summary


def test_a_push_is_compared_with_what_it_replaced(runner: Runner):
    before = runner.checkout.commit(conf__a=GOOD)
    runner.event("push", before=before)
    assert runner.run("Compare").returncode == 0
    assert runner.outputs["changed"] == "false"
    runner.checkout.commit(conf__a=STRONGER)
    assert runner.run("Compare").returncode == 0
    assert runner.outputs["changed"] == "true"


@pytest.mark.parametrize("event", [{"before": "0" * 40}, {}, {"before": "--upload-pack=touch pwned"}])
def test_without_an_earlier_revision_nothing_is_compared(runner: Runner, event: dict[str, str]):
    runner.checkout.commit(conf__a=GOOD)
    runner.event("push", **event)
    made = runner.run("Compare")
    assert made.returncode == 0
    assert "::notice" in made.stdout
    assert runner.outputs == {}


def test_a_named_revision_and_a_class_that_fails(runner: Runner):
    runner.checkout.commit(conf__a=GOOD)
    runner.checkout.git("tag", "v1")
    runner.checkout.commit(conf__a=STRONGER)
    runner.inputs |= {"diff": "v1", "diff-fail-on": "breaking"}
    assert runner.run("Compare").returncode == 0
    runner.inputs["diff-fail-on"] = "objective"
    made = runner.run("Compare")
    assert made.returncode == 1
    assert "::" in made.stdout


def test_a_comparison_that_cannot_be_made_is_no_success(runner: Runner):
    runner.checkout.commit(conf__a=GOOD)
    for revision in ("no-such-revision", "-n"):
        runner.inputs["diff"] = revision
        made = runner.run("Compare")
        assert made.returncode == 2
        assert "::error" in made.stdout
    runner.inputs |= {"diff": "HEAD", "paths": "nowhere"}
    assert runner.run("Compare").returncode == 2
    assert runner.outputs == {} or runner.outputs["changed"] == "true"


# -- comment ----------------------------------------------------------------------------------------------------


class Comments:
    """The comments of a pull request, and the requests that were made about them."""

    def __init__(self) -> None:
        self.bodies: dict[int, str] = {}
        self.requests: list[tuple[str, str]] = []
        self.status = 200


@pytest.fixture
def api(runner: Runner) -> Iterator[Comments]:
    """Serve what of GitHub's interface the action uses."""
    state = Comments()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def body(self) -> str:
            state.requests.append((self.command, self.path))
            assert self.headers["Authorization"] == "Bearer secret"
            return str(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"])

        def do_GET(self) -> None:
            assert self.headers["Authorization"] == "Bearer secret"
            page = int(self.path.rpartition("page=")[2])
            found = list(state.bodies.items())[100 * (page - 1) : 100 * page]
            self.answer([{"body": body, "url": f"{runner.extra['GITHUB_API_URL']}/c/{key}"} for key, body in found])

        def do_POST(self) -> None:
            state.bodies[len(state.bodies)] = self.body()
            self.answer({})

        def do_PATCH(self) -> None:
            state.bodies[int(self.path.rpartition("/")[2])] = self.body()
            self.answer({})

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    runner.inputs["token"] = "secret"
    runner.event("pull_request", pull_request={"number": 7})
    runner.extra |= {"GITHUB_API_URL": f"http://127.0.0.1:{server.server_port}", "GITHUB_REPOSITORY": "some/thing"}
    yield state
    server.shutdown()
    server.server_close()


def compared(runner: Runner, text: str, changed: str = "true") -> None:
    (runner.temp / "diff.md").write_text(text)
    (runner.temp / "output").write_text(f"markdown={runner.temp / 'diff.md'}\nchanged={changed}\n")


def test_one_comment_is_kept_up_to_date(runner: Runner, api: Comments):
    runner.checkout.commit()
    api.bodies = dict.fromkeys(range(130), "talk")
    compared(runner, f"{MARKER}\nfirst\n")
    made = runner.run("Comment")
    assert made.returncode == 0, made.stderr
    assert api.bodies[130] == f"{MARKER}\nfirst\n"
    compared(runner, f"{MARKER}\nsecond\n")
    runner.run("Comment")
    compared(runner, f"{MARKER}\nno change\n", "false")
    runner.run("Comment")
    assert api.requests == [("POST", "/repos/some/thing/issues/7/comments"), ("PATCH", "/c/130"), ("PATCH", "/c/130")]
    assert api.bodies[130] == f"{MARKER}\nno change\n"


def test_no_change_is_no_comment(runner: Runner, api: Comments):
    runner.checkout.commit()
    compared(runner, f"{MARKER}\nno change\n", "false")
    assert runner.run("Comment").returncode == 0
    assert api.bodies == {}


def test_a_long_comment_is_cut_at_a_line(runner: Runner, api: Comments):
    runner.checkout.commit()
    compared(runner, f"{MARKER}\n" + "a line\n" * 20_000)
    assert runner.run("Comment").returncode == 0
    assert len(api.bodies[0]) < 65_536
    assert api.bodies[0].splitlines()[-3:] == ["a line", "", "The rest is in the summary of the job."]


def test_a_token_that_may_not_write_is_a_warning(runner: Runner, api: Comments):
    runner.checkout.commit()
    compared(runner, f"{MARKER}\n")
    api.status = 403
    made = runner.run("Comment")
    assert made.returncode == 0
    assert made.stdout.startswith("::warning title=ava-loss::The comment was not written: 403")
    assert "secret" not in made.stdout + made.stderr
    api.status = 500
    assert runner.run("Comment").returncode == 1


@pytest.mark.installs
@pytest.mark.usefixtures("pip_index")
def test_the_action_installs_what_it_needs(runner: Runner):
    (runner.temp / "ava-loss" / "bin").unlink()
    (runner.temp / "ava-loss").rmdir()
    runner.checkout.commit(conf__bad=BAD)
    made = runner.run("Install ava-loss")
    assert made.returncode == 0, made.stderr
    assert not (runner.temp / "ava-loss" / "bin").is_symlink()
    assert runner.run("Lint").returncode == 1
    assert runner.outputs == {"findings": "true"}
