# The steps of images/build.sh; sourced, not run. Each skips itself where the tag of its content exists.
work=$(mktemp -d)
server=''
cleanup() {
  if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT

say() { printf '==> %s\n' "$*"; }
fail() { printf 'error: %s\n       %s\n' "$1" "$2" >&2; exit 1; }
known_images() { local f; for f in */image.toml; do dirname "$f"; done | paste -sd' '; }
have() { docker image inspect "$1" >/dev/null 2>&1; }
# One hash over the names' contents (and over standard input, for settings).
content_hash() { { cat "$@"; cat; } | sha256sum | cut -c1-16; }

need_engine() {
  command -v docker >/dev/null || fail "The docker command is missing." "Install it; bash tools/docker.sh does on Debian."
  docker version >/dev/null 2>&1 || fail "No Docker Engine answers." "Start it; bash tools/docker.sh does on Debian."
}

# docker build with the lines that tell where it is; everything when it fails.
docker_build() {
  local title=$1 log=$work/log started=$SECONDS; shift
  say "$title"
  if ! DOCKER_CLI_HINTS=false docker build "$@" 2>&1 | tee "$log" |
    grep --line-buffered -E '^(Step [0-9]|#[0-9]+ \[)|^ ?(Collecting|Installing collected)|^#[0-9]+ [0-9.]+ (Collecting|Installing)' |
    sed -u -E 's/^(#[0-9]+ [0-9.]+ )?(Collecting [^ ]+).*/    \2/; s/^Installing collected.*/    installing/; s/^(Step|#)/  \1/; s/^(.{110}).*/\1/'; then
    grep -v '^DEPRECATED\|buildx' "$log" | tail -n 60 >&2
    fail "Building $title failed; the last lines are above." "Network and certificates: docs/images.md, section Sites."
  fi
  say "$title: $((SECONDS - started)) s"
}

# --- base ----------------------------------------------------------------------------------------------------------

base_source() { # prints the image to build the base from
  local wanted=${LABDOCK_BASE_IMAGE:-python:3.11-slim-bookworm}
  if [[ $wanted != debian ]]; then
    if have "$wanted" || timeout 600 docker pull "$wanted" >&2 2>"$work/pull"; then echo "$wanted"; return; fi
    [[ -z ${LABDOCK_BASE_IMAGE:-} ]] ||
      fail "LABDOCK_BASE_IMAGE $wanted cannot be had: $(tail -n 1 "$work/pull")" "Load or pull it, or say debian."
    say "$wanted cannot be pulled here: building from Debian packages" >&2
  fi
  debian_image
}

debian_image() {
  local suite=${LABDOCK_DEBIAN_SUITE:-bookworm} mirror=${LABDOCK_DEBIAN_MIRROR:-} tag packages started=$SECONDS
  tag=labdock/debian:$(content_hash base/packages.txt <<<"$suite $mirror 1")
  if ! have "$tag"; then
    command -v mmdebstrap >/dev/null ||
      fail "mmdebstrap is missing, and no base image can be pulled." "apt-get install mmdebstrap, or load an image and set LABDOCK_BASE_IMAGE."
    say "Debian $suite from packages" >&2
    packages=$(paste -sd, base/packages.txt)
    # Translations, manuals and documents are left out; copyright files stay.
    # shellcheck disable=SC2086
    mmdebstrap --quiet --variant=minbase --components=main --include="$packages" \
      --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
      "$suite" "$work/debian.tar" $mirror >&2
    docker import "$work/debian.tar" "$tag" >/dev/null
    rm -f "$work/debian.tar"
    say "Debian $suite: $((SECONDS - started)) s" >&2
  fi
  echo "$tag"
}

build_base() {
  local bundle=${LABDOCK_CA_BUNDLE:-${SSL_CERT_FILE:-}} source context=$work/base tag
  source=$(base_source)
  mkdir "$context"
  cp base/packages.txt "$context/"
  if [[ -n $bundle ]]; then cp "$bundle" "$context/site.crt"; else : >"$context/site.crt"; fi
  base_tag=labdock/base:$({ sha256sum "$context"/* | cut -c1-64; docker image inspect -f '{{.Id}}' "$source"; } |
    content_hash base/Dockerfile)
  have "$base_tag" ||
    docker_build "base from $source" -f base/Dockerfile -t "$base_tag" --build-arg "BASE_IMAGE=$source" "$context"
  docker tag "$base_tag" labdock/base:latest
}

# --- packages ------------------------------------------------------------------------------------------------------

# pip's settings as arguments of docker build. A wheel folder is served to the build on the loopback.
pip_arguments() {
  pip_arguments=()
  local name
  for name in PIP_NO_INDEX PIP_INDEX_URL; do
    [[ -z ${!name:-} ]] || pip_arguments+=(--build-arg "$name=${!name}")
  done
  [[ -n ${PIP_FIND_LINKS:-} ]] || return 0
  if [[ -d $PIP_FIND_LINKS ]]; then
    if [[ -z $server ]]; then
      python3 -u -m http.server --bind 127.0.0.1 --directory "$PIP_FIND_LINKS" 0 >"$work/server" 2>/dev/null &
      server=$!
      until grep -q 'port' "$work/server"; do kill -0 "$server" && sleep 0.1; done
    fi
    pip_arguments+=(--network host --build-arg
      "PIP_FIND_LINKS=http://127.0.0.1:$(sed -n 's/.* port \([0-9]*\).*/\1/p' "$work/server")/")
  else
    pip_arguments+=(--build-arg "PIP_FIND_LINKS=$PIP_FIND_LINKS")
  fi
}

packages_tag() { # of one image; says what it needs, so that a change of our code finds it again
  local base
  base=$(docker image inspect -f '{{.Id}}' "$base_tag")
  echo "labdock/$1-packages:$(content_hash "$1/requirements.lock" base/packages.Dockerfile <<<"$base")"
}

build_packages() {
  local name=$1 tag context=$work/$1-packages
  tag=$(packages_tag "$name")
  if have "$tag"; then say "$name: packages are cached ($tag)"; return; fi
  mkdir "$context"
  cp "$name/requirements.lock" "$context/"
  pip_arguments
  docker_build "$name packages ($(grep -c == "$name/requirements.lock") of them)" -f base/packages.Dockerfile -t "$tag" \
    --build-arg "BASE=$base_tag" "${pip_arguments[@]}" "$context"
}

fetch_wheels() {
  local name=$1 folder=$2
  mkdir -p "$folder"
  folder=$(realpath "$folder")
  say "$name: wheels into $folder"
  docker run --rm --user "$(id -u):$(id -g)" -e HOME=/tmp -e PIP_INDEX_URL -v "$folder:/wheels" \
    -v "$PWD/$name/requirements.lock:/requirements.lock:ro" "$base_tag" \
    pip download --quiet --require-hashes --only-binary :all: -d /wheels -r /requirements.lock
  # What builds our own wheel.
  docker run --rm --user "$(id -u):$(id -g)" -e HOME=/tmp -e PIP_INDEX_URL -v "$folder:/wheels" "$base_tag" \
    pip download --quiet -d /wheels 'hatchling>=1.25'
}

# --- our wheel on top ----------------------------------------------------------------------------------------------

build_wheel() { # once a run, into $work/dist
  [[ -d $work/dist ]] && return
  local -a build=(python3 -m pip wheel --quiet --disable-pip-version-check --no-deps -w "$work/dist" ..)
  if command -v uv >/dev/null; then
    build=(uv build --quiet --wheel --out-dir "$work/dist" ..)
    [[ -z ${PIP_NO_INDEX:-} ]] || build+=(--no-index --find-links "$PIP_FIND_LINKS")
  elif ../.venv/bin/python -m pip --version >/dev/null 2>&1; then
    build[0]=../.venv/bin/python
  fi
  mkdir "$work/dist"
  say "our wheel"
  python3 ../tools/assets.py || fail "The dashboard's browser code is missing." "Run make setup, or see what it says above."
  "${build[@]}" ||
    fail "Building our wheel failed." "Without a package index, PIP_FIND_LINKS names a folder that holds hatchling (--wheels fills it)."
}

# A text of image.toml; nothing for what is no environment.
toml() { [[ -f $1/image.toml ]] || return 0; sed -n "s/^$2 *= *\"\(.*\)\"/\1/p" "$1/image.toml" | head -n 1; }

# Packages of earlier locks or bases: gigabytes that nothing names any more.
drop_old() {
  local current tag
  current=$(packages_tag "$1")
  docker image ls --format '{{.Repository}}:{{.Tag}}' "labdock/$1-packages" | while read -r tag; do
    [[ $tag == "$current" ]] || docker rmi "$tag" >/dev/null 2>&1 || true
  done
}

build_image() {
  local name=$1 context=$work/$1 file=environment/Dockerfile reference
  build_wheel
  mkdir "$context"
  cp environment/[!D]* "$work"/dist/labdock-*.whl "$context/"
  [[ -f $name/Dockerfile ]] && file=$name/Dockerfile
  reference=$(toml "$name" reference)
  reference=${reference:-labdock/$name:latest}
  docker_build "$name" -f "$file" -t "$reference" --build-arg "PACKAGES=$(packages_tag "$name")" \
    --build-arg "NAME=$name" --build-arg "TITLE=$(toml "$name" title)" \
    --build-arg "DESCRIPTION=$(toml "$name" description)" \
    --build-arg "VERSION=$(basename "$work"/dist/labdock-*.whl | cut -d- -f2)" \
    --build-arg "REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" "$context"
  drop_old "$name"
  say "$reference: $(docker image inspect -f '{{.Size}}' "$reference" | awk '{printf "%.2f GB", $1 / 1e9}')"
}
