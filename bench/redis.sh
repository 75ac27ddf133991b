#!/usr/bin/env bash
#
# Two nodes and one Redis: what is published on one node reaches subscribers of
# the other. The gateway beside nchan, in one run. See README.md.

set -euo pipefail

# shellcheck source=lib/common.sh source-path=SCRIPTDIR
. "$(dirname "$0")/lib/common.sh"

rounds=5
servers='gateway nchan'
tests='one rate pipe pipe100 many many100'
scale=1

usage() {
    cat << END
usage: bench/redis.sh [option…]
  -r ROUNDS     rounds, interleaved over the servers; medians count ($rounds)
  -t TESTS      "$tests"
  -v SERVERS    "$servers"
  -s DIVISOR    a so many times shorter load ($scale)
SERVER_CPU and LOAD_CPU choose the cores ($BENCH_SERVER_CPU, $BENCH_LOAD_CPU).
END
    exit "$1"
}

while getopts 'r:t:v:s:h' option; do
    case $option in
        r) rounds=$OPTARG ;;
        t) tests=$OPTARG ;;
        v) servers=$OPTARG ;;
        s) scale=$OPTARG ;;
        h) usage 0 ;;
        *) usage 2 >&2 ;;
    esac
done

# load TEST: the load tool's arguments
load() {
    case $1 in
        one) echo --subscribers=1 --messages=$((5000 / scale)) --warmup=200 ;;
        rate)
            echo --subscribers=1 --rate=1000 --messages=$((5000 / scale)) \
                --warmup=200 --window=1024
            ;;
        pipe | pipe100)
            echo --subscribers="$(subscribers "$1" 1)" --window=64 --batch=16 \
                --messages=$((30000 / scale)) --warmup=1000
            ;;
        many | many100)
            echo --channels=16 --publishers=16 --window=256 --batch=16 \
                --subscribers="$(subscribers "$1" 16)" \
                --messages=$((60000 / scale)) --warmup=2000
            ;;
        *) bench_die "no test \"$1\"" ;;
    esac
}

