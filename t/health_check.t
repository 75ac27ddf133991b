#!/usr/bin/perl

# gateway_health_check against servers that fail, hang, reset and talk rubbish:
# who is asked how often and by whom, and who gets traffic.

use strict;
use warnings;

use JSON::PP ();
use Test::More;

use GatewayNginx;
use GatewayPeer;
use GatewayProcess;

my ($nginx, %peer);


sub health {
    my $response = $nginx->http('GET', '/health') or return { status => '' };
    my $health = JSON::PP::decode_json($response->{body});

    $health->{code} = $response->{status};

    return $health;
}


sub peer_of {
    my ($name) = @_;

    my $server = '127.0.0.1:' . $nginx->port_named($name);

    for my $upstream (@{ health()->{upstreams} || [] }) {
        for my $peer (@{ $upstream->{peers} }) {
            return $peer
                if $peer->{server} eq $server && defined $peer->{lastCheck};
        }
    }

    return { state => 'unknown' };
}


sub becomes {
    my ($name, $state, $what) = @_;

    ok(GatewayProcess::wait_for(15, sub { peer_of($name)->{state} eq $state }),
        $what) or diag JSON::PP::encode_json(health());
}


sub peer {
    my ($name, %args) = @_;

    return $peer{$name} = GatewayPeer->new(
        name => $name, port => $nginx->port_named($name),
        folder => $nginx->prefix, %args);
}


# The bodies of so many requests, each once with its number.
sub bodies {
    my ($uri, $n) = @_;

    my %count;

    for (1 .. $n) {
        my $response = $nginx->http('GET', $uri);
        $count{ $response ? $response->{body} : 'none' }++;
    }

    return \%count;
}


sub set_up {
    my ($upstreams, $locations, %args) = @_;

    $nginx = GatewayNginx->new(
        %args,
        start  => 0,
        http   => $upstreams,
        config => "location = /health { gateway_health; }\n"
            . "location = /status { gateway_status; }\n" . $locations);
}


# The process that asks: its end of the connection to the server.
sub asker {
    my ($name) = @_;

    my $port = sprintf '%04X', $nginx->port_named($name);

    open my $tcp, '<', '/proc/net/tcp' or die $!;
    my %inode = map { $_ => 1 }
        map { (split)[9] } grep { (split)[2] =~ /:$port$/ } <$tcp>;

    for my $pid ($nginx->worker_pids) {
        for my $fd (glob "/proc/$pid/fd/*") {
            return $pid
                if (readlink($fd) || '') =~ /^socket:\[(\d+)\]/ && $inode{$1};
        }
    }

    return;
}


# --- what is asked, and who asks

set_up(<<'END', 'location = /u { proxy_pass http://u; }');
    upstream u {
        server 127.0.0.1:%PORT:a%;
        server 127.0.0.1:%PORT:b%;
        gateway_health_check uri=/check?x=1 interval=200ms timeout=2s passes=2
            fails=2;
        keepalive 4;
    }
END
peer('a');
peer('b');
$nginx->start;

becomes($_, 'up', "$_ is up") for qw(a b);

GatewayProcess::wait_for(10, sub { $peer{a}->checks >= 10 });

my @checks = $peer{a}->checks;
my $took = $checks[-1]{time} - $checks[0]{time};

