#!/usr/bin/env bash
#
# What a limit that is never reached costs a request, side by side: without
# one, gateway_limit, and limit_req. See README.md.

set -euo pipefail

# shellcheck source=lib/common.sh source-path=SCRIPTDIR
. "$(dirname "$0")/lib/common.sh"

rounds=7
seconds=2
connections=16
variants='none same gate head lreq'
count=2000

usage() {
    cat << END
usage: bench/limit.sh [option…]
  -r ROUNDS       rounds, interleaved over the variants; medians count ($rounds)
  -s SECONDS      of each measurement ($seconds)
  -c CONNECTIONS  keep-alive connections ($connections)
  -v VARIANTS     "$variants"
  -i REQUESTS     whose instructions callgrind counts; 0: none ($count)
SERVER_CPU and LOAD_CPU choose the cores ($BENCH_SERVER_CPU, $BENCH_LOAD_CPU).
END
    exit "$1"
}

while getopts 'r:s:c:v:i:h' option; do
    case $option in
        r) rounds=$OPTARG ;;
        s) seconds=$OPTARG ;;
        c) connections=$OPTARG ;;
        v) variants=$OPTARG ;;
        i) count=$OPTARG ;;
        h) usage 0 ;;
        *) usage 2 >&2 ;;
    esac
done

# The same for all variants, one file too, so that a location is all they differ
# in.
bench_conf_limit() {
    bench_conf_head "$BENCH_MODULE"
    cat << END
http {
$(bench_conf_http)
    sendfile on;
    tcp_nopush on;
    gateway_limit_zone \$binary_remote_addr zone=one:10m rate=1000000/s;
    limit_req_zone \$binary_remote_addr zone=req:10m rate=1000000r/s;
    server {
        listen 127.0.0.1:$PORT backlog=4096;
        root html;
        location = /none { alias html/file; }
        location = /same { alias html/file; }
        location = /gate {
            alias html/file;
            gateway_limit zone=one;
            gateway_limit_headers off;
        }
        location = /head {
            alias html/file;
            gateway_limit zone=one;
        }
        location = /lreq {
            alias html/file;
            limit_req zone=req burst=1000000 nodelay;
        }
    }
}
END
}

html() {
    mkdir -p "$1/html"
    head -c 1024 /dev/zero | tr '\0' x > "$1/html/file"
}

# bench_start_nginx makes the folder anew, and takes its files from here.
start() {
    bench_ports
    bench_start_nginx limit
    html "$BENCH_TMP/limit"
}

cpu_ns() {
    awk '{ print $1 }' "/proc/$1/schedstat"
}

# load VARIANT SECONDS: "requests ns" of the worker
load() {
    local before after out
    before=$(cpu_ns "${BENCH_PIDS[0]}")
    out=$(taskset -c "$BENCH_LOAD_CPU" wrk -t 1 -c "$connections" \
        -d "${2}s" "http://127.0.0.1:$PORT/$1" 2>&1) ||
        bench_die "wrk: $out"
    after=$(cpu_ns "${BENCH_PIDS[0]}")

    if grep -qE 'Non-2xx|Socket errors' <<< "$out"; then
        printf '%s\n' "$out" >&2
        bench_die "$1: not all requests were answered by 200"
    fi

    awk -v cpu=$((after - before)) '
        /requests in/ { n = $1 }
        /^Requests\/sec/ { rate = $2 }
        END { printf "%.1f %.0f\n", cpu / n, rate }' <<< "$out"
}

