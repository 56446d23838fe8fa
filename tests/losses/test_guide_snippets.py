"""Every Python snippet of the guide, as a user would paste it, with what it needs around it and real tensors for `…`.

One test a snippet, in the guide's order and under its headings; below each snippet, what it promises.
"""

from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ava.losses import UnifiedLoss
from tests.losses.conftest import HIDDEN, LENGTH, ROWS, VOCABULARY, TinyModel, make_batch

Batch = dict[str, Tensor]


def parts(loss_fn: UnifiedLoss, outputs: Any, batch: Batch, **tensors: Any) -> dict[str, Tensor]:
    """Call the loss in detail, check that the parts add up and the gradient is there, and return the parts."""
    answer = loss_fn(outputs.logits, batch["labels"], batch["attention_mask"], return_detailed=True, **tensors)
    assert isinstance(answer, dict)
    total = sum(value for name, value in answer.items() if name != "total_loss")
    torch.testing.assert_close(answer["total_loss"].detach(), total)
    answer["total_loss"].backward()
    assert outputs.logits.grad.abs().sum() > 0
    assert outputs.logits.grad.isfinite().all()
    return answer


def scalar(loss: Any) -> None:
    """Check that a loss is one that a training loop can use."""
    assert isinstance(loss, Tensor)
    assert loss.ndim == 0
    assert loss.isfinite()
    loss.backward()


# ---- Primary loss types


def test_standard_cross_entropy(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        primary_loss_type="standard",
        label_smoothing=0.0,  # Optional smoothing
    )

    assert parts(loss_fn, outputs, batch).keys() == {"total_loss", "main_loss"}
    targets = batch["labels"].masked_fill(batch["attention_mask"] == 0, -100)
    expected = torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss_fn(outputs.logits, targets), expected)


def test_deepseek_style_loss(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        primary_loss_type="deepseek",
        initial_temperature=1.0,
        adaptive_temperature=True,
        label_smoothing=0.1,
        eos_penalty_weight=0.05,
    )

    assert parts(loss_fn, outputs, batch).keys() == {"total_loss", "main_loss"}
    assert loss_fn.config.primary.temperature.adaptive


def test_adaptive_mtp_loss(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        hidden_size=768,
        primary_loss_type="adaptive_mtp",
        adaptive_threshold=0.7,
        adaptive_weight_range=(0.5, 1.5),
    )

    tensors = {"attention_mask": batch["attention_mask"], "hidden_states": outputs.hidden_states[-1]}
    found = loss_fn(outputs.logits, batch["labels"], **tensors, return_detailed=True)
    assert found.keys() == {"total_loss", "main_loss", "mtp_loss"}
    assert found["mtp_loss"] > 0
    with pytest.raises(ValueError, match="`hidden_states` is missing: `mtp_loss` needs it"):
        loss_fn(outputs.logits, batch["labels"])


# ---- Loss components


def test_multi_token_prediction(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        hidden_size=768,
        use_mtp=True,
        num_future_tokens=3,  # Predict 1-3 tokens ahead
        mtp_type="deepseek",  # or "adaptive"
        mtp_weight=0.1,  # Weight relative to main loss
    )

    # Must provide hidden_states
    loss = loss_fn(
        logits=outputs.logits,
        targets=batch["labels"],
        hidden_states=outputs.hidden_states[-1],  # Last layer hidden states
    )

    scalar(loss)
    assert outputs.hidden_states[-1].grad.abs().sum() > 0
    assert sum(parameter.numel() for parameter in loss_fn.parameters()) == 3 * VOCABULARY * HIDDEN + 2 * HIDDEN
    assert all(parameter.grad is not None for parameter in loss_fn.parameters())


def test_ngram_repetition_penalty(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        use_ngram_penalty=True,
        ngram_size=4,  # Check 4-grams
        ngram_penalty_weight=0.1,  # Penalty strength
        ngram_window_size=50,  # Look-back window
    )

    assert parts(loss_fn, outputs, batch).keys() == {"total_loss", "main_loss", "ngram_penalty"}


def test_immediate_repetition_penalty(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        use_immediate_repetition_penalty=True,
        immediate_repetition_weight=0.5,
        immediate_repetition_threshold=2,  # Trigger after 2 repeats
    )

    assert parts(loss_fn, outputs, batch).keys() == {"total_loss", "main_loss", "immediate_repetition_penalty"}


