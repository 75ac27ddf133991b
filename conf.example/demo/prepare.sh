#!/usr/bin/env bash
#
# Makes a folder from which nginx serves the demo.
#
#   prepare.sh DIR [PORT]
#   nginx -p DIR -c nginx.conf -g 'daemon off;'
#
# DIR stands beside the module (objs/demo beside
# objs/ngx_http_gateway_module.so). In it are afterwards: nginx.conf (demo.conf
# with PORT, 8080 unless told), html/, secret (random, made once) and
# tokens.json (made anew each time: a day for each of three users).

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
users=(alice bob carol)

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: prepare.sh DIR [PORT]" >&2
    exit 1
fi

dir=$1 port=${2-8080}

umask 077
mkdir -p "$dir/html" "$dir/tmp"
cp "$here/index.html" "$here/style.css" "$here/demo.js" "$here/client.js" \
    "$dir/html/"

if [ ! -s "$dir/secret" ]; then
    openssl rand -hex 32 > "$dir/secret"
fi

# The page picks one of these for each tab.
{
    sep='{'
    for user in "${users[@]}"; do
        printf '%s\n  "%s": "%s"' "$sep" "$user" \
            "$("$here/mint-token.sh" "$dir/secret" "$user" 86400)"
        sep=','
    done
    printf '\n}\n'
} > "$dir/tokens.json"

# What was made here only its owner may read. So, where nginx is started by
# root, the workers run as the owner too.
{
    if [ "$(id -u)" -eq 0 ]; then
        printf 'user %s;\n\n' "$(stat -c '%U %G' "$dir")"
    fi
    sed "s/127\.0\.0\.1:8080/127.0.0.1:$port/" "$here/../demo.conf"
} > "$dir/nginx.conf"
