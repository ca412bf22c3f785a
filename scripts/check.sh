#!/usr/bin/env bash
# Checks format, lint, types, import rule and docs, and says all that is wrong, not just the first. Start it with `make check`.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
packages=(components encoders few_shot pipeline schemas serving similarity stores studies trainer_module benchmarks)
failed=()

check() { # NAME COMMAND...: quiet unless it fails
  local name=$1 said
  shift
  if ! said=$("$@" 2>&1); then
    printf '%s\n' "$said" >&2
    failed+=("$name")
  fi
}

check "format (.venv/bin/ruff format)" "$bin/ruff" format --check --output-format concise .
check "lint" "$bin/ruff" check --output-format concise .
check "types" "$bin/mypy" --no-error-summary "${packages[@]}"
check "import rule" "$bin/lint-imports"
check "code and docs" "$bin/pytest" tests/test_import_rule.py tests/test_docs.py

if [ ${#failed[@]} -gt 0 ]; then
  printf 'make check: wrong: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "make check: format, lint, types, import rule and docs are right"
