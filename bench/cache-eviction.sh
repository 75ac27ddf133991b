#!/usr/bin/env bash
#
# Hit ratios of the cache's store beside an LRU of the same size. See README.md.
#
#   bench/cache-eviction.sh [REQUESTS [OBJECTS]]

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tool=$root/objs/bench/cache_sim

mkdir -p "$root/objs/bench"
${CC:-cc} -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$tool" \
    "$root/bench/cache_sim.c" "$root"/src/cache_store*.c -lm

exec "$tool" "$@"
