#!/usr/bin/env bash
# Turns the labelling loop once on a demo catalogue: scripts/loop.sh CATALOGUE. Start it with `make loop`.
set -euo pipefail
cd "$(dirname "$0")/.."
catalogue=$1
config=$catalogue/aisle.yaml
aisle=.venv/bin/aisle
answers=$(mktemp --suffix=.jsonl)
trap 'rm -f "$answers"' EXIT

echo "1. a round with the answers there are" >&2
"$aisle" run --config "$config"

echo "2. the simulated labeller answers its batch" >&2
"$aisle" batch answer --config "$config" --truth "$catalogue/truth.tsv" --out "$answers"
"$aisle" labels import "$answers" --config "$config"

echo "3. a round with those answers, judged against the model that is live" >&2
"$aisle" run --config "$config"
