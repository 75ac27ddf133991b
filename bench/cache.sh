#!/usr/bin/env bash
#
# What a cache hit costs, side by side: gateway_cache, `return 200` of the same
# body, proxy_cache on a memory file system, and Varnish. See README.md.

set -euo pipefail

# shellcheck source=lib/common.sh source-path=SCRIPTDIR
. "$(dirname "$0")/lib/common.sh"

rounds=7
seconds=2
connections=16
sizes='1024 65536'
variants='return gateway proxy varnish'

usage() {
    cat << END
usage: bench/cache.sh [option…]
  -r ROUNDS       rounds, interleaved over the variants; medians count ($rounds)
  -s SECONDS      of each measurement ($seconds)
  -c CONNECTIONS  keep-alive connections ($connections)
  -z SIZES        bytes of a body ("$sizes")
  -v VARIANTS     "$variants"
SERVER_CPU and LOAD_CPU choose the cores ($BENCH_SERVER_CPU, $BENCH_LOAD_CPU).
END
    exit "$1"
}

while getopts 'r:s:c:z:v:h' option; do
    case $option in
        r) rounds=$OPTARG ;;
        s) seconds=$OPTARG ;;
        c) connections=$OPTARG ;;
        z) sizes=$OPTARG ;;
        v) variants=$OPTARG ;;
        h) usage 0 ;;
        *) usage 2 >&2 ;;
    esac
done

# A body of the first size in KB that is made of parts, as a parameter may not
# be longer than nginx's buffer.
return_body() {
    local size=$1 part n
    part=$((size < 1024 ? size : 1024))

    printf '            set $%s "%s";\n' part \
        "$(head -c "$part" /dev/zero | tr '\0' x)"
    printf '            set $%s "' body
    for ((n = size / part; n > 0; n--)); do printf '%s' "\${part}"; done
    printf '";\n            return 200 $%s;\n' body
}

# The same for all variants, so that a location is all they differ in. The
# second server is where the bodies come from.
bench_conf_cache() {
    local size
    bench_conf_head "$BENCH_MODULE"
    cat << END
http {
$(bench_conf_http)
    sendfile on;
    tcp_nopush on;
    gateway_cache_zone hits:64m;
    proxy_cache_path $shm/proxy keys_zone=proxy:10m use_temp_path=off;
    server {
        listen 127.0.0.1:$PORT backlog=4096;
        location /gateway/ {
            gateway_cache hits;
            gateway_cache_valid 1h;
            proxy_pass http://127.0.0.1:$PUB_PORT/;
        }
        location /proxy/ {
            proxy_cache proxy;
            proxy_cache_key \$scheme\$host\$request_uri;
            proxy_cache_valid 1h;
            proxy_pass http://127.0.0.1:$PUB_PORT/;
        }
END
    for size in $sizes; do
        cat << END
        location = /return/$size {
$(return_body "$size")
        }
END
    done
    cat << END
    }
    server {
        listen 127.0.0.1:$PUB_PORT;
        root html;
    }
}
END
}

html() {
    local size
    mkdir -p "$1/html"

    for size in $sizes; do
        head -c "$size" /dev/zero | tr '\0' x > "$1/html/$size"
    done
}

start_varnish() {
    local tries

    varnish_port=$((PORT > 20000 ? PORT - 1000 : PORT + 1000))
    cat > "$BENCH_TMP/varnish.vcl" << END
vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "$PUB_PORT"; }
sub vcl_recv { set req.url = regsub(req.url, "^/varnish", ""); }
sub vcl_backend_response { set beresp.ttl = 1h; }
END
    # its workers are of another user
    chmod 711 "$BENCH_TMP"

    taskset -c "$BENCH_SERVER_CPU" varnishd -F -n "$BENCH_TMP/varnish" \
        -a "127.0.0.1:$varnish_port" -f "$BENCH_TMP/varnish.vcl" \
        -s malloc,64m > "$BENCH_TMP/varnish.log" 2>&1 &
    varnish_pid=$!

    for ((tries = 0; tries < 200; tries++)); do
        ! bench_listening "$varnish_port" || return 0
        kill -0 "$varnish_pid" 2> /dev/null || break
        sleep 0.05
    done

    cat "$BENCH_TMP/varnish.log" >&2
    bench_die 'varnishd does not start'
}

