# gateway_health and gateway_health_check: what the endpoint answers, and what
# nginx -t says of mistakes. That checks take effect is in t/health_check.t.

use Test::Nginx::Socket 'no_plan';

our $Upstreams = <<'END';
    upstream one {
        server 127.0.0.1:11;
    }

    upstream two {
        server 127.0.0.1:12;
        server 127.0.0.1:13 down;
        server unix:/tmp/gateway-no-such-socket backup;
    }
END

our $Config = <<'END';
    location = /health { gateway_health; }
    location = /implicit { proxy_pass http://127.0.0.1:14; }
    location = /one { proxy_pass http://one; }
END

sub check { return "upstream u { server 127.0.0.1:11;\n$_[0] }" }

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(config => $Config) if !defined $block->config;

    $block->set_value(http_config => $Upstreams)
        if !defined $block->http_config;
    $block->set_value(request => 'GET /health')
        if !defined $block->request && !defined $block->must_die;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: upstreams without checks, with backup and down
--- response_headers
Content-Type: application/json
Cache-Control: no-store
--- response_body
{"status":"ok","upstreams":[{"name":"one","breaker":null,"peers":[{"server":"127.0.0.1:11","state":"up","lastCheck":null,"responseTime":null}]},{"name":"two","breaker":null,"peers":[{"server":"127.0.0.1:12","state":"up","lastCheck":null,"responseTime":null},{"server":"127.0.0.1:13","state":"down","lastCheck":null,"responseTime":null},{"server":"unix:/tmp/gateway-no-such-socket","state":"up","lastCheck":null,"responseTime":null}]}]}



=== TEST 2: no upstream at all
--- http_config
--- config
    location = /health { gateway_health; }
--- response_body
{"status":"ok","upstreams":[]}



=== TEST 3: an upstream that has no usable server
--- http_config
    upstream one { server 127.0.0.1:11 down; }
    upstream two { server 127.0.0.1:12; }
--- error_code: 503
--- response_headers
Content-Type: application/json
Cache-Control: no-store
--- response_body
{"status":"unavailable","upstreams":[{"name":"one","breaker":null,"peers":[{"server":"127.0.0.1:11","state":"down","lastCheck":null,"responseTime":null}]},{"name":"two","breaker":null,"peers":[{"server":"127.0.0.1:12","state":"up","lastCheck":null,"responseTime":null}]}]}



=== TEST 4: a new server is up before it has been checked
--- http_config eval
::check(q{gateway_health_check uri=/health interval=1h;})
--- config
    location = /health { gateway_health; }
--- response_body_like: ^\{"status":"ok","upstreams":\[\{"name":"u","breaker":null,"peers":\[\{"server":"127.0.0.1:11","state":"up","lastCheck":



=== TEST 5: what max_fails has taken out is down
--- http_config
    upstream one { server 127.0.0.1:1 max_fails=1; server 127.0.0.1:2 down; }
    upstream two { server 127.0.0.1:12; }
--- config
    location = /health { gateway_health; }
    location = /one { proxy_pass http://one; error_page 502 = /health; }
--- request
GET /one
--- error_code: 503
--- response_body_like: "name":"one","breaker":null,"peers":\[\{"server":"127.0.0.1:1","state":"down"



=== TEST 6: HEAD has no body
--- request
HEAD /health
--- response_headers
Cache-Control: no-store
--- response_body:



=== TEST 7: other methods are refused
--- request
POST /health
x=1
--- error_code: 405
--- response_headers
Allow: GET, HEAD



=== TEST 8: an upstream's name is a JSON string
--- http_config
    upstream 'a\b' { server 127.0.0.1:11; }
--- config
    location = /health { gateway_health; }
--- response_body_like: "name":"a\\\\b"



=== TEST 9: uri is needed
--- http_config eval
::check(q{gateway_health_check interval=5s;})
--- must_die
--- error_log
"gateway_health_check" directive needs "uri=/path"



=== TEST 10: no parameter at all
--- http_config eval
::check(q{gateway_health_check;})
--- must_die
--- error_log
"gateway_health_check" directive needs "uri=/path"



=== TEST 11: a uri that is no path
--- http_config eval
::check(q{gateway_health_check uri=health;})
--- must_die
--- error_log
invalid parameter "uri=health" of "gateway_health_check", a path that begins with "/" is accepted



=== TEST 12: a uri that would end the request line
--- http_config eval
::check(q{gateway_health_check "uri=/a HTTP/1.1\r\nX: y";})
--- must_die
--- error_log
a path of printable ASCII without blanks and "#" is accepted



=== TEST 13: uri twice
--- http_config eval
::check(q{gateway_health_check uri=/a uri=/b;})
--- must_die
--- error_log
invalid parameter "uri=/b" of "gateway_health_check", it is given twice



=== TEST 14: an interval of nothing
--- http_config eval
::check(q{gateway_health_check uri=/ interval=0;})
--- must_die
--- error_log
invalid parameter "interval=0" of "gateway_health_check", a time from 10ms to 1d such as 5s is accepted



=== TEST 15: an interval that is too long
--- http_config eval
::check(q{gateway_health_check uri=/ interval=2d;})
--- must_die
--- error_log
a time from 10ms to 1d such as 5s is accepted



=== TEST 16: a timeout that is none
--- http_config eval
::check(q{gateway_health_check uri=/ timeout=soon;})
--- must_die
--- error_log
invalid parameter "timeout=soon" of "gateway_health_check", a time from 10ms to 1d such as 5s is accepted



=== TEST 17: passes
--- http_config eval
::check(q{gateway_health_check uri=/ passes=0;})
--- must_die
--- error_log
invalid parameter "passes=0" of "gateway_health_check", a number from 1 to 1000 is accepted



=== TEST 18: fails
--- http_config eval
::check(q{gateway_health_check uri=/ fails=-1;})
--- must_die
--- error_log
invalid parameter "fails=-1" of "gateway_health_check", a number from 1 to 1000 is accepted



=== TEST 19: match: an empty list
--- http_config eval
::check(q{gateway_health_check uri=/ match=;})
--- must_die
--- error_log
invalid parameter "match=" of "gateway_health_check", codes from 200 to 999 and ranges of them, separated by commas, such as "200-299,404" are accepted



=== TEST 20: match: a range backwards
--- http_config eval
::check(q{gateway_health_check uri=/ match=399-200;})
--- must_die
--- error_log
invalid parameter "match=399-200" of "gateway_health_check", codes



=== TEST 21: match: a comma at the end
--- http_config eval
::check(q{gateway_health_check uri=/ match=200,;})
--- must_die
--- error_log
invalid parameter "match=200," of "gateway_health_check", codes



=== TEST 22: match: no code of an answer
--- http_config eval
::check(q{gateway_health_check uri=/ match=100-399;})
--- must_die
--- error_log
invalid parameter "match=100-399" of "gateway_health_check", codes



=== TEST 23: match twice
--- http_config eval
::check(q{gateway_health_check uri=/ match=200 match=204;})
--- must_die
--- error_log
invalid parameter "match=204" of "gateway_health_check", it is given twice



=== TEST 24: an unknown parameter
--- http_config eval
::check(q{gateway_health_check uri=/ port=80;})
--- must_die
--- error_log
invalid parameter "port=80" of "gateway_health_check", "uri=/path", "interval=time", "timeout=time", "passes=number", "fails=number" and "match=codes" are accepted



=== TEST 25: a word that is no parameter
--- http_config eval
::check(q{gateway_health_check /health;})
--- must_die
--- error_log
invalid parameter "/health" of "gateway_health_check", "uri=/path", "interval=time"



=== TEST 26: twice in an upstream
--- http_config eval
::check(q{gateway_health_check uri=/; gateway_health_check uri=/;})
--- must_die
--- error_log
"gateway_health_check" directive is duplicate



=== TEST 27: before the servers, with every parameter
--- http_config
    upstream u {
        gateway_health_check uri=/x?y=1 interval=1h timeout=500ms passes=1
            fails=1 match=200,204,300-399;
        least_conn;
        server 127.0.0.1:11;
        keepalive 4;
        zone u 64k;
    }
--- config
    location = /health { gateway_health; }
--- response_body_like: "name":"u","breaker":null,"peers":\[\{"server":"127.0.0.1:11"



=== TEST 28: a breaker that is closed
--- http_config
    upstream u {
        server 127.0.0.1:11;
        gateway_breaker zone=b:1m;
    }
--- config
    location = /health { gateway_health; }
--- response_body_like: ^\{"status":"ok","upstreams":\[\{"name":"u","breaker":"closed","peers":\[\{"server":"127.0.0.1:11","state":"up","lastCheck":null,"responseTime":null\}\]\}\]\}



=== TEST 29: a breaker for each server stands in each
--- http_config
    upstream u {
        gateway_breaker zone=b:1m scope=peer;
        server 127.0.0.1:11;
        server 127.0.0.1:12;
    }
--- config
    location = /health { gateway_health; }
--- response_body_like: "name":"u","peers":\[\{"server":"127.0.0.1:11","state":"up","lastCheck":null,"responseTime":null,"breaker":"closed"\},\{"server":"127.0.0.1:12","state":"up","lastCheck":null,"responseTime":null,"breaker":"closed"\}\]



=== TEST 30: an open breaker makes it unavailable
--- http_config
    upstream u {
        server 127.0.0.1:1;
        gateway_breaker zone=b:1m failures=1;
    }
--- config
    location = /health { gateway_health; }
    location = /u { proxy_pass http://u; error_page 502 = /health; }
--- request
GET /u
--- error_code: 503
--- response_body_like: ^\{"status":"unavailable","upstreams":\[\{"name":"u","breaker":"open","peers":\[\{"server":"127.0.0.1:1","state":"up"
