# gateway_publisher: POST, GET, HEAD and DELETE. That messages reach
# subscribers is in t/v1.t, what happens when a zone is full in t/zone_full.t.

use Test::Nginx::Socket 'no_plan';

our $HttpConfig = <<'END';
    gateway_channel_zone z:1m;
    gateway_channel_zone other:1m history=3;
    gateway_channel_zone none:1m history=0;
    gateway_channel_zone brief:1m history_ttl=1ms;
    client_body_buffer_size 1k;
    client_max_body_size 200k;
END

our $Config = <<'END';
    location = /pub { gateway_publisher z; }
    location = /other { gateway_publisher other; }
    location = /none { gateway_publisher none; }
    location = /brief { gateway_publisher brief; }
    location ~ ^/to/(?<to>.*)$ {
        gateway_publisher z;
        gateway_channel "$arg_prefix$to";
    }
    location = /fixed { gateway_publisher z; gateway_channel news; }
END

# what GET says of one message, from type to payload
our $time = qr/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/;
our $epoch = qr/[0-9A-Za-z_-]+/;

sub messages {
    my ($complete, $seq, @bodies) = @_;

    my $n = $seq - @bodies;
    my $list = join ',', map {
        $n++;
        "\\{$_,\"timestamp\":\"$time\",\"resource\":\"a\","
            . "\"sequenceNumber\":$n,\"epoch\":\"$epoch\"\\}";
    } @bodies;

    return qr/^\{"channel":"a","sequenceNumber":$seq,"epoch":"$epoch",
        "subscribers":0,"messages":\[$list\],"complete":$complete\}$/x;
}

sub published {
    my ($channel, $seq) = @_;
    return qr/^\{"channel":"\Q$channel\E","sequenceNumber":$seq,
        "epoch":"$epoch","subscribers":0\}$/x;
}

sub chunked {
    my ($head, $body) = @_;
    my $text = "$head HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n";
    $text .= sprintf "%x\r\n%s\r\n", length $1, $1 while $body =~ /(.{1,999})/gs;
    return "${text}0\r\n\r\n";
}

# a body as it is, without the changes that "request" makes
sub with_body {
    my ($head, $body, @headers) = @_;
    return join "\r\n", "$head HTTP/1.1", 'Host: localhost',
        'Connection: close', 'Content-Length: ' . length $body, @headers,
        '', $body;
}

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(http_config => $HttpConfig)
        if !defined $block->http_config;
    $block->set_value(config => $Config) if !defined $block->config;
    $block->set_value(log_level => 'info') if !defined $block->log_level;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: nobody there: 202, and what was published as what
--- request
POST /pub?channel=a
{"x":1}
--- error_code: 202
--- response_headers
Content-Type: application/json
--- response_body_like eval: ::published('a', 1)



=== TEST 2: without a Content-Type the body decides
--- request eval
[ "POST /pub?channel=a\n{\"x\": 1.0}", "POST /pub?channel=a\nhello",
  "POST /pub?channel=a\n\xff\x00", "POST /pub?channel=a",
  "POST /pub?channel=a\n 12345678901234567890.10 ", "GET /pub?channel=a&since=0" ]
--- error_code eval: [202, 202, 202, 202, 202, 200]
--- response_body_like eval
[ ('') x 5, ::messages('true', 5,
    '"type":"message","payload":\{"x":\ 1\.0\}',
    '"type":"message","payload":"hello"',
    '"type":"message","payload":"/wA=","encoding":"base64"',
    '"type":"message","payload":""',
    '"type":"message","payload":12345678901234567890\.10') ]



=== TEST 3: with a Content-Type it is what that says
--- request eval
[ ("POST /pub?channel=a\n{\"x\":1}") x 8, "GET /pub?channel=a&since=0" ]
--- more_headers eval
[ (map {"Content-Type: $_"} 'application/json', 'Application/JSON ; charset=utf-8',
  'application/ld+json', 'text/plain; charset=utf-8', 'Text/Html',
  'application/octet-stream', 'image/png',
  'application/x-www-form-urlencoded'), '' ]
--- error_code eval: [(202) x 8, 200]
--- response_body_like eval
[ ('') x 8, ::messages('true', 8,
    ('"type":"message","payload":\{"x":1\}') x 3,
    ('"type":"message","payload":"\{\\\\"x\\\\":1\}"') x 2,
    ('"type":"message","payload":"eyJ4IjoxfQ==","encoding":"base64"') x 2,
    '"type":"message","payload":\{"x":1\}') ]



