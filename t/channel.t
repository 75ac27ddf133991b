# gateway_channel_zone, gateway_channel, gateway_subscribe_allow,
# gateway_publish_allow, gateway_channel_claim, gateway_publisher: what nginx
# says of a configuration that is wrong, and what it takes.

use Test::Nginx::Socket 'no_plan';

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(http_config => 'gateway_channel_zone z:1m;')
        if !defined $block->http_config;
    $block->set_value(config => 'location /x { gateway_publisher z; }')
        if !defined $block->config;
    $block->set_value(request => 'POST /x?channel=a')
        if !defined $block->request && !defined $block->must_die;
    $block->set_value(error_code => 202)
        if !defined $block->error_code && !defined $block->must_die;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: no size
--- http_config
    gateway_channel_zone z;
--- must_die
--- error_log
invalid zone "z", "name:size" such as "news:10m" is accepted



=== TEST 2: no name
--- http_config
    gateway_channel_zone :1m;
--- must_die
--- error_log
invalid zone ":1m", "name:size" such as "news:10m" is accepted



=== TEST 3: no zone at all
--- http_config
    gateway_channel_zone;
--- must_die
--- error_log
invalid number of arguments in "gateway_channel_zone" directive



=== TEST 4: a size that is none
--- http_config
    gateway_channel_zone z:big;
--- must_die
--- error_log
invalid size "big" of zone "z", 64k or more is accepted, such as 10m



=== TEST 5: no size behind the colon
--- http_config
    gateway_channel_zone z:;
--- must_die
--- error_log
invalid size "" of zone "z", 64k or more is accepted



=== TEST 6: a negative size
--- http_config
    gateway_channel_zone z:-1m;
--- must_die
--- error_log
invalid size "-1m" of zone "z", 64k or more is accepted



=== TEST 7: too small
--- http_config
    gateway_channel_zone z:63k max_message=1k;
--- must_die
--- error_log
invalid size "63k" of zone "z", 64k or more is accepted



=== TEST 8: too small for its messages
--- http_config
    gateway_channel_zone z:128k;
--- must_die
--- error_log
zone "z" of 128k cannot hold messages of 65536 bytes, make it at least four times "max_message"



=== TEST 9: defined twice
--- http_config
    gateway_channel_zone z:1m;
    gateway_channel_zone z:1m;
--- must_die
--- error_log
zone "z" is duplicate, define it once



=== TEST 10: history that is no number
--- http_config
    gateway_channel_zone z:1m history=many;
--- must_die
--- error_log
invalid parameter "history=many", a number of messages from 0 to 1000000 is accepted



=== TEST 11: history of nothing
--- http_config
    gateway_channel_zone z:1m history=;
--- must_die
--- error_log
invalid parameter "history=", a number of messages from 0 to 1000000 is accepted



=== TEST 12: too much history
--- http_config
    gateway_channel_zone z:1m history=1000001;
--- must_die
--- error_log
invalid parameter "history=1000001", a number of messages from 0 to 1000000 is accepted



=== TEST 13: history_ttl that is no time
--- http_config
    gateway_channel_zone z:1m history_ttl=soon;
--- must_die
--- error_log
invalid parameter "history_ttl=soon", a time such as 10m, 30s or 500ms is accepted



=== TEST 14: history_ttl of 0
--- http_config
    gateway_channel_zone z:1m history_ttl=0;
--- must_die
--- error_log
invalid parameter "history_ttl=0", a time such as 10m, 30s or 500ms is accepted



=== TEST 15: max_message that is no size
--- http_config
    gateway_channel_zone z:1m max_message=x;
--- must_die
--- error_log
invalid parameter "max_message=x", a size from 1 to 1g such as 64k is accepted



=== TEST 16: max_message of 0
--- http_config
    gateway_channel_zone z:1m max_message=0;
--- must_die
--- error_log
invalid parameter "max_message=0", a size from 1 to 1g such as 64k is accepted



=== TEST 17: max_message over 1g
--- http_config
    gateway_channel_zone z:1m max_message=1025m;
--- must_die
--- error_log
invalid parameter "max_message=1025m", a size from 1 to 1g such as 64k is accepted



=== TEST 18: an unknown parameter
--- http_config
    gateway_channel_zone z:1m ttl=1m;
--- must_die
--- error_log
invalid parameter "ttl=1m", "redis=name", "history=number", "history_ttl=time" or "max_message=size" is accepted



=== TEST 19: Redis
--- http_config
    gateway_channel_zone z:1m redis=;
--- must_die
--- error_log
invalid parameter "redis=", the name of one "gateway_redis" is accepted



=== TEST 20: a zone in a server
--- config
    gateway_channel_zone y:1m;
