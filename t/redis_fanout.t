#!/usr/bin/perl

# Two nodes and one Redis: everybody on either gets each message once, in the
# same order, with the same numbers. Where Redis is restarted, fails over, or a
# slot of a Cluster moves in the middle, nothing acknowledged is lost, or the
# epoch changes and whoever asks for what came after is told so.
#
# GATEWAY_REDIS_FULL=1: 500 subscribers on each node, and 20,000 messages.

use strict;
use warnings;

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use GatewayNodes;
use GatewayRedis;
use GatewayRedisCluster;
use GatewayRedisSentinel;
use GatewayStream;

my $SUBSCRIBERS = $ENV{GATEWAY_REDIS_FULL} ? 500 : 60;
my $MESSAGES = $ENV{GATEWAY_REDIS_FULL} ? 20_000 : 2_000;
my $PUBLISHERS = 10;

my $HTTP = <<'END_HTTP';
    gateway_channel_zone z:32m redis=r history=2000;
    keepalive_requests 100000;
    access_log off;
END_HTTP

my $CONFIG = <<'END_CONFIG';
    gateway_ping off;
    gateway_subscribe_allow **;
    gateway_publish_allow **;
    location /v1 { gateway_subscriber z; }
    location /pub { gateway_publisher z; }
END_CONFIG

my $json = JSON::PP->new->utf8->canonical;


sub nodes {
    my ($url) = @_;

    my $nodes = GatewayNodes->new(
        url => $url, http => $HTTP, config => $CONFIG, log_level => 'notice',
        options => 'timeout=500ms',
    );
    $nodes->wait_up or die "Redis is not up\n";

    return $nodes;
}


# Many subscribers, nothing happens.
{
    my $redis = GatewayRedis->new;
    my $nodes = nodes($redis->url);
    my $stream = GatewayStream->new;
    my $swarm = $stream->swarm;

    for my $node ($nodes->all) {
        $stream->{port} = $node->port;
        $stream->subscribe('v1', 'c', $SUBSCRIBERS);
    }

    for my $i (0 .. $PUBLISHERS - 1) {
        $stream->{port} = ($nodes->all)[$i % 2]->port;
        $stream->publisher($i % 5 ? 'http' : 'v1');
    }

    my $began = time;
    my $batch = 20;
    my $dead = 0;

    for (my $left = $MESSAGES; $left > 0; $left -= $PUBLISHERS * $batch) {
        $dead += $stream->round($batch, 'c');
        last if $dead || !$stream->everything;
    }

    is($dead, 0, 'all publishers were answered');
    is($stream->{sent}{c}, $MESSAGES, 'all was acknowledged');
    is($swarm->alive('v1 c'), 2 * $SUBSCRIBERS, 'everybody is still there');
    ok($swarm->all_have('v1 c', $MESSAGES), 'everybody has as many');
    $stream->check('two nodes');

    note sprintf '%d subscribers, %d messages: %.1f s', 2 * $SUBSCRIBERS,
        $MESSAGES, time - $began;

    $stream->close;
    $nodes->stop;
}


# A smaller stream with something in its middle; see the checks below.

sub subscriber {
    my ($node, $since) = @_;

    my $ws = $node->client(path => '/v1', subprotocols => ['v1']);
    $ws->send_json({ type => 'subscribe', payload => {
        resources => ['c'], $since ? (since => { c => $since }) : () } });
    $ws->{subscribed} = $ws->recv_type('subscribed')->{payload}{resources}[0];

    return $ws;
}


