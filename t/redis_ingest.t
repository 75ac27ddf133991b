#!/usr/bin/perl

# What is published by XADD: to all subscribers of all nodes, once each; what
# is no message; a node that dies with entries; Redis away.

use strict;
use warnings;

use JSON::PP;
use Test::More;

use GatewayNodes;
use GatewayProcess;
use GatewayRedis;

my $json  = JSON::PP->new->utf8->canonical;
my $redis = GatewayRedis->new(appendonly => 1);

my $nodes = GatewayNodes->new(
    url     => $redis->url,
    options => 'prefix=t: timeout=500ms',
    http    => <<'END',
    gateway_channel_zone z:4m redis=r max_message=1k;
    gateway_channel_zone y:4m redis=r;
END
    config => <<'END',
    gateway_ping off;
    gateway_subscribe_allow **;
    location = /ws { gateway_subscriber z; }
    location = /raw { gateway_subscriber y; }
    location = /pub { gateway_publisher z; }
END
);
my ($one, $two) = $nodes->all;
ok($nodes->wait_up, 'two nodes with one Redis');


sub client {
    my ($node, @channels) = @_;
    my $ws = $node->client(path => '/ws', subprotocols => ['v1']);
    $ws->recv_json;
    $ws->send_json({ type => 'subscribe',
        payload => { resources => \@channels } });
    $ws->recv_type('subscribed');
    return $ws;
}

sub add { return $redis->command('XADD', 't:publish', '*', @_) }

sub done {
    return GatewayProcess::wait_for(10,
        sub { $redis->command('XLEN', 't:publish') == 0 });
}


# to both nodes and all zones of this Redis

my @ws = (client($one, 'a'), client($two, 'a'));
my $raw = $two->client(path => '/raw?channel=a', subprotocols => ['raw']);

add(channel => 'a', data => '{"x":1}', type => "t\"\xc3\xa4", priority => 'HIGH');
add(data => 'text', channel => 'a');
add(channel => 'a', data => "\xff\x00");
add(channel => 'a', data => '');
add(channel => 'a', data => 'first', other => 'x', data => 'last');

