"""Optuna: weights drawn from the terms' recommended ranges; the best one is written as a file.

python examples/optuna_search.py
"""

from __future__ import annotations

import optuna
import tiny
import torch

import ava
from ava.integrations.optuna import suggest

TRIALS = 4


def main() -> None:
    arguments = tiny.options(__doc__)
    base = tiny.make_loss(arguments).config
    judge = ava.Loss.load("fast_prototype", overrides={"compile.enabled": False}).eval()

    def objective(trial: optuna.Trial) -> float:
        # by default every field that has a recommended range; here the weights alone, which never recompile
        loss_fn = ava.Loss(suggest(trial, base, fields=["weight"]))
        torch.manual_seed(0)
        model = tiny.TinyLM()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for (batch,) in tiny.windows(arguments.steps, 1):
            loss_fn(model(batch["input_ids"]), **batch).backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():  # judged by plain cross-entropy on other data, not by the loss that is being changed
            unseen = tiny.batch(10**6, rows=16)
            return judge(model(unseen["input_ids"]), **unseen).item()

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=TRIALS)
    print(f"best of {len(study.trials)}: cross-entropy {study.best_value:.3f}")
    print(suggest(optuna.trial.FixedTrial(study.best_params), base, fields=["weight"]).to_yaml())


if __name__ == "__main__":
    main()
