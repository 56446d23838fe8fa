"""The rules of validation: AVA101 to AVA116, AVA301 (advice) and AVA601. All but AVA301 are errors."""

from __future__ import annotations

from ava.errors import Rule, Severity, documentation

__all__ = ["RULES"]


def _rule(code: str, name: str, does: str, bad: str, example: str, instead: str, severity: Severity = "error") -> Rule:
    """Return the rule with its documentation; the two samples become YAML blocks."""
    return Rule(code, name, severity, documentation(does, bad, example, instead))


UNKNOWN_KEY = _rule(
    "AVA101",
    "unknown-key",
    "Finds a key that the mapping around it does not have, with the nearest name, or the place where it belongs.",
    "A key that nothing reads changes nothing, and the run silently uses the default.",
    "version: 1\nterms:\n  ngram_penalty: {windw: 64}",
    "version: 1\nterms:\n  ngram_penalty: {window: 64}",
)
MISSING_KEY = _rule(
    "AVA102",
    "missing-key",
    "Finds a mapping that lacks a required key. Every file needs `version`; a schedule needs `from`, `to` and `steps`.",
    "Without `version` a later release could not tell what the file means. A schedule has no meaningful defaults.",
    "terms:\n  z_loss: {weight: {from: 0.0, to: 1e-4}}",
    "version: 1\nterms:\n  z_loss: {weight: {from: 0.0, to: 1e-4, steps: 1000}}",
)
WRONG_TYPE = _rule(
    "AVA103",
    "wrong-type",
    'Finds a value of another type than the field\'s. Nothing is converted: `on`, `no` and `"0.1"` are text, and '
    "`4.0` is not an integer. (Integers are fine where a number is expected.)",
    "A conversion guesses what was meant, and a wrong guess trains a wrong model.",
    'version: 1\nterms:\n  z_loss: {weight: "0.1"}',
    "version: 1\nterms:\n  z_loss: {weight: 0.1}",
)
UNKNOWN_VALUE = _rule(
    "AVA104",
    "unknown-value",
    "Finds a word that is not one of those the field accepts.",
    "A name that silently became another loss would train a wrong model.",
    "version: 1\nprimary: {type: deepsek}",
    "version: 1\nprimary: {type: deepseek}",
)
OUT_OF_RANGE = _rule(
    "AVA105",
    "out-of-range",
    "Finds a number outside the range in which the field has a meaning. (Unusual values inside it are advice.)",
    "A negative weight rewards what the term should prevent; a window of 0 looks at nothing.",
    "version: 1\nterms:\n  ngram_penalty: {window: 0}",
    "version: 1\nterms:\n  ngram_penalty: {window: 50}",
)
NOT_FINITE = _rule(
    "AVA106",
    "not-finite",
    "Finds a number that is infinite, not a number, or too large for a float.",
    "It turns every loss that it touches into NaN.",
    "version: 1\nterms:\n  z_loss: {weight: .inf}",
    "version: 1\nterms:\n  z_loss: {weight: 1e-4}",
)
UNSUPPORTED_VERSION = _rule(
    "AVA107",
    "unsupported-version",
    "Finds a `version` that this release does not read.",
    "The file may use fields that this release would misread. Install a newer release, or migrate the file.",
    "version: 2",
    "version: 1",
)
INVALID_VALUE = _rule(
    "AVA108",
    "invalid-value",
    "Finds a value that a rule of its field refuses, such as bounds in the wrong order.",
    "The maths of the field has no meaning for it.",
    "version: 1\nprimary: {type: deepseek, temperature: {bounds: [2.0, 0.5]}}",
    "version: 1\nprimary: {type: deepseek, temperature: {bounds: [0.5, 2.0]}}",
)
BROKEN_TERM = _rule(
    "AVA109",
    "broken-term",
    "Finds a term of another package whose entry point in `ava.terms` cannot be imported, or is not a usable term.",
    "The loss would be computed without the term that the file asks for.",
    "version: 1\nterms:\n  my_term: {}  # my_term = 'my_package:not_there' in the package's entry points",
    "version: 1\nterms:\n  my_term: {}  # my_term = 'my_package:MyTerm'",
)
TEMPERATURE_WITHOUT_DEEPSEEK = _rule(
    "AVA111",
    "temperature-without-deepseek",
    "Finds a `temperature` with a primary loss that has none: only `deepseek` does.",
    "It would be ignored. To switch off one that a parent set, write `temperature: null`.",
    "version: 1\nprimary: {type: standard, temperature: {initial: 1.2}}",
    "version: 1\nprimary: {type: deepseek, temperature: {initial: 1.2}}",
)
PADDED_VOCABULARY = _rule(
    "AVA112",
    "padded-vocabulary",
    "Finds a `padded_vocab_size` below `vocab_size`.",
    "Padding makes the logits wider than the vocabulary; narrower, some tokens could never be predicted.",
    "version: 1\nmodel: {vocab_size: 50257, padded_vocab_size: 50176}",
    "version: 1\nmodel: {vocab_size: 50257, padded_vocab_size: 50304}",
)
TOKEN_OUTSIDE_VOCABULARY = _rule(
    "AVA113",
    "token-outside-vocabulary",
    "Finds a special token's id that is not below `vocab_size`.",
    "There is no logit for it, so it belongs to another tokenizer, or the vocabulary's size is wrong.",
    "version: 1\nmodel: {vocab_size: 32000, eos_token_id: 50256}",
    "version: 1\nmodel: {vocab_size: 32000, eos_token_id: 2}",
)
ADAPTIVE_MTP = _rule(
    "AVA114",
    "adaptive-mtp",
    "Finds `primary.type: adaptive_mtp` with `mtp_loss` switched off, or weighted otherwise.",
    "That primary loss *is* the cross-entropy with an adaptive `mtp_loss`; the two fields contradict each other.",
    "version: 1\nprimary: {type: adaptive_mtp}\nterms:\n  mtp_loss: {weighting: uniform}",
    "version: 1\nprimary: {type: standard}\nterms:\n  mtp_loss: {weighting: uniform}",
)
EXPERT_USAGE = _rule(
    "AVA115",
    "expert-usage",
    "Finds a list in `target_expert_usage` that does not sum to 1, or has not one number per expert.",
    "The shares of all experts are a whole; a router cannot reach any other target.",
    "version: 1\nmodel: {num_experts: 4}\nterms:\n  moe_balance_loss: {target_expert_usage: [0.5, 0.5, 0.5, 0.5]}",
    "version: 1\nmodel: {num_experts: 4}\nterms:\n  moe_balance_loss: {target_expert_usage: [0.4, 0.2, 0.2, 0.2]}",
)
TOP_K = _rule(
    "AVA116",
    "top-k",
    "Finds a `top_k` above `num_experts`.",
    "A router cannot pick more experts than there are.",
    "version: 1\nmodel: {num_experts: 4, top_k: 8}",
    "version: 1\nmodel: {num_experts: 8, top_k: 4}",
)
NULL_TERM = _rule(
    "AVA301",
    "null-term",
    "Finds a term set to null, or named with nothing after it, where no parent switches it on.",
    "A bare `ngram_penalty:` looks like a term that is on, and YAML reads it as null, which is off.",
    "version: 1\nterms:\n  ngram_penalty:",
    "version: 1\nterms:\n  ngram_penalty: {}",
    "warning",
)
LEGACY_KEY = _rule(
    "AVA601",
    "legacy-key",
    "Finds a keyword of the flat `UnifiedLoss` among the keys, and says where its place is now.",
    "Nothing reads it. There are no `use_*` flags: a term is on when it is named. `ava-loss migrate` turns a whole "
    "set of keywords into a configuration.",
    "version: 1\nuse_ngram_penalty: true\nngram_window_size: 64",
    "version: 1\nterms:\n  ngram_penalty: {window: 64}",
)

RULES: tuple[Rule, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
