#!/usr/bin/env bash
#
# The one entry: builds, runs and checks everything. ./build.sh help explains.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$ROOT"

OBJS=${OBJS-objs}
JOBS=${JOBS-$(nproc)}
NAME=ngx_http_gateway_module
NGINX_DEV=/usr/share/nginx/src

help() {
    cat << 'END'
usage: ./build.sh [verb [arguments]]

(no verb)        build objs/ngx_http_gateway_module.so for the installed nginx
                 (its headers are Debian's nginx-dev), or for the nginx whose
                 source tree, configured --with-compat, is NGINX_SRC
deps [group...]  install what is missing (Debian; elsewhere print the list):
                 build demo test check fuzz valgrind bench, or all of them
demo [port]      build, and serve the demo on 127.0.0.1:8080 until Ctrl-C
test [file...]   build and run all tests, or the given t/*.t, t/unit/*.c,
                 t/browser/run and cache-conformance (the public suite of
                 HTTP caching tests); installs what they need
check            format, -Werror builds with gcc and clang, linters
asan [file...]   all tests, or the given ones, under AddressSanitizer and
                 UndefinedBehaviorSanitizer
valgrind [file...]
                 the same under valgrind
fuzz [target [seconds]]
                 fuzz one target of t/fuzz, or each of them; 10 s unless told
bench [name [arguments]]
                 run bench/NAME.sh; without a name, list what there is
sources          write the lists of files in `config` anew
clean            remove objs/ and what failed tests have left
help             print this

Environment: NGINX_SRC, CC, CFLAGS (-O2), JOBS (all processors), OBJS (objs),
TEST_NGINX_BINARY (the nginx to test with).
Only deps needs root, and says first what it will install.
END
}

say() {
    printf '== %s\n' "$*"
}

die() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}


# --- deps -------------------------------------------------------------------

# What each group needs: how one sees that it is there (a command, or a file;
# perl:Name is a module), and the package of Debian that has it.
needs() {
    case $1 in
        build)
            cat << 'END'
gcc                                       gcc
make                                      make
/usr/include/stdlib.h                     libc6-dev
nginx                                     nginx
/usr/share/nginx/src/configure            nginx-dev
/usr/include/jansson.h                    libjansson-dev
/usr/include/hiredis/hiredis.h            libhiredis-dev
/usr/include/openssl/evp.h                libssl-dev
/usr/include/zlib.h                       zlib1g-dev
END
            ;;
        demo)
            cat << 'END'
openssl                                   openssl
curl                                      curl
END
            ;;
        test)
            cat << 'END'
openssl                                   openssl
curl                                      curl
perl                                      perl
prove                                     perl
perl:Test::Base                           libtest-base-perl
perl:Text::Diff                           libtext-diff-perl
perl:Test::LongString                     libtest-longstring-perl
perl:List::MoreUtils                      liblist-moreutils-perl
perl:IPC::Run                             libipc-run-perl
perl:LWP                                  libwww-perl
perl:IO::Socket::SSL                      libio-socket-ssl-perl
/usr/include/cmocka.h                     libcmocka-dev
chromium                                  chromium
node                                      nodejs
npm                                       npm
redis-server                              redis-server
redis-sentinel                            redis-sentinel
/etc/ssl/certs/ca-certificates.crt        ca-certificates
END
            ;;
        check)
            cat << 'END'
clang                                     clang
clang-tidy                                clang-tidy
cppcheck                                  cppcheck
shellcheck                                shellcheck
perl                                      perl
END
            ;;
        fuzz)
            cat << 'END'
clang                                     clang
/usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a libclang-rt-14-dev
END
            ;;
        valgrind)
            echo "valgrind valgrind"
            ;;
        bench)
            cat << 'END'
/usr/lib/nginx/modules/ngx_nchan_module.so libnginx-mod-nchan
redis-server                              redis-server
openssl                                   openssl
curl                                      curl
perl                                      perl
taskset                                   util-linux
wrk                                       wrk
varnishd                                  varnish
valgrind                                  valgrind
END
            ;;
        *)
            die "deps knows no group \"$1\""
            ;;
    esac
}

is_there() {
    case $1 in
        perl:*) perl "-M${1#perl:}" -e 1 2> /dev/null ;;
        /*) compgen -G "$1" > /dev/null ;;
        *) command -v "$1" > /dev/null ;;
    esac
}

# Debian's packages that are missing for the groups, one a line. Another system
# keeps its headers elsewhere, so there every package counts as missing.
missing() {
    local group sign package

    for group in "$@"; do
        # a source tree of its own needs no nginx-dev
        needs "$group" | while read -r sign package; do
            case $package in
                nginx-dev) [ -z "${NGINX_SRC-}" ] || continue ;;
            esac
            is_there "$sign" || echo "$package"
        done
    done | sort -u
}

deps() {
    local groups=("$@") packages as_root=()

    [ $# -ne 0 ] || groups=(build demo test check fuzz valgrind bench)

    if [ ! -e /etc/debian_version ]; then
        echo "This is not Debian. Its packages for this, by the names there:"
        for group in "${groups[@]}"; do
            needs "$group" | awk '{ print "    " $2 }'
        done | sort -u
        return
    fi

    mapfile -t packages < <(missing "${groups[@]}")

    if [ ${#packages[@]} -eq 0 ]; then
        say "deps: nothing is missing for: ${groups[*]}"
        return
    fi

    say "deps: missing, and installed now: ${packages[*]}"

    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo > /dev/null \
            || die "run this as root: ./build.sh deps ${groups[*]}"
        as_root=(sudo)
    fi

    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${packages[@]}"

    mapfile -t packages < <(missing "${groups[@]}")
    [ ${#packages[@]} -eq 0 ] || die "still missing: ${packages[*]}"
}

# Installs only where something is missing. Elsewhere than on Debian whoever
# runs this has what it takes, or the compiler says what is missing.
need() {
    [ -e /etc/debian_version ] || return 0
    [ -z "$(missing "$@")" ] || deps "$@"
}


# --- build ------------------------------------------------------------------

# The flags that the nginx to build for was configured with, one a line.
nginx_flags() {
    local dir=$1 NGX_CONF_FLAGS=() line

    if [ -e "$dir/conf_flags" ]; then
        # shellcheck disable=SC1091
        . "$dir/conf_flags"
    elif [ -e "$dir/objs/ngx_auto_config.h" ]; then
        line=$(sed -n 's/^#define NGX_CONFIGURE "\(.*\)"$/\1/p' \
            "$dir/objs/ngx_auto_config.h")
        eval "NGX_CONF_FLAGS=($line)"
    else
        NGX_CONF_FLAGS=(--with-compat --with-http_ssl_module)
    fi

    for line in "${NGX_CONF_FLAGS[@]}"; do
        case $line in
            # the paths of other modules mean nothing in the copy
            --add-*) ;;
            *) printf '%s\n' "$line" ;;
        esac
    done
}

# build_module DIR CC CFLAGS LDFLAGS: builds in a copy of nginx's tree in
# DIR/nginx, and puts the module into DIR.
build_module() {
    mkdir -p "$1"
    { flock 9; build_locked "$@"; } 9> "$1/lock"
}

build_locked() {
    local dir=$1 cc=$2 cflags=$3 ldflags=$4
    local tree=$dir/nginx from=${NGINX_SRC:-$NGINX_DEV} flags stamp

    [ -d "$from/src/core" ] || die "no nginx source tree in \"$from\""

    mapfile -t flags < <(nginx_flags "$from")
    stamp=$(
        printf '%s\n' "$from" "$cc" "$cflags" "$ldflags" "${flags[@]}"
        sha256sum config "$from/src/core/nginx.h" "$from/auto/modules"
    )

    if [ "$stamp" != "$(cat "$dir/stamp" 2> /dev/null)" ]; then
        rm -rf "$tree" "$dir/stamp"
        mkdir -p "$tree"
        cp -R "$from/auto" "$from/src" "$tree/"
        if [ -e "$from/configure" ]; then
            cp "$from/configure" "$tree/"
        else
            cp "$from/auto/configure" "$tree/"
        fi

        # headers are followed one by one (-MMD), not all by each source
        (
            cd "$tree"
            ./configure "${flags[@]}" --add-dynamic-module="$ROOT" \
                --with-cc="$cc" --with-cc-opt="$cflags -MMD -MP" \
                --with-ld-opt="$ldflags"
        ) > "$dir/configure.log" 2>&1 || {
            tail -n 12 "$dir/configure.log" >&2
            die "nginx's configure failed, see $dir/configure.log"
        }
        # shellcheck disable=SC2016
        echo '-include $(wildcard objs/addon/*/*.d)' > "$tree/objs/headers.mk"
        printf '%s' "$stamp" > "$dir/stamp"
    fi

    make -C "$tree" -s -j "$JOBS" -f objs/Makefile -f objs/headers.mk \
        ADDON_DEPS= modules || return 1

    if ! cmp -s "$tree/objs/$NAME.so" "$dir/$NAME.so"; then
        # by another name first: a running nginx keeps the file that it has
        cp "$tree/objs/$NAME.so" "$dir/$NAME.so.new"
        mv "$dir/$NAME.so.new" "$dir/$NAME.so"
    fi
}

