#!/usr/bin/perl

# Two workers, 1,000 subscribers over both, 20,000 messages on 10 channels from
# publishers in both: each gets each message of its channels once, in order.

use strict;
use warnings;

use Test::More;

use GatewayNginx;
use GatewayStream;

my $MESSAGES = 20_000;
my @channels = map {"c$_"} 0 .. 9;

my $nginx = GatewayNginx->new(
    http   => "gateway_channel_zone z:16m;\n"
        . "keepalive_requests 100000;\naccess_log off;",
    log_level => 'notice',
    config => <<'END');
        listen 127.0.0.1:%PORT:shared% reuseport;
        gateway_ping off;
        gateway_subscribe_allow **;
        gateway_publish_allow **;
        add_header X-Worker $pid always;
        location /raw { gateway_subscriber z; }
        location /v1 { gateway_subscriber z; }
        location /pub { gateway_publisher z; }
        location /pid { return 200 $pid; }
END

my $stream
    = GatewayStream->new(nginx => $nginx, port => $nginx->port_named('shared'));
my $swarm = $stream->swarm;

for my $channel (@channels) {
    $stream->subscribe('raw', $channel, 50);
    $stream->subscribe('v1', $channel, 40);
}


# some on several channels, and some that do not want what they publish
my (@several, @deaf);

for my $i (0 .. 99) {
    my $ws = $nginx->client(
        port => $stream->{port}, path => '/v1', subprotocols => ['v1']);
    my @own = $i < 90 ? map { $channels[ ($i + $_) % 10 ] } 0, 3, 7 : 'c0';

    $ws->send_json({
        type    => 'subscribe',
        payload => {
            resources => \@own, $i < 90 ? () : (echo => JSON::PP::false)
        },
    });
    $ws->recv_type('subscribed') or die "no \"subscribed\"\n";

    $stream->{workers}{ $ws->header('X-Worker') }++;

    if ($i >= 90) {
        push @deaf, $ws;
        next;
    }

    $swarm->add($ws, "several $i");
    push @several, [$i, @own];
}

is(scalar keys %{ $stream->{workers} }, 2, 'subscribers are in both workers');

ok($stream->publishers_on_all('http', 2), 'publishers are in both workers');
ok($stream->publishers_on_all('v1',   2), 'and those of v1 too');

# two of those that do not want their own publish as well
for my $ws (@deaf[0, 1]) {
    push @{ $stream->{publishers} }, {
        kind => 'v1', socket => $ws, worker => $ws->header('X-Worker'),
        name => 'deaf' . @{ $stream->{publishers} },
    };
}

my $publishers = @{ $stream->{publishers} };
my $batch      = 20;
my $dead       = 0;
my $heard      = 0;
my %other;

for (my $left = $MESSAGES; $left > 0;) {
    $dead += $stream->round($batch, @channels);
    $left -= $publishers * $batch * @channels;

    last unless $stream->everything;

    # every message of a channel but their own
    for my $i (2 .. 9) {
        my $want = $batch * $publishers;
        while ($want-- > 0) {
            my $message = $deaf[$i]->recv_type('message') or last;
            $heard++;
            $other{$i}{wrong}++
                if $message->{sequenceNumber} != ++$other{$i}{seq};
        }
    }
}

is($dead, 0, 'all publishers were answered');
ok($stream->everything, 'everything has come');
cmp_ok($stream->{sent}{c0} * 10, '>=', $MESSAGES, 'so many messages');
is($heard, 8 * $stream->{sent}{c0}, 'without an echo, but of others: all');
is(scalar(grep { $_->{wrong} } values %other), 0, '... in order');

$stream->check('two workers');


# those on several channels
{
    my $wrong = 0;

    $swarm->wait_for(10, sub {
        !grep { !$swarm->all_have("several $_->[0]", 3 * $stream->{sent}{c0}) }
            @several;
    });

    for my $client (@several) {
        my ($i, @own) = @$client;
        my %seq = map { $_ => 0 } @own;

        for my $payload ($swarm->payloads("several $i")) {
            $payload =~ /"resource":"(\w+)","sequenceNumber":(\d+)/;
            $wrong++ if !exists $seq{$1} || $2 != ++$seq{$1};
        }

        $wrong += grep { $seq{$_} != $stream->{sent}{$_} } @own;
    }

    is($wrong, 0, 'on several channels: each message once and in order');
    is(scalar $swarm->errors, 0, 'nothing else came');
}


# the two that publish get what others do, and nothing of their own
for my $publisher (grep { $_->{name} =~ /^deaf/ } @{ $stream->{publishers} }) {
    my $others = @{ $stream->{publishers} } - 1;
    my $own    = $stream->{sent}{c0} / ($others + 1);

    $stream->answer($publisher)
        while ($publisher->{heard} || 0) < $own * $others
        && !$publisher->{socket}{eof};

    is($publisher->{heard}, $own * $others, 'without an echo: all of others');
    is($publisher->{echoed} || 0, 0, '... and nothing of its own');
}

$_->close for @deaf;
$stream->close;
$nginx->stop;
done_testing();
