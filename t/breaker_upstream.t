#!/usr/bin/perl

# The breaker before upstreams that fail, hang, reset, cut off, are slow, flap
# and are gone: by the upstream's own log, what has reached it and when.

use strict;
use warnings;

use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

use GatewayBackend;
use GatewayNginx;
use GatewayProcess;
use GatewaySocket;

my $KEEPALIVE = "proxy_http_version 1.1;\nproxy_set_header Connection '';\n";

my %up = map { $_ => GatewayBackend->new(name => $_) } qw(load one two);
my ($load, $one, $two) = @up{qw(load one two)};
my $servers = sprintf "server 127.0.0.1:%d max_fails=0;\n"
    . "server 127.0.0.1:%d max_fails=0;\n",
    $one->port, $two->port;
my $single = sprintf "server 127.0.0.1:%d;\n", $one->port;
my $peers = 'scope=peer failures=3 open=400ms open_max=400ms probes=1'
    . ' successes=1';
my $few = 'failures=3 open=300ms open_max=300ms probes=1 successes=1';

# Each of these may stand anywhere among an upstream's directives.
my %positions = (
    keepalive_after  => "$single gateway_breaker zone=b $few; keepalive 4;",
    keepalive_before => "$single keepalive 4; gateway_breaker zone=b $few;",
    least_conn_after => "gateway_breaker zone=b $few; least_conn; $single",
    least_conn_before => "least_conn; $single gateway_breaker zone=b $few;",
    hashed => "gateway_breaker zone=b $few; hash \$uri consistent; $single",
    random => "random two; gateway_breaker zone=b $few; $single",
    zoned  => "zone zoned 64k; $single gateway_breaker zone=b $few;",
    backup => "$single server 127.0.0.1:" . $two->port
        . " backup; gateway_breaker zone=b $few;",
);

my $positions = join '',
    map {"upstream $_ { $positions{$_} }\n"} sort keys %positions;

my $http = <<"END";
gateway_channel_zone z:1m history=1000;
log_format breaker '\$status \$gateway_breaker_state \$upstream_addr';
keepalive_requests 100000;
proxy_next_upstream off;
proxy_read_timeout 300ms;
$KEEPALIVE

upstream load {
    server 127.0.0.1:@{[$load->port]};
    gateway_breaker zone=b:256k failures=5 open=700ms open_max=900ms probes=2
                    successes=3;
    keepalive 16;
}
upstream few { $single gateway_breaker zone=b $few; keepalive 4; }
upstream unkept { $single gateway_breaker zone=b $few; }
upstream patient {
    $single
    gateway_breaker zone=b failures=3 open=2s open_max=2s probes=1
                    successes=1;
    keepalive 4;
}
upstream slow {
    $single
    gateway_breaker zone=b failures=2 slow=50ms open=300ms;
}
upstream chosen {
    $single
    gateway_breaker_on http_429;
    gateway_breaker zone=b failures=2 open=300ms;
}
upstream first { $servers gateway_breaker zone=b failures=1 open=300ms; }
upstream second { $servers gateway_breaker zone=b failures=2 open=300ms; }
upstream peers { $servers gateway_breaker zone=b $peers; keepalive 4; }
upstream peers_zone {
    zone peers 64k; least_conn; $servers gateway_breaker zone=b $peers;
}
upstream all { $servers gateway_breaker zone=b $peers max_ejected=100%; }
upstream tls { server 127.0.0.1:%TLS_PORT%; gateway_breaker zone=b $few; }
upstream gone { server 127.0.0.1:%PORT:gone%; gateway_breaker zone=b $few; }
$positions
END

