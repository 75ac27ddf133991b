#!/usr/bin/perl

# gateway_upstream_actions: fields of an upstream's response that publish its
# body, and purge by key and by tag.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;
use Test::More;

use lib dirname(abs_path(__FILE__)) . '/lib';

use GatewayNginx;

my $nginx = GatewayNginx->new(
    http => <<'END',
gateway_channel_zone z:1m max_message=1k;
gateway_cache_zone pages:1m;
gateway_cache_zone other:1m;
proxy_set_header Host $http_host;
gateway_upstream_actions z;
END
    config => <<'END',
location /page/ {
    gateway_cache     pages;
    gateway_cache_key $uri;
    proxy_pass        http://127.0.0.1:%PORT%/up/page/;
}
location /other/ {
    gateway_cache     other;
    gateway_cache_key $uri;
    proxy_pass        http://127.0.0.1:%PORT%/up/page/;
}
location /act/ {
    proxy_pass http://127.0.0.1:%PORT%/up/act/;
}
location /here/ {
    gateway_cache pages;
    proxy_pass    http://127.0.0.1:%PORT%/up/act/;
}
location /hidden/ {
    proxy_hide_header Gateway-Publish;
    proxy_pass        http://127.0.0.1:%PORT%/up/act/;
}
location /off/ {
    gateway_upstream_actions off;
    proxy_pass http://127.0.0.1:%PORT%/up/act/;
}
location /stored/ {
    gateway_cache       pages;
    gateway_cache_valid 1m;
    proxy_pass          http://127.0.0.1:%PORT%/up/act/;
}

location /up/page/ {
    gateway_upstream_actions off;
    add_header Cache-Control max-age=60;
    add_header Cache-Tag     $arg_tag;
    return 200 $request_id;
}
location /up/act/ {
    gateway_upstream_actions off;
    default_type application/json;
    location /up/act/fails {
        add_header Gateway-Publish    a always;
        add_header Gateway-Invalidate /page/1 always;
        return 500 no;
    }
    location /up/act/publish {
        add_header Gateway-Publish "a, b";
        add_header Gateway-Publish c;
        return 200 '{"n":$arg_n}';
    }
    location /up/act/text {
        default_type text/plain;
        add_header Gateway-Publish a;
        return 201 12;
    }
    location /up/act/bad {
        add_header Gateway-Publish "$arg_channel";
        return 200 1;
    }
    location /up/act/large {
        add_header Gateway-Publish a;
        alias %PREFIX%/html/;
    }
    location /up/act/keys {
        add_header Gateway-Invalidate "/page/1, /page/2";
        return 204;
    }
    location /up/act/all {
        add_header Gateway-Invalidate /page/1;
        add_header Gateway-Invalidate /other/1;
        return 204;
    }
    location /up/act/tags {
        add_header Gateway-Invalidate-Tags "red, blue";
        return 204;
    }
}

location = /ws {
    gateway_subscriber      z;
    gateway_subscribe_allow **;
}
location = /status {
    gateway_status;
}
END
    files => { 'html/1024' => 'x' x 1024, 'html/1025' => 'x' x 1025 },
);

my $json = JSON::PP->new->canonical;


sub get {
    my ($path) = @_;
    return $nginx->http('GET', $path);
}

sub body { return get(@_)->{body} }

# Whether two requests get the same response.
sub is_kept {
    my ($path, $before, $what) = @_;
    is(body($path), $before, $what);
}

sub is_gone {
    my ($path, $before, $what) = @_;
    isnt(body($path), $before, $what);
}


my $ws = $nginx->client(
    path => '/ws?channel=a&channel=b&channel=c&channel=cache:invalidate',
    subprotocols => ['v1']);
$ws->recv_type('subscribed');

