"""``examples/custom_term`` is built, installed, and used like a term of our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_term"
ROOT = EXAMPLE.parents[1]
BROKEN = {
    "no_module": ("no_such_module:Term", "cannot be imported: ModuleNotFoundError"),
    "no_class": ("ava_overconfidence:Missing", "cannot be imported: AttributeError"),
    "no_term": ("ava_overconfidence:__all__", "not a subclass of ava.terms.base.Term"),
    "another_name": ("ava_overconfidence:OverconfidencePenalty", "calls itself `overconfidence_penalty`"),
}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the example and install it into a folder, without the network."""
    pytest.importorskip("hatchling")
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("custom_term")
    source = shutil.copytree(EXAMPLE, folder / "source")
    target = folder / "site"
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (target / "ava_overconfidence" / "py.typed").is_file()
    return target


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Return a function that runs ``python`` with the example, and what stands in ``tmp_path``, on its path."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join(map(str, (tmp_path, installed, ROOT)))
        environment = {**os.environ, "PYTHONPATH": paths, "NO_COLOR": "1", "COLUMNS": "100"}
        environment.pop("GITHUB_ACTIONS", None)
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
        )

    return call


def test_its_own_tests_pass(run: Run) -> None:
    done = run("-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", str(EXAMPLE / "tests"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


def test_its_file_is_valid(run: Run) -> None:
    done = run("-m", "ava", "validate", str(EXAMPLE / "loss.yaml"), "--format", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stderr


def test_mistakes_are_said_as_for_a_term_of_our_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(
        "version: 1\nterms:\n  overconfidence_penalty: {entropy_flor: 1, weight: -1}\n  overconfidence_penality: {}\n"
    )
    done = run("-m", "ava", "validate", "wrong.yaml", "--format", "json")
    found = [(item["line"], item["column"], item["code"], item["message"]) for item in json.loads(done.stdout)]
    assert done.returncode == 1
    assert found == [
        (3, 28, "AVA101", "`entropy_flor` is not a field of overconfidence_penalty; did you mean `entropy_floor`?"),
        (3, 53, "AVA105", "`overconfidence_penalty.weight` should be at least 0, got -1"),
        (4, 3, "AVA101", "`overconfidence_penality` is not a term; did you mean `overconfidence_penalty`?"),
    ]


def test_it_is_linted_with_its_own_rule(run: Run, tmp_path: Path) -> None:
    clean = run("-m", "ava", "lint", str(EXAMPLE / "loss.yaml"), "--format", "json")
    assert (clean.returncode, json.loads(clean.stdout)) == (0, []), clean.stderr
    (tmp_path / "low.yaml").write_text(
        "version: 1\nterms:\n  overconfidence_penalty: {weight: 2, entropy_floor: 0.01}\n"
    )
    done = run("-m", "ava", "lint", "low.yaml", "--format", "json")
    found = [(item["line"], item["column"], item["code"], item["name"]) for item in json.loads(done.stdout)]
    assert (done.returncode, found) == (
        1,
        [(3, 36, "AVA201", "weight-range"), (3, 54, "OVC001", "low-entropy-floor")],
    )
    done = run("-m", "ava", "lint", "low.yaml", "--select", "OVC", "--ignore", "low-entropy-floor", "--format", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stderr
    (tmp_path / "low.yaml").write_text(
        "version: 1\nterms:\n  overconfidence_penalty: {entropy_floor: 0.01}  # ava: ignore[low-entropy-floor]\n"
    )
    assert run("-m", "ava", "lint", "low.yaml").returncode == 0
    assert "Finds an `entropy_floor` below 0.05 nats." in run("-m", "ava", "rule", "ovc001").stdout


def test_it_is_explained(run: Run) -> None:
    done = run("-m", "ava", "explain", "overconfidence_penalty", "--format", "json")
    told = json.loads(done.stdout)
    assert told["formula"] == "mean_M (1 - p_y) · max(0, h - H(p))"
    assert told["defaults"] == {"weight": 0.1, "if_missing": "error", "entropy_floor": 1.0}
    assert "Pereyra" in told["sources"][0]["paper"]
    done = run("-m", "ava", "explain", str(EXAMPLE / "loss.yaml"), "--format", "json")
    told = json.loads(done.stdout)
    assert list(told["terms"])[-1] == "overconfidence_penalty"
    assert told["terms"]["overconfidence_penalty"]["weight"]["to"] == 0.1


def test_naming_it_imports_no_torch_and_it_is_in_the_plan(run: Run) -> None:
    code = (
        "import sys; from ava import Config, Plan\n"
        f"plan = Plan(Config.load({str(EXAMPLE / 'loss.yaml')!r}, vocab_size=100, eos_token_id=2))\n"
        "assert 'torch' not in sys.modules; print(plan)"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert "overconfidence_penalty" in done.stdout
    assert "entropy_floor 1.5" in done.stdout


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_entry_point_says_what_is_wrong(run: Run, tmp_path: Path, kind: str) -> None:
    target, message = BROKEN[kind]
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ava.terms]\nbroken_term = {target}\n")
    (tmp_path / "x.yaml").write_text("version: 1\nterms:\n  broken_term: {}\n")
    done = run("-m", "ava", "validate", "x.yaml", "--format", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, len(found)) == (1, 1), done.stderr
    assert (found[0]["code"], found[0]["line"], found[0]["column"]) == ("AVA109", 3, 3)
    assert f"the term `broken_term` ({target})" in found[0]["message"]
    assert message in found[0]["message"]
