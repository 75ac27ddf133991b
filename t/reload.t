#!/usr/bin/perl

# Reloads in the middle of a stream: old and new workers serve each other's
# publishers, what is in a zone survives, and nothing is left behind.

use strict;
use warnings;

use JSON::PP ();
use Test::More;

use GatewayNginx;
use GatewayProcess;
use GatewayStream;

my $http = "gateway_channel_zone z:4m;\nkeepalive_requests 100000;\n";

my $nginx = GatewayNginx->new(
    http      => $http,
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

sub channel {
    my ($name) = @_;

    my $response = $nginx->http('GET', "/pub?channel=$name") or return {};
    return JSON::PP::decode_json($response->{body} || '{}');
}

my $stream   = GatewayStream->new(nginx => $nginx);
my @channels = qw(a b c);

sub add {
    for my $channel (@channels) {
        $stream->subscribe($_, $channel, 8) for qw(raw v1);
    }
}

sub rounds {
    my ($n, $name) = @_;

    my $dead = 0;

    for (1 .. $n) {
        # publishers by HTTP end with their worker's keep-alive connections
        @{ $stream->{publishers} }
            = grep { $_->{kind} eq 'v1' } @{ $stream->{publishers} };
        $stream->publisher('http') for 1 .. 4;

        $dead += $stream->round(5, @channels);
        ok($stream->everything, "$name: everything has come") or return;
        $_->{socket}->close
            for grep { $_->{kind} eq 'http' } @{ $stream->{publishers} };
    }

    is($dead, 0, "$name: all publishers were answered");
}

add();
$stream->publisher('v1') for 1 .. 3;
rounds(2, 'before');

my $epoch = channel('a')->{epoch};

# two generations live on beside the new one; each subscribes and publishes
for my $generation (1 .. 3) {
    $nginx->reload($generation == 2 ? (workers => 3) : ());
    $stream->publisher('v1') for 1 .. 2;

    is(channel('a')->{epoch}, $epoch, "$generation: the epoch is the same");
    is(channel('a')->{sequenceNumber}, $stream->{sent}{a},
        "$generation: and the sequence goes on");

    rounds(2, "reload $generation");
}

cmp_ok(scalar $nginx->old_worker_pids, '>', 1, 'old workers are still there');

my %worker = map { $_->{worker} => 1 } @{ $stream->{publishers} };
cmp_ok(scalar keys %worker, '>=', 4, 'of several generations');

# a reload while messages are on their way
{
    for my $n (1 .. 3) {
        kill 'HUP', $nginx->pid;

        @{ $stream->{publishers} }
            = grep { $_->{kind} eq 'v1' } @{ $stream->{publishers} };
        is(scalar $stream->round(20, @channels), 0, "HUP $n: all answered");
        ok($stream->everything, "HUP $n: everything has come");
    }
}

$stream->check('reloads');
is(channel('a')->{subscribers}, 16, 'all are counted');


# those of the old workers leave, and the workers with them
$stream->close;

ok(GatewayProcess::wait_for(10, sub { !$nginx->old_worker_pids }),
    'old workers end');
ok(GatewayProcess::wait_for(5, sub { channel('a')->{subscribers} == 0 }),
    'no subscriber is left');


# another size is a new zone
{
    (my $other = $http) =~ s/4m/5m/;
    $nginx->reload(http => $other);

    ok($nginx->wait_for_log('"z" has changed: it is a new zone'),
        'a changed size warns');

    # an old worker may still take a connection
    ok(GatewayProcess::wait_for(5,
        sub { $nginx->http('GET', '/pub?channel=a')->{status} == 404 }),
        'and what was in the zone is not in the new one');
}

$nginx->stop;
done_testing();
