#!/usr/bin/perl

# recovery:request: what a client has missed, message by message.

use strict;
use warnings;

use JSON::PP;
use Test::More;

use GatewayNginx;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my $nginx = GatewayNginx->new(
    workers => 2,
    http    => <<'END',
    gateway_channel_zone z:4m history=5;
    gateway_channel_zone long:32m history=20000;
    gateway_channel_zone none:1m history=0;
    gateway_channel_zone brief:1m history_ttl=50ms;
END
    config => <<'END');
    gateway_subscribe_allow **;
    gateway_send_buffer 64k;
    location = /ws { gateway_subscriber z; }
    location = /mine { gateway_subscriber z; gateway_channel mine;
                       gateway_subscribe_allow other; }
    location = /long { gateway_subscriber long; gateway_publish_allow **; }
    location = /none { gateway_subscriber none; }
    location = /brief { gateway_subscriber brief; }
    location = /pub { gateway_publisher z; }
    location = /publong { gateway_publisher long; }
    location = /pubnone { gateway_publisher none; }
    location = /pubbrief { gateway_publisher brief; }
END


sub post {
    my ($where, $channel, $body) = @_;
    return $json->decode($nginx->http('POST', "/$where?channel=$channel",
        body => $body)->{body});
}


sub client {
    my ($path, %args) = @_;
    my $ws = $nginx->client(path => $path, subprotocols => ['v1'], %args);
    $ws->recv_json;
    return $ws;
}


sub ask {
    my ($ws, %payload) = @_;
    $ws->send_json({ type => 'recovery:request', payload => \%payload,
        requestId => 'r' });
}


