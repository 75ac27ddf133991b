# shellcheck shell=bash
# shellcheck disable=SC2034  # variables are for the scripts that source this
#
# Sourced by the comparisons: builds the load tools, and starts and stops the
# servers that are compared. Everything a run writes is in a directory of its
# own, which goes away at the end; every process is ended by its own id.

BENCH_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BENCH_OBJS=$BENCH_ROOT/objs/bench
BENCH_NGINX=${NGINX:-nginx}
BENCH_MODULE=${GATEWAY_MODULE:-$BENCH_ROOT/objs/ngx_http_gateway_module.so}
BENCH_NCHAN=${NCHAN_MODULE:-/usr/lib/nginx/modules/ngx_nchan_module.so}
BENCH_SERVER_CPU=${SERVER_CPU:-1}
BENCH_LOAD_CPU=${LOAD_CPU:-0}
BENCH_WORKERS=1

# set by bench_start: ports, the process to end (and others), those to measure
PORT=
PUB_PORT=
BENCH_PID=
BENCH_PIDS=()
BENCH_STARTED=()


bench_die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}


bench_cleanup() {
    bench_stop
    [ -z "$BENCH_TMP" ] || rm -rf "$BENCH_TMP"
}


bench_init() {
    BENCH_TMP=$(mktemp -d)
    trap bench_cleanup EXIT
    trap 'exit 130' INT TERM
    ulimit -n "$(ulimit -H -n)"
    command -v taskset > /dev/null || bench_die 'taskset is missing'
    command -v "$BENCH_NGINX" > /dev/null || bench_die 'nginx is missing'
    bench_build
}