def test_early_eos_penalty(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        eos_token_id=50256,
        min_sequence_length=20,  # Don't allow EOS before position 20
        eos_penalty_weight=0.05,
    )

    found = parts(loss_fn, outputs, batch)
    assert found.keys() == {"total_loss", "main_loss", "eos_penalty"}
    assert found["eos_penalty"] > 0


def test_moe_load_balancing(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        num_experts=8,
        use_moe_balancing=True,
        gradient_balance_weight=0.1,
        target_expert_usage=0.125,  # 1/8 for 8 experts
    )

    # Pass MoE-specific outputs
    loss = loss_fn(
        logits=outputs.logits,
        targets=batch["labels"],
        gate_logits=outputs.gate_logits,  # Router gate logits
        expert_indices=outputs.expert_indices,  # Selected experts
        expert_outputs=outputs.expert_outputs,  # Expert outputs
    )

    scalar(loss)
    assert outputs.gate_logits.grad.abs().sum() > 0
    assert outputs.expert_outputs.grad is None


def test_advanced_losses(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        use_focal_loss=True,
        focal_gamma=2.0,  # Focus factor
        use_diversity_loss=True,
        diversity_weight=0.05,
        use_contrastive_loss=True,
        contrastive_temperature=0.07,
    )

    batch["labels"][0, 1] = batch["labels"][0, 0]  # a pair for the contrastive loss
    found = parts(loss_fn, outputs, batch, hidden_states=outputs.hidden_states[-1])
    assert list(found) == ["total_loss", "main_loss", "focal_loss", "token_diversity_loss", "contrastive_loss"]
    assert all(value > 0 for value in found.values())


# ---- Configuration guide


def test_standard_llm_training(outputs: Any, batch: Batch, tokenizer: Any) -> None:
    from ava.losses import UnifiedLoss

    loss_fn = UnifiedLoss(
        vocab_size=50257,
        primary_loss_type="deepseek",  # ⭐ Recommended
        # Temperature & smoothing
        initial_temperature=1.0,
        adaptive_temperature=True,
        label_smoothing=0.1,
        # Repetition prevention
        use_ngram_penalty=True,
        ngram_penalty_weight=0.1,
        use_immediate_repetition_penalty=True,
        immediate_repetition_weight=0.5,
        # EOS handling
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        min_sequence_length=20,
        eos_penalty_weight=0.05,
    )

    found = parts(loss_fn, outputs, batch)
    assert list(found)[2:] == ["immediate_repetition_penalty", "ngram_penalty", "eos_penalty"]


def test_moe_model_training(batch: Batch) -> None:
    model = TinyModel(VOCABULARY, 16)

    loss_fn = UnifiedLoss(
        vocab_size=50257,
        hidden_size=768,
        num_experts=8,
        # MoE-specific
        use_moe_balancing=True,
        gradient_balance_weight=0.1,
        target_expert_usage=0.125,  # 1/num_experts
        # Encourage diversity
        use_diversity_loss=True,
        diversity_weight=0.05,
        # Standard features
        primary_loss_type="deepseek",
        use_ngram_penalty=True,
    )

    # Usage in training loop
    outputs = model(**batch, output_hidden_states=True)
    loss = loss_fn(
        logits=outputs.logits,
        targets=batch["labels"],
        gate_logits=outputs.gate_logits,  # MoE gates
        expert_indices=outputs.expert_indices,  # Selected experts
        expert_outputs=outputs.expert_outputs,  # Expert outputs
    )

    scalar(loss)
    assert model.gate.weight.grad.abs().sum() > 0
    with pytest.warns(UserWarning, match="left out of calls without"):
        found = loss_fn(outputs.logits, batch["labels"], return_detailed=True)
    assert found.keys() == {"total_loss", "main_loss", "ngram_penalty"}


def test_anti_repetition_focus(outputs: Any, batch: Batch, tokenizer: Any) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        primary_loss_type="deepseek",
        # Strong repetition penalties
        use_ngram_penalty=True,
        ngram_size=4,
        ngram_penalty_weight=0.2,  # Higher weight
        ngram_window_size=100,
        use_immediate_repetition_penalty=True,
        immediate_repetition_weight=1.0,  # Much higher
        immediate_repetition_threshold=2,
        # Prevent early EOS
        eos_token_id=tokenizer.eos_token_id,
        min_sequence_length=30,  # Longer minimum
        eos_penalty_weight=0.1,
        # Temperature control
        initial_temperature=1.2,  # Slightly higher
        adaptive_temperature=True,
    )

    assert "ngram_penalty" in parts(loss_fn, outputs, batch)
    assert loss_fn.get_loss_statistics()["temperature"] == 1.2


