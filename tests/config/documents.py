"""Documents, each with the findings that it must give: ``LINE:COLUMN CODE`` and a part of the message."""

from __future__ import annotations

GOOD: dict[str, str] = {
    "the least": "version: 1",
    "every section": """
version: 1
description: Standard LLM training
model: {vocab_size: 50257, padded_vocab_size: null, hidden_size: 768, eos_token_id: 50256, pad_token_id: null,
        ignore_index: -100, num_experts: null, top_k: 2, logit_scale: 1.0, logit_softcap: null}
targets: {shift: false}
primary: {type: deepseek, label_smoothing: 0.1,
          temperature: {initial: 1.0, adaptive: true, bounds: [0.5, 2.0], rate: 0.01}}
terms:
  ngram_penalty: {weight: 0.1, size: 4, window: 50}
  immediate_repetition_penalty: {weight: {from: 0.0, to: 0.5, steps: 2000, shape: cosine}, threshold: 2}
  eos_penalty: null
balancing: uncertainty
reduction: {across: none, gradient_accumulation_steps: 1}
compile: {enabled: true, backend: inductor, mode: default, chunk_tokens: auto, checks: cheap}
""",
    "integers where numbers are expected": "version: 1\nterms: {z_loss: {weight: 1}, focal_loss: {gamma: 0, alpha: 3}}",
    "empty mappings": "version: 1\nmodel: {}\ntargets: {}\nprimary: {}\nterms: {}\nreduction: {}\ncompile: {}",
    "bounds that touch": "version: 1\nprimary: {type: deepseek, temperature: {bounds: [1, 1]}}",
    "the ends of the ranges": """
version: 1
model: {vocab_size: 1, eos_token_id: 0, pad_token_id: 0, ignore_index: 0, top_k: 1}
primary: {label_smoothing: 0}
terms: {eos_penalty: {weight: 0, min_length: 1}, ngram_penalty: {size: 1, window: 1}}
compile: {enabled: auto, chunk_tokens: 1, checks: "off"}
""",
    "temperature null with standard": "version: 1\nprimary: {type: standard, temperature: null}",
    "a schedule with all its fields": "version: 1\nterms: {z_loss: {weight: {from: 0, to: 1e-4, steps: 1, delay: 0}}}",
    "a switched-off temperature under adaptive_mtp": """
version: 1
primary: {type: adaptive_mtp, temperature: null}
terms: {mtp_loss: {weighting: adaptive, heads: tied, weight_range: [0, 1]}}
""",
    "usage as a number": "version: 1\nterms: {moe_balance_loss: {target_expert_usage: 0.125}}",
    "usage as a list": "version: 1\nterms: {moe_balance_loss: {target_expert_usage: [0.25, 0.75]}}",
    "no usage": "version: 1\nterms: {moe_balance_loss: {target_expert_usage: null}}",
    "anchors and merge keys": """
version: 1
terms:
  z_loss: &quiet {weight: 1e-4, if_missing: skip}
  token_diversity_loss: {<<: *quiet, weight: 0.05}
""",
}

