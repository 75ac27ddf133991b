# gateway_jwt_keys: sources of keys, and what nginx says of a configuration
# that is wrong.

use Test::Nginx::Socket 'no_plan';
use GatewayJWT;

$ENV{TEST_NGINX_HTML_DIR} ||= html_dir();

our $secret = 'a secret of at least thirty-two bytes';
our $short  = 'short';

our %file = (
    'secret'      => "$secret\n",
    'short'       => "short\n",
    'empty'       => "\n",
    'rsa.pem'     => public_pem('RS256'),
    'ec.pem'      => public_pem('ES256'),
    'ed.crt'      => certificate_pem('EdDSA'),
    'private.pem' => do { local (@ARGV, $/) = key_file('RS256'); <> },
    'jwks.json'   => jwks(jwk('RS256', kid => 'r'), jwk('EdDSA', kid => 'e'))
                     . "\n",
    'ec.json'     => jwks(jwk('ES256', kid => 'c')) . "\n",
    'some.json'   => jwks({ kty => 'RSA', n => base64url("\xff" x 128),
                            e => 'AQAB', kid => 'small' },
                          jwk_oct($secret, kid => 'k')) . "\n",
    'none.json'   => jwks({ kty => 'oct', k => 'AA' }) . "\n",
    'broken.json' => "{\"keys\":[\n",
    'one.json'    => "{\"kty\":\"oct\"}\n",
    'twice.json'  => "{\"keys\":[],\"keys\":[]}\n",
    'x'           => "hello\n",
);

