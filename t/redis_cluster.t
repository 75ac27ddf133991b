#!/usr/bin/perl

# Redis as a Cluster: commands reach the node that has the slot, while slots
# move and after a master was lost; subscriptions are at the masters of the
# slots that they belong to.

use strict;
use warnings;

use POSIX ();
use Test::More;

use GatewayNodes;
use GatewayProcess;
use GatewayRedis;
use GatewayRedisCluster;

my $KEYS = 60;

my $HTTP = <<'END_HTTP';
gateway_channel_zone z:4m redis=r;
gateway_cache_zone c:1m redis=r;
END_HTTP

my $CONFIG = <<'END_CONFIG';
location /cached {
    gateway_cache c;
    gateway_cache_key $uri;
    gateway_cache_valid 10m;
    add_header X-Cache $gateway_cache_status always;
    proxy_pass http://127.0.0.1:%PORT%/backend;
}
location /backend { return 200 $request_id; }
END_CONFIG


sub start {
    my ($url, $n, $workers) = @_;

    return GatewayNodes->new(n => $n, url => $url, workers => $workers || 1,
        options => 'timeout=500ms', http => $HTTP, config => $CONFIG);
}


sub cached {
    my ($node, $key) = @_;

    my $answer = $node->http('GET', "/cached/$key") || { status => 'none' };
    return $answer->{headers}{'x-cache'} // $answer->{status};
}

# What the node gets for all keys, as "STATUS: how many".
sub all_cached {
    my ($node) = @_;

    my %n;
    $n{ cached($node, $_) }++ for 1 .. $KEYS;
    return join ', ', map {"$_: $n{$_}"} sort keys %n;
}


# What the second says in a process of its own while the first is done here.
sub meanwhile {
    my ($first, $second) = @_;

    my $pid = open(my $pipe, '-|') // die "fork failed: $!\n";

    if ($pid == 0) {
        print $second->();
        close STDOUT;
        POSIX::_exit(0);
    }

    $first->();
    my $said = <$pipe>;
    close $pipe;

    return $said;
}


# The sharded channels that somebody listens to.
sub shards {
    my ($redis) = @_;

    my $all = eval { $redis->command('PUBSUB', 'SHARDCHANNELS') };
    return @{ $all || [] };
}


# Whether each master has the sharded channels of its slots, and nobody others.
sub are_well_placed {
    my ($cluster) = @_;

    my $n = 0;

    for my $node (grep { $_->pid } $cluster->nodes) {
        for my $channel (shards($node)) {
            return if $cluster->owner($channel) != $node;
            $n++;
        }
    }

    return $n && $n % 256 == 0;
}

sub placed_ok {
    my ($cluster, $what) = @_;

    ok(GatewayProcess::wait_for(10, sub { are_well_placed($cluster) }), $what);
}


# A slot with some of the keys, and the masters it is at and goes to.
sub busy_slot {
    my ($cluster) = @_;

    my @masters = grep { $_->info('role') eq 'master' } $cluster->nodes;

    for my $from (@masters) {
        my ($key) = grep {/^gw:\{\d+\}/} @{ $from->command('KEYS', 'gw:*') }
            or next;
        my ($to) = grep { $_ != $from } @masters;
        return ($cluster->slot($key), $from, $to);
    }

    die "no keys in the Cluster\n";
}


subtest 'slots move' => sub {
    my $cluster = GatewayRedisCluster->new(password => 'secret');
    my $nodes = start($cluster->url, 4);
    my ($first, $second, $third, $fourth) = $nodes->all;

    ok($nodes->wait_up, 'up');
    placed_ok($cluster, 'each topic is at the master of its slot');

    is(all_cached($first), "MISS: $KEYS", 'keys of all slots are stored');
    is(all_cached($first), "HIT: $KEYS", 'here');

    my ($slot, $from, $to) = busy_slot($cluster);

    $cluster->migrate_begin($slot, $from, $to);
    $cluster->migrate_keys($slot, $from, $to);

    # both nodes say no (ASK, TRYAGAIN) until the slot has arrived
    is(meanwhile(sub { $cluster->migrate_end($slot, $from, $to) },
        sub { all_cached($second) }), "REDIS: $KEYS",
        'found while a slot is on its way');
    is(all_cached($third), "REDIS: $KEYS", 'and when it is there (MOVED)');

    placed_ok($cluster, 'its topics move with it');
    ok($nodes->wait_up, 'up');

    ($slot, $from, $to) = busy_slot($cluster);
    $cluster->migrate($slot, $to);
    is(all_cached($fourth), "REDIS: $KEYS", 'found after another move');
    placed_ok($cluster, 'and its topics');

    unlike($_->error_log, qr/secret/, 'the password is in no log')
        for $first;
    $nodes->stop;
};