start() {
    bench_ports
    bench_start_nginx cache
    html "$BENCH_TMP/cache"
    [ -z "$with_varnish" ] || start_varnish
}

stop() {
    if [ -n "$varnish_pid" ]; then
        kill "$varnish_pid" 2> /dev/null || true
        wait "$varnish_pid" 2> /dev/null || true
        varnish_pid=
    fi
    bench_stop
}

# CPU time of all threads of the process that serves
cpu_ns() {
    cat "/proc/$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# load VARIANT SIZE SECONDS: "ns rate" of one request
load() {
    local before after out port=$PORT pid=${BENCH_PIDS[0]}

    if [ "$1" = varnish ]; then
        port=$varnish_port
        # there is no end of the line
        read -r pid _ < "/proc/$varnish_pid/task/$varnish_pid/children" || true
    fi

    before=$(cpu_ns "$pid")
    out=$(taskset -c "$BENCH_LOAD_CPU" wrk -t 1 -c "$connections" \
        -d "${3}s" "http://127.0.0.1:$port/$1/$2" 2>&1) ||
        bench_die "wrk: $out"
    after=$(cpu_ns "$pid")

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
    local i n=$1 list variant size
    read -r -a list <<< "$variants"

    start

    for size in $sizes; do
        for variant in "${list[@]}"; do
            load "$variant" "$size" 1 > /dev/null
        done

        for ((i = 0; i < ${#list[@]}; i++)); do
            variant=${list[(i + n) % ${#list[@]}]}
            [ ! -t 2 ] ||
                printf '\r%-50s' "round $n of $rounds: $variant $size" >&2
            printf '%s %s %s %s\n' "$n" "$size" "$variant" \
                "$(load "$variant" "$size" "$seconds")" >> "$results"
        done
    done

    stop
}

table() {
    awk -v variants="$variants" -v sizes="$sizes" "$BENCH_MEDIAN"'
    # how often faster: the median of what each round says
    function ratio(size, v, to,    i, list) {
        for (i = 1; i <= rounds; i++) {
            if (!((i, size, v) in cpu) || !((i, size, to) in cpu)) {
                return "-"
            }
            list = list " " cpu[i, size, to] / cpu[i, size, v]
        }
        return sprintf("%.2f", median(list))
    }
    BEGIN {
        title["return"] = "return 200"
        title["gateway"] = "gateway_cache"
        title["proxy"] = "proxy_cache on /dev/shm"
        title["varnish"] = "Varnish"
    }
    {
        rounds = $1; cpu[$1, $2, $3] = $4
        all[$2, $3] = all[$2, $3] " " $4
        rate[$2, $3] = rate[$2, $3] " " $5
    }
    END {
        n = split(variants, v, " ")
        m = split(sizes, z, " ")
        for (k = 1; k <= m; k++) {
            printf "\n  %-26s %11s %11s %11s\n", z[k] " bytes", "CPU ns",
                "requests", "of"
            printf "  %-26s %11s %11s %11s\n", "", "/request", "/s",
                "return 200"
            for (i = 1; i <= n; i++) {
                printf "  %-26s %11.0f %11.0f %11s\n", title[v[i]],
                    median(all[z[k], v[i]]), median(rate[z[k], v[i]]),
                    ratio(z[k], v[i], "return")
            }
        }
    }' "$results"
}

command -v wrk > /dev/null || bench_die 'wrk is missing'

bench_init
varnish_pid=
shm=$(mktemp -d -p /dev/shm)
trap 'stop; rm -rf "$shm"; bench_cleanup' EXIT

if ! command -v varnishd > /dev/null && [[ " $variants " = *" varnish "* ]]
then
    printf 'varnish: not installed, left out\n' >&2
    variants=${variants//varnish/}
fi

with_varnish=
[[ " $variants " != *" varnish "* ]] || with_varnish=yes

results=$BENCH_OBJS/cache.results
: > "$results"

for ((i = 1; i <= rounds; i++)); do
    round "$i"
done

[ ! -t 2 ] || printf '\r%50s\r' '' >&2
bench_machine
printf 'load     %s rounds of %s s, %s connections, server on core %s, ' \
    "$rounds" "$seconds" "$connections" "$BENCH_SERVER_CPU"
printf 'load on core %s\n' "$BENCH_LOAD_CPU"
table

printf '\nSingle runs: %s\n' "${results#"$BENCH_ROOT"/}"