build() {
    build_module "$OBJS" "${CC-cc}" \
        "${CFLAGS--O2} -fno-semantic-interposition -fstack-protector-strong" \
        "-Wl,-z,relro -Wl,-z,now"
    say "built: $OBJS/$NAME.so"
}


# --- demo -------------------------------------------------------------------

demo() {
    local port=${1-8080} dir=$OBJS/demo pid url

    [[ $port =~ ^[0-9]+$ ]] || die "\"$port\" is not a port"

    need build demo
    build
    conf.example/demo/prepare.sh "$dir" "$port"

    "${TEST_NGINX_BINARY-nginx}" -p "$dir/" -e error.log -c nginx.conf \
        -g 'daemon off;' &
    pid=$!
    # shellcheck disable=SC2064
    trap "kill $pid 2> /dev/null || true" EXIT

    url=http://127.0.0.1:$port
    until curl -s -o /dev/null "$url/"; do
        kill -0 "$pid" 2> /dev/null || die "nginx ended, see $dir/error.log"
        sleep 0.05
    done

    cat << END

The demo runs. Open it, in several tabs:

    $url/

Publish from another shell:

    curl --json '{"text":"hello"}' '$url/pub?channel=demo:lobby'

Counters: $url/status   Log: $dir/error.log   Ctrl-C ends it.
END

    wait "$pid"
    trap - EXIT
}


