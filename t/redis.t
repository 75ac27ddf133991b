#!/usr/bin/perl

# gateway_redis: what nginx says of a directive that is wrong, and how it
# connects, finds out that Redis is away, and comes back.

use strict;
use warnings;

use IO::Socket::INET;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

use GatewayNginx;
use GatewayProcess;
use GatewayRedis;
use GatewayRedisProxy;

my $SLOW = $ENV{TEST_NGINX_USE_VALGRIND} ? 3 : 1;


sub nginx {
    my ($http, %args) = @_;

    return GatewayNginx->new(
        http   => $http,
        config => 'add_header X-Worker $pid always;'
            . 'location = /status { gateway_status; }',
        %args,
    );
}


sub up {
    my ($nginx, $seen) = @_;

    my $answer = $nginx->http('GET', '/status?format=prometheus')
        or return 'no answer';
    $seen->{ $answer->{headers}{'x-worker'} } = 1 if $seen;

    return $answer->{body} =~ /^gateway_redis_up\{name="r"\} (\d)/m
        ? $1 : 'unknown';
}

# In all workers.
sub becomes {
    my ($nginx, $value, $timeout) = @_;

    my $all = sub {
        my %seen;
        for (1 .. 100) {
            return 0 if up($nginx, \%seen) ne $value;
            return 1 if keys %seen >= $nginx->{workers};
        }
        return 0;
    };

    return GatewayProcess::wait_for(($timeout || 8) * $SLOW, $all) ? 1 : 0;
}


sub directive {
    my ($nginx, $redis, @wrong) = @_;

    while (my ($text, $message) = splice @wrong, 0, 2) {
        ok($nginx->reload_fails($message, http => "$text"), $text);
    }
}


# --- the directive

my $redis = GatewayRedis->new;
my $url = $redis->url;
my $nginx = nginx("gateway_redis r $url;");

ok(becomes($nginx, 1), 'up');

$nginx->write_file(empty => "\n");

my $accepted = 'a URL such as "redis://127.0.0.1:6379", "prefix=text"';