# What comes of a request, as "5 6 7!": ! is isComplete, - a null with the
# channel's number. A ping says where it ends.
sub recover {
    my ($ws, %payload) = @_;
    my @got;

    ask($ws, %payload);

    while (my $m = $ws->recv_json) {
        last if ($m->{correlationId} // '') eq 'end';
        $ws->send_json({ type => 'ping', payload => {}, requestId => 'end' })
            if !@got;
        if ($m->{type} ne 'recovery:response') {
            push @got, $m->{payload}{code} // $m->{type};
            next;
        }
        my $p = $m->{payload};
        fail('correlationId') if $m->{correlationId} ne 'r';
        fail('resource') if $p->{resource} ne $payload{resource};
        fail('envelope') if $p->{data}
            && ($p->{data}{sequenceNumber} != $p->{sequenceNumber}
                || $p->{data}{resource} ne $p->{resource}
                || $p->{data}{payload} != $p->{sequenceNumber});
        push @got, ($p->{data} ? '' : '-') . $p->{sequenceNumber}
            . ($p->{isComplete} ? '!' : '');
    }

    return join ' ', @got;
}


sub ranges { return [map { { start => $_->[0], end => $_->[1] } } @_] }


my $ws = client('/ws');
my $epoch;
$epoch = post('pub', 'a', $_)->{epoch} for 1 .. 8;     # 4 to 8 are there

my @cases = (
    [{}, '4 5 6 7 8', 'all, of which some are gone'],
    [{ lastSequenceNumber => 3 }, '4 5 6 7 8!', 'all after 3'],
    [{ lastSequenceNumber => 6 }, '7 8!', 'all after 6'],
    [{ lastSequenceNumber => 2 }, '4 5 6 7 8', 'one is gone'],
    [{ lastSequenceNumber => 0 }, '4 5 6 7 8', 'three are gone'],
    [{ lastSequenceNumber => 8 }, '-8!', 'nothing is missing'],
    [{ lastSequenceNumber => 9 }, '-8', 'a number to come'],
    [{ lastSequenceNumber => 9223372036854775807 }, '-8', 'the largest number'],
    [{ lastSequenceNumber => 6, epoch => $epoch }, '7 8!', 'the right epoch'],
    [{ lastSequenceNumber => 6, epoch => undef }, '7 8!', 'no epoch'],
    [{ lastSequenceNumber => 6, epoch => 'x' x 12 }, '-8', 'a wrong epoch'],
    [{ lastSequenceNumber => 6, epoch => 7 }, '-8', 'an epoch that is none'],
    [{ lastSequenceNumber => 8, epoch => '' }, '-8', 'an empty epoch'],
    [{ missingRanges => ranges([5, 6]) }, '5 6!', 'a range'],
    [{ missingRanges => ranges([5, 5]) }, '5!', 'a range of one'],
    [{ missingRanges => ranges([5, 5], [7, 8]) }, '5 7 8!', 'two ranges'],
    [{ missingRanges => ranges([7, 8], [4, 5]) }, '4 5 7 8!', 'in another order'],
    [{ missingRanges => ranges([4, 6], [5, 7], [6, 6]) }, '4 5 6 7!', 'overlapping'],
    [{ missingRanges => ranges([3, 5]) }, '4 5', 'begins before what is there'],
    [{ missingRanges => ranges([7, 9]) }, '7 8', 'ends after what is there'],
    [{ missingRanges => ranges([1, 3]) }, '-8', 'all gone'],
    [{ missingRanges => ranges([9, 12]) }, '-8', 'all to come'],
    [{ missingRanges => ranges([1, 9223372036854775807]) }, '4 5 6 7 8', 'huge'],
    [{ missingRanges => ranges([1, 1], [5, 5]) }, '5', 'one of two is gone'],
    [{ missingRanges => [], lastSequenceNumber => 7 }, '8!', 'no range, a number'],
    [{ missingRanges => ranges([5, 5]), lastSequenceNumber => 7 }, '5 8!', 'both'],
    [{ missingRanges => ranges([5, 8]), lastSequenceNumber => 6 }, '5 6 7 8!',
        'both, overlapping'],
    [{ missingRanges => ranges([5, 5]), lastSequenceNumber => 8 }, '5!',
        'both, the number is the newest'],
    [{ missingRanges => ranges(map { [$_ % 8 + 1, 8] } 1 .. 100) }, '4 5 6 7 8',
        'a hundred ranges'],
    [{ missingRanges => ranges(map { [8, 8] } 1 .. 101) }, 'bad-message',
        'more than that'],
    [{ missingRanges => ranges([0, 5]) }, 'bad-message', 'from 0'],
    [{ missingRanges => ranges([6, 5]) }, 'bad-message', 'backwards'],
    [{ missingRanges => ranges([-1, 5]) }, 'bad-message', 'negative'],
    [{ missingRanges => ranges(['1', 5]) }, 'bad-message', 'a string'],
    [{ missingRanges => [{ start => 1 }] }, 'bad-message', 'no end'],
    [{ missingRanges => [1] }, 'bad-message', 'a number for a range'],
    [{ missingRanges => {} }, 'bad-message', 'an object'],
    [{ lastSequenceNumber => -1 }, 'bad-message', 'a negative number'],
    [{ lastSequenceNumber => 'x' }, 'bad-message', 'no number'],
    [{ resource => '' }, 'bad-message', 'no name'],
);

for (@cases) {
    my ($payload, $expected, $name) = @$_;
    is(recover($ws, resource => 'a', %$payload), $expected, $name);
}

is(recover($ws, resource => 'unknown', lastSequenceNumber => 0), '-0!',
    'an unknown channel has nothing to send');
is(recover($ws, resource => 'unknown', lastSequenceNumber => 3), '-0',
    'but what was there once is missing');
is(recover($ws, resource => 'unknown', epoch => 'x' x 12), '-0',
    'an unknown channel has no epoch');

my $none = client('/none');
post('pubnone', 'a', $_) for 1 .. 3;
is(recover($none, resource => 'a', lastSequenceNumber => 1), '-3', 'without history');
is(recover($none, resource => 'a', lastSequenceNumber => 3), '-3!', 'nothing missing');

my $brief = client('/brief');
post('pubbrief', 'a', 1);
ok(GatewayProcess::wait_for(5, sub {
    recover($brief, resource => 'a', lastSequenceNumber => 0) eq '-1' }),
    'too old');

# rights

my $mine = client('/mine');
is($mine->recv_json->{type}, 'subscribed', 'joined unasked');
post('pub', 'mine', 1);
is($mine->recv_json->{payload}, 1, 'live');
is(recover($mine, resource => 'mine', lastSequenceNumber => 0), '1!',
    'of a channel one is on');
is(recover($mine, resource => 'a', lastSequenceNumber => 7), 'forbidden',
    'of one that is not allowed');

# DELETE

$nginx->http('DELETE', '/pub?channel=a');
is(recover($ws, resource => 'a', epoch => $epoch, lastSequenceNumber => 8), '-0',
    'after DELETE');
post('pub', 'a', 1);
is(recover($ws, resource => 'a', epoch => $epoch, lastSequenceNumber => 0), '-1',
    'the old epoch');
is(recover($ws, resource => 'a', lastSequenceNumber => 0), '1!', 'the new one');

# a history that is larger than the send buffer, and a client that is slow

my $n = 1500;
my $publisher = client('/long');
for my $i (1 .. $n) {
    $publisher->send_text(qq({"type":"publish","payload":{"resource":"a",)
        . qq("data":$i,"type":") . 'x' x 8000 . '"}}');
    $publisher->recv_json if $i > 50;
}
$publisher->recv_json for 1 .. 50;

my $slow = client('/long', receive_buffer => 4096);
ask($slow, resource => 'a', lastSequenceNumber => 0);
ask($slow, resource => 'a', missingRanges => ranges([1490, 1499], [1, 3]));
ask($slow, resource => 'a', lastSequenceNumber => $n);

# others are served meanwhile, also this connection's channels
my $fast = client('/long');
is(recover($fast, resource => 'a', lastSequenceNumber => 1498), '1499 1500!',
    'another client meanwhile');

my ($wrong, $last, $complete) = (0, 0, 0);
while ($last < $n) {
    my $m = $slow->recv_json or last;
    my $p = $m->{payload};
    $wrong++ if $p->{sequenceNumber} != ++$last || $p->{data}{payload} != $last;
    $complete++ if $p->{isComplete};
    $wrong++ if $p->{isComplete} && $last != $n;
}
is($last, $n, 'all');
is($wrong, 0, 'in order, complete on the last only');
is($complete, 1, 'complete');

my @got = map { $slow->recv_json->{payload} } 1 .. 14;
is(join(' ', map { $_->{sequenceNumber} . ($_->{isComplete} ? '!' : '') } @got),
    '1 2 3 1490 1491 1492 1493 1494 1495 1496 1497 1498 1499! 1500!',
    'then the next ones');

# too many at a time, by a client that reads nothing meanwhile

my $greedy = client('/long', receive_buffer => 4096);
ask($greedy, resource => 'a', lastSequenceNumber => $_ == 1 ? 0 : $n)
    for 1 .. 20;
my ($refused, $done) = (0, 0);
while (my $m = $greedy->recv_json) {
    $refused++ if $m->{type} eq 'error' && $m->{payload}{code} eq 'unavailable';
    $done++ if $m->{payload}{isComplete};
    last if $refused + $done == 20;
}
cmp_ok($refused, '>', 0, 'some are refused');
cmp_ok($done, '>=', 16, 'the others are served');
is($refused + $done, 20, 'each is answered');

$_->close for $ws, $none, $brief, $mine, $publisher, $slow, $fast, $greedy;
$nginx->stop;
done_testing;
