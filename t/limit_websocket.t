#!/usr/bin/perl

# gateway_limit on WebSockets: openings, and each message.

use strict;
use warnings;

use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);
use Time::Local qw(timegm);

use GatewayJWT;
use GatewayNginx;
use GatewayProcess;

my $secret = 'a secret of at least thirty-two bytes';
my $time   = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

my $nginx = GatewayNginx->new(
    workers => 2,
    files   => { secret => "$secret\n" },
    http    => <<'END',
    gateway_jwt_keys main secret_file=%PREFIX%/secret;
    gateway_channel_zone z:1m;
    gateway_subscribe_allow **;
    gateway_publish_allow **;
    gateway_limit_log_level warn;

    gateway_limit_zone $arg_k zone=opening:1m rate=2/h;
    gateway_limit_zone $arg_k zone=sending:1m rate=3/90m;
    gateway_limit_zone $arg_k zone=wide:1m rate=100/m;
    gateway_limit_zone $arg_k zone=brief:1m rate=2/1s;
    gateway_limit_zone $gateway_connection_id zone=each:1m rate=3/h;
    gateway_limit_zone $gateway_jwt_claim_sub zone=user:1m rate=3/h;
END
    config => <<'END');
        location = /opening {
            gateway_limit zone=opening on=connection;
            gateway_subscriber z;
        }
        location = /v1 {
            gateway_limit zone=sending on=message;
            gateway_subscriber z;
        }
        location = /both {
            gateway_limit zone=wide on=message;
            gateway_limit zone=sending on=message;
            gateway_subscriber z;
        }
        location = /cost {
            gateway_limit zone=sending on=message cost=$arg_cost;
            gateway_subscriber z;
        }
        location = /dry {
            gateway_limit zone=sending on=message dry_run;
            gateway_subscriber z;
        }
        location = /brief {
            gateway_limit zone=brief on=message;
            gateway_subscriber z;
        }
        location = /each {
            gateway_limit zone=each on=message;
            gateway_subscriber z;
        }
        location = /raw {
            gateway_limit zone=sending on=message;
            gateway_subscriber z;
            gateway_channel raw:$arg_k;
        }
        location = /brief_raw {
            gateway_limit zone=brief on=message;
            gateway_subscriber z;
            gateway_channel raw:$arg_k;
        }
        location = /user {
            gateway_jwt main;
            gateway_limit zone=user on=message;
            gateway_subscriber z;
        }
        location = /user_opening {
            gateway_jwt main;
            gateway_jwt_token subprotocol message;
            gateway_limit zone=user on=connection;
            gateway_subscriber z;
        }
        location = /pub { gateway_publisher z; }
        location = /status { gateway_status; }
END


# An open client that has been greeted.
sub client {
    my ($path, @protocols) = @_;

    @protocols = 'v1' if !@protocols;
    my $ws = $nginx->client(path => $path, subprotocols => \@protocols);

    if ($protocols[0] eq 'v1') {
        $ws->recv_type('connection:established') or die "not greeted\n";
    }

    return $ws;
}


