#!/bin/sh
# Installs what Python's package index cannot bring: a C++ compiler, which Inductor needs on a CPU, and, for the tests,
# git, and Chromium with its driver. Does nothing where they are there; says what is missing where it may not install.
missing=""
command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 || missing="$missing g++"
command -v git >/dev/null 2>&1 || missing="$missing git"
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
    command -v google-chrome >/dev/null 2>&1 || missing="$missing chromium"
command -v chromedriver >/dev/null 2>&1 || missing="$missing chromium-driver"
[ -n "$(sh "$(dirname "$0")/find-python.sh")" ] || missing="$missing python3 python3-venv"
[ -z "$missing" ] && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    # shellcheck disable=SC2086
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing
else
    echo "Not installed here:$missing. Without a C++ compiler the loss runs uncompiled, and says so; without" \
        "Chromium the tests that look at pages are skipped." >&2
fi
