"""The wheel, installed away from the checkout: without torch, and with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.ci.checkouts import ROOT, USED

pytestmark = pytest.mark.installs

FILE = "version: 1\nextends: standard\nterms:\n  z_loss: {weight: 0.01}\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the files of the checkout that a wheel is made of."""
    folder = tmp_path_factory.mktemp("wheel")
    backend = (
        "import os, sys, hatchling.build as build\n"
        "os.chdir(sys.argv[1]); sys.stdout.write('\\n' + build.build_wheel(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", backend, ROOT, folder], check=True, capture_output=True, text=True, timeout=300
    )
    return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of commands of an environment that holds the wheel and what it demands."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    done = subprocess.run(
        [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 and "No matching distribution" in done.stderr:
        pytest.skip("pip reaches no index here")
    assert done.returncode == 0, done.stderr
    return place / "bin"


def run(folder: Path, *arguments: str, cwd: Path, code: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GITHUB_"))}
    environment |= {"NO_COLOR": "1", "COLUMNS": "80"}
    done = subprocess.run(
        [folder / "ava-loss", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_what_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in ROOT.glob("presets/*.yaml"):
        assert f"ava/_data/presets/{path.name}" in names
    assert {"ava/_data/schemas/ava-loss.schema.json", "ava/py.typed"} <= names
    assert {name for name in names if name.endswith(".py")} == {
        str(path.relative_to(ROOT)) for path in ROOT.glob("ava/**/*.py")
    }
    assert not {name.split("/")[0] for name in names} - {"ava", wheel.name.split("-py3")[0] + ".dist-info"}
    assert "pyproject.toml" in USED


def test_without_torch(empty: Path, tmp_path: Path) -> None:
    installed = subprocess.run([empty / "python", "-c", "import torch"], capture_output=True, check=False)
    assert installed.returncode != 0, "torch is there"
    (tmp_path / "loss.yaml").write_text(FILE)
    presets = [row["name"] for row in json.loads(run(empty, "presets", "list", "--format", "json", cwd=tmp_path))]
    assert sorted(presets) == sorted(path.stem for path in ROOT.glob("presets/*.yaml"))
    assert "No errors in" in run(empty, "validate", *presets, "loss.yaml", cwd=tmp_path)
    assert "AVA201" in run(empty, "lint", "loss.yaml", cwd=tmp_path, code=1)
    assert "ngram_penalty" in run(empty, "explain", "standard", cwd=tmp_path)
    assert "terms.z_loss" in run(empty, "diff", "standard", "loss.yaml", cwd=tmp_path)
    schema = json.loads(run(empty, "schema", cwd=tmp_path))
    assert schema == json.loads((ROOT / "schemas" / "ava-loss.schema.json").read_text())
    run(empty, "init", "mine.yaml", cwd=tmp_path)
    run(empty, "report", "--no-run", "loss.yaml", "--output", "loss.html", cwd=tmp_path)
    assert (tmp_path / "loss.html").read_text().startswith("<!")


@pytest.mark.parametrize("line", ["dry-run standard", "diff standard production --numeric", "bench standard"])
def test_what_needs_torch_says_what_to_install(empty: Path, tmp_path: Path, line: str) -> None:
    assert "pip install 'ava-loss[torch]'" in run(empty, *line.split(), cwd=tmp_path, code=2)


def test_python_without_torch(empty: Path, tmp_path: Path) -> None:
    code = (
        "import ava\n"
        "print(ava.Plan(ava.Config.load('standard', vocab_size=8, eos_token_id=0)).cost)\n"
        "try: ava.Loss\n"
        "except ava.errors.MissingDependencyError as error: print(error)"
    )
    done = subprocess.run([empty / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "pip install 'ava-loss[torch]'" in done.stdout


def test_with_torch(empty: Path, tmp_path: Path) -> None:
    """Torch of this environment, put behind what the other one has: ava is still that of the wheel."""
    pytest.importorskip("torch")
    code = (
        f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
        "import ava, torch\n"
        f"assert not ava.__file__.startswith({str(ROOT)!r}), ava.__file__\n"
        "loss = ava.Loss.load('standard', overrides={'compile.enabled': False}, vocab_size=8, eos_token_id=0)\n"
        "logits = torch.zeros(1, 4, 8, requires_grad=True)\n"
        "loss(logits, torch.ones(1, 4, dtype=torch.int64)).backward()\n"
        "print(logits.grad.abs().sum().item() > 0)"
    )
    done = subprocess.run([empty / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr
