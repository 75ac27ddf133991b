# gateway_jwt: where tokens are looked for, what is demanded of them, what is
# answered and logged, and the variables.

use Test::Nginx::Socket 'no_plan';
use GatewayJWT;

our $secret = 'a secret of at least thirty-two bytes';
our $other  = 'other secret of at least thirty bytes';

our $claims = {
    sub => 'alice', Role => 'admin', role => 'user', n => 42, f => \0,
    aud => ['web', 'app'], nested => { a => [1, 2], b => undef }, empty => '',
    'with-dash' => 'x',
};
our $token   = hs256($secret, $claims, { kid => 'k1' });
our $foreign = hs256($other, $claims);
our $expired = hs256($secret, { exp => time - 20 });
our $early   = hs256($secret, { nbf => time + 40 });
our $sig     = (split /\./, $token)[2];

# What is common to the tests: a key set, and an upstream that shows what it
# was sent.

our $HttpConfig = <<'END';
    gateway_jwt_keys main secret_file=../html/secret;
    log_format seen '$request|$args|$request_uri|$gateway_jwt_status';
    server {
        listen unix:$TEST_NGINX_HTML_DIR/up.sock;
        access_log off;
        location / {
            return 200 "$request_uri|$http_x_sub|$http_authorization";
        }
    }
END

