"""The page on Hugging Face's trainers: what it shows runs, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

pytest.importorskip("transformers")

from ava.integrations import huggingface
from tests.integrations.hf import arguments, collate, gpt2, logged, rows, trainer_of

PAGE = (Path(__file__).parents[2] / "docs" / "training-huggingface.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_snippets_run(tmp_path: Path) -> None:
    from transformers import Trainer

    made, installed, function = (body for kind, body in BLOCKS if kind == "python")

    class Quick(Trainer):
        def __init__(self, *args, **more):
            super().__init__(*args, data_collator=collate, **more)

    names = {"model": gpt2(), "Trainer": Quick, "args": arguments(tmp_path, max_steps=1), "rows": rows()}
    made = made.replace("from transformers import Trainer\n", "")
    source = made.replace('Loss.load("standard"', 'Loss.load("standard", overrides={"compile.enabled": False}')
    exec(source, names)
    names["trainer"].train()
    assert len(logged(names["trainer"], "loss/main")) == 1
    names["trainer"] = trainer_of(names["model"], tmp_path, max_steps=1)
    exec(installed, names)
    names["trainer"].train()
    assert len(logged(names["trainer"], "loss/main")) == 1
    exec(function, names)
    assert names["model"](**collate(rows(2))).loss.isfinite()


def test_the_plugin_has_its_keys() -> None:
    (text,) = (body for kind, body in BLOCKS if kind == "yaml")
    keys = yaml.safe_load(text)
    assert keys.pop("plugins") == [f"{huggingface.__name__}.{huggingface.AvaPlugin.__name__}"]
    from ava.integrations.huggingface.axolotl import AvaArgs

    assert set(keys) == set(AvaArgs.model_fields)


def test_every_public_name_is_there() -> None:
    for name in huggingface.__all__:
        assert getattr(huggingface, name).__doc__
    for name in ("compute_loss_func", "as_loss_function", "install", "LossCallback", "model_fields", "AvaPlugin"):
        assert name in PAGE
