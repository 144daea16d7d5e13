#!/bin/sh
# Sees to a browser for the tests of pages: sh tools/browser.sh
# Installs Debian's package `chromium`, once, where it is root and apt-get is there. Where that cannot be
# done the tests of pages are skipped, which is said here; with CI=true it is a failure.
# ONEROW_TEST_BROWSER names a Chromium that is elsewhere.
set -u

is_there() {
    if [ -n "${ONEROW_TEST_BROWSER:-}" ]; then
        [ -x "$ONEROW_TEST_BROWSER" ]
        return
    fi
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null 2>&1 && return
    done
    return 1
}

install() {
    [ "$(id -u)" = 0 ] || {
        why="only root can install the package chromium"
        return 1
    }
    command -v apt-get >/dev/null 2>&1 || {
        why="there is no apt-get to install chromium with"
        return 1
    }
    echo "Installing the package chromium for the tests of pages: once, a minute or two ..."
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    why="apt-get could not install chromium"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >"$log" 2>&1 ||
        tail -n 5 "$log" >&2
    rm -f "$log"
    is_there
}

is_there && exit 0
why=
if [ -n "${ONEROW_TEST_BROWSER:-}" ]; then
    why="ONEROW_TEST_BROWSER names no program: $ONEROW_TEST_BROWSER"
elif install; then
    exit 0
fi
cat >&2 <<END
==============================================================================
THE BROWSER TESTS ARE SKIPPED: there is no Chromium ($why).
On Debian and Ubuntu: apt install chromium
Elsewhere: ONEROW_TEST_BROWSER=/path/to/chromium make test
==============================================================================
END
[ "${CI:-}" != true ]
