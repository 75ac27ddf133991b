#!/usr/bin/perl

# gateway_limit_zone with redis=: two nodes and one Redis keep one limit; what
# happens when Redis is away, hangs or has forgotten all, when the worker that
# exchanges the counts is killed, and over reloads.

use strict;
use warnings;

use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use GatewayNodes;
use GatewayProcess;
use GatewayRedis;
use GatewayRedisProxy;
use GatewaySocket;

my $SLOW    = $ENV{TEST_NGINX_USE_VALGRIND} || $ENV{GATEWAY_PRELOAD};
my $SECONDS = 6;

my @zones = qw(ten other hour load small solo);

my $redis = GatewayRedis->new;
my %args = (
    url  => $redis->url,
    options => 'timeout=600ms',
    http => <<'END',
    keepalive_requests 1000000;
    gateway_limit_log_level info;

    gateway_limit_zone $arg_k zone=ten:1m   rate=10/10s   redis=r;
    gateway_limit_zone $arg_k zone=other:1m rate=10/10s   redis=r;
    gateway_limit_zone $arg_k zone=hour:1m  rate=8/h      redis=r sync=50ms;
    gateway_limit_zone $arg_k zone=load:1m  rate=100/1s   redis=r;
    gateway_limit_zone $arg_k zone=small:32k rate=5/h     redis=r;
    gateway_limit_zone $arg_k zone=solo:1m  rate=10/10s;
END
    config => join("\n", 'add_header X-Time $msec always;',
        (map {"location /$_ { gateway_limit zone=$_; }"} @zones),
        (map {"location /look/$_ { gateway_limit zone=$_ cost=0; }"} @zones)),
    files => { map { +"html/$_" => '' } @zones },
);

my $nodes = GatewayNodes->new(%args);

my ($one, $two) = $nodes->all;

$nodes->wait_up or die "Redis is not up\n";

my $shared = qr/gateway_limit_zone "\w+" is shared with other nodes/;
my $alone  = qr/gateway_limit_zone "ten" is not shared .* this one admits 5/;

ok(wait_common($_, 1), 'the zones are shared') for $one, $two;

# which makes them divide a limit when they are alone
{
    my ($beats, %heard) = ($redis->connect);

    $beats->command('SUBSCRIBE', 'gw:nodes');
    $heard{ $beats->read->[2] } = 1 while keys %heard < 2;
    $beats->close;
    pass('both are heard of');
}


sub get { return $_[0]->http('GET', $_[1], timeout => 10) }

sub statuses {
    my ($node, $uri, $n) = @_;
    return join ' ', map { get($node, $uri)->{status} } 1 .. $n;
}

# Without charging anything.
sub remaining {
    my ($node, $uri) = @_;
    my ($r) = get($node, "/look$uri")->{headers}{ratelimit} =~ /r=(\d+)/;
    return $r;
}

# How often it was said that all five zones are shared.
sub wait_common {
    my ($node, $times) = @_;

    return GatewayProcess::wait_for(10, sub {
        (() = $node->error_log =~ /$shared/g) >= 5 * $times
    });
}

# Until the node knows of what the other has charged.
sub wait_remaining {
    my ($node, $uri, $most) = @_;

    return GatewayProcess::wait_for(5, sub {
        remaining($node, $uri) <= $most
    });
}


# what is spent on one node is missing on the other
{
    is(statuses($one, '/ten?k=a', 10), join(' ', (200) x 10), 'ten of ten');
    is(statuses($one, '/ten?k=a', 1), '429', 'and no more');

    my $spent = time;
    ok(wait_remaining($two, '/ten?k=a', 0), 'the other node knows');
    cmp_ok(time - $spent, '<', 0.5, 'soon') if !$SLOW;

    is(statuses($two, '/ten?k=a', 1), '429', 'the other node refuses');
    is(statuses($two, '/other?k=a', 1), '200', 'another zone does not');
    is(statuses($two, '/solo?k=a', 1), '200', 'nor one without redis=');
}


