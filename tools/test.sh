#!/usr/bin/env bash
# Everything that the tests need, then all tests; further arguments go to pytest. Four passes: tests that need
# nothing, and then those with a browser, run two at a time; those with an engine one at a time, for chromium drops its
# requests when Docker changes the machine's networks. Beside them, what needs neither and mostly waits.
set -uo pipefail
cd "$(dirname "$0")/.."
# What the second pass needs is installed and built (images: minutes) while the first one runs, which needs none of it.
bash tools/services.sh >/tmp/labdock-services.log 2>&1 &
services=$!
# Compiled once: the tests start a thousand processes, which compile all their imports where they may not write bytecode.
.venv/bin/python -m compileall -q client container_api controller search
alone="browser or docker or kubernetes or postgresql"
beside=(tests/e2e)
(($#)) || beside+=(tests/container_api)
set -- --durations=12 --durations-min=5 "$@"  # where the time goes, for whoever wants it shorter
.venv/bin/pytest -q -n 2 --dist loadfile "${beside[@]/#/--ignore=}" -m "not ($alone)" "$@"
first=$?
wait "$services" || { tail -n 20 /tmp/labdock-services.log; echo "some services are missing: their tests are skipped (or fail, where LABDOCK_REQUIRE names them)"; } >&2
.venv/bin/pytest -q -n 2 --dist loadfile -m "browser and not (docker or kubernetes)" "$@"
second=$?
# A shell's background job ignores Ctrl-C and so would all that these tests start and interrupt.
env --default-signal=INT .venv/bin/pytest -q -m "not ($alone)" "${beside[@]}" >/tmp/labdock-whole.log 2>&1 &
whole=$!
.venv/bin/pytest -q -m "docker or kubernetes or (postgresql and not browser)" "$@"
third=$?
wait "$whole"
fourth=$?
cat /tmp/labdock-whole.log
# pytest's 5: nothing was selected, as when an argument names one file
for code in $first $second $third; do [[ $code == 0 || $code == 5 ]] || exit 1; done
[[ $fourth == 0 && $first$second$third != 555 ]]