subscribers() {
    local n=${1//[a-z]/}
    echo $(($2 * ${n:-1}))
}

bench_conf_redis_gateway() {
    bench_conf_head "$BENCH_MODULE"
    cat << END
http {
$(bench_conf_http)
    gateway_redis r redis://127.0.0.1:$redis_port timeout=5s;
    gateway_channel_zone bench:256m redis=r history=100 history_ttl=10m;
    server {
$(bench_conf_publisher)
        location = /sub {
            gateway_subscriber bench;
            gateway_channel \$arg_c;
        }
        location = /pub { gateway_publisher bench; }
    }
}
END
}

bench_conf_redis_nchan() {
    bench_conf_head "$BENCH_NCHAN"
    cat << END
http {
$(bench_conf_http)
    nchan_shared_memory_size 256m;
    nchan_message_buffer_length 100;
    nchan_message_timeout 10m;
    upstream r { nchan_redis_server redis://127.0.0.1:$redis_port; }
    server {
$(bench_conf_publisher)
        location = /sub {
            nchan_subscriber websocket;
            nchan_subscriber_first_message newest;
            nchan_channel_id \$arg_c;
            nchan_redis_pass r;
        }
        location = /pub {
            nchan_publisher http;
            nchan_channel_id \$arg_channel;
            nchan_redis_pass r;
        }
    }
}
END
}

# A Redis that keeps nothing, and two nodes of it. Afterwards PORT is that of
# the node of the subscribers, PUB_PORT that of the publishers.
start() {
    local all=() node sub_port

    bench_ports
    redis_port=$PORT
    taskset -c "$BENCH_SERVER_CPU" redis-server --port "$redis_port" \
        --bind 127.0.0.1 --save '' --dir "$BENCH_TMP" > /dev/null &
    BENCH_PID=$!
    BENCH_STARTED=("$BENCH_PID")
    all=("$BENCH_PID")
    bench_wait_listening "$redis_port" ||
        bench_die 'redis-server does not start'

    for node in 1 2; do
        sub_port=$PUB_PORT
        bench_ports
        PORT=$PUB_PORT
        bench_start_nginx "redis_$1" "node$node"
        BENCH_STARTED+=("$BENCH_PID")
        all+=("${BENCH_PIDS[@]}")
    done

    PORT=$sub_port
    BENCH_PIDS=("${all[@]}")
}

# measure TEST SERVER: one line into the results
measure() {
    local line pids=() args

    start "$2"
    mapfile -t pids < <(printf -- '--pid=%s\n' "${BENCH_PIDS[@]}")
    read -r -a args <<< "$(load "$1")"

    if line=$(taskset -c "$BENCH_LOAD_CPU" "$BENCH_OBJS/fanout" --settle=1000 \
        --port="$PORT" --pub-port="$PUB_PORT" "${pids[@]}" "${args[@]}")
    then
        printf '%s %s %s %s %s %s %s\n' "$1" "$2" \
            "$(bench_field messages "$line")" "$(bench_field wall_ns "$line")" \
            "$(bench_field p50_ns "$line")" "$(bench_field p99_ns "$line")" \
            "$(bench_field cpu_ns "$line")" >> "$results"
        printf '%s %s %s\n' "$1" "$2" "$line" >> "$raw"
    else
        printf '%s: %s failed\n' "$1" "$2" >&2
        tail -n 5 "$BENCH_TMP"/node?/error.log >&2
        failed=1
    fi

    bench_stop
}

# Medians, and the gateway's share of nchan's.
table() {
    awk "$BENCH_MEDIAN"'
    function ratio(list) {
        return list[test, "nchan"] == "" || list[test, "gateway"] == "" ? \
            "-" : sprintf("%.2f", median(list[test, "gateway"]) \
                / median(list[test, "nchan"]))
    }
    BEGIN {
        title["one"] = "one message at a time"
        title["rate"] = "1,000 messages a second"
        title["pipe"] = "one publisher, saturated, 1 subscriber"
        title["pipe100"] = "one publisher, saturated, 100 subscribers"
        title["many"] = "16 publishers, 16 channels of 1 subscriber"
        title["many100"] = "16 publishers, 16 channels of 100 subscribers"
    }
    {
        if (!($1 in seen)) { seen[$1] = 1; order[++tests] = $1 }
        if (!($2 in known)) { known[$2] = 1; server[++servers] = $2 }
        k = $1 SUBSEP $2
        rate[k] = rate[k] " " $3 * 1e9 / $4
        p50[k] = p50[k] " " $5 / 1e6
        p99[k] = p99[k] " " $6 / 1e6
        cpu[k] = cpu[k] " " $7 / $3 / 1e3
    }
    END {
        for (i = 1; i <= tests; i++) {
            test = order[i]
            printf "\n%s\n  %-16s %10s %9s %9s %9s\n", title[test], "",
                "messages/s", "p50 ms", "p99 ms", "CPU us"
            for (j = 1; j <= servers; j++) {
                k = test SUBSEP server[j]
                if (rate[k] != "") {
                    printf "  %-16s %10.0f %9.3f %9.3f %9.1f\n", server[j],
                        median(rate[k]), median(p50[k]), median(p99[k]),
                        median(cpu[k])
                }
            }
            printf "  %-16s %10s %9s %9s %9s\n", "gateway / nchan",
                ratio(rate), ratio(p50), ratio(p99), ratio(cpu)
        }
    }' "$results"
}

bench_init
command -v redis-server > /dev/null || bench_die 'redis-server is missing'

results=$BENCH_TMP/results
raw=$BENCH_OBJS/redis.jsonl
: > "$results"
: > "$raw"

failed=0
servers=$(bench_available "$servers")

for ((i = 1; i <= rounds; i++)); do
    for test in $tests; do
        for server in $servers; do
            [ ! -t 2 ] || printf '\r%-60s' \
                "round $i of $rounds: $test $server" >&2
            measure "$test" "$server"
        done
    done
done

[ ! -t 2 ] || printf '\r%60s\r' '' >&2
bench_machine
printf 'redis    %s\n' \
    "$(redis-server --version | sed 's/.* v=\([0-9.]*\).*/\1/')"
printf 'load     %s rounds, nodes and Redis on core %s, load on core %s\n' \
    "$rounds" "$BENCH_SERVER_CPU" "$BENCH_LOAD_CPU"
table
printf '\nSingle runs: %s\n' "${raw#"$BENCH_ROOT"/}"

[ "$failed" = 0 ]