my $config = <<'END';
listen 127.0.0.1:%PORT:h2% http2;
access_log %PREFIX%/logs/access.log;
access_log %PREFIX%/logs/breaker.log breaker;
location / { add_header X-Worker $pid; proxy_pass http://$arg_to; }
location /next {
    proxy_next_upstream error timeout http_503;
    proxy_pass http://$arg_to;
}
location /long { proxy_read_timeout 20s; proxy_pass http://$arg_to; }
location /named {
    gateway_breaker_fallback stale @named;
    proxy_pass http://$arg_to;
}
location @named { return 200 "instead: $gateway_breaker_state"; }
location /code { gateway_breaker_fallback 429; proxy_pass http://$arg_to; }
location /page {
    error_page 503 /page.html;
    proxy_pass http://$arg_to;
}
location = /page.html { internal; return 200 page; }
location /unbuffered { proxy_request_buffering off; proxy_pass http://$arg_to; }
location = /auth { internal; proxy_pass http://few/auth; }
location = /guarded { auth_request /auth; }
location = /ssi { ssi on; ssi_types *; }
location /tls { proxy_pass https://tls/inside; }
location /inside { return 200 "inside $ssl_session_reused"; }
location /uwsgi { uwsgi_pass gone; }
location /fastcgi { fastcgi_pass gone; }
location /pub { gateway_publisher z; }
location /status { gateway_status; }
END

my $nginx = GatewayNginx->new(
    http => $http, config => $config, tls => 1,
    files => { 'html/guarded' => 'in',
        'html/ssi' =>
            'a<!--# include virtual="/named?to=few" -->z' },
    start => 0,
);
$nginx->start;


sub get {
    my ($uri, %args) = @_;

    my $r = $nginx->http('GET', $uri, %args);
    return $r ? "$r->{status} $r->{body}" : 'nothing';
}


sub status { return (split ' ', get(@_))[0] }


# [time, state] of each message on system:circuit about the upstream.
sub transitions {
    my ($upstream) = @_;

    my $channel = $nginx->http('GET', '/pub?channel=system:circuit&since=0');
    return unless $channel && $channel->{status} == 200;

    my @of;

    for my $m (@{ JSON::PP::decode_json($channel->{body})->{messages} }) {
        next if $m->{payload}{upstream} ne $upstream;

        my ($h, $min, $s) = $m->{timestamp} =~ /T(\d+):(\d+):([\d.]+)Z/;
        push @of, {
            at => $h * 3600 + $min * 60 + $s, state => $m->{payload}{state},
            %{ $m->{payload} },
        };
    }

    return @of;
}


sub state_of {
    my ($upstream) = @_;

    my $metrics = $nginx->http('GET', '/status?format=prometheus')->{body};
    return $metrics =~ /^gateway_breaker_state\{upstream="\Q$upstream\E",state="([\w-]+)"\} 1$/m
        ? $1 : '';
}


sub wait_for_state {
    my ($upstream, $state) = @_;
    return GatewayProcess::wait_for(5,
        sub { state_of($upstream) eq $state });
}


# From whatever it is to closed.
sub heal {
    my ($upstream) = @_;

    $_->behave('ok') for values %up;
    return GatewayProcess::wait_for(10, sub {
        get("/?to=$upstream");
        state_of($upstream) eq 'closed';
    });
}


# --- an upstream that dies under load

{
    my $clients = 8;
    my @pids;

    for my $client (1 .. $clients) {
        my $pid = fork();
        die "fork failed: $!\n" unless defined $pid;

        if ($pid == 0) {
            my ($socket, %got);
            my $end = time + GatewayProcess::patience(4);

            while (time < $end) {
                $socket ||= $nginx->connect or next;
                $socket->write(GatewaySocket::request('GET', '/?to=load'));
                my $r = $socket->response('GET');
                $got{ $r ? $r->{status} : 'none' }++;
                undef $socket if !$r;
                sleep 0.015;
            }

            GatewayProcess::spew($nginx->prefix . "/client.$client",
                join ' ', %got);
            POSIX::_exit(0);
        }

        push @pids, $pid;
    }

    sleep 0.7;
    cmp_ok($load->mark, '>=', 50, 'there is load');
    is(state_of('load'), 'closed', 'it is closed under load');

    $load->behave(503);
    ok(wait_for_state('load', 'open'), 'it opens');
    my @to_open = transitions('load');
    cmp_ok(scalar(grep { $_->{do} eq '503' } $load->requests), '<=',
        5 + $clients, 'failures and those under way at most have reached it');

    # two times open at least, with failing probes
    ok(GatewayProcess::wait_for(8,
            sub { 2 <= grep { $_->{state} eq 'open' } transitions('load') }),
        'a failing probe opens it again');

    $load->behave('slow:30');
    ok(wait_for_state('load', 'closed'), 'it closes once it is well');
    my $closed = $load->mark;
    ok(GatewayProcess::wait_for(5, sub { $load->mark > $closed + 5 }),
        'and all go there again');

    waitpid $_, 0 for @pids;

    # by the clock of the day, as the messages tell it
    my @changes = transitions('load');
    my @requests = map {
        my $at = $_->{at};
        +{ %$_, at => $at - 86400 * int($at / 86400) }
    } $load->requests;

    my ($during, $most, $probes) = (0, 0, 0);

    for my $i (0 .. $#changes) {
        my ($from, $to) = ($changes[$i]{at},
            $i < $#changes ? $changes[$i + 1]{at} : 1e9);
        my @in = grep { $_->{at} > $from + 0.05 && $_->{at} < $to - 0.005 }
            @requests;

        if ($changes[$i]{state} eq 'open') {
            $during += @in;
            cmp_ok($to - $from, '>=', 0.69, 'open as long as it should be');

        } elsif ($changes[$i]{state} eq 'half-open') {
            $probes++;
            for my $r (@in) {
                $most = $r->{under_way} if $r->{under_way} > $most;
            }
        }
    }

    is($during, 0, 'while it is open nothing reaches it');
    cmp_ok($probes, '>=', 2, 'it was half-open');
    cmp_ok($most, '<=', 2, 'never more than the probes at a time');
    is_deeply([map { $_->{state} } @changes],
        [('open', 'half-open') x (grep { $_->{state} eq 'open' } @changes),
            'closed'], 'the messages tell of each change, once');

    my %got;

    for my $client (1 .. $clients) {
        my %of = split ' ',
            GatewayProcess::slurp($nginx->prefix . "/client.$client");
        $got{$_} += $of{$_} for keys %of;
    }

    is(join(' ', sort keys %got), '200 503', 'clients get answers throughout');
}


# --- what is a failure

for my $case (
    [503 => 503], ['parts503' => 503], [500 => 500], ['hang' => 504], ['reset' => 502],
    ['drop' => 502])
{
    my ($do, $status) = @$case;

    # a connection that was kept tells nothing: this upstream keeps none
    ok(heal('unkept'), "$do: closed");
    is(status('/?to=unkept'), 200, "$do: well before");

    is(status("/?to=unkept&do=$do"), $status, "$do: $_") for 1 .. 3;

    my $mark = $one->mark;
    is(status("/?to=unkept&do=$do"), 503, "$do: refused");
    is($one->mark, $mark, "$do: nothing has reached it");
}

# A kept connection that ends without an answer may have been closed before:
# nginx tries another, and only that one tells something.
{
    ok(heal('few'), 'kept: closed');

    # both workers keep one
    my %kept;
    ok(GatewayProcess::wait_for(10, sub {
        my $r = $nginx->http('GET', '/?to=few');
        $kept{ $r->{headers}{'x-worker'} } = 1;
        return keys %kept == 2;
    }), 'kept: by both workers');

    my $mark = $one->mark;
    is(status('/next?to=few&do=drop'), 502, "kept: $_") for 1, 2;
    is(state_of('few'), 'closed', 'kept: one outcome each');
    get('/next?to=few&do=drop');
    cmp_ok($one->mark - $mark, '>=', 4, 'kept: it was tried again');
    is(state_of('few'), 'open', 'kept: three failures');
}

like(get('/tls'), qr/^200 inside/, 'over TLS') for 1 .. 2;

for my $do (qw(cut cutreset)) {
    ok(heal('few'), "$do: closed");
    is(state_of('few'), 'closed', "$do: still");
    get("/?to=few&do=$do") for 1 .. 3;
    is(state_of('few'), 'open', "$do: cut off is a failure");
}

ok(heal('few'), 'closed');
is(status('/?to=few&do=404'), 404, '404 is an answer') for 1 .. 4;
is(state_of('few'), 'closed', 'other statuses are none');

get('/?to=slow&do=slow:100') for 1 .. 2;
is(state_of('slow'), 'open', 'slow is a failure');
ok(heal('slow'), 'closed again');
get('/?to=slow&do=drip:100') for 1 .. 3;
is(state_of('slow'), 'closed', 'a slow body is not');

get('/?to=chosen&do=503') for 1 .. 3;
is(state_of('chosen'), 'closed', 'gateway_breaker_on: 503 is not chosen');
get('/?to=chosen&do=429') for 1 .. 2;
is(state_of('chosen'), 'open', 'gateway_breaker_on: 429 is');

get('/?to=gone') for 1 .. 3;
is(state_of('gone'), 'open', 'nobody listens');
is(status('/uwsgi'), 503, 'uwsgi: refused');
is(status('/fastcgi'), 503, 'fastcgi: refused');
ok(wait_for_state('gone', 'half-open'), 'gone: half-open');
is(status('/uwsgi'), 502, 'uwsgi: a probe');
is(state_of('gone'), 'open', 'uwsgi: has failed');
ok(wait_for_state('gone', 'half-open'), 'gone: half-open');
is(status('/fastcgi'), 502, 'fastcgi: a probe');
is(state_of('gone'), 'open', 'fastcgi: has failed');


# --- positions

for my $name (sort keys %positions) {
    $_->behave('ok') for $one, $two;
    is(status("/?to=$name"), 200, "$name: goes");
    get("/?to=$name&do=503") for 1 .. 3;
    is(status("/?to=$name"), 503, "$name: refused");
    ok(wait_for_state($name, 'half-open'), "$name: half-open");
    is(status("/?to=$name"), 200, "$name: a probe");
    is(state_of($name), 'closed', "$name: closed");
    is(status("/?to=$name"), 200, "$name: goes again");
}


# --- fallbacks

{
    ok(heal('patient'), 'closed');
    get('/?to=patient&do=503') for 1 .. 3;

    my $r = $nginx->http('GET', '/?to=patient');
    is($r->{status}, 503, 'refused');
    is($r->{headers}{'retry-after'}, 2, 'Retry-After: rounded up');
    is(get('/named?to=patient'), '200 instead: open', 'a named location');

    $r = $nginx->http('GET', '/code?to=patient');
    is($r->{status}, 429, 'a code');
    like($r->{headers}{'retry-after'}, qr/^[12]$/, 'with Retry-After');
    is(get('/page?to=patient'), '503 page', 'error_page');

    for my $location ('/', '/named', '/unbuffered') {
        my $socket = $nginx->connect;
        my $status = $location eq '/named' ? 200 : 503;

        # what was not read of a body ends the connection
        for my $i (1 .. ($location eq '/unbuffered' ? 1 : 2)) {
            $socket->write(GatewaySocket::request('POST',
                    "$location?to=patient", body => 'x' x 100000));
            my $r = $socket->response('POST');
            is($r && $r->{status}, $status, "$location: POST $i is answered");
        }
    }

    my $h2 = 'http://127.0.0.1:' . $nginx->port_named('h2');

    is(`curl -s --http2-prior-knowledge -w ' %{http_code}' '$h2/named?to=patient'`,
        'instead: open 200', 'HTTP/2: a named location');
    like(`curl -s --http2-prior-knowledge -w ' %{http_code}' '$h2/?to=patient' -d @/etc/services`,
        qr/ 503$/, 'HTTP/2: POST');
    like(`curl -si --http2-prior-knowledge -H 'Content-Type: application/grpc' '$h2/?to=patient' -d x`,
        qr/^HTTP\/2 200 .*grpc-status: 14\r\n/s, 'gRPC: UNAVAILABLE');

    ok(heal('few'), 'closed');
    is(get('/guarded'), '200 in', 'a subrequest that is let in');
    get('/?to=few&do=503') for 1 .. 3;
    is(status('/guarded'), 500, 'a subrequest that is refused');
    is(get('/ssi'), '200 ainstead: openz', 'an include: a fallback');

    like(GatewayProcess::slurp($nginx->prefix . '/logs/breaker.log'),
        qr/^503 open -$/m, 'the log shows no address for what was refused');
}


# --- each attempt's status, also after the first

{
    ok(heal('second'), 'second: closed');
    ok(status('/next?to=second&do=503') eq '503', 'two attempts, one request');
    like((grep {/"second" is open/} split /\n/, $nginx->error_log)[-1],
        qr/2 failures in a row, the last: http_503/, 'both by their status');
}


# --- the last answer, where a breaker opens between attempts

for my $case ([first => 1], [second => 2]) {
    my ($name, $reach) = @$case;

    ok(heal($name), "$name: closed");
    my @marks = map { $_->mark } $one, $two;

    is(get("/next?to=$name&do=503"), '503 answer 503',
        "$name: the last answer, with its body");
    is($one->mark + $two->mark - $marks[0] - $marks[1], $reach,
        "$name: $reach reached the servers");
    ok(heal($name), "$name: closed again");
    @marks = map { $_->mark } $one, $two;
    is(status("/next?to=$name&do=drop"), 502, "$name: 502");
    is($one->mark + $two->mark - $marks[0] - $marks[1], $reach,
        "$name: $reach reached the servers");
}


# --- clients that leave

sub leaves {
    my ($uri, $backend) = @_;

    my $mark = $backend->mark;
    my $socket = $nginx->connect;
    $socket->write(GatewaySocket::request('GET', $uri));
    GatewayProcess::wait_for(5, sub { $backend->mark > $mark })
        or fail("$uri has not come");
    $socket->close;

    my $line = quotemeta "\"GET $uri";
    $uri =~ s/\W/./g;
    return GatewayProcess::wait_for(5,
        sub { $nginx->access_log =~ /GET $uri HTTP[^\n]* 499 / });
}

{
    ok(heal('patient'), 'closed');
    ok(leaves("/?to=patient&do=hang&n=$_", $one), "$_: left") for 1 .. 4;
    is(state_of('patient'), 'closed', 'clients that leave count as nothing');

    get('/?to=patient&do=503') for 1 .. 3;
    is(state_of('patient'), 'open', 'failures do');
    ok(wait_for_state('patient', 'half-open'), 'half-open');

    my $socket = $nginx->connect;
    my $mark = $one->mark;
    $socket->write(GatewaySocket::request('GET', '/long?to=patient&do=hang'));
    ok(GatewayProcess::wait_for(5, sub { $one->mark > $mark }), 'a probe');
    is(status('/?to=patient'), 503, 'there is one at a time');
    like(GatewayProcess::slurp($nginx->prefix . '/logs/breaker.log'),
        qr/^503 half-open -$/m, 'refused by the half-open state');
    $socket->close;

    ok(GatewayProcess::wait_for(5, sub { status('/?to=patient') == 200 }),
        'a probe whose client left is given back');
    is(state_of('patient'), 'closed', 'and the next one closes it');
}


# --- by server

for my $name (qw(peers peers_zone)) {
    $_->behave('ok') for $one, $two;
    $one->behave(503);
    my $mark = $one->mark;

    my $bad = grep { status("/?to=$name") != 200 } 1 .. 30;
    cmp_ok($bad, '>=', 3, "$name: three failures");
    cmp_ok($bad, '<=', 7, "$name: then nearly none");
    cmp_ok($one->mark - $mark, '<=', 7, "$name: the server gets probes only");

    $one->behave('ok');
    ok(GatewayProcess::wait_for(5, sub {
            my $mark = $one->mark;
            get("/?to=$name") for 1 .. 8;
            $one->mark - $mark >= 3;
        }), "$name: well again, it gets its share");

    # half of two are out at most
    $_->behave(503) for $one, $two;
    get("/?to=$name") for 1 .. 10;
    like(get("/?to=$name"), qr/^503 answer 503/, "$name: one stays in");
    $_->behave('ok') for $one, $two;
    ok(GatewayProcess::wait_for(5, sub {
            my ($a, $b) = ($one->mark, $two->mark);
            get("/?to=$name") for 1 .. 8;
            $one->mark - $a >= 3 && $two->mark - $b >= 3;
        }), "$name: both are in again");
}

{
    $_->behave(503) for $one, $two;
    get('/?to=all') for 1 .. 8;
    my ($a, $b) = ($one->mark, $two->mark);
    is(get('/named?to=all'), '200 instead: open', 'all: all may be out');
    is($one->mark + $two->mark, $a + $b, 'all: nothing reaches them');
    is(state_of('all'), 'open', 'all: open as a whole');
    $_->behave('ok') for $one, $two;
    ok(GatewayProcess::wait_for(5, sub { status('/?to=all') == 200 }),
        'all: well again');
}


# --- reloads and killed workers

{
    ok(heal('patient'), 'closed');
    get('/?to=patient&do=503') for 1 .. 3;
    my $before = time;
    my $mark = $one->mark;

    $nginx->reload;
    is(status('/?to=patient'), 503, 'after a reload it is open still');
    $nginx->expect_log(qr/shared memory zone "\S+" was locked by/);
    $nginx->kill_worker(($nginx->worker_pids)[0]);
    is(status('/?to=patient'), 503, 'after a worker was killed, too') for 1, 2;
    is($one->mark, $mark, 'and nothing reached it');

    ok(wait_for_state('patient', 'half-open'), 'half-open');
    cmp_ok(time - $before, '>=', 1.7, 'and not before its time');

    # a worker that dies with a probe in hand
    my $socket = $nginx->connect;
    $socket->write(GatewaySocket::request('GET', '/long?to=patient&do=hang'));
    ok(GatewayProcess::wait_for(5, sub { $one->mark > $mark }), 'a probe');
    is(status('/?to=patient'), 503, 'others are refused');
    kill 'KILL', $_ for $nginx->worker_pids;
    $nginx->expect_log(qr/exited on signal 9/);

    my $all = GatewayProcess::wait_for(10, sub {
        status('/?to=patient') eq '200';
    });
    ok($all, 'the probe of a dead worker is given back');
    is(state_of('patient'), 'closed', 'and the next closes it');
}

$nginx->stop;
$_->stop for values %up;
done_testing();
