"""The hooks, run by pre-commit itself on a temporary repository."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.ci.checkouts import BAD, GOOD, ROOT, Repository

ADVICE = "version: 1\nterms:\n  ngram_penalty:\n"  # valid, and a warning


def run(repository: Repository) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files", "--color=never", "--verbose"],
        cwd=repository.path,
        capture_output=True,
        text=True,
        check=False,
    )


def configure(repository: Repository, project: Repository, *hooks: dict[str, object]) -> None:
    revision = project.git("rev-parse", "HEAD")
    config = {"repos": [{"repo": str(project.path), "rev": revision, "hooks": list(hooks)}]}
    (repository.path / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture
def user(repository: Callable[[str], Repository]) -> Repository:
    return repository("user")


def test_the_manifest_is_one_and_has_each_hook_twice():
    path = ROOT / ".pre-commit-hooks.yaml"
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-manifest", path], check=True)
    hooks = {hook["id"]: hook for hook in yaml.safe_load(path.read_text(encoding="utf-8"))}
    assert set(hooks) == {f"ava-loss-{name}{end}" for name in ("validate", "lint") for end in ("", "-system")}
    for name, hook in hooks.items():
        assert hook["language"] == ("system" if name.endswith("-system") else "python")
        assert hook["entry"] == f"ava-loss {'lint' if 'lint' in name else 'validate'}"


def test_the_system_hooks_find_what_is_wrong_and_only_that(project: Repository, user: Repository):
    configure(user, project, {"id": "ava-loss-validate-system"}, {"id": "ava-loss-lint-system"})
    user.commit(conf__good=GOOD)
    made = run(user)
    assert made.returncode == 0, made.stdout
    assert "No errors in 1 file." in made.stdout  # not in pre-commit's own configuration, nor any hidden file
    user.commit(conf__bad=BAD, **{".github__workflow": "on: push\n"})
    made = run(user)
    assert made.returncode == 1
    assert made.stdout.count("conf/bad.yaml:3:3: error AVA101") == 2
    assert "good.yaml" not in made.stdout
    assert "workflow" not in made.stdout


def test_lint_gives_advice_where_validate_has_none(project: Repository, user: Repository):
    configure(user, project, {"id": "ava-loss-validate-system"})
    user.commit(advice=ADVICE)
    assert run(user).returncode == 0
    configure(user, project, {"id": "ava-loss-lint-system"})
    user.commit()
    made = run(user)
    assert made.returncode == 1
    assert "advice.yaml:3:3: warning AVA301" in made.stdout


def test_files_narrows_and_args_reach_the_command(project: Repository, user: Repository):
    hook = {"id": "ava-loss-lint-system", "files": "^conf/", "args": ["--fix"]}
    configure(user, project, hook)
    user.commit(conf__advice=ADVICE, other=BAD)
    made = run(user)
    assert made.returncode == 1  # pre-commit fails where a hook changed a file
    assert "files were modified by this hook" in made.stdout
    assert (user.path / "conf" / "advice.yaml").read_text() == ADVICE.replace("penalty:", "penalty: {}")
    assert (user.path / "other.yaml").read_text() == BAD
    user.commit()
    assert run(user).returncode == 0


@pytest.mark.installs
@pytest.mark.usefixtures("pip_index")
def test_the_python_hook_installs_itself(project: Repository, user: Repository, tmp_path: Path):
    configure(user, project, {"id": "ava-loss-validate"}, {"id": "ava-loss-lint"})
    user.commit(good=GOOD)
    made = run(user)
    assert made.returncode == 0, made.stdout + made.stderr
    environments = list((tmp_path / "pre-commit").glob("repo*/py_env-*"))
    assert len(environments) == 1  # both hooks share it
    assert not list(environments[0].glob("lib/python*/site-packages/torch"))
    user.commit(bad=BAD)
    made = run(user)
    assert made.returncode == 1
    assert made.stdout.count("bad.yaml:3:3: error AVA101") == 2
