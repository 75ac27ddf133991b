# gateway_limit_zone, gateway_limit and their kin: what they count, what clients
# are told, and what nginx says of a configuration that is wrong. Several
# workers, time and shared memory are in t/limit_workers.t, messages of
# WebSockets in t/limit_websocket.t.

use Test::Nginx::Socket 'no_plan';
use GatewayJWT;

our $secret = 'a secret of at least thirty-two bytes';
our $alice  = hs256($secret, { sub => 'alice' });
our $bob    = hs256($secret, { sub => 'bob' });
our $forged = hs256('some other secret of thirty-two bytes', { sub => 'alice' });

# a window of an hour: nothing is free again while a test runs
our $HttpConfig = <<'END';
    gateway_jwt_keys main secret_file=../html/secret;
    gateway_limit_zone $arg_k zone=one:1m rate=2/h;
    gateway_limit_zone $arg_k zone=five:1m rate=5/h;
    gateway_limit_zone all zone=all:1m rate=3/h;
    gateway_limit_zone $gateway_jwt_claim_sub zone=user:1m rate=2/h;
END

our $t = qr/36[0-5]\d/;

sub repeated { my ($uri, $n) = @_; return [ ("GET $uri") x $n ] }

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(http_config =>
        $HttpConfig . ($block->http_config // ''));
    $block->set_value(user_files => ">>> secret\n$secret\n>>> x\nhello\n");
    $block->set_value(log_level => 'info') if !defined $block->log_level;
    $block->set_value(config => '') if !defined $block->config;
    $block->set_value(request => 'GET /x')
        if !defined $block->request && !defined $block->must_die;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: the limit passes, and no more
--- config
    location /x { gateway_limit zone=one; }
--- request eval: ::repeated('/x?k=a', 4)
--- error_code eval: [200, 200, 429, 429]
--- response_headers_like eval
[ qq{RateLimit-Policy: "one";q=2;w=3600\nRateLimit: "one";r=1;t=$::t\n!Retry-After},
  qq{RateLimit-Policy: "one";q=2;w=3600\nRateLimit: "one";r=0;t=$::t\n!Retry-After},
  (qq{RateLimit-Policy: "one";q=2;w=3600\nRateLimit: "one";r=0;t=$::t\nRetry-After: $::t}) x 2 ]
--- error_log
limiting requests by zone "one": 2 in h, 0 left, a cost of 1 passes in
[error]



=== TEST 2: keys are counted apart
--- config
    location /x { gateway_limit zone=one; }
--- request eval
[ map {"GET /x?k=$_"} qw(a b a b a b c) ]
--- error_code eval: [200, 200, 200, 200, 429, 429, 200]



=== TEST 3: an empty key is not limited, nor told of
--- config
    location /x {
        gateway_limit zone=one;
        add_header X-Status "<$gateway_limit_status$gateway_limit_remaining$gateway_limit_reset>" always;
    }
--- request eval: ::repeated('/x', 4)
--- response_headers eval
[ ("!RateLimit\n!RateLimit-Policy\nX-Status: <>") x 4 ]



=== TEST 4: long keys that differ at their end only
--- config
    location /x { gateway_limit zone=one; }
--- request eval
[ map {'GET /x?k=' . 'a' x 900 . $_} qw(1 1 1 2) ]
--- error_code eval: [200, 200, 429, 200]



=== TEST 5: a zone is one for all its locations
--- config
    location = /x { gateway_limit zone=one; }
    location = /y { gateway_limit zone=one; }
--- request eval: [ 'GET /x?k=a', 'GET /y?k=a', 'GET /x?k=a' ]
--- error_code eval: [200, 404, 429]



=== TEST 6: limits are taken over from the server
--- config
    gateway_limit zone=one;
    gateway_limit_status 420;
    location /x { }
    location /other { gateway_limit zone=five; alias html/x; }
--- request eval
[ @{::repeated('/x?k=a', 3)}, 'GET /other?k=a' ]
--- error_code eval: [200, 200, 420, 200]
--- response_headers_like eval
[ ('RateLimit: "one";r=\d;t=\d+') x 3, 'RateLimit: "five";r=4;t=\d+' ]



=== TEST 7: several limits: charged only where all admit
--- config
    location /x {
        gateway_limit zone=five;
        gateway_limit zone=one;
    }
    location /five { gateway_limit zone=five; alias html/x; }
--- request eval
[ @{::repeated('/x?k=a', 4)}, 'GET /five?k=a' ]
--- error_code eval: [200, 200, 429, 429, 200]
--- response_headers_like eval
[ (map {qq{RateLimit-Policy: "five";q=5;w=3600, "one";q=2;w=3600\nRateLimit: "five";r=$_->[0];t=$::t, "one";r=$_->[1];t=$::t}}
     [4, 1], [3, 0], [3, 0], [3, 0]),
  qq{RateLimit: "five";r=2;t=$::t} ]



=== TEST 8: the order of limits makes no difference
--- config
    location /x {
        gateway_limit zone=one;
        gateway_limit zone=five;
    }
    location /five { gateway_limit zone=five; alias html/x; }
--- request eval
[ @{::repeated('/x?k=a', 4)}, 'GET /five?k=a' ]
--- error_code eval: [200, 200, 429, 429, 200]
--- response_headers_like eval
[ ('') x 4, qq{RateLimit: "five";r=2;t=$::t} ]



=== TEST 9: legacy headers are of the limit with the least left
--- config
    gateway_limit_headers legacy;
    location /x {
        gateway_limit zone=five;
        gateway_limit zone=one;
    }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 429]
--- response_headers_like eval
[ (map {"!RateLimit\n!RateLimit-Policy\nX-RateLimit-Limit: 2\nX-RateLimit-Remaining: $_->[0]\nX-RateLimit-Reset: $::t\n$_->[1]"}
     [1, '!Retry-After'], [0, '!Retry-After'], [0, "Retry-After: $::t"]) ]



=== TEST 10: no headers, but Retry-After
--- config
    gateway_limit_headers off;
    location /x { gateway_limit zone=one; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 429]
--- response_headers_like eval
[ (map {"!RateLimit\n!RateLimit-Policy\n!X-RateLimit-Limit\n!X-RateLimit-Remaining\n!X-RateLimit-Reset\n$_"}
     '!Retry-After', '!Retry-After', "Retry-After: $::t") ]



=== TEST 11: a quote in the name of a zone
--- http_config
    gateway_limit_zone all 'zone=a"b\\c:1m' rate=7/10s;
--- config
    location /x { gateway_limit 'zone=a"b\\c'; }
--- response_headers_like
RateLimit-Policy: "a\\"b\\\\c";q=7;w=10
RateLimit: "a\\"b\\\\c";r=6;t=1[01]



=== TEST 12: status 400
--- config
    gateway_limit_status 400;
    location /x { gateway_limit zone=one; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 400]



=== TEST 13: status 503
--- config
    gateway_limit_status 503;
    location /x { gateway_limit zone=one; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 503]



=== TEST 14: status 599
--- config
    gateway_limit_status 599;
    location /x { gateway_limit zone=one; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 599]



=== TEST 15: error_page works as ever, and nothing is charged again
--- config
    location /x {
        gateway_limit zone=one;
        error_page 429 /slow;
    }
    location /slow { gateway_limit zone=five; alias html/x; }
    location /five { gateway_limit zone=five; alias html/x; }
--- request eval
[ @{::repeated('/x?k=a', 3)}, 'GET /five?k=a' ]
--- error_code eval: [200, 200, 429, 200]
--- response_body eval: [ ("hello\n") x 4 ]
--- response_headers_like eval
[ ('') x 2, qq{RateLimit: "one";r=0;t=$::t\nRetry-After: $::t},
  qq{RateLimit: "five";r=4;t=$::t} ]



=== TEST 16: a request that is redirected internally counts once
--- config
    location /x { gateway_limit zone=five; try_files /none @y; }
    location @y {
        gateway_limit zone=five;
        add_header X-Status $gateway_limit_status;
        try_files /none /z;
    }
    location /z {
        gateway_limit zone=five;
        add_header X-Status $gateway_limit_status;
        alias html/x;
    }
--- request
GET /x?k=a
--- response_headers_like eval
qq{RateLimit: "five";r=4;t=$::t\nX-Status: PASSED}
--- raw_response_headers_unlike: RateLimit:.*RateLimit:



=== TEST 17: cost
--- config
    location /x { gateway_limit zone=five cost=$arg_c; }
--- request eval
[ map {"GET /x?k=a&c=$_"} 2, '', 0, 3, 1, 2, 0, 1, 1, 0 ]
--- error_code eval: [200, 200, 200, 429, 200, 429, 200, 200, 429, 200]
--- response_headers_like eval
[ map {qq{RateLimit: "five";r=$_;t=$::t}} 3, 2, 2, 2, 1, 1, 1, 0, 0, 0 ]



=== TEST 18: a cost that is no whole number is 1, with a warning
--- config
    location /x { gateway_limit zone=five cost=$arg_c; }
--- request eval
[ map {"GET /x?k=a&c=$_"} 'x', '-1', '1.5', '%202', '0x2' ]
--- error_code eval: [ (200) x 5 ]
--- response_headers_like eval
[ map {qq{RateLimit: "five";r=$_;t=$::t}} 4, 3, 2, 1, 0 ]
--- error_log
gateway_limit zone "five": the cost "x" is not a whole number, 1 is taken
the cost "-1" is not
the cost "1.5" is not
[warn]



=== TEST 19: a cost above the limit never passes
--- config
    location /x { gateway_limit zone=five cost=$arg_c; }
--- request eval
[ map {"GET /x?k=a&c=$_"} qw(6 4294967295 4294967296 18446744073709551617 5) ]
--- error_code eval: [429, 429, 429, 429, 200]
--- response_headers eval
[ ('Retry-After: 3600') x 4, '!Retry-After' ]
--- error_log
limiting requests by zone "five": a cost of 6 never passes a limit of 5 in h



=== TEST 20: a constant cost
--- config
    location /x { gateway_limit zone=five cost=2; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 429]



=== TEST 21: a cost of 0 passes where nothing is left
--- config
    location /x { gateway_limit zone=one; }
    location /free { gateway_limit zone=one cost=0; alias html/x; }
--- request eval: [ @{::repeated('/x?k=a', 3)}, 'GET /free?k=a' ]
--- error_code eval: [200, 200, 429, 200]
--- response_headers_like eval
[ ('') x 3, qq{RateLimit: "one";r=0;t=$::t} ]



=== TEST 22: a dry run rejects nothing and tells clients nothing
--- config
    location /x {
        gateway_limit zone=one dry_run;
        add_header X-Status "$gateway_limit_status" always;
    }
--- request eval: ::repeated('/x?k=a', 4)
--- error_code eval: [200, 200, 200, 200]
--- response_headers eval
[ map {"!RateLimit\n!RateLimit-Policy\n!Retry-After\nX-Status: $_"}
    qw(PASSED PASSED REJECTED_DRY_RUN REJECTED_DRY_RUN) ]
--- error_log
limiting requests, dry run, by zone "one"



=== TEST 23: a dry run beside a limit in force
--- config
    location /x {
        gateway_limit zone=one dry_run;
        gateway_limit zone=five;
        add_header X-Status "$gateway_limit_status" always;
    }
--- request eval: ::repeated('/x?k=a', 6)
--- error_code eval: [200, 200, 200, 200, 200, 429]
--- response_headers_like eval
[ map {qq{RateLimit-Policy: "five";q=5;w=3600\nRateLimit: "five";r=$_->[0];t=$::t\nX-Status: $_->[1]}}
    [4, 'PASSED'], [3, 'PASSED'], [2, 'REJECTED_DRY_RUN'],
    [1, 'REJECTED_DRY_RUN'], [0, 'REJECTED_DRY_RUN'], [0, 'REJECTED'] ]



=== TEST 24: variables
--- config
    location /x {
        gateway_limit zone=five;
        gateway_limit zone=one;
        add_header X-Limit "$gateway_limit_status $gateway_limit_remaining $gateway_limit_reset" always;
    }
    location /y {
        add_header X-Limit "<$gateway_limit_status$gateway_limit_remaining$gateway_limit_reset>" always;
        alias html/x;
    }
--- request eval: [ @{::repeated('/x?k=a', 3)}, 'GET /y' ]
--- error_code eval: [200, 200, 429, 200]
--- response_headers_like eval
[ "X-Limit: PASSED 1 $::t", "X-Limit: PASSED 0 $::t",
  "X-Limit: REJECTED 0 $::t", 'X-Limit: <>' ]



=== TEST 25: variables in the access log
--- http_config
    log_format limits '$status $gateway_limit_status $gateway_limit_remaining';
--- config
    access_log logs/access.log limits;
    location /x { gateway_limit zone=one; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 429]
--- access_log
200 PASSED 1
200 PASSED 0
429 REJECTED 0



=== TEST 26: log level info
--- config
    gateway_limit_log_level info;
    location /x { gateway_limit zone=one; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 429]
--- grep_error_log eval: qr/\[\w+\] \d+#\d+: \*\d+ limiting requests/
--- grep_error_log_out eval: qr/^\[info\] \d+#\d+: \*\d+ limiting requests\n$/



=== TEST 27: log level notice
--- config
    gateway_limit_log_level notice;
    location /x { gateway_limit zone=one; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 429]
--- grep_error_log eval: qr/\[\w+\] \d+#\d+: \*\d+ limiting requests/
--- grep_error_log_out eval: qr/^\[notice\] \d+#\d+: \*\d+ limiting requests\n$/



=== TEST 28: log level warn
--- config
    gateway_limit_log_level warn;
    location /x { gateway_limit zone=one; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 429]
--- grep_error_log eval: qr/\[\w+\] \d+#\d+: \*\d+ limiting requests/
--- grep_error_log_out eval: qr/^\[warn\] \d+#\d+: \*\d+ limiting requests\n$/



=== TEST 29: log level error
--- config
    gateway_limit_log_level error;
    location /x { gateway_limit zone=one; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 429]
--- grep_error_log eval: qr/\[\w+\] \d+#\d+: \*\d+ limiting requests/
--- grep_error_log_out eval: qr/^\[error\] \d+#\d+: \*\d+ limiting requests\n$/



=== TEST 30: what is logged below the log's level is not
--- log_level: notice
--- config
    gateway_limit_log_level info;
    location /x { gateway_limit zone=one; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 429]
--- no_error_log
limiting requests



=== TEST 31: openings alone
--- config
    location /x { gateway_limit zone=one on=connection; }
--- request eval: ::repeated('/x?k=a', 10)
--- more_headers eval
[ '', '', '', "Upgrade: websocket\n", '', "Accept: text/event-stream\n",
  "Accept: text/html, Text/Event-Stream;q=0.9\n", "Upgrade: WebSocket\n",
  "Accept: text/html\n", "Upgrade: h2c\n" ]
--- error_code eval: [200, 200, 200, 200, 200, 200, 429, 429, 200, 200]
--- response_headers_like eval
[ ('!RateLimit') x 3, qq{RateLimit: "one";r=1;t=$::t}, '!RateLimit',
  qq{RateLimit: "one";r=0;t=$::t}, ("Retry-After: $::t") x 2,
  ('!RateLimit') x 2 ]
--- error_log
limiting connections by zone "one"



=== TEST 32: limits on messages leave requests alone
--- config
    location /x { gateway_limit zone=one on=message; }
--- request eval: ::repeated('/x?k=a', 4)
--- response_headers eval: [ ('!RateLimit') x 4 ]



=== TEST 33: on=request is the default
--- config
    location /x { gateway_limit zone=one on=request; }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 429]