=== TEST 4: not what the Content-Type says
--- request eval
[ "POST /pub?channel=a\n{x}", "POST /pub?channel=a\n\xff",
  "POST /pub?channel=a\n\"\xff\"", "POST /pub?channel=a",
  "POST /pub?channel=a\n" . '[' x 65 . ']' x 65, "GET /pub?channel=a" ]
--- more_headers eval
[ 'Content-Type: application/json', 'Content-Type: text/plain',
  (map {'Content-Type: application/json'} 1 .. 3), '' ]
--- error_code eval: [400, 400, 400, 400, 400, 404]
--- error_log
the body is not what its Content-Type says



=== TEST 5: ndjson is for a later version
--- request eval
[ "POST /pub?channel=a\n{\"x\":1}", "GET /pub?channel=a" ]
--- more_headers eval
[ 'Content-Type: application/x-ndjson; charset=utf-8', '' ]
--- error_code eval: [415, 404]
--- error_log
application/x-ndjson is not supported by this version



=== TEST 6: an object with type and payload keeps them, and nothing else
--- request eval
[ 'POST /pub?channel=a
{"payload": [1 , 2],"id":7,"type":"t\u0061"}',
  'POST /pub?channel=a
{"type":1,"payload":2}', 'POST /pub?channel=a
{"type":"t"}', 'POST /pub?channel=a
{"type":"a","payload":1,"type":"b","payload":null}',
  'GET /pub?channel=a&since=0' ]
--- error_code eval: [202, 202, 202, 202, 200]
--- response_body_like eval
[ ('') x 4, ::messages('true', 4,
    '"type":"t\\\\u0061","payload":\[1\ ,\ 2\]',
    '"type":"message","payload":\{"type":1,"payload":2\}',
    '"type":"message","payload":\{"type":"t"\}',
    '"type":"b","payload":null') ]



=== TEST 7: Gateway-Type
--- request eval
[ ("POST /pub?channel=a\n{\"type\":\"x\",\"payload\":1}") x 3,
  "GET /pub?channel=a&since=0" ]
--- more_headers eval
[ 'Gateway-Type: chat', 'gateway-type: a"\\', "Gateway-Type: \xc3\xa9", '' ]
--- error_code eval: [202, 202, 202, 200]
--- response_body_like eval
[ ('') x 3, ::messages('true', 3, '"type":"chat","payload":1',
    '"type":"a\\\\"\\\\\\\\","payload":1', "\"type\":\"\xc3\xa9\",\"payload\":1") ]



=== TEST 8: malformed headers
--- request eval: [ ('POST /pub?channel=a') x 10, 'GET /pub?channel=a' ]
--- more_headers eval
[ "Gateway-Type: \xff", 'Gateway-Type: ' . 'x' x 256, 'Gateway-Type:',
  'Gateway-Priority: urgent', 'Gateway-Priority:',
  'Gateway-Expected-Version: -1', 'Gateway-Expected-Version: 1.0',
  'Gateway-Expected-Version: x', 'Gateway-Expected-Version:',
  'Gateway-Expected-Version: 99999999999999999999', '' ]
--- error_code eval: [ (400) x 10, 404 ]
--- error_log
"Gateway-Type" is not 1 to 255 bytes of UTF-8
"Gateway-Priority" is not high, normal or low
"Gateway-Expected-Version" is not a whole number



=== TEST 9: well-formed headers
--- request eval: [ ('POST /pub?channel=a') x 5 ]
--- more_headers eval
[ 'Gateway-Type: ' . 'x' x 255, 'Gateway-Priority: high',
  'Gateway-Priority: Low', 'Gateway-Priority: normal',
  'gateway-expected-version: 4' ]
--- error_code eval: [ (202) x 5 ]



=== TEST 10: Gateway-Expected-Version: the channel has moved on
--- request eval: [ ("POST /pub?channel=a\nx") x 5, 'GET /pub?channel=a' ]
--- more_headers eval
[ map({"Gateway-Expected-Version: $_"} 1, 0, 0, 1, 9223372036854775807), '' ]
--- error_code eval: [ 412, 202, 412, 202, 412, 200 ]
--- response_body_like eval
[ ('') x 5, '"sequenceNumber":2,.*"messages":2\}$' ]
--- error_log
the channel has another version than expected



=== TEST 11: a body up to max_message, in memory and in a file
--- raw_request eval: ::with_body('POST /pub?channel=a', 'x' x 65536)
--- error_code: 202
--- response_body_like eval: ::published('a', 1)
--- error_log
a client request body is buffered to a temporary file
--- log_level: warn



=== TEST 12: a byte over max_message
--- raw_request eval: ::with_body('POST /pub?channel=a', 'x' x 65537)
--- error_code: 413
--- error_log
the body is over max_message



