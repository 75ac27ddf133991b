#!/usr/bin/perl

# gateway_cache_zone with redis=: two nodes and one Redis.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep time);

use GatewayNginx;
use GatewayOrigin;
use GatewayProcess;
use GatewayRedis;
use GatewaySocket;

my $redis  = GatewayRedis->new;
my $origin = GatewayOrigin->new(
    children => 16,
    handler  => sub {
        my ($uri, $head) = @_;

        my $fresh = 'Cache-Control: max-age=600';
        my $body  = "body of $uri at " . time;

        return ('200 OK', [$fresh, 'Vary: Accept-Encoding, X-Kind'],
            "$body for " . ($head =~ /^X-Kind: *(\S+)/mi ? $1 : 'none'))
            if $uri =~ m{^/vary};
        return ('200 OK', [$fresh, 'Vary: Accept-Language',
                'Content-Language: de'], $body)
            if $uri =~ m{^/language};
        return ('304 Not Modified', ['Cache-Control: max-age=600',
                'ETag: "a"'], '')
            if $uri =~ m{^/etag} && $head =~ /^If-None-Match: "a"/mi;
        return ('200 OK', ['Cache-Control: max-age=1', 'ETag: "a"',
                'X-Other: b'], "body of $uri")
            if $uri =~ m{^/etag};
        return ('200 OK', ['Cache-Control: max-age=2, '
                . 'stale-while-revalidate=600'], $body)
            if $uri =~ m{^/swr};
        return ('200 OK', [$fresh, 'Cache-Tag: '
                . join ' ', map { "m$1.$_" } 1 .. 64], $body)
            if $uri =~ m{^/many/(\d+)};
        return ('200 OK', [$fresh, "Cache-Tag: m$1.64"], $body)
            if $uri =~ m{^/sibling/(\d+)};
        return ('200 OK', [$fresh, "Cache-Tag: $1 all"], $body)
            if $uri =~ m{^/tag/(\w+)};
        return ('200 OK', [$fresh, 'Cache-Tag: slow'], $body, 1)
            if $uri =~ m{^/slow};
        return ('200 OK', ['Cache-Control: private'], $body, 1)
            if $uri =~ m{^/private};
        return ('200 OK', [$fresh], 'x' x 300_000) if $uri =~ m{^/large};
        return ('200 OK', [$fresh], "$body " . 'x' x 1000) if $uri =~ m{^/evict};
        return ('200 OK', [$fresh, 'Age: 100'], $body) if $uri =~ m{^/old};
        return ('200 OK', [$fresh, 'X-Something-Else1: chunked'], $body)
            if $uri =~ m{^/hop};
        return ('200 OK', ['Gateway-Invalidate: /p5'], $body)
            if $uri =~ m{^/act};
        return ('200 OK', [$fresh], $body);
    }
);


