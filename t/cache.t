# gateway_cache: what is refused in a configuration, and what each directive
# does. What takes time is in t/cache_time.t, several workers in
# t/cache_workers.t, the rules of HTTP in t/cache_conformance.

use Test::Nginx::Socket 'no_plan';

our $Zone = 'gateway_cache_zone z:1m max_object=10k;';

# what is cached comes from the second server
our $HttpConfig = <<'END';
    gateway_cache_zone z:1m max_object=10k;
    gateway_channel_zone c:1m;
    server {
        listen unix:$TEST_NGINX_SERVER_ROOT/html/origin.sock;
        location / {
            add_header Cache-Control max-age=60;
            add_header Cache-Tag "all $arg_tag";
            return 200 "$request_uri $request_id";
        }
        location /c/none { return 200 "$request_id"; }
        location /c/set {
            add_header Cache-Control max-age=60;
            add_header Set-Cookie a=b;
            return 200 "$request_id";
        }
        location /c/missing { return 404 "$request_id"; }
        location /c/cc { add_header Cache-Control $arg_cc; return 200 "$request_id"; }
        location /c/moved {
            add_header Cache-Control max-age=60;
            return 302 http://internal/there;
        }
    }
END

our $Config = <<'END';
    location /c/ {
        gateway_cache z;
        add_header X-Cache $gateway_cache_status always;
        proxy_pass http://unix:$TEST_NGINX_SERVER_ROOT/html/origin.sock:;
        proxy_redirect http://internal/ /;
        gateway_cache_bypass $arg_bypass;
        location /c/set/stored { gateway_cache_store 1; SAME }
        location /c/set/not { gateway_cache_store 1 $arg_store; SAME }
        location /c/none/valid { gateway_cache_valid 1m; SAME }
        location /c/missing/valid { gateway_cache_valid 404 1m; SAME }
        location /c/missing/any { gateway_cache_valid any 1m; SAME }
        location /c/key { gateway_cache_key $arg_key; SAME }
        location /c/off { gateway_cache off; SAME }
        location /c/gzip { gzip on; gzip_types *; gzip_min_length 1; SAME }
        location /c/sub {
            sub_filter_types *;
            sub_filter sub SUB;
            sub_filter_once on;
            SAME
        }
    }
    location ~ ^/purge(/.*) {
        gateway_cache_purge z;
        gateway_cache_key $scheme$host$1$is_args$args;
    }
END

our $same = 'proxy_pass http://unix:$TEST_NGINX_SERVER_ROOT/html/origin.sock:;';
$Config =~ s/SAME/$same/g;

