"""What is compared, at which sizes, and what makes one run the same as another. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import ava


@dataclass(frozen=True)
class Recipe:
    """A loss: a preset with values set on top, and the experts of the model, if it has any."""

    name: str
    about: str
    preset: str
    set: tuple[str, ...] = ()
    experts: int | None = None
    group: str = "dense"  # "dense", "experts", or "ablation": that one is there to explain the others

    def config(self) -> ava.Config:
        return ava.Config.load(self.preset, overrides=list(self.set))


METHOD = "terms.moe_balance_loss.method"
FIXED, UNSMOOTHED = "primary.temperature.adaptive=false", "primary.label_smoothing=0"
WIDE = "primary.temperature.bounds=[0.5, 2.0]"  # the default, and what the presets had until this study

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("plain", "cross-entropy alone", "fast_prototype"),
        Recipe("standard", "the preset `standard`", "standard"),
        Recipe("anti_repetition", "the preset `anti_repetition`", "anti_repetition"),
        Recipe(
            "plain_mtp",
            "cross-entropy and `mtp_loss`, three shared heads",
            "fast_prototype",
            ("terms.mtp_loss.heads=shared", "terms.mtp_loss.num_future_tokens=3"),
        ),
        Recipe("moe_unbalanced", "experts, cross-entropy alone", "fast_prototype", (), 8, "experts"),
        Recipe("moe_gradient", "the preset `moe`", "moe", (f"{METHOD}=gradient",), 8, "experts"),
        Recipe("moe_switch", "`moe` with `method: switch`", "moe", (f"{METHOD}=switch",), 8, "experts"),
        Recipe("moe_loss_free", "`moe` with `method: loss_free`", "moe", (f"{METHOD}=loss_free",), 8, "experts"),
        Recipe("standard_fixed_tau", "`standard`, τ stays 1", "standard", (FIXED,), group="ablation"),
        Recipe("standard_wide_tau", "`standard`, τ within 0.5 and 2", "standard", (WIDE,), group="ablation"),
        Recipe(
            "standard_slow_tau",
            "`standard`, τ within 0.5 and 2, a tenth as fast",
            "standard",
            (WIDE, "primary.temperature.rate=0.001"),
            group="ablation",
        ),
        Recipe(
            "standard_wide_unsmoothed",
            "`standard`, τ within 0.5 and 2, no label smoothing",
            "standard",
            (WIDE, UNSMOOTHED),
            group="ablation",
        ),
        Recipe(
            "standard_penalties",
            "`standard`'s penalties alone: τ stays 1, no label smoothing",
            "standard",
            (FIXED, UNSMOOTHED),
            group="ablation",
        ),
        Recipe(
            "anti_repetition_fixed_tau",
            "`anti_repetition`, τ stays 1",
            "anti_repetition",
            (FIXED, "primary.temperature.initial=1"),
            group="ablation",
        ),
        Recipe(
            "anti_repetition_wide_tau",
            "`anti_repetition`, τ within 0.5 and 2",
            "anti_repetition",
            (WIDE,),
            group="ablation",
        ),
        Recipe(
            "moe_loss_free_fast",
            "`method: loss_free`, `rate: 0.01`",
            "moe",
            (f"{METHOD}=loss_free", "terms.moe_balance_loss.rate=0.01"),
            8,
            "ablation",
        ),
        Recipe(
            "moe_switch_alone",
            "cross-entropy and `method: switch`, nothing else of `moe`",
            "fast_prototype",
            ("model.num_experts=8", f"{METHOD}=switch"),
            8,
            "ablation",
        ),
    )
}


@dataclass(frozen=True)
class Sizes:
    """The model, the budget, and how much is measured."""

    layers: int
    width: int
    batch_size: int
    seq_len: int
    steps: int
    lr: float
    warmup: int
    points: int  # of a learning curve
    point_batches: int
    held_out_batches: int
    prompts: int
    prompt_length: int
    continuation: int
    files: int | None = None  # sources on each side; None for all


SCALES = {
    "quick": Sizes(1, 32, 2, 64, 6, 3e-3, 2, 2, 1, 2, 4, 16, 48, files=6),
    "small": Sizes(3, 96, 4, 256, 900, 3e-3, 50, 10, 8, 64, 96, 64, 192),
    "large": Sizes(8, 512, 64, 512, 6000, 1e-3, 300, 20, 4, 16, 256, 128, 384),
}


def identity(recipe: Recipe, seed: int, sizes: Sizes, device: str, text: list[int]) -> dict[str, Any]:
    """What has to be the same for a finished run to count; `text` are the fingerprints of both sides."""
    settings = recipe.config().model_dump(mode="json", exclude={"description", "compile"})
    temperature = settings["primary"]["temperature"]
    if temperature and not temperature["adaptive"]:  # then nothing reads its bounds and rate
        settings["primary"]["temperature"] = temperature["initial"]
    return {
        "recipe": recipe.name,
        "seed": seed,
        "config": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16],
        "experts": recipe.experts,
        "sizes": asdict(sizes),
        "device": device.partition(":")[0],
        "text": text,
        "ava": ava.__version__,
    }
