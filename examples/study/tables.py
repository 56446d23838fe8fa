"""The tables of the page, from the results. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from study.pictures import Results, Run, each, names, runs_of

Value = Callable[[Run], float]
LOOP = re.compile(r"((.{1,48}?)\2{3,})", re.DOTALL)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, ["---"] * len(head), *rows])


def spread(values: Sequence[float], digits: int = 3, *, sign: bool = False) -> str:
    """The mean, and the least and the most where they differ."""
    form = f"{'+' if sign else ''}.{digits}f"
    mean, low, high = (format(value, form) for value in (sum(values) / len(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"


def against(results: Results, name: str) -> str:
    """The difference in nats to the loss without anything else, seed by seed."""
    base = "moe_unbalanced" if results["recipes"][name]["experts"] else "plain"
    bases = {run["seed"]: run["held_out"]["nats"] for run in runs_of(results, base)}
    found = [run["held_out"]["nats"] - bases[run["seed"]] for run in runs_of(results, name) if run["seed"] in bases]
    return spread(found, sign=True) if found and name != base else ""


def ran(results: Results) -> str:
    """When, where and with what it ran, in two sentences."""
    seconds = sum(run["seconds"] for run in results["runs"])
    where = (
        f"{results['jobs']} at once with {results['threads']} thread each, on a CPU ({results['machine']})"
        if results["device"] == "cpu"
        else f"{results['jobs']} at once, on {results['device']}"
    )
    return (
        f"{results['date']}, torch {results['torch']}, Python {results['python']}: {len(results['runs'])} runs, "
        f"{where}, {seconds / 60:.0f} minutes of training in all.\n"
    )


def setup(results: Results) -> str:
    """What was the same in all runs."""
    sizes = results["sizes"]
    weights = {
        "dense": next((run["weights"] for run in results["runs"] if "experts" not in run["held_out"]), 0),
        "experts": next((run["weights"] for run in results["runs"] if "experts" in run["held_out"]), 0),
    }
    tokens = sizes["steps"] * sizes["batch_size"] * sizes["seq_len"]
    held = sizes["held_out_batches"] * sizes["batch_size"] * sizes["seq_len"]
    rows = [
        ("text", "Python's standard library, as bytes; modules are either trained on or held out"),
        ("vocabulary", "257: the bytes, and the end of a document"),
        ("model", f"{sizes['layers']} layers of width {sizes['width']}, {weights['dense']:,} weights"),
        ("with experts", f"8 a layer, each token goes through 2, {weights['experts']:,} weights"),
        ("budget", f"{sizes['steps']:,} steps of {sizes['batch_size']} × {sizes['seq_len']}: {tokens:,} tokens"),
        ("optimizer", f"AdamW, peak rate {sizes['lr']:g}, {sizes['warmup']} steps of warm-up, cosine to a tenth"),
        ("held-out figures", f"{held:,} tokens"),
        (
            "text of its own",
            f"{sizes['prompts']} held-out prompts of {sizes['prompt_length']} tokens, each continued by "
            f"{sizes['continuation']}",
        ),
        ("seeds", ", ".join(str(seed) for seed in sorted({run["seed"] for run in results["runs"]}))),
    ]
    return f"{ran(results)}\n{markdown(('what', 'value'), rows)}"


def losses(results: Results, recipes: Sequence[str]) -> str:
    columns: dict[str, tuple[Value, int]] = {
        "accuracy": (lambda run: run["held_out"]["accuracy"], 3),
        "τ at the end": (lambda run: run["held_out"]["temperature"], 2),
        "nats at that τ": (lambda run: run["held_out"]["nats_at_temperature"], 3),
        "nats at the best τ": (lambda run: run["held_out"]["nats_at_best"], 3),
        "best τ": (lambda run: run["held_out"]["best_temperature"], 2),
    }
    rows = [
        (
            f"`{name}`",
            spread(each(results, [name], lambda run: run["held_out"]["nats"])[name]),
            against(results, name),
            *(spread(each(results, [name], value)[name], digits) for value, digits in columns.values()),
        )
        for name in recipes
    ]
    return markdown(("recipe", "held-out nats", "against plain", *columns), rows)


def recipes(results: Results) -> str:
    rows = [
        (f"`{name}`", recipe["about"], f"`{recipe['preset']}`", "<br>".join(f"`{item}`" for item in recipe["set"]))
        for name, recipe in results["recipes"].items()
    ]
    return markdown(("recipe", "what it is", "preset", "set on top"), rows)


def texts(results: Results, way: str) -> str:
    columns = {
        "rep-2": "rep_2",
        "rep-4": "rep_4",
        "distinct-1": "distinct_1",
        "distinct-2": "distinct_2",
        "loops": "loops",
        "premature": "premature",
        "premature documents": "premature_documents",
    }
    digits = {"distinct_1": 4}
    rows = [
        (
            f"`{name}`",
            *(
                spread(
                    [run["texts"][way][key] for run in found], digits.get(key, 3 if key[:3] in ("rep", "dis") else 2)
                )
                for key in columns.values()
            ),
        )
        for name in results["recipes"]
        if (found := [run for run in runs_of(results, name) if way in run["texts"]])
    ]
    real = [format(results["real"][key], f".{digits.get(key, 3)}f") for key in columns.values()]
    return markdown(("recipe", *columns), [*rows, ("the real text", *real)])


def repeats(results: Results) -> str:
    columns: dict[str, tuple[Value, int]] = {
        "false repeats, %": (lambda run: 100 * run["held_out"]["false_repeats"], 2),
        "missed repeats, %": (lambda run: 100 * run["held_out"]["missed_repeats"], 2),
        "nats on repeats": (lambda run: run["held_out"]["nats_on_repeats"], 3),
        "`immediate_repetition_penalty`": (lambda run: run["penalties"]["immediate_repetition_penalty"], 4),
        "`ngram_penalty`": (lambda run: run["penalties"]["ngram_penalty"], 4),
        "`eos_penalty`": (lambda run: run["penalties"]["eos_penalty"], 6),
    }
    rows = [
        (f"`{name}`", *(spread(each(results, [name], value)[name], digits) for value, digits in columns.values()))
        for name, recipe in results["recipes"].items()
        if not recipe["experts"]
    ]
    share = results["runs"][0]["held_out"]["repeats"]
    return (
        f"{markdown(('recipe', *columns), rows)}\nOf the held-out bytes, {100 * share:.1f} % repeat the one before.\n"
    )


def experts(results: Results) -> str:
    columns: dict[str, tuple[Value, int]] = {
        "CV of the load": (lambda run: run["held_out"]["experts"]["cv"], 2),
        "dead": (lambda run: run["held_out"]["experts"]["dead"], 1),
        "largest share": (lambda run: run["held_out"]["experts"]["most"], 2),
        "spread of the gates": (lambda run: run["held_out"]["experts"]["gate_spread"], 2),
        "largest bias": (lambda run: run["held_out"]["experts"]["largest_bias"], 2),
    }
    rows = [
        (
            f"`{name}`",
            spread(each(results, [name], lambda run: run["held_out"]["nats"])[name]),
            against(results, name),
            *(spread(each(results, [name], value)[name], digits) for value, digits in columns.values()),
        )
        for name, recipe in results["recipes"].items()
        if recipe["experts"]
    ]
    return markdown(("recipe", "held-out nats", "against unbalanced", *columns), rows)


def timing(results: Results) -> str:
    taken = results["timing"]
    ways = [way for way in ("uncompiled", "compiled") if way in taken]
    rows = []
    for name in taken["uncompiled"]:
        base = "moe_unbalanced" if name.startswith("moe") else "plain"
        cells = [
            cell
            for way in ways
            for cell in (f"{1e3 * taken[way][name]:.0f}", f"{taken[way][name] / taken[way][base]:.2f}")
        ]
        rows.append((f"`{name}`", f"`{base}`", *cells))
    head = [cell for way in ways for cell in (f"ms a step, loss {way}", f"÷ base, {way}")]
    how = f"{taken['threads']} threads, medians of {taken['rounds']} steps."
    return f"{how}\n\n{markdown(('recipe', 'base', *head), rows)}"


def examples(results: Results) -> str:
    """What each recipe's first seed makes of the same prompt, greedily: a line each."""
    shown = names(results, "dense", "experts")
    width = max(map(len, shown))
    lines = [f"{name:<{width}}  {shortened(runs_of(results, name)[0]['example'])}\n" for name in shown]
    return f"````text\n{''.join(lines)}````\n"


def shortened(text: str) -> str:
    """A text on one line, its loop once and how often it came; `⏎` is a new line, `␣` a space of the loop."""

    def once(found: re.Match[str]) -> str:
        times = len(found[1]) // len(found[2])
        return f" [{found[2].replace(' ', '␣')}] × {times}"

    return LOOP.sub(once, text).replace("\n", "⏎")


TABLES: dict[str, Callable[[Results], str]] = {
    "setup": setup,
    "recipes": recipes,
    "dense": lambda results: losses(results, names(results, "dense")),
    "ablations": lambda results: losses(
        results, ["plain", *(n for n in names(results, "ablation") if not results["recipes"][n]["experts"])]
    ),
    "greedy": lambda results: texts(results, "greedy"),
    "sampled": lambda results: texts(results, "sampled"),
    "sampled_at_temperature": lambda results: texts(results, "sampled_at_temperature"),
    "repeats": repeats,
    "experts": experts,
    "timing": timing,
    "examples": examples,
}