# A client, in a process of its own: to a node, more often than is allowed.
# Writes when it was admitted.
sub offer {
    my ($node, $uri, $seconds, $out) = @_;

    open my $file, '>', $out or die "$out: $!";
    my $end    = time() + $seconds;
    my $socket = GatewaySocket->connect(port => $node->port, timeout => 10)
        or die "connect: $!";
    my ($offered, $n) = (0, 0);

    while (time() < $end) {
        $socket->write(GatewaySocket::request('GET', $uri)) or die 'write';
        my $answer = $socket->response('GET') or die 'no answer';
        $offered++;
        print $file $answer->{headers}{'x-time'}, "\n"
            if $answer->{status} == 200;
        sleep 0.002 if $n++ % 2;
    }

    print $file "offered $offered\n";
    close $file;
}


# Two of them, one on each node; when they were admitted, and how many came.
sub over_offered {
    my ($uri, $seconds) = @_;

    my (@clients, @times, @offered);

    for my $node ($one, $two) {
        my $out = $node->prefix . '/admitted';
        my $pid = fork() // die "fork: $!";

        if ($pid == 0) {
            eval { offer($node, $uri, $seconds, $out) };
            print STDERR $@ if $@;
            POSIX::_exit($@ ? 1 : 0);
        }

        push @clients, [$pid, $out];
    }

    for my $client (@clients) {
        waitpid $client->[0], 0;
        is($?, 0, 'a client ended well');

        my @lines = split /\n/, GatewayProcess::slurp($client->[1]);
        my ($n) = pop(@lines) =~ /(\d+)/;
        push @offered, $n;
        push @times, \@lines;
    }

    return (\@times, \@offered);
}


# two nodes, both with more than enough: what one would admit, in all
SKIP: {
    skip 'too slow to offer enough', 5 if $SLOW;

    my ($times, $offered) = over_offered('/load?k=x', $SECONDS);
    my @all = map {@$_} @$times;
    my $average = @all / (100 * $SECONDS);

    cmp_ok($offered->[$_], '>', 150 * $SECONDS, 'more was offered') for 0, 1;
    cmp_ok($average, '<=', 1.02, 'at most 2 % too many on average');
    cmp_ok($average, '>=', 0.96, 'and hardly fewer');
    cmp_ok(scalar @$_, '>', 0.1 * @all, 'each admitted some') for @$times;
    diag(sprintf '%d of %d and %d of %d: %.3f', scalar @{ $times->[0] },
        $offered->[0], scalar @{ $times->[1] }, $offered->[1], $average)
        if $ENV{GATEWAY_LONG};
}

# Waits until a node says so (again).
sub wait_said {
    my ($node, $what, $times) = @_;

    return GatewayProcess::wait_for(10, sub {
        (() = $node->error_log =~ /$what/g) >= ($times || 1)
    });
}


# Redis is killed: each has its half, and what was charged counts afterwards
{
    is(statuses($one, '/hour?k=before', 6), join(' ', (200) x 6),
        'six of eight');
    ok(wait_remaining($two, '/hour?k=before', 2), 'which the other knows');

    $redis->kill;
    ok(wait_said($_, $alone), 'alone, each with its half') for $one, $two;

    for my $node ($one, $two) {
        is(statuses($node, '/hour?k=away', 5), '200 200 200 200 429',
            'four of eight for each');
        is(statuses($node, '/hour?k=before', 1), '429',
            'what was charged before is not forgotten');
    }

    is(statuses($one, '/hour?k=part', 3), '200 200 200', 'three on one');

    $redis->start(empty => 1);
    $nodes->wait_up or die "Redis is not up\n";
    ok(wait_common($_, 2), 'shared again') for $one, $two;

    ok(wait_remaining($two, '/hour?k=part', 5), 'and told afterwards');
    is(statuses($two, '/hour?k=part', 6), '200 200 200 200 200 429',
        'the other has the other five');

    for my $node ($one, $two) {
        ok(wait_remaining($node, '/hour?k=away', 0), 'eight together');
        is(statuses($node, '/hour?k=away', 1), '429', 'and no ninth');
    }

    is(statuses($one, '/hour?k=again', 9), join(' ', (200) x 8, 429),
        'and the whole limit for others');
}


