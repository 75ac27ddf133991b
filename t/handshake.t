# The WebSocket handshake (RFC 6455 section 4.2, contract 2.1): what is let in
# and what is answered otherwise; the directives of gateway_subscriber and
# their mistakes.
#
# A client that only wants to see the 101 sends its Close right behind the
# handshake, so that the connection ends by itself.

use Test::Nginx::Socket 'no_plan';
use GatewayJWT;

our $secret = 'a secret of at least thirty-two bytes';
our $token  = hs256($secret, { sub => 'alice', chan => ['news:*'] });
our $closed = "\x88\x80\0\0\0\0";

our %own = (
    Host                    => 'localhost',
    Connection              => 'Upgrade',
    Upgrade                 => 'websocket',
    'Sec-WebSocket-Version' => '13',
    'Sec-WebSocket-Key'     => 'dGhlIHNhbXBsZSBub25jZQ==',
);

# A handshake: options line, body, version, uri; headers replace those above,
# undef takes one away, an array repeats it.
sub main::hs {
    my (%given) = @_;

    my $method  = delete $given{method}  // 'GET';
    my $uri     = delete $given{uri}     // '/ws';
    my $version = delete $given{version} // '1.1';
    my $body    = delete $given{body}    // $closed;
    my %headers = (%own, %given);

    # what is refused is to end by itself too
    $headers{Connection} .= ', close'
        if $body eq '' && !exists $given{Connection};

    my $text    = "$method $uri HTTP/$version\r\n";

    for my $name (sort keys %headers) {
        my $value = $headers{$name} // next;
        $text .= "$name: $_\r\n" for ref $value ? @$value : $value;
    }

    return "$text\r\n$body";
}

sub main::offer  { return main::hs('Sec-WebSocket-Protocol' => [@_]) }
sub main::origin { return main::hs(Origin => @_) }

our $HttpConfig = <<'END';
    gateway_channel_zone z:1m;
    gateway_jwt_keys main secret_file=../html/secret;
