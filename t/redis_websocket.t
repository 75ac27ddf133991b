#!/usr/bin/perl

# WebSockets of two nodes whose channels are shared through one Redis: what a
# client does on one is seen on the other, answers come in the order of its
# messages though each waits for Redis, and nothing waits for long where Redis
# does not answer, or the client is gone.

use strict;
use warnings;

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use GatewayJWT;
use GatewayNodes;
use GatewayProcess;
use GatewayRedis;

my $TIMEOUT = $ENV{TEST_NGINX_USE_VALGRIND} ? 10 : 2;  # of Redis, s
my $SLACK = 5 * $TIMEOUT;  # of a machine that is busy

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $secret = 'a secret of at least thirty-two bytes';

my $redis = GatewayRedis->new;
my $nodes = GatewayNodes->new(
    url => $redis->url, options => "timeout=${TIMEOUT}s",
    files => { secret => "$secret\n" },
    http => <<'END_HTTP',
    gateway_jwt_keys main secret_file=%PREFIX%/secret;
    gateway_channel_zone z:8m redis=r history=200;
    gateway_cache_zone c:1m redis=r;
END_HTTP
    config => <<'END_CONFIG');
    gateway_ping off;
    gateway_subscribe_allow **;
    gateway_publish_allow **;
    location = /ws { gateway_subscriber z; }
    location = /pub { gateway_publisher z; }
    location = /joined { gateway_subscriber z; gateway_channel joined; }
    location = /raw { gateway_subscriber z; gateway_channel raw; }
    location = /auth {
        gateway_jwt main;
        gateway_jwt_token message;
        gateway_subscriber z;
        gateway_channel joined;
    }
END_CONFIG

my ($one, $two) = $nodes->all;


sub v1 {
    my ($node, $path, %args) = @_;

    my $ws = $node->client(path => $path // '/ws', subprotocols => ['v1'],
        %args);
    die "no WebSocket\n" unless $ws && $ws->is_open;
    return $ws;
}


sub message {
    my ($type, $payload, $id) = @_;

    return $json->encode({
        type => $type, payload => $payload,
        defined $id ? (requestId => "$id") : (),
    });
}


# The next message that passes a test; others are kept for later.
sub next_that {
    my ($ws, $passes) = @_;

    my $kept = $ws->{kept} ||= [];

    for my $i (0 .. $#$kept) {
        return splice @$kept, $i, 1 if $passes->($kept->[$i]);
    }

    while (my $m = $ws->recv_json) {
        return $m if $passes->($m);
        push @$kept, $m;
    }

    return;
}


sub of_type {
    my ($ws, $type) = @_;
    return next_that($ws, sub { $_[0]{type} eq $type }) // {};
}


sub ask {
    my ($ws, $type, $payload, $answer, $id) = @_;

    $ws->send_text(message($type, $payload, $id));
    return of_type($ws, $answer);
}


sub published {
    my ($ws, $channel, $data, %more) = @_;

    return ask($ws, 'publish', { resource => $channel, data => $data, %more },
        'published')->{payload} // {};
}


sub subscribed {
    my ($ws, $channel, %more) = @_;

    return ask($ws, 'subscribe', { resources => [$channel], %more },
        'subscribed')->{payload}{resources}[0] // {};
}


# The data of the next n messages of a channel.
sub data {
    my ($ws, $n) = @_;

    my @got;

    while (@got < $n) {
        my $m = of_type($ws, 'message');
        last if !%$m;
        push @got, $m->{payload};
    }

    return @got;
}


# Frames in one piece, as a client sends that does not wait.
sub at_once {
    my ($ws, @messages) = @_;
    $ws->write(join '', map { GatewayClient::frame($_) } @messages);
}


# correlationIds of the next n answers.
sub ids {
    my ($ws, $n) = @_;

    my @got;

    while (@got < $n) {
        my $m = next_that($ws, sub { exists $_[0]{correlationId} }) or last;
        push @got, $m->{correlationId};
    }

    return "@got";
}


