#!/usr/bin/perl

# Workers that are killed under load, and reloads under load: the others miss
# nothing, and what was held is given back.

use strict;
use warnings;

use JSON::PP ();
use Test::More;

use GatewayNginx;
use GatewayProcess;
use GatewayStream;

my $RELOADS = $ENV{TEST_NGINX_USE_VALGRIND} ? 10 : 100;

my $nginx = GatewayNginx->new(
    http      => "gateway_channel_zone z:4m history=10;\n"
        . "keepalive_requests 100000;\naccess_log off;",
    log_level => 'notice',
    config    => <<'END');
        gateway_ping off;
        gateway_subscribe_allow **;
        gateway_publish_allow **;
        add_header X-Worker $pid always;
        location /raw { gateway_subscriber z; }
        location /v1 { gateway_subscriber z; }
        location /pub { gateway_publisher z; }
        location /pid { return 200 $pid; }
        location /status { gateway_status; }
END

my @channels = qw(a b c d);

sub channel {
    my ($name) = @_;

    my $response = $nginx->http('GET', "/pub?channel=$name");

    return $response && $response->{status} == 200
        ? JSON::PP::decode_json($response->{body})
        : { subscribers => 0, sequenceNumber => 0 };
}


sub used {
    my $status = JSON::PP::decode_json(
        $nginx->http('GET', '/status')->{body});

    for my $series (@{ $status->{metrics}{gateway_zone_bytes} }) {
        return $series->{value}
            if $series->{labels}{zone} eq 'z'
            && $series->{labels}{kind} eq 'used';
    }
}


# Subscribers in at least two workers; the streams of each worker's are apart.
sub subscribers {
    my ($stream) = @_;

    for my $channel (@channels) {
        $stream->subscribe($_, $channel, 10) for qw(raw v1);
    }

    for (1 .. 50) {
        last if keys %{ $stream->{workers} } >= 2;
        $stream->subscribe('raw', 'a', 5);
    }

    return keys %{ $stream->{workers} } >= 2;
}


sub ended {
    my ($stream) = @_;

    my @ended = grep { $_->{ended} }
        map { @{ $_->{members} } } values %{ $stream->swarm->{groups} };
    return @ended;
}


# two workers, one killed, several times over
my $size;

for my $time (1 .. 3) {
    my $stream = GatewayStream->new(nginx => $nginx);

    ok(subscribers($stream), "$time: subscribers are in both workers");
    ok($stream->publishers_on_all('http', 2), "$time: publishers too");
    $stream->publisher('v1') for 1 .. 2;

    is(scalar $stream->round(10, @channels), 0, "$time: all answered");
    ok($stream->everything, "$time: everything has come");

    my ($victim) = sort keys %{ $stream->{workers} };
    my $there = $stream->{workers}{$victim};

    # killed with messages on their way
    my @doomed = grep { $_->{worker} == $victim } @{ $stream->{publishers} };
    @{ $stream->{publishers} }
        = grep { $_->{worker} != $victim } @{ $stream->{publishers} };

    $stream->publisher('http') for 1 .. 3;
    $nginx->expect_log(qr/worker process $victim exited on signal 9/,
        qr/shared memory zone "\S+" was locked by $victim/);

    my $killed = 0;
    $stream->{between} = sub {
        kill 'KILL', $victim unless $killed++;
    };
    my @dead = grep { $_->{worker} != $victim } $stream->round(20, @channels);
    is(scalar @dead, 0, "$time: publishers of the other one are answered");
    delete $stream->{between};

    @{ $stream->{publishers} } = grep { $_->{worker} != $victim }
        @{ $stream->{publishers} };

    for my $publisher (@doomed) {
        my $answer = $publisher->{socket}->response('POST');
        ok(!$answer, "$time: a publisher of the dead one gets a reset only");
    }

    # how much those have published that died is not known
    $stream->swarm->wait_for(10, sub { ended($stream) == $there });
    is(scalar ended($stream), $there, "$time: its subscribers are gone");

    my %subscribers;
    $subscribers{ (split ' ', $_->{name})[1] }++ for grep { !$_->{ended} }
        map { @{ $_->{members} } } values %{ $stream->swarm->{groups} };

    for my $channel (@channels) {
        my $left = $subscribers{$channel} // 0;
        ok(GatewayProcess::wait_for(10,
                sub { channel($channel)->{subscribers} == $left }),
            "$time: $channel has $left subscribers left");
        $stream->{sent}{$channel} = channel($channel)->{sequenceNumber};
    }

    is(scalar $stream->round(5, @channels), 0, "$time: it goes on");
    ok($stream->everything, "$time: everything has come to the others");
    $stream->check("$time: after a kill");

    $stream->close;
    ok(GatewayProcess::wait_for(10,
            sub { !grep { channel($_)->{subscribers} } @channels }),
        "$time: nobody is left");

    # what they held is free again, but for what was being made just then
    $nginx->http('DELETE', "/pub?channel=$_") for @channels;
    $size //= used();
    ok(GatewayProcess::wait_for(5, sub { used() <= $size + 16384 }),
        "$time: the zone is as before") or diag(used(), " > $size");
}


# reloads under load
{
    my $stream = GatewayStream->new(nginx => $nginx);

    my $once = sub {
        $nginx->reload;
        $stream->subscribe('raw', $_, 2) for @channels;
        $stream->publisher('http');
        my $dead = $stream->round(5, @channels);
        my $all = $stream->everything;
        $stream->close;
        $stream = GatewayStream->new(nginx => $nginx);
        $nginx->http('DELETE', "/pub?channel=$_") for @channels;
        return !$dead && $all;
    };

    my $fds = sub { scalar(() = glob '/proc/' . $nginx->pid . '/fd/*') };
    my $rss = sub {
        my $sum = 0;

        for my $pid ($nginx->pid, $nginx->worker_pids) {
            GatewayProcess::slurp("/proc/$pid/status") =~ /RssAnon:\s+(\d+)/;
            $sum += $1;
        }

        return $sum;
    };
    my $settle = sub {
        GatewayProcess::wait_for(10, sub { !$nginx->old_worker_pids });
        GatewayProcess::wait_for(10,
            sub { !grep { channel($_)->{subscribers} } @channels });
        $nginx->http('DELETE', "/pub?channel=$_") for @channels;
    };

    my $bad = 0;
    $bad += !$once->() for 1 .. 5;
    $settle->();
    my ($fds_before, $rss_before, $used_before) = ($fds->(), $rss->(), used());

    $bad += !$once->() for 1 .. $RELOADS;
    $settle->();

    is($bad, 0, "$RELOADS reloads: everything has come");
    is($fds->(), $fds_before, 'the master has as many descriptors');
    cmp_ok($rss->(), '<', $rss_before + 1024, 'and as much memory')
        unless $ENV{TEST_NGINX_USE_VALGRIND} || $ENV{GATEWAY_PRELOAD};
    cmp_ok(used(), '<=', $used_before + 4096,
        'and the zone is as it was');
}

$nginx->stop;
done_testing();