=== TEST 34: a claim as key: only valid tokens spend its quota
--- config
    location /x {
        gateway_jwt main;
        gateway_limit zone=user;
    }
--- request eval: ::repeated('/x', 9)
--- more_headers eval
[ map {"Authorization: Bearer $_\n"} ($::forged) x 3, ($::alice) x 3,
    ($::bob) x 2, $::alice ]
--- error_code eval: [401, 401, 401, 200, 200, 429, 200, 200, 429]
--- response_headers_like eval
[ ('!RateLimit') x 3, map {qq{RateLimit: "user";r=$_;t=$::t}} 1, 0, 0, 1, 0, 0 ]



=== TEST 35: a bad token counts for the others alone
--- config
    location /x {
        gateway_jwt main;
        gateway_limit zone=user;
        gateway_limit zone=all;
    }
--- request eval: ::repeated('/x', 5)
--- more_headers eval
[ map {"Authorization: Bearer $_\n"} $::forged, $::alice, $::forged,
    $::forged, $::alice ]
--- error_code eval: [401, 200, 401, 429, 429]
--- response_headers_like eval
[ qq{RateLimit: "all";r=2;t=$::t},
  qq{RateLimit: (?:"user";r=1;t=$::t, "all";r=1;t=$::t|"all";r=1;t=$::t, "user";r=1;t=$::t)},
  qq{RateLimit: "all";r=0;t=$::t}, qq{RateLimit: "all";r=0;t=$::t},
  qq{RateLimit: "all";r=0;t=$::t} ]



