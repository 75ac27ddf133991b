#!/usr/bin/perl

# Revoked tokens over nodes: two with one Redis, one that starts later, Redis
# away, lost and wrong.

use strict;
use warnings;

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use GatewayJWT qw(hs256);
use GatewayNodes;
use GatewayProcess;
use GatewayRedis;

my $json   = JSON::PP->new->utf8->canonical;
my $secret = 'a secret of at least thirty-two bytes';
my $exp    = int(time) + 3600;

my $redis = GatewayRedis->new;

my %config = (
    url     => $redis->url,
    options => 'prefix=t: timeout=300ms',
    files   => { 'conf/secret' => $secret, 'html/x' => 'x' },
    http    => <<'END',
    gateway_jwt_keys main secret_file=secret;
    gateway_channel_zone z:1m redis=r;
    gateway_channel_zone y:1m redis=r;
END
    config => <<'END',
    gateway_jwt_revoked z;
    location = /x { gateway_jwt main; }
    location = /y { gateway_jwt main; gateway_jwt_revoked y;
                    try_files /x =404; }
    location = /ws { gateway_jwt main; gateway_subscriber z; }
    location = /pub { gateway_publisher z; }
END
);

my $nodes = GatewayNodes->new(%config);
my ($one, $two) = $nodes->all;
ok($nodes->wait_up, 'two nodes with one Redis');


sub jwt {
    my (%claims) = @_;
    return hs256($secret, { exp => $exp, %claims });
}


sub get {
    my ($node, $token, $path) = @_;
    return $node->http('GET', $path || '/x',
        headers => [Authorization => "Bearer $token"])->{status};
}


sub revoke {
    my ($node, %body) = @_;
    return $node->http('POST', '/pub?channel=auth:revoke',
        body => $json->encode(\%body))->{status};
}


sub within {
    my ($seconds, $what, $condition) = @_;
    ok(GatewayProcess::wait_for($seconds, $condition), $what);
}


# from node to node

my $token = jwt(jti => 'a');
is(get($_, $token), 200, 'valid') for $one, $two;

my $ws = $two->client(path => '/ws',
    subprotocols => ['v1', 'jwt', jwt(sub => 'ann', iat => 1)]);
$ws->recv_json;

is(revoke($one, jti => 'a', exp => $exp), 202, 'revoked on one');
is(get($one, $token), 401, 'there at once');
is(get($one, $token, '/y'), 401, 'in all zones of this Redis');
within(1, 'on the other within a second', sub { get($two, $token) == 401 });
within(1, 'in all zones too', sub { get($two, $token, '/y') == 401 });

is(revoke($one, sub => 'ann', before => 2), 202, 'of a user');
my ($code) = $ws->recv_close(GatewayProcess::patience(1));
is($code, 4401, 'the other node closes within a second');

is($redis->command('ZCARD', 't:{0}revoked'), 2, 'Redis has both');
unlike(join(' ', @{ $redis->command('ZRANGE', 't:{0}revoked', 0, -1) }),
    qr/ann/, 'but no names');
cmp_ok($redis->command('PTTL', 't:{0}revoked'), '>', 3600_000,
    'until they are over');


# one that starts later, with more than one page to read

revoke($two, jti => "p$_", exp => $exp) for 1 .. 1500;
within(2, 'all are in Redis',
    sub { $redis->command('ZCARD', 't:{0}revoked') == 1502 });

my $late = GatewayNodes->new(%config, n => 1);
my ($three) = $late->all;
within(5, 'one that starts later knows the first',
    sub { get($three, $token) == 401 });
within(1, 'and all the others', sub {
    !grep { get($three, jwt(jti => "p$_")) != 401 } 1, 750, 1500 });
$late->stop;


# Redis away: what is taken meanwhile is not lost

$redis->kill;
ok($nodes->wait_down, 'Redis is killed');

is(revoke($one, jti => 'b', exp => $exp), 202, 'one takes it still');
is(revoke($two, sub => 'bob', before => 100), 202, 'so does the other');
is(get($one, jwt(jti => 'b')), 401, 'it holds here');
is(get($two, jwt(jti => 'b')), 200, 'not there, for now');

$redis->start(empty => 1);
ok($nodes->wait_up, 'Redis is back, empty');

within(5, 'the other hears of it', sub { get($two, jwt(jti => 'b')) == 401 });
within(5, 'and this one of what was taken there',
    sub { get($one, jwt(sub => 'bob', iat => 99)) == 401 });
within(5, 'Redis gets back what it lost',
    sub { $redis->command('ZCARD', 't:{0}revoked') == 1504 });


# hung: it costs a request nothing

$redis->suspend;
my $from = time;
is(revoke($one, jti => 'c', exp => $exp), 202, 'Redis hangs');
cmp_ok(time - $from, '<', GatewayProcess::patience(0.25), 'nobody waits');
is(get($one, jwt(jti => 'c')), 401, 'it holds here');
ok($nodes->wait_down, 'it counts as away');
$redis->resume;
ok($nodes->wait_up, 'it goes on');
within(5, 'the other hears of it', sub { get($two, jwt(jti => 'c')) == 401 });


# an error of Redis: it is kept, and handed over later

$_->expect_log(qr/does not take revoked tokens: WRONGTYPE/) for $one, $two;
$redis->command('RENAME', 't:{0}revoked', 'kept');
$redis->command('SET', 't:{0}revoked', 'x');
is(revoke($one, jti => 'd', exp => $exp), 202, 'Redis refuses it');
ok($one->wait_for_log('does not take revoked tokens: WRONGTYPE'), 'logged');
is(get($one, jwt(jti => 'd')), 401, 'it holds here');
$redis->command('RENAME', 'kept', 't:{0}revoked');
within(5, 'the other hears of it', sub { get($two, jwt(jti => 'd')) == 401 });


# rubbish in the set and on the topic

$redis->command('ZADD', 't:{0}revoked', 1e15, 'x', 1e15, 'y:z',
    '1e308', ('A' x 22) . ':5');
$redis->command('PUBLISH', 't:revoke', $_)
    for '', ' ', 'x', 'x' x 100_000, ':::', "\0";
is(revoke($one, jti => 'e', exp => $exp), 202, 'rubbish');
within(2, 'does no harm', sub { get($two, jwt(jti => 'e')) == 401 });


# over a reload, and without the leader

$one->reload;
is(get($one, $token), 401, 'still revoked after a reload');
$two->kill_worker($_) for $two->worker_pids;
is(revoke($one, jti => 'f', exp => $exp), 202);
within(5, 'a node whose workers were killed goes on',
    sub { get($two, jwt(jti => 'f')) == 401 });
is(get($two, $token), 401, 'and has forgotten nothing');

$nodes->stop;
done_testing();
