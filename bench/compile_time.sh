#!/usr/bin/env bash
# How long compiling takes, without ccache: a file that only includes <rondo/rondo.h>, and what
# follows a change of one op's source. The build folder must be built. Figures: docs/building.md.
#
#   bench/compile_time.sh [BUILD] [SOURCE...]      default: build, ops/shape.cc ops/lstm.cc
set -euo pipefail
exec 2>&1
build=${1:-build}
shift || true
[ $# -gt 0 ] || set -- ops/shape.cc ops/lstm.cc
export CCACHE_DISABLE=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
TIMEFORMAT='%U s of the processor, %R s on the clock'

echo "$(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(g++ --version | head -1)"
echo '#include <rondo/rondo.h>' >"$work/umbrella.cc"
for _ in 1 2 3; do
  printf 'g++ -O0, only <rondo/rondo.h>: '
  time g++ -std=c++20 -O0 -I"$build/include" -c "$work/umbrella.cc" -o "$work/umbrella.o"
done
for source; do
  touch "$source"
  printf 'everything after a change of %s: ' "$source"
  time cmake --build "$build" >"$work/log"
done