=== TEST 36: what the user's limit rejects the other does not count
--- config
    location /x {
        gateway_jwt main;
        gateway_limit zone=user;
        gateway_limit zone=all;
    }
--- request eval: ::repeated('/x', 4)
--- more_headers eval
[ map {"Authorization: Bearer $_\n"} ($::alice) x 3, $::bob ]
--- error_code eval: [200, 200, 429, 200]



=== TEST 37: the braces of a variable are no way round
--- http_config
    gateway_limit_zone "user-${gateway_jwt_claim_sub}" zone=braces:1m rate=1/h;
--- config
    location /x {
        gateway_jwt main;
        gateway_limit zone=braces;
    }
--- request eval: ::repeated('/x', 4)
--- more_headers eval
[ map {"Authorization: Bearer $_\n"} $::forged, $::alice, $::alice, $::forged ]
--- error_code eval: [401, 200, 429, 401]



=== TEST 38: without a token nobody spends it
--- config
    location /x {
        gateway_jwt main;
        gateway_limit zone=user;
    }
--- request eval: ::repeated('/x', 4)
--- error_code eval: [401, 401, 401, 401]
--- response_headers eval: [ ('!RateLimit') x 4 ]



=== TEST 39: a gRPC call is refused in gRPC's terms
--- config
    location /x { gateway_limit zone=all cost=2; }