# Compiles what is older than its sources.
bench_build() {
    local tool out sources
    mkdir -p "$BENCH_OBJS"

    for tool in fanout bareloop idle mint requests limit; do
        out=$BENCH_OBJS/$tool
        sources=("$BENCH_ROOT/bench/$tool.c")

        case $tool in
            limit) sources+=("$BENCH_ROOT"/src/{siphash,sliding_window}.c) ;;
            *) sources+=("$BENCH_ROOT"/bench/lib/*.c) ;;
        esac

        if [ -x "$out" ] && [ -z "$(find "${sources[@]}" \
            "$BENCH_ROOT"/bench/lib/*.h "$BENCH_ROOT"/src/*.h -newer "$out")" ]
        then
            continue
        fi

        ${CC:-cc} -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$out" \
            "${sources[@]}" -lcrypto || bench_die "$tool does not compile"
    done
}


bench_listening() {
    (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}


# Two ports that nobody listens on, below those the system gives to clients.
bench_ports() {
    local found=() port

    while [ ${#found[@]} -lt 2 ]; do
        port=$((10000 + RANDOM % 20000))
        bench_listening "$port" || found+=("$port")
    done

    PORT=${found[0]}
    PUB_PORT=${found[1]}
}


bench_wait_listening() {
    local tries

    for ((tries = 0; tries < 200; tries++)); do
        kill -0 "$BENCH_PID" 2> /dev/null || return 1
        bench_listening "$1" && return 0
        sleep 0.05
    done

    return 1
}


# What both nginx configurations begin with. The publisher has a listener of
# its own: its buffers are large, as they gather pipelined requests, and those
# of the subscribers are nginx's defaults.
bench_conf_head() {
    local user=
    [ "$(id -u)" != 0 ] || user='user root root;'
    cat << END
load_module $1;
$user
daemon off;
worker_processes $BENCH_WORKERS;
worker_rlimit_nofile $(ulimit -n);
pid nginx.pid;
error_log error.log warn;
events { worker_connections 22000; }
END
}


bench_conf_http() {
    cat << END
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path client;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
END
}


bench_conf_publisher() {
    cat << END
        listen 127.0.0.1:$PUB_PORT;
        client_header_buffer_size 64k;
        large_client_header_buffers 4 64k;
        client_body_buffer_size 64k;
END
}


bench_conf_nchan() {
    bench_conf_head "$BENCH_NCHAN"
    cat << END
http {
$(bench_conf_http)
    nchan_shared_memory_size 256m;
    nchan_message_buffer_length 100;
    nchan_message_timeout 10m;
    server {
        listen 127.0.0.1:$PORT backlog=4096;
        location = /sub {
            nchan_subscriber websocket;
            nchan_subscriber_first_message newest;
            nchan_channel_id \$arg_c;
        }
    }
    server {
$(bench_conf_publisher)
        location = /pub {
            nchan_publisher http;
            nchan_channel_id \$arg_channel;
        }
    }
}
END
}


# BENCH_GATEWAY_HTTP and BENCH_GATEWAY_SUB add directives.
bench_conf_gateway() {
    bench_conf_head "$BENCH_MODULE"
    cat << END
http {
$(bench_conf_http)
    gateway_channel_zone bench:256m history=100 history_ttl=10m;
    ${BENCH_GATEWAY_HTTP:-}
    server {
        listen 127.0.0.1:$PORT backlog=4096;
        location = /sub {
            gateway_subscriber bench;
            gateway_channel \$arg_c;
            ${BENCH_GATEWAY_SUB:-}
        }
    }
    server {
$(bench_conf_publisher)
        location = /pub {
            gateway_publisher bench;
        }
    }
}
END
}


# bench_start_nginx NAME [FOLDER]: with bench_conf_NAME's configuration
bench_start_nginx() {
    local dir=$BENCH_TMP/${2:-$1} tries workers
    rm -rf "$dir"
    mkdir -p "$dir"
    "bench_conf_$1" > "$dir/nginx.conf"

    taskset -c "$BENCH_SERVER_CPU" "$BENCH_NGINX" -p "$dir" -c nginx.conf \
        -e error.log 2> "$dir/start.log" &
    BENCH_PID=$!

    if ! bench_wait_listening "$PORT"; then
        cat "$dir/start.log" "$dir/error.log" >&2
        bench_die "$1 does not start"
    fi

    for ((tries = 0; tries < 100; tries++)); do
        read -r -a workers < "/proc/$BENCH_PID/task/$BENCH_PID/children" || true
        [ ${#workers[@]} -lt "$BENCH_WORKERS" ] || break
        sleep 0.05
    done

    BENCH_PIDS=("${workers[@]}")
}


# bench_start gateway|nchan|send|writev
bench_start() {
    bench_ports

    case $1 in
        gateway | nchan)
            bench_start_nginx "$1"
            ;;
        *)
            PUB_PORT=$PORT
            taskset -c "$BENCH_SERVER_CPU" "$BENCH_OBJS/bareloop" "$PORT" "$1" &
            BENCH_PID=$!
            bench_wait_listening "$PORT" || bench_die "bareloop does not start"
            BENCH_PIDS=("$BENCH_PID")
            ;;
    esac
}


bench_stop() {
    local pid

    for pid in $BENCH_PID "${BENCH_STARTED[@]}"; do
        kill "$pid" 2> /dev/null || true
        wait "$pid" 2> /dev/null || true
    done

    BENCH_PID=
    BENCH_STARTED=()
}


# Whether a server can be started here.
bench_has() {
    case $1 in
        gateway) [ -f "$BENCH_MODULE" ] ;;
        nchan) [ -f "$BENCH_NCHAN" ] ;;
        send | writev) true ;;
        *) bench_die "no server \"$1\": gateway, nchan, send, writev" ;;
    esac
}


# bench_available LIST: those of the list that are there, the rest is said.
bench_available() {
    local server

    for server in $1; do
        if bench_has "$server"; then
            printf '%s ' "$server"
        else
            printf '%s: not installed or not built, left out\n' "$server" >&2
        fi
    done
}


# For awk: the median of numbers with blanks between.
BENCH_MEDIAN='
    function median(list,    a, n, i, j, t) {
        n = split(list, a, " ")
        for (i = 2; i <= n; i++) {
            for (j = i; j > 1 && a[j - 1] + 0 > a[j] + 0; j--) {
                t = a[j]; a[j] = a[j - 1]; a[j - 1] = t
            }
        }
        return (n % 2) ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
    }
'


# bench_field NAME JSON: a number of what a load tool says
bench_field() {
    sed -n "s/.*\"$1\":\\([0-9.]*\\).*/\\1/p" <<< "$2"
}


bench_machine() {
    local nchan
    nchan=$(dpkg-query -W -f '${Version}' libnginx-mod-nchan 2> /dev/null) ||
        nchan='?'
    printf 'machine  %s, %s cores\n' \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
        "$(nproc)"
    printf 'kernel   %s\n' "$(uname -srm)"
    printf 'nginx    %s, nchan %s\n' \
        "$("$BENCH_NGINX" -v 2>&1 | sed 's,.*/,,')" "$nchan"
}
