#!/bin/sh
# Writes requirements/*.txt anew from pyproject.toml: sh tools/pins.sh [--upgrade]
# Needs uv (pip install uv). The hashes are those of the package index, for every Python and
# platform that we support; no address of an index is written, so each machine uses its own.
set -eu
cd "$(dirname "$0")/.."

pin() {
    out=$1
    shift
    uv --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-annotate \
        --custom-compile-command "sh tools/pins.sh" --output-file "$out" "$@" >/dev/null
}

# The demo's pins are a part of the tests', so that what is shown is what was tested.
pin requirements/test.txt pyproject.toml --extra dev --group build "$@"
pin requirements/demo.txt pyproject.toml --extra pg --extra systems --group build \
    --constraint requirements/test.txt "$@"