is($checks[0]{uri}, '/check?x=1', 'the uri is asked for');
is($checks[0]{host}, 'u', "Host is the upstream's name");
like($checks[0]{agent}, qr/^gateway_health_check\//, 'User-Agent');
is(scalar(grep { $_->{connection} != $checks[0]{connection} } @checks), 0,
    'all checks over one connection');
cmp_ok($took, '>', 0.19 * $#checks, 'one of two workers checks, not both');

my $before = peer_of('a');
like($before->{lastCheck}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    'lastCheck is RFC 3339 in UTC with ms');
like($before->{responseTime}, qr/^\d+$/, 'responseTime is a number');
ok(GatewayProcess::wait_for(5,
    sub { peer_of('a')->{lastCheck} gt $before->{lastCheck} }),
    'lastCheck goes on');

# --- answers

for my $mode (qw(chunked interim redirect close old endless excess ok)) {
    $peer{a}->mode($mode);
    my $n = $peer{a}->checks;
    GatewayProcess::wait_for(10, sub { $peer{a}->checks >= $n + 4 });
    is(peer_of('a')->{state}, 'up', "answer: $mode is good");
}

for my $mode (qw(fail teapot silent reset garbage head chunk length part)) {
    $peer{a}->mode($mode);
    becomes('a', 'down', "answer: $mode is bad");
    $peer{a}->mode('ok');
    becomes('a', 'up', "... and ok is good again");
}

# --- a server that hangs, and traffic

$peer{a}->mode('hang');
becomes('a', 'down', 'hangs: down');
is(peer_of('a')->{responseTime}, undef, 'no answer: responseTime is null');
is(health()->{status}, 'ok', 'one server is left: ok');
is_deeply(bodies('/u', 20), { b => 20 }, 'no traffic to the one that is down');

my @log = grep { /gateway_health_check:.*:$nginx->{ports}{a}".*no answer/ }
    split /\n/, $nginx->error_log;
is(scalar @log, 1, 'one line tells why');
like($log[0], qr/\[warn\].*upstream "u" is down after 2 failed checks: no/,
    'what it says');

$peer{b}->mode('fail');
becomes('b', 'down', 'the other fails');
is(health()->{status}, 'unavailable', 'none is left: unavailable');
is(health()->{code}, 503, '... with 503');
is($nginx->http('GET', '/u')->{status}, 502, 'requests are refused');

# --- a reload keeps it

$nginx->reload;
is(peer_of('a')->{state}, 'down', 'down after a reload');
is($nginx->http('GET', '/u')->{status}, 502, '... also for requests');

$peer{$_}->mode('ok') for qw(a b);
becomes($_, 'up', "$_ comes up") for qw(a b);
ok(GatewayProcess::wait_for(5, sub { keys %{ bodies('/u', 10) } == 2 }),
    'both get traffic again');

# --- the one that checks is killed

my $asker;
GatewayProcess::wait_for(5, sub { $asker = asker('a') });
ok($asker, 'one worker checks');
$nginx->kill_worker($asker);

my $n = $peer{a}->checks;
ok(GatewayProcess::wait_for(10, sub { $peer{a}->checks >= $n + 5 }),
    'another goes on when it is killed');

@checks = ($peer{a}->checks)[-5 .. -1];
cmp_ok($checks[-1]{time} - $checks[0]{time}, '>', 0.19 * 4, '... alone');

# --- reload: the old workers stop, and new parameters act

my ($tick) = $nginx->connect;
$tick->write("GET /health HTTP/1.1\r\nHost: x\r\n");    # holds an old worker
$nginx->reload(http => <<'END');
    upstream u {
        server 127.0.0.1:%PORT:a%;
        gateway_health_check uri=/new interval=300ms fails=1 match=418,200;
    }
END

ok(GatewayProcess::wait_for(10,
    sub { (($peer{a}->checks)[-1])->{uri} eq '/new' }), 'new uri');
$n = $peer{a}->checks;
GatewayProcess::wait_for(10, sub { $peer{a}->checks >= $n + 6 });
@checks = ($peer{a}->checks)[-6 .. -1];
is(scalar(grep { $_->{uri} ne '/new' } @checks), 0, 'the old one is over');
cmp_ok($checks[-1]{time} - $checks[0]{time}, '>', 0.29 * 5, 'new interval');
$tick->close;

$peer{a}->mode('teapot');
$n = $peer{a}->checks;
GatewayProcess::wait_for(10, sub { $peer{a}->checks >= $n + 3 });
is(peer_of('a')->{state}, 'up', 'new match');
$peer{a}->mode('redirect');
becomes('a', 'down', '... which 302 is not in');

my $status = JSON::PP::decode_json($nginx->http('GET', '/status')->{body});
my %metric;
for my $name (qw(gateway_health_checks_total gateway_peer_up)) {
    for my $series (@{ $status->{metrics}{$name} }) {
        my $labels = $series->{labels};
        $metric{"$name/" . ($labels->{result} || $labels->{server})}
            = $series->{value};
    }
}
cmp_ok($metric{'gateway_health_checks_total/passed'}, '>', 50, 'passed');
cmp_ok($metric{'gateway_health_checks_total/failed'}, '>', 10, 'failed');
is($metric{'gateway_peer_up/127.0.0.1:' . $nginx->port_named('a')}, 0,
    'gateway_peer_up');

# --- a server that is gone, a single one, with zone, in one process

$peer{a}->mode('ok');
becomes('a', 'up', 'up before it goes');
$peer{a}->stop;
becomes('a', 'down', 'a closed port is down');
@log = grep { /connect\(\) failed/ } split /\n/, $nginx->error_log;
is(scalar @log, 1, 'one line for all refused connections');
like($log[0], qr/\[warn\] .* \(111: Connection refused\)/, '... with the error');
$nginx->stop;
%peer = ();

# --- backup, zone, methods of balancing, and one process without a master

for my $master (0, 1) {
    set_up(<<'END', <<'LOC', master => $master, workers => $master ? 2 : 1);
        upstream u {
            zone u 64k;
            gateway_health_check uri=/ interval=100ms timeout=1s passes=1
                fails=1;
            least_conn;
            server 127.0.0.1:%PORT:a% max_fails=0;
            server 127.0.0.1:%PORT:b% backup;
        }
        upstream s {
            hash $arg_x consistent;
            server 127.0.0.1:%PORT:c% max_fails=0;
            gateway_health_check uri=/ interval=100ms timeout=1s passes=1
                fails=1;
        }
END
        location = /u { proxy_pass http://u; }
        location = /s { proxy_pass http://s; }
LOC
    peer($_) for qw(a b c);
    $nginx->start;

    my $mode = $master ? 'zone' : 'no master';

    becomes($_, 'up', "$mode: $_ is up") for qw(a b c);
    is_deeply(bodies('/u', 5), { a => 5 }, "$mode: the primary serves");

    $peer{a}->mode('fail');
    becomes('a', 'down', "$mode: the primary fails");
    is_deeply(bodies('/u', 10), { b => 10 }, "$mode: the backup serves");

    $peer{b}->mode('fail');
    becomes('b', 'down', "$mode: the backup fails");
    is($nginx->http('GET', '/u')->{status}, 502, "$mode: nobody serves");

    $peer{a}->mode('ok');
    becomes('a', 'up', "$mode: the primary is back");
    ok(GatewayProcess::wait_for(5,
        sub { (bodies('/u', 5)->{a} || 0) == 5 }), "$mode: and serves");

    $peer{c}->mode('fail');
    becomes('c', 'down', "$mode: a single server fails");
    is($nginx->http('GET', '/s?x=1')->{status}, 502, "$mode: and gets nothing");
    is(health()->{code}, 503, "$mode: 503");

    $nginx->stop;
    %peer = ();
}

# --- spread in time: two servers are half an interval apart

set_up(<<'END', '');
    upstream u {
        server 127.0.0.1:%PORT:a%;
        server 127.0.0.1:%PORT:b%;
        gateway_health_check uri=/ interval=4s;
    }
END
peer($_) for qw(a b);
$nginx->start;

ok(GatewayProcess::wait_for(15, sub { $peer{a}->checks && $peer{b}->checks }),
    'both are asked');
my ($first_a) = $peer{a}->checks;
my ($first_b) = $peer{b}->checks;
cmp_ok(abs($first_b->{time} - $first_a->{time}), '>', 0.5,
    'but not both at once');
$nginx->stop;
%peer = ();

# --- with a breaker: each takes out what it knows of

set_up(<<'END', 'location = /u { proxy_pass http://u; }');
    upstream u {
        gateway_breaker zone=b:1m scope=peer failures=1 open=1h;
        server 127.0.0.1:%PORT:a%;
        server 127.0.0.1:%PORT:b% max_fails=0;
        gateway_health_check uri=/ interval=100ms fails=1 passes=1;
    }
END
peer('b');
$nginx->start;

becomes('a', 'down', 'breaker: a is gone');
becomes('b', 'up', 'breaker: b is up');
is(peer_of('b')->{breaker}, 'closed', 'breaker: it is closed');
is_deeply(bodies('/u', 10), { b => 10 }, 'breaker: b serves');
is(peer_of('a')->{breaker}, 'closed', 'breaker: a was not asked');

$peer{b}->mode('fail');
becomes('b', 'down', 'breaker: b fails its checks');
is(health()->{code}, 503, 'breaker: nobody is left');
peer('a');
becomes('a', 'up', 'breaker: a comes');
is(health()->{code}, 200, 'breaker: one is enough');
ok(GatewayProcess::wait_for(5, sub { (bodies('/u', 5)->{a} || 0) == 5 }),
    'breaker: a serves');
$nginx->stop;
%peer = ();

# --- TLS

set_up(<<'END', <<'LOC', tls => 1);
    upstream localhost.tls {
        server 127.0.0.1:%PORT:t%;
        gateway_health_check uri=/ interval=100ms fails=1 passes=1;
    }
    upstream wrong {
        server 127.0.0.1:%PORT:w%;
        gateway_health_check uri=/ interval=100ms fails=1 passes=1;
    }
END
    location = /t {
        proxy_pass https://localhost.tls;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate %PREFIX%/server.crt;
        proxy_ssl_name localhost;
        proxy_ssl_server_name on;
    }
    location = /w {
        proxy_pass https://wrong;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate %PREFIX%/server.crt;
    }
LOC
peer($_, tls => 1) for qw(t w);
$nginx->start;

becomes('t', 'up', 'TLS: up');
GatewayProcess::wait_for(10, sub { $peer{t}->checks >= 5 });
@checks = $peer{t}->checks;
cmp_ok(scalar @checks, '>=', 5, 'TLS: it is asked');
is($checks[-1]{connection}, $checks[0]{connection}, 'TLS: one connection');
is_deeply(bodies('/t', 3), { t => 3 }, 'TLS: it serves');
becomes('w', 'down', 'TLS: a certificate for another name is refused');
is(scalar(() = $peer{w}->checks), 0, '... before anything is asked');
like($nginx->wait_for_log('upstream "wrong" is down'),
    qr/TLS certificate is for another name/, '... and the log says so');

$peer{t}->mode('fail');
becomes('t', 'down', 'TLS: a bad status');
$nginx->stop;
%peer = ();

done_testing;