--- request eval: [ ("POST /x\nbody") x 2 ]
--- more_headers eval
[ "Content-Type: text/plain\n", "Content-Type: application/grpc+proto\n" ]
--- error_code eval: [405, 200]
--- response_headers_like eval
[ "!grpc-status", "grpc-status: 8\ngrpc-message: .+\nContent-Type: application/grpc\nRateLimit: \"all\";r=1;t=$::t\nRetry-After: $::t" ]
--- response_body_like eval: [ '405', '^$' ]



=== TEST 40: counters
--- config
    location /x { gateway_limit zone=one; }
    location /dry { gateway_limit zone=one dry_run; alias html/x; }
    location /both {
        gateway_limit zone=one;
        gateway_limit zone=five;
        alias html/x;
    }
    location /status { gateway_status; }
--- request eval
[ @{::repeated('/x?k=a', 4)}, @{::repeated('/dry?k=a', 3)},
  @{::repeated('/both?k=a', 2)}, 'GET /status?format=prometheus' ]
--- error_code eval: [200, 200, 429, 429, 200, 200, 200, 429, 429, 200]
--- response_body_like eval
[ ('') x 9, CORE::join '.*', map {"gateway_limit_requests_total\\{zone=\"$_->[0]\",result=\"$_->[1]\"\\} $_->[2]\n"}
    ['one', 'passed', 2], ['one', 'rejected', 4], ['one', 'dry_run', 3],
    ['five', 'passed', 0], ['five', 'rejected', 0] ]



