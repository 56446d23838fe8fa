# The action's second half: what a change to the configurations does, in the step's summary.
# Reads INPUT_PATHS (one a line), INPUT_DIFF (auto, or a revision), INPUT_DIFF_FAIL_ON and the event;
# writes `markdown` (a path) and `changed` to GITHUB_OUTPUT. Exit code 2 where the comparison could not be made.
set -uo pipefail

bin="$RUNNER_TEMP/ava-loss/bin"
markdown="$RUNNER_TEMP/ava-loss-diff.md"
paths=() # read line by line, because macOS has a bash without mapfile
while IFS= read -r line; do paths+=("$line"); done < <(
    printf '%s\n' "$INPUT_PATHS" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//; /^$/d'
)
if [ "${#paths[@]}" -eq 0 ]; then
    echo "::error title=ava-loss::The input \`paths\` is empty; name a file or a folder."
    exit 2
fi

# The files of a pull request are those of a merge commit, so its first parent is what they are compared with.
base="$INPUT_DIFF"
if [ "$base" = auto ]; then
    base=""
    if [ "${GITHUB_EVENT_NAME:-}" = pull_request ]; then
        parents="$(git cat-file -p HEAD | sed -n '/^$/q; s/^parent //p')"
        [ "$(printf '%s\n' "$parents" | wc -l)" -eq 2 ] && base="${parents%%$'\n'*}"
    fi
    [ -n "$base" ] || base="$("$bin/python" "$ACTION/scripts/action/base.py")"
fi
if [ -z "$base" ]; then
    echo "::notice title=ava-loss::There is no earlier revision to compare the configurations with."
    exit 0
fi
case "$base" in
    -*)
        echo "::error title=ava-loss::The input \`diff\` is no revision."
        exit 2
        ;;
esac
git cat-file -e "$base^{commit}" 2> /dev/null || git fetch --quiet --no-tags --depth=1 origin "$base" || {
    echo "::error title=ava-loss::The revision to compare with is not here, and could not be fetched."
    exit 2
}
git cat-file -e "$base^{commit}" 2> /dev/null || base=FETCH_HEAD # a branch's name, just fetched

rm -f "$markdown"
"$bin/ava-loss" diff --against "$base" --format markdown --exit-code --output "$markdown" -- "${paths[@]}"
code=$?
[ -f "$markdown" ] || exit 2
{
    echo "markdown=$markdown"
    echo "changed=$([ "$code" -eq 0 ] && echo false || echo true)"
} >> "$GITHUB_OUTPUT"
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
    { cat "$markdown"; echo; } >> "$GITHUB_STEP_SUMMARY"
fi
[ "$code" -ne 2 ] || exit 2
if [ -n "${INPUT_DIFF_FAIL_ON:-}" ]; then
    "$bin/ava-loss" diff --against "$base" --format github --fail-on "$INPUT_DIFF_FAIL_ON" -- "${paths[@]}"
    exit $?
fi
exit 0
