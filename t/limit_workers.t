#!/usr/bin/perl

# gateway_limit with two workers: one count for both, over time, over reloads
# and deaths of workers, and in zones that are full. GATEWAY_LONG=1 offers load
# for 30 seconds.

use strict;
use warnings;

use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use GatewayNginx;
use GatewayProcess;
use GatewaySocket;

my $SECONDS  = $ENV{GATEWAY_LONG} ? 30 : 6;
my $VALGRIND = $ENV{TEST_NGINX_USE_VALGRIND};
my $SLOW     = $VALGRIND || $ENV{GATEWAY_PRELOAD};

# reuseport: connections come to both workers
my $config = <<'END';
    keepalive_requests 1000000;
    gateway_limit_log_level info;
    gateway_limit_headers off;

    gateway_limit_zone $arg_k zone=load:1m rate=100/1s;
    gateway_limit_zone $arg_k zone=wide:1m rate=1000000/s;
    gateway_limit_zone $arg_k zone=keep:1m rate=4/h;
    gateway_limit_zone $arg_k zone=soon:1m rate=2/1s;
    gateway_limit_zone $arg_k zone=small:32k rate=10/h;
    gateway_limit_zone $arg_k zone=large:10m rate=1/h;

    server {
        listen 127.0.0.1:%PORT:two% reuseport;
        listen 127.0.0.1:%PORT:h2% http2;
        root %PREFIX%/html;
        add_header X-Time $msec always;
        add_header X-Worker $pid always;

        location = /pid { return 200 $pid; }
        location = /status { gateway_status; }

        # in both orders: workers must not wait for each other for ever
        location /ab { gateway_limit zone=load; gateway_limit zone=wide; }
        location /ba { gateway_limit zone=wide; gateway_limit zone=load; }

        location /keep { gateway_limit zone=keep; }
        location /keep_all {
            gateway_limit zone=keep;
            gateway_limit_headers draft;
        }
        location /soon { gateway_limit zone=soon; }
        location /small { gateway_limit zone=small; }
        location /large { gateway_limit zone=large; }
    }
END

my $nginx = GatewayNginx->new(
    workers   => 2,
    log_level => 'notice',
    http      => "access_log off;\n$config",
    files     => { map {; "html/$_" => '' }
            qw(ab ba keep keep_all soon small large) },
);

my $port = $nginx->port_named('two');


sub get { return $nginx->http('GET', $_[0], port => $port) }

sub statuses {
    my ($uri, $n) = @_;
    return join ' ', map { get($uri)->{status} } 1 .. $n;
}


# One connection to each worker.
sub connections {
    my %to;

    for (1 .. 200) {
        my $socket = GatewaySocket->connect(port => $port, timeout => 10)
            or next;
        $socket->write(GatewaySocket::request('GET', '/pid'));
        my $response = $socket->response('GET') or next;
        $to{ $response->{body} } ||= $socket;
        last if keys %to == 2;
    }

    return values %to;
}


# A client, in a process of its own: to both workers in turn, far more often
# than is allowed. Writes the time and worker of each answer.
sub offer {
    my ($key, $seconds, $out) = @_;

    open my $file, '>', $out or die "$out: $!";
    my $end  = time() + $seconds;
    my @uris = ("/ab?k=$key", "/ba?k=$key");

    while (time() < $end) {
        my @sockets = connections();
        my $alive   = 1;

        while ($alive && time() < $end) {
            for my $socket (@sockets) {
                push @uris, shift @uris;
                $alive &&= $socket->write(
                    GatewaySocket::request('GET', $uris[0]));
                my $response = $alive && $socket->response('GET');
                $alive = 0 if !$response;
                last       if !$alive;
                my $h = $response->{headers};
                print $file join(' ', $response->{status}, $h->{'x-time'},
                    $h->{'x-worker'}), "\n";
            }

            sleep 0.003;
        }
    }

    close $file;
}


# Several of them at once; meanwhile does something. The answers.
sub over_offered {
    my ($key, $seconds, $meanwhile) = @_;

    my @clients;

    for my $n (1 .. 4) {
        my $out = $nginx->prefix . "/answers.$key.$n";
        my $pid = fork() // die "fork: $!";

        if ($pid == 0) {
            eval { offer($key, $seconds, $out) };
            print STDERR $@ if $@;
            POSIX::_exit($@ ? 1 : 0);
        }

        push @clients, [$pid, $out];
    }

    $meanwhile->() if $meanwhile;

    my @answers;

    for my $client (@clients) {
        waitpid $client->[0], 0;
        is($?, 0, "$key: a client ended well");
        push @answers, map { [split] } split /\n/,
            GatewayProcess::slurp($client->[1]);
    }

    return @answers;
}


