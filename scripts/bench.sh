#!/usr/bin/env bash
# Runs the benchmarks: scripts/bench.sh CATALOGUE [CASES REFERENCE]. Start it with `make bench`.
set -euo pipefail
cd "$(dirname "$0")/.."
catalogue=$1 cases=${2:-} reference=${3:-}
python=.venv/bin/python
results=benchmarks/results
root=var/bench
export TF_CPP_MIN_LOG_LEVEL=3 PYTHONWARNINGS=ignore

section() { echo "== $*" >&2; }

section "ingest"
"$python" -m benchmarks.ingest --rows 10000 100000 --formats jsonl csv google_xml parquet --out $results/ingest.md
section "rule matching"
"$python" -m benchmarks.rule_matching
section "similarity"
"$python" -m benchmarks.similarity_index
"$python" -m benchmarks.live_changes
"$python" -m benchmarks.neighbour_lists
section "batches"
"$python" -m benchmarks.sampling --products 100000 1000000
OPENBLAS_NUM_THREADS=1 "$python" -m benchmarks.batch_refresh
section "pool scoring, linear model"
run=$(.venv/bin/aisle run --config "$catalogue/aisle.yaml" --set "run.root=$root" --set model.family=linear --json)
model=$("$python" -c 'import json, sys; print(json.load(sys.stdin)["paths"]["model"])' <<< "$run")
examples=$(ls -td "$root"/pipeline/LabelJoin/labelled_examples/*/ | head -n 1)
"$python" -m benchmarks.pool_scoring "$model" "$examples"
section "whole rounds"
if [ -n "$cases" ] && [ -n "$reference" ]; then
  "$python" -m benchmarks.cases "$cases" "$reference"
else
  echo "skipped: name folders of catalogues and of the reference, make bench CASES=FOLDER REFERENCE=FOLDER" >&2
fi
