"""The recorded defaults: those of this version are what they are, and each release has its own."""

from __future__ import annotations

import json
from pathlib import Path

from ava import Config, __version__
from ava.config import ROSTER
from ava.plan.diff import released
from ava.plan.diff.released import as_released, current, released_text, versions


def test_this_version_is_recorded(request):
    """A default that moves after a release takes a new version; `--snapshot-update` writes the new record."""
    path = Path(released.__file__).parent / "defaults" / f"{__version__}.json"
    if request.config.getoption("update_snapshots", default=False):
        path.write_text(released_text())
    assert json.loads(path.read_text()) == json.loads(released_text())
    assert versions()[-1] == __version__


def test_every_field_is_there():
    found = current()
    for name, cls in ROSTER.items():
        assert {f"terms.{name}.{field}" for field in cls.model_fields} <= set(found)
    assert found["primary.temperature.bounds"] == [0.5, 2.0]
    assert found["model.ignore_index"] == -100


def test_only_what_no_file_sets_drifts(monkeypatch):
    old = {**current(), "terms.ngram_penalty.window": 9, "terms.ngram_penalty.weight": 7.0, "targets.shift": True}
    old["terms.mtp_loss.weighting"] = "other"
    monkeypatch.setattr(released, "recorded", lambda version: old)
    document = {"version": 1, "primary": {"type": "adaptive_mtp"}, "terms": {"ngram_penalty": {"weight": 0.1}}}
    config = Config.load(document)
    before, drifted = as_released(config, "0.0.1")
    assert drifted == {("terms", "ngram_penalty", "window"), ("targets", "shift")}
    assert (before.terms.ngram_penalty.window, before.terms.ngram_penalty.weight) == (9, 0.1)
    assert before.terms.mtp_loss == config.terms.mtp_loss
    assert as_released(Config.load("moe"), "0.0.1")[0].targets.shift
