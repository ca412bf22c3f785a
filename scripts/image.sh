#!/usr/bin/env bash
# Builds an image under a tag of its content and prints its name: scripts/image.sh [--name-only] TARGET. Start it with `make image`.
#
# From the environment: BASE (image to build on), REGISTRY (prefix of the name, as in registry.example.com/shop), PIP_CONF (pip.conf of
# a registry of your own, kept out of the image), BUILDER (buildah, podman or docker; default: the first one there).
set -euo pipefail
cd "$(dirname "$0")/.."

name_only=
[ "${1:-}" = --name-only ] && name_only=1 && shift
target=${1:?usage: scripts/image.sh [--name-only] TARGET, as in steps}
sources=(.dockerignore Dockerfile LICENSE components encoders few_shot locks/pipeline.txt pipeline pyproject.toml schemas serving setup.py similarity stores studies trainer_module)

fail() {
  echo "error: $*" >&2
  exit 1
}

# The same sources and base make the same tag, on any machine and at any time.
content_tag() {
  {
    printf 'target %s\nbase %s\n' "$target" "${BASE:-}"
    find "${sources[@]}" -type f ! -path '*/__pycache__/*' ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum | cut -c 1-16
}

find_builder() {
  local candidate
  for candidate in ${BUILDER:-buildah podman docker}; do
    command -v "$candidate" > /dev/null && echo "$candidate" && return
  done
  fail "there is no buildah, podman or docker to build with. Install one, as in: apt-get install buildah runc"
}

grep -q "^FROM .* AS $target\$" Dockerfile || fail "Dockerfile has no target '$target'. Known: $(sed -n 's/^FROM .* AS //p' Dockerfile | paste -sd ' ')."
tag=$(content_tag)
name=${REGISTRY:+${REGISTRY%/}/}aisle/$target:$tag
if [ -n "$name_only" ]; then
  echo "$name"
  exit
fi

builder=$(find_builder)
options=(--target "$target" --tag "$name" --build-arg "VERSION=$tag")
[ -n "${BASE:-}" ] && options+=(--build-arg "BASE=$BASE")
[ -n "${PIP_CONF:-}" ] && options+=(--secret "id=pip_conf,src=$PIP_CONF")
case $builder in
  docker) export DOCKER_BUILDKIT=1 ;;
  # A base made here is in no registry; steps reach the package registry over the machine's own network.
  *) options+=(--pull=missing --network host --format docker --layers) ;;
esac
[ "$builder" = buildah ] && ! command -v crun > /dev/null && command -v runc > /dev/null && options+=(--runtime runc)
echo "image: $name with $builder ..." >&2
"$builder" build "${options[@]}" . >&2
echo "$name"