# --- tests ------------------------------------------------------------------

core_make() {
    make -s -j "$JOBS" -f t/unit/Makefile "$@"
}

# run_tests UNIT_DIR FILE...: all of them, where none is given; BROWSER is the
# one that tests what stands in objs/ and nothing else.
run_tests() {
    local units=$1 file files=()
    shift

    if [ $# -eq 0 ]; then
        set -- t/unit/*.c t/*.t ${BROWSER:+"$BROWSER" cache-conformance}
    fi

    for file in "$@"; do
        [ "$file" != cache-conformance ] || file=t/cache_conformance/run
        [ -e "$file" ] || die "no test \"$file\""
        case $file in
            t/unit/*.c | */t/unit/*.c)
                file=$(basename "$file" .c)
                files+=("$units/$file")
                ;;
            *) files+=("$file") ;;
        esac
    done

    JOBS=${TEST_JOBS-1} t/run "${files[@]}"
}

run_suite() {
    need build test
    build
    core_make OUT="$OBJS/unit" unit

    TEST_NGINX_LOAD_MODULES=$(realpath "$OBJS/$NAME.so") \
        BROWSER=t/browser/run run_tests "$OBJS/unit" "$@"
}

asan() {
    local dir=$OBJS/asan
    local cflags="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined"

    # what the sanitizers add makes gcc see null pointers that cannot be
    cflags+=" -Wno-format-overflow"

    need build test
    build # which the examples load as they are
    build_module "$dir" gcc "$cflags" "-fsanitize=address,undefined"
    core_make OUT="$dir/unit" CC=gcc CFLAGS="$cflags" unit

    # nginx keeps what it allocates at start for good, so leaks at its end are
    # looked for by valgrind alone
    TEST_NGINX_LOAD_MODULES=$(realpath "$dir/$NAME.so") \
        TEST_NGINX_TIMEOUT=10 \
        GATEWAY_PRELOAD=$(gcc -print-file-name=libasan.so) \
        ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1 \
        UBSAN_OPTIONS=print_stacktrace=1 \
        run_tests "$dir/unit" "$@"
}

run_valgrind() {
    need build test valgrind
    build
    core_make OUT="$OBJS/unit" unit

    TEST_NGINX_LOAD_MODULES=$(realpath "$OBJS/$NAME.so") \
        TEST_NGINX_USE_VALGRIND=1 TEST_NGINX_TIMEOUT=30 \
        run_tests "$OBJS/unit" "$@"
}

fuzz() {
    local target=${1-} seconds=${2-10} dir=$OBJS/fuzz file name
    local cflags="-O1 -g -fsanitize=fuzzer-no-link,address,undefined"

    need build fuzz
    core_make OUT="$dir" CC=clang \
        CFLAGS="$cflags -fno-sanitize-recover=undefined" fuzz

    for file in t/fuzz/*.c; do
        name=$(basename "$file" .c)
        [ -z "$target" ] || [ "$target" = "$name" ] || continue

        say "fuzz $name, $seconds s"
        mkdir -p "$dir/found/$name" "t/fuzz/corpus/$name"
        "$dir/fuzz/$name" -max_total_time="$seconds" -print_final_stats=1 \
            -artifact_prefix="$dir/found/$name-" \
            "$dir/found/$name" "t/fuzz/corpus/$name" 2> "$dir/$name.log" || {
            tail -n 40 "$dir/$name.log" >&2
            die "fuzz $name: see $dir/$name.log"
        }
        grep -E 'DONE|stat::number_of_executed_units' "$dir/$name.log" || true
        done=yes
    done

    [ -n "${done-}" ] || die "no fuzz target \"$target\" in t/fuzz"
}

bench() {
    local name=${1-}

    if [ -z "$name" ]; then
        echo "benchmarks: "
        for name in bench/*.sh; do
            echo "    ./build.sh bench $(basename "$name" .sh)"
        done
        return
    fi

    [ -e "bench/$name.sh" ] || die "no benchmark \"$name\" in bench/"
    need build bench
    build
    shift
    exec "bench/$name.sh" "$@"
}


# --- check ------------------------------------------------------------------

# The lists of files in `config`, written from what the folders hold.
list_sources() {
    # shellcheck disable=SC2016
    {
        list_of GATEWAY_CORE_DEPS "$(printf '$ngx_addon_dir/%s\n' src/*.h)"
        list_of GATEWAY_CORE_SRCS "$(printf '$ngx_addon_dir/%s\n' src/*.c)"
        list_of GATEWAY_MODULE_DEPS \
            "$(printf '$ngx_addon_dir/%s\n' ngx_module/*.h)"
        list_of GATEWAY_MODULE_SRCS \
            "$(printf '$ngx_addon_dir/%s\n' ngx_module/*.c)"
    }
}

list_of() {
    printf '%s=" \\\n' "$1"
    awk 'NF { print "    " $1 " \\" }' <<< "$2"
    printf '"\n'
}

# `config` as it should be.
config_with_sources() {
    awk '
        FNR == NR {
            if (match($0, /^[A-Z_]+=/)) {
                name = substr($0, 1, RLENGTH)
            }
            lists[name] = lists[name] $0 "\n"
            next
        }
        match($0, /^GATEWAY_(CORE|MODULE)_(DEPS|SRCS)=/) {
            printf "%s", lists[substr($0, 1, RLENGTH)]
            inside = 1
        }
        !inside { print }
        /^"$/ { inside = 0 }
    ' <(list_sources) config
}

sources() {
    config_with_sources > config.new
    if cmp -s config config.new; then
        rm config.new
    else
        mv config.new config
    fi
}

# step NAME COMMAND...: one part of the check; all parts are run, so that one
# run shows everything that is wrong.
step() {
    local name=$1
    shift
    say "check: $name"
    if ! "$@"; then
        echo "check: $name FAILED" >&2
        failed_steps+=("$name")
    fi
}

check_sources() {
    config_with_sources | diff -u --label config --label folders config - \
        || { echo "./build.sh sources writes the lists anew" >&2; return 1; }
    # the modules are in an order of their own
    diff -u --label folder --label config \
        <(grep -hoE '^ngx_module_t +ngx_http_gateway_\w+_module' \
            ngx_module/*.c | awk '{ print $2 }' | sort) \
        <(sed -n '/^GATEWAY_MODULES=/,/^"/p' config \
            | grep -oE 'ngx_http_gateway_\w+_module' | sort)
}

# The files of the project that are text and written by hand.
files() {
    if git rev-parse --git-dir > /dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard
    else
        find . -path ./objs -prune -o -path '*/node_modules' -prune -o \
            -type f -print | sed 's,^\./,,'
    fi | while read -r file; do
        case $file in
            *.png | *.ico | *.svg | *package-lock.json | t/fuzz/corpus/*) ;;
            *) [ ! -f "$file" ] || echo "$file" ;;
        esac
    done
}

check_style() {
    local list
    mapfile -t list < <(files)
    .ci/style "${list[@]}"
}

check_core() {
    core_make OUT="$OBJS/check-$1/core" CC="$1" core
}

check_module() {
    build_module "$OBJS/check-$1" "$1" "-O2 -Wall -Wextra -Werror $2" ""
}

# Modules share one name space with nginx and all others that it has loaded.
check_names() {
    local names
    names=$(nm -D --defined-only "$OBJS/check-gcc/$NAME.so" \
        | awk '{ print $3 }' \
        | grep -vE '^(gw_|ngx_http_gateway_|ngx_module|_init$|_fini$)' || true)
    [ -z "$names" ] || { echo "names without a prefix: $names" >&2; return 1; }
}

# A symbol that nobody defines shows only when nginx loads the module.
check_load() {
    local dir
    dir=$(realpath "$OBJS/check-gcc")
    cat > "$dir/nginx.conf" << END
load_module $dir/$NAME.so;
pid $dir/nginx.pid;
error_log $dir/error.log;
events {}
END
    nginx -t -q -p "$dir/" -e "$dir/error.log" -c "$dir/nginx.conf"
}

# tidy FILES -- FLAGS
tidy() {
    local list=()

    while [ "$1" != -- ]; do
        list+=("$1")
        shift
    done

    # shellcheck disable=SC2016
    printf '%s\n' "${list[@]}" | xargs -P "$JOBS" -I FILE \
        bash -c 'clang-tidy --quiet "$0" "$@" 2> >(
            grep -vE "^[0-9]+ warnings? |^Suppressed|^Use -header" >&2
        )' FILE "$@"
}

check_tidy() {
    local tree=$OBJS/check-clang/nginx flags=() dir

    for dir in core event event/modules os/unix http http/modules http/v2; do
        flags+=("-I$tree/src/$dir")
    done

    local status=0
    tidy src/*.c -- -std=c11 || status=1
    tidy ngx_module/*.c -- "${flags[@]}" -I"$tree/objs" || status=1
    return "$status"
}

# incorrectLogicOperator takes hexadecimal floats for something else.
check_cppcheck() {
    cppcheck --quiet --error-exitcode=1 --inline-suppr -j "$JOBS" \
        --std=c11 --enable=warning,portability,performance \
        --suppress=missingInclude --suppress=unknownMacro \
        --suppress=incorrectLogicOperator \
        --template='{file}:{line}: {severity}: {message} [{id}]' \
        src ngx_module
}

check_shell() {
    local list
    mapfile -t list < <(files | while read -r file; do
        head -n 1 "$file" | grep -qE '^#!.*\b(ba)?sh$' && echo "$file"
    done || true)
    shellcheck -x --source-path=SCRIPTDIR "${list[@]}"
}

check_perl() {
    local file status=0
    for file in .ci/style t/run t/lib/*.pm t/fallback/Test/Nginx/*.pm; do
        perl -It/lib -It/fallback -c "$file" 2>&1 | grep -v 'syntax OK$' \
            && status=1
    done
    return "$status"
}

check() {
    need build check
    failed_steps=()

    step "config lists every file" check_sources
    step "style" check_style
    step "shell" check_shell
    step "perl" check_perl
    step "src/ alone, gcc" check_core gcc
    step "src/ alone, clang" check_core clang
    step "module, gcc" check_module gcc "-Wno-unused-parameter"
    step "module, clang" check_module clang "-Wno-unused-parameter"
    step "names" check_names
    step "nginx loads it" check_load
    step "clang-tidy" check_tidy
    step "cppcheck" check_cppcheck

    if [ ${#failed_steps[@]} -ne 0 ]; then
        die "check failed: $(printf '%s; ' "${failed_steps[@]}")"
    fi
    say "check: all well"
}


# --- verbs ------------------------------------------------------------------

verb=${1-build}
[ $# -eq 0 ] || shift

case $verb in
    build | deps | demo | check | asan | fuzz | bench | sources) "$verb" "$@" ;;
    test) run_suite "$@" ;;
    valgrind) run_valgrind "$@" ;;
    clean) rm -rf "$OBJS" t/servroot* ;;
    help | -h | --help) help ;;
    *)
        help >&2
        exit 2
        ;;
esac
