"""SARIF against the standard's own schema, which a package of the npm registry carries."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import jsonschema
import pytest

from ava.cli import main
from tests.corpus import files

PACKAGE = "@microsoft/sarif-multitool-linux"


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The schema of SARIF 2.1.0."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    packed = subprocess.run(
        ["npm", "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True, timeout=300
    )
    if packed.returncode:
        pytest.skip(f"npm reaches no registry: {packed.stderr.strip()[-200:]}")
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as files:
        member = next(item for item in files if Path(item.name).name == "sarif-2.1.0.json")
        text = files.extractfile(member)
        assert text is not None
        loaded: dict[str, object] = json.load(text)
    return loaded


@pytest.mark.installs
def test_what_is_written_is_sarif(
    schema: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checker = jsonschema.validators.validator_for(schema)(schema)
    seen = 0
    for command in ("validate", "lint"):
        code = main([command, str(Path(files.__file__).with_name("bad")), "presets", "--format", "sarif"])
        log = json.loads(capsys.readouterr().out)
        checker.validate(log)
        seen += len(log["runs"][0]["results"])
        assert code == 1
    assert seen > 50
    main(["validate", "standard", "--format", "sarif"])
    checker.validate(json.loads(capsys.readouterr().out))