def test_multi_token_prediction_with_standard_components(outputs: Any, batch: Batch, tokenizer: Any) -> None:
    def model(**call: Any) -> Any:
        assert call["output_hidden_states"]
        return outputs

    loss_fn = UnifiedLoss(
        vocab_size=50257,
        hidden_size=768,
        primary_loss_type="deepseek",
        # Enable MTP
        use_mtp=True,
        num_future_tokens=3,
        mtp_type="deepseek",  # or "adaptive"
        mtp_weight=0.1,
        # Standard components
        use_ngram_penalty=True,
        eos_token_id=tokenizer.eos_token_id,
    )

    # Must provide hidden states
    answer = model(**batch, output_hidden_states=True)
    loss = loss_fn(
        logits=answer.logits,
        targets=batch["labels"],
        hidden_states=answer.hidden_states[-1],  # Required for MTP
        attention_mask=batch.get("attention_mask"),
    )

    assert loss.isfinite()
    assert [term.name for term in loss_fn.config.enabled] == ["ngram_penalty", "eos_penalty", "mtp_loss"]


# ---- Use cases & examples


@pytest.mark.parametrize("use_mtp", [False, True])
def test_training_loop_integration(use_mtp: bool, capsys: pytest.CaptureFixture[str]) -> None:
    config = SimpleNamespace(vocab_size=40, hidden_size=16, use_mtp=use_mtp)
    tokenizer = SimpleNamespace(eos_token_id=39, pad_token_id=0)
    model = TinyModel(config.vocab_size, config.hidden_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer)
    dataloader = [make_batch(config.vocab_size)] * 5
    num_epochs, step, log_interval = 4, 0, 1

    from ava.losses import UnifiedLoss

    # Initialize loss function
    loss_fn = UnifiedLoss(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        primary_loss_type="deepseek",
        use_mtp=config.use_mtp,
        use_ngram_penalty=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )

    # Training loop
    for _epoch in range(num_epochs):
        for batch in dataloader:
            optimizer.zero_grad()

            # Forward pass
            outputs = model(**batch, output_hidden_states=config.use_mtp)

            # Compute loss
            loss = loss_fn(
                logits=outputs.logits,
                targets=batch["labels"],
                attention_mask=batch.get("attention_mask"),
                hidden_states=outputs.hidden_states[-1] if config.use_mtp else None,
            )

            # Backward pass
            loss.backward()

            # Gradient clipping (recommended)
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)

            # Optimizer step
            optimizer.step()
            scheduler.step()

            # Logging
            if step % log_interval == 0:
                print(f"Step {step}, Loss: {loss.item():.4f}")  # noqa: T201

    losses = [float(line.rsplit(" ", 1)[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 20
    assert losses[-1] < 0.8 * losses[0]
    assert loss_fn.get_loss_statistics()["step"] == 20


def test_detailed_loss_monitoring(outputs: Any, batch: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    logged: dict[str, float] = {}
    logger = SimpleNamespace(log=logged.update)
    loss_fn = UnifiedLoss(vocab_size=50257, use_ngram_penalty=True, use_immediate_repetition_penalty=True)

    # Get detailed breakdown
    loss_dict = loss_fn(
        logits=outputs.logits,
        targets=batch["labels"],
        attention_mask=batch["attention_mask"],
        hidden_states=outputs.hidden_states[-1],
        return_detailed=True,  # Return dictionary instead of scalar
    )

    # Access individual components
    print(f"Main Loss: {loss_dict['main_loss'].item():.4f}")  # noqa: T201
    print(f"MTP Loss: {loss_dict.get('mtp_loss', torch.tensor(0.0)).item():.4f}")  # noqa: T201
    print(f"N-gram Penalty: {loss_dict.get('ngram_penalty', torch.tensor(0.0)).item():.4f}")  # noqa: T201
    penalty = loss_dict.get("immediate_repetition_penalty", torch.tensor(0.0)).item()
    print(f"Immediate Penalty: {penalty:.4f}")  # noqa: T201
    print(f"Total Loss: {loss_dict['total_loss'].item():.4f}")  # noqa: T201

    # Backward on total loss
    loss_dict["total_loss"].backward()

    # Log to tensorboard/wandb
    logger.log(
        {
            "loss/main": loss_dict["main_loss"].item(),
            "loss/mtp": loss_dict.get("mtp_loss", torch.tensor(0.0)).item(),
            "loss/ngram": loss_dict.get("ngram_penalty", torch.tensor(0.0)).item(),
            "loss/total": loss_dict["total_loss"].item(),
        }
    )

    assert len(capsys.readouterr().out.splitlines()) == 5
    assert logged["loss/mtp"] == 0
    assert logged["loss/total"] >= logged["loss/main"] > 0
    assert outputs.hidden_states[-1].grad is None  # given, and needed by nothing


def test_hyperparameter_tuning(monkeypatch: pytest.MonkeyPatch, outputs: Any, batch: Batch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", _fake_optuna())
    seen: list[UnifiedLoss] = []

    def train_and_evaluate(model: Any, loss_fn: UnifiedLoss, train_loader: Any, val_loader: Any) -> float:
        seen.append(loss_fn)
        return float(loss_fn(outputs.logits, batch["labels"]).item())

    model = train_loader = val_loader = None

    import optuna

    def objective(trial: Any) -> float:
        # Suggest hyperparameters
        ngram_weight = trial.suggest_float("ngram_weight", 0.05, 0.3)
        immediate_weight = trial.suggest_float("immediate_weight", 0.2, 1.5)
        temperature = trial.suggest_float("temperature", 0.8, 1.5)

        # Create loss function
        loss_fn = UnifiedLoss(
            vocab_size=50257,
            primary_loss_type="deepseek",
            initial_temperature=temperature,
            ngram_penalty_weight=ngram_weight,
            immediate_repetition_weight=immediate_weight,
            use_ngram_penalty=True,
            use_immediate_repetition_penalty=True,
        )

        # Train and return validation loss
        return train_and_evaluate(model, loss_fn, train_loader, val_loader)

    # Run optimization
    study = optuna.create_study(direction="minimize")
    study.optimize(objective, n_trials=3)

    assert len({loss_fn.initial_temperature for loss_fn in seen}) == 3
    assert len({loss_fn.plan.key for loss_fn in seen}) == 1  # so all trials share one compiled graph
    assert study.best_params.keys() == {"ngram_weight", "immediate_weight", "temperature"}


def _fake_optuna() -> ModuleType:
    """The part of Optuna that the snippet uses: the trials walk through each range evenly."""

    class Study:
        def __init__(self) -> None:
            self.best_params: dict[str, float] = {}

        def optimize(self, objective: Any, n_trials: int) -> None:
            best = float("inf")
            for number in range(n_trials):
                params: dict[str, float] = {}

                def suggest(
                    name: str, low: float, high: float, into: dict[str, float] = params, at: int = number
                ) -> float:
                    return into.setdefault(name, low + (high - low) * at / (n_trials - 1))

                value = objective(SimpleNamespace(suggest_float=suggest))
                if value < best:
                    best, self.best_params = value, params

    module = ModuleType("optuna")
    module.create_study = lambda direction: Study()  # type: ignore[attr-defined]
    return module


# ---- Troubleshooting


def test_nan_or_inf_loss_values(outputs: Any, batch: Batch) -> None:
    model = TinyModel(11, 4)
    loss = model(**make_batch(11)).logits.logsumexp(-1).sum()
    logits, targets = outputs.logits, batch["labels"]

    # Reduce learning rate
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)  # Lower LR

    # Add gradient clipping
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()

    # Use safe temperature bounds
    with pytest.warns(UserWarning, match="`temperature_bounds` has no effect without `adaptive_temperature=True`"):
        loss_fn = UnifiedLoss(
            vocab_size=50257,
            initial_temperature=1.0,  # Start at 1.0
            temperature_bounds=(0.7, 1.5),  # Narrow bounds
        )

    # Check for NaN in inputs
    assert not torch.isnan(logits).any(), "NaN in logits"
    assert not torch.isnan(targets).any(), "NaN in targets"

    assert loss_fn.temperature_bounds == loss_fn.config.primary.temperature.bounds == (0.7, 1.5)
    parts(loss_fn, outputs, batch)


def test_poor_convergence_enable_more_components(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        primary_loss_type="deepseek",  # Switch to DeepSeek
        label_smoothing=0.1,  # Add smoothing
        use_ngram_penalty=True,  # Add penalties
        adaptive_temperature=True,  # Enable adaptation
    )

    assert "ngram_penalty" in parts(loss_fn, outputs, batch)


def test_poor_convergence_increase_penalty_weights(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        ngram_penalty_weight=0.2,  # Increase from 0.1
        immediate_repetition_weight=1.0,  # Increase from 0.5
    )

    assert parts(loss_fn, outputs, batch).keys() >= {"ngram_penalty", "immediate_repetition_penalty"}
    assert [term.weight for term in loss_fn.config.enabled] == [1.0, 0.2]


def test_poor_convergence_monitor_contributions(outputs: Any, batch: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    loss_fn = UnifiedLoss(vocab_size=50257, use_ngram_penalty=True)

    # Use detailed breakdown to identify issues
    loss_dict = loss_fn(outputs.logits, batch["labels"], return_detailed=True)

    # Check if any component is dominating
    for key, value in loss_dict.items():
        if isinstance(value, torch.Tensor):
            print(f"{key}: {value.item():.4f}")  # noqa: T201

    names = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["total_loss", "main_loss", "ngram_penalty"]


def test_memory_errors(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        use_mtp=False,  # Saves 5-10% memory
    )
    parts(loss_fn, outputs, batch)

    loss_fn = UnifiedLoss(
        vocab_size=50257,
        use_mtp=True,
        num_future_tokens=2,  # Reduce from 3 to 2
        shared_projection=True,  # Share projection heads
    )
    assert loss_fn.config.terms.mtp_loss.heads == "shared"
    with pytest.raises(ValueError, match=r"needs `model\.hidden_size` to make its own heads: set it"):
        loss_fn(outputs.logits, batch["labels"], hidden_states=outputs.hidden_states[-1])
    ahead = torch.randn(2, ROWS, LENGTH, VOCABULARY)  # a model with heads of its own needs none
    assert parts(loss_fn, outputs, batch, mtp_logits=ahead)["mtp_loss"] > 0

    model = TinyModel(40, 16)
    batch = make_batch(40)
    loss_fn = UnifiedLoss(vocab_size=40, num_experts=8, use_moe_balancing=True)
    # Enable in model
    model.gradient_checkpointing_enable()
    answer = model(**batch)
    scalar(loss_fn(answer.logits, batch["labels"], gate_logits=answer.gate_logits))
    assert model.experts.grad.abs().sum() > 0


def test_slow_training_speed(outputs: Any, batch: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    logits, targets = outputs.logits, batch["labels"]
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        use_mtp=False,  # Disable MTP (8% speedup)
        use_focal_loss=False,  # Disable focal loss
        use_diversity_loss=False,  # Disable diversity loss
    )
    assert not loss_fn.config.enabled

    start = time.time()
    loss = loss_fn(logits, targets)
    print(f"Loss computation: {time.time() - start:.4f}s")  # noqa: T201
    scalar(loss)
    assert capsys.readouterr().out.startswith("Loss computation: ")

    loss_fn = UnifiedLoss(
        vocab_size=50257,
        use_ngram_penalty=True,
        ngram_window_size=30,  # Reduce from 50
    )
    assert loss_fn.config.terms.ngram_penalty.window == 30
    scalar(loss_fn(logits, targets))

    loss_fn = UnifiedLoss(
        vocab_size=50257,
        primary_loss_type="standard",  # Fastest option
        use_ngram_penalty=True,  # Keep only cheap penalties
        use_immediate_repetition_penalty=True,
    )
    assert len(loss_fn.config.enabled) == 2
    scalar(loss_fn(logits, targets))


def test_repetitive_outputs_strengthen_penalties(outputs: Any, batch: Batch) -> None:
    with pytest.warns(UserWarning, match="`eos_penalty_weight` has no effect without `eos_token_id`"):
        loss_fn = UnifiedLoss(
            vocab_size=50257,
            use_ngram_penalty=True,
            ngram_penalty_weight=0.3,  # Much higher
            use_immediate_repetition_penalty=True,
            immediate_repetition_weight=1.5,  # Much higher
            eos_penalty_weight=0.15,  # Prevent early exit
        )

    assert parts(loss_fn, outputs, batch).keys() >= {"ngram_penalty", "immediate_repetition_penalty"}


def test_repetitive_outputs_longer_sequences(outputs: Any, batch: Batch) -> None:
    with pytest.warns(UserWarning, match="`min_sequence_length` and `eos_penalty_weight` have no effect without"):
        loss_fn = UnifiedLoss(
            vocab_size=50257,
            min_sequence_length=50,  # Longer sequences
            eos_penalty_weight=0.1,
        )

    assert loss_fn.min_sequence_length == 50
    parts(loss_fn, outputs, batch)


def test_repetitive_outputs_diversity_loss(outputs: Any, batch: Batch) -> None:
    loss_fn = UnifiedLoss(
        vocab_size=50257,
        use_diversity_loss=True,
        diversity_weight=0.1,  # Encourage varied outputs
    )

    assert parts(loss_fn, outputs, batch)["token_diversity_loss"] > 0
