#!/usr/bin/env bash
# Write requirements.lock anew from pyproject.toml. Run it after changing a dependency.
set -euo pipefail
cd "$(dirname "$0")/.."
uv pip compile -q pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header -o requirements.lock "$@"
