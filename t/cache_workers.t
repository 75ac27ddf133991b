#!/usr/bin/perl

# gateway_cache over several workers: one request for many, a leader that is
# killed or whose client leaves, reloads, and a zone that is far too small.

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use List::Util qw(sum);
use Test::More;
use Time::HiRes qw(time);

use GatewayNginx;
use GatewayOrigin;
use GatewayProcess;
use GatewaySocket;

# /kind/name: what a kind is like, see below
sub body_of {
    my ($uri) = @_;

    my ($size) = $uri =~ m{/(\d+)$} or return "body of $uri";
    my $text = md5_hex($uri);

    return substr $text x (1 + $size / length $text), 0, $size;
}

my $origin = GatewayOrigin->new(
    children => 24,
    handler  => sub {
        my ($uri) = @_;
        my $fresh = 'Cache-Control: max-age=600';

        return ('200 OK', [$fresh], body_of($uri), 1) if $uri =~ m{^/slow/};
        return ('200 OK', [$fresh], body_of($uri), 3) if $uri =~ m{^/late/};
        return ('200 OK', ['Cache-Control: private'], body_of($uri), 1)
            if $uri =~ m{^/private/};
        return ('200 OK', [$fresh], body_of($uri));
    }
);

my $port = $origin->port;

my $nginx = GatewayNginx->new(
    workers   => 2,
    log_level => 'notice',
    http      => "gateway_cache_zone c:1m max_object=200k;\naccess_log off;\n"
        . "add_header X-Worker \$pid always;\n"
        . 'add_header X-Cache $gateway_cache_status always;',
    config => <<"END");
        location / {
            gateway_cache c;
            gateway_cache_lock on timeout=20s;
            proxy_pass http://127.0.0.1:$port;
        }
        location /pid { return 200 \$pid; }
        location /status { gateway_status; }
END

# Sends one request each on n connections, and returns the sockets.
sub ask {
    my ($uri, $n) = @_;

    my @sockets;

    for (1 .. $n) {
        my $socket = $nginx->connect(timeout => 30) or die "no connection\n";
        $socket->write(GatewaySocket::request('GET', $uri));
        push @sockets, $socket;
    }

    return @sockets;
}

# How many were answered with 200 and the right body; {worker} => number.
sub answers {
    my ($uri, @sockets) = @_;

    my ($good, %worker) = (0);

    for my $socket (@sockets) {
        my $response = $socket->response('GET');
        $socket->close;
        next unless $response && $response->{status} == 200;
        $good++ if $response->{body} eq body_of($uri);
        $worker{ $response->{headers}{'x-worker'} }++;
    }

    return ($good, \%worker);
}

sub asked {
    my ($uri) = @_;
    return GatewayProcess::wait_for(10, sub { $origin->requests($uri) });
}


# --- one for many

my ($good, $worker) = answers('/slow/a', ask('/slow/a', 200));

is($good, 200, '200 concurrent requests are answered');
is($origin->requests('/slow/a'), 1, 'by one request to upstream');
is(scalar keys %$worker, 2, 'in both workers');

my $start = time;
($good) = answers('/private/a', ask('/private/a', 20));

is($good, 20, 'what is not cacheable reaches all who waited');
is($origin->requests('/private/a'), 20, 'each by a request of its own');
cmp_ok(time - $start, '<', 8, 'and not one after the other');

my @first = ask('/late/leaves', 1);
asked('/late/leaves');
my @others = ask('/late/leaves', 10);
$first[0]->close;
($good) = answers('/late/leaves', @others);

is($good, 10, 'where the client of the leader leaves the others are answered');
is($origin->requests('/late/leaves'), 2, 'by one more request');


# --- a leader that is killed

# Asks for a key and kills one of the workers, who may be its leader; until
# some of those who wait do so in the other worker, which is chance.
sub kill_one {
    my ($key, $which) = @_;

    my ($good, $worker, $pid, $uri);

    for my $try (1 .. 5) {
        $uri = "$key/$try";

        my @waiting = ask($uri, 40);
        asked($uri);

        $pid = ($nginx->worker_pids)[$which];
        $nginx->kill_worker($pid);
        ($good, $worker) = answers($uri, @waiting);

        last if $good;
    }

    cmp_ok($good, '>=', 1, 'requests in other workers are answered');
    ok(!$worker->{$pid}, 'none of them by the one that was killed');

    ($good) = answers($uri, ask($uri, 2));
    is($good, 2, 'no key hangs after that');
}

kill_one('/late/killed', 0);
kill_one('/late/killed2', 1);


# --- reload

answers('/keep/1', ask('/keep/1', 1));
my @waiting = ask('/late/reload', 20);
asked('/late/reload');
$nginx->reload;
my @new = ask('/late/reload', 20);
($good) = answers('/late/reload', @waiting, @new);

is($good, 40, 'old and new workers wait for the same answer');
is($origin->requests('/late/reload'), 1, 'to one request');

my $response = $nginx->http('GET', '/keep/1');
is($response->{headers}{'x-cache'}, 'HIT', 'objects survive a reload');


# --- a zone that is too small for what is asked for

my ($bytes, $wrong, $n, $killed) = (0, 0, 0, 0);
my $LIMIT = 10 * 1024 * 1024;
my @open = map { undef } 1 .. 8;

while ($bytes < $LIMIT) {
    for my $socket (@open) {
        if ($socket) {
            my $got = $socket->{sock}->response('GET');
            $socket->{sock}->close;
            if ($got && $got->{status} == 200) {
                $wrong++ if $got->{body} ne body_of($socket->{uri});
                $bytes += length $got->{body};
                $n++;
            } elsif (!$killed) {
                $wrong++;
            }
        }

        my $size = int exp(rand log(250_000));
        my $uri = '/any/' . int(rand 40) . "/$size";
        $uri = '/any/hot' . int(rand 20) . '/' . 5000 if rand() < 0.5;

        my $sock = $nginx->connect(timeout => 30) or die "no connection\n";
        $sock->write(GatewaySocket::request('GET', $uri));
        $socket = { sock => $sock, uri => $uri };
    }

    if (!$killed && $bytes > $LIMIT / 2) {
        $killed = 1;
        $nginx->kill_worker(($nginx->worker_pids)[0]);
    }
}

$_->{sock}->close for @open;

is($wrong, 0, "each of $n bodies is right, with a worker killed meanwhile");
ok($killed, 'a worker was killed');

my $ok = 0;
for my $i (0 .. 19) {
    my $uri = "/any/hot$i/5000";
    $response = $nginx->http('GET', $uri, timeout => 10);
    $ok++ if $response && $response->{body} eq body_of($uri);
}
is($ok, 20, 'no key hangs');

$response = $nginx->http('GET', '/status?format=prometheus');
my ($used) = $response->{body}
    =~ /gateway_zone_bytes\{zone="c",kind="used"\} (\d+)/;
cmp_ok($used, '<=', 1024 * 1024, 'the zone is no larger than it may be');
like($response->{body},
    qr/gateway_cache_requests_total\{zone="c",status="hit"\} [1-9]/,
    'hits were counted');

$nginx->stop;
$origin->stop;

done_testing();