=== TEST 41: eight limits may stand together
--- http_config eval
CORE::join '', map {"gateway_limit_zone all zone=z$_:32k rate=$_/h;\n"} 1 .. 8
--- config eval
"location /x {\n" . CORE::join('', map {"gateway_limit zone=z$_;\n"} 1 .. 8) . '}'
--- request eval: ::repeated('/x', 2)
--- error_code eval: [200, 429]
--- response_headers_like eval
[ map { my $n = $_; 'RateLimit: ' . CORE::join ', ', map {"\"z$_\";r=" . ($_ - 1) . ';t=\d+'} 1 .. 8 } 1, 2 ]



=== TEST 42: one zone for requests and for messages
--- config
    location /x {
        gateway_limit zone=one;
        gateway_limit zone=one on=message;
    }
--- request eval: ::repeated('/x?k=a', 3)
--- error_code eval: [200, 200, 429]



=== TEST 43: a zone may be defined after its use
--- http_config
    gateway_limit zone=later;
    gateway_limit_zone all zone=later:1m rate=1/h;
--- config
    location /x { }
--- request eval: ::repeated('/x', 2)
--- error_code eval: [200, 429]



=== TEST 44: rate=1/s
--- http_config
    gateway_limit_zone all zone=z:32k "rate=1/s";
--- config
    location /x { gateway_limit zone=z; }
--- response_headers
RateLimit-Policy: "z";q=1;w=1



=== TEST 45: rate=1/m
--- http_config
    gateway_limit_zone all zone=z:32k "rate=1/m";
--- config
    location /x { gateway_limit zone=z; }
--- response_headers
RateLimit-Policy: "z";q=1;w=60



=== TEST 46: rate=1/h
--- http_config
    gateway_limit_zone all zone=z:32k "rate=1/h";
--- config
    location /x { gateway_limit zone=z; }
--- response_headers
RateLimit-Policy: "z";q=1;w=3600



=== TEST 47: rate=1/100ms
--- http_config
    gateway_limit_zone all zone=z:32k "rate=1/100ms";
--- config
    location /x { gateway_limit zone=z; }
--- response_headers
RateLimit-Policy: "z";q=1;w=1



=== TEST 48: rate=1/1500ms
--- http_config
    gateway_limit_zone all zone=z:32k "rate=1/1500ms";
--- config
    location /x { gateway_limit zone=z; }
--- response_headers
RateLimit-Policy: "z";q=1;w=2



=== TEST 49: rate=1/90
--- http_config
    gateway_limit_zone all zone=z:32k "rate=1/90";
--- config
    location /x { gateway_limit zone=z; }
--- response_headers
RateLimit-Policy: "z";q=1;w=90



=== TEST 50: rate=1/1m 30s
--- http_config
    gateway_limit_zone all zone=z:32k "rate=1/1m 30s";
