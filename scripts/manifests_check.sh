#!/usr/bin/env bash
# Checks the Kubernetes manifests against Kubernetes' own schemas, without a cluster. Start it with `make manifests-check`.
set -euo pipefail
cd "$(dirname "$0")/.."

VALIDATOR=kubernetes-validate==1.37.0
KUBERNETES=1.34
command -v kubectl > /dev/null || {
  echo "error: there is no kubectl to put the overlays together with. Install version 1.30 or newer." >&2
  exit 1
}

.venv/bin/pytest tests/deployment
rendered=$(mktemp --suffix=.yaml)
trap 'rm -f "$rendered"' EXIT
for overlay in k8s/overlays/*/; do
  kubectl kustomize "$overlay" > "$rendered"
  # A tool of its own environment, so that it can't disturb the pinned packages.
  .uv/bin/uv tool run --quiet --python .venv/bin/python --from "$VALIDATOR" \
    kubernetes-validate --kubernetes-version "$KUBERNETES" --strict "$rendered" 2>&1 | sed "s#$rendered#$overlay#" >&2
done
echo "manifests: all overlays fit Kubernetes $KUBERNETES" >&2