=== TEST 13: chunked, up to max_message
--- raw_request eval: ::chunked('POST /pub?channel=a', 'x' x 65536)
--- error_code: 202
--- response_body_like eval: ::published('a', 1)



=== TEST 14: chunked, a byte over max_message
--- raw_request eval: ::chunked('POST /pub?channel=a', 'x' x 65537)
--- error_code: 413



=== TEST 15: a small max_message counts for bodies in memory too
--- http_config
    gateway_channel_zone z:1m max_message=10;
--- config
    location = /pub { gateway_publisher z; }
--- request eval
[ "POST /pub?channel=a\n0123456789", "POST /pub?channel=a\n01234567890",
  "GET /pub?channel=a" ]
--- error_code eval: [ 202, 413, 200 ]
--- response_body_like eval
[ '', '', '"messages":1\}$' ]



=== TEST 16: chunked and over a small max_message, in memory
--- http_config
    gateway_channel_zone z:1m max_message=10;
--- config
    location = /pub { gateway_publisher z; }
--- raw_request eval: ::chunked('POST /pub?channel=a', '01234567890')
--- error_code: 413



=== TEST 17: what went into a file is published byte for byte
--- config eval
$::Config =~ s/gateway_publisher z;/gateway_publisher z; client_body_in_file_only clean;/r
--- request eval
[ "POST /pub?channel=a\n[" . CORE::join(',', 1000 .. 1400) . ']',
  'GET /pub?channel=a&since=0' ]
--- error_code eval: [ 202, 200 ]
--- response_body_like eval
[ '', ::messages('true', 1,
    '"type":"message","payload":\[' . CORE::join(',', 1000 .. 1400) . '\]') ]



=== TEST 18: GET of what is not there
--- request eval: [ 'GET /pub?channel=a', 'HEAD /pub?channel=a', 'DELETE /pub?channel=a' ]
--- error_code eval: [ 404, 404, 404 ]



=== TEST 19: GET tells the state
--- request eval
[ 'POST /pub?channel=a', 'POST /pub?channel=a', 'GET /pub?channel=a',
  'HEAD /pub?channel=a' ]
--- error_code eval: [ 202, 202, 200, 200 ]
--- response_headers_like eval
[ ('') x 2, ('Content-Type: application/json') x 2 ]
--- response_body_like eval
[ '', '', qr/^\{"channel":"a","sequenceNumber":2,"epoch":"$::epoch","subscribers":0,"messages":2\}$/, '^$' ]



=== TEST 20: GET ?since=
--- request eval
[ "POST /other?channel=a\n1", "POST /other?channel=a\n2",
  map { "GET /other?channel=a&since=$_" } 0, 1, 2, 3, 9223372036854775807 ]
--- error_code eval: [ 202, 202, (200) x 5 ]
--- response_body_like eval
my ($one, $two) = map {"\"type\":\"message\",\"payload\":$_"} 1, 2;
[ '', '', ::messages('true', 2, $one, $two), ::messages('true', 2, $two),
  ::messages('true', 2), ::messages('false', 2), ::messages('false', 2) ]



=== TEST 21: what has left the history is missing
--- request eval
[ (map {"POST /other?channel=a\n$_"} 1 .. 5),
  (map { "GET /other?channel=a&since=$_" } 0, 1, 2, 3, 5), 'GET /other?channel=a' ]
--- error_code eval: [ (202) x 5, (200) x 6 ]
--- response_body_like eval
my @m = map {"\"type\":\"message\",\"payload\":$_"} 3 .. 5;
[ ('') x 5, ::messages('false', 5, @m), ::messages('false', 5, @m),
  ::messages('true', 5, @m), ::messages('true', 5, @m[1, 2]),
  ::messages('true', 5), '"sequenceNumber":5,.*"messages":3\}$' ]



=== TEST 22: no history at all
--- request eval
[ "POST /none?channel=a", "POST /none?channel=a", 'GET /none?channel=a',
  map { "GET /none?channel=a&since=$_" } 0, 1, 2 ]
--- error_code eval: [ 202, 202, (200) x 4 ]
--- response_body_like eval
[ '', '', '"sequenceNumber":2,.*"messages":0\}$', ::messages('false', 2),
  ::messages('false', 2), ::messages('true', 2) ]



=== TEST 23: a malformed since
--- request eval
[ 'POST /pub?channel=a', map { "GET /pub?channel=a&since=$_" } '', '-1', 'x', '1.0',
  '99999999999999999999' ]
--- error_code eval: [ 202, (400) x 5 ]
--- error_log
the "since" argument is not a whole number



