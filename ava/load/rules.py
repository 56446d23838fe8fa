"""The reading rules, AVA001 to AVA024: what a file may not be before its fields matter. All are errors."""

from __future__ import annotations

from ava.errors import Rule, documentation

__all__ = ["RULES"]


def _rule(code: str, name: str, does: str, bad: str, example: str, instead: str) -> Rule:
    """Return the rule with its documentation; the two samples become YAML blocks."""
    return Rule(code, name, "error", documentation(does, bad, example, instead))


SYNTAX_ERROR = _rule(
    "AVA001",
    "syntax-error",
    "Finds text that is not YAML.",
    "Nothing after that point can be read, so no other mistake there is reported.",
    'description: "no closing quote',
    'description: "with its closing quote"',
)
DUPLICATE_KEY = _rule(
    "AVA002",
    "duplicate-key",
    "Finds a key that a mapping already has. The finding is at the second one.",
    "Most YAML readers keep one of the two values silently, and not the one the writer is looking at.",
    "terms:\n  z_loss: {weight: 0.1}\n  z_loss: {weight: 0.2}",
    "terms:\n  z_loss: {weight: 0.2}",
)
TAB = _rule(
    "AVA003",
    "tab",
    "Finds a tab outside quotes, block text and comments.",
    "How far a tab indents depends on the editor, so the nesting that you see may not be the one that is read.",
    "terms:\n\tz_loss: {}",
    "terms:\n  z_loss: {}",
)
SEVERAL_DOCUMENTS = _rule(
    "AVA004",
    "several-documents",
    "Finds a second YAML document in one file.",
    "A configuration is one mapping; whatever follows would be ignored.",
    "version: 1\n---\nversion: 1",
    "version: 1",
)
TAG = _rule(
    "AVA005",
    "tag",
    "Finds an explicit tag: `!name`, `!!type` or a lone `!`.",
    "The schema says which type each field has. A tag can only contradict it, or ask for code to run.",
    "model: {vocab_size: !!int '50257'}",
    "model: {vocab_size: 50257}",
)
RECURSIVE_ALIAS = _rule(
    "AVA006",
    "recursive-alias",
    "Finds an alias inside the very value that it stands for.",
    "The value would contain itself without end.",
    "terms: &all\n  z_loss: *all",
    "terms:\n  z_loss: {}",
)
UNDEFINED_ALIAS = _rule(
    "AVA007",
    "undefined-alias",
    "Finds an alias (`*name`) with no anchor (`&name`) above it.",
    "There is no value to put in its place. Often the text was meant to begin with a star, and lacks its quotes.",
    "description: *important",
    'description: "*important"',
)
TOO_MANY_NODES = _rule(
    "AVA008",
    "too-many-nodes",
    "Finds more than 10,000 keys and values, with aliases counted as what they stand for.",
    "No configuration needs them; a few lines of nested aliases can stand for billions and exhaust the memory.",
    "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b]  # and so on",
    "terms: {z_loss: {weight: 0.1}}",
)
FILE_TOO_LARGE = _rule(
    "AVA009",
    "file-too-large",
    "Finds a file of more than a mebibyte, before reading it.",
    "It is some other file, a checkpoint or a log; reading it would only take long.",
    "extends: ./training-log.yaml",
    "extends: ./base.yaml",
)
TOO_DEEP = _rule(
    "AVA010",
    "too-deep",
    "Finds more than 100 levels of nesting, in one file or along a chain of parents.",
    "The deepest field is four levels down; a deeper text is damaged, or made to break its reader.",
    "terms: [[[[[[]]]]]]  # and so on",
    "terms: {}",
)
ENCODING = _rule(
    "AVA011",
    "encoding",
    "Finds the first byte that is not UTF-8. A UTF-8 byte order mark is accepted.",
    "Guessing an encoding turns text into other text without a word.",
    "description: caf\\xE9  # saved as Latin-1",
    "description: café  # saved as UTF-8",
)
CONTROL_CHARACTER = _rule(
    "AVA012",
    "control-character",
    "Finds a character that YAML forbids as it is, such as NUL, or that its versions read differently (U+0085, "
    "U+2028, U+2029, a byte order mark inside the text).",
    "It is invisible, may act on a terminal, and may end a line for one reader and not for another.",
    "description: a\\x00b  # a NUL byte in the file",
    'description: "a\\0b"',
)
KEY_TYPE = _rule(
    "AVA013",
    "key-type",
    "Finds a key that is not text: a number, a truth value, nothing, a list or a mapping.",
    "Every field has a name, so such a key can be none; with a colon too many the rest of the line becomes one.",
    "terms:\n  1: {weight: 0.1}",
    "terms:\n  z_loss: {weight: 0.1}",
)
NOT_A_MAPPING = _rule(
    "AVA014",
    "not-a-mapping",
    "Finds a file whose content is not a mapping.",
    "A configuration is read by its keys, and a list or a single value has none.",
    "- version: 1",
    "version: 1",
)
MERGE_KEY = _rule(
    "AVA015",
    "merge-key",
    "Finds a `<<` whose value is neither a mapping nor a list of mappings.",
    "There are no keys to merge.",
    "terms:\n  z_loss: {<<: 0.1}",
    "terms:\n  focal_loss: &same {weight: 0.1}\n  z_loss: {<<: *same}",
)
DIRECTIVE = _rule(
    "AVA016",
    "directive",
    "Finds a `%` directive other than `%YAML 1.2` at the top of a file.",
    "Files are read as YAML 1.2 whatever the line says, and directives for tags have no use without tags.",
    "%YAML 1.1\n---\nversion: 1",
    "version: 1",
)
NOT_PLAIN = _rule(
    "AVA017",
    "not-plain",
    "Finds an object in a Python mapping that YAML could not hold: anything but dicts, lists, tuples, text, "
    "numbers, truth values and None.",
    "A configuration has to print, compare and hash the same wherever it came from.",
    "model: {vocab_size: torch.tensor(50257)}  # in a Python dict",
    "model: {vocab_size: 50257}",
)
UNKNOWN_PRESET = _rule(
    "AVA020",
    "unknown-preset",
    "Finds a name in `extends` that no preset has. A path needs a `/`, or `.yaml`.",
    "Without its parent the configuration is another one than was meant.",
    "extends: standrad",
    "extends: standard",
)
MISSING_PARENT = _rule(
    "AVA021",
    "missing-parent",
    "Finds a path in `extends` that cannot be read. Paths start at the folder of the file.",
    "Without its parent the configuration is another one than was meant.",
    "extends: ./no-such-file.yaml",
    "extends: ./base.yaml",
)
CIRCULAR_EXTENDS = _rule(
    "AVA022",
    "circular-extends",
    "Finds a file that extends itself, directly or through its parents.",
    "There is no order in which to lay the files over one another.",
    "extends: ./child.yaml  # and child.yaml extends this file",
    "extends: standard",
)
EXTENDS_TYPE = _rule(
    "AVA023",
    "extends-type",
    "Finds an `extends` that is neither text nor a list of texts.",
    "Only names and paths can be looked up.",
    "extends: {base: standard}",
    "extends: [standard, ./base.yaml]",
)
EXTENDS_URL = _rule(
    "AVA024",
    "extends-url",
    "Finds an address in `extends`.",
    "What a configuration means must not depend on a network, or on what somebody else changes there.",
    "extends: https://example.org/base.yaml",
    "extends: ./base.yaml",
)

RULES: tuple[Rule, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