BAD: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "no version": ("description: x", [("1:1 AVA102", "`version` is missing")]),
    "version of the future": ("version: 2", [("1:10 AVA107", "version 2 is not supported")]),
    "version as text": ('version: "1"', [("1:10 AVA103", "expected `1`, got the string `1`")]),
    "version as a truth value": ("version: true", [("1:10 AVA103", "got `true`")]),
    "unknown section": ("version: 1\nprimry: {}", [("2:1 AVA101", "did you mean `primary`?")]),
    "unknown field": (
        "version: 1\nterms:\n  ngram_penalty:\n    windw: 50",
        [("4:5 AVA101", "`windw` is not a field of ngram_penalty; did you mean `window`?")],
    ),
    "unknown term": ("version: 1\nterms: {z_los: {}}", [("2:9 AVA101", "not a term; did you mean `z_loss`?")]),
    "unknown term without a near one": ("version: 1\nterms:\n  foo: 3", [("3:3 AVA101", "there are `focal_loss`")]),
    "unknown term, null": ("version: 1\nterms: {foo: null}", [("2:9 AVA101", "not a term")]),
    "a dash for an underscore": ("version: 1\nterms: {z-loss: {}}", [("2:9 AVA101", "did you mean `z_loss`?")]),
    "a part of a name": ("version: 1\nterms: {focal: {}}", [("2:9 AVA101", "did you mean `focal_loss`?")]),
    "a name that belongs to several": (
        "version: 1\nrate: 1",
        [("2:1 AVA101", "it belongs at `primary.temperature.rate`, `terms.moe_balance_loss.rate`")],
    ),
    "capitals": ("version: 1\nterms: {z_loss: {Weight: 0}}", [("2:18 AVA101", "did you mean `weight`?")]),
    "a term outside of terms": ("version: 1\nz_loss: {}", [("2:1 AVA101", "it belongs at `terms.z_loss`")]),
    "a field one level up": ("version: 1\nterms: {window: 3}", [("2:9 AVA101", "`terms.ngram_penalty.window`")]),
    "a field of the model at the top": ("version: 1\nvocab_size: 10", [("2:1 AVA101", "`model.vocab_size`")]),
    "extends below the top": ("version: 1\nmodel: {extends: standard}", [("2:9 AVA101", "it belongs at `extends`")]),
    "a legacy keyword": (
        "version: 1\nuse_ngram_penalty: true",
        [("2:1 AVA601", "its place is now `terms.ngram_penalty`")],
    ),
    "a word for a number": (
        "version: 1\nterms: {z_loss: {weight: on}}",
        [("2:26 AVA103", "expected a number or a schedule (`from`, `to`, `steps`), got the string `on`")],
    ),
    "quotes around a number": (
        'version: 1\nterms: {z_loss: {weight: "0.1"}}',
        [("2:26 AVA103", "got the string `0.1`; remove the quotes")],
    ),
    "a truth value for a number": ("version: 1\nterms: {z_loss: {weight: true}}", [("2:26 AVA103", "got `true`")]),
    "null for a weight": ("version: 1\nterms: {z_loss: {weight: null}}", [("2:26 AVA103", "got null")]),
    "a list for a weight": ("version: 1\nterms: {z_loss: {weight: [1, 2]}}", [("2:26 AVA103", "got a list of two")]),
    "a number for a term": ("version: 1\nterms: {z_loss: 0.1}", [("2:17 AVA103", "expected a mapping or null")]),
    "true for a term": (
        "version: 1\nterms: {z_loss: true}",
        [("2:17 AVA103", "expected a mapping or null, got `true`")],
    ),
    "null for a section": ("version: 1\nterms:", [("2:7 AVA103", "expected a mapping, got null; write `{}`")]),
    "a list for a section": ("version: 1\nterms: [z_loss]", [("2:8 AVA103", "expected a mapping, got a list of one")]),
    "on for a switch": (
        "version: 1\ntargets: {shift: on}",
        [("2:18 AVA103", "expected `true` or `false`, got the string `on`; write `true`")],
    ),
    "one for a switch": ("version: 1\ntargets: {shift: 1}", [("2:18 AVA103", "got the number 1")]),
    "one for a switch with auto": ("version: 1\ncompile: {enabled: 1}", [("2:20 AVA103", "`false` or `auto`")]),
    "a word for a switch with auto": ("version: 1\ncompile: {enabled: maybe}", [("2:20 AVA103", "string `maybe`")]),
    "a list for auto": ("version: 1\ncompile: {chunk_tokens: []}", [("2:25 AVA103", "an integer or `auto`")]),
    "text for a number or auto": ('version: 1\ncompile: {chunk_tokens: "4"}', [("2:25 AVA103", "remove the quotes")]),
    "zero for a number or auto": ("version: 1\ncompile: {chunk_tokens: 0}", [("2:25 AVA105", "at least 1, got 0")]),
    "half a token": ("version: 1\nmodel: {top_k: 2.5}", [("2:16 AVA103", "expected an integer, got the number 2.5")]),
    "a number for text": ("version: 1\ndescription: 3", [("2:14 AVA103", "expected text, got the number 3")]),
    "null for text": ("version: 1\ndescription:", [("2:13 AVA103", "expected text, got null")]),
    "a word not in the set": (
        "version: 1\nprimary: {type: deepsek}",
        [("2:17 AVA104", "is not one of `standard`, `deepseek`, `adaptive_mtp`; did you mean `deepseek`?")],
    ),
    "a number for a word": ("version: 1\nbalancing: 1", [("2:12 AVA103", "expected `fixed` or `uncertainty`")]),
    "below the range": ("version: 1\nterms: {z_loss: {weight: -1}}", [("2:26 AVA105", "should be at least 0, got -1")]),
    "above the range": (
        "version: 1\nprimary: {label_smoothing: 1}",
        [("2:28 AVA105", "`primary.label_smoothing` should be at least 0 and below 1, got 1")],
    ),
    "zero where it is excluded": ("version: 1\nterms: {focal_loss: {alpha: 0}}", [("2:29 AVA105", "above 0, got 0")]),
    "zero vocabulary": ("version: 1\nmodel: {vocab_size: 0}", [("2:21 AVA105", "at least 1, got 0")]),
    "a bound out of range": (
        "version: 1\nprimary: {type: deepseek, temperature: {bounds: [0, 2]}}",
        [("2:50 AVA105", "`primary.temperature.bounds[0]` should be above 0, got 0")],
    ),
    "bounds too short": (
        "version: 1\nprimary: {type: deepseek, temperature: {bounds: []}}",
        [("2:49 AVA103", "expected a list of two numbers, got an empty list")],
    ),
    "bounds too long": (
        "version: 1\nprimary: {type: deepseek, temperature: {bounds: [1, 2, 3]}}",
        [("2:49 AVA103", "expected a list of two numbers, got a list of three")],
    ),
    "a word as a bound": (
        "version: 1\nprimary: {type: deepseek, temperature: {bounds: [1, high]}}",
        [("2:53 AVA103", "bounds[1]`: expected a number, got the string `high`")],
    ),
    "a schedule without an end": (
        "version: 1\nterms: {z_loss: {weight: {from: 0, steps: 5}}}",
        [("2:26 AVA102", "`to` is missing in `z_loss.weight`")],
    ),
    "a schedule with a key of its own": (
        "version: 1\nterms: {z_loss: {weight: {from: 0, to: 1, steps: 5, number: 1, schedule: 2}}}",
        [("2:53 AVA101", "`number` is not a field of z_loss.weight"), ("2:64 AVA101", "`schedule`")],
    ),
    "a schedule out of range": (
        "version: 1\nterms: {z_loss: {weight: {from: -1, to: 1, steps: 0, shape: sine}}}",
        [("2:33 AVA105", "at least 0"), ("2:51 AVA105", "at least 1"), ("2:61 AVA104", "did you mean `cosine`?")],
    ),
    "usage out of range": (
        "version: 1\nterms: {moe_balance_loss: {target_expert_usage: 1.5}}",
        [("2:49 AVA105", "`moe_balance_loss.target_expert_usage` should be above 0 and at most 1, got 1.5")],
    ),
    "usage as text": (
        "version: 1\nterms: {moe_balance_loss: {target_expert_usage: even}}",
        [("2:49 AVA103", "expected a number, a list of numbers or null, got the string `even`")],
    ),
    "usage as a mapping": (
        "version: 1\nterms: {moe_balance_loss: {target_expert_usage: {number: 1}}}",
        [("2:49 AVA103", "got a mapping")],
    ),
    "usage of no expert": (
        "version: 1\nterms: {moe_balance_loss: {target_expert_usage: []}}",
        [("2:49 AVA103", "got an empty list")],
    ),
    "usage with a wrong share": (
        "version: 1\nterms: {moe_balance_loss: {target_expert_usage: [0.5, 0, x]}}",
        [("2:55 AVA105", "target_expert_usage[1]` should be above 0"), ("2:58 AVA103", "expected a number")],
    ),
    "a range that does not hold 1": (
        "version: 1\nterms: {mtp_loss: {weight_range: [1.5, 0.5]}}",
        [("2:35 AVA105", "should be at least 0 and at most 1"), ("2:40 AVA105", "should be at least 1, got 0.5")],
    ),
    "an open interval": (
        "version: 1\nterms: {mtp_loss: {confidence_threshold: 1}}",
        [("2:42 AVA105", "should be above 0 and below 1, got 1")],
    ),
    "many at once, in the order of the text": (
        "version: 1\ntargets: {shift: 0}\nterms:\n  z_loss: {wight: 1}\n  focal_loss: {gamma: x}\nbalancing: fix",
        [("2:18 AVA103", ""), ("4:12 AVA101", ""), ("5:23 AVA103", ""), ("6:12 AVA104", "`fixed`")],
    ),
}

