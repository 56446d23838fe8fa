# The action's first half: lint. Annotations and the table of the step's summary come from ava-loss itself.
# Reads INPUT_PATHS and INPUT_ARGS (one a line), INPUT_FAIL_ON; writes `findings` to GITHUB_OUTPUT.
set -uo pipefail

lines() { printf '%s\n' "$1" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//; /^$/d'; }

paths=() more=() # read line by line, because macOS has a bash without mapfile
while IFS= read -r line; do paths+=("$line"); done < <(lines "$INPUT_PATHS")
while IFS= read -r line; do more+=("$line"); done < <(lines "${INPUT_ARGS:-}")
if [ -n "${INPUT_FAIL_ON:-}" ]; then
    more+=("--fail-on=$INPUT_FAIL_ON")
fi
if [ "${#paths[@]}" -eq 0 ]; then
    echo "::error title=ava-loss::The input \`paths\` is empty; name a file or a folder."
    exit 2
fi

"$RUNNER_TEMP/ava-loss/bin/ava-loss" lint ${more[@]+"${more[@]}"} -- "${paths[@]}"
code=$?
echo "findings=$([ "$code" -eq 1 ] && echo true || echo false)" >> "$GITHUB_OUTPUT"
exit "$code"