--- config
    location /x { gateway_limit zone=z; }
--- response_headers
RateLimit-Policy: "z";q=1;w=90



=== TEST 51: rate=1/366d
--- http_config
    gateway_limit_zone all zone=z:32k "rate=1/366d";
--- config
    location /x { gateway_limit zone=z; }
--- response_headers
RateLimit-Policy: "z";q=1;w=31622400



=== TEST 52: rate=1000000000/s
--- http_config
    gateway_limit_zone all zone=z:32k "rate=1000000000/s";
--- config
    location /x { gateway_limit zone=z; }
--- response_headers
RateLimit-Policy: "z";q=1000000000;w=1



=== TEST 53: rate=0/s is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=0/s;
--- must_die
--- error_log
invalid parameter "rate=0/s" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 54: rate=x/s is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=x/s;
--- must_die
--- error_log
invalid parameter "rate=x/s" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 55: rate=-1/s is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=-1/s;
--- must_die
--- error_log
invalid parameter "rate=-1/s" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 56: rate=1.5/s is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=1.5/s;
--- must_die
--- error_log
invalid parameter "rate=1.5/s" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 57: rate=/s is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=/s;
--- must_die
--- error_log
invalid parameter "rate=/s" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 58: rate=1000000001/s is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=1000000001/s;
--- must_die
--- error_log
invalid parameter "rate=1000000001/s" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 59: rate=99999999999999999999/s is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=99999999999999999999/s;
--- must_die
--- error_log
invalid parameter "rate=99999999999999999999/s" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 60: rate=1 is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=1;
--- must_die
--- error_log
invalid parameter "rate=1" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 61: rate=1/ is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/;
--- must_die
--- error_log
invalid parameter "rate=1/" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 62: rate=1/x is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/x;
--- must_die
--- error_log
invalid parameter "rate=1/x" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 63: rate=1/0s is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/0s;
--- must_die
--- error_log
invalid parameter "rate=1/0s" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 64: rate=1/99ms is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/99ms;
--- must_die
--- error_log
invalid parameter "rate=1/99ms" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 65: rate=1/367d is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/367d;
--- must_die
--- error_log
invalid parameter "rate=1/367d" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 66: rate=1/-1s is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/-1s;
--- must_die
--- error_log
invalid parameter "rate=1/-1s" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 67: rate=1/s/s is refused
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/s/s;
--- must_die
--- error_log
invalid parameter "rate=1/s/s" in "gateway_limit_zone": "rate=N/T" is accepted, N from 1 to 1000000000, T one of "s", "m", "h" or a time from 100ms to 366d



=== TEST 68: a rate twice
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/s rate=2/s;
--- must_die
--- error_log
invalid parameter "rate=2/s" in "gateway_limit_zone": "rate=" stands there twice



=== TEST 69: no rate
--- http_config
    gateway_limit_zone all zone=z:1m;
--- must_die
--- error_log
gateway_limit_zone "z" has no rate, add "rate=N/T"



=== TEST 70: no zone
--- http_config
    gateway_limit_zone all rate=1/s;
--- must_die
--- error_log
"gateway_limit_zone" needs a key, "zone=name:size" and "rate=N/T"



=== TEST 71: a zone without a size
--- http_config
    gateway_limit_zone all zone=z rate=1/s;
--- must_die
--- error_log
"gateway_limit_zone" needs a key, "zone=name:size" and "rate=N/T"



=== TEST 72: no key
--- http_config
    gateway_limit_zone zone=z:1m rate=1/s;
--- must_die
--- error_log
"gateway_limit_zone" needs a key



=== TEST 73: a key that is a parameter
--- http_config
    gateway_limit_zone rate=1/s zone=z:1m;
--- must_die
--- error_log
invalid key "rate=1/s": the key comes first



=== TEST 74: a zone twice in one
--- http_config
    gateway_limit_zone all zone=z:1m zone=y:1m rate=1/s;
--- must_die
--- error_log
has "zone=" twice



=== TEST 75: a zone that is too small
--- http_config
    gateway_limit_zone all zone=z:31k rate=1/s;
--- must_die
--- error_log
invalid size "31k" of zone "z", 32k or more is accepted



=== TEST 76: a zone defined twice
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/s; gateway_limit_zone all zone=z:1m rate=2/s;
--- must_die
--- error_log
gateway_limit_zone "z" is duplicate, define it once



=== TEST 77: an unknown parameter
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/s burst=5;
--- must_die
--- error_log
invalid parameter "burst=5" in "gateway_limit_zone": "zone=name:size", "rate=N/T", "redis=name" and "sync=time" are accepted



