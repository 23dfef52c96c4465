#!/usr/bin/env bash
# A Docker Engine that answers: install what is missing (Debian, as root) and start dockerd if none does. Nothing
# happens where one answers already. Arguments are images to build besides, as for images/build.sh: they are cached.
#
#   bash tools/docker.sh              an engine
#   bash tools/docker.sh minimal-cpu  an engine with that image
#
# The engine that this starts stays; its log is /tmp/labdock-dockerd.log. To end it: kill "$(cat /var/run/docker.pid)".
set -euo pipefail
cd "$(dirname "$0")/.."
log=${LABDOCK_DOCKERD_LOG:-/tmp/labdock-dockerd.log}

answers() { timeout 20 docker info >/dev/null 2>&1; }
fail() { printf 'error: %s\n       %s\n' "$1" "$2" >&2; exit 1; }

install_missing() {
  local wanted=()
  command -v dockerd >/dev/null && command -v docker >/dev/null || wanted+=(docker.io)
  command -v iptables >/dev/null || wanted+=(iptables)
  command -v mmdebstrap >/dev/null || wanted+=(mmdebstrap)
  # What the tests run besides: a registry to pull from, and compose.
  command -v docker-registry >/dev/null || wanted+=(docker-registry)
  command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1 || wanted+=(docker-compose)
  [[ ${#wanted[@]} -gt 0 ]] || return 0
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null ||
    fail "Missing: ${wanted[*]}." "Install them, as root with apt-get on Debian, and start the engine."
  echo "installing ${wanted[*]}"
  # The package would start its service; where there is no init system that fails, so the engine is started below.
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
}

start_engine() {
  [[ $(id -u) == 0 ]] || fail "No Docker Engine answers, and only root can start one." "Start it: systemctl start docker."
  local try
  for try in 1 2 3; do
    clear_leftovers
    # CI ends what a step leaves in its session or holds open: a session, no terminal, nothing inherited.
    setsid nohup dockerd --storage-driver "${LABDOCK_STORAGE_DRIVER:-overlay2}" >"$log" 2>&1 </dev/null &
    local deadline=$((SECONDS + 60))
    until answers; do
      [[ $SECONDS -lt $deadline ]] || break
      sleep 0.3
    done
    answers && return 0
    # A new engine now and then waits for a containerd that a killed one left: once more, from nothing.
    echo "the engine did not start (try $try): $(tail -n 1 "$log")" >&2
  done
  tail -n 20 "$log" >&2
  fail "The Docker Engine did not start." "Its log: $log"
}

# What a killed engine left would stop a new one.
clear_leftovers() {
  local file pid
  for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
    pid=$(cat "$file" 2>/dev/null || true)
    [[ -n $pid ]] && [[ $(cat "/proc/$pid/comm" 2>/dev/null) =~ ^(dockerd|containerd)$ ]] && kill -9 "$pid" 2>/dev/null
    rm -f "$file"
  done
  rm -f /var/run/docker.sock
}

# Whose engine answers already needs root for nothing.
if ! answers || [[ $(id -u) == 0 ]]; then install_missing; fi
answers || start_engine
echo "Docker Engine $(docker version -f '{{.Server.Version}}') answers"
[[ $# == 0 ]] || bash images/build.sh "$@"