# Publishes; the answer.
sub publish {
    my ($ws, $channel, $id, $data) = @_;

    $ws->send_json({ type => 'publish', requestId => $id,
        payload => { resource => $channel, data => $data // 1 } });

    while (my $message = $ws->recv_json) {
        return $message if ($message->{correlationId} // '') eq $id;
    }

    return { type => 'nothing' };
}


sub types {
    my ($ws, $channel, $n) = @_;
    return join ' ', map { publish($ws, $channel, "$_")->{type} } 1 .. $n;
}


sub sequence {
    my ($channel) = @_;

    my $response = $nginx->http('GET', "/pub?channel=$channel");
    return 0 if $response->{status} == 404;
    return JSON::PP::decode_json($response->{body})->{sequenceNumber};
}


sub value {
    my ($name, %labels) = @_;

    my $status = JSON::PP::decode_json($nginx->http('GET', '/status')->{body});

    for my $series (@{ $status->{metrics}{$name} }) {
        return $series->{value}
            if !grep { ($series->{labels}{$_} // '') ne $labels{$_} }
            keys %labels;
    }

    return undef;
}


sub seconds_until {
    my ($text) = @_;
    my ($y, $mo, $d, $h, $mi, $s, $ms)
        = $text =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)\.(\d+)Z$/;
    return timegm($s, $mi, $h, $d, $mo - 1, $y) + $ms / 1000 - time();
}


# openings are refused before the upgrade
{
    my @ws = map { $nginx->client(path => '/opening?k=a') } 1 .. 4;

    is(join(' ', map { $_->status } @ws), '101 101 429 429', 'openings');
    like($ws[2]->header('Retry-After'), qr/^36[0-5]\d$/, 'Retry-After');
    like($ws[2]->header('RateLimit'), qr/^"opening";r=0;t=36[0-5]\d$/,
        'RateLimit of one that is refused');
    like($ws[1]->header('RateLimit'), qr/^"opening";r=0;t=36[0-5]\d$/,
        'and of one that opens');
    is($ws[2]->header('Upgrade'), undef, 'no upgrade');
    ok($nginx->wait_for_log(
            qr/\[warn\].*limiting connections by zone "opening"/),
        'which is in the log');

    is($nginx->http('GET', '/opening?k=b')->{status}, 426,
        'a plain GET is no opening');
    is(join(' ', map { $nginx->client(path => '/opening?k=b')->status } 1 .. 3),
        '101 101 429', 'and was not counted');
}


# v1: told, and not relayed
{
    my $listener = client('/opening?k=listener');
    $listener->send_json({ type => 'subscribe',
        payload => { resources => ['news'] } });
    $listener->recv_type('subscribed');

    my $ws = client('/v1?k=v1');

    is(types($ws, 'news', 3), 'published published published', 'three pass');

    my $told = publish($ws, 'news', 'fourth', 'not to be seen');
    is($told->{type}, 'rate-limit', 'the fourth does not');
    is($told->{correlationId}, 'fourth', 'it is said which');
    like($told->{timestamp}, $time, 'and when');

    my $p = $told->{payload};
    is(join(' ', sort keys %$p), 'limit remaining resetAt window', 'payload');
    is($p->{limit}, 3, 'limit');
    is($p->{remaining}, 0, 'remaining');
    is($p->{window}, '90m', 'the window as configured');
    like($p->{resetAt}, $time, 'resetAt is a time');
    cmp_ok(abs(seconds_until($p->{resetAt}) - 5400), '<', 120,
        'in 90 minutes');

    for (1 .. 3) {
        my $message = $listener->recv_type('message');
        is($message->{sequenceNumber}, $_, "relayed: $_");
    }

    $nginx->http('POST', '/pub?channel=news', body => '"the end"');
    is($listener->recv_type('message')->{payload}, 'the end',
        'what was refused was not relayed');

    # every message counts, whatever it is
    $ws->send_json({ type => 'ping', payload => { timestamp => 1 } });
    is($ws->recv_json->{type}, 'rate-limit', 'a ping counts too');
    $ws->send_text('not JSON');
    my $bad = $ws->recv_json;
    is($bad->{type}, 'rate-limit', 'and what is not JSON');
    ok(!exists $bad->{correlationId}, 'without a correlationId');

    # v1 clients are told, however often
    $ws->send_text('{}') for 1 .. 1100;
    my $n = 0;
    $n++ while $n < 1100 && ($ws->recv_json || {})->{type} eq 'rate-limit';
    is($n, 1100, '1,100 in a row are answered');
    $ws->send_ping('x');
    is($ws->recv_frame->{payload}, 'x', 'the connection stays');

    is(value('gateway_limit_requests_total', zone => 'sending',
            result => 'passed'), 3, 'counted: passed');
    is(value('gateway_limit_requests_total', zone => 'sending',
            result => 'rejected'), 1103, 'counted: rejected');
    is(value('gateway_messages_dropped_total', zone => 'z',
            reason => 'rate_limited'), 1103, 'counted: dropped');

    # one count for all connections of a key
    is(types(client('/v1?k=v1'), 'news', 1), 'rate-limit',
        'another connection of that key');
    is(types(client('/v1?k=other'), 'news', 4),
        'published published published rate-limit', 'another key');
}


# one count for each connection, where the key is its id
{
    my @ws = map { client('/each') } 1 .. 2;
    is(types($_, 'news', 4), 'published published published rate-limit',
        'by connection')
        for @ws;
}


# several limits: charged only where all admit
{
    my $ws = client('/both?k=both');
    types($ws, 'news', 3);
    my $told = publish($ws, 'news', 'x');
    is($told->{type}, 'rate-limit', 'one of two rejects');
    is($told->{payload}{limit}, 3, 'and is the one told of');

    is(value('gateway_limit_requests_total', zone => 'wide',
            result => 'passed'), 3, 'the other counts three');
    is(value('gateway_limit_requests_total', zone => 'wide',
            result => 'rejected'), 0, 'and rejects none');
}


# cost and dry_run
is(types(client('/cost?k=two&cost=2'), 'news', 2), 'published rate-limit',
    'a message that costs 2');
is(types(client('/cost?k=free&cost=0'), 'news', 10),
    join(' ', ('published') x 10), 'one that costs nothing');
is(publish(client('/cost?k=much&cost=4'), 'news', 'x')->{payload}{remaining}, 3,
    'one that costs more than there is');
is(types(client('/dry?k=dry'), 'news', 6), join(' ', ('published') x 6),
    'a dry run');
ok($nginx->wait_for_log('limiting messages, dry run, by zone "sending"'),
    'which is in the log');


# without a key there is no limit
is(types(client('/v1'), 'news', 8), join(' ', ('published') x 8),
    'an empty key');


# a slot is free again
{
    my $ws = client('/brief?k=again');
    types($ws, 'news', 2);

    my $told = publish($ws, 'news', 'x');
    for (1 .. 20) {
        last if $told->{type} eq 'rate-limit';
        $told = publish($ws, 'news', 'x');
    }

    is($told->{type}, 'rate-limit', 'over the limit');
    is($told->{payload}{window}, '1s', 'of one second');
    my $wait = seconds_until($told->{payload}{resetAt});
    sleep $wait + 0.01 if $wait > 0;
    is(publish($ws, 'news', 'y')->{type}, 'published',
        'at resetAt it is free again');
}


# raw: dropped without a word
{
    my $reader = client('/opening?k=reader&channel=raw:r', 'raw');
    my $ws     = client('/raw?k=r', 'raw');

    $ws->send_text("message $_") for 1 .. 5;
    is($ws->recv_message, "message $_", "raw: its own $_") for 1 .. 3;
    is($reader->recv_message, "message $_", "raw: another's $_") for 1 .. 3;

    $nginx->http('POST', '/pub?channel=raw:r', body => 'end');
    is($ws->recv_message, 'end', 'raw: no word of the others');
    is($reader->recv_message, 'end', 'raw: and nobody got them');
    is(sequence('raw:r'), 4, 'raw: they were not published');

    # two were refused so far
    $ws->send_text('x') for 1 .. 997;
    $ws->send_ping('still');
    is($ws->recv_frame->{payload}, 'still', 'raw: 999 in a row');
    $ws->send_text('x');
    ok($ws->closes_with(4429), 'raw: 1,000 in a row close with 4429');
}


# raw: one that passes begins the row anew
{
    my $ws = client('/brief_raw?k=row', 'raw');

    for my $round (1 .. 3) {
        $ws->send_text("round $round") for 1 .. 600;
        is($ws->recv_message, "round $round", "raw: round $round passes");
        $ws->send_ping("ping $round");

        while (my $frame = $ws->recv_frame) {
            last if $frame->{payload} eq "ping $round";
        }

        ok(!$ws->{eof} && !$ws->{closed}, "raw: and the connection stays");
        sleep 1.02;
    }
}


# a claim as key: of the token at the opening, for all connections of a user
{
    my $token = hs256($secret, { sub => 'alice' });
    my @ws = map { client('/user', 'v1', "jwt.$token") } 1 .. 2;

    is(types($ws[0], 'news', 2), 'published published', 'two by one');
    is(types($ws[1], 'news', 2), 'published rate-limit', 'one by the other');

    my $bob = hs256($secret, { sub => 'bob' });
    is(types(client('/user', 'v1', "jwt.$bob"), 'news', 1), 'published',
        'another user');
}


# the token comes as a message: its limit on openings counts then
{
    my $carol = hs256($secret, { sub => 'carol' });
    my $bad   = hs256('another secret of thirty-two bytes!', { sub => 'carol' });

    my $open = sub {
        my ($token) = @_;
        my $ws = $nginx->client(path => '/user_opening',
            subprotocols => ['v1']);
        $ws->recv_type('auth:challenge') or die "no challenge\n";
        $ws->send_json({ type => 'auth', payload => { token => $token } });
        return $ws;
    };

    ok($open->($bad)->closes_with(4401), 'a bad token') for 1 .. 4;

    for (1 .. 3) {
        my $ws = $open->($carol);
        ok($ws->recv_type('connection:established'), "opening $_");
    }

    ok($open->($carol)->closes_with(4429), 'the fourth closes with 4429');

    my $dave = hs256($secret, { sub => 'dave' });
    ok($open->($dave)->recv_type('connection:established'), 'another user');

    # and where the token is offered, before the upgrade
    my $ws = $nginx->client(path => '/user_opening',
        subprotocols => ['v1', "jwt.$carol"]);
    is($ws->status, 429, 'offered: refused before the upgrade');
}

$nginx->stop;
done_testing();