--- must_die
--- error_log
"gateway_channel_zone" directive is not allowed here



=== TEST 21: a publisher of an unknown zone
--- config
    location /x { gateway_publisher news; }
--- must_die
--- error_log
channel zone "news" is not defined, write "gateway_channel_zone news:10m;" in the http block



=== TEST 22: a subscriber of an unknown zone
--- config
    location /x { gateway_subscriber news; }
--- must_die
--- error_log
channel zone "news" is not defined, write "gateway_channel_zone news:10m;" in the http block



=== TEST 23: a publisher without a zone
--- config
    location /x { gateway_publisher; }
--- must_die
--- error_log
invalid number of arguments in "gateway_publisher" directive



=== TEST 24: two publishers in a location
--- config
    location /x { gateway_publisher z; gateway_publisher z; }
--- must_die
--- error_log
"gateway_publisher" directive is duplicate



=== TEST 25: a publisher outside a location
--- config
    gateway_publisher z;
--- must_die
--- error_log
"gateway_publisher" directive is not allowed here



=== TEST 26: two channels
--- config
    location /x { gateway_channel a; gateway_channel b; }
--- must_die
--- error_log
"gateway_channel" directive is duplicate



=== TEST 27: an empty channel
--- config
    location /x { gateway_channel ""; }
--- must_die
--- error_log
invalid channel "", 1 to 255 bytes of UTF-8 without control characters are accepted, or variables



=== TEST 28: a channel with a tab
--- config
    location /x { gateway_channel "a\tb"; }
--- must_die
--- error_log
1 to 255 bytes of UTF-8 without control characters are accepted, or variables



=== TEST 29: a long channel
--- config
    location /x { gateway_channel aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; }
--- must_die
--- error_log
1 to 255 bytes of UTF-8 without control characters are accepted, or variables



=== TEST 30: a channel with an unknown variable
--- config
    location /x { gateway_channel $nothing; }
--- must_die
--- error_log
unknown "nothing" variable



=== TEST 31: nothing allowed
--- config
    gateway_subscribe_allow;
--- must_die
--- error_log
invalid number of arguments in "gateway_subscribe_allow" directive



=== TEST 32: an empty pattern
--- config
    gateway_subscribe_allow a "";
--- must_die
--- error_log
invalid pattern "", 1 to 1024 characters are accepted, such as "news:*"



=== TEST 33: a long pattern
--- config
    gateway_publish_allow aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;
--- must_die
--- error_log
1 to 1024 characters are accepted, such as "news:*"



=== TEST 34: a pattern with a group
--- config
    gateway_publish_allow a:$1;
--- must_die
--- error_log
invalid variable in pattern "a:$1", $name or ${name} is accepted (for a group of a regular expression a named one)



=== TEST 35: a pattern with a lone dollar
--- config
    gateway_publish_allow a$;
--- must_die
--- error_log
invalid variable in pattern "a$", $name or ${name} is accepted



=== TEST 36: a pattern with an open brace
--- config
    gateway_publish_allow "a${uri";
--- must_die
--- error_log
invalid variable in pattern "a${uri", $name or ${name} is accepted



=== TEST 37: a pattern with an unknown variable
--- config
    gateway_publish_allow a:$nothing;
--- must_die
--- error_log
unknown "nothing" variable



=== TEST 38: an empty claim
--- config
    gateway_channel_claim "";
--- must_die
--- error_log
invalid claim "", the name of a claim such as "channels" is accepted



=== TEST 39: two claims
--- config
    gateway_channel_claim a; gateway_channel_claim b;
--- must_die
--- error_log
"gateway_channel_claim" directive is duplicate



=== TEST 40: the smallest zone
--- http_config
    gateway_channel_zone z:64k max_message=16k;



=== TEST 41: all parameters
--- http_config
    gateway_channel_zone z:1m history=0 history_ttl=500ms max_message=1;



=== TEST 42: a zone that is defined behind its use
--- http_config
    server { location / { gateway_publisher z; } }
    gateway_channel_zone z:1m;



=== TEST 43: two zones, and one of another kind with that name
--- http_config
    gateway_channel_zone z:1m;
    gateway_channel_zone y:1m;
    limit_req_zone $uri zone=z:1m rate=1r/s;
--- config
    location /x { gateway_publisher y; limit_req zone=z; }



=== TEST 44: longest channel and pattern
--- config
    gateway_publish_allow aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;
    location /x { gateway_publisher z; gateway_channel aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; }



=== TEST 45: patterns of several directives and with variables
--- config
    gateway_subscribe_allow a b:* ${uri}x;
    gateway_subscribe_allow c $uri**;
    gateway_channel_claim channels;
    location /x { gateway_publisher z; gateway_channel $arg_channel; }
