# gateway_breaker, gateway_breaker_on, gateway_breaker_fallback,
# $gateway_breaker_state, and refusals in gRPC's terms. What reaches the
# upstream and when is in t/breaker_upstream.t.

use Test::Nginx::Socket 'no_plan';

use GatewayJWT;

our $secret = 'a secret of at least thirty-two bytes';
our $token  = hs256($secret, { sub => 'alice', role => 'user' });

# An upstream that answers with the status that it is asked for; `gone` has
# nobody who listens. The first failure opens each of them.

our $HttpConfig = <<'END';
    gateway_jwt_keys main secret_file=../html/secret;
    gateway_channel_zone z:1m;
    server {
        listen unix:$TEST_NGINX_HTML_DIR/up.sock;
        access_log off;
        location / { return 200 "well\n"; }
        location /500 { return 500; }
        location /503 { return 503 "bad\n"; }
        location /429 { return 429; }
        location /404 { return 404; }
    }
    upstream up {
        server unix:$TEST_NGINX_HTML_DIR/up.sock;
        gateway_breaker zone=b:64k failures=1 open=30s;
    }
    upstream gone {
        server 127.0.0.1:1;
        gateway_breaker zone=b failures=1 open=30s;
    }
END

our $Config = <<'END';
    add_header X-State "[$gateway_breaker_state]" always;
    location /up/ { proxy_pass http://up/; }
    location /gone { proxy_pass http://gone; }
    location /named {
        gateway_breaker_fallback stale @named;
        proxy_pass http://up;
    }
    location @named { return 200 "instead: $gateway_breaker_state\n"; }
    location /code { gateway_breaker_fallback 599; proxy_pass http://up; }
    location /plain { return 200 plain; }
    location /jwt { gateway_jwt main; root html; }
    location /claim {
        gateway_jwt main;
        gateway_jwt_claim role admin error=403;
        root html;
    }
    location = /pub { gateway_publisher z; }
    location = /status { gateway_status; }
END

$ENV{TEST_NGINX_HTML_DIR} ||= html_dir();

add_block_preprocessor(sub {
    my $block = shift;

    if (defined $block->must_die) {
        $block->set_value(config => 'location /x { return 200; }')
            if !defined $block->config;
        return;
    }

    $block->set_value(http_config => $HttpConfig)
        if !defined $block->http_config;
    $block->set_value(config => $Config) if !defined $block->config;
    $block->set_value(user_files => ">>> secret\n$secret\n");
    $block->set_value(log_level => 'info');
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: closed, and open after a failure
--- request eval
["GET /up/", "GET /up/503", "GET /up/", "GET /up/"]
--- error_code eval
[200, 503, 503, 503]
--- response_headers eval
["X-State: [closed]", "X-State: [closed]", "X-State: [open]",
 "X-State: [open]"]
--- response_body_like eval
["^well", "^bad", "503 Service", "503 Service"]
--- error_log
gateway_breaker: upstream "up" is open for 30000 ms: 1 failures in a row, the last: http_503



=== TEST 2: Retry-After
--- request eval
["GET /up/500", "GET /up/"]
--- error_code eval
[500, 503]
--- response_headers_like eval
["", "Retry-After: (29|30)"]



=== TEST 3: what is no failure
--- request eval
["GET /up/404", "GET /up/429", "GET /up/"]
--- error_code eval
[404, 429, 200]



=== TEST 4: an upstream without a server that listens
--- request eval
["GET /gone", "GET /gone", "GET /up/"]
--- error_code eval
[502, 503, 200]
--- response_headers eval
["X-State: [closed]", "X-State: [open]", "X-State: [closed]"]
--- error_log
gateway_breaker: upstream "gone" is open for 30000 ms: 1 failures in a row, the last: error



=== TEST 5: a named location
--- request eval
["GET /up/503", "GET /named", "HEAD /named", "POST /named\nxyz"]
--- error_code eval
[503, 200, 200, 200]
--- response_body eval
["bad\n", "instead: open\n", "", "instead: open\n"]



=== TEST 6: a code
--- request eval
["GET /up/503", "GET /code"]
--- error_code eval
[503, 599]



=== TEST 7: no breaker has decided
--- request
GET /plain
--- response_headers
X-State: []



=== TEST 8: a message on system:circuit
--- request eval
["GET /up/503", "GET /pub?channel=system:circuit&since=0"]
--- error_code eval
[503, 200]
--- response_body_like eval
["", '"type":"circuit:state","payload":\{"upstream":"up","state":"open","retryAfter":30\}']



=== TEST 9: metrics
--- request eval
["GET /up/", "GET /up/503", "GET /up/", "GET /status?format=prometheus"]
--- error_code eval
[200, 503, 503, 200]
--- response_body_like eval
["", "", "",
'(?s)gateway_breaker_state\{upstream="up",state="closed"\} 0
gateway_breaker_state\{upstream="up",state="open"\} 1
gateway_breaker_state\{upstream="up",state="half-open"\} 0
.*gateway_breaker_transitions_total\{upstream="up",to="open"\} 1
.*gateway_upstream_seconds_count\{upstream="up"\} 2']



=== TEST 10: a gRPC call is refused by the breaker
--- request eval
["GET /up/503", "POST /up/\nx"]
--- more_headers eval
["", "Content-Type: application/grpc"]
--- error_code eval
[503, 200]
--- response_headers eval
["", "Content-Type: application/grpc
grpc-status: 14
grpc-message: the upstream's circuit is open"]



=== TEST 11: a gRPC call without a token
--- request
POST /jwt
x
--- more_headers
Content-Type: application/grpc+proto
--- response_headers
Content-Type: application/grpc
grpc-status: 16
--- response_body:



=== TEST 12: a gRPC call whose claims do not do
--- request
POST /claim
x
--- more_headers eval
"Content-Type: application/grpc\nAuthorization: Bearer $main::token"
--- response_headers
Content-Type: application/grpc
grpc-status: 7
--- response_body:



=== TEST 13: others get their status as ever
--- request eval
["GET /jwt", "GET /claim"]
--- more_headers eval
["Content-Type: application/grpc-web", "Authorization: Bearer $main::token"]
--- error_code eval
[401, 403]



=== TEST 14: where satisfy may let it in by other means, the status is as ever
--- config
    location /jwt { satisfy any; deny all; gateway_jwt main; }
--- request
POST /jwt
x
--- more_headers
Content-Type: application/grpc
--- error_code: 401



=== TEST 15: the body of a refused call is not the next request
--- raw_request eval
"POST /jwt HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\n"
. "Content-Length: 40\r\n\r\n"
. "GET /up/503 HTTP/1.1\r\nHost: a\r\nX: 0123\r\n\r\n "
. "GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
--- response_headers
grpc-status: 16
--- no_error_log
is open



=== TEST 16: without a zone
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker failures=3; }
--- must_die
--- error_log
"gateway_breaker" must have "zone=name:size", such as "zone=breakers:64k"



=== TEST 17: a zone that nobody gives a size
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b; }
--- must_die
--- error_log
zone "b" of gateway_breaker has no size, write "zone=b:64k"



=== TEST 18: a zone that is too small
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:4k; }
--- must_die
--- error_log
invalid parameter "zone=b:4k" of "gateway_breaker", a zone of 32k or more



=== TEST 19: two sizes
--- must_die
--- http_config
    upstream a { server 127.0.0.1:1; gateway_breaker zone=b:64k; }
    upstream b { server 127.0.0.1:1; gateway_breaker zone=b:128k; }
--- error_log
conflicts with already declared size



=== TEST 20: failures=0
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k failures=0; }
--- must_die
--- error_log
invalid parameter "failures=0" of "gateway_breaker", a number of failures from 1 to 1000000 is accepted



=== TEST 21: a ratio without its sign
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k ratio=50; }
--- must_die
--- error_log
invalid parameter "ratio=50" of "gateway_breaker", 1% to 100% such as ratio=50% is accepted



=== TEST 22: a ratio over 100 %
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k ratio=101%; }
--- must_die
--- error_log
1% to 100%



=== TEST 23: open_max under open
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k open=10s open_max=5s; }
--- must_die
--- error_log
"open_max" of "gateway_breaker" is 5000 ms, as much as "open", 10000 ms, or more is accepted



