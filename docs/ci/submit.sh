#!/usr/bin/env bash
# Example for any CI that runs a shell: checks, builds and pushes the image, compiles, submits, and waits for the run.
#
# Expects in the environment: REGISTRY (prefix of the image's name, with a login already made), AISLE_KFP_HOST, AISLE_KFP_TOKEN or
# AISLE_KFP_COOKIE, and BUILD (a name for this build; building it again goes on with its run). PIP_CONF and BASE as for make image.
set -euo pipefail
: "${REGISTRY:?}" "${AISLE_KFP_HOST:?}" "${BUILD:?}"

make check
make test
make manifests-check

image=$(make image)
buildah push "$image"

.venv/bin/aisle compile --config configs/kubeflow.yaml --image "$image" --output pipeline.yaml
.venv/bin/aisle submit --package pipeline.yaml --dry-run
.venv/bin/aisle submit --package pipeline.yaml --run-name "build-$BUILD" --wait
.venv/bin/aisle submit --package pipeline.yaml --run-name nightly --every "0 4 * * *"