directive($nginx, $redis,
    'gateway_redis r;' =>
        'invalid number of arguments in "gateway_redis" directive',
    'gateway_redis r timeout=1s;' =>
        'no URL in "gateway_redis", one such as "redis://127.0.0.1:6379"',
    'gateway_redis r localhost:1;' =>
        qq(invalid parameter "localhost:1" of "gateway_redis", $accepted),
    'gateway_redis r http://u:secret@h;' =>
        qq(invalid parameter "***\@h" of "gateway_redis", $accepted),
    'gateway_redis r redis://:secret@;' =>
        qr/invalid URL "[^"]*\*\*\*\@[^"]*" of "gateway_redis", /,
    'gateway_redis r redis://127.0.0.1:70000;' =>
        'invalid URL "redis://127.0.0.1:70000" of "gateway_redis", ',
    "gateway_redis redis://:secret\@127.0.0.1:1 $url;" =>
        'invalid name "redis://***@127.0.0.1:1" of "gateway_redis", a name',
    qq(gateway_redis "" $url;) =>
        'invalid name "" of "gateway_redis", a name such as "main"',
    "gateway_redis r $url password=secret;" =>
        'invalid parameter "password=" of "gateway_redis", a password stands',
    'gateway_redis r redis://:sec/ret@127.0.0.1;' =>
        'invalid URL "redis://***@127.0.0.1" of "gateway_redis", "/" in a user',
    "gateway_redis r $url redis+cluster://127.0.0.1:1;" =>
        'Sentinels and a Cluster are one URL, with several hosts',
    "gateway_redis r $url; gateway_redis r $url;" =>
        'duplicate "gateway_redis" of name "r"',
    qq(gateway_redis r $url "prefix=a{b";) =>
        'invalid parameter "prefix=a{b" of "gateway_redis", printable ASCII',
    "gateway_redis r $url timeout=0;" =>
        'invalid parameter "timeout=0" of "gateway_redis", a time from 10ms',
    "gateway_redis r $url timeout=1s timeout=1s;" =>
        'invalid parameter "timeout=1s" of "gateway_redis", it is given twice',
    "gateway_redis r $url connect_timeout=x;" =>
        'invalid parameter "connect_timeout=x" of "gateway_redis", a time',
    "gateway_redis r $url ssl_verify=maybe;" =>
        'invalid parameter "ssl_verify=maybe" of "gateway_redis", "on" or',
    "gateway_redis r $url password_file=missing;" =>
        qr{open\(\) "\S+/missing" failed},
    "gateway_redis r $url password_file=%PREFIX%/empty;" =>
        qr{no password in "\S+/empty", up to 4094 characters are accepted},
    "gateway_redis r $url; gateway_channel_zone z:1m redis=s;" =>
        qr/unknown "redis=s" in \S+nginx.conf:\d+, a "gateway_redis s url;"/,
    'gateway_redis r rediss://localhost ssl_ca=none.pem;' =>
        qr{none\.pem"},
    'gateway_redis r redis://no.such.host.invalid;' =>
        'host not found in "no.such.host.invalid:6379" of "gateway_redis"',
);

unlike($nginx->error_log, qr/secret/, 'passwords are not logged');


# --- who leads, and what is kept

sub node {
    my $resp = $redis->connect;
    $resp->command('SUBSCRIBE', 'gw:nodes');
    my $message = $resp->read(3 * $SLOW);
    $resp->close;
    return $message->[2];
}

my $node = node();
like($node, qr/^[0-9A-Za-z_-]{12}$/, 'the node tells its id');

$nginx->reload;
ok(becomes($nginx, 1), 'up after a reload');
is(node(), $node, 'the id is kept over it');

sub leader {
    my @led = $nginx->error_log =~ /(\d+)#\d+: gateway_redis "r": .* leads/g;
    return $led[-1];
}

sub subscribers { $redis->command('PUBSUB', 'NUMSUB', 'gw:nodes')->[1] }

my $led = leader();
ok((grep { $_ == $led } $nginx->worker_pids), 'a new worker leads');
$nginx->kill_worker($led);
ok(GatewayProcess::wait_for(5 * $SLOW, sub { leader() != $led }),
    'another leads when it is killed');
ok(becomes($nginx, 1), 'and is subscribed');
is(subscribers(), 1, 'alone');

$led = leader();
kill 'STOP', $led;
ok(GatewayProcess::wait_for(8 * $SLOW, sub { leader() != $led }),
    'another leads when it hangs');
kill 'CONT', $led;
ok(becomes($nginx, 1), 'and is subscribed, too');
ok(GatewayProcess::wait_for(3 * $SLOW, sub { subscribers() == 1 }),
    'alone, once the other goes on');


# --- it goes away

sub lines {
    my ($pattern) = @_;
    return scalar grep {/$pattern/} split /\n/, $nginx->error_log;
}

my $away = qr/\[error\] .* gateway_redis "r" is away, /;
my $back = qr/\[notice\] .* gateway_redis "r" is back/;

$redis->kill;
ok(becomes($nginx, 0, 3), 'down when it is killed');
ok($nginx->wait_for_log(qr/is away, 127\.0\.0\.1:\d+: it closed the conn/),
    'that is logged');
ok(GatewayProcess::wait_for(3 * $SLOW, sub { lines($away) == 2 }),
    'once by each worker');
$redis->start;
ok(becomes($nginx, 1), 'up again when it is restarted');
is(lines($back), 2, 'once by each worker');
is(lines($away), 2, 'nothing more');

$redis->suspend;
my $began = time;
ok(becomes($nginx, 0, 5), 'down when it hangs');
cmp_ok(time - $began, '<', 2 * $SLOW, 'soon');
$redis->resume;
ok(becomes($nginx, 1), 'up again when it goes on');

$redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
ok(becomes($nginx, 1), 'up again when the subscriptions were lost');


# --- a reload moves on to another server, and a worker of before is kept

my $asks = $redis->connect;

sub connected {
    return $asks->command('INFO', 'stats') =~ /^total_connections_r\w+:(\d+)/m
        ? $1 : 0;
}

my $other = GatewayRedis->new;
my $held = $nginx->connect;
$held->write("GET /status HTTP/1.1\r\n");

$nginx->reload(http => 'gateway_redis r ' . $other->url . ';');

my @old;
ok(GatewayProcess::wait_for(5 * $SLOW,
    sub { @old = $nginx->old_worker_pids; @old == 1 }), 'there is one');
my $stray = qr/\[error\] $old[0]#.* "r" is away, .* the node uses another/;
ok($nginx->wait_for_log($stray, 5 * $SLOW), 'it is not where the others are');

my $connected = connected();
ok(GatewayProcess::wait_for(8 * $SLOW, sub { connected() >= $connected + 4 }),
    'it goes on trying');
is(lines($stray), 1, 'and has said so once');
ok(becomes($nginx, 1), 'the others are up');

for my $new ($nginx->worker_pids) {
    is(lines(qr/\[error\] $new#.* "r" is away/), 0,
        'they did not follow the leader of before');
}

$asks->close;
$held->close;
$nginx->stop;


# --- how it connects

sub connects {
    my ($http, $name, %args) = @_;

    my $nginx = nginx($http, %args);
    ok(becomes($nginx, 1), $name);
    $nginx->stop;
}

sub refuses {
    my ($http, $reason, $name, %args) = @_;

    my $nginx = nginx($http, %args);
    my $line = $nginx->wait_for_log(
        qr/\[error\] .* gateway_redis "r" is away, .*$reason/, 5 * $SLOW);
    ok($line, $name) or diag($nginx->error_log);
    is(up($nginx), 0, "$name: not up");
    unlike($nginx->error_log, qr/%secret/, "$name: no password in the log");
    $nginx->stop;
}

my $guarded = GatewayRedis->new(user => 'gate', password => '%secret');
my $where = '127.0.0.1:' . $guarded->port;

connects('gateway_redis r ' . $guarded->url(3) . ';', 'user and password');
connects("gateway_redis r redis://gate\@$where password_file=%PREFIX%/pw;",
    'a password from a file', files => { pw => "%secret\n" });
refuses("gateway_redis r redis://$where;", 'NOAUTH', 'no password');
refuses("gateway_redis r redis://gate:%25secreT\@$where;", 'WRONGPASS',
    'a wrong password');
refuses('gateway_redis r ' . $guarded->url(99) . ';', 'out of range',
    'a wrong database');

# which answers what it does not know with what it was given
my $ignorant = GatewayRedis->new(config => 'rename-command AUTH ""');
refuses("gateway_redis r redis://:%25secret\@127.0.0.1:@{[$ignorant->port]};",
    q(unknown command 'AUTH'), 'a server without AUTH');

my $local = GatewayRedis->new(unix => 1);
connects('gateway_redis r ' . $local->url(2) . ';', 'a Unix socket');
refuses('gateway_redis r unix:%PREFIX%/nothing;', 'No such file',
    'no socket');

SKIP: {
    my $tls = eval { GatewayRedis->new(tls => 1) }
        or skip 'redis-server has no TLS', 1;
    my $ca = 'ssl_ca=' . $tls->ca;
    my $address = $tls->url =~ s/localhost/127.0.0.1/r;

    connects('gateway_redis r ' . $tls->url . " $ca;", 'TLS, verified');
    connects("gateway_redis r $address ssl_verify=off;", 'TLS, not verified');
    refuses("gateway_redis r $address $ca;",
        'the certificate is not for "127.0.0.1"', 'of another name');
    refuses('gateway_redis r ' . $tls->url . ';',
        'the certificate is not accepted: self.signed', 'of nobody known');
    refuses("gateway_redis r rediss://localhost:@{[$redis->port]} $ca;", '',
        'TLS where there is none');
}

my $replica = GatewayRedis->new(replica_of => $redis);
refuses('gateway_redis r ' . $replica->url . ';', 'it is a replica',
    'a replica');
connects('gateway_redis r ' . $replica->url . ' ' . $redis->url . ';',
    'the next URL');

my $free = GatewayProcess::free_port();
connects("gateway_redis r redis://127.0.0.1:$free " . $redis->url . ';',
    'the next URL where nobody listens');


# --- names are looked up when it connects

# Answers with 127.0.0.1, but for what begins with "no".
sub name_server {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        Proto => 'udp') or die "udp: $!\n";
    my $pid = fork // die "fork: $!\n";

    return ($pid, $socket->sockport) if $pid;

    while (defined $socket->recv(my $query, 512)) {
        my ($id, $question) = (substr($query, 0, 2), substr $query, 12);
        $question =~ s/^(.*?\0.{4}).*/$1/s;
        my $no = $question =~ /^.no/s;
        my $answer = $no ? '' : "\xc0\x0c" . pack('nnNnC4', 1, 1, 1, 4, 127, 0,
            0, 1);
        $socket->send($id . pack('nnnnn', $no ? 0x8183 : 0x8180, 1,
            $no ? 0 : 1, 0, 0) . $question . $answer);
    }

    POSIX::_exit(0);
}

my ($names, $names_port) = name_server();
my $resolver = "resolver 127.0.0.1:$names_port ipv6=off;";

connects("$resolver gateway_redis r redis://redis.example:@{[$redis->port]};",
    'a name');
refuses("$resolver gateway_redis r redis://none.example:6379;",
    '"none.example" could not be resolved: Host not found',
    'a name that is none');
kill 'KILL', $names;
waitpid $names, 0;


# --- what it answers is not Redis's

my $proxy = GatewayRedisProxy->new(to => $redis);
$nginx = nginx('gateway_redis r ' . $proxy->url . ' timeout=300ms;');
ok(becomes($nginx, 1), 'through a proxy');

for (
    [garbage => 'does not speak'],
    [bulk    => 'no answer in 300 ms'],
    [array   => 'does not speak'],
    [line    => 'a line without end|no answer'],
    [deaf    => 'no answer in 300 ms'],
    [hole    => 'no answer in 300 ms'],
    [refuse  => 'closed the connection|reset|refused'],
    [cut     => 'closed the connection|reset'],
    [error   => 'BUSY', 'BUSY a script'],
    [error   => 'NOPERM', 'NOPERM no', 'INFO|TIME'],
) {
    my ($mode, $reason, @how) = @$_;

    my $before = lines($away);
    $proxy->behave($mode, @how);
    $redis->command('CLIENT', 'KILL', 'TYPE', 'normal') if $mode eq 'refuse';
    ok(becomes($nginx, 0, 5), "$mode: down");
    ok(GatewayProcess::wait_for(5 * $SLOW,
        sub { lines(qr/$away.*($reason)/) && lines($away) >= $before + 2 }),
        "$mode: the reason is logged");
    $proxy->behave('pass');
    ok(becomes($nginx, 1, 12), "$mode: up again");
}

$proxy->behave('error', 'NOPERM no', 'SUBSCRIBE');
$redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
ok($nginx->wait_for_log(
    qr/\[error\] .*"r" cannot be subscribed to, .*NOPERM/, 5 * $SLOW),
    'no right to subscribe');
$proxy->behave('pass');
ok(becomes($nginx, 1, 12), 'up again');
ok($nginx->wait_for_log('"r" is subscribed to again'), 'that is logged');

$nginx->stop;

done_testing();