# Redis hangs: no request waits for it
{
    $redis->suspend;

    my $longest = 0;
    my $end = time + 1.2;

    while (time < $end) {
        my $began = time;
        get($_, '/hour?k=hung') for $one, $two;
        $longest = time - $began if $longest < time - $began;
    }

    cmp_ok($longest, '<', 0.5, 'nobody waits');
    ok(wait_said($_, $alone, 2), 'alone again') for $one, $two;

    $redis->resume;
    $nodes->wait_up or die "Redis is not up\n";
    ok(wait_common($_, 3), 'shared again') for $one, $two;
}


# the worker that exchanges the counts is killed
{
    my @leads = $one->error_log =~ /(\d+)#\d+: .*this worker leads/g;

    is(statuses($one, '/hour?k=killed', 2), '200 200', 'two of eight');
    ok(wait_remaining($two, '/hour?k=killed', 6), 'the other knows');
    $one->kill_worker($leads[-1]);
    is(statuses($one, '/hour?k=killed', 2), '200 200', 'two more');

    ok(wait_remaining($two, '/hour?k=killed', 4), 'another one goes on');
    ok(wait_said($one, qr/this worker leads/, 1 + @leads), 'and leads');
}


# what others put into the keys does no harm
{
    my ($stream, $secret) = map {
        my $what = $_;
        grep {/\}$what:hour:/} @{ $redis->command('KEYS', '*') }
    } qw(w ws);

    $redis->command('XADD', $stream, '*', 'b', $_) for '', 'x' x 21,
        "\x01" . 'x' x 20, "\x01" . 'x' x 44, "\x01" . 'x' x 500000;
    $redis->command('XADD', $stream, '*', 'b', "\x01", 'c', 'x');

    is(statuses($one, '/hour?k=noise', 2), '200 200', 'noise in the stream');
    ok(wait_remaining($two, '/hour?k=noise', 6), 'is passed over');

    $redis->command('DEL', $stream);
    $redis->command('SET', $stream, 'x');

    my $said = qr/does not share gateway_limit_zone "hour": .*WRONGTYPE/;
    ok(wait_said($_, $said), 'not a stream: an error, and alone')
        for $one, $two;
    is(statuses($one, '/hour?k=wrong', 5), '200 200 200 200 429', 'its half');

    my $again = qr/"hour" is shared with other nodes/;
    my %before = map { $_ => scalar(() = $_->error_log =~ /$again/g) }
        $one, $two;

    $redis->command('DEL', $stream);
    ok(wait_said($_, $again, 1 + $before{$_}), 'afterwards shared again')
        for $one, $two;
    ok(wait_remaining($two, '/hour?k=wrong', 4), 'and told');
    is(scalar(() = $one->error_log =~ /$said/g), 1, 'it was said once');

    $redis->command('SET', $secret, 'short');
    ok(wait_said($_, qr/"hour": its answer is malformed/), 'a bad secret')
        for $one, $two;

    $redis->command('SET', $secret, 's' x 16);
    ok(GatewayProcess::wait_for(5, sub {
        remaining($one, '/hour?k=wrong') == 8
            && remaining($two, '/hour?k=wrong') == 8
    }), 'another secret: all is counted anew');

    is(statuses($one, '/hour?k=wrong', 3), '200 200 200', 'three of eight');
    ok(wait_remaining($two, '/hour?k=wrong', 5), 'and together');
}


# Redis answers, but takes nothing: alone, as long as that lasts
{
    my $said = qr/does not share gateway_limit_zone "hour": OOM/;
    my $again = qr/"hour" is shared with other nodes/;
    my $before = () = $one->error_log =~ /$again/g;

    $redis->command('CONFIG', 'SET', 'maxmemory', '1');
    is(statuses($one, '/hour?k=full', 1), '200', 'one of eight');
    ok(wait_said($one, $said), 'Redis is full: an error');

    my ($most, $end) = (0, time + 1);

    while (time < $end) {
        my $left = remaining($one, '/hour?k=unused');
        $most = $left if $left > $most;
    }

    is($most, 4, 'it stays with its half');
    is(statuses($one, '/hour?k=full', 4), '200 200 200 429', 'for all keys');
    is(scalar(() = $one->error_log =~ /$said/g), 1, 'which was said once');
    is(scalar(() = $one->error_log =~ /$again/g), $before,
        'and not that it is over');

    $redis->command('CONFIG', 'SET', 'maxmemory', '0');
    ok(wait_said($one, $again, 1 + $before), 'afterwards shared again');
    ok(wait_remaining($two, '/hour?k=full', 4), 'and told');
}