# The most that were admitted in any period of so many ms.
sub most_in {
    my ($ms, @times) = @_;

    my ($most, $from) = (0, 0);

    for my $to (0 .. $#times) {
        $from++ while $times[$to] - $times[$from] >= $ms;
        $most = $to - $from + 1 if $most < $to - $from + 1;
    }

    return $most;
}


sub admitted {
    return sort { $a <=> $b } map { POSIX::floor($_->[1] * 1000 + 0.5) }
        grep { $_->[0] == 200 } @_;
}


# what two workers admit together
{
    my @answers = over_offered('load', $SECONDS);
    my @times   = admitted(@answers);
    my %workers = map { $_->[2] => 1 } grep { $_->[0] == 200 } @answers;
    my $span    = ($times[-1] - $times[0]) / 1000;

    is(scalar(grep { $_->[0] !~ /^(?:200|429)$/ } @answers), 0,
        'answers are 200 or 429');
    is(scalar keys %workers, 2, 'both workers admitted some');
    cmp_ok(most_in(1000, @times), '<=', 102, 'never more than 102 in 1 s');

    # the last burst may have ended the time as much as a period early
    SKIP: {
        skip 'too slow to offer enough', 2 if $VALGRIND;
        cmp_ok(scalar @answers, '>', 150 * $SECONDS, 'more was offered');
        cmp_ok(scalar @times / ($span > $SECONDS ? $span : $SECONDS), '>=', 95,
            'at least 95 per second on average')
            or diag(scalar @times, " in $span s");
    }

    diag(sprintf '%d answers, %d admitted over %.2f s, at most %d in 1 s',
        scalar @answers, scalar @times, $span, most_in(1000, @times))
        if $ENV{GATEWAY_LONG};
}


# workers that are killed and reloads do not give anybody more
{
    my @answers = over_offered('killed', 3, sub {
        my ($victim) = $nginx->worker_pids;
        $nginx->expect_log(
            qr/shared memory zone "\S+" was locked by $victim/);
        sleep 0.8;
        $nginx->kill_worker($victim);
        $nginx->reload;
    });

    my @times   = admitted(@answers);

    cmp_ok(most_in(1000, @times), '<=', 102,
        'a kill and a reload: never more than 102 in 1 s');
    cmp_ok(scalar @times, '>', 100, 'and it goes on');
}


# what was counted stays
{
    is(statuses('/keep?k=a', 2), '200 200', 'two of four');
    $nginx->reload;
    is(statuses('/keep?k=a', 1), '200', 'a reload: the third');

    $nginx->kill_worker($_) for $nginx->worker_pids;
    is(statuses('/keep?k=a', 2), '200 429', 'all workers killed: the fourth');

    $nginx->reload;
    is(statuses('/keep?k=a', 1), '429', 'and after a further reload');
    is(statuses('/keep?k=b', 1), '200', 'others have their own');
}


# another rate or key: anew, and said
{
    my $said = qr/\[notice\] .* key or rate of gateway_limit_zone "keep"/;

    unlike($nginx->error_log, $said, 'nothing was counted anew so far');

    (my $other = $nginx->{http}) =~ s/(zone=keep:1m rate)=4/$1=5/;
    $nginx->reload(http => $other);
    is(statuses('/keep?k=a', 6), '200 200 200 200 200 429', 'another rate');
    ok($nginx->wait_for_log($said), 'which is in the log');
    is(scalar(() = $nginx->error_log =~ /$said/g), 1, 'once');

    $nginx->reload;
    is(statuses('/keep?k=a', 1), '429', 'a reload without a change');

    $other =~ s/\$arg_k (zone=keep)/"\$arg_k\$arg_more" $1/;
    $nginx->reload(http => $other);
    is(statuses('/keep?k=a', 1), '200', 'another key');
    is(statuses('/keep_all?k=a', 5), '200 200 200 200 429', 'of five');

    $other =~ s/(zone=keep):1m/$1:2m/;
    $nginx->reload(http => $other);
    is(statuses('/keep?k=a', 1), '200', 'another size is a new zone');
}