=== TEST 24: DELETE; then a new epoch begins
--- request eval
[ 'POST /pub?channel=a', 'DELETE /pub?channel=a', 'GET /pub?channel=a',
  'DELETE /pub?channel=a', 'POST /pub?channel=a' ]
--- error_code eval: [ 202, 204, 404, 404, 202 ]
--- response_body_like eval
[ '', '^$', '', '', ::published('a', 1) ]



=== TEST 25: other methods
--- request eval: [ 'PUT /pub?channel=a', 'OPTIONS /pub?channel=a', 'PATCH /pub' ]
--- error_code eval: [ 405, 405, 405 ]
--- response_headers_like eval
[ ('Allow: GET, HEAD, POST, DELETE') x 3 ]



=== TEST 26: the channel argument is decoded
--- request eval
[ 'POST /pub?channel=news%3Asport%2Flocal', 'POST /pub?x=1&channel=a+b%20%C3%A9',
  'POST /pub?channel=%22%5C', 'POST /pub?channel=' . '%61' x 255,
  'GET /pub?channel=news:sport/local' ]
--- error_code eval: [ (202) x 4, 200 ]
--- response_body_like eval
[ ::published('news:sport/local', 1), ::published("a+b \xc3\xa9", 1),
  ::published('\"\\\\', 1), ::published('a' x 255, 1), '"messages":1\}$' ]



=== TEST 27: names that are none
--- request eval
[ map { ("POST /pub$_", "GET /pub$_", "DELETE /pub$_") } '', '?x=1', '?channel=',
  '?channel=' . 'a' x 256, '?channel=%ff', '?channel=a%00', '?channel=%0a',
  '?channel=%7f', '?channel=%c2%85' ]
--- error_code eval: [ (400) x 27 ]
--- error_log
no "channel" argument
the "channel" argument is not a channel's name: 1 to 255 bytes of UTF-8



=== TEST 28: gateway_channel goes before the argument
--- request eval
[ 'POST /fixed?channel=a', 'POST /to/b?prefix=x:&channel=a', 'POST /to/?channel=a',
  'GET /pub?channel=a', 'GET /pub?channel=news', 'GET /pub?channel=x:b' ]
--- error_code eval: [ 202, 202, 202, 200, 200, 200 ]
--- response_body_like eval
[ ::published('news', 1), ::published('x:b', 1), ::published('a', 1),
  ('"messages":1\}$') x 3 ]



=== TEST 29: gateway_channel with a value that is no name
--- request eval: [ 'POST /to/' . 'a' x 256, 'GET /to/%ff', 'DELETE /to/%01' ]
--- error_code eval: [ 400, 400, 400 ]
--- error_log
gateway_channel is not a channel's name



=== TEST 30: zones do not know of each other's channels
--- request eval: [ 'POST /pub?channel=a', 'GET /other?channel=a', 'POST /other?channel=a' ]
--- error_code eval: [ 202, 404, 202 ]
--- response_body_like eval: [ '', '', ::published('a', 1) ]



=== TEST 31: several on one connection
--- pipelined_requests eval
[ "POST /pub?channel=a\n1", 'POST /none?channel=a', "POST /pub?channel=a\n3",
  'DELETE /pub?channel=a', "POST /pub?channel=a\n4", 'GET /pub?channel=a&since=0' ]
--- error_code eval: [ 202, 202, 202, 204, 202, 200 ]
--- response_body_like eval
[ ::published('a', 1), ::published('a', 1), ::published('a', 2), '', ::published('a', 1),
  ::messages('true', 1, '"type":"message","payload":4') ]



=== TEST 32: an empty body: none, of a length of 0, chunked
--- request eval
[ ('POST /pub?channel=a') x 3, 'GET /pub?channel=a&since=0' ]
--- more_headers eval
[ '', 'Content-Length: 0', "Content-Length: 0\nContent-Type: image/png", '' ]
--- error_code eval: [ 202, 202, 202, 200 ]
--- response_body_like eval
[ ('') x 3, ::messages('true', 3, ('"type":"message","payload":""') x 2,
    '"type":"message","payload":"","encoding":"base64"') ]



=== TEST 33: chunked and empty
--- raw_request eval: ::chunked('POST /pub?channel=a', '')
--- error_code: 202
--- response_body_like eval: ::published('a', 1)



=== TEST 34: the channel of a request is in its variables
--- config
    location = /pub {
        gateway_publisher z;
        add_header X-Channel $gateway_channel always;
        add_header X-Subscribers $gateway_subscribers always;
    }
--- request
POST /pub?channel=a%3Ab
1
--- error_code: 202
--- response_headers
X-Channel: a:b
X-Subscribers: 0