subtest 'a master is lost' => sub {
    my $cluster = GatewayRedisCluster->new;
    my $nodes = start($cluster->url, 2);
    my ($first, $second) = $nodes->all;

    ok($nodes->wait_up, 'up');
    is(all_cached($first), "MISS: $KEYS", 'keys of all slots are stored');

    my $dead = ($cluster->nodes)[1];
    my $slot = 8000;

    # what it had is at its replica
    is($dead->command('WAIT', 1, 5000), 1, 'its replica is in step');
    $dead->kill;
    ok($nodes->wait_down, 'what is not heard of completely is not up');
    ok($cluster->wait_owner($slot, sub { $_[0] != $dead }),
        'its replica takes over');
    ok($nodes->wait_up, 'up again');
    placed_ok($cluster, 'the topics are at the new master');
    is(all_cached($second), "REDIS: $KEYS", 'all keys are found');

    $dead->start;
    ok($cluster->wait_ready, 'it comes back as a replica');
    # where the machine is busy the other may not agree in time
    ok(GatewayProcess::wait_for(30, sub {
        eval { $dead->command('CLUSTER', 'FAILOVER') };
        $cluster->wait_owner($slot, sub { $_[0] == $dead }, 6);
    }), 'and becomes the master in an orderly way');
    placed_ok($cluster, 'the topics are where they were');
    ok($nodes->wait_up, 'up');

    like($first->error_log, qr/node 127\.0\.0\.1:\d+ is away/, 'logged');
    $nodes->stop;
};


# How many of the nodes listen to what they say of themselves there.
sub listeners {
    my ($redis) = @_;
    return $redis->command('PUBSUB', 'NUMSUB', 'gw:nodes')->[1];
}


subtest 'topics of no slot move' => sub {
    my $cluster = GatewayRedisCluster->new;
    my $nodes = start($cluster->url, 1);

    ok($nodes->wait_up, 'up');

    my ($old) = grep { listeners($_) } $cluster->nodes;
    my @others = grep { $_ != $old } $cluster->nodes;

    ok(GatewayProcess::wait_for(10, sub {
        $old->command('CLIENT', 'KILL', 'TYPE', 'normal');
        grep { listeners($_) } @others;
    }), 'to a node that takes commands');
    ok(GatewayProcess::wait_for(5, sub { listeners($old) == 0 }),
        'and are heard there alone');
    ok($nodes->wait_up, 'up');
    placed_ok($cluster, 'the others stay where they are');
    $nodes->stop;
};


# one that may not ask for it uses them all the same, as all others do
subtest 'a user without COMMAND' => sub {
    my $cluster = GatewayRedisCluster->new(
        config => 'user few on >x ~* &* +@all -command');
    my $nodes = start($cluster->url =~ s{//}{//few:x@}r, 1);

    ok($nodes->wait_up, 'up');
    placed_ok($cluster, 'has sharded topics');
    $nodes->stop;
};


# Whichever of the two workers it is.
subtest 'a worker lacks a master' => sub {
    my $cluster = GatewayRedisCluster->new;
    my $nodes = start($cluster->url, 1, 2);
    my ($node) = $nodes->all;

    ok($nodes->wait_up, 'up');

    my $asks = ($cluster->nodes)[1]->connect;
    # but for who asks
    my $clients = sub {
        my ($type) = @_;
        return scalar grep { / name= / && !/ cmd=client/ } split /\n/,
            $asks->command('CLIENT', 'LIST', 'TYPE', $type);
    };

    # one can come back: so many others there are, and who asks, and the links
    # between the servers
    $asks->command('CONFIG', 'SET', 'maxclients',
        2 + $clients->('pubsub') + $clients->('replica')
            + @{ $asks->command('CLUSTER', 'LINKS') });
    $asks->command('CLIENT', 'KILL', 'TYPE', 'normal');
    ok(GatewayProcess::wait_for(10, sub { $clients->('normal') == 1 }),
        'one is back');
    ok(!GatewayProcess::wait_for(0.5, sub {
        $nodes->metric($node, 'gateway_redis_up', name => 'r')
    }), 'not up, as long as the other is not');

    $asks->command('CONFIG', 'SET', 'maxclients', 10000);
    ok($nodes->wait_up, 'up with both');
    $asks->close;
    $nodes->stop;
};


subtest 'all are lost' => sub {
    my $cluster = GatewayRedisCluster->new;
    my $nodes = start($cluster->url, 1);

    ok($nodes->wait_up, 'up');
    $_->kill for $cluster->nodes;
    ok($nodes->wait_down, 'down');
    is(all_cached($nodes->all), "MISS: $KEYS", 'the node goes on alone');

    $_->start(nowait => 1) for $cluster->nodes;
    ok($cluster->wait_ready, 'the Cluster is back');
    ok($nodes->wait_up, 'up');
    placed_ok($cluster, 'and so are the topics');
    $nodes->stop;
};


subtest 'a server that is not part of a Cluster' => sub {
    my $redis = GatewayRedis->new;
    my $nodes = start('redis+cluster://127.0.0.1:' . $redis->port, 1);
    my ($node) = $nodes->all;

    ok(GatewayProcess::wait_for(5,
        sub { $node->error_log =~ /it is not part of a Cluster/ }), 'logged');
    is($nodes->metric($node, 'gateway_redis_up', name => 'r'), 0, 'down');
    $nodes->stop;
};

done_testing;