# One message from each publisher, all at once. What was acknowledged is noted.
sub round {
    my ($run) = @_;

    my @publishers = @{ $run->{publishers} };

    for my $publisher (@publishers) {
        $publisher->{body} = "$publisher->{name} " . ++$publisher->{n};
        $publisher->{at} = time;
        $publisher->{socket}->write(GatewaySocket::request('POST',
            '/pub?channel=c', headers => ['Content-Type' => 'text/plain'],
            body => $publisher->{body}));
    }

    for my $publisher (@publishers) {
        my $answer = $publisher->{socket}->response('POST', 10);
        my $took = time - $publisher->{at};

        $run->{slowest} = $took if $took > ($run->{slowest} // 0);

        if (!$answer || $answer->{status} !~ /^20[12]$/) {
            push @{ $run->{refused} }, $answer ? $answer->{status} : 'none';
            next;
        }

        my $ack = $json->decode($answer->{body});
        push @{ $run->{acks} }, {
            %$ack, body => $publisher->{body}, node => $publisher->{node},
        };
    }

    # so that the nodes' buffers do not fill
    for my $ws (@{ $run->{subscribers} }) {
        $ws->fill(time);

        while (length $ws->{in}) {
            push @{ $ws->{got} }, $ws->recv_json(0.01) // last;
        }
    }
}


# The epoch that the last n acknowledgements of all nodes agree on.
sub agreed {
    my ($run, $n) = @_;

    my @acks = @{ $run->{acks} };
    return if @acks < $n;

    my %epochs = map { $_->{epoch} => 1 } @acks[-$n .. -1];
    return keys %epochs == 1 && $acks[-1]{epoch};
}


# Reads on until each subscriber has the last message that was acknowledged.
sub drain {
    my ($run) = @_;

    # those of one round are in no order
    my $epoch = $run->{acks}[-1]{epoch};
    my ($last) = sort { $b->{sequenceNumber} <=> $a->{sequenceNumber} }
        grep { $_->{epoch} eq $epoch } @{ $run->{acks} };
    $run->{newest} = $last->{sequenceNumber};

    for my $ws (@{ $run->{subscribers} }) {
        until (grep { $_->{epoch} eq $last->{epoch}
            && $_->{sequenceNumber} >= $last->{sequenceNumber} }
            @{ $ws->{got} || [] })
        {
            push @{ $ws->{got} }, $ws->recv_json(5) || return;
        }
    }

    return 1;
}


# What is wrong with what a subscriber got: each message is what was
# acknowledged under its number, numbers go up, and there is a gap only where
# another epoch lies between, which tells the client. Returns texts.
sub wrong {
    my ($run, $ws) = @_;

    my (%last, @wrong);
    my $before = '';
    my %acked = map { ("$_->{epoch} $_->{sequenceNumber}" => $_->{body}) }
        @{ $run->{acks} };

    for my $m (@{ $ws->{got} }) {
        my ($epoch, $seq) = @$m{qw(epoch sequenceNumber)};
        my $last = $last{$epoch};

        push @wrong, "$epoch $seq after $last"
            if defined $last && ($seq <= $last
                || $epoch eq $before && $seq != $last + 1);
        $last{$epoch} = $seq;
        $before = $epoch;

        my $body = delete $acked{"$epoch $seq"} // $m->{payload};
        push @wrong, "$epoch $seq is $m->{payload}, not $body"
            if $body ne $m->{payload};
    }

    $ws->{lacks} = \%acked;
    return @wrong;
}


# What a subscriber lacks: of the first n messages any; behind these, where an
# epoch has begun, what its own node has acknowledged. What others published
# while a node was on its own is history there.
sub lost {
    my ($ws, $n, @acks) = @_;

    return grep {
        ($n-- > 0 || $_->{node} == $ws->{node})
            && exists $ws->{lacks}{"$_->{epoch} $_->{sequenceNumber}"};
    } @acks;
}


# name; url; new_epoch: there must be one, as the server is another, or else
# none; steps: what is done between rounds, each a sub which is called until it
# returns true.
sub disturbed {
    my ($name, $url, $new_epoch, @steps) = @_;

    my $nodes = nodes($url);
    my $run = { acks => [], refused => [] };

    for my $i (0 .. 3) {
        my $node = ($nodes->all)[$i % 2];
        push @{ $run->{subscribers} }, subscriber($node);
        $run->{subscribers}[-1]{node} = $i % 2;
        push @{ $run->{publishers} }, {
            name => "p$i", node => $i % 2, n => 0, socket => $node->connect,
        };
    }

    round($run) for 1 .. 20;
    drain($run);

    my $first = agreed($run, 80);
    ok($first, "$name: one epoch before");
    $first ||= $run->{acks}[0]{epoch};

    my $before = @{ $run->{acks} };
    my $until = time + GatewayProcess::patience(40);

    while (time < $until) {
        shift @steps if @steps && $steps[0]->();
        round($run);
        last if !@steps && agreed($run, 40)
            && (!$new_epoch || agreed($run, 40) ne $first)
            && 2 == grep { $nodes->metric($_, 'gateway_redis_up') } $nodes->all;
    }

    is(scalar @steps, 0, "$name: it has happened");
    my $final = agreed($run, 40);
    ok($final, "$name: one epoch afterwards") or $final = '-';
    is(join(' ', @{ $run->{refused} }), '', "$name: nothing was refused");
    cmp_ok($run->{slowest}, '<', GatewayProcess::patience(1.5),
        "$name: no message took long");
    ok(drain($run), "$name: all have the last message");

    my $same = $first eq $final;
    is($same ? 1 : 0, $new_epoch ? 0 : 1,
        $new_epoch ? "$name: the epoch is another"
        : "$name: the epoch is the same");

    my (@wrong, @lost);

    for my $ws (@{ $run->{subscribers} }) {
        push @wrong, wrong($run, $ws);
        push @lost, lost($ws, $same ? scalar @{ $run->{acks} } : $before,
            @{ $run->{acks} });
    }

    is(scalar @wrong, 0, "$name: each once and in order")
        or diag join "\n", @wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)];
    is(scalar @lost, 0, "$name: nothing is lost")
        or diag join "\n", map {"$_->{epoch} $_->{sequenceNumber}"} @lost;

    check_history($name, $run, $nodes, $final);
    check_since($name, $run, $nodes, $first, $final);

    note "$name: " . ($same ? 'the same epoch' : 'a new epoch') . ', '
        . @{ $run->{acks} } . sprintf ' messages, slowest %.3f s',
        $run->{slowest};

    $_->close for @{ $run->{subscribers} };
    $nodes->stop;
}