END

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(http_config =>
        $HttpConfig . ($block->http_config // ''));
    $block->set_value(user_files => ">>> secret\n$secret\n>>> x\nhello\n");
    $block->set_value(log_level => 'info');
    $block->set_value(config => 'location /ws { gateway_subscriber z; }')
        if !defined $block->config;
    $block->set_value(raw_request => main::hs())
        if !defined $block->raw_request && !defined $block->must_die;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: the RFC's own example
--- error_code: 101
--- response_headers
Upgrade: websocket
Connection: upgrade
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
! Sec-WebSocket-Protocol
! Sec-WebSocket-Version
--- raw_response_headers_unlike: Content-Length|Transfer-Encoding


=== TEST 2: the 101 passes the header filters
--- config
    location /ws {
        gateway_subscriber z;
        add_header X-Always yes always;
    }
--- error_code: 101
--- response_headers
X-Always: yes


=== TEST 3: a plain GET is told what to do
--- raw_request eval
main::hs(Upgrade => undef, Connection => 'close', body => '')
--- error_code: 426
--- response_headers
Sec-WebSocket-Version: 13
Upgrade: websocket


=== TEST 4: another protocol to upgrade to
--- raw_request eval
main::hs(Upgrade => 'h2c', body => '')
--- error_code: 426
--- response_headers
Upgrade: websocket


=== TEST 5: one of several protocols, in any case
--- raw_request eval
main::hs(Upgrade => 'HTTP/2.0, WebSocket')
--- error_code: 101


=== TEST 6: Connection with several tokens
--- raw_request eval
main::hs(Connection => 'keep-alive ,  uPgrade')
--- error_code: 101


=== TEST 7: Connection in two lines
--- raw_request eval
main::hs(Connection => ['keep-alive', 'Upgrade'])
--- error_code: 101


=== TEST 8: Connection without upgrade
--- raw_request eval
main::hs(Connection => 'close', body => '')
--- error_code: 400
--- error_log
"Connection" does not say "upgrade"


=== TEST 9: Connection with something like upgrade
--- raw_request eval
main::hs(Connection => 'close, upgrades', body => '')
--- error_code: 400


=== TEST 10: an older version
--- raw_request eval
main::hs('Sec-WebSocket-Version' => '8', body => '')
--- error_code: 426
--- response_headers
Sec-WebSocket-Version: 13


=== TEST 11: no version
--- raw_request eval
main::hs('Sec-WebSocket-Version' => undef, body => '')
--- error_code: 426
--- response_headers
Sec-WebSocket-Version: 13


=== TEST 12: a version that only begins well
--- raw_request eval
main::hs('Sec-WebSocket-Version' => '131', body => '')
--- error_code: 426


=== TEST 13: the version twice
--- raw_request eval
main::hs('Sec-WebSocket-Version' => ['13', '13'], body => '')
--- error_code: 426


=== TEST 14: no key
--- raw_request eval
main::hs('Sec-WebSocket-Key' => undef, body => '')
--- error_code: 400
--- error_log
no valid "Sec-WebSocket-Key"


=== TEST 15: a key of 15 bytes
--- raw_request eval
main::hs('Sec-WebSocket-Key' => 'AAAAAAAAAAAAAAAAAAAA', body => '')
--- error_code: 400


=== TEST 16: a key that is not base64
--- raw_request eval
main::hs('Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25j!Q==', body => '')
--- error_code: 400


=== TEST 17: two keys
--- raw_request eval
main::hs('Sec-WebSocket-Key' => [('dGhlIHNhbXBsZSBub25jZQ==') x 2], body => '')
--- error_code: 400


=== TEST 18: HTTP/1.0
--- raw_request eval
main::hs(version => '1.0', body => '')
--- error_code: 400
--- error_log
WebSocket handshake: not HTTP/1.1


=== TEST 19: a body
--- raw_request eval
main::hs('Content-Length' => 2, Connection => 'Upgrade, close', body => 'hi')
--- error_code: 400
--- error_log
WebSocket handshake: a request body


=== TEST 20: a chunked body
--- raw_request eval
main::hs('Transfer-Encoding' => 'chunked', Connection => 'Upgrade, close', body => "0\r\n\r\n")
--- error_code: 400


=== TEST 21: Content-Length: 0 is no body
--- raw_request eval
main::hs('Content-Length' => 0)
--- error_code: 101


=== TEST 22: HEAD
--- raw_request eval
main::hs(method => 'HEAD', body => '')
--- error_code: 405
--- response_headers
Allow: GET


=== TEST 23: POST
--- raw_request eval
main::hs(method => 'POST', 'Content-Length' => 0, body => '')
--- error_code: 405
--- response_headers
Allow: GET


=== TEST 24: v1 is offered
--- raw_request eval
main::offer('v1')
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: v1


=== TEST 25: v1 before raw
--- raw_request eval
main::offer('chat, v1, raw')
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: v1


=== TEST 26: raw before v1
--- raw_request eval
main::offer('raw, v1')
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: raw


=== TEST 27: raw before v1, in two lines
--- raw_request eval
main::offer('chat,raw', 'v1')
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: raw


=== TEST 28: neither: nothing is answered
--- raw_request eval
main::offer('chat, V1')
--- error_code: 101
--- response_headers
! Sec-WebSocket-Protocol


=== TEST 29: a malformed list
--- raw_request eval
main::hs('Sec-WebSocket-Protocol' => 'v1, "a b"', body => '')
--- error_code: 400
--- error_log
malformed "Sec-WebSocket-Protocol"


=== TEST 30: a token behind jwt, which is answered
--- config
    location /ws { gateway_jwt main; gateway_subscriber z; }
--- raw_request eval
main::offer("jwt, $::token")
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: jwt


=== TEST 31: a token behind bearer
--- config
    location /ws { gateway_jwt main; gateway_subscriber z; }
--- raw_request eval
main::offer("bearer, chat, $::token")
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: bearer


=== TEST 32: v1 is answered rather than jwt
--- config
    location /ws { gateway_jwt main; gateway_subscriber z; }
--- raw_request eval
main::offer("jwt, $::token, v1")
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: v1


=== TEST 33: jwt.TOKEN: the token is never answered
--- config
    location /ws { gateway_jwt main; gateway_subscriber z; }
--- raw_request eval
main::offer("jwt.$::token")
--- error_code: 101
--- response_headers
! Sec-WebSocket-Protocol


=== TEST 34: the Kubernetes form
--- config
    location /ws { gateway_jwt main; gateway_subscriber z; }
--- raw_request eval
main::offer('base64url.bearer.authorization.k8s.io.' . GatewayJWT::base64url($::token) . ', raw')
--- error_code: 101
--- response_headers
Sec-WebSocket-Protocol: raw


=== TEST 35: a bad token is refused before the upgrade
--- config
    location /ws { gateway_jwt main; gateway_subscriber z; }
--- raw_request eval
main::hs('Sec-WebSocket-Protocol' => 'jwt, a.b.c', body => '')
--- error_code: 401
--- response_headers_like
WWW-Authenticate: Bearer error="invalid_token".*


=== TEST 36: no Origin: let in
--- config
    location /ws { gateway_origin_allow https://app.example; gateway_subscriber z; }
--- error_code: 101


=== TEST 37: by default the request's own host
--- raw_request eval
main::hs(Host => 'Example.com', Origin => 'http://example.COM')
--- error_code: 101


=== TEST 38: ... with its port
--- raw_request eval
main::hs(Host => 'example.com:8080', Origin => 'http://example.com:8080')
--- error_code: 101


=== TEST 39: ... where the default port is written out on one side
--- raw_request eval
main::hs(Host => 'example.com:443', Origin => 'https://example.com')
--- error_code: 101


=== TEST 40: ... not another port
--- raw_request eval
main::hs(Host => 'example.com:8080', Origin => 'http://example.com', body => '')
--- error_code: 403
--- error_log
origin "http://example.com" is not in gateway_origin_allow


=== TEST 41: ... not another host
--- raw_request eval
main::hs(Host => 'example.com', Origin => 'http://example.com.evil', body => '')
--- error_code: 403


=== TEST 42: ... an IPv6 address
--- raw_request eval
main::hs(Host => '[::1]:8080', Origin => 'http://[::1]:8080')
--- error_code: 101


=== TEST 43: ... another IPv6 address
--- raw_request eval
main::hs(Host => '[::1]:8080', Origin => 'http://[::2]:8080', body => '')
--- error_code: 403


=== TEST 44: the origin of a file or a sandbox
--- raw_request eval
main::hs(Origin => 'null', body => '')
--- error_code: 403


=== TEST 45: a listed origin, in any case, by its default port
--- config
    gateway_origin_allow https://a.example https://App.example:443;
    location /ws { gateway_subscriber z; }
--- raw_request eval
main::origin('https://app.EXAMPLE')
--- error_code: 101


=== TEST 46: with a list the own host counts for nothing
--- config
    location /ws { gateway_origin_allow https://a.example; gateway_subscriber z; }
--- raw_request eval
main::hs(Origin => 'http://localhost', body => '')
--- error_code: 403


=== TEST 47: a location's list takes the place of the server's
--- config
    gateway_origin_allow https://a.example;
    location /ws { gateway_origin_allow https://b.example; gateway_subscriber z; }
--- raw_request eval
main::hs(Origin => 'https://a.example', body => '')
--- error_code: 403


=== TEST 48: ... also that of "any"
--- config
    gateway_origin_allow any;
    location /ws { gateway_origin_allow https://b.example; gateway_subscriber z; }
--- raw_request eval
main::hs(Origin => 'https://a.example', body => '')
--- error_code: 403


=== TEST 49: any
--- http_config
    gateway_origin_allow any;
--- raw_request eval
main::origin('null')
--- error_code: 101


=== TEST 50: two lines of one level are one list
--- config
    location /ws {
        gateway_origin_allow https://a.example;
        gateway_origin_allow http://b.example:81;
        gateway_subscriber z;
    }
--- raw_request eval
main::origin('http://b.example:81')
--- error_code: 101


=== TEST 51: origins that are none
--- raw_request eval
main::hs(Origin => 'http://x@localhost', body => '')
--- error_code: 403


=== TEST 52: several channels are named
--- config
    location /ws { gateway_subscribe_allow news:*; gateway_subscriber z; }
--- raw_request eval
main::hs(uri => '/ws?channel=news:a&x=1&channel=news%3Ab', 'Sec-WebSocket-Protocol' => 'v1')
--- error_code: 101


=== TEST 53: one of them is not allowed
--- config
    location /ws { gateway_subscribe_allow news:*; gateway_subscriber z; }
--- raw_request eval
main::hs(uri => '/ws?channel=news:a&channel=other', body => '')
--- error_code: 403
--- error_log
channel "other" is not allowed


=== TEST 54: nothing is allowed by default
--- raw_request eval
main::hs(uri => '/ws?channel=a', body => '')
--- error_code: 403


=== TEST 55: not a channel's name
--- config
    location /ws { gateway_subscribe_allow **; gateway_subscriber z; }
--- raw_request eval
main::hs(uri => '/ws?channel=', body => '')
--- error_code: 400
--- error_log
the "channel" argument is not a channel's name


=== TEST 56: a control character in a channel's name
--- config
    location /ws { gateway_subscribe_allow **; gateway_subscriber z; }
--- raw_request eval
main::hs(uri => '/ws?channel=a%00b', body => '')
--- error_code: 400


=== TEST 57: gateway_channel needs no allow
--- config
    location ~ ^/ws/(?<room>.*) { gateway_channel room:$room; gateway_subscriber z; }
--- raw_request eval
main::hs(uri => '/ws/7', 'Sec-WebSocket-Protocol' => 'v1')
--- error_code: 101


=== TEST 58: a claim allows a channel
--- config
    location /ws {
        gateway_jwt main;
        gateway_channel_claim chan;
        gateway_subscriber z;
    }
--- raw_request eval
main::hs(uri => '/ws?channel=news:x', 'Sec-WebSocket-Protocol' => "v1, jwt.$::token")
--- error_code: 101


=== TEST 59: the access log's line, and no second one at the end
--- http_config
    log_format ws 'line $status $gateway_channel $gateway_subscribers id=$gateway_connection_id;';
--- config
    access_log logs/error.log ws;
    location /ws { gateway_channel lobby; gateway_subscriber z; }
--- error_code: 101
--- error_log eval
qr/line 101 lobby 1 id=[0-9a-f]{32};/
--- grep_error_log: line 101
--- grep_error_log_out
line 101


=== TEST 60: the variables where there is no WebSocket
--- config
    location /x { return 200 "[$gateway_channel$gateway_connection_id$gateway_subscribers]\n"; }
--- raw_request eval
"GET /x HTTP/1.0\r\n\r\n"
--- response_body
[]


=== TEST 61: an "if" block in the location changes nothing
--- config
    location /ws {
        if ($http_upgrade) { set $x 1; }
        gateway_jwt main;
        gateway_jwt_token message;
        gateway_subscriber z;
    }
--- error_code: 101


=== TEST 62: the connection's last line
--- raw_request eval
main::hs(body => "\x81\x82\0\0\0\0hi\x88\x82\0\0\0\0\x03\xe9")
--- error_code: 101
--- error_log eval
qr/\[info\] .*WebSocket [0-9a-f]{32} of user "" closed with 1001 after \d+ s: in 1 messages 16 bytes, out 0 messages 4 bytes/


=== TEST 63: no zone
--- config
    location /ws { gateway_subscriber nowhere; }
--- must_die
--- error_log
nowhere


=== TEST 64: twice
--- config
    location /ws { gateway_subscriber z; gateway_subscriber z; }
--- must_die
--- error_log
"gateway_subscriber" directive is duplicate


=== TEST 65: a transport that is not there
--- config
    location /ws { gateway_subscriber z websocket polling; }
--- must_die
--- error_log
invalid parameter "polling", "websocket" is accepted


=== TEST 66: event streams
--- config
    location /ws { gateway_subscriber z sse; }
--- must_die
--- error_log
"sse": event streams are not supported by this version, leave it out


=== TEST 67: an origin with a path
--- config
    location /ws { gateway_origin_allow https://a.example/; gateway_subscriber z; }
--- must_die
--- error_log
invalid origin "https://a.example/", "any" or "http[s]://host[:port]" without a path is accepted, such as "https://app.example.com"


=== TEST 68: an origin without a scheme
--- config
    location /ws { gateway_origin_allow a.example; gateway_subscriber z; }
--- must_die
--- error_log
invalid origin "a.example", "any" or


=== TEST 69: an origin with an asterisk
--- config
    location /ws { gateway_origin_allow https://*.example; gateway_subscriber z; }
--- must_die
--- error_log
invalid origin "https://*.example", "any" or


=== TEST 70: an origin with half a bracket
--- config
    location /ws { gateway_origin_allow http://[::1; gateway_subscriber z; }
--- must_die
--- error_log
invalid origin "http://[::1", "any" or


=== TEST 71: an origin with an impossible port
--- config
    location /ws { gateway_origin_allow http://a:65536; gateway_subscriber z; }
--- must_die
--- error_log
invalid origin "http://a:65536", "any" or


=== TEST 72: gateway_max_message: not a size
--- config
    gateway_max_message big;
--- must_die
--- error_log
invalid size "big", 1 or more bytes are accepted, such as 64k


=== TEST 73: gateway_max_message: nothing
--- config
    gateway_max_message 0;
--- must_die
--- error_log
invalid size "0", 1 or more bytes are accepted, such as 64k


=== TEST 74: gateway_ping: not a time
--- config
    gateway_ping often;
--- must_die
--- error_log
invalid interval "often", "off" or a time such as 30s is accepted


=== TEST 75: gateway_ping: never is off
--- config
    gateway_ping 0;
--- must_die
--- error_log
invalid interval "0", "off" or a time such as 30s is accepted


=== TEST 76: gateway_ping: another parameter
--- config
    gateway_ping 30s 60s;
--- must_die
--- error_log
invalid parameter "60s", "timeout=time" such as "timeout=60s" is accepted


=== TEST 77: gateway_ping: off with a timeout
--- config
    gateway_ping off timeout=60s;
--- must_die
--- error_log
"timeout=60s" has no meaning after "off"


=== TEST 78: gateway_ping: not a time-out
--- config
    gateway_ping 60s timeout=soon;
--- must_die
--- error_log
invalid parameter "timeout=soon", "timeout=time" such as "timeout=60s" is accepted


=== TEST 79: gateway_send_buffer: too small
--- config
    gateway_send_buffer 1023;
--- must_die
--- error_log
invalid size "1023", 1k or more is accepted, such as 256k


=== TEST 80: gateway_send_buffer: drop
--- config
    gateway_send_buffer 64k overflow=drop;
--- must_die
--- error_log
"overflow=drop" is not supported by this version, write "overflow=close" or leave it out


=== TEST 81: gateway_send_buffer: another parameter
--- config
    gateway_send_buffer 64k overflow=block;
--- must_die
--- error_log
invalid parameter "overflow=block", "overflow=close" is accepted


=== TEST 82: a directive twice
--- config
    gateway_ping 10s;
    gateway_ping off;
--- must_die
--- error_log
"gateway_ping" directive is duplicate
