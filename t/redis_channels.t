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

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my $redis = GatewayRedis->new;

my $HTTP = <<'END';
    gateway_channel_zone z:4m redis=r history=5;
    gateway_channel_zone none:1m redis=r history=0;
    gateway_channel_zone own:1m;
END

my $CONFIG = <<'END';
    gateway_ping off;
    gateway_subscribe_allow **;
    gateway_publish_allow **;
    location = /v1 { gateway_subscriber z; }
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


# A node that starts later.
{
    my $late = GatewayNodes->new(n => 1, url => $redis->url, http => $HTTP,
        config => $CONFIG, options => 'timeout=500ms');
    $late->wait_up;
    my ($three) = $late->all;

    is_deeply(get($three, 'a', query => '&since=3'),
        get($one, 'a', query => '&since=3'), 'it has what came before it');

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