=== TEST 78: a Redis that is not there
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/s redis=r;
--- must_die
--- error_log
unknown "redis=r" in



=== TEST 79: sync without redis
--- http_config
    gateway_limit_zone all zone=z:1m rate=1/s sync=1s;
--- must_die
--- error_log
gateway_limit_zone "z" has "sync=" without "redis=", name a "gateway_redis" or leave it out



=== TEST 80: an unknown variable as key
--- http_config
    gateway_limit_zone $nonsense zone=z:1m rate=1/s;
--- must_die
--- error_log
unknown "nonsense" variable



=== TEST 81: a zone outside of http
--- config
    gateway_limit_zone all zone=z:1m rate=1/s;
--- must_die
--- error_log
"gateway_limit_zone" directive is not allowed here



=== TEST 82: a limit by a zone that is not there
--- config
    gateway_limit zone=none;
--- must_die
--- error_log
limit zone "none" is not defined, write "gateway_limit_zone



=== TEST 83: gateway_limit zone=
--- config
    gateway_limit zone=;
--- must_die
--- error_log
invalid parameter "zone=" in "gateway_limit": accepted are "zone=name" of a "gateway_limit_zone", "on=request", "on=connection" or "on=message", "cost=number" and "dry_run"



=== TEST 84: gateway_limit zone=one:1m
--- config
    gateway_limit zone=one:1m;
--- must_die
--- error_log
invalid parameter "zone=one:1m" in "gateway_limit": accepted are "zone=name" of a "gateway_limit_zone", "on=request", "on=connection" or "on=message", "cost=number" and "dry_run"



=== TEST 85: gateway_limit on=
--- config
    gateway_limit zone=one on=;
--- must_die
--- error_log
invalid parameter "on=" in "gateway_limit": accepted are "zone=name" of a "gateway_limit_zone", "on=request", "on=connection" or "on=message", "cost=number" and "dry_run"



=== TEST 86: gateway_limit on=requests
--- config
    gateway_limit zone=one on=requests;
--- must_die
--- error_log
invalid parameter "on=requests" in "gateway_limit": accepted are "zone=name" of a "gateway_limit_zone", "on=request", "on=connection" or "on=message", "cost=number" and "dry_run"



=== TEST 87: gateway_limit nonsense
--- config
    gateway_limit zone=one nonsense;
--- must_die
--- error_log
invalid parameter "nonsense" in "gateway_limit": accepted are "zone=name" of a "gateway_limit_zone", "on=request", "on=connection" or "on=message", "cost=number" and "dry_run"



=== TEST 88: gateway_limit dry_run=on
--- config
    gateway_limit zone=one dry_run=on;
--- must_die
--- error_log
invalid parameter "dry_run=on" in "gateway_limit": accepted are "zone=name" of a "gateway_limit_zone", "on=request", "on=connection" or "on=message", "cost=number" and "dry_run"



=== TEST 89: gateway_limit cost=x
--- config
    gateway_limit zone=one cost=x;
--- must_die
--- error_log
invalid parameter "cost=x" in "gateway_limit": "cost=" takes a whole number from 0 to 1000000000, or variables



=== TEST 90: gateway_limit cost=
--- config
    gateway_limit zone=one cost=;
--- must_die
--- error_log
invalid parameter "cost=" in "gateway_limit": "cost=" takes a whole number from 0 to 1000000000, or variables



=== TEST 91: gateway_limit cost=-1
--- config
    gateway_limit zone=one cost=-1;
--- must_die
--- error_log
invalid parameter "cost=-1" in "gateway_limit": "cost=" takes a whole number from 0 to 1000000000, or variables



=== TEST 92: gateway_limit cost=1.5
--- config
    gateway_limit zone=one cost=1.5;
--- must_die
--- error_log
invalid parameter "cost=1.5" in "gateway_limit": "cost=" takes a whole number from 0 to 1000000000, or variables



=== TEST 93: gateway_limit cost=1000000001
--- config
    gateway_limit zone=one cost=1000000001;
--- must_die
--- error_log
invalid parameter "cost=1000000001" in "gateway_limit": "cost=" takes a whole number from 0 to 1000000000, or variables



=== TEST 94: gateway_limit cost=99999999999999999999
--- config
    gateway_limit zone=one cost=99999999999999999999;
--- must_die
--- error_log
invalid parameter "cost=99999999999999999999" in "gateway_limit": "cost=" takes a whole number from 0 to 1000000000, or variables



=== TEST 95: gateway_limit without a zone
--- config
    gateway_limit on=request;
--- must_die
--- error_log
"gateway_limit" needs "zone=name"



