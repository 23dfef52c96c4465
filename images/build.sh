#!/usr/bin/env bash
# Build images with the local Docker Engine: bash images/build.sh [NAME…]   (default: golden-cpu)
#
#   base           Debian with Python 3.11, from LABDOCK_BASE_IMAGE where it can be pulled, else from Debian packages
#   NAME           an environment image: a folder of images/ with image.toml and requirements.lock
#   controller     the controller's own image, for compose/
#   --wheels DIR   fill DIR with every wheel that the named images need, for a machine without a package index
#
# Every part is cached by the content of what goes into it, as a tag: labdock/debian:<hash>, labdock/base:<hash>,
# labdock/<name>-packages:<hash>. Settings, all optional:
#
#   LABDOCK_BASE_IMAGE   an image with Python 3.11 (default python:3.11-slim-bookworm), or `debian` to build one
#   LABDOCK_CA_BUNDLE    the site's certificates (default: SSL_CERT_FILE where that is set)
#   LABDOCK_DEBIAN_MIRROR, LABDOCK_DEBIAN_SUITE   for the Debian packages
#   PIP_FIND_LINKS, PIP_NO_INDEX, PIP_INDEX_URL   as pip knows them; PIP_FIND_LINKS may be a folder of this machine
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=images/steps.sh
source ./steps.sh

names=() wheels=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --wheels) wheels=${2:?--wheels needs a folder}; shift 2 ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) names+=("$1"); shift ;;
  esac
done
[[ ${#names[@]} -gt 0 ]] || names=(golden-cpu)
for name in "${names[@]}"; do
  [[ $name == base || -f $name/requirements.lock ]] ||
    fail "There is no image $name; there are: $(known_images)." "Name one of them, or add a folder (docs/images.md)."
done
need_engine

build_base
for name in "${names[@]}"; do
  [[ $name == base ]] && continue
  if [[ -n $wheels ]]; then
    fetch_wheels "$name" "$wheels"
    continue
  fi
  build_packages "$name"
  build_image "$name"
done
say "done in $((SECONDS)) s"
