#!/usr/bin/perl

# A full channel zone drops what was used least recently; where everything is
# in use, the one message is refused that does not fit.

use strict;
use warnings;

use JSON::PP;
use Test::More;

use GatewayNginx;

my $json = JSON::PP->new->utf8;

my $nginx = GatewayNginx->new(
    workers => 2,
    http    => <<'END',
    gateway_channel_zone small:512k max_message=32k history=1000;
    gateway_channel_zone held:512k max_message=32k history=1000;
END
    config => <<'END');
    gateway_subscribe_allow **;
    gateway_publish_allow **;
    gateway_send_buffer 64m;
    location = /small { gateway_publisher small; }
    location = /held { gateway_publisher held; }
    location = /ws { gateway_subscriber held; }
    location = /join { gateway_subscriber small; }
END

sub status { my ($m, $u, @a) = @_; return $nginx->http($m, $u, @a)->{status} }

sub there { return status('GET', "/small?channel=$_[0]") == 200 }


# Channels without subscribers: the most recently used survive, and nothing
# is ever refused.

my %refused;
my $body = 'x' x 4000;

for my $n (1 .. 500) {
    $refused{ status('POST', "/small?channel=c$n", body => $body) }++;
    # used again and again
    $refused{ status('POST', '/small?channel=keep', body => 'x') }++ if $n % 10 == 0;
}

is(join(' ', keys %refused), '202', 'no request fails');
ok(there("c$_"), "c$_ is there") for 491 .. 500;
ok(!there("c$_"), "c$_ is gone") for 1 .. 10;
ok(there('keep'), 'what was used often is there');
is($json->decode($nginx->http('GET', '/small?channel=keep')->{body})
    ->{sequenceNumber}, 50, 'with its number');

# one channel takes all there is, and loses its own oldest

%refused = ();
$refused{ status('POST', '/small?channel=one', body => 'x' x 30000) }++ for 1 .. 40;
is(join(' ', keys %refused), '202', 'nor does one of a channel with much history');
my $state = $json->decode($nginx->http('GET', '/small?channel=one&since=0')->{body});
is($state->{sequenceNumber}, 40, 'all were published');
ok(!$state->{complete}, 'the first are gone');
cmp_ok(scalar @{ $state->{messages} }, '>=', 1, 'not all are gone');
is($state->{messages}[-1]{sequenceNumber}, 40, 'the last is there');

# channels that are subscribed to stay, without history

my $ws = $nginx->client(path => '/join', subprotocols => ['v1']);
$ws->recv_json;
$ws->send_json({ type => 'subscribe', payload => { resources => ['mine'] } });
is($ws->recv_json->{type}, 'subscribed', 'subscribed in a full zone');
status('POST', '/small?channel=mine', body => '1');
is($ws->recv_json->{payload}, 1, 'delivered');
status('POST', "/small?channel=d$_", body => $body) for 1 .. 200;
status('POST', '/small?channel=mine', body => '2');
my $m = $ws->recv_json;
is($m->{payload}, 2, 'delivered');
is($m->{sequenceNumber}, 2, 'the sequence goes on');
$ws->close;

# A subscriber that reads nothing holds what it has not been sent: the zone
# fills with what cannot be dropped.

my $v1 = $nginx->client(path => '/ws', subprotocols => ['v1']);
$v1->recv_json;

my $slow = $nginx->client(path => '/ws?channel=stuck', subprotocols => ['raw'],
    receive_buffer => 4096);

my ($taken, $code) = (0, 201);
$body = 'y' x 32000;

while ($taken < 2000) {
    $code = status('POST', '/held?channel=stuck', body => $body);
    last if $code != 201;
    $taken++;
}

is($code, 507, "the zone is full after $taken messages: 507");
$nginx->wait_for_log('gateway_channel_zone "held" is full: a message for "stuck"');

# the kernel may have taken some more meanwhile
do {
    $v1->send_json({ type => 'publish', requestId => 'r',
        payload => { resource => 'stuck', data => $body } });
    $m = $v1->recv_json;
    $taken++ if $m->{type} eq 'published';
} while ($m->{type} eq 'published');

is($m->{type}, 'error', 'v1: an error');
is($m->{payload}{code}, 'unavailable', 'v1: unavailable');
is($m->{correlationId}, 'r', 'correlationId');

is(status('GET', '/held?channel=stuck'), 200, 'others are answered');

# what was accepted arrives, each once, and then there is room again

my $got = 0;
while ($got < $taken) {
    my $text = $slow->recv_message;
    last if !defined $text || ($text ne $body && $text ne qq("$body"));
    $got++;
}
is($got, $taken, 'all that was accepted arrives');
is(status('POST', '/held?channel=stuck', body => 'z'), 201, 'there is room again');
ok($slow->recv_message eq 'z', 'and the next one');

$_->close for $slow, $v1;
$nginx->stop;
done_testing;