add_block_preprocessor(sub {
    my $block = shift;

    my $files = join '', map {">>> $_\n$file{$_}"} sort keys %file;

    $block->set_value(user_files => $files);
    $block->set_value(log_level => 'info') if !defined $block->log_level;
    $block->set_value(config => 'location /x { gateway_jwt main; }')
        if !defined $block->config;
    $block->set_value(request => 'GET /x')
        if !defined $block->request && !defined $block->must_die;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: a secret is the bytes of a file less one newline
--- http_config
    gateway_jwt_keys main secret_file=../html/secret;
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::hs256($::secret, {})
--- response_body
hello



=== TEST 2: a short secret is taken with a warning
--- http_config
    gateway_jwt_keys main secret_file=../html/short;
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::hs256($::short, {})
--- response_body
hello
--- error_log
[warn]
of "gateway_jwt_keys main":



=== TEST 3: a public key in PEM
--- http_config
    gateway_jwt_keys main pem=../html/rsa.pem;
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::token('PS256', {}, {}, 'RS256')
--- response_body
hello



=== TEST 4: a certificate
--- http_config
    gateway_jwt_keys main pem=../html/ed.crt;
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::token('EdDSA', {}, {})
--- response_body
hello



=== TEST 5: several sources are one set
--- http_config
    gateway_jwt_keys main file=../html/jwks.json;
    gateway_jwt_keys main secret_file=../html/secret;
    gateway_jwt_keys main pem=../html/ec.pem;
    gateway_jwt_keys other file=../html/ec.json;
--- config
    location /x { gateway_jwt main; }
    location /y { gateway_jwt other; alias $TEST_NGINX_HTML_DIR/x; }
--- pipelined_requests eval
[("GET /x") x 4, ("GET /y") x 2]
--- more_headers eval
[map { "Authorization: Bearer $_" }
    GatewayJWT::token('RS256', {}, {kid => 'r'}),
    GatewayJWT::token('EdDSA', {}, {kid => 'e'}),
    GatewayJWT::hs256($::secret, {}), GatewayJWT::token('ES256', {}, {}),
    GatewayJWT::token('ES256', {}, {kid => 'c'}),
    GatewayJWT::hs256($::secret, {})]
--- error_code eval
[200, 200, 200, 200, 200, 401]



=== TEST 6: keys that cannot be used are skipped with a warning
--- http_config
    gateway_jwt_keys main file=../html/some.json;
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::hs256($::secret, {}, {kid => 'k'})
--- response_body
hello
--- error_log
[warn]
small



=== TEST 7: a location that answers by itself
--- http_config
    gateway_jwt_keys main uri=/keys;
--- config
    location = /keys { internal; alias $TEST_NGINX_HTML_DIR/ec.json; }
    location /x { gateway_jwt main; }
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::token('ES256', {}, {})
--- response_body
hello



=== TEST 8: the location is of the first server that uses the set
--- http_config
    gateway_jwt_keys main uri=/keys?b;
    server {
        listen unix:$TEST_NGINX_HTML_DIR/a.sock;
        server_name a;
        location /keys { internal; return 404; }
    }
    server {
        listen unix:$TEST_NGINX_HTML_DIR/b.sock;
        server_name b;
        location /keys {
            internal;
            if ($args != b) { return 403; }
            alias $TEST_NGINX_HTML_DIR/ec.json;
        }
        location /b { gateway_jwt main; }
    }
--- config
    location /keys { internal; return 500; }
    location /x { gateway_jwt main; }
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::token('ES256', {}, {})
--- response_body
hello



=== TEST 9: a file beside an uri serves before there is an answer
--- http_config
    gateway_jwt_keys main uri=/keys;
    gateway_jwt_keys main secret_file=../html/secret;
--- config
    location /keys { internal; return 404; }
    location /x { gateway_jwt main; }
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::hs256($::secret, {})
--- response_body
hello
--- error_log
failed: answered 404; there are no keys yet



=== TEST 10: a fetch writes no line in the access log
--- http_config
    gateway_jwt_keys main uri=/keys;
--- config
    location /keys { internal; alias $TEST_NGINX_HTML_DIR/ec.json; }
    location /x { gateway_jwt main; }
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::token('ES256', {}, {})
--- response_body
hello
--- access_log
GET /x
--- no_access_log
/keys



=== TEST 11: no source
--- http_config
    gateway_jwt_keys main;
--- must_die
--- error_log
"gateway_jwt_keys main" has no source: write "file=path"



=== TEST 12: no name
--- http_config
    gateway_jwt_keys file=../html/jwks.json;
--- must_die
--- error_log
invalid name "file=../html/jwks.json"
gateway_jwt_keys main file=jwks.json



=== TEST 13: the name off
--- http_config
    gateway_jwt_keys off file=../html/jwks.json;
--- must_die
--- error_log
"off" is no name



=== TEST 14: a source that is none
--- http_config
    gateway_jwt_keys main jwks=../html/jwks.json;
--- must_die
--- error_log
invalid parameter "jwks=../html/jwks.json"
accepted are "file=path", "uri=/location" with "refresh=time"



=== TEST 15: two sources in one
--- http_config
    gateway_jwt_keys main file=../html/jwks.json pem=../html/rsa.pem;
--- must_die
--- error_log
repeat the directive with the same name



=== TEST 16: a foreign uri
--- http_config
    gateway_jwt_keys main uri=https://example.com/jwks;
--- must_die
--- error_log
invalid "uri=https://example.com/jwks"
location = /_jwks { internal; proxy_pass



=== TEST 17: the same uri twice
--- http_config
    gateway_jwt_keys main uri=/keys;
    gateway_jwt_keys main uri=/keys;
--- must_die
--- error_log
is duplicate: remove one of the two



=== TEST 18: refresh of a file
--- http_config
    gateway_jwt_keys main file=../html/jwks.json refresh=5m;
--- must_die
--- error_log
"refresh" in "gateway_jwt_keys main" goes with "uri=" only



=== TEST 19: refresh that is no time
--- http_config
    gateway_jwt_keys main uri=/keys refresh=often;
--- must_die
--- error_log
invalid "refresh=often"
a time from 1s to 30d



=== TEST 20: refresh too often
--- http_config
    gateway_jwt_keys main uri=/keys refresh=0;
--- must_die
--- error_log
a time from 1s to 30d



=== TEST 21: a file that is not there
--- http_config
    gateway_jwt_keys main file=none.json;
--- must_die
--- error_log
none.json" of "gateway_jwt_keys main"; a relative path starts at



=== TEST 22: a directory
--- http_config
    gateway_jwt_keys main file=../html;
--- must_die
--- error_log
is not a file of at most 1 megabyte



=== TEST 23: a broken JWKS
--- http_config
    gateway_jwt_keys main file=../html/broken.json;
--- must_die
--- error_log
broken.json" of "gateway_jwt_keys main" cannot be used as "file=":
accepted is a JWKS, {"keys":[...]}



=== TEST 24: a key that is no set
--- http_config
    gateway_jwt_keys main file=../html/one.json;
--- must_die
--- error_log
cannot be used as "file="



=== TEST 25: duplicate members
--- http_config
    gateway_jwt_keys main file=../html/twice.json;
--- must_die
--- error_log
cannot be used as "file="



=== TEST 26: no key left
--- http_config
    gateway_jwt_keys main file=../html/none.json;
--- must_die
--- error_log
cannot be used as "file="



=== TEST 27: PEM as a JWKS
--- http_config
    gateway_jwt_keys main file=../html/rsa.pem;
--- must_die
--- error_log
it looks like PEM: write "pem=path"



=== TEST 28: a JWKS as PEM
--- http_config
    gateway_jwt_keys main pem=../html/jwks.json;
--- must_die
--- error_log
it looks like a JWKS: write "file=path"



=== TEST 29: a private key
--- http_config
    gateway_jwt_keys main pem=../html/private.pem;
--- must_die
--- error_log
cannot be used as "pem="
openssl pkey -in key.pem -pubout



=== TEST 30: an empty secret
--- http_config
    gateway_jwt_keys main secret_file=../html/empty;
--- must_die
--- error_log
cannot be used as "secret_file="



=== TEST 31: a set that is not defined
--- http_config
    gateway_jwt_keys main file=../html/jwks.json;
--- config
    location /x { gateway_jwt users; }
--- must_die
--- error_log
unknown key set "users"
define it in http by "gateway_jwt_keys users file=path"



=== TEST 32: keys in gateway_jwt
--- config
    location /x { gateway_jwt main file=../html/jwks.json; }
--- must_die
--- error_log
sources of keys belong into "gateway_jwt_keys"



=== TEST 33: a source of tokens that is none
--- config
    location /x { gateway_jwt_token bearer; }
--- must_die
--- error_log
invalid source "bearer" in "gateway_jwt_token"
"header=Name", "query=argument", "cookie=name" and "message"



=== TEST 34: a source of tokens without a name
--- config
    location /x { gateway_jwt_token query; }
--- must_die
--- error_log
invalid source "query" in "gateway_jwt_token"



=== TEST 35: an empty name
--- config
    location /x { gateway_jwt_token cookie=; }
--- must_die
--- error_log
invalid source "cookie=" in "gateway_jwt_token"



=== TEST 36: sources of tokens twice
--- config
    location /x { gateway_jwt_token header; gateway_jwt_token cookie=a; }
--- must_die
--- error_log
is duplicate: name all sources in one



=== TEST 37: unsigned tokens
--- config
    location /x { gateway_jwt_algorithms RS256 none; }
--- must_die
--- error_log
invalid algorithm "none" in "gateway_jwt_algorithms"
unsigned tokens are never accepted



=== TEST 38: an algorithm in small letters
--- config
    location /x { gateway_jwt_algorithms rs256; }
--- must_die
--- error_log
invalid algorithm "rs256" in "gateway_jwt_algorithms"
accepted are, written so, HS256



=== TEST 39: a claim without a value
--- config
    location /x { gateway_jwt_claim role; }
--- must_die
--- error_log
no value in "gateway_jwt_claim": write "gateway_jwt_claim name value"



=== TEST 40: a claim with only an error
--- config
    location /x { gateway_jwt_claim role error=403; }
--- must_die
--- error_log
no value in "gateway_jwt_claim"



=== TEST 41: a claim by a variable
--- config
    location /x { gateway_jwt_claim $gateway_jwt_claim_role admin; }
--- must_die
--- error_log
the claim's name comes first



=== TEST 42: another error than there is
--- config
    location /x { gateway_jwt_require $arg_a error=404; }
--- must_die
--- error_log
invalid "error=404" in "gateway_jwt_require": accepted are "error=401"



=== TEST 43: leeway
--- config
    location /x { gateway_jwt_leeway much; }
--- must_die
--- error_log
invalid value "much" in "gateway_jwt_leeway"
such as "gateway_jwt_leeway 30s"



=== TEST 44: cache
--- http_config
    gateway_jwt_cache on;
--- must_die
--- error_log
invalid value "on" in "gateway_jwt_cache"
such as "gateway_jwt_cache 4096"



=== TEST 45: the location's answer is of another, by error_page
--- http_config
    gateway_jwt_keys main uri=/keys;
--- config
    location = /keys {
        internal;
        proxy_pass http://unix:$TEST_NGINX_HTML_DIR/none.sock;
        error_page 502 =200 @spare;
    }
    location @spare { try_files /ec.json =404; }
    location /x { gateway_jwt main; }
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::token('ES256', {}, {})
--- response_body
hello
--- error_log
none.sock failed



=== TEST 46: unbuffered, delayed and redirected within
--- http_config
    limit_req_zone $server_name zone=slow:1m rate=2r/s;
    gateway_jwt_keys main uri=/keys;
    gateway_jwt_keys other uri=/keys?2;
    gateway_jwt_keys third uri=/keys?3;
    server {
        listen unix:$TEST_NGINX_HTML_DIR/up.sock;
        location / { root $TEST_NGINX_HTML_DIR; }
    }
--- config
    location = /keys {
        internal;
        try_files /none /ec.json;
    }
    location = /ec.json {
        internal;
        limit_req zone=slow burst=5;
        proxy_buffering off;
        proxy_pass http://unix:$TEST_NGINX_HTML_DIR/up.sock;
    }
    location /x { gateway_jwt main; }
    location /y { gateway_jwt other; alias $TEST_NGINX_HTML_DIR/x; }
    location /z { gateway_jwt third; alias $TEST_NGINX_HTML_DIR/x; }
--- pipelined_requests eval
["GET /x", "GET /y", "GET /z"]
--- more_headers eval
[("Authorization: Bearer " . GatewayJWT::token('ES256', {}, {})) x 3]
--- response_body eval
["hello\n", "hello\n", "hello\n"]



=== TEST 47: a redirect is no answer
--- http_config
    gateway_jwt_keys main uri=/keys;
    gateway_jwt_keys main secret_file=../html/secret;
--- config
    location = /keys { internal; return 302 https://example.com/; }
    location /x { gateway_jwt main; }
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::hs256($::secret, {})
--- response_body
hello
--- error_log
failed: answered 302



=== TEST 48: a location that closes
--- http_config
    gateway_jwt_keys main uri=/keys;
    gateway_jwt_keys main secret_file=../html/secret;
--- config
    location = /keys { internal; return 444; }
    location /x { gateway_jwt main; }
--- more_headers eval
"Authorization: Bearer " . GatewayJWT::hs256($::secret, {})
--- response_body
hello
--- error_log
failed: answered 502
