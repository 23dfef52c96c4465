#!/usr/bin/env bash
# Write images/*/requirements.lock anew from the extras in pyproject.toml and images/*/requirements.in. Run it after
# changing either; arguments go to uv (`--upgrade`).
set -euo pipefail
cd "$(dirname "$0")/.."
for input in images/*/requirements.in; do
  folder=$(dirname "$input")
  extras=(--extra container --extra jupyter)
  [[ $folder == images/controller ]] && extras=(--extra controller --extra docker --extra kubernetes --extra search)
  uv pip compile -q pyproject.toml "$input" "${extras[@]}" --python-version 3.11 --python-platform linux \
    --generate-hashes --no-emit-index-url --no-annotate --no-header -o "$folder/requirements.lock" "$@"
  echo "$folder/requirements.lock: $(grep -c == "$folder/requirements.lock") packages"
done
