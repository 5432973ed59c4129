#!/usr/bin/env bash
# Builds the wheel and uses it from another folder, in an environment that has nothing but it.
set -euo pipefail
cd "$(dirname "$0")/.."
here="$PWD"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

"$here/.venv/bin/python" -m build --outdir "$work/dist" "$here" >"$work/build.log" 2>&1 ||
    { cat "$work/build.log"; exit 1; }
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --constraint scripts/constraints.txt torch
"$work/venv/bin/pip" install --quiet --constraint scripts/constraints.txt "$work"/dist/*.whl
cd "$work"
"$work/venv/bin/graphlearn" train ncn --dataset stdlib --schedule.epochs 3 --out "$work/runs"
test -s "$work/runs/ncn/stdlib/0/result.json"
echo "the wheel works: $(basename "$work"/dist/*.whl)"