# All variants in one nginx, each time with another one first.
round() {
    local i n=$1 list variant
    read -r -a list <<< "$variants"

    start
    for variant in "${list[@]}"; do
        load "$variant" 1 > /dev/null
    done

    for ((i = 0; i < ${#list[@]}; i++)); do
        variant=${list[(i + n) % ${#list[@]}]}
        [ ! -t 2 ] ||
            printf '\r%-50s' "round $n of $rounds: $variant" >&2
        printf '%s %s %s\n' "$n" "$variant" "$(load "$variant" "$seconds")" \
            >> "$results"
    done

    bench_stop
}

table() {
    awk -v variants="$variants" "$BENCH_MEDIAN"'
    # the median of what each round says, as all of it is of one nginx
    function ratio(v, to,    i, list) {
        for (i = 1; i <= rounds; i++) {
            if (!((i, v) in cpu) || !((i, to) in cpu)) {
                return "-"
            }
            list = list " " cpu[i, v] / cpu[i, to]
        }
        return sprintf("%.3f", median(list))
    }
    BEGIN {
        title["none"] = "no limit"
        title["same"] = "no limit, once more"
        title["gate"] = "gateway_limit, headers off"
        title["head"] = "gateway_limit, headers draft"
        title["lreq"] = "limit_req"
    }
    {
        rounds = $1; cpu[$1, $2] = $3
        all[$2] = all[$2] " " $3; rate[$2] = rate[$2] " " $4
    }
    END {
        printf "\n  %-30s %9s %11s %9s %9s\n", "", "CPU ns", "requests",
            "times", "times"
        printf "  %-30s %9s %11s %9s %9s\n", "", "/request", "/s", "none",
            "limit_req"
        n = split(variants, v, " ")
        for (i = 1; i <= n; i++) {
            printf "  %-30s %9.0f %11.0f %9s %9s\n", title[v[i]],
                median(all[v[i]]), median(rate[v[i]]), ratio(v[i], "none"),
                ratio(v[i], "lreq")
        }
    }' "$results"
}

# collected COMMAND...: the instructions that it takes
collected() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" \
        2>&1 > /dev/null | sed -n 's/.*Collected : //p'
}

# A worker's instructions for so many requests, the start included.
worker_instructions() {
    local dir=$BENCH_TMP/limit log=$BENCH_TMP/callgrind tries

    rm -rf "$dir"
    mkdir -p "$dir"
    html "$dir"
    bench_ports
    { bench_conf_limit; echo 'master_process off;'; } > "$dir/nginx.conf"

    valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$BENCH_NGINX" -p "$dir" -c nginx.conf -e error.log 2> "$log" &
    BENCH_PID=$!

    for ((tries = 0; tries < 600; tries++)); do
        ! bench_listening "$PORT" || break
        kill -0 "$BENCH_PID" || break
        sleep 0.05
    done

    curl -sf -o /dev/null "http://127.0.0.1:$PORT/$1?[1-$2]" ||
        bench_die "$1: nginx under callgrind does not answer"

    bench_stop
    sed -n 's/.*Collected : //p' "$log"
}

instructions() {
    local variant few many keys

    printf '\n  %-30s %12s\n' 'by callgrind' instructions

    for variant in $variants; do
        few=$(worker_instructions "$variant" 200)
        many=$(worker_instructions "$variant" $((count + 200)))
        printf '  %-30s %12d\n' "a request, $variant" \
            $(((many - few) / count))
    done

    few=$(collected "$BENCH_OBJS/limit" 10000)
    many=$(collected "$BENCH_OBJS/limit" 110000)
    printf '  %-30s %12d\n' 'digest, check, charge, state' \
        $(((many - few) / 100000))

    printf '\n  %-30s %12s\n' 'by the clock' ns
    for keys in 1 80000; do
        printf '  %-30s %12s\n' "the same, $keys key(s)" \
            "$("$BENCH_OBJS/limit" 10000000 $keys)"
    done
}

command -v wrk > /dev/null || bench_die 'wrk is missing'

bench_init

results=$BENCH_OBJS/limit.results
: > "$results"

for ((i = 1; i <= rounds; i++)); do
    round "$i"
done

[ ! -t 2 ] || printf '\r%50s\r' '' >&2
bench_machine
printf 'load     %s rounds of %s s, 1 KB, %s connections, server on core %s, ' \
    "$rounds" "$seconds" "$connections" "$BENCH_SERVER_CPU"
printf 'load on core %s\n' "$BENCH_LOAD_CPU"
table

if [ "$count" -gt 0 ]; then
    if command -v valgrind > /dev/null; then
        instructions
    else
        printf 'valgrind is missing, instructions are not counted\n' >&2
    fi
fi

printf '\nSingle runs: %s\n' "${results#"$BENCH_ROOT"/}"
