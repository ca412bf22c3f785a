#!/usr/bin/env bash
# Installs a Debian package unless its program is there: scripts/apt.sh PROGRAM PACKAGE...
set -euo pipefail
program=$1
shift
command -v "$program" > /dev/null && exit 0

if ! command -v apt-get > /dev/null; then
  echo "error: $program is missing, and there is no apt-get to install it with. Install what your system calls: $*" >&2
  exit 1
elif [ "$(id -u)" = 0 ]; then
  as_root=(env)
elif command -v sudo > /dev/null && { sudo -n true 2> /dev/null || [ -t 0 ]; }; then
  as_root=(sudo env)
else
  echo "error: $program is missing. Ask an administrator to run: apt-get install $*" >&2
  exit 1
fi

echo "installing $* ..." >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"${as_root[@]}" apt-get update -qq > "$log" 2>&1 || true # an old list of packages may do
if ! "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >> "$log" 2>&1; then
  tail -n 5 "$log" >&2
  echo "error: apt-get could not install $*. Install it by hand, then start the same command again." >&2
  exit 1
fi
