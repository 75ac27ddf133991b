#!/usr/bin/env bash
#
# Fan-out side by side: gateway, nchan, and the bare loops. See README.md.

set -euo pipefail

# shellcheck source=lib/common.sh source-path=SCRIPTDIR
. "$(dirname "$0")/lib/common.sh"

rounds=3
sizes=128
servers='gateway nchan send writev'
counts='1000 10000'
tests='one pipe deep channels latency'

usage() {
    cat << END
usage: bench/fanout.sh [option…]
  -r ROUNDS     rounds, interleaved over the servers; medians count ($rounds)
  -z SIZES      bytes of a message ("$sizes"; also "128 4096")
  -n COUNTS     subscribers ("$counts")
  -t TESTS      "$tests"
  -v SERVERS    "$servers"
SERVER_CPU and LOAD_CPU choose the cores ($BENCH_SERVER_CPU, $BENCH_LOAD_CPU).
END
    exit "$1"
}

while getopts 'r:z:n:t:v:h' option; do
    case $option in
        r) rounds=$OPTARG ;;
        z) sizes=$OPTARG ;;
        n) counts=$OPTARG ;;
        t) tests=$OPTARG ;;
        v) servers=$OPTARG ;;
        h) usage 0 ;;
        *) usage 2 >&2 ;;
    esac
done

at_least() {
    echo $(($1 > $2 ? $1 : $2))
}

# load TEST SUBSCRIBERS SIZE: the load tool's arguments
load() {
    local n=$2
    printf -- '--subscribers=%s --size=%s ' "$n" "$3"

    case $1 in
        one)
            echo "--messages=$(at_least $((200000 / n)) 20) --warmup=5"
            ;;
        pipe)
            echo "--messages=$(at_least $((600000 / n)) 64) --warmup=16" \
                '--window=16 --batch=16'
            ;;
        deep)
            echo "--messages=$(at_least $((1000000 / n)) 64) --warmup=16" \
                '--window=64 --batch=16'
            ;;
        channels)
            echo "--channels=$((n / 10)) --messages=10000 --warmup=1000" \
                '--window=64 --batch=16'
            ;;
        latency)
            echo "--rate=$rate --messages=$((rate * 4)) --warmup=$rate" \
                '--window=256'
            ;;
        *)
            bench_die "no test \"$1\""
            ;;
    esac
}

# measure TEST SUBSCRIBERS SIZE SERVER: one line into the results
measure() {
    local line pids=() args

    bench_start "$4"
    mapfile -t pids < <(printf -- '--pid=%s\n' "${BENCH_PIDS[@]}")
    read -r -a args <<< "$(load "$1" "$2" "$3")"

    if line=$(taskset -c "$BENCH_LOAD_CPU" "$BENCH_OBJS/fanout" \
        --port="$PORT" --pub-port="$PUB_PORT" "${pids[@]}" "${args[@]}")
    then
        printf '%s %s %s %s %s %s %s %s %s\n' "$1" "$2" "$3" "$4" \
            "$(bench_field cpu_ns_per_delivery "$line")" \
            "$(bench_field deliveries_per_s "$line")" \
            "$(bench_field p50_ns "$line")" "$(bench_field p99_ns "$line")" \
            "$(bench_field load_cpu_ns_per_delivery "$line")" >> "$results"
        printf '%s %s %s\n' "$1" "$4" "$line" >> "$raw"
    else
        printf '%s, %s subscribers, %s bytes: %s failed\n' "$1" "$2" "$3" \
            "$4" >&2
        [ ! -s "$BENCH_TMP/$4/error.log" ] ||
            tail -n 5 "$BENCH_TMP/$4/error.log" >&2
        failed=1
    fi

    bench_stop
}

# Half of what nchan can do, from its CPU time in the first round of "one".
half_load() {
    local cpu
    cpu=$(awk -v n="$1" -v z="$2" '$1 == "one" && $2 == n && $3 == z &&
        $4 == "nchan" { print $5; exit }' "$results")
    awk -v n="$1" -v cpu="${cpu:-6000}" \
        'BEGIN { r = int(0.5e9 / (cpu * n)); print (r < 1) ? 1 : r }'
}

round() {
    local test n size server

    for size in $sizes; do
        for n in $counts; do
            for test in $tests; do
                # as many channels of ten as there are thousands: one size
                if [ "$test" = channels ] && [ "$n" != "${counts##* }" ]; then
                    continue
                fi

                if [ "$test" = latency ] && [ "$n" != "${counts%% *}" ]; then
                    continue
                fi

                rate=$(half_load "$n" "$size")

                for server in $servers; do
                    [ ! -t 2 ] || printf '\r%-60s' \
                        "round $1 of $rounds: $test $n $size $server" >&2
                    measure "$test" "$n" "$size" "$server"
                done
            done
        done
    done
}

# Medians, and what one server's delivery costs in terms of another's.
table() {
    awk "$BENCH_MEDIAN"'
    function ratio(of, to) {
        return (of in cpu && to in cpu) ? \
            sprintf("%.2f", median(cpu[of]) / median(cpu[to])) : "-"
    }
    BEGIN {
        title["one"] = "one message at a time"
        title["pipe"] = "pipelined, 16 messages on their way"
        title["deep"] = "pipelined, 64 messages on their way"
        title["channels"] = "10 subscribers a channel, pipelined"
        title["latency"] = "half of what nchan can do"
    }
    {
        group = $1 " " $2 " " $3
        if (!(group in seen)) { seen[group] = 1; order[++groups] = group }
        if (!((group, $4) in has)) {
            has[group, $4] = 1; members[group] = members[group] " " $4
        }
        k = group " " $4
        cpu[k] = cpu[k] " " $5; rate[k] = rate[k] " " $6
        p50[k] = p50[k] " " $7; p99[k] = p99[k] " " $8
        load[k] = load[k] " " $9
    }
    END {
        for (g = 1; g <= groups; g++) {
            group = order[g]; split(group, part, " ")
            printf "\n%s subscribers, %s bytes, %s\n", part[2], part[3],
                title[part[1]]
            printf "  %-8s %9s %9s %10s %8s %8s %8s %9s %9s\n", "", "CPU ns",
                "load ns", "deliveries", "of bare", "of bare", "times", "p50",
                "p99"
            printf "  %-8s %9s %9s %10s %8s %8s %8s %9s %9s\n", "",
                "/delivery", "/delivery", "/s", "send", "writev", "nchan",
                "ms", "ms"
            n = split(members[group], m, " ")
            for (i = 1; i <= n; i++) {
                k = group " " m[i]
                printf "  %-8s %9.0f %9.0f %10.0f %8s %8s %8s %9.2f %9.2f\n",
                    m[i], median(cpu[k]), median(load[k]), median(rate[k]),
                    ratio(group " send", k),
                    ratio(group " writev", k), ratio(group " nchan", k),
                    median(p50[k]) / 1e6, median(p99[k]) / 1e6
            }
        }
    }' "$results"
}

bench_init

results=$BENCH_TMP/results
raw=$BENCH_OBJS/fanout.jsonl
: > "$results"
: > "$raw"

failed=0
rate=1
servers=$(bench_available "$servers")

for ((i = 1; i <= rounds; i++)); do
    round "$i"
done

[ ! -t 2 ] || printf '\r%60s\r' '' >&2
bench_machine
printf 'load     %s rounds, server on core %s, load on core %s\n' "$rounds" \
    "$BENCH_SERVER_CPU" "$BENCH_LOAD_CPU"
table
printf '\nSingle runs: %s\n' "${raw#"$BENCH_ROOT"/}"

exit "$failed"