# what a channel's next message is, of those that are not about another one
sub next_payload {
    my $message = $ws->recv_type($_[0] // 'message');
    return $message && "$message->{resource} " . $json->encode([$message->{payload}]);
}


# publishing

my $answer = get('/act/publish?n=1');
is($answer->{status}, 200, 'the response is the upstream\'s');
is($answer->{body}, '{"n":1}', 'and its body');
ok(!exists $answer->{headers}{'gateway-publish'}, 'without the field');
is(join(', ', sort map { next_payload() } 1 .. 3),
    'a [{"n":1}], b [{"n":1}], c [{"n":1}]', 'all channels of all fields');

get('/act/text');
is(next_payload(), 'a ["12"]', 'text stays text, also of a 201');

get('/hidden/publish?n=2');
is(join(', ', sort map { next_payload() } 1 .. 3),
    'a [{"n":2}], b [{"n":2}], c [{"n":2}]', 'a hidden field acts too');

$answer = get('/act/fails');
is($answer->{status}, 500, 'a failure');
ok(!exists $answer->{headers}{'gateway-publish'}, 'its fields are removed');

$answer = get('/off/publish?n=3');
is($answer->{headers}{'gateway-publish'}, 'a, b, c', 'off: they pass')
    or diag explain $answer->{headers};

$nginx->http('HEAD', '/act/publish?n=4');

is(length body('/act/large/1025'), 1025, 'a body that is too large passes');
ok($nginx->wait_for_log('is over "max_message" of zone "z"'), 'and is logged');
is(length body('/act/large/1024'), 1024, 'one that is not');
is(length(next_payload()), 1024 + length('a [""]'),
    'is published, and nothing since that was not to be');

is(body('/act/bad?channel=' . 'x' x 2000), '1', 'not a channel: the response passes');
ok($nginx->wait_for_log("what is not a channel's name"), 'and it is logged');

get('/stored/publish?n=5');
is(scalar(map { next_payload() } 1 .. 3), 3, 'a miss is acted on');
$answer = get('/stored/publish?n=5');
like($answer->{headers}{'cache-status'}, qr/hit/, 'a hit');
ok(!exists $answer->{headers}{'gateway-publish'}, 'has nothing to act on');


# purging

my %page = map { $_ => body($_) }
    qw(/page/1 /page/2 /page/3 /other/1 /page/r?tag=red /page/g?tag=green);
is_kept($_, $page{$_}, "$_ is stored") for sort keys %page;

get('/act/fails');
is_kept('/page/1', $page{'/page/1'}, 'a failure purges nothing');

get('/here/keys');
is_gone('/page/1', $page{'/page/1'}, 'a key');
is_gone('/page/2', $page{'/page/2'}, 'the other key');
is_kept('/page/3', $page{'/page/3'}, 'and no other');
is(next_payload('cache:invalidate'),
    'cache:invalidate [{"keys":["/page/1","/page/2"]}]',
    'subscribers are told');

my $one = body('/page/1');
get('/act/all');
is_gone('/page/1', $one, 'without a cache of its own: in all zones');
is_gone('/other/1', $page{'/other/1'}, 'so here');
is(next_payload('cache:invalidate'),
    'cache:invalidate [{"keys":["/page/1","/other/1"]}]', 'told once');

get('/act/tags');
is_gone('/page/r?tag=red', $page{'/page/r?tag=red'}, 'a tag');
is_kept('/page/g?tag=green', $page{'/page/g?tag=green'}, 'and no other');
is(next_payload('cache:invalidate'),
    'cache:invalidate [{"tags":["red","blue"]}]', 'told as tags, and next');

$ws->close;
$nginx->stop;


# configurations that nginx refuses

for (['a:1m', 'invalid value "a:1m" in "gateway_upstream_actions"'],
     ['a b', 'invalid value "a" in "gateway_upstream_actions"'],
     ['nowhere', 'channel zone "nowhere" is not defined'])
{
    my ($value, $message) = @$_;
    my $bad = GatewayNginx->new(start => 0,
        http => "gateway_upstream_actions $value;");
    local $ENV{LD_PRELOAD} = $ENV{GATEWAY_PRELOAD} || '';
    my $command = ($ENV{TEST_NGINX_BINARY} || 'nginx')
        . " -t -p '" . $bad->prefix . "' -c conf/nginx.conf -e logs/t.log";
    like(scalar(`$command 2>&1`), qr/\Q$message\E/, "refused: $value");
}

done_testing();