$ENV{TEST_NGINX_HTML_DIR} ||= html_dir();

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(http_config =>
        $HttpConfig . ($block->http_config // ''));
    $block->set_value(user_files => ">>> secret\n$secret\n>>> x\nhello\n");
    $block->set_value(log_level => 'info');
    $block->set_value(request => 'GET /x')
        if !defined $block->request && !defined $block->must_die;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: no token
--- config
    location /x { gateway_jwt main; }
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- error_log
gateway_jwt "main" refused a request: missing (no token)



=== TEST 2: a header with Bearer
--- config
    location /x { gateway_jwt main; }
--- more_headers eval: "Authorization: Bearer $::token"
--- response_body
hello



=== TEST 3: a header without Bearer
--- config
    location /x { gateway_jwt main; }
--- more_headers eval: "Authorization: $::token"
--- response_body
hello



=== TEST 4: bearer in small letters and more space
--- config
    location /x { gateway_jwt main; }
--- more_headers eval: "Authorization: bearer   $::token"
--- response_body
hello



=== TEST 5: another scheme is no token
--- config
    location /x { gateway_jwt main; }
--- more_headers
Authorization: Basic dXNlcjpwYXNz
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer



=== TEST 6: a bad token is described
--- config
    location /x { gateway_jwt main; }
--- more_headers eval: "Authorization: Bearer $::foreign"
--- error_code: 401
--- response_headers_like
WWW-Authenticate: Bearer error="invalid_token", error_description="[a-z ]+"
--- error_log
refused a request: signature
--- no_error_log eval
(split /\./, $::foreign)[2]



=== TEST 7: expired
--- config
    location /x { gateway_jwt main; }
--- more_headers eval: "Authorization: Bearer $::expired"
--- error_code: 401
--- error_log
refused a request: expired



=== TEST 8: leeway
--- config
    location /x { gateway_jwt main; gateway_jwt_leeway 60s; }
--- pipelined_requests eval
["GET /x", "GET /x"]
--- more_headers eval
["Authorization: Bearer $::expired", "Authorization: Bearer $::early"]
--- response_body eval
["hello\n", "hello\n"]



=== TEST 9: not yet valid
--- config
    location /x { gateway_jwt main; gateway_jwt_leeway 10ms; }
--- more_headers eval: "Authorization: Bearer $::early"
--- error_code: 401
--- error_log
refused a request: early



=== TEST 10: a named header, not the usual one
--- config
    location /x { gateway_jwt main; gateway_jwt_token header=X-Token; }
--- pipelined_requests eval
["GET /x", "GET /x", "GET /x"]
--- more_headers eval
["X-Token: $::token", "x-token: Bearer $::token",
 "Authorization: Bearer $::token"]
--- error_code eval
[200, 200, 401]



=== TEST 11: a cookie
--- config
    location /x { gateway_jwt main; gateway_jwt_token cookie=session; }
--- pipelined_requests eval
["GET /x", "GET /x"]
--- more_headers eval
["Cookie: a=b; session=$::token; c=d", "Cookie: session="]
--- error_code eval
[200, 401]



=== TEST 12: a query is masked in the request, its arguments and upstream
--- config
    location /x {
        gateway_jwt main;
        gateway_jwt_token query=token;
        proxy_set_header X-Sub "$gateway_jwt_claim_sub $arg_token";
        proxy_pass http://unix:$TEST_NGINX_HTML_DIR/up.sock;
        access_log logs/access.log seen;
    }
--- request eval: "GET /x?a=1&token=$::token&b=2"
--- response_body: /x?a=1&token=***&b=2|alice ***|
--- access_log
GET /x?a=1&token=***&b=2 HTTP/1.1|a=1&token=***&b=2|/x?a=1&token=***&b=2|ok
--- no_access_log eval: $::sig
--- no_error_log eval: $::sig



=== TEST 13: each token of a query is masked, also before a refusal
--- config
    gateway_jwt_token query=token query=t;
    location /x {
        gateway_jwt main;
        deny all;
        satisfy all;
        access_log logs/access.log seen;
    }
--- request eval: "GET /x?token=$::token&T=$::token&token=&t"
--- error_code: 403
--- access_log
GET /x?token=***&T=***&token=&t HTTP/1.1|
--- no_access_log eval: $::sig
--- no_error_log eval: $::sig



=== TEST 14: a query is masked where its variables were read before
--- config
    gateway_jwt_token query=token;
    gateway_jwt main;
    if ($request_uri = nothing) { return 444; }
    if ($request = nothing) { return 444; }
    location /x {
        set $seen "$args $request_uri";
        proxy_set_header X-Sub $seen;
        proxy_pass http://unix:$TEST_NGINX_HTML_DIR/up.sock;
    }
--- request eval: "GET /x?token=$::token"
--- response_body: /x?token=***|token=*** /x?token=***|
--- no_access_log eval: $::sig



=== TEST 15: where gateway_jwt is off a query is left alone
--- config
    gateway_jwt_token query=token;
    location /x {
        proxy_pass http://unix:$TEST_NGINX_HTML_DIR/up.sock;
    }
--- request
GET /x?token=abc
--- response_body: /x?token=abc||



=== TEST 16: a masked token survives an internal redirect
--- config
    gateway_jwt main;
    gateway_jwt_token query=token;
    location /x { try_files /none /y; }
    location /y {
        proxy_set_header X-Sub $gateway_jwt_claim_sub;
        proxy_pass http://unix:$TEST_NGINX_HTML_DIR/up.sock;
    }
    location /z { error_page 404 = /y; }
--- pipelined_requests eval
["GET /x?token=$::token", "GET /z?token=$::token", "GET /z?token=$::foreign"]
--- response_body_like eval
['\|alice\|', '\|alice\|', '401']
--- error_code eval
[200, 200, 401]



=== TEST 17: an internal redirect into another set is decided anew
--- http_config
    gateway_jwt_keys second secret_file=../html/x;
--- config
    location /none { gateway_jwt main; error_page 404 = /x; }
    location /x { gateway_jwt second; }
--- request
GET /none
--- more_headers eval: "Authorization: Bearer $::token"
--- error_code: 401



=== TEST 18: subprotocols
--- config
    location /x { gateway_jwt main; }
--- pipelined_requests eval
[("GET /x") x 9]
--- more_headers eval
my $t = $::token;
["Sec-WebSocket-Protocol: jwt, $t",
 "Sec-WebSocket-Protocol: v1, bearer, raw,$t",
 "Sec-WebSocket-Protocol: bearer, wamp.2.json, $t, v1",
 "Sec-WebSocket-Protocol: jwt\nSec-WebSocket-Protocol: v1\nSec-WebSocket-Protocol: $t",
 "Sec-WebSocket-Protocol: jwt.$t",
 "Sec-WebSocket-Protocol: v1, base64url.bearer.authorization.k8s.io."
     . GatewayJWT::base64url($t),
 "Sec-WebSocket-Protocol: $t",
 "Sec-WebSocket-Protocol: jwt, v1, raw",
 "Sec-WebSocket-Protocol: jwt, nonsense"]
--- error_code eval
[200, 200, 200, 200, 200, 200, 401, 401, 401]
--- raw_response_headers_like eval
["", "", "", "", "", "", "WWW-Authenticate: Bearer\\r?\\n",
 "WWW-Authenticate: Bearer\\r?\\n", "WWW-Authenticate: Bearer error"]



=== TEST 19: of several sources the first that carries a token decides
--- config
    location /x {
        gateway_jwt main;
        gateway_jwt_token cookie=c header;
    }
--- pipelined_requests eval
["GET /x", "GET /x", "GET /x"]
--- more_headers eval
["Authorization: Bearer $::token",
 "Cookie: c=$::foreign\nAuthorization: Bearer $::token",
 "Cookie: c=$::token\nAuthorization: Bearer $::foreign"]
--- error_code eval
[200, 401, 200]



=== TEST 20: message lets nobody in where no message is asked for
--- config
    location /x {
        gateway_jwt main;
        gateway_jwt_token header message;
        proxy_pass http://unix:$TEST_NGINX_HTML_DIR/up.sock;
    }
--- more_headers
Upgrade: websocket
Connection: upgrade, close
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
--- error_code: 401



=== TEST 21: variables
--- config
    location /x {
        gateway_jwt main;
        add_header A "$gateway_jwt_claim_sub/$gateway_jwt_claim_n/$gateway_jwt_claim_f";
        add_header B "$gateway_jwt_claim_aud/$gateway_jwt_claim_nested";
        add_header C "$gateway_jwt_header_alg $gateway_jwt_header_kid";
        add_header D "-$gateway_jwt_claim_none-$gateway_jwt_claim_empty-";
        add_header E $gateway_jwt_status;
        add_header F $gateway_jwt_claim_role;
        add_header G $gateway_jwt_claim_ROLE;
        add_header H $gateway_jwt_payload;
    }
--- more_headers eval: "Authorization: Bearer $::token"
--- response_headers
A: alice/42/false
B: web,app/{"a":[1,2],"b":null}
C: HS256 k1
D: ---
E: ok
F: user
H: {"Role":"admin","aud":["web","app"],"empty":"","f":false,"n":42,"nested":{"a":[1,2],"b":null},"role":"user","sub":"alice","with-dash":"x"}



=== TEST 22: nothing can be read of a token that does not verify
--- config
    location /x {
        gateway_jwt main;
        add_header A "-$gateway_jwt_claim_sub$gateway_jwt_payload$gateway_jwt_header_alg-" always;
        add_header B $gateway_jwt_status always;
    }
--- more_headers eval: "Authorization: Bearer $::foreign"
--- error_code: 401
--- response_headers
A: --
B: signature



=== TEST 23: claims are limit keys
--- http_config
    limit_req_zone $gateway_jwt_claim_sub zone=z:1m rate=1r/m;
--- config
    location /x { gateway_jwt main; limit_req zone=z; limit_req_status 429; }
--- pipelined_requests eval
[("GET /x") x 4]
--- more_headers eval
["Authorization: Bearer $::foreign", "Authorization: Bearer $::token",
 "Authorization: Bearer $::token", "Authorization: Bearer $::foreign"]
--- error_code eval
[401, 200, 429, 401]
--- error_log
limiting requests



=== TEST 24: claims that are demanded
--- config
    gateway_jwt main;
    location /x  { gateway_jwt_claim sub bob alice; gateway_jwt_claim n 42; }
    location /x1 { gateway_jwt_claim sub bob; alias $TEST_NGINX_HTML_DIR/x; }
    location /x2 { gateway_jwt_claim sub bob error=403; }
    location /x3 { gateway_jwt_claim aud app; alias $TEST_NGINX_HTML_DIR/x; }
    location /x4 { gateway_jwt_claim aud "web,app"; }
    location /x5 { gateway_jwt_claim none ""; }
    location /x6 { gateway_jwt_claim sub $arg_u; alias $TEST_NGINX_HTML_DIR/x; }
    location /x7 { gateway_jwt_claim f false; alias $TEST_NGINX_HTML_DIR/x; }
    location /x8 { gateway_jwt_claim nested "{}"; }
    location /x9 { gateway_jwt_claim SUB alice; }
--- pipelined_requests eval
["GET /x", "GET /x1", "GET /x2", "GET /x3", "GET /x4", "GET /x5",
 "GET /x6?u=alice", "GET /x6", "GET /x7", "GET /x8", "GET /x9",
 "GET /x5?u=alice"]
--- more_headers eval: [("Authorization: Bearer $::token") x 12]
--- error_code eval
[200, 401, 403, 200, 401, 401, 200, 401, 200, 401, 401, 401]
--- error_log
refused a request: claim



=== TEST 25: an empty variable equals no claim
--- config
    location /x { gateway_jwt main; gateway_jwt_claim empty $arg_u; }
--- more_headers eval: "Authorization: Bearer $::token"
--- error_code: 401



=== TEST 26: the status of a claim that is refused
--- config
    location /x {
        gateway_jwt main;
        gateway_jwt_claim sub bob error=403;
        add_header S "$gateway_jwt_status $gateway_jwt_claim_sub" always;
    }
--- more_headers eval: "Authorization: Bearer $::token"
--- error_code: 403
--- response_headers
S: claim alice
! WWW-Authenticate



=== TEST 27: conditions that are demanded
--- http_config
    map $gateway_jwt_claim_n $big { default 0; 42 1; }
    map $gateway_jwt_claim_role $admin { default ""; admin 1; }
--- config
    gateway_jwt main;
    location /x  { gateway_jwt_require $big; }
    location /x1 { gateway_jwt_require $big $admin; }
    location /x2 { gateway_jwt_require $big; gateway_jwt_require $admin error=403; }
    location /x3 { gateway_jwt_require $arg_n; alias $TEST_NGINX_HTML_DIR/x; }
--- pipelined_requests eval
["GET /x", "GET /x1", "GET /x2", "GET /x3?n=0", "GET /x3?n=00", "GET /x3"]
--- more_headers eval: [("Authorization: Bearer $::token") x 6]
--- error_code eval
[200, 401, 403, 401, 200, 401]



=== TEST 28: algorithms, and that a remembered token does not pass by them
--- config
    gateway_jwt main;
    location /x  { }
    location /x1 { gateway_jwt_algorithms HS512 RS256; }
    location /x2 { gateway_jwt_algorithms HS512 HS256; alias $TEST_NGINX_HTML_DIR/x; }
--- pipelined_requests eval
["GET /x", "GET /x1", "GET /x2", "GET /x1", "GET /x"]
--- more_headers eval: [("Authorization: Bearer $::token") x 5]
--- error_code eval
[200, 401, 200, 401, 200]
--- error_log
refused a request: algorithm



=== TEST 29: many tokens, few remembered, and none
--- http_config
    gateway_jwt_cache 3;
--- config
    location /x { gateway_jwt main; add_header S $gateway_jwt_claim_sub; }
--- pipelined_requests eval: [("GET /x") x 40]
--- more_headers eval
[map { "Authorization: Bearer "
    . GatewayJWT::hs256($::secret, {sub => "u" . $_ % 7}) } 1 .. 40]
--- response_headers eval
[map { "S: u" . $_ % 7 } 1 .. 40]



=== TEST 30: off, and inheritance
--- config
    gateway_jwt main;
    location /x { gateway_jwt off; add_header S "-$gateway_jwt_status-"; }
    location /y { }
--- pipelined_requests eval: ["GET /x", "GET /y"]
--- error_code eval: [200, 401]
--- response_headers eval: ["S: --", "WWW-Authenticate: Bearer"]



=== TEST 31: satisfy any
--- config
    satisfy any;
    gateway_jwt main;
    deny all;
    location /x { }
    location /x1 { allow all; alias $TEST_NGINX_HTML_DIR/x; }
--- pipelined_requests eval
["GET /x", "GET /x", "GET /x1"]
--- more_headers eval
["Authorization: Bearer $::token", "A: b", "A: b"]
--- error_code eval
[200, 401, 200]
--- raw_response_headers_unlike eval
["WWW-Auth", "nothing", "WWW-Auth"]



=== TEST 32: a percent-encoded token in the query
--- config
    location /x { gateway_jwt main; gateway_jwt_token query=token; }
--- request eval
my $t = $::token; $t =~ s/\./%2E/g; "GET /x?token=$t"
--- response_body
hello



=== TEST 33: an error page of its own keeps the challenge
--- config
    location /x { gateway_jwt main; error_page 401 /denied; }
    location /denied { internal; return 401 "log in"; }
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer
--- response_body: log in



=== TEST 34: a body is read to its end
--- config
    location /x {
        gateway_jwt main;
        proxy_pass http://unix:$TEST_NGINX_HTML_DIR/up.sock;
    }
--- pipelined_requests eval
["POST /x\n" . "a" x 5000, "POST /x\n" . "a" x 5000]
--- more_headers eval
["A: b", "Authorization: Bearer $::token"]
--- error_code eval
[401, 200]



=== TEST 35: claims in subrequests
--- config
    location /x {
        gateway_jwt main;
        auth_request /auth;
        auth_request_set $who $upstream_http_who;
        add_header Who $who;
    }
    location /auth {
        internal;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_set_header X-Sub $gateway_jwt_claim_sub;
        proxy_pass http://unix:$TEST_NGINX_HTML_DIR/up.sock;
    }
--- more_headers eval: "Authorization: Bearer $::token"
--- response_body
hello



=== TEST 36: decisions are counted
--- config
    location /x { gateway_jwt main; }
    location /status { gateway_status; }
--- pipelined_requests eval
[("GET /x") x 4, "GET /status?format=prometheus"]
--- more_headers eval
["Authorization: Bearer $::token", "Authorization: Bearer $::token",
 "Authorization: Bearer $::foreign", "A: b", "A: b"]
--- error_code eval
[200, 200, 401, 401, 200]
--- response_body_like eval
["hello", "hello", "401", "401",
 '(?s)status="ok"\} 2\n.*status="missing"\} 1\n.*status="signature"\} 1\n']



=== TEST 37: revocations are of a channel zone
--- config
    location /x { gateway_jwt_revoked nowhere; return 200; }
--- must_die
--- error_log
channel zone "nowhere" is not defined



=== TEST 38: of one
--- config
    location /x { gateway_jwt_revoked a b; return 200; }
--- must_die
--- error_log
accepted is the name of one "gateway_channel_zone"
