#!/usr/bin/env bash
# Format, lint, types and import contract, side by side; prints only what failed.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
run() { local name=$1; shift; ("$@" >"$out/$name" 2>&1; echo $? >"$out/$name.code") & }
run format $bin/ruff format --check .
run lint $bin/ruff check .
run types $bin/mypy
run imports $bin/lint-imports
wait
failed=0
for name in format lint types imports; do
  if [[ $(cat "$out/$name.code") != 0 ]]; then
    failed=1
    printf -- '--- %s\n' "$name"
    cat "$out/$name"
  fi
done
[[ $failed == 0 ]] && echo "format, lint, types and import contract hold"
exit $failed
