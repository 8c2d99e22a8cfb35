#!/usr/bin/env bash
# Fails where our C++ is not as clang-format would write it; --fix rewrites it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# One version for everyone: versions differ in their taste.
command -v clang-format-19 >/dev/null || { echo "clang-format-19 is not installed" >&2; exit 1; }

mode=(--dry-run -Werror)
[ "${1:-}" != --fix ] || mode=(-i)
find . \( -path ./build -o -name '.?*' \) -prune -o \( -name '*.h' -o -name '*.cc' \) -print0 |
  xargs -0 clang-format-19 "${mode[@]}"
