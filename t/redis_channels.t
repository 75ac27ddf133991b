#!/usr/bin/perl

# Channels that two nodes share through one Redis: what is published on one
# comes to the other's subscribers and into its history, with the same numbers
# and epoch, whatever becomes of Redis meanwhile.

use strict;
use warnings;

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use GatewayNodes;
use GatewayProcess;
use GatewayRedis;
use GatewayRedisProxy;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my $redis = GatewayRedis->new;

my $HTTP = <<'END';
    gateway_channel_zone z:4m redis=r history=5;
    gateway_channel_zone long:8m redis=r history=1000;
    gateway_channel_zone none:1m redis=r history=0;
    gateway_channel_zone own:1m;
END

my $CONFIG = <<'END';
    gateway_ping off;
    gateway_subscribe_allow **;
    gateway_publish_allow **;
    location = /v1 { gateway_subscriber z; }
    location = /long { gateway_subscriber long; }
    location = /publong { gateway_publisher long; }
    location = /none { gateway_subscriber none; }
    location = /own { gateway_subscriber own; }
    location = /pub { gateway_publisher z; }
    location = /pubnone { gateway_publisher none; }
    location = /pubown { gateway_publisher own; }
END


sub nodes {
    my (%args) = @_;

    my $nodes = GatewayNodes->new(url => $redis->url, http => $HTTP,
        config => $CONFIG, options => 'timeout=500ms', %args);
    $nodes->wait_up or die "Redis is not up\n";

    return $nodes;
}


