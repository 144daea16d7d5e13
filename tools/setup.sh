#!/bin/sh
# Makes a virtual environment of the pinned packages and this checkout: sh tools/setup.sh NAME VENV
# NAME is a file of requirements/. Does nothing when that was done before and nothing has changed.
# $PYTHON names the interpreter; without it the first fitting one on the PATH is taken.
set -eu
cd "$(dirname "$0")/.."
name=$1
venv=$2
pins=requirements/$name.txt

fail() {
    printf '%s\n' "$@" >&2
    exit 2
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
can_make_venvs() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }
version_of() { "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null; }

# Sets $python, or says once what is missing.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.14 python3.13 python3.12 python3.11
    fi
    without_venv=
    seen=
    for candidate in "$@"; do
        if is_new_enough "$candidate"; then
            if can_make_venvs "$candidate"; then
                python=$candidate
                return
            fi
            without_venv=${without_venv:-$candidate}
        else
            version=$(version_of "$candidate") && seen="$seen; $candidate is Python $version"
        fi
    done
    if [ -n "$without_venv" ]; then
        fail "$without_venv cannot make virtual environments: its modules venv and ensurepip are missing." \
            "On Debian and Ubuntu install them with: apt install python3-venv"
    fi
    fail "onerow needs Python 3.11 or newer; none was found (looked for $*$seen)." \
        "Install one, for instance with: apt install python3 python3-venv" \
        "or name one that is elsewhere: make PYTHON=/path/to/python3"
}

# What an environment depends on; where it lies too, because its scripts carry their full path.
fingerprint() {
    {
        pwd && cat "$pins" tools/setup.sh
        sed -n '/^\[build/,/^\[tool/p' pyproject.toml
    } | cksum
}

install() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input -qq install "$@" ||
        fail "The packages could not be installed; pip's message is above."
}

is_current() {
    [ -f "$stamp" ] || return 1
    { read -r made_of && read -r made_by; } <"$stamp"
    [ "$made_of" = "$(fingerprint)" ] || return 1
    [ "$made_by" = "${PYTHON:-$made_by}" ] || return 1
    "$venv/bin/python" -c '' 2>/dev/null
}

stamp=$venv/onerow-setup
if is_current; then
    exit 0
fi

find_python
echo "Setting up $venv with Python $(version_of "$python"): once, less than a minute ..."
rm -rf "$venv"
"$python" -m venv "$venv" || fail "$python could not make a virtual environment in $venv."
PIP_USER=0
export PIP_USER
install --require-hashes --only-binary :all: --requirement "$pins"
install --no-deps --no-build-isolation --editable .
{ fingerprint && echo "$python"; } >"$stamp"
