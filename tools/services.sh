#!/usr/bin/env bash
# What the tests need beside Python, from Debian's packages: Chromium, PostgreSQL, a Docker Engine. Idempotent; only
# root can install, others get told. Set LABDOCK_SERVICES to a part of "browser postgresql docker" to do less.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=${LABDOCK_SERVICES-browser postgresql docker}
packages=()
[[ $wanted == *browser* && ! -x /usr/bin/chromium ]] && packages+=(chromium fonts-dejavu-core)
[[ $wanted == *postgresql* && -z $(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null) ]] && packages+=(postgresql)
if ((${#packages[@]})); then
  if [[ $(id -u) != 0 ]]; then
    echo "missing: ${packages[*]} (sudo apt-get install --no-install-recommends ${packages[*]})" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
if [[ $wanted == *docker* ]]; then bash tools/docker.sh minimal-cpu controller golden-cpu; fi