sub request {
    my ($node, $method, $channel, %args) = @_;

    my $where = delete $args{where} || 'pub';
    my $query = delete $args{query} // '';
    my $answer = $node->http($method, "/$where?channel=$channel$query", %args)
        or return { status => 0 };

    return { status => $answer->{status},
        $answer->{body} =~ /^\{/ ? %{ $json->decode($answer->{body}) } : () };
}

sub post {
    my ($node, $channel, $body, %args) = @_;
    return request($node, 'POST', $channel, body => $body, %args);
}

sub get {
    my ($node, $channel, %args) = @_;
    return request($node, 'GET', $channel, %args);
}


sub subscribe {
    my ($node, $channel, %args) = @_;

    my $ws = $node->client(path => $args{path} || '/v1',
        subprotocols => ['v1']) or die "no WebSocket\n";
    $ws->send_json({ type => 'subscribe', payload => {
        resources => [$channel],
        defined $args{since} ? (since => { $channel => $args{since} }) : (),
    } });
    my $answer = $ws->recv_type('subscribed') or die "not subscribed\n";
    $ws->{subscribed} = $answer->{payload}{resources}[0];

    return $ws;
}


# The next message as "epoch number payload".
sub next_of {
    my ($ws) = @_;

    my $m = $ws->recv_json or return 'nothing';
    return join ' ', $m->{epoch} // '-', $m->{sequenceNumber} // '-',
        $json->encode($m->{payload});
}


sub is_next {
    my ($ws, $ack, $payload, $name) = @_;

    my $epoch = $ack->{epoch} // 'no epoch';
    my $seq = $ack->{sequenceNumber} // 'no number';

    is(next_of($ws), "$epoch $seq $payload", $name);
}


# Nothing came but what is asked for after it.
sub nothing_for {
    my ($ws, $name) = @_;

    $ws->send_json({ type => 'ping', payload => { timestamp => 1 } });
    my $m = $ws->recv_json;
    is($m->{type}, 'pong', $name) or diag($json->encode($m));
}

# A connection to a worker that does not lead; log_level must be info.
sub follower {
    my ($node) = @_;

    my ($leader) = $node->error_log =~ /\[info\] (\d+)#.*this worker leads/;
    my $socket;

    eventually(sub {
        $socket = $node->connect;
        $socket->write(GatewaySocket::request('GET', '/pid'));
        $socket->response('GET')->{body} != $leader;
    }) or die "only the leader answers\n";

    return $socket;
}


sub eventually { return GatewayProcess::wait_for($_[1] || 5, $_[0]) ? 1 : 0 }

sub payloads {
    return join ' ', map { $json->encode($_->{payload}) }
        @{ $_[0]{messages} || [] };
}


my $nodes = nodes();
my ($one, $two) = $nodes->all;

# each has heard of the other
{
    my @ws = map { subscribe($_, 'first') } $one, $two;
    for my $node ($one, $two) {
        ok(eventually(sub { get($node, 'first')->{subscribers} == 2 }),
            'the nodes know each other');
    }
}


# What is published on one node is delivered on both.
{
    my @ws = map { subscribe($_, 'a') } $one, $two;

    for my $i (1 .. 3) {
        my $ack = post($i % 2 ? $one : $two, 'a', $i);
        is($ack->{sequenceNumber}, $i, "message $i");
        is_next($_, $ack, $i, 'is delivered as it was acknowledged') for @ws;
    }

    # a text, a binary, and a type of one's own
    my $ack = post($one, 'a', "\"\xff\0", headers => [
        'Content-Type' => 'application/octet-stream']);
    is_next($_, $ack, '"Iv8A"', 'a binary message') for @ws;

    $ack = post($two, 'a', '{"type":"t","payload":{"x":1.50}}');
    like(($_->recv_message)[0],
        qr/^\{"type":"t","payload":\{"x":1\.50\},.*"sequenceNumber":5,/,
        'an envelope as it was written') for @ws;

    my ($left, $right) = map { get($_, 'a', query => '&since=0') } $one, $two;
    is(payloads($left), '1 2 3 "Iv8A" {"x":1.50}' =~ s/1\.50/1.5/r,
        'history on the one');
    is(payloads($right), payloads($left), 'and on the other');
    is($right->{epoch}, $left->{epoch}, 'of the same epoch');

    for my $node ($one, $two) {
        ok(eventually(sub { get($node, 'a')->{subscribers} == 2 }, 1),
            'subscribers of all nodes are counted');
    }
    is(post($_, 'a', 6)->{subscribers}, 2, 'also for who publishes')
        for $one, $two;
    is(post($two, 'a', 7)->{status}, 201, 'and says so');

    $ws[1]->close;
    ok(eventually(sub { get($one, 'a')->{subscribers} == 1 }), 'one has left');
    is(get($one, 'a', query => '&since=0')->{complete}, JSON::PP::false,
        'what history does not keep is gone');
    is(get($two, 'a', query => '&since=3')->{complete}, JSON::PP::true,
        'the rest is there');
}


# A channel that the other node has never seen.
{
    my $ack;
    $ack = post($one, 'b', $_) for 1 .. 3;
    is($ack->{status}, 202, 'nobody is there on any node');

    my $seen = get($two, 'b', query => '&since=1');
    is($seen->{epoch}, $ack->{epoch}, 'the epoch is known everywhere');
    is(payloads($seen), '2 3', 'and the messages');
    is(get($two, 'nothing')->{status}, 404, 'unknown is unknown');

    $ack = post($one, 'b', 4);
    my $ws = subscribe($two, 'b');
    post($two, 'b', 5);
    is_next($ws, { %$ack, sequenceNumber => 5 }, 5, 'the numbers go on');
}


# expectedVersion, over nodes.
{
    my @expect = (headers => ['Gateway-Expected-Version' => 0]);

    is(post($one, 'v', 1, @expect)->{status}, 202, 'the first');
    is(post($two, 'v', 1, @expect)->{status}, 412, 'not the first');
    @expect = (headers => ['Gateway-Expected-Version' => 1]);
    is(post($two, 'v', 2, @expect)->{sequenceNumber}, 2, 'the second');
}


# DELETE.
{
    my $ack = post($one, 'd', 1);
    is(request($two, 'DELETE', 'd')->{status}, 204, 'deleted on the other');
    is(get($_, 'd')->{status}, 404, 'is gone') for $one, $two;
    is(request($two, 'DELETE', 'd')->{status}, 404, 'already');

    my $ws = subscribe($one, 'd');
    $ack = post($two, 'd', 2);
    is_next($ws, $ack, 2, 'and there again');
    ok(eventually(sub { get($two, 'd')->{subscribers} == 1 }), 'with readers');
    is(request($two, 'DELETE', 'd')->{status}, 204, 'deleted with readers');
    my $new = post($two, 'd', 3);
    isnt($new->{epoch}, $ack->{epoch}, 'another epoch');
    is($new->{sequenceNumber}, 1, 'from 1');
    is_next($ws, $new, 3, 'they stay');
}


# Without history; without Redis.
{
    my @ws = map { subscribe($_, 'h', path => '/none') } $one, $two;

    for my $i (1 .. 20) {
        my $ack = post($i % 2 ? $one : $two, 'h', $i, where => 'pubnone');
        is_next($_, $ack, $i, "without history: $i") for @ws;
    }
    is(get($two, 'h', where => 'pubnone', query => '&since=19')->{complete},
        JSON::PP::false, 'there is none');

    my $ws = subscribe($one, 'o', path => '/own');
    post($two, 'o', 'other', where => 'pubown');
    my $ack = post($one, 'o', 1, where => 'pubown');
    is($ack->{sequenceNumber}, 1, 'a zone without redis= is the node\'s own');
    is_next($ws, $ack, 1, 'as ever');
}


# Two zones of one Redis hold the same channels.
{
    my $ws = subscribe($two, 'both', path => '/none');
    my $ack = post($one, 'both', 1);
    is_next($ws, $ack, 1, 'published in one zone, read in the other');
}


# Redis hangs: a message waits for the time-out, once in each worker, reaches
# this node's clients, and is not carried out later.
{
    my @ws = map { subscribe($_, 's') } $one, $two;
    my $before = post($one, 's', 1);
    is_next($_, $before, 1, 'before') for @ws;

    $redis->suspend;

    my $own;
    my $slow = 0;

    for my $i (1 .. 6) {
        my $began = time;
        my $ack = post($one, 's', "\"own $i\"");
        $slow++ if time - $began > 0.25;
        cmp_ok(time - $began, '<', GatewayProcess::patience(0.8),
            'not longer than the time-out');

        is($ack->{status}, 201, 'acknowledged');
        isnt($ack->{epoch}, $before->{epoch}, 'in another epoch');
        is($ack->{epoch}, $own, 'the same for all') if defined $own;
        $own = $ack->{epoch};
        is($ack->{sequenceNumber}, $i, 'from 1');
        is_next($ws[0], $ack, "\"own $i\"", 'delivered here');
    }

    cmp_ok($slow, '<=', 2, 'each worker has waited once at most');

    $redis->resume;
    ok($nodes->wait_up, 'it comes back');

    my $after;
    ok(eventually(sub {
        $after = post($two, 's', '"after"');
        $after->{epoch} eq $before->{epoch};
    }), 'the shared epoch is there again');
    is($after->{sequenceNumber}, 2, 'nothing was carried out late');
    is_next($_, $after, '"after"', 'and nobody gets anything twice') for @ws;

    $after = post($one, 's', '"last"');
    is($after->{sequenceNumber}, 3, 'the other node is back as well');
    is_next($_, $after, '"last"', 'delivered on both') for @ws;
    nothing_for($_, 'and nothing else') for @ws;
}


# What is unknown does not come into being where Redis hangs.
{
    $redis->suspend;
    is(get($one, 'unseen')->{status}, 404, 'unknown is unknown') for 1 .. 4;
    $redis->resume;
    ok($nodes->wait_up, 'it comes back');
}


# What was missed and cannot be fetched at once, while Redis is there, comes when
# it can be, and not with the next message only.
{
    my $proxy = GatewayRedisProxy->new(to => $redis);
    my $node = GatewayNodes->new(n => 1, url => $proxy->url, http => $HTTP,
        config => $CONFIG, options => 'timeout=500ms');
    $node->wait_up;
    my ($three) = $node->all;
    my $ws = subscribe($three, 'refused');
    is_next($ws, post($two, 'refused', 1), 1, 'before');

    $proxy->behave('refuse');
    ok($node->wait_down, 'away');
    my $missed = post($two, 'refused', 2);

    my $scripts = sub {
        my $n = $proxy->commands;
        return ($n->{EVAL} // 0) + ($n->{EVALSHA} // 0);
    };
    my $before = $scripts->();
    $proxy->behave('error', 'OOM command not allowed', 'EVAL|EVALSHA');
    ok($node->wait_up, 'back, but it refuses scripts');
    ok(eventually(sub { $scripts->() > $before }), 'what was missed, too');

    $proxy->behave('pass');
    is($json->encode(($ws->recv_json(15) || {})->{payload}), 2,
        'it comes all the same');
    is_next($ws, post($two, 'refused', 3), 3, 'and what follows');

    $ws->close;
    $node->stop;
}


# A message that was given up is announced late, behind another node's: the
# channel is fetched, and has it, but nobody gets it a second time.
{
    my $proxy = GatewayRedisProxy->new(to => $redis);
    my $node = GatewayNodes->new(n => 1, url => $proxy->url, workers => 2,
        http => $HTTP, config => $CONFIG, options => 'timeout=500ms',
        log_level => 'info');
    $node->wait_up;
    my ($three) = $node->all;
    my $ws = subscribe($three, 'given');
    is_next($ws, post($two, 'given', 1), 1, 'before');

    # a worker whose connection alone is stopped
    my $socket = follower($three);
    $proxy->behave('late', 'given up', 'subscribed');
    my $theirs = post($two, 'given', '"theirs"');
    $socket->write(GatewaySocket::request('POST', '/pub?channel=given',
        body => '"given up"'));
    my $own = $json->decode($socket->response('POST')->{body});
    isnt($own->{epoch}, $theirs->{epoch}, 'given up');
    is_next($ws, $own, '"given up"', 'delivered here');

    $proxy->behave('pass');
    is_next($ws, $theirs, '"theirs"', 'what others published comes late');
    my $after = post($two, 'given', '"after"');
    is($after->{sequenceNumber}, 4, 'Redis had taken it');
    is_next($ws, $after, '"after"', 'it does not come again');

    $ws->close;
    $node->stop;
}


# Who joins while Redis is away is in an epoch that nobody else is in, and so is
# told by the next one that something may be missing.
{
    my $proxy = GatewayRedisProxy->new(to => $redis);
    my $node = GatewayNodes->new(n => 1, url => $proxy->url, http => $HTTP,
        config => $CONFIG, options => 'timeout=500ms');
    $node->wait_up;
    my ($three) = $node->all;

    $proxy->behave('refuse');
    $node->wait_down;

    my $ws = subscribe($three, 'joined');
    my $raw = $three->client(path => '/v1?channel=joined',
        subprotocols => ['raw']);
    my $other = subscribe($three, 'alone');

    post($two, 'joined', 1);
    my $own = post($three, 'alone', 1);
    is($own->{epoch}, $other->{subscribed}{epoch}, 'the epoch it was told of');
    is_next($other, $own, 1, 'published here meanwhile');

    $proxy->behave('pass');
    ok($node->wait_up, 'it comes back');

    my $ack = post($two, 'joined', 2);
    isnt($ack->{epoch}, $ws->{subscribed}{epoch}, 'another epoch');
    is_next($ws, $ack, 2, 'says that there was more');
    is($raw->recv_message, 2, 'and so it goes on for a raw client');

    $ack = post($three, 'joined', 3);
    is_next($ws, $ack, 3, 'the node has its own');
    is($raw->recv_message, 3, 'also raw');
    $ack = post($two, 'alone', 2);
    is_next($other, $ack, 2, 'what was local is not there twice');

    $_->close for $ws, $raw, $other;
    $node->stop;
}


# What others published while a node was on its own is history, also where two
# of its workers fetch it in turns.
{
    my $proxy = GatewayRedisProxy->new(to => $redis);
    my $node = GatewayNodes->new(n => 1, url => $proxy->url, workers => 2,
        http => $HTTP, config => $CONFIG, options => 'timeout=20s',
        log_level => 'info');
    $node->wait_up;
    my ($three) = $node->all;

    $proxy->behave('refuse');
    $node->wait_down;

    my $ws = subscribe($three, 'pages', path => '/long');
    is_next($ws, post($three, 'pages', 1, where => 'publong'), 1, 'alone');
    my $text = 'x' x 20_000;
    post($two, 'pages', $text, where => 'publong') for 1 .. 150;

    # the leader's second page is held
    $proxy->behave('late', '\b64 1048576\b');
    ok(eventually(sub { $proxy->commands->{late} }, 20), 'the first page');
    ok($node->wait_up, 'all workers are back');

    my $socket = follower($three);
    $proxy->behave('late', '^$');
    $socket->write(GatewaySocket::request('GET', '/publong?channel=pages'));
    like($socket->response('GET')->{body}, qr/"sequenceNumber":150,/,
        'the other worker fetches the others');
    $proxy->behave('pass');

    nothing_for($ws, 'which nobody gets who was there');
    my $after = post($two, 'pages', 2, where => 'publong');
    is_next($ws, $after, 2, 'but what comes now');

    $ws->close;
    $node->stop;
}


# A node that cannot subscribe hears only what it publishes itself. That comes
# to its clients also where another worker begins an epoch before it is fetched.
{
    my $redis = GatewayRedis->new(user => 'u', password => 'p',
        acl => '~* &* +@all -subscribe -ssubscribe');
    my $proxy = GatewayRedisProxy->new(to => $redis);
    my %node = (n => 1, workers => 2, http => $HTTP, config => $CONFIG,
        options => 'timeout=500ms');
    my $deaf = GatewayNodes->new(%node, url => $proxy->url);
    my $other = GatewayNodes->new(%node,
        url => $redis->url =~ s/u:p@/tests:tests@/r);
    my ($three, $four) = map { $_->all } $deaf, $other;

    ok($other->wait_up, 'a node that can');
    ok(eventually(sub {
        2 == grep {/ user=u /}
            split /\n/, $redis->command('CLIENT', 'LIST', 'TYPE', 'normal');
    }), 'one that cannot');

    my $x = $three->connect;
    my $y;
    my $ask = sub {
        $_[0]->write(GatewaySocket::request('GET', '/pid'));
        return $_[0]->response('GET')->{body};
    };
    ok(eventually(sub {
        $y = $three->connect;
        $ask->($x) != $ask->($y);
    }), 'both its workers');

    my $publish = sub {
        my ($socket, $body) = @_;
        $socket->write(GatewaySocket::request('POST', '/pub?channel=deaf',
            body => $body));
        return $json->decode($socket->response('POST')->{body});
    };

    my $ws = subscribe($three, 'deaf');
    is_next($ws, $publish->($x, 1), 1, 'its own');
    post($four, 'deaf', 2);

    $proxy->behave('late', '\b1 1048576\b|"given up"');
    my $first = $publish->($x, 3);
    is($first->{sequenceNumber}, 3, 'behind what it does not know');
    my $own = $publish->($y, '"given up"');
    is_next($ws, $own, '"given up"', 'an epoch of its own');

    $proxy->behave('pass');
    my $second;
    ok(eventually(sub {
        $second = $publish->($x, 5);
        return $second->{epoch} eq $first->{epoch};
    }), 'and back');
    my $m;
    while ($m = $ws->recv_json and $m->{epoch} eq $own->{epoch}) { }
    is($m->{payload}, 3, 'what was acknowledged is not lost');
    is_next($ws, $second, 5, 'nor what comes then');

    $ws->close;
    $_->stop for $deaf, $other;
}


# Restarted, and everything is gone.
{
    my @ws = map { subscribe($_, 'k') } $one, $two;
    my $before = post($one, 'k', 1);
    is_next($_, $before, 1, 'before') for @ws;

    $redis->kill;
    $redis->start(empty => 1);
    ok($nodes->wait_up, 'it comes back');

    my $new = post($two, 'k', 2);
    isnt($new->{epoch}, $before->{epoch}, 'a new epoch');
    is_next($_, $new, 2, 'delivered on both') for @ws;

    my $ws = subscribe($one, 'k', since => {
        epoch => $before->{epoch}, sequenceNumber => 1 });
    is($ws->{subscribed}{recovered}, JSON::PP::false, 'clients are told');
    is($ws->{subscribed}{epoch}, $new->{epoch}, 'of the new one');

    is(get($_, 'k', query => '&since=0')->{complete}, JSON::PP::true,
        'its history is whole') for $one, $two;
}


# The subscriptions are lost: what was published meanwhile is fetched.
{
    my $n = 200;
    my $ws = $two->client(path => '/v1', subprotocols => ['v1']);
    my @channels = map {"many$_"} 1 .. $n;
    $ws->send_json({ type => 'subscribe',
        payload => { resources => \@channels } });
    $ws->recv_type('subscribed');

    $redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');

    my $socket = $one->connect;
    my %acks;

    for my $channel (@channels) {
        $socket->write(GatewaySocket::request('POST',
            "/pub?channel=$channel", body => '1'));
        my $ack = $json->decode($socket->response('POST')->{body});
        $acks{"$channel $ack->{epoch} $ack->{sequenceNumber}"} = 1;
    }

    for (1 .. $n) {
        my $m = $ws->recv_json or last;
        delete $acks{"$m->{resource} $m->{epoch} $m->{sequenceNumber}"};
    }

    is(scalar keys %acks, 0, 'each channel has what was published');
    nothing_for($ws, 'and nothing twice');
}


# ... also where they are lost again while it is being fetched.
{
    my $proxy = GatewayRedisProxy->new(to => $redis);
    my $node = GatewayNodes->new(n => 1, workers => 1, url => $proxy->url,
        http => $HTTP, config => $CONFIG, options => 'timeout=20s');
    $node->wait_up;
    my ($three) = $node->all;

    my $ws = subscribe($three, 'again');
    is_next($ws, post($two, 'again', 1), 1, 'before');

    my $fetches = sub { $proxy->commands->{EVALSHA} || 0 };
    my $before = $fetches->();

    $proxy->behave('late', 'EVALSHA');
    $redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    ok(eventually(sub { $fetches->() > $before }), 'it is asked for');

    $proxy->behave('late', 'EVALSHA', 'refuse');
    $redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    ok($node->wait_down, 'nothing is subscribed to');
    my $ack = post($two, 'again', 2);

    $proxy->behave('late', 'EVALSHA');
    ok($node->wait_up, 'subscribed again');
    $proxy->behave('pass');
    is_next($ws, $ack, 2, 'what was published meanwhile comes');

    $ws->close;
    $node->stop;
}


# Connections are lost while messages are on their way.
{
    my @ws = map { subscribe($_, 'kill', path => '/long') } $one, $two;
    my @sockets = map { $_->connect } ($one, $two) x 5;
    my ($n, %got) = (0);

    for my $round (1 .. 20) {
        $_->write(GatewaySocket::request('POST', '/publong?channel=kill',
            body => ++$n)) for @sockets;
        $redis->command('CLIENT', 'KILL', 'TYPE', 'normal') if $round % 4 == 0;
        $_->response('POST') for @sockets;
    }

    # a channel that came back to the shared epoch says so by the last one
    my $last;
    ok($nodes->wait_up, 'all are back');
    ok(eventually(sub {
        $last = post($one, 'kill', '"last"', where => 'publong');
        my $other = post($two, 'kill', '"last"', where => 'publong');
        $last->{epoch} eq $other->{epoch};
    }), 'one epoch');

    for my $ws (@ws) {
        my (%seen, $twice, $epoch);

        while (my $m = $ws->recv_json(2)) {
            $twice++ if $m->{payload} ne 'last' && $seen{ $m->{payload} }++;
            last if $m->{epoch} eq $last->{epoch}
                && $m->{sequenceNumber} > $last->{sequenceNumber};
        }
        is($twice, undef, 'nobody got a message twice');
    }
}


# What others have written there.
{
    my $ws = subscribe($two, 'x');
    my $ack = post($one, 'x', 1);
    is_next($ws, $ack, 1, 'before');

    my ($key) = @{ $redis->command('KEYS', '*}m:x') };
    my $prefix = $key =~ s/m:x$//r;
    my $news = "m$ack->{epoch}" . 'n' x 12 . 'i' x 12;

    $redis->command('PUBLISH', "${prefix}news", $_)
        for '', 'm', 'x' x 1000, "${news}2:1:x", "${news}2:1:xgarbage",
        "${news}99999999999999999999:1:x", "${news}9:999:x";

    # number 2 was one of these: it is passed over
    for my $i (2, 3) {
        $ack = post($one, 'x', $i);
        is($ack->{sequenceNumber}, $i, 'the numbers go on');
    }
    is_next($ws, $ack, 3, 'and so does delivery');

    $redis->command('XADD', "${prefix}l:x", '4-1', 'm', 'garbage', 'i', 'x');
    $redis->command('XADD', "${prefix}l:x", '5-1', 'y', 'z');
    $redis->command('HSET', $key, 's', 5);
    $ack = post($one, 'x', 6);
    is($ack->{sequenceNumber}, 6, 'what is no message has its number');
    is_next($ws, $ack, 6, 'and is not delivered');

    # more than a page behind a gap
    my $resp = $redis->connect;
    $resp->command('XADD', "${prefix}l:x", "$_-1", 'm', 'x' x 20_000)
        for 100 .. 199;
    $resp->command('HSET', $key, 's', 199);
    is(get($two, 'x')->{status}, 200, 'a gap that nobody announced');
    ok(eventually(sub { get($two, 'x')->{sequenceNumber} == 199 }),
        'is passed over');

    $redis->command('HSET', $key, 'e', 'not an epoch');
    ok(post($one, 'x', 7)->{epoch}, 'an epoch that is none');
    $redis->command('DEL', $key, "${prefix}l:x");
    $redis->command('SET', $key, 'a string');
    ok(post($one, 'x', 8)->{epoch}, 'another type');
    $redis->command('DEL', $key);

    my $last;
    ok(eventually(sub {
        $last = post($one, 'x', 9);
        $last->{epoch} eq (get($two, 'x')->{epoch} // '');
    }), 'all is well afterwards');
}


# A worker that ends while Redis hangs goes on until it has published.
{
    my $node = GatewayNodes->new(n => 1, workers => 1, url => $redis->url,
        http => $HTTP, config => <<'END_CONFIG',
    location = /pub { gateway_publisher z; }
    location = /act {
        gateway_upstream_actions z;
        proxy_pass http://127.0.0.1:%PORT%/up;
    }
    location = /up {
        default_type text/plain;
        add_header Gateway-Publish ends;
        return 200 acted;
    }
END_CONFIG
        options => 'timeout=' . GatewayProcess::patience(2) . 's');
    $node->wait_up;
    my ($one) = $node->all;

    # hands it to the worker there is, which answers what comes after it
    my $begin = sub {
        my ($method, $body) = @_;

        my $socket = $one->connect;
        $socket->write(GatewaySocket::request($method, '/pub?channel=ends',
            body => $body));
        $one->http('GET', '/pid');

        return $socket;
    };

    my $stays = sub {
        my ($name) = @_;

        $one->reload;
        ok(!GatewayProcess::wait_for(0.3, sub { !$one->old_worker_pids }),
            "$name: the worker stays");
    };

    my $ended = sub {
        ok(eventually(sub { !$one->old_worker_pids }),
            "$_[0]: then it ends");
        $node->wait_up;
    };

    my $epoch = post($one, 'ends', 1)->{epoch};

    $redis->suspend;
    my $post = $begin->('POST', 2);
    $stays->('a message');
    $redis->resume;
    my $answer = $post->response('POST');
    is($answer && $answer->{status}, 202, 'is published');
    like($answer && $answer->{body}, qr/"sequenceNumber":2,"epoch":"$epoch"/,
        'in Redis');
    $post->close;
    $ended->('a message');

    $redis->suspend;
    my $get = $begin->('GET');
    $stays->('a look');
    $redis->resume;
    $answer = $get->response('GET');
    is($answer && $answer->{status}, 200, 'is answered');
    $get->close;
    $ended->('a look');

    $redis->suspend;
    is($one->http('GET', '/act')->{body}, 'acted', 'an upstream is answered');
    $stays->('its message');
    $redis->resume;
    $ended->('its message');
    is(get($one, 'ends')->{sequenceNumber}, 3, 'which is in Redis');

    $redis->suspend;
    my $delete = $begin->('DELETE');
    $stays->('Redis hangs on');
    $answer = $delete->response('DELETE');
    is($answer && $answer->{status}, 204, 'it is done here');
    $delete->close;
    $redis->resume;
    ok(eventually(sub { !$one->old_worker_pids }), 'and the worker ends');

    $node->stop;
}


# What is too large for another node's zone does not reach that node; the
# numbers go on there.
{
    my ($large, $small) = map {
        GatewayNodes->new(n => 1, url => $redis->url, http => $_,
            config => $CONFIG =~ s/.*\b(?:long|none|own);.*\n//gr)
    } 'gateway_channel_zone z:4m redis=r max_message=512k;',
        'gateway_channel_zone z:256k redis=r;';
    $_->wait_up for $large, $small;
    my ($one) = $large->all;
    my ($two) = $small->all;

    my $ws = subscribe($two, 'big');
    is(post($one, 'big', 'x' x 400_000)->{sequenceNumber}, 1, 'published');
    ok($two->wait_for_log('a message of "big" does not reach this node'),
        'where there is no room this is said');

    my $ack = post($one, 'big', 2);
    is($ack->{sequenceNumber}, 2, 'the next');
    is_next($ws, $ack, 2, 'comes to it');

    $ws->close;
    $_->stop for $large, $small;
}


# A node that starts later.
{
    my $late = GatewayNodes->new(n => 1, url => $redis->url, http => $HTTP,
        config => $CONFIG, options => 'timeout=500ms');
    $late->wait_up;
    my ($three) = $late->all;

    my $before;
    $before = post($one, 'late', $_) for 1 .. 3;
    my ($left, $right) = map { get($_, 'late', query => '&since=1') }
        $one, $three;
    is(payloads($right), '2 3', 'it has what came before it');
    is_deeply($right->{messages}, $left->{messages}, 'as the others have it');

    my $ws = subscribe($three, 'a');
    ok(eventually(sub { get($one, 'a')->{subscribers} == 1 }), 'it counts');
    my $ack = post($one, 'a', '"late"');
    is_next($ws, $ack, '"late"', 'and gets what comes');

    kill 'KILL', $three->pid, $three->worker_pids;
    ok(eventually(sub { get($one, 'a')->{subscribers} == 0 }, 10),
        'a node that is no more does not count');
}

$nodes->stop;
done_testing;