sub state_of {
    my ($of) = @_;
    return join ' ', map { $_ // '' } @$of{qw(sequenceNumber epoch)};
}


ok($nodes->wait_up, 'Redis is there') or BAIL_OUT('no Redis');


# Publish here, delivered there.
{
    my ($a, $b) = (v1($one), v1($two));

    my $s = subscribed($b, 'x');
    is($s->{sequenceNumber}, 0, 'nothing is there yet');

    my $p = published($a, 'x', { n => 1 });
    my $m = of_type($b, 'message');

    is($p->{sequenceNumber}, 1, 'published');
    is(state_of($m), state_of($p), 'delivered on the other node as the same');
    is($p->{epoch}, $s->{epoch}, 'in the epoch that it subscribed to');

    # and back, into one that has only published until now
    subscribed($a, 'x');
    $p = published($b, 'x', 2);
    $m = of_type($a, 'message');
    is(state_of($m), state_of($p), 'and the other way');
}


# Many at once: answers in order, whatever they are of.
{
    my ($a, $b) = (v1($one), v1($two));
    my @messages;

    subscribed($b, 'many');

    for my $i (1 .. 300) {
        push @messages, $i % 50 == 10 ? message('subscribe',
                { resources => ["c$i"] }, $i)
            : $i % 50 == 20 ? message('ping', {}, $i)
            : $i % 50 == 30 ? message('nonsense', {}, $i)
            : $i % 50 == 40 ? message('unsubscribe',
                { resources => ["c$i"] }, $i)
            : message('publish', { resource => 'many', data => $i }, $i);
    }

    at_once($a, @messages);

    is(ids($a, 300), join(' ', 1 .. 300), 'answers are in order');

    my @wanted = grep { $_ % 10 || $_ % 50 == 0 } 1 .. 300;
    is(join(' ', data($b, scalar @wanted)), join(' ', @wanted),
        'and so is what the other node delivers');
}


# What one has published before, a subscribe knows of.
{
    my ($a) = (v1($one));

    for my $n (1 .. 5) {
        at_once($a,
            message('publish', { resource => "before$n", data => 'p' }, 1),
            message('subscribe', { resources => ["before$n"] }, 2));

        my $s = of_type($a, 'subscribed')->{payload}{resources}[0];
        is($s->{sequenceNumber}, 1, 'subscribe comes after publish');
    }

    at_once($a, message('ping', {}, 1));
    is($a->recv_json->{type}, 'pong', 'what was published before is not new');

    at_once($a,
        message('publish', { resource => 'r', data => 1 }, 1),
        message('recovery:request', { resource => 'r' }, 2));

    is(of_type($a, 'recovery:response')->{payload}{sequenceNumber}, 1,
        'recovery:request comes after publish');
}


# Recovery of what was published on another node.
{
    my $a = v1($one);
    my $first = published($a, 'rec', 1);
    published($a, 'rec', $_) for 2 .. 5;

    my $b = v1($two);
    my $s = subscribed($b, 'rec', since => {
        rec => { sequenceNumber => 1, epoch => $first->{epoch} } });

    ok($s->{recovered}, 'since: recovered');
    is($s->{sequenceNumber}, 5, 'since: the channel is where it is');
    is(join(' ', data($b, 4)), '2 3 4 5', 'since: what was missed');

    $b = v1($two);
    published($a, 'rec2', $_) for 1 .. 3;
    my $r = ask($b, 'recovery:request', { resource => 'rec2',
        missingRanges => [{ start => 2, end => 3 }] }, 'recovery:response', 7);

    is($r->{payload}{data}{payload}, 2, 'recovery:request: the first');
    $r = of_type($b, 'recovery:response');
    is($r->{payload}{data}{payload}, 3, 'recovery:request: the second');
    ok($r->{payload}{isComplete}, 'recovery:request: all is there');

    $b = v1($two, '/ws?channel=rec&channel=rec2');
    $s = of_type($b, 'subscribed')->{payload}{resources};
    is(join(' ', map { "$_->{resource} $_->{sequenceNumber}" } @$s),
        'rec 5 rec2 3', 'channels joined on connecting are in step');
}


# Versions are one for all nodes.
{
    my ($a, $b) = (v1($one), v1($two));

    published($a, 'version', 1);

    is(published($b, 'version', 2, expectedVersion => 1)->{sequenceNumber}, 2,
        'the expected version');

    my $m = ask($a, 'publish', { resource => 'version', data => 3,
        expectedVersion => 1 }, 'error', 9);

    is($m->{payload}{code}, 'conflict', 'another version');
    is($m->{payload}{details}{sequenceNumber}, 2, 'and which');
    is($m->{correlationId}, 9, 'of that request');
}


# Raw, and echo: false, over nodes.
{
    my $a = $one->client(path => '/raw', subprotocols => ['raw']);
    my $b = $two->client(path => '/raw', subprotocols => ['raw']);

    at_once($a, map {"raw $_"} 1 .. 200);

    is(join(',', map { $b->recv_message // '' } 1 .. 200),
        join(',', map {"raw $_"} 1 .. 200), 'raw messages, in order');
    is(join(',', map { $a->recv_message // '' } 1 .. 200),
        join(',', map {"raw $_"} 1 .. 200), 'and back to who sent them');

    my ($c, $d) = (v1($one), v1($two));
    subscribed($c, 'echo', echo => JSON::PP::false);
    subscribed($d, 'echo', echo => JSON::PP::false);

    published($c, 'echo', 'of c');
    is(join(',', data($d, 1)), 'of c', 'no echo, but what others publish');
    published($d, 'echo', 'of d');
    published($c, 'echo', 'the end');
    is(join(',', data($c, 1)), 'of d', 'on both nodes');
    is(join(',', data($d, 1)), 'the end', 'and never what is their own');
}


# A Close, or an end, after publishing: what was asked is answered before.
{
    my $a = v1($one);
    at_once($a, map { message('publish', { resource => 'end', data => $_ },
        $_) } 1 .. 20);
    $a->send_close(1000);

    is(ids($a, 20), join(' ', 1 .. 20), 'Close waits for answers');
    is(($a->recv_close)[0], 1000, 'and is answered then');

    $a = v1($one);
    at_once($a, map { message('publish', { resource => 'end', data => $_ },
        $_) } 1 .. 20);
    $a->half_close;

    is(ids($a, 20), join(' ', 1 .. 20), 'and so does an end of sending');
    ok($a->at_end, 'which is the end then');
}


# A token as the first message: joins after it.
{
    my $a = v1($one, '/joined');
    published($a, 'joined', 1);

    my $b = v1($two, '/auth');
    $b->send_text(message('auth', { token => GatewayJWT::hs256($secret,
        { sub => 'alice', exp => int(time) + 60 }) }, 1));
    is(of_type($b, 'subscribed')->{payload}{resources}[0]{sequenceNumber},
        1, 'what is joined after auth is in step');
}


# Redis hangs: nobody waits longer than its timeout, and goes on alone.
{
    my $a = v1($one);
    my $watcher = v1($two);

    subscribed($a, 'live');
    published($a, 'live', 'before');
    data($a, 1);

    my @leaving = map { v1($one) } 1 .. 3;

    $redis->suspend;

    my $began = time;

    # some leave while they wait, in each way there is
    my $early = GatewayClient->start(port => $one->port,
        path => '/ws?channel=new0', subprotocols => ['v1']);
    at_once($leaving[0], message('publish', { resource => 'l', data => 1 }));
    at_once($leaving[1], message('subscribe', { resources => ['l'] }));
    at_once($leaving[2],
        message('publish', { resource => 'l', data => 1 }),
        message('subscribe', { resources => ['l'] }),
        message('publish', { resource => 'l', data => 2 }));
    at_once($a,
        message('publish', { resource => 'hung', data => 1 }, 1),
        message('subscribe', { resources => ['new1'] }, 2),
        message('publish', { resource => 'new1', data => 2 }, 3));

    my $joining = GatewayClient->start(port => $one->port,
        path => '/ws?channel=new2', subprotocols => ['v1']);

    $_->close for $early, @leaving;

    is(ids($a, 3), '1 2 3', 'all is answered, in order');
    is(join(',', data($a, 1)), '2', 'and delivered on this node');
    ok($joining->finish && $joining->is_open, 'a handshake ends well');
    is(of_type($joining, 'subscribed')->{payload}{resources}[0]{resource},
        'new2', 'with its channels joined');

    cmp_ok(time - $began, '<', 3 * $TIMEOUT + $SLACK, 'and soon');

    ok($nodes->wait_down($one), 'Redis is known to be away');

    $began = time;
    is(published($a, 'live', 'alone')->{sequenceNumber}, 1,
        'the node goes on in an epoch of its own');
    subscribed($a, 'new3');
    ok(time - $began < $SLACK, 'at once');

    $redis->resume;
    ok($nodes->wait_up, 'Redis is back');

    # what was published on the other node while this one was alone is found
    subscribed($watcher, 'live');
    my $b = v1($two);
    my $p = published($b, 'live', 'again');
    is((data($watcher, 1))[0], 'again', 'and all goes on');

    ok(GatewayProcess::wait_for(10, sub {
        my $s = subscribed($a, 'live');
        state_of($s) eq state_of($p);
    }), 'the nodes agree again');
}


# Purges that clients ask for: not any number at a time.
{
    my $a = v1($one);

    $redis->suspend;

    at_once($a, map { message('cache:invalidate', { pattern => 'x*' }, $_) }
        1 .. 100);

    my $m = of_type($a, 'error');
    is($m->{payload}{code}, 'unavailable', 'too many purges');
    cmp_ok($m->{correlationId}, '>', 10, 'but some are taken');

    $redis->resume;
    ok($nodes->wait_up, 'Redis is there again');

    my $b = v1($one);
    subscribed($b, 'cache:invalidate');
    ok(GatewayProcess::wait_for(20, sub {
        $b->send_text(message('cache:invalidate', { pattern => 'y*' }));
        while (my $told = $b->recv_json) {
            return 0 if $told->{type} eq 'error';
            return 1 if $told->{payload}{pattern} eq 'y*';
        }
    }), 'and later ones too');
}


# A worker that is told to end answers what waits in it before: a publish on
# one node, a handshake on the other, where nothing else keeps it.
{
    for my $node ($one, $two) {
        my $a = v1($node);
        ok(GatewayProcess::wait_for(20, sub {
            published($a, 'ends', 1)->{sequenceNumber};
        }), 'a channel');
        $a->close;
    }

    $redis->suspend;

    my $post = $one->connect;
    $post->write(GatewaySocket::request('POST', '/pub?channel=ends',
        body => '2'));

    my $joining = GatewayClient->start(port => $two->port,
        path => '/ws?channel=ends', subprotocols => ['v1']);

    $_->reload for $one, $two;

    my $answer = $post->response('POST');
    like($answer && $answer->{status}, qr/^20[12]$/, 'a publish is answered');
    ok($joining->finish && $joining->is_open, 'a handshake ends well');
    is(of_type($joining, 'subscribed')->{payload}{resources}[0]{resource},
        'ends', 'with its channel joined');

    $joining->close;
    $redis->resume;
    ok($nodes->wait_up, 'Redis is back again');
}


$nodes->stop;
done_testing;