# All that was acknowledged in the last epoch is in the history of each node.
sub check_history {
    my ($name, $run, $nodes, $final) = @_;

    my @acks = grep { $_->{epoch} eq $final } @{ $run->{acks} };

    for my $node ($nodes->all) {
        my $answer = $json->decode(
            $node->http('GET', '/pub?channel=c&since=0')->{body});
        my %has = map { $_->{sequenceNumber} => $_->{payload} }
            @{ $answer->{messages} };

        is($answer->{epoch}, $final, "$name: the epoch of a node");
        is(scalar(grep { ($has{ $_->{sequenceNumber} } // '') ne $_->{body} }
            @acks), 0, "$name: a node's history has what was acknowledged");
    }
}


sub check_since {
    my ($name, $run, $nodes, $first, $final) = @_;

    my ($seq) = sort { $a <=> $b } map { $_->{sequenceNumber} }
        grep { $_->{epoch} eq $final } @{ $run->{acks} };
    my $newest = $run->{newest};

    for my $node ($nodes->all) {
        my $ws = subscriber($node,
            { epoch => $first, sequenceNumber => $first eq $final ? $seq : 3 });
        is($ws->{subscribed}{recovered}, $first eq $final ? 1 : 0,
            "$name: since the first epoch");
        $ws->close;

        $ws = subscriber($node, { epoch => $final, sequenceNumber => $seq });
        is($ws->{subscribed}{recovered}, 1, "$name: since the last epoch");
        is(join(' ', map { $ws->recv_json->{sequenceNumber} }
            $seq + 1 .. $newest), join(' ', $seq + 1 .. $newest),
            "$name: ... all that came after");
        $ws->close;
    }
}


# While two servers take each other's place, one worker of a node may be at the
# old one for a moment after another has been at the new one.
{
    my $redis = GatewayRedis->new;
    my $nodes = nodes($redis->url);
    my @ws = map { subscriber($_) } $nodes->all;

    my $publish = sub {
        my ($body) = @_;
        ($nodes->all)[0]->http('POST', '/pub?channel=c', body => $body,
            headers => ['Content-Type' => 'text/plain']);

        for my $ws (@ws) {
            is(($ws->recv_json || {})->{payload}, $body,
                "an epoch comes back: \"$body\" is what comes next");
        }
    };

    $publish->("old $_") for 1 .. 3;
    my @keys = @{ $redis->command('KEYS', 'gw:{*}[ml]:c') };
    is(scalar @keys, 2, 'an epoch comes back: what Redis has of the channel');

    $redis->command('RENAME', $_, "old:$_") for @keys;
    $publish->("new $_") for 1 .. 2;
    $redis->command('RENAME', $_, "new:$_") for @keys;
    $redis->command('RENAME', "old:$_", $_) for @keys;
    $publish->('old 4');
    $redis->command('RENAME', "new:$_", $_) for @keys;
    $publish->('new 3');

    $_->close for @ws;
    $nodes->stop;
}

{
    my $redis = GatewayRedis->new;

    disturbed('restarted empty', $redis->url, 1,
        sub { $redis->kill; 1 }, (sub { 1 }) x 5, sub { $redis->start; 1 });

    $redis = GatewayRedis->new(appendonly => 1);

    disturbed('restarted with its data', $redis->url, 1,
        sub { $redis->kill; 1 }, (sub { 1 }) x 5, sub { $redis->start; 1 });
}

{
    my $group = GatewayRedisSentinel->new;

    disturbed('failed over', $group->url, 1,
        sub { $group->master->kill; 1 }, sub { $group->wait_failover(0) });
}

{
    my $group = GatewayRedisSentinel->new;

    disturbed('changed places', $group->url, 1, sub {
        ($group->sentinels)[0]->command('SENTINEL', 'FAILOVER', 'main'); 1;
    }, sub { $group->wait_failover(0) });
}

{
    my $cluster = GatewayRedisCluster->new;
    my ($slot, $from, $to);

    disturbed('a slot moved', $cluster->url, 0,
        sub {
            my $key = (map { @{ $_->command('KEYS', '*m:c') } }
                ($cluster->nodes)[0 .. 2])[0];
            $slot = $cluster->slot($key);
            $from = $cluster->owner($slot);
            ($to) = grep { $_ != $from } ($cluster->nodes)[0 .. 2];
            1;
        },
        sub { $cluster->migrate_begin($slot, $from, $to); 1 }, (sub { 1 }) x 3,
        sub { $cluster->migrate_keys($slot, $from, $to); 1 }, (sub { 1 }) x 3,
        sub { $cluster->migrate_end($slot, $from, $to); 1 }, (sub { 1 }) x 3);

    disturbed('a master of the Cluster failed', $cluster->url, 1,
        sub { $from = $cluster->owner($slot); $from->kill; 1 },
        sub { $cluster->wait_owner($slot, sub { $_[0] != $from }, 0) });
}

done_testing();