=== TEST 24: a time that is none
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k window=soon; }
--- must_die
--- error_log
invalid parameter "window=soon" of "gateway_breaker", a time from 100ms to 1d such as 10s is accepted



=== TEST 25: slow=0
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k slow=0; }
--- must_die
--- error_log
a time from 1ms such as 500ms or 2s is accepted



=== TEST 26: a scope that is none
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k scope=server; }
--- must_die
--- error_log
"scope=upstream" or "scope=peer" is accepted



=== TEST 27: max_ejected=0%
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k max_ejected=0%; }
--- must_die
--- error_log
1% to 100% such as max_ejected=50% is accepted



=== TEST 28: a parameter that is none
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k fails=3; }
--- must_die
--- error_log
invalid parameter "fails=3" of "gateway_breaker", "zone=", "failures="



=== TEST 29: twice
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k; gateway_breaker zone=b; }
--- must_die
--- error_log
"gateway_breaker" directive is duplicate



=== TEST 30: gateway_breaker_on alone
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker_on error; }
--- must_die
--- error_log
"gateway_breaker_on" without "gateway_breaker" in upstream "u"



=== TEST 31: gateway_breaker_on something else
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k; gateway_breaker_on http_200; }
--- must_die
--- error_log
invalid value "http_200" of "gateway_breaker_on", "error", "timeout" or "http_400" to "http_599" is accepted



=== TEST 32: gateway_breaker_on twice
--- http_config
    upstream u { server 127.0.0.1:1; gateway_breaker zone=b:64k; gateway_breaker_on error; gateway_breaker_on error; }
--- must_die
--- error_log
"gateway_breaker_on" directive is duplicate



=== TEST 33: a code that is none
--- config
    gateway_breaker_fallback 200;
--- must_die
--- error_log
invalid value "200" of "gateway_breaker_fallback", "stale", a named location such as "@fallback" or a code from 400 to 599 is accepted



=== TEST 34: a fallback that is never reached does no harm
--- config
    gateway_breaker_fallback 503 @a;

    location /t {
        return 204;
    }

    location @a {
        return 503;
    }
--- request
GET /t
--- error_code: 204



=== TEST 35: a zone that has no room for all
--- must_die
--- http_config eval
CORE::join '', map { "upstream u$_ { server 127.0.0.1:1; gateway_breaker zone=b"
    . ($_ ? '' : ':32k') . "; }\n" } 0 .. 60
--- error_log
zone "b" of gateway_breaker is too small: it has room for



=== TEST 36: a server alone is never left out
--- http_config
    upstream lone {
        server 127.0.0.1:1;
        gateway_breaker zone=b:64k failures=1 scope=peer;
    }
--- config
    location /up/ { proxy_pass http://lone; }
--- request eval
["GET /up/", "GET /up/"]
--- error_code eval
[502, 503]



=== TEST 37: a named location that is not there
--- config
    location /x { gateway_breaker_fallback stale @later; }
--- must_die
--- error_log
"gateway_breaker_fallback @later": there is no "location @later" in this server