add_block_preprocessor(sub {
    my $block = shift;

    if (defined $block->must_die) {
        $block->set_value(http_config => $Zone)
            if !defined $block->http_config;
        $block->set_value(config => 'location / { ' .
            ($block->location // '') . ' }') if !defined $block->config;
        return;
    }

    $block->set_value(http_config => $HttpConfig);
    $block->set_value(config => $Config);
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: no size
--- http_config
    gateway_cache_zone z;
--- must_die
--- error_log
invalid zone "z" in "gateway_cache_zone": "name:size" such as "pages:100m" is accepted



=== TEST 2: too small
--- http_config
    gateway_cache_zone z:64k;
--- must_die
--- error_log
invalid size "64k" of zone "z", 128k or more is accepted, such as 10m



=== TEST 3: twice
--- http_config
    gateway_cache_zone z:1m; gateway_cache_zone z:1m;
--- must_die
--- error_log
gateway_cache_zone "z" is duplicate, define it once



=== TEST 4: a Redis without a name
--- http_config
    gateway_cache_zone z:1m redis=;
--- must_die
--- error_log
invalid parameter "redis=" in "gateway_cache_zone": "max_object=size" such as "max_object=1m", and "redis=name" of a "gateway_redis", are accepted



=== TEST 5: a size of objects that is none
--- http_config
    gateway_cache_zone z:1m max_object=big;
--- must_die
--- error_log
invalid parameter "max_object=big" in "gateway_cache_zone": "max_object=size" such as "max_object=1m", and "redis=name" of a "gateway_redis", are accepted



=== TEST 6: another parameter
--- http_config
    gateway_cache_zone z:1m levels=1;
--- must_die
--- error_log
invalid parameter "levels=1" in "gateway_cache_zone": "max_object=size" such as "max_object=1m", and "redis=name" of a "gateway_redis", are accepted



=== TEST 7: an unknown zone
--- http_config
    # none
--- config
    location /c/ { gateway_cache other; }
--- must_die
--- error_log
cache zone "other" is not defined, write "gateway_cache_zone other:100m;" in the http block



=== TEST 8: a size where a name is wanted
--- config
    location /c/ { gateway_cache z:1m; }
--- must_die
--- error_log
invalid value "z:1m" in "gateway_cache": the name of a "gateway_cache_zone" or "off" is accepted



=== TEST 9: gateway_cache twice
--- config
    location /c/ { gateway_cache z; gateway_cache z; }
--- must_die
--- error_log
"gateway_cache" directive is duplicate



=== TEST 10: an empty key
--- config
    location /c/ { gateway_cache_key ""; }
--- must_die
--- error_log
invalid value "" in "gateway_cache_key": a text with variables is accepted, such as "$scheme$host$request_uri"



=== TEST 11: a lifetime that is none
--- config
    location /c/ { gateway_cache_valid 200 soon; }
--- must_die
--- error_log
invalid time "soon" in "gateway_cache_valid": seconds or a time such as "10m" are accepted



=== TEST 12: a code that is never stored
--- config
    location /c/ { gateway_cache_valid 206 1m; }
--- must_die
--- error_log
invalid code "206" in "gateway_cache_valid": codes from 200 to 599 but 206 and 304, and "any" are accepted



=== TEST 13: gateway_cache_lock with a word
--- config
    location /c/ { gateway_cache_lock maybe; }
--- must_die
--- error_log
invalid parameter "maybe" in "gateway_cache_lock": "on", with "timeout=time" such as "timeout=5s" where needed, or "off" is accepted



=== TEST 14: gateway_cache_lock off with a time
--- config
    location /c/ { gateway_cache_lock off timeout=1s; }
--- must_die
--- error_log
invalid parameter "timeout=1s" in "gateway_cache_lock"



=== TEST 15: gateway_cache_lock without patience
--- config
    location /c/ { gateway_cache_lock on timeout=0; }
--- must_die
--- error_log
invalid parameter "timeout=0" in "gateway_cache_lock"



=== TEST 16: gateway_cache_stale with a word
--- config
    location /c/ { gateway_cache_stale error http_404; }
--- must_die
--- error_log
invalid parameter "http_404" in "gateway_cache_stale": "error", "timeout", "http_5xx", "http_500" to "http_504", "updating" and "breaker", or "off" alone, are accepted



=== TEST 17: gateway_cache_stale off and something
--- config
    location /c/ { gateway_cache_stale error off; }
--- must_die
--- error_log
invalid parameter "off" in "gateway_cache_stale"



=== TEST 18: a header's name that is none
--- config
    location /c/ { gateway_cache_tags "a b"; }
--- must_die
--- error_log
invalid value "a b" in "gateway_cache_tags": the name of a header is accepted, such as "Cache-Tag"



=== TEST 19: with grpc_pass
--- config
    location /c/ { gateway_cache z; grpc_pass grpc://127.0.0.1:1; }
--- must_die
--- error_log
"gateway_cache z" does not work with "grpc_pass": write "gateway_cache off" in this location



=== TEST 20: with gateway_publisher
--- http_config
    gateway_cache_zone z:1m; gateway_channel_zone c:1m;
--- config
    location /c/ { gateway_publisher c; gateway_cache z; }
--- must_die
--- error_log
"gateway_cache" stands in a location whose responses come from the gateway itself



=== TEST 21: gateway_cache_purge with a size
--- config
    location /c/ { gateway_cache_purge z:1m; }
--- must_die
--- error_log
invalid value "z:1m" in "gateway_cache_purge": the name of a "gateway_cache_zone" is accepted



=== TEST 22: a miss, then hits
--- pipelined_requests eval
['GET /c/a', 'GET /c/a', 'HEAD /c/a', 'GET /c/a?x']
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT", "X-Cache: HIT", "X-Cache: MISS"]



=== TEST 23: no lifetime, no object
--- pipelined_requests eval
['GET /c/none', 'GET /c/none']
--- response_headers eval
["X-Cache: MISS", "X-Cache: MISS"]



=== TEST 24: gateway_cache_valid
--- pipelined_requests eval
['GET /c/none/valid', 'GET /c/none/valid']
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT"]



=== TEST 25: gateway_cache_valid with a code
--- pipelined_requests eval
['GET /c/missing/valid', 'GET /c/missing/valid']
--- error_code eval
[404, 404]
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT"]



=== TEST 26: gateway_cache_valid any
--- pipelined_requests eval
['GET /c/missing/any', 'GET /c/missing/any']
--- error_code eval
[404, 404]
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT"]



=== TEST 27: a status without a lifetime
--- pipelined_requests eval
['GET /c/missing', 'GET /c/missing']
--- error_code eval
[404, 404]
--- response_headers eval
["X-Cache: MISS", "X-Cache: MISS"]



=== TEST 28: Set-Cookie is not stored
--- pipelined_requests eval
['GET /c/set', 'GET /c/set']
--- response_headers eval
["X-Cache: MISS", "X-Cache: MISS"]



=== TEST 29: unless gateway_cache_store says so
--- pipelined_requests eval
['GET /c/set/stored', 'GET /c/set/stored']
--- response_headers eval
["X-Cache: MISS\nSet-Cookie: a=b", "X-Cache: HIT\nSet-Cookie: a=b"]



=== TEST 30: gateway_cache_store wants all values
--- pipelined_requests eval
['GET /c/set/not', 'GET /c/set/not', 'GET /c/set/not?store=0', 'GET /c/set/not?store=0', 'GET /c/set/not?store=1', 'GET /c/set/not?store=1']
--- response_headers eval
["X-Cache: MISS", "X-Cache: MISS", "X-Cache: MISS", "X-Cache: MISS", "X-Cache: MISS", "X-Cache: HIT"]



=== TEST 31: gateway_cache_bypass skips the look-up, the answer is stored
--- pipelined_requests eval
['GET /c/b', 'GET /c/b?bypass=1', 'GET /c/b?bypass=0', 'GET /c/b?bypass=0']
--- response_headers eval
["X-Cache: MISS", "X-Cache: BYPASS", "X-Cache: MISS", "X-Cache: HIT"]



=== TEST 32: gateway_cache_key
--- pipelined_requests eval
['GET /c/key/1?key=a', 'GET /c/key/2?key=a', 'GET /c/key/2?key=b']
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT", "X-Cache: MISS"]



=== TEST 33: gateway_cache off
--- pipelined_requests eval
['GET /c/off', 'GET /c/off']
--- response_headers eval
["X-Cache: \nCache-Status:", "X-Cache: \nCache-Status:"]



=== TEST 34: an unsafe method invalidates
--- pipelined_requests eval
['GET /c/u', 'GET /c/u', 'POST /c/u', 'GET /c/u']
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT", "Cache-Status: z; fwd=method; fwd-status=200", "X-Cache: MISS"]



=== TEST 35: what nginx rewrites is stored rewritten
--- pipelined_requests eval
['GET /c/moved', 'GET /c/moved']
--- error_code eval
[302, 302]
--- response_headers_like eval
["X-Cache: MISS\nLocation: http://localhost:\\d+/there", "X-Cache: HIT\nLocation: http://localhost:\\d+/there"]



=== TEST 36: purge of one key
--- pipelined_requests eval
['GET /c/p', 'DELETE /purge/c/p', 'GET /c/p', 'GET /c/p', 'PURGE /purge/c/p', 'GET /c/p']
--- response_headers eval
["X-Cache: MISS", "Content-Type: application/json", "X-Cache: MISS", "X-Cache: HIT", "Content-Type: application/json", "X-Cache: MISS"]



=== TEST 37: purge of a key that is not there
--- pipelined_requests eval
['GET /purge/c/p', 'GET /c/a']
--- error_code eval
[405, 200]
--- response_headers eval
["Allow: DELETE, PURGE, POST", "X-Cache: MISS"]



=== TEST 38: purge by POST: keys
--- request
POST /purge/
{"keys":["httplocalhost/nothing"]}
--- error_code: 200
--- response_body chomp
{"purged":0}



=== TEST 39: purge by POST: a pattern
--- request
POST /purge/
{"pattern":"*"}
--- error_code: 200
--- response_body chomp
{"purged":0}



=== TEST 40: purge by POST: tags and cascade
--- request
POST /purge/
{"tags":["a"],"cascade":true}
--- error_code: 200
--- response_body chomp
{"purged":0}



=== TEST 41: purge by POST: nothing
--- request
POST /purge/
{}
--- error_code: 400



=== TEST 42: purge by POST: empty lists
--- request
POST /purge/
{"keys":[],"tags":[]}
--- error_code: 400



=== TEST 43: purge by POST: an empty key
--- request
POST /purge/
{"keys":[""]}
--- error_code: 400



=== TEST 44: purge by POST: a number for a key
--- request
POST /purge/
{"keys":[1]}
--- error_code: 400



=== TEST 45: purge by POST: a text for keys
--- request
POST /purge/
{"keys":"a"}
--- error_code: 400



=== TEST 46: purge by POST: a word for cascade
--- request
POST /purge/
{"tags":["a"],"cascade":"yes"}
--- error_code: 400



=== TEST 47: purge by POST: something unknown
--- request
POST /purge/
{"tags":["a"],"tag":["b"]}
--- error_code: 400



=== TEST 48: purge by POST: an array
--- request
POST /purge/
["a"]
--- error_code: 400



=== TEST 49: purge by POST: no JSON
--- request
POST /purge/
tags
--- error_code: 400
