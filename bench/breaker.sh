#!/usr/bin/env bash
#
# What a breaker costs: proxy_pass with keep-alive connections to a local
# upstream, with a breaker and without, in one worker. See README.md.

set -euo pipefail

# shellcheck source=lib/common.sh source-path=SCRIPTDIR
. "$(dirname "$0")/lib/common.sh"

rounds=9
count=30000
connections=16

usage() {
    cat << END
usage: bench/breaker.sh [option…]
  -r ROUNDS       rounds, each of both, in turn; medians count ($rounds)
  -n REQUESTS     of one measurement ($count)
  -c CONNECTIONS  of the clients ($connections)
SERVER_CPU and LOAD_CPU choose the cores ($BENCH_SERVER_CPU, $BENCH_LOAD_CPU).
END
    exit "$1"
}

while getopts 'r:n:c:h' option; do
    case $option in
        r) rounds=$OPTARG ;;
        n) count=$OPTARG ;;
        c) connections=$OPTARG ;;
        h) usage 0 ;;
        *) usage 2 >&2 ;;
    esac
done

# The upstream, on the other core.
bench_conf_upstream() {
    bench_conf_head "$BENCH_MODULE"
    cat << END
http {
$(bench_conf_http)
    server {
        listen 127.0.0.1:$PORT;
        return 200 'a small answer, as an API gives one';
    }
}
END
}

bench_conf_proxy() {
    bench_conf_head "$BENCH_MODULE"
    cat << END
http {
$(bench_conf_http)
    upstream with {
        server 127.0.0.1:$upstream_port;
        keepalive 32;
        keepalive_requests 1000000000;
        gateway_breaker zone=b:64k slow=10s;
    }
    upstream without {
        server 127.0.0.1:$upstream_port;
        keepalive 32;
        keepalive_requests 1000000000;
    }
    server {
        listen 127.0.0.1:$PORT;
        proxy_http_version 1.1;
        proxy_set_header Connection '';
        location = /with { proxy_pass http://with; }
        location = /without { proxy_pass http://without; }
    }
}
END
}

# measure NAME: nanoseconds of the worker's CPU for a request
measure() {
    local line

    line=$(taskset -c "$BENCH_LOAD_CPU" "$BENCH_OBJS/requests" "$PORT" "/$1" \
        "$count" "$connections" "${BENCH_PIDS[0]}") || bench_die "$1 failed"

    line=${line#*\"cpu_ns_per_request\":}
    echo "${line%%[!0-9]*}" >> "$BENCH_TMP/$1"
}

median() {
    sort -n "$BENCH_TMP/$1" | awk '{ a[NR] = $1 }
        END { h = int((NR + 1) / 2)
              print (NR % 2) ? a[h] : (a[h] + a[h + 1]) / 2 }'
}

upstream_pid=
cleanup() {
    [ -z "$upstream_pid" ] || kill "$upstream_pid" 2> /dev/null || true
    bench_cleanup
}

bench_init
trap cleanup EXIT
bench_machine

server_cpu=$BENCH_SERVER_CPU
bench_ports
BENCH_SERVER_CPU=$BENCH_LOAD_CPU
bench_start_nginx upstream
BENCH_SERVER_CPU=$server_cpu
upstream_port=$PORT
upstream_pid=$BENCH_PID

bench_ports
bench_start_nginx proxy

for ((round = 1; round <= rounds; round++)); do
    [ ! -t 2 ] || printf '\rround %s of %s' "$round" "$rounds" >&2

    # which one is first alternates, too
    if ((round % 2)); then
        measure without
        measure with
    else
        measure with
        measure without
    fi
done

[ ! -t 2 ] || printf '\r%20s\r' '' >&2

without=$(median without)
with=$(median with)

printf '\nCPU of the worker for a request, ns, median of %s\n' "$rounds"
printf '  %-16s %8s\n' 'without breaker' "$without" 'with breaker' "$with"
awk -v a="$with" -v b="$without" \
    'BEGIN { printf "  %-16s %8.3f\n", "ratio", a / b }'

# pairs of one round: what the machine did meanwhile is in both
paste "$BENCH_TMP/with" "$BENCH_TMP/without" | awk '{ print $1 / $2 }' \
    > "$BENCH_TMP/pairs"
awk -v m="$(median pairs)" \
    'BEGIN { printf "  %-16s %8.3f\n", "by rounds", m }'