# who waits as long as he is told to passes
for my $time (1 .. 2) {
    is(statuses("/soon?k=$time", 2), '200 200', "$time: two of two");

    my $refused = get("/soon?k=$time");
    SKIP: {
        skip 'too slow', 2 if $refused->{status} == 200 && $SLOW;
        is($refused->{status}, 429, "$time: refused");
        my $after = $refused->{headers}{'retry-after'};
        like($after, qr/^[12]$/, "$time: told when to come again");
        sleep $after;
    }
    is(statuses("/soon?k=$time", 1), '200', "$time: which is true");
}


# Sends requests for these keys in one go; the statuses.
sub lot {
    my ($socket, $uri, @keys) = @_;

    my $text = join '', map {
        GatewaySocket::request('HEAD', "$uri?k=$_")
    } @keys;

    $socket->write($text) or return;

    my $until = $socket->deadline(30);
    my $n;

    while (($n = () = $socket->{in} =~ /\r\n\r\n/g) < @keys) {
        $socket->fill($until) or last;
    }

    my @statuses = $socket->{in} =~ m{^HTTP/1\.1 (\d+)}mg;
    $socket->{in} = '';

    return @statuses;
}


# a full zone keeps those that come often
{
    my ($socket, $other) = connections();
    my @hot = map {"hot$_"} 1 .. 5;
    my ($cold, $cold_ok, %ok) = (0, 0);
    my $most = $VALGRIND ? 2000 : 20000;

    while ($cold < $most) {
        my @cold = map { sprintf 'cold%012d', $cold + $_ } 1 .. 45;
        $cold += @cold;

        ($socket, $other) = ($other, $socket);
        my @statuses = lot($socket, '/small', @hot, @cold);
        is(scalar @statuses, 50, 'all are answered') if @statuses != 50;

        $ok{ $hot[$_] } += $statuses[$_] == 200 for 0 .. $#hot;
        $cold_ok += grep { $_ == 200 } @statuses[ @hot .. $#statuses ];
    }

    is(join(' ', map { $ok{$_} } @hot), '10 10 10 10 10',
        "$most keys in 32k: hot ones are limited all the time");
    is($cold_ok, $cold, 'and none of the others is refused');
}


# room for 80,000 keys of 16 bytes in 10m
SKIP: {
    skip 'takes too long', 3 if $VALGRIND;

    my ($socket) = connections();
    my $passed = 0;

    for my $n (0 .. 399) {
        my @keys = map { sprintf '%016d', 200 * $n + $_ } 0 .. 199;
        $passed += grep { $_ == 200 } lot($socket, '/large', @keys);
    }

    is($passed, 80000, '80,000 keys pass once');

    my @again = map { sprintf '%016d', $_ } 0, 1, 40000, 79999;
    is(join(' ', lot($socket, '/large', @again)), '429 429 429 429',
        'and all of them are still known');

    my $status = JSON::PP::decode_json(get('/status')->{body});
    my %bytes = map { $_->{labels}{kind} => $_->{value} }
        grep { $_->{labels}{zone} eq 'large' }
        @{ $status->{metrics}{gateway_zone_bytes} };
    cmp_ok($bytes{used} / 80000, '<=', 128, 'at most 128 bytes for each');
}


# A gRPC call over HTTP/2. Without a body: nginx resets the rest of one that it
# does not read, and some curls take that for the whole answer.
SKIP: {
    my $curl = `curl --version 2>/dev/null`;
    skip 'curl has no HTTP/2', 6 if $curl !~ /\bHTTP2\b/;

    $nginx->reload;
    statuses('/keep_all?k=grpc', 5);

    my $url  = 'http://127.0.0.1:' . $nginx->port_named('h2');
    my $head = `curl -s -m 10 -i --http2-prior-knowledge -X POST \\
        -H 'content-type: application/grpc' --data-binary '' \\
        '$url/keep_all?k=grpc'`;

    like($head, qr/^HTTP\/2 200/, 'gRPC: 200');
    like($head, qr/^grpc-status: 8\r$/m, 'with grpc-status 8');
    like($head, qr/^grpc-message: \S/m, 'and grpc-message');
    like($head, qr/^retry-after: \d+\r$/m, 'and Retry-After');
    unlike($head, qr/\r\n\r\n./s, 'and no body');

    $head = `curl -s -m 10 -i --http2-prior-knowledge '$url/keep_all?k=grpc'`;
    like($head, qr/^HTTP\/2 429/, 'what is not gRPC gets 429');
}

$nginx->stop;
done_testing();