=== TEST 96: gateway_limit without anything
--- config
    gateway_limit;
--- must_die
--- error_log
invalid number of arguments in "gateway_limit" directive



=== TEST 97: a zone twice for one request
--- config
    gateway_limit zone=one; gateway_limit zone=one on=connection;
--- must_die
--- error_log
"gateway_limit zone=one" is duplicate



=== TEST 98: a zone twice for one message
--- config
    gateway_limit zone=one on=message; gateway_limit zone=one on=message;
--- must_die
--- error_log
"gateway_limit zone=one" is duplicate



=== TEST 99: nine limits
--- http_config eval
CORE::join '', map {"gateway_limit_zone all zone=z$_:32k rate=$_/h;\n"} 1 .. 9
--- config eval
"location /x {\n" . CORE::join('', map {"gateway_limit zone=z$_;\n"} 1 .. 9) . '}'
--- must_die
--- error_log
"gateway_limit" directive stands there too often, at most 8 are accepted



=== TEST 100: gateway_limit_status 200
--- config
    gateway_limit_status 200;
--- must_die
--- error_log
invalid value "200" in "gateway_limit_status": one code from 400 to 599 is accepted



=== TEST 101: gateway_limit_status 399
--- config
    gateway_limit_status 399;
--- must_die
--- error_log
invalid value "399" in "gateway_limit_status": one code from 400 to 599 is accepted



=== TEST 102: gateway_limit_status 600
--- config
    gateway_limit_status 600;
--- must_die
--- error_log
invalid value "600" in "gateway_limit_status": one code from 400 to 599 is accepted



=== TEST 103: gateway_limit_status x
--- config
    gateway_limit_status x;
--- must_die
--- error_log
invalid value "x" in "gateway_limit_status": one code from 400 to 599 is accepted



=== TEST 104: gateway_limit_status -1
--- config
    gateway_limit_status -1;
--- must_die
--- error_log
invalid value "-1" in "gateway_limit_status": one code from 400 to 599 is accepted



=== TEST 105: gateway_limit_status 429 503
--- config
    gateway_limit_status 429 503;
--- must_die
--- error_log
invalid value "429" in "gateway_limit_status": one code from 400 to 599 is accepted



=== TEST 106: gateway_limit_headers on
--- config
    gateway_limit_headers on;
--- must_die
--- error_log
invalid value "on" in "gateway_limit_headers": one of "draft", "legacy" and "off" is accepted



=== TEST 107: gateway_limit_headers Draft
--- config
    gateway_limit_headers Draft;
--- must_die
--- error_log
invalid value "Draft" in "gateway_limit_headers": one of "draft", "legacy" and "off" is accepted



=== TEST 108: gateway_limit_headers draft off
--- config
    gateway_limit_headers draft off;
--- must_die
--- error_log
invalid value "draft" in "gateway_limit_headers": one of "draft", "legacy" and "off" is accepted



=== TEST 109: gateway_limit_log_level debug
--- config
    gateway_limit_log_level debug;
--- must_die
--- error_log
invalid value "debug" in "gateway_limit_log_level": one of "info", "notice", "warn" and "error" is accepted



=== TEST 110: gateway_limit_log_level off
--- config
    gateway_limit_log_level off;
--- must_die
--- error_log
invalid value "off" in "gateway_limit_log_level": one of "info", "notice", "warn" and "error" is accepted



=== TEST 111: gateway_limit_status twice
--- config
    gateway_limit_status 429; gateway_limit_status 429;
--- must_die
--- error_log
"gateway_limit_status" directive is duplicate



=== TEST 112: gateway_limit_headers twice
--- config
    gateway_limit_headers off; gateway_limit_headers off;
--- must_die
--- error_log
"gateway_limit_headers" directive is duplicate



=== TEST 113: gateway_limit_log_level twice
--- config
    gateway_limit_log_level warn; gateway_limit_log_level warn;
--- must_die
--- error_log
"gateway_limit_log_level" directive is duplicate



=== TEST 114: sync= out of range
--- http_config
    gateway_redis r redis://127.0.0.1:1;
    gateway_limit_zone all zone=z:1m rate=1/s redis=r sync=5ms;
--- must_die
--- error_log
invalid parameter "sync=5ms" in "gateway_limit_zone": "sync=" takes a time from 10ms to 10s



=== TEST 115: two Redis
--- http_config
    gateway_redis r redis://127.0.0.1:1;
    gateway_limit_zone all zone=z:1m rate=1/s redis=r redis=r;
--- must_die
--- error_log
invalid parameter "redis=r" in "gateway_limit_zone": "redis=" stands there twice
