#!/usr/bin/env bash
#
# Prints an HS256 JSON Web Token (RFC 7519) for the examples and tests.
#
#   mint-token.sh SECRET_FILE SUB TTL_SECONDS [CHANNELS_JSON]
#
# SECRET_FILE    the key: raw bytes, less one newline at the end, as
#                gateway_jwt_keys secret_file= reads it
# SUB            the claim "sub": the user's id
# TTL_SECONDS    the claim "exp" is that far ahead; negative: expired already
# CHANNELS_JSON  the claim "channels", for gateway_channel_claim: an array of
#                patterns, or {"subscribe":[...],"publish":[...]}
#
# The key is an argument of openssl for an instant, so other users of the
# machine could see it: issue real tokens with your own service's library.

set -euo pipefail

die() {
    printf 'mint-token.sh: %s\n' "$1" >&2
    exit 1
}

b64url() {
    openssl base64 -A | tr '+/' '-_' | tr -d '='
}

if [ $# -lt 3 ] || [ $# -gt 4 ]; then
    die "usage: mint-token.sh SECRET_FILE SUB TTL_SECONDS [CHANNELS_JSON]"
fi

secret_file=$1 sub=$2 ttl=$3 channels=${4-}

[ -r "$secret_file" ] || die "cannot read \"$secret_file\""
[[ $sub =~ ^[^[:cntrl:]\"\\]+$ ]] \
    || die "SUB is empty or holds a quote, a backslash or a control character"
[[ $ttl =~ ^-?[0-9]+$ ]] || die "TTL_SECONDS is not a whole number: \"$ttl\""
case $channels in
    '' | \[*\] | \{*\}) ;;
    *) die "CHANNELS_JSON is neither an array nor an object" ;;
esac

# Hexadecimal keeps every byte, also zeros and what a shell would change.
key=$(od -An -v -tx1 "$secret_file" | tr -d ' \n')
key=${key%0a}
[ -n "$key" ] || die "\"$secret_file\" is empty"

now=$(date +%s)
claims="{\"sub\":\"$sub\",\"iat\":$now,\"exp\":$((now + ttl))"
[ -z "$channels" ] || claims+=",\"channels\":$channels"
claims+="}"

input=$(printf '{"alg":"HS256","typ":"JWT"}' | b64url).$(printf '%s' "$claims" \
    | b64url)
signature=$(printf '%s' "$input" \
    | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | b64url)

printf '%s.%s\n' "$input" "$signature"