for my $ws (@ws) {
    my @m = map { $ws->recv_json } 1 .. 5;
    is($m[0]{type}, "t\"\x{e4}", 'with its type');
    is_deeply($m[0]{payload}, { x => 1 }, 'JSON as it is');
    is($m[1]{payload}, 'text', 'text');
    is($m[2]{encoding} // '', 'base64', 'binary');
    is($m[3]{payload}, '', 'empty');
    is($m[4]{payload}, 'last', 'of two the last');
    is(join(' ', map { $_->{sequenceNumber} } @m), '1 2 3 4 5', 'in order');
}

is(scalar $raw->recv_message, $_, "in another zone: $_")
    for '{"x":1}', 'text';


# many, by turns of both nodes: each once, in one order for all

my $r = $redis->connect;
$r->command('XADD', 't:publish', '*', 'channel', 'a', 'data', $_)
    for 1 .. 1000;

my @got;

for my $ws (@ws) {
    push @got, [map { $ws->recv_json } 1 .. 1000];
}

is(join(' ', sort { $a <=> $b } map { $_->{payload} } @{ $got[0] }),
    join(' ', 1 .. 1000), 'each once');
is_deeply([map { $_->{payload} } @{ $got[0] }],
    [map { $_->{payload} } @{ $got[1] }], 'in one order');
ok(done(), 'the stream holds nothing that is done');
is($redis->command('XPENDING', 't:publish', 'gateway')->[0], 0,
    'all are acknowledged');


# what is no message

$_->expect_log(qr/is dropped/) for $one, $two;
my %wrong = (
    'it has no channel' => [data => 'x'],
    'it has no data' => [channel => 'a'],
    'is not a channel' => [channel => '', data => 'x'],
    'over max_message' => [channel => 'a', data => 'x' x 1025],
    'its type' => [channel => 'a', data => 'x', type => ''],
    'its priority' => [channel => 'a', data => 'x', priority => 'top'],
    'jti' => [channel => 'auth:revoke', data => '{}'],
);

add(@{ $wrong{$_} }) for sort keys %wrong;
add(channel => 'auth:revoke', data => '{"jti":"j","exp":4000000000}');
ok(done(), 'they do not stay');

my $log = $one->error_log . $two->error_log;
for my $why (sort keys %wrong) {
    my @lines = grep {/entry \d+-\d+ of "t:publish" is dropped: .*\Q$why\E/}
        split /\n/, $log;
    is(scalar @lines, 1, "logged once: $why");
}

is($redis->command('ZCARD', 't:{0}revoked'), 1, 'a token may be revoked so');

add(channel => 'a', data => 'x' x 1024);
is(length $_->recv_json->{payload}, 1024, 'others go on') for @ws;


# one whose own type does not go into what nodes send each other

{
    my $node = GatewayNodes->new(n => 1, url => $redis->url,
        options => 'prefix=u:',
        http => 'gateway_channel_zone z:8m redis=r max_message=1m;');
    my ($one) = $node->all;
    $one->expect_log(qr/is dropped/);
    $node->wait_up;

    $redis->command('XADD', 'u:publish', '*', 'channel', 'a',
        'data', '{"type":"' . 'x' x 65535 . '","payload":1}');
    ok($one->wait_for_log(qr/"u:publish" is dropped: its type is too long/),
        'a type that is too long');
    ok(GatewayProcess::wait_for(10,
        sub { $redis->command('XLEN', 'u:publish') == 0 }), 'is not kept');

    $node->stop;
}


# entries of a node that is no more: some published, none acknowledged

my @ids = map { add(channel => 'none', data => "t$_") } 1 .. 2;
ok(done(), 'nobody there: published all the same');
is($json->decode($one->http('GET', '/pub?channel=none')->{body})
    ->{sequenceNumber}, 2, 'in the history');

$redis->command('EVAL', <<'END', 1, 't:publish');
    for i = 1, 5 do
        redis.call('XADD', KEYS[1], '*', 'channel', 'a', 'data', 'o' .. i)
    end
    redis.call('XREADGROUP', 'GROUP', 'gateway', 'goneaway0000', 'COUNT', 10,
        'STREAMS', KEYS[1], '>')
END

for my $ws (@ws) {
    my @m = map { $ws->recv_json(10) } 1 .. 5;
    is(join(' ', map { $_->{payload} } @m), 'o1 o2 o3 o4 o5',
        'taken over after some seconds');
}
ok(done(), 'and done');


# one that was published, but not acknowledged, is not published again

add(channel => 'a', data => 'once');
is($_->recv_json->{payload}, 'once', 'once') for @ws;
ok(done(), 'done');

my $last = $redis->command('XINFO', 'STREAM', 't:publish');
my %info = @$last;
my $id = $info{'last-generated-id'};
$redis->command('DEL', 't:publish');
$redis->command('EVAL', <<'END', 1, 't:publish', $id);
    redis.call('XGROUP', 'CREATE', KEYS[1], 'gateway', '0', 'MKSTREAM')
    redis.call('XADD', KEYS[1], ARGV[1], 'channel', 'a', 'data', 'once')
    redis.call('XREADGROUP', 'GROUP', 'gateway', 'goneaway0000',
        'STREAMS', KEYS[1], '>')
END

ok(done(), 'it is taken over');
add(channel => 'a', data => 'next');
is($_->recv_json->{payload}, 'next', 'but not published again') for @ws;


# Redis away: what is added when it is back is taken

$redis->kill;
ok($nodes->wait_down, 'Redis is killed');
$redis->start;
my $kept = add(channel => 'a', data => 'back');
ok($nodes->wait_up, 'Redis is back');
is($_->recv_type('message')->{payload}, 'back', 'taken') for @ws;

$redis->command('DEL', 't:publish');
add(channel => 'a', data => 'anew');
is($_->recv_type('message')->{payload}, 'anew', 'the group is made anew')
    for @ws;


# the leader dies

$one->kill_worker($_) for $one->worker_pids;
$two->kill_worker($_) for $two->worker_pids;
my $ws = client($one, 'b');
add(channel => 'b', data => 'on');
is($ws->recv_json(10)->{payload}, 'on', 'another worker goes on');

$_->close for @ws, $ws, $raw;
$nodes->stop;
done_testing();
