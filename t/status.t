# gateway_status: which format is answered, and what it looks like. That values
# survive reloads and deaths is in t/status_workers.t.

use Test::Nginx::Socket 'no_plan';

our $HttpConfig = <<'END';
    gateway_jwt_keys main secret_file=../html/secret;
    gateway_channel_zone room:1m;
END

our $Config = <<'END';
    location = /x { gateway_jwt main; }
    location = /pub { gateway_publisher room; }
    location = /status { gateway_status; }
END

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(http_config => $HttpConfig)
        if !defined $block->http_config;
    $block->set_value(config => $Config) if !defined $block->config;
    $block->set_value(user_files => ">>> secret\n" . 'x' x 32 . "\n");
    $block->set_value(log_level => 'info');
    $block->set_value(request => 'GET /status')
        if !defined $block->request && !defined $block->must_die;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: JSON is the default
--- response_headers
Content-Type: application/json
Cache-Control: no-store
! ETag
--- response_body_like: ^\{"version":"\d+\.\d+\.\d+","nginx":"1\.\d+\.\d+","workers":1,"metrics":\{.*\}\}\n$



=== TEST 2: format=json goes before Accept
--- request
GET /status?format=json
--- more_headers
Accept: text/plain;version=0.0.4
--- response_headers
Content-Type: application/json



=== TEST 3: format=prometheus
--- request
GET /status?a=b&format=prometheus
--- response_headers
Content-Type: text/plain; version=0.0.4; charset=utf-8
Cache-Control: no-store
--- response_body_like: ^# HELP gateway_\w+ [^\n]+\n# TYPE gateway_



=== TEST 4: Accept as Prometheus sends it
--- more_headers
Accept: application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1
--- response_headers
Content-Type: text/plain; version=0.0.4; charset=utf-8



=== TEST 5: Accept as older Prometheus sends it
--- more_headers
accept: text/plain; version=0.0.4
--- response_headers
Content-Type: text/plain; version=0.0.4; charset=utf-8



=== TEST 6: the greater q wins, whatever comes first
--- more_headers
Accept: text/plain;q=0.2 , application/json;q=0.9
--- response_headers
Content-Type: application/json



=== TEST 7: q=0 is not wanted
--- more_headers
Accept: text/plain;q=0
--- response_headers
Content-Type: application/json



=== TEST 8: a browser gets JSON as long as there is no page
--- more_headers
Accept: text/html,application/xhtml+xml,*/*;q=0.8
--- response_headers
Content-Type: application/json



=== TEST 9: an Accept of nonsense
--- more_headers
Accept: ,;,; ;q,;q=,=, text/plainx ;;;q=9999999999999999999,text/
--- response_headers
Content-Type: application/json



=== TEST 10: an unknown format
--- request
GET /status?format=xml
--- error_code: 400
--- error_log
unknown format of gateway_status



=== TEST 11: an empty format
--- request
GET /status?format=
--- error_code: 400



=== TEST 12: HEAD
--- request
HEAD /status
--- response_headers_like
Content-Type: application/json
Content-Length: [1-9]\d+
--- response_body:



=== TEST 13: other methods
--- request
POST /status
x
--- error_code: 405
--- response_headers
Allow: GET, HEAD



=== TEST 14: counters of the text format, all of a name under one header
--- request eval
['GET /x', 'GET /x', 'GET /status?format=prometheus']
--- error_code eval
[401, 401, 200]
--- response_body_like eval
[qr/401/, qr/401/,
qr/^# TYPE gateway_jwt_tokens_total counter
(?:gateway_jwt_tokens_total\{status="[a-z-]+"\} 0\n)*gateway_jwt_tokens_total\{status="missing"\} 2
(?:gateway_jwt_tokens_total\{status="[a-z-]+"\} 0\n)+#/m]
--- response_body_unlike eval
[qr/ TYPE /, qr/ TYPE /, qr/(# TYPE \w+ ).*\1/s]



=== TEST 15: a histogram of the text format
--- request eval
["POST /pub?channel=a\nx", 'GET /status?format=prometheus']
--- error_code eval
[202, 200]
--- response_body_like eval
[qr/./,
qr/^# TYPE gateway_publish_seconds histogram
gateway_publish_seconds_bucket\{zone="room",le="0.00005"\} \d+
gateway_publish_seconds_bucket\{zone="room",le="0.0001"\} \d+
(?:gateway_publish_seconds_bucket\{zone="room",le="[\d.]+"\} \d+\n){12}gateway_publish_seconds_bucket\{zone="room",le="\+Inf"\} (\d+)
gateway_publish_seconds_sum\{zone="room"\} \d+\.\d{6}
gateway_publish_seconds_count\{zone="room"\} \1
/m]



=== TEST 16: a counter and a collected gauge in JSON
--- request eval
["POST /pub?channel=a\nx", 'GET /status']
--- error_code eval
[202, 200]
--- response_body_like eval
[qr/./, qr/"gateway_messages_published_total":\[\{"labels":\{"zone":"room"\},"value":1\}\].*"gateway_zone_bytes":\[\{"labels":\{"zone":"room","kind":"used"\},"value":[1-9]\d*\},\{"labels":\{"zone":"room","kind":"total"\},"value":[1-9]\d*\}\]/s]



=== TEST 17: a histogram in JSON
--- response_body_like: "gateway_publish_seconds":\[\{"labels":\{"zone":"room"\},"count":0,"sum":0\.000000,"buckets":\{"0\.00005":0,"0\.0001":0,"0\.00025":0,"0\.0005":0,"0\.001":0,"0\.0025":0,"0\.005":0,"0\.01":0,"0\.025":0,"0\.05":0,"0\.1":0,"0\.25":0,"0\.5":0,"1":0,"\+Inf":0\}\}\]



=== TEST 18: a name that has to be escaped, in the text format
--- http_config
    gateway_channel_zone 'a"b\c:1m';
--- config
    location = /status { gateway_status; }
--- request
GET /status?format=prometheus
--- response_body_like eval
qr/^gateway_messages_published_total\{zone="a\\"b\\\\c"\} 0$/m



=== TEST 19: a name that has to be escaped, in JSON
--- http_config
    gateway_channel_zone 'a"b\c:1m';
--- config
    location = /status { gateway_status; }
--- response_body_like eval
qr/"gateway_messages_published_total":\[\{"labels":\{"zone":"a\\"b\\\\c"\},"value":0\}\]/



=== TEST 20: a name that is not UTF-8
--- http_config eval
"gateway_channel_zone a\xff:1m;"
--- config
    location = /status { gateway_status; }
--- response_body_like eval
qr/"zone":"a\?"/
--- response_body_unlike eval
qr/\xff/



=== TEST 21: nothing to tell
--- http_config
--- config
    location = /status { gateway_status; }
--- request
GET /status?format=json
--- response_body_like: ^\{"version":"[\d.]+","nginx":"[\d.]+","workers":1,"metrics":\{



=== TEST 22: nothing to tell, in the text format
--- http_config
--- config
    location = /status { gateway_status; }
--- request
GET /status?format=prometheus
--- response_headers
Content-Type: text/plain; version=0.0.4; charset=utf-8



=== TEST 23: the directive has no argument
--- config
    location = /status { gateway_status html; }
--- must_die
--- error_log
invalid number of arguments in "gateway_status" directive



=== TEST 24: the directive stands once
--- config
    location = /status { gateway_status; gateway_status; }
--- must_die
--- error_log
"gateway_status" directive is duplicate