BEYOND_THE_SCHEMA: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "an integer with a point": (
        "version: 1\nmodel: {eos_token_id: 4.0}",
        [("2:23 AVA103", "expected an integer or null, got the number 4.0; write `4`")],
    ),
    "infinity": ("version: 1\nterms: {z_loss: {weight: .inf}}", [("2:26 AVA106", "got .inf")]),
    "not a number": ("version: 1\nterms: {focal_loss: {gamma: .nan}}", [("2:29 AVA106", "got .nan")]),
    "infinity for an integer": ("version: 1\nmodel: {vocab_size: -.inf}", [("2:21 AVA106", "got -.inf")]),
    "more than a float holds": ("version: 1\nterms: {z_loss: {weight: 1e999}}", [("2:26 AVA106", "one too large")]),
    "an integer that no float holds": (
        "version: 1\nmodel: {vocab_size: 1" + "0" * 400 + "}",
        [("2:21 AVA106", "one too large")],
    ),
    "bounds in the wrong order": (
        "version: 1\nprimary: {type: deepseek, temperature: {bounds: [2, 1]}}",
        [("2:49 AVA108", "the first value, 2.0, should not be above the second, 1.0")],
    ),
    "a temperature that nothing uses": (
        "version: 1\nprimary: {type: standard, temperature: {initial: 1.2}}",
        [("2:40 AVA111", "`primary.type: standard` has no temperature")],
    ),
    "a temperature with the default type": (
        "version: 1\nprimary: {temperature: {}}",
        [("2:24 AVA111", "switch it off with `temperature: null`")],
    ),
    "less padding than words": (
        "version: 1\nmodel: {vocab_size: 100, padded_vocab_size: 64}",
        [("2:45 AVA112", "`padded_vocab_size` 64 is below `vocab_size` 100")],
    ),
    "tokens outside the vocabulary": (
        "version: 1\nmodel: {vocab_size: 100, eos_token_id: 100, pad_token_id: 101}",
        [("2:40 AVA113", "`eos_token_id` 100"), ("2:59 AVA113", "the last token is 99")],
    ),
    "more experts picked than there are": (
        "version: 1\nmodel: {num_experts: 4, top_k: 8}",
        [("2:32 AVA116", "`top_k` 8 is more than there are experts")],
    ),
    "shares that are not a whole": (
        "version: 1\nmodel: {num_experts: 4}\nterms: {moe_balance_loss: {target_expert_usage: [0.5, 0.25]}}",
        [("3:49 AVA115", "a number for each of the 4 experts"), ("3:49 AVA115", "should sum to 1, and sums to 0.75")],
    ),
    "adaptive_mtp without its term": (
        "version: 1\nprimary: {type: adaptive_mtp}\nterms: {mtp_loss: null}",
        [("3:19 AVA114", "`primary.type: adaptive_mtp` needs `mtp_loss`")],
    ),
    "adaptive_mtp weighted otherwise": (
        "version: 1\nprimary: {type: adaptive_mtp}\nterms: {mtp_loss: {weighting: uniform}}",
        [("3:31 AVA114", "`mtp_loss.weighting` is `uniform`")],
    ),
    "a contradiction beside another mistake": (
        "version: 1\nmodel: {vocab_size: 100, eos_token_id: 100, pad_token_id: x}",
        [("2:40 AVA113", ""), ("2:59 AVA103", "")],
    ),
    "no contradiction with what is wrong itself": (
        "version: 1\nprimary: {type: deepsek, temperature: {initial: 1.2}}",
        [("2:17 AVA104", "")],
    ),
}
