#!/usr/bin/env bash
#
# Memory of an idle subscriber side by side: gateway, with a token each, and
# nchan, without. See README.md.

set -euo pipefail

# shellcheck source=lib/common.sh source-path=SCRIPTDIR
. "$(dirname "$0")/lib/common.sh"

count=19500
servers='gateway nchan'

usage() {
    cat << END
usage: bench/memory.sh [option…]
  -n COUNT      subscribers ($count)
  -w WORKERS    worker processes ($BENCH_WORKERS)
  -v SERVERS    "$servers"
END
    exit "$1"
}

while getopts 'n:w:v:h' option; do
    case $option in
        n) count=$OPTARG ;;
        w) BENCH_WORKERS=$OPTARG ;;
        v) servers=$OPTARG ;;
        h) usage 0 ;;
        *) usage 2 >&2 ;;
    esac
done

# descriptors that the idle tool has besides its subscribers
spare=100

# bytes of the workers; with an argument only that line of smaps_rollup
pss() {
    local pid files=()

    for pid in "${BENCH_PIDS[@]}"; do
        files+=("/proc/$pid/smaps_rollup")
    done

    awk -v line="${1:-Pss}:" '$1 == line { sum += $2 }
        END { print sum * 1024 }' "${files[@]}"
}

# Waits until the figure stands still.
settled() {
    local now last=-1 tries

    for ((tries = 0; tries < 40; tries++)); do
        now=$(pss)
        [ "$now" != "$last" ] || break
        last=$now
        sleep 0.25
    done

    echo "$now"
}

# Opens as many idle subscribers as one process may have, several times. They
# end when the writing end of their standard input does, at the latest with
# this script.
connect() {
    local left=$count lot most source=1 fifo=$BENCH_TMP/hold out
    most=$(($(ulimit -n) - spare))
    idle_pids=()

    rm -f "$fifo"
    mkfifo "$fifo"
    exec 9<> "$fifo"

    while ((left > 0)); do
        lot=$((left < most ? left : most))
        out=$BENCH_TMP/idle.$source
        : > "$out"
        taskset -c "$BENCH_LOAD_CPU" "$BENCH_OBJS/idle" --source=$source "$@" \
            "$PORT" "$lot" < "$fifo" > "$out" 9>&- &
        idle_pids+=($!)

        until grep -q ready "$out"; do
            kill -0 $! 2> /dev/null || bench_die 'subscribers cannot connect'
            sleep 0.1
        done

        left=$((left - lot))
        source=$((source + 10))
    done
}

# Ends them; none may have been closed by the server meanwhile.
disconnect() {
    local pid
    exec 9>&-

    for pid in "${idle_pids[@]}"; do
        wait "$pid" || bench_die 'subscribers were closed by the server'
    done
}

measure() {
    local before after shared_before shared_after args=()

    if [ "$1" = gateway ]; then
        args=(--protocol='v1, jwt, %t' --tokens="$BENCH_TMP/tokens")
    fi

    bench_start "$1"
    before=$(settled)
    shared_before=$(pss Pss_Shmem)
    connect "${args[@]}"
    after=$(settled)
    shared_after=$(pss Pss_Shmem)
    disconnect
    bench_stop

    printf '  %-8s %10s %10s %12s %12s\n' "$1" $((before / 1024)) \
        $((after / 1024)) $(((after - before) / count)) \
        $(((shared_after - shared_before) / count))
}

bench_init

servers=$(bench_available "$servers")

head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$BENCH_TMP/secret"
"$BENCH_OBJS/mint" "$BENCH_TMP/secret" "$count" > "$BENCH_TMP/tokens"

# shellcheck disable=SC2034  # read in common.sh
BENCH_GATEWAY_HTTP="gateway_jwt_keys users secret_file=$BENCH_TMP/secret;"
# shellcheck disable=SC2034
BENCH_GATEWAY_SUB='gateway_jwt users;'

bench_machine
printf 'load     %s idle subscribers, %s worker(s)\n\n' "$count" \
    "$BENCH_WORKERS"
printf '  %-8s %10s %10s %12s %12s\n' '' 'PSS before' 'PSS after' \
    'bytes per' 'of these'
printf '  %-8s %10s %10s %12s %12s\n' '' 'KB' 'KB' 'subscriber' 'shared'

for server in $servers; do
    case $server in
        gateway | nchan) measure "$server" ;;
        *) bench_die "memory of \"$server\" is not measured" ;;
    esac
done
