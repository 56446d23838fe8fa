"""Where each keyword of the flat ``UnifiedLoss`` has its place in a configuration."""

from __future__ import annotations

__all__ = ["LEGACY"]

_MTP, _NGRAM, _IMMEDIATE = "terms.mtp_loss", "terms.ngram_penalty", "terms.immediate_repetition_penalty"

LEGACY: dict[str, str] = {
    "primary_loss_type": "primary.type",
    "initial_temperature": "primary.temperature.initial",
    "adaptive_temperature": "primary.temperature.adaptive",
    "temperature_bounds": "primary.temperature.bounds",
    "min_sequence_length": "terms.eos_penalty.min_length",
    "eos_penalty_weight": "terms.eos_penalty.weight",
    "adaptive_threshold": f"{_MTP}.confidence_threshold",
    "adaptive_weight_range": f"{_MTP}.weight_range",
    "use_mtp": _MTP,
    "mtp_type": f"{_MTP}.weighting",
    "mtp_weight": f"{_MTP}.weight",
    "shared_projection": f"{_MTP}.heads",
    "use_ngram_penalty": _NGRAM,
    "ngram_size": f"{_NGRAM}.size",
    "ngram_penalty_weight": f"{_NGRAM}.weight",
    "ngram_window_size": f"{_NGRAM}.window",
    "use_immediate_repetition_penalty": _IMMEDIATE,
    "immediate_repetition_weight": f"{_IMMEDIATE}.weight",
    "immediate_repetition_threshold": f"{_IMMEDIATE}.threshold",
    "use_moe_balancing": "terms.moe_balance_loss",
    "gradient_balance_weight": "terms.moe_balance_loss.weight",
    "use_focal_loss": "terms.focal_loss",
    "focal_alpha": "terms.focal_loss.alpha",
    "focal_gamma": "terms.focal_loss.gamma",
    "focal_weight": "terms.focal_loss.weight",
    "use_diversity_loss": "terms.token_diversity_loss` or `terms.expert_diversity_loss",
    "diversity_weight": "terms.token_diversity_loss.weight` or `terms.expert_diversity_loss.weight",
    "use_contrastive_loss": "terms.contrastive_loss",
    "contrastive_temperature": "terms.contrastive_loss.temperature",
    "contrastive_weight": "terms.contrastive_loss.weight",
    "use_auxiliary_loss": "terms.moe_balance_loss` and `terms.router_z_loss",
    "load_balancing_weight": "terms.moe_balance_loss.weight",
    "router_z_weight": "terms.router_z_loss.weight",
}
"""Keyword to path, for the keywords that are no field's name today."""
