#!/usr/bin/env bash
# Makes an environment: uv in .uv, a Python with the pinned packages in .venv, or of the similarity server in .venv-apps.
# Start it with `make setup` or `make setup-apps`.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.9.30
uv=.uv/bin/uv
case "${1:-pipeline}" in
  pipeline) PYTHON_VERSION=3.10 venv=.venv lock=locks/pipeline-dev.txt ;; # docs/decisions/0001-python-3-10-and-the-pinned-tfx-environment.md
  apps) PYTHON_VERSION=3.12 venv=.venv-apps lock=locks/apps.txt ;;
esac

say() { echo "setup: $*" >&2; }
fail() {
  echo "error: $*" >&2
  exit 1
}

bootstrap_uv() {
  [ "$("$uv" --version 2> /dev/null | cut -d' ' -f2)" = "$UV_VERSION" ] && return
  command -v python3 > /dev/null || scripts/apt.sh python3 python3
  python3 -c 'import ensurepip, venv' 2> /dev/null || install_venv
  say "uv $UV_VERSION"
  rm -rf .uv
  python3 -m venv .uv
  .uv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check "uv==$UV_VERSION"
}

# Debian splits venv off into a package of its own.
install_venv() {
  scripts/apt.sh "a python3 with venv" python3-venv
  python3 -c 'import ensurepip, venv' || fail "python3 still can't make a venv. Install your system's python3-venv."
}

is_wanted_python() {
  [ -x "$1" ] && [ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null)" = "$PYTHON_VERSION" ]
}

# The system's, one that pyenv has but doesn't show on the path, or one that uv downloads.
find_python() {
  local candidate
  for candidate in \
    "$(UV_PYTHON_DOWNLOADS=never "$uv" python find --system --no-project "$PYTHON_VERSION" 2> /dev/null)" \
    "${PYENV_ROOT:-$HOME/.pyenv}/versions/$PYTHON_VERSION"*/bin/"python$PYTHON_VERSION" \
    "$PWD"/.uv/python/*/bin/"python$PYTHON_VERSION"; do
    is_wanted_python "$candidate" && echo "$candidate" && return
  done
  say "downloading Python $PYTHON_VERSION"
  "$uv" python install --quiet --install-dir .uv/python --no-bin "$PYTHON_VERSION" ||
    fail "there is no Python $PYTHON_VERSION and none can be downloaded. Install one (pyenv install $PYTHON_VERSION), then make setup."
  for candidate in "$PWD"/.uv/python/*/bin/"python$PYTHON_VERSION"; do
    is_wanted_python "$candidate" && echo "$candidate" && return
  done
  fail "uv downloaded Python $PYTHON_VERSION, but it isn't under .uv/python."
}

make_venv() {
  is_wanted_python "$venv/bin/python" && return
  local python
  python=$(find_python)
  say "environment with $python"
  "$uv" venv --quiet --clear --python "$python" "$venv"
}

has_headers() {
  .venv/bin/python -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())'
}

# Some pins have no wheel; pyfarmhash, crcmod and hnswlib among them are compiled. hnswlib would be compiled for this very processor,
# and uv's cache may be carried to another.
install_packages() {
  if [ "$venv" = .venv ]; then
    scripts/apt.sh c++ g++
    has_headers || scripts/apt.sh "Python.h of $PYTHON_VERSION" "python$PYTHON_VERSION-dev"
  fi
  say "$(wc -l < "$lock") packages"
  HNSWLIB_NO_NATIVE=1 "$uv" pip sync --quiet --compile-bytecode --python "$venv/bin/python" "$lock"
  "$uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
}

bootstrap_uv
make_venv
install_packages
touch "$venv/.ready"
say "done: $venv/bin/aisle --help"
