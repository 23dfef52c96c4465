#!/usr/bin/env bash
# Make .venv from the lock: with uv, which pip fetches where it is not installed, else with plain pip. $1 is the Python.
# Compiled once here: where PYTHONDONTWRITEBYTECODE is set, every process would otherwise compile all its imports (1.5 s).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
[[ -x .venv/bin/python ]] || "$python" -m venv .venv
pip=(.venv/bin/python -m pip --disable-pip-version-check -q)
uv=$(command -v uv || true)
if [[ -z $uv ]] && "${pip[@]}" install uv; then uv=.venv/bin/uv; fi
if [[ -n $uv ]]; then
  "$uv" pip install -q --compile-bytecode --require-hashes --python .venv/bin/python -r requirements.lock
  "$uv" pip install -q --python .venv/bin/python --no-deps -e .
else
  "${pip[@]}" install --require-hashes -r requirements.lock
  "${pip[@]}" install --no-deps -e .
fi
.venv/bin/python tools/assets.py
touch .venv/ready