# a full zone drops what was used least recently, also of other nodes
{
    my $socket = GatewaySocket->connect(port => $one->port);

    for my $n (1 .. 1000) {
        $socket->write(GatewaySocket::request('GET', "/small?k=cold$n"));
        my $answer = $socket->response('GET');
        $answer->{status} == 200 or fail("cold$n is refused");
    }

    is(statuses($one, '/small?k=hot', 6), '200 200 200 200 200 429',
        'a limit in a zone that is full');
    ok(wait_remaining($two, '/small?k=hot', 0), 'is known to the other');
}


# a node that is started anew is told what the others know
{
    is(statuses($two, '/hour?k=new', 8), join(' ', (200) x 8), 'eight');
    ok(wait_remaining($one, '/hour?k=new', 0), 'the other knows');

    my $more = GatewayNodes->new(%args, n => 1);
    ok(wait_remaining(($more->all)[0], '/hour?k=new', 0), 'and a new node');
    $more->stop;
}

# reloads: what was counted stays; another rate has nothing to do with it
{
    is(statuses($one, '/hour?k=reload', 5), '200 200 200 200 200', 'five');
    $one->reload;
    is(statuses($one, '/hour?k=reload', 2), '200 200', 'a reload: two more');
    ok(wait_remaining($two, '/hour?k=reload', 1), 'the other knows');
    is(statuses($two, '/hour?k=reload', 2), '200 429', 'eight in all');

    (my $other = $one->{http}) =~ s{rate=8/h}{rate=3/h};
    $one->reload(http => $other);
    is(statuses($one, '/hour?k=reload', 4), '200 200 200 429',
        'another rate: anew');
    is(statuses($two, '/hour?k=more', 8), join(' ', (200) x 8),
        'and apart from the old one');
    is(statuses($one, '/hour?k=more', 4), '200 200 200 429',
        'in both directions');
}


# a worker that is to end hands on what it could not tell: that did not reach
# Redis, or of which no answer came
{
    my $proxy = GatewayRedisProxy->new(to => $redis);
    my $more = GatewayNodes->new(
        urls => [$proxy->url, $redis->url],
        options => 'timeout=600ms',
        http => 'gateway_limit_zone $arg_k zone=slow:1m rate=8/h redis=r '
            . 'sync=1s;',
        config => 'location /slow { gateway_limit zone=slow; }'
            . 'location /look/slow { gateway_limit zone=slow cost=0; }',
        files => { 'html/slow' => '' },
    );
    my ($here, $there) = $more->all;

    ok(wait_said($_, $shared), 'a zone with long rounds') for $here, $there;

    for my $mode (qw(hole deaf)) {
        my $away = () = $here->error_log =~ /"r" is away/g;

        # a round begins with the second
        GatewayProcess::wait_for(5, sub {
            my $part = time - int time;
            return $part > 0.6 && $part < 0.8;
        });
        is(statuses($here, "/slow?k=$mode", 3), '200 200 200',
            "$mode: three of eight");
        $proxy->behave($mode);
        ok(wait_said($here, qr/"r" is away/, 2 + $away), "$mode: alone");

        $here->reload;
        $proxy->behave('refuse');
        $proxy->behave('pass');
        ok($more->wait_up, "$mode: Redis is back after a reload");

        ok(wait_remaining($there, "/slow?k=$mode", 5), "$mode: told");
        is(statuses($here, "/slow?k=after-$mode", 1), '200', "$mode: one more");
        ok(wait_remaining($there, "/slow?k=after-$mode", 7), "$mode: and later");
        is(remaining($there, "/slow?k=$mode"), 5, "$mode: told once");
    }

    $more->stop;
}


$nodes->stop;
done_testing();
