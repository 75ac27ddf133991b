#!/usr/bin/perl

# Redis by Sentinels: commands and subscriptions are where the master is, also
# after a failover, and never stay where it was.

use strict;
use warnings;

use Test::More;

use GatewayNginx;
use GatewayNodes;
use GatewayProcess;
use GatewayRedis;
use GatewayRedisSentinel;


sub start {
    my ($url, %args) = @_;

    return GatewayNodes->new(n => 1, url => $url, workers => 2,
        options => 'timeout=500ms', %args);
}


# How many are subscribed to what the nodes say of themselves.
sub listeners {
    my ($server) = @_;

    my $answer = eval { $server->command('PUBSUB', 'NUMSUB', 'gw:nodes') };
    return $answer ? $answer->[1] : -1;
}


# Connections of the node for commands: one of each worker. Those of Sentinels
# have a name, and the one that asks is told apart by what it asks.
sub links {
    my ($server) = @_;

    my $list = eval { $server->command('CLIENT', 'LIST', 'TYPE', 'normal') };
    return scalar grep { / name= / && !/ cmd=client/ } split /\n/, $list // '';
}


# All of the node is at that server, and nothing is at the other.
sub is_at {
    my ($server, $other, $what) = @_;

    ok(GatewayProcess::wait_for(10, sub {
        listeners($server) == 1 && links($server) == 2
            && (!$other->pid || listeners($other) + links($other) == 0)
    }), $what) or diag(join ' ', map { listeners($_), links($_) } $server,
        $other);
}


subtest 'places change' => sub {
    my $group = GatewayRedisSentinel->new(password => 'secret');
    my $nodes = start($group->url);
    my ($node) = $nodes->all;

    ok($nodes->wait_up, 'up');
    is_at($group->master, $group->replica, 'it is at the master');

    ok($group->failover, 'the Sentinels change the master');
    is_at($group->master, $group->replica, 'it is at the new one');
    ok($nodes->wait_up, 'up again');
    like($node->error_log, qr/the master is 127\.0\.0\.1:\d+, no longer/,
        'the log says so');

    my $dead = $group->master;
    $dead->kill;
    ok($nodes->wait_down, 'down without a master');
    ok($group->wait_failover, 'the Sentinels make a master');
    ok($nodes->wait_up, 'up with the next');
    is_at($group->master, $dead, 'it is there');

    $dead->start;
    ok($group->wait_ready(60), 'the dead one comes back as a replica');
    is_at($group->master, $dead, 'and is left alone');

    unlike($node->error_log, qr/secret/, 'the password is in no log');
    $nodes->stop;
};


subtest 'a replica that the Sentinels take for the master' => sub {
    my $group = GatewayRedisSentinel->new;
    my $nodes = start($group->url);
    my ($master, $other) = ($group->master, $group->replica);

    ok($nodes->wait_up, 'up');

    # two that are gone cannot outvote it, and the third cannot alone
    $_->kill for ($group->sentinels)[0, 1];
    $master->command('REPLICAOF', '127.0.0.1', $other->port);

    ok($nodes->wait_down, 'one that was made a replica is noticed');
    ok(GatewayProcess::wait_for(5, sub { listeners($master) == 0 }),
        'nothing stays subscribed there');
    like(($nodes->all)[0]->error_log,
        qr/READONLY|it is the master no more|it is a replica/, 'logged');

    $master->command('REPLICAOF', 'NO', 'ONE');
    ok($nodes->wait_up, 'up when it is the master again');
    is_at($master, $other, 'it is there');

    ($group->sentinels)[2]->kill;
    $master->command('CLIENT', 'KILL', 'TYPE', $_) for qw(pubsub normal);
    is_at($master, $other, 'without a Sentinel the last master is kept');
    ok($nodes->wait_up, 'up');

    $nodes->stop;
};


subtest 'Sentinels with a password, and a name they do not know' => sub {
    my $master = GatewayRedis->new(password => 'secret');
    my $sentinel = GatewayRedis->new(
        port => GatewayProcess::free_port(), args => ['--sentinel'],
        password => 'secret', config => 'sentinel monitor main 127.0.0.1 '
            . $master->port . " 1\nsentinel auth-pass main secret",
    );
    my $url = 'redis+sentinel://:secret@127.0.0.1:' . $sentinel->port;

    my $nodes = start("$url/main");
    ok($nodes->wait_up, 'the same password is tried');
    is(listeners($master), 1, 'it is at the master');
    $nodes->stop;

    $nodes = start("$url/nobody");
    my ($node) = $nodes->all;
    ok(GatewayProcess::wait_for(5,
        sub { $node->error_log =~ /it knows no such master/ }),
        'a name that no Sentinel knows is logged');
    is($nodes->metric($node, 'gateway_redis_up', name => 'r'), 0, 'down');
    $nodes->stop;
};

done_testing;
