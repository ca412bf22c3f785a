#!/usr/bin/env bash
# Makes a base image of Debian and this machine's Python 3.10, where public images can't be pulled: scripts/image_base.sh NAME
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:?usage: scripts/image_base.sh NAME, as in localhost/aisle-base:1}
suite=bookworm
# What the modules of Python's standard library load, and what pip and TLS need.
libraries=ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,libuuid1,zlib1g

[ -x .venv/bin/python ] || {
  echo "error: there is no .venv to take Python from. Run make setup first." >&2
  exit 1
}
scripts/apt.sh buildah buildah runc
scripts/apt.sh debootstrap debootstrap
python=$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

echo "base: Debian $suite ..." >&2
if ! debootstrap --variant=minbase --include="$libraries" "$suite" "$root/tree" > "$root/log" 2>&1; then
  tail -n 5 "$root/log" >&2
  echo "error: debootstrap could not fetch Debian $suite. Check the connection to the package mirror, then start again." >&2
  exit 1
fi
echo "base: Python of $python ..." >&2
# A machine behind a proxy with certificates of its own trusts them here; so does what is built on it.
cp -L /etc/ssl/certs/ca-certificates.crt "$root/tree/etc/ssl/certs/ca-certificates.crt"
for part in bin include lib; do
  cp -a "$python/$part/." "$root/tree/usr/local/$part/"
done
# Programs of other packages name the interpreter's old place.
find "$root/tree/usr/local/bin" -type f ! -name 'python3.10' -delete
rm -rf "$root/tree/usr/local/lib/python3.10/test" "$root/tree/var/cache/apt/archives" "$root/tree/var/lib/apt/lists"/*
find "$root/tree/usr/local/lib/python3.10" -name __pycache__ -type d -prune -exec rm -rf {} +
ln -sf python3.10 "$root/tree/usr/local/bin/python3"
ln -sf python3.10 "$root/tree/usr/local/bin/python"
# Compilers are told where the headers are by this file.
sed -i "s#$python#/usr/local#g" "$root"/tree/usr/local/lib/python3.10/_sysconfigdata*.py
ldconfig -r "$root/tree" # a shared libpython is found in its new place

container=$(buildah from scratch)
trap 'rm -rf "$root"; buildah rm "$container" > /dev/null 2>&1 || true' EXIT
buildah add --quiet "$container" "$root/tree" / > /dev/null
buildah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin --env LANG=C.UTF-8 --cmd python3 "$container"
buildah commit --quiet "$container" "$name" > /dev/null
echo "$name"