sub node {
    my (%args) = @_;

    my $port = $origin->port;
    my $url  = $redis->url;

    return GatewayNginx->new(
        workers => 2,
        http    => "gateway_redis r $url timeout=300ms;\n"
            . "gateway_cache_zone alone:1m;\n"
            . 'gateway_cache_zone c:' . ($args{size} // '4m')
            . " redis=r max_object=400k;\naccess_log off;\n"
            . "gateway_channel_zone z:1m;\n"
            . "gateway_channel_zone y:1m redis=r;\n"
            . "gateway_channel_zone x:1m redis=r;\n"
            . 'add_header X-Cache $gateway_cache_status always;',
        config => <<"END");
            location / {
                gateway_cache c;
                gateway_cache_key \$request_uri;
                gateway_cache_lock on timeout=10s;
                proxy_pass http://127.0.0.1:$port;
            }
            location /off/ {
                gateway_cache c;
                gateway_cache_key \$request_uri;
                gateway_cache_lock off;
                proxy_pass http://127.0.0.1:$port;
            }
            location /act {
                gateway_upstream_actions z;
                proxy_pass http://127.0.0.1:$port;
            }
            location = /purge { gateway_cache_purge c; }
            location ~ ^/purge(/.*) {
                gateway_cache_purge c;
                gateway_cache_key \$1\$is_args\$args;
            }
            location /status { gateway_status; }
            location /sub {
                gateway_subscriber z;
                gateway_channel cache:invalidate;
            }
            location /shared {
                gateway_subscriber y;
                gateway_channel cache:invalidate;
            }
END
}

my ($one, $two) = (node(), node());

# Status of the cache, and the answer.
sub get {
    my ($node, $uri, %args) = @_;

    my $response = $node->http('GET', $uri, timeout => 15, %args);
    return ('none', {}) unless $response && $response->{status} == 200;
    return ($response->{headers}{'x-cache'} // '', $response);
}

sub status { return (get(@_))[0] }

sub cached {
    return status(@_, headers => ['Cache-Control' => 'only-if-cached']);
}

sub purge {
    my ($node, $json) = @_;
    my $response = $node->http('POST', '/purge', body => $json);
    return $response ? $response->{body} : 'none';
}

sub up {
    my ($node, $expected) = @_;

    return GatewayProcess::wait_for(15, sub {
        my $r = $node->http('GET', '/status?format=prometheus') or return;
        $r->{body} =~ /^gateway_redis_up\{name="r"\} $expected$/m;
    });
}

# Whether it is in level 2.
sub shared {
    my ($uri) = @_;

    return GatewayProcess::wait_for(3, sub {
        my @keys = @{ $redis->command('KEYS', "gw:*o:c:$uri") };
        @keys && $redis->command('HLEN', $keys[0]);
    });
}

sub soon(&) { return GatewayProcess::wait_for(1, $_[0]) }

ok(up($_, 1), 'Redis is up') for $one, $two;


# --- stored by one, served by the other

is(status($one, '/a'), 'MISS', 'a miss');
is(status($one, '/a'), 'HIT', 'then a hit of level 1');
ok(shared('/a'), 'stored in level 2');

my ($status, $first)  = get($one, '/a');
my ($other,  $second) = get($two, '/a');

is($other, 'REDIS', 'the other node has it from level 2');
is($second->{body}, $first->{body}, 'the same body');
is($second->{headers}{'cache-control'}, 'max-age=600', 'the same header');
like($second->{headers}{'cache-status'}, qr/^c; hit; ttl=59\d; detail=redis$/,
    'Cache-Status says so');
is(status($two, '/a'), 'HIT', 'then from level 1');
is($origin->requests('/a'), 1, 'upstream was asked once');

my $metrics = $two->http('GET', '/status?format=prometheus')->{body};
like($metrics,
    qr/^gateway_cache_requests_total\{zone="c",status="redis"\} 1$/m,
    'it is counted');

is(status($one, '/old'), 'MISS', 'a response that was old already');
ok(shared('/old'), 'stored in level 2');
sleep 1.1;
($status, $second) = get($two, '/old');
is($status, 'REDIS', 'served by the other node');
cmp_ok($second->{headers}{age}, '>=', 101, 'with its age');
cmp_ok($second->{headers}{age}, '<=', 104, 'and no more');

is(status($one, '/large'), 'MISS', 'a large one');
ok(shared('/large'), 'stored in level 2');
($status, $second) = get($two, '/large');
is($status, 'REDIS', 'served by the other node');
is(length $second->{body}, 300_000, 'in full');

is($two->http('HEAD', '/old')->{headers}{'x-cache'}, 'HIT', 'HEAD: level 1');
is(status($one, '/head'), 'MISS', 'a GET');
ok(shared('/head'), 'stored in level 2');
is($two->http('HEAD', '/head')->{headers}{'x-cache'}, 'REDIS',
    'and a HEAD on the other node');

is(status($one, '/off/a'), 'MISS', 'without gateway_cache_lock');
ok(shared('/off/a'), 'stored in level 2');
is(status($two, '/off/a'), 'REDIS', 'and served');

is(status($one, '/cached'), 'MISS', 'a GET');
ok(shared('/cached'), 'stored in level 2');
is(cached($two, '/cached'), 'REDIS', 'for who wants what is cached only');


# --- variants

is(status($one, '/vary', headers => ['X-Kind' => 'a']), 'MISS', 'one variant');
ok(shared('/vary'), 'stored in level 2');
($status, $second) = get($two, '/vary', headers => ['X-Kind' => 'a']);
is($status, 'REDIS', 'the other node has it');
like($second->{body}, qr/for a$/, 'that variant');
($status, $second) = get($two, '/vary', headers => ['X-Kind' => 'b']);
is($status, 'MISS', 'but no other');
like($second->{body}, qr/for b$/, 'and gets it from upstream');
ok(GatewayProcess::wait_for(3, sub {
    status($one, '/vary', headers => ['X-Kind' => 'b']) eq 'REDIS';
}), 'which the first has from there');

is(status($one, '/language', headers => ['Accept-Language' => 'de, en;q=0.5']),
    'MISS', 'a response in a language');
ok(shared('/language'), 'stored in level 2');
is(status($two, '/language', headers => ['Accept-Language' => 'de, fr;q=0.1']),
    'REDIS', 'it is found by who prefers that language');


# --- revalidation

is(status($one, '/etag'), 'MISS', 'fresh for a second');
ok(shared('/etag'), 'stored in level 2');
sleep 1.2;
($status, $second) = get($two, '/etag');
is($status, 'REVALIDATED', 'the other node has it confirmed');
is($second->{body}, 'body of /etag', 'and serves its body');
is($second->{headers}{'x-other'}, 'b', 'and header');
ok(GatewayProcess::wait_for(3, sub { status($one, '/etag') eq 'REDIS' }),
    'which is fresh for the first one then');
is($origin->requests('/etag'), 2, 'upstream was asked twice');


both('/swr');
my $n = $origin->requests('/swr');
sleep 2.2;
my ($a, $b) = (status($one, '/swr'), status($two, '/swr'));
is($a, 'UPDATING', 'served stale');
ok(GatewayProcess::wait_for(3, sub { $origin->requests('/swr') > $n }),
    'fetched in the background');
ok(GatewayProcess::wait_for(3, sub { status($two, '/swr') eq 'HIT' }),
    'for both nodes');
cmp_ok($origin->requests('/swr'), '<=', $n + 2, 'once for all');


# --- purges

for my $node ([$one, $two], [$two, $one]) {
    my ($here, $there) = @$node;

    status($here, '/p1');
    shared('/p1');
    status($there, '/p1');
    is(status($there, '/p1'), 'HIT', 'both nodes have it');

    my $response = $here->http('DELETE', '/purge/p1');
    is($response->{body}, '{"purged":1}', 'purged by key');
    ok(soon { status($there, '/p1?x') ; !@{ $redis->command('KEYS',
        'gw:*o:c:/p1') } }, 'gone from level 2');
    my $n = $origin->requests('/p1');
    ok(soon { status($there, '/p1') eq 'MISS' }, 'gone from the other node');
    cmp_ok($origin->requests('/p1'), '>', $n, 'which asks upstream');
    $here->http('DELETE', '/purge/p1');
}

sub both {
    for my $uri (@_) {
        GatewayProcess::wait_for(3, sub { status($one, $uri) eq 'HIT' });
        shared($uri);
        GatewayProcess::wait_for(3, sub { status($two, $uri) eq 'HIT' });
    }
}

# Until it was fetched anew.
sub gone {
    my ($node, $uri) = @_;

    my $n = $origin->requests($uri);
    return soon { status($node, $uri); $origin->requests($uri) > $n };
}

both('/tag/a', '/tag/b', '/tag/c');
is(purge($one, '{"tags":["a"]}'), '{"purged":1}', 'purged by tag');
ok(gone($two, '/tag/a'), 'gone from the other node');
is(status($two, '/tag/b'), 'HIT', 'but not what has another tag');

both('/tag/a', '/tag/b', '/tag/c');
is(purge($one, '{"pattern":"/tag/*"}'), '{"purged":3}', 'by pattern');
ok(gone($two, $_), 'gone from the other node') for '/tag/a', '/tag/c';
is(status($two, '/old'), 'HIT', 'but not what does not match');

both('/tag/a', '/tag/b', '/tag/c');
is(purge($one, '{"keys":["/tag/a"],"cascade":true}'), '{"purged":3}',
    'by key, with all that shares a tag');
ok(gone($two, $_), 'gone from the other node') for '/tag/a', '/tag/b';

# of more tags than are kept for it
status($one, $_) for map { ("/many/$_", "/sibling/$_") } 1 .. 70;
GatewayProcess::wait_for(3, sub {
    @{ $redis->command('KEYS', 'gw:*o:c:/sibling/*') } == 70 });
purge($one, '{"pattern":"/many/*","cascade":true}');
ok(GatewayProcess::wait_for(5, sub {
    !@{ $redis->command('KEYS', 'gw:*o:c:/sibling/*') } }),
    'with all that shares one of thousands of tags');
both('/old');

both('/p2');
$one->http('POST', '/p2', body => 'x');
ok(gone($two, '/p2'), 'an unsafe method purges on all nodes');

both('/cached');
$one->http('DELETE', '/purge/cached');

# what is asked for in the same ms may be from before
my $then = time;
GatewayProcess::wait_for(1, sub { time > $then + 0.002 });
ok(gone($two, '/cached') && shared('/cached'), 'fetched anew by the other node');
is(cached($one, '/cached'), 'REDIS', 'is there for who wants no other');


# --- told to the subscribers of every node

both('/p3', '/p4', '/p5');
my @subscribers = map { $two->client(path => $_) } '/sub', '/shared';
$one->http('DELETE', "/purge/$_") for 'p3', 'p4';
$one->http('GET', '/act');

for my $ws (@subscribers) {
    like($ws->recv_message // '', qr{"keys":\["/p3"\]},
        'subscribers of another node are told');
    like($ws->recv_message // '', qr{"keys":\["/p4"\]}, 'once');
    like($ws->recv_message // '', qr{"keys":\["/p5"\]},
        'also where it is of all zones, of which the first is on its own');
    $ws->close;
}


# --- one request for all nodes

sub ask {
    my ($node, $uri, $n) = @_;

    return map {
        my $socket = $node->connect(timeout => 20) or die "no connection\n";
        $socket->write(GatewaySocket::request('GET', $uri));
        $socket;
    } 1 .. $n;
}

sub answered {
    my $good = 0;

    for my $socket (@_) {
        my $response = $socket->response('GET');
        $good++ if $response && $response->{status} == 200;
        $socket->close;
    }

    return $good;
}

my @sockets = (ask($one, '/slow/a', 20), ask($two, '/slow/a', 20));
is(answered(@sockets), 40, 'requests to both nodes are answered');
is($origin->requests('/slow/a'), 1, 'by one request to upstream');

my $start = time;
@sockets = (ask($one, '/private/a', 5), ask($two, '/private/a', 5));
is(answered(@sockets), 10, 'what is not cacheable reaches all');
cmp_ok(time - $start, '<', 5, 'and not one after the other');

@sockets = ask($one, '/slow/left', 1);
GatewayProcess::wait_for(3, sub { $origin->requests('/slow/left') });
my @others = ask($two, '/slow/left', 2);
$_->close for @sockets;
is(answered(@others), 2, 'where the one that fetches leaves others go on');


# --- purged by one node while another one fetches

for my $json ('{"keys":["/slow/race"]}', '{"tags":["slow"]}',
    '{"pattern":"/slow/r*"}')
{
    my $n = $origin->requests('/slow/race');

    @sockets = ask($one, '/slow/race', 1);
    GatewayProcess::wait_for(3, sub { $origin->requests('/slow/race') > $n });
    purge($two, $json);
    is(answered(@sockets), 1, "fetched while $json was purged");
    ok(!@{ $redis->command('KEYS', 'gw:*o:c:/slow/race') },
        'it is not stored in level 2');
    is(status($one, '/slow/race'), 'MISS', 'nor in level 1');
    ok(shared('/slow/race'), 'but when it is fetched again it is');
    purge($one, $json);
}


# --- what is in Redis is not what was stored

is(status($one, '/g'), 'MISS', 'stored');
shared('/g');
my ($key) = @{ $redis->command('KEYS', 'gw:*o:c:/g') };

for my $value ('', 'x', '@-', '1' . '9' x 200, "1" . ('0' x 30) . "\xff" x 99) {
    $redis->command('HSET', $key, '-', $value);
    two_forgets('/g');
    is(status($two, '/g'), 'MISS', 'garbage is not served');

    # what was fetched instead comes a little later
    GatewayProcess::wait_for(3, sub {
        $redis->command('HGET', $key, '-') ne $value });
}

# purges level 1 of the second node alone
sub two_forgets {
    my ($uri) = @_;

    my $items = 'z1:ck' . length($uri) . ":$uri";
    $redis->command('PUBLISH', 'gw:purge', "1-1 $items");
    $redis->command('PUBLISH', 'gw:purge', $_)
        for '', 'x', '1-1 ', '1-1 z', '1-1 z1:cx9:', '1-1 z1:ck99999999999:';
    sleep 0.1;
}

is(status($one, '/hop'), 'MISS', 'stored');
shared('/hop');
my ($hop) = @{ $redis->command('KEYS', 'gw:*o:c:/hop') };
my $value = $redis->command('HGET', $hop, '-');
ok($value =~ s/X-Something-Else1/Transfer-Encoding/, 'with another field');
$redis->command('HSET', $hop, '-', $value);
($status, $second) = get($two, '/hop');
is($status, 'MISS', 'a field that is never stored is not taken');
ok(!$second->{headers}{'transfer-encoding'}, 'nor sent');

GatewayProcess::wait_for(2, sub { shared('/g') });
$redis->command('DEL', $key);
$redis->command('SET', $key, 'no hash');
two_forgets('/g');
is(status($two, '/g'), 'MISS', 'nor what is of another type');
ok(GatewayProcess::wait_for(3, sub {
    $redis->command('TYPE', $key) eq 'hash' }), 'it is replaced');


# --- evicted from level 1

my $small = node(size => '256k');
ok(up($small, 1), 'a node with little memory');
status($small, "/evict/$_") for 0 .. 800;
is(status($small, '/evict/0'), 'REDIS', 'has what it dropped in level 2');
$small->stop;


# --- Redis hangs, is gone, comes back

both('/hang', '/kept');
$redis->suspend;

$start = time;
is(status($one, '/hang'), 'HIT', 'hung: a hit is a hit');
cmp_ok(time - $start, '<', 0.25, 'at once');
$start = time;
is(status($one, '/hang/a'), 'MISS', 'a miss is one');
cmp_ok(time - $start, '<', 0.9, 'after the timeout');
up($one, 0);

# each of the two workers finds out by itself
my ($misses, $slow) = (0, 0);

for (1 .. 8) {
    $start = time;
    $misses++ if status($one, "/hang/b$_") eq 'MISS';
    $slow++ if time - $start >= 0.25;
}

is($misses, 8, 'so are the next');
cmp_ok($slow, '<=', 1, 'at once');

$start = time;
is($one->http('DELETE', '/purge/hang')->{status}, 200, 'a purge is answered');
cmp_ok(time - $start, '<', 0.9, 'in time');
is(status($one, '/hang'), 'MISS', 'and done on this node');

$redis->resume;
up($_, 1) for $one, $two;
my $asked = $origin->requests('/hang');
ok(GatewayProcess::wait_for(5, sub {
    status($two, '/hang');
    $origin->requests('/hang') > $asked;
}), 'and handed over when it is back');

both('/lost');
$redis->suspend;
status($one, '/lost/a');
up($one, 0);
is($one->http('DELETE', '/purge/lost')->{status}, 200, 'hung: a purge');
$one->kill_worker($_) for $one->worker_pids;
$redis->resume;
up($_, 1) for $one, $two;
$asked = $origin->requests('/lost');
ok(GatewayProcess::wait_for(8, sub {
    status($two, '/lost');
    $origin->requests('/lost') > $asked;
}), 'where its worker dies, all is purged when Redis is back');

both('/full');
$redis->command('CONFIG', 'SET', 'maxmemory', 1);
is(status($one, '/full/a'), 'MISS', 'a Redis that is full');
is($one->http('DELETE', '/purge/full')->{body}, '{"purged":1}', 'a purge');
ok(gone($two, '/full'), 'reaches the other node');
$redis->command('CONFIG', 'SET', 'maxmemory', 0);

both('/later', '/tag/later', '/later/p');
$redis->command('CONFIG', 'SET', 'min-replicas-to-write', 1);

for my $json ('{"keys":["/later"]}', '{"tags":["later"]}',
    '{"pattern":"/later/*"}')
{
    is(purge($one, $json), '{"purged":1}',
        "a Redis that takes no writes for now: $json");
}

$redis->command('CONFIG', 'SET', 'min-replicas-to-write', 0);

for my $uri ('/later', '/tag/later', '/later/p') {
    $asked = $origin->requests($uri);
    ok(GatewayProcess::wait_for(5, sub {
        status($two, $uri);
        $origin->requests($uri) > $asked;
    }), 'is purged when it does');
}

both('/gone');
my %dropped = map { $_ => scalar(() = $_->error_log =~ /level 1 is purged/g) }
    $one, $two;
$redis->kill;
up($_, 0) for $one, $two;
is(status($one, '/gone'), 'HIT', 'gone: level 1 stays');
is(status($one, '/gone/a'), 'MISS', 'and upstream');
$redis->start(empty => 1);
up($_, 1) for $one, $two;
ok(GatewayProcess::wait_for(5, sub {
    status($one, '/back') eq 'HIT' && shared('/back') }), 'back again');
is(status($two, '/back'), 'REDIS', 'and shared');


# --- purged while a node was not listening

# this is another Redis: both have to drop what they had
GatewayProcess::wait_for(10, sub {
    !grep { (() = $_->error_log =~ /level 1 is purged/g) == $dropped{$_} }
        $one, $two });
both('/missed', '/stays');
$redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
is($one->http('DELETE', '/purge/missed')->{status}, 200, 'a purge');
$asked = $origin->requests('/missed');
ok(GatewayProcess::wait_for(5, sub {
    status($two, '/missed');
    $origin->requests('/missed') > $asked;
}), 'that was not heard is caught up with');
is(status($two, '/stays'), 'HIT', 'and nothing else is dropped');

# Connections that both nodes have had for so many seconds.
sub connected {
    my ($age) = @_;

    my @n = map { scalar grep { $_ >= $age } $redis->command('CLIENT', 'LIST',
        'TYPE', $_) =~ / age=(\d+)/g } 'pubsub', 'normal';
    return $n[0] == 2 && $n[1] >= 4;
}

# whichever comes back first: that is as may be, where both have been well
my $stayed = 0;
both('/stays');

for (1 .. 4) {
    GatewayProcess::wait_for(5, sub { connected(2) });
    $redis->command('CLIENT', 'KILL', 'TYPE', $_) for 'normal', 'pubsub';
    GatewayProcess::wait_for(5, sub { connected(0) });
    up($_, 1) for $one, $two;
    $stayed += grep { status($_, '/stays') eq 'HIT' } $one, $two;
    both('/stays');
}

is($stayed, 8, 'nor where the connection for commands was lost with it');



# --- a reload while Redis hangs: who waits for it is answered in time

my ($port, $url) = ($origin->port, $redis->url);

my $patient = GatewayNginx->new(
    workers => 1,
    http    => "gateway_redis r $url timeout=3s;\n"
        . 'gateway_cache_zone c:4m redis=r;',
    config => <<"END");
        location / {
            gateway_cache c;
            proxy_pass http://127.0.0.1:$port;
        }
        location = /purge { gateway_cache_purge c; }
        location /status { gateway_status; }
END

ok(up($patient, 1), 'a node that waits long');
$redis->suspend;

my $client = $patient->connect;
$client->write(GatewaySocket::request('GET', '/hangs', close => 1));
my $purger = $patient->connect;
$purger->write(GatewaySocket::request('POST', '/purge',
    body => '{"keys":["b"]}', close => 1));
my $impatient = $patient->connect;
$impatient->write(GatewaySocket::request('POST', '/purge',
    body => '{"keys":["c"]}'));

# in the same worker, so the others are on their way
$patient->http('GET', '/status');
$patient->reload;
is(scalar($patient->old_worker_pids), 1, 'the old worker goes on');
is($origin->requests('/hangs'), 0, 'it waits');

# nothing is left of who does not, else the worker aborts
$impatient->abort;

my $answer = $client->response('GET', 15);
is($answer && $answer->{status}, 200, 'and answers, with what upstream says');
$answer = $purger->response('POST', 15);
is($answer && $answer->{body}, '{"purged":0}', 'so is a purge');
$_->close for $client, $purger;
ok(GatewayProcess::wait_for(5, sub { !$patient->old_worker_pids }),
    'then it ends');

$redis->resume;
ok(GatewayProcess::wait_for(15, sub {
    $patient->error_log =~ /a purge that was to be handed to Redis is lost/ }),
    'what it owes is known');
$_->stop for $patient, $one, $two, $origin, $redis;

done_testing();
