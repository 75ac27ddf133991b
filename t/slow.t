#!/usr/bin/perl

# Slow readers: sends that end anywhere inside frames, with control frames and
# subscriptions coming and going meanwhile, over TCP and TLS. Whatever comes
# must be frames, whole and in order, with the bytes that were published.

use strict;
use warnings;

use JSON::PP ();
use Test::More;

use GatewayNginx;
use GatewayProcess;
use GatewaySocket;

my $nginx = GatewayNginx->new(
    http => "gateway_channel_zone z:8m history=50;\n"
        . "gateway_channel_zone small:512k history=0;\n"
        . "keepalive_requests 100000;\naccess_log off;",
    tls       => 1,
    log_level => 'notice',
    config    => <<'END');
        gateway_ping off;
        gateway_subscribe_allow **;
        gateway_publish_allow **;
        gateway_send_buffer 4m;
        listen 127.0.0.1:%PORT:sndbuf% sndbuf=4k;
        listen 127.0.0.1:%PORT:tls% ssl sndbuf=4k;
        location /ws { gateway_subscriber z; }
        location /tight { gateway_subscriber z; gateway_send_buffer 64k; }
        location /small { gateway_subscriber small; }
        location /pub { gateway_publisher z; }
        location /pubsmall { gateway_publisher small; }
        location /status { gateway_status; }
END

my $publisher;

sub body {
    my ($channel, $n, $size) = @_;

    my $text = "$channel $n ";
    return substr $text . sprintf('%07d', $n) x ($size / 7 + 1), 0,
        $size > length $text ? $size : length $text;
}

# Sizes around the forms of a frame's length, and of chunks.
my @sizes = (0, 30, 110, 125, 126, 127, 500, 1000, 4000, 4096, 5000, 12000);
my %sent;

sub size { return $sizes[ $_[0] * 5 % @sizes ] }


sub publish {
    my ($channel, $n, $uri) = @_;

    $publisher ||= $nginx->connect;

    my $text = '';
    for (1 .. $n) {
        my $i = ++$sent{$channel};
        $text .= GatewaySocket::request('POST',
            ($uri || '/pub') . "?channel=$channel",
            headers => ['Content-Type' => 'text/plain'],
            body    => body($channel, $i, size($i)));
    }

    $publisher->write($text);

    my %status;
    $status{ ($publisher->response('POST') || {})->{status} // 'none' }++
        for 1 .. $n;
    return \%status;
}


sub used {
    my ($zone) = @_;

    my $status = JSON::PP::decode_json(
        $nginx->http('GET', '/status')->{body});

    for my $series (@{ $status->{metrics}{gateway_zone_bytes} }) {
        return $series->{value}
            if $series->{labels}{zone} eq $zone
            && $series->{labels}{kind} eq 'used';
    }
}


sub subscribe {
    my ($ws, %payload) = @_;
    $ws->send_json({ type => 'subscribe', payload => \%payload });
}


# Takes in a few bytes only, so that the next send ends anywhere.
sub sip {
    my ($ws) = @_;

    my $n = sysread $ws->{socket}, $ws->{in}, 1 + int(rand 3000),
        length $ws->{in};
    $ws->{eof} = 1 if defined $n && $n == 0;
}


# Everything until the pong with that text; sips in between.
sub drain {
    my ($ws, $end) = @_;

    my $until = $ws->deadline(30);
    my @messages;

    while (1) {
        my $frame = $ws->_take_frame;

        if (!$frame) {
            return (\@messages, 'ends early') unless $ws->fill($until);
            next;
        }

        return (\@messages, 'a broken frame')
            if $frame->{rsv} || $frame->{masked} || !$frame->{fin}
            || $frame->{opcode} !~ /^(?:1|2|8|9|10)$/;
        return (\@messages, undef)
            if $frame->{opcode} == 10 && $frame->{payload} eq $end;
        return (\@messages, 'a close') if $frame->{opcode} == 8;

        push @messages, $frame->{payload} if $frame->{opcode} == 1;
    }
}


# What is wrong with the messages of one channel: texts as published, numbers
# without a gap.
sub wrong {
    my ($mode, $messages, $from, $to) = @_;

    my ($next, @wrong) = ($from);

    for my $text (@$messages) {
        my $body = $text;

        if ($mode ne 'raw') {
            next unless $text =~ /^\{"type":"message"/;
            ($body, my $resource)
                = $text =~ /"payload":"([^"]*)".*"resource":"(\w+)"/
                or push @wrong, substr($text, 0, 80);
            next if ($resource // '') ne 'a';
        }

        my ($channel, $n) = $body =~ /^(\w+) (\d+) /;
        push @wrong, "$n in place of $next" if $n != $next;
        push @wrong, "$n is not what was published"
            if $body ne body($channel, $n, size($n));
        $next = $n + 1;
    }

    push @wrong, 'up to ' . ($next - 1) . " and not $to" if $next != $to + 1;

    return @wrong;
}


srand 7;

for my $tls (0, 1) {
    for my $mode (qw(raw v1 log)) {
        my $name = ($tls ? 'TLS ' : 'TCP ') . $mode;
        my $from = ($sent{a} || 0) + 1;
        my @slow;

        for my $n (1 .. ($tls ? 6 : 12)) {
            my $ws = $nginx->client(
                tls            => $tls,
                port           => $nginx->port_named($tls ? 'tls' : 'sndbuf'),
                receive_buffer => ($tls ? 6000 : 1024) + 300 * $n,
                timeout        => 30,
                path => '/ws' . ($mode eq 'raw' ? '?channel=a' : ''),
                subprotocols => [$mode eq 'raw' ? 'raw' : 'v1'],
            ) or die "not connected\n";
            die 'status ' . $ws->status unless $ws->is_open;

            if ($mode ne 'raw') {
                # those without an echo read the records of the log
                subscribe($ws, resources => ['a'],
                    $mode eq 'log' ? (echo => JSON::PP::false) : ());
                $ws->recv_type('subscribed') or die 'not subscribed';
            }

            push @slow, $ws;
        }

        for my $step (1 .. 15) {
            publish('a', 8);
            publish('b', 4);

            for my $n (0 .. $#slow) {
                my $ws = $slow[$n];

                sip($ws) for 1 .. $n % 4;
                $ws->send_ping("ping $step") if ($n + $step) % 3 == 0;

                next if $mode eq 'raw';

                subscribe($ws, resources => ['b'])
                    if ($n + $step) % 5 == 1;
                $ws->send_json({ type => 'unsubscribe',
                        payload => { resources => ['b'] } })
                    if ($n + $step) % 5 == 3;

                # the other way of reading, in the middle of what there is
                subscribe($ws, resources => ['a'],
                    echo => $step % 2 ? JSON::PP::true : JSON::PP::false)
                    if $mode eq 'v1' && $n % 3 == 0 && $step % 4 == 2;
            }
        }

        my @wrong;

        for my $ws (@slow) {
            # an answer may overtake what is still in the channel's log
            $ws->send_ping('the end');
            my ($messages, $failure) = drain($ws, 'the end');

            if (!$failure) {
                my $last = body('a', $sent{a}, size($sent{a}));
                my $has  = grep { index($_, $last) >= 0 } @$messages;

                until ($has) {
                    my ($text) = $ws->recv_message or last;
                    push @$messages, $text;
                    $has = index($text, $last) >= 0;
                }
            }

            push @wrong, $failure || ();
            push @wrong, wrong($mode, $messages, $from, $sent{a});
            $ws->close;
        }

        is(scalar @wrong, 0, "$name: frames are whole, and all there")
            or diag(join "\n", @wrong[0 .. ($#wrong > 5 ? 5 : $#wrong)]);
    }
}


# a seek in the middle of a frame begins again from there
for my $tls (0, 1) {
    my $ws = $nginx->client(
        tls  => $tls, port => $nginx->port_named($tls ? 'tls' : 'sndbuf'),
        path => '/ws', receive_buffer => 2000, subprotocols => ['v1'],
        timeout => 30);
    subscribe($ws, resources => ['a']);
    my $at = $ws->recv_type('subscribed')->{payload}{resources}[0];

    publish('a', 40);
    sip($ws) for 1 .. 3;
    subscribe($ws, resources => ['a'], since => {
            a => { sequenceNumber => $at->{sequenceNumber} + 10,
                epoch => $at->{epoch} } });
    $ws->send_ping('asked');

    my ($subscribed, $recovered, @got, @wrong);

    while (my ($text) = $ws->recv_message) {
        if ($text =~ /"type":"subscribed"/) {
            $subscribed = 1;
            $recovered  = $text =~ /"recovered":true/;
            @got        = ();
            next;
        }

        my $message = JSON::PP::decode_json($text);
        push @wrong, $message->{sequenceNumber}
            if $message->{payload} ne
            body('a', $message->{sequenceNumber},
            size($message->{sequenceNumber}));
        push @got, $message->{sequenceNumber};
        last if $subscribed && $got[-1] == $sent{a};
    }

    ok($recovered, 'a seek is served');
    is("@got", join(' ', $at->{sequenceNumber} + 11 .. $sent{a}),
        '... from there on');
    is("@wrong", '', '... with what was published');
    $ws->close;
}


# only the one that is too slow is closed
{
    my @quick = map { $nginx->client(path => '/tight?channel=a') } 1 .. 4;
    my $slow  = $nginx->client(path => '/tight?channel=a',
        port => $nginx->port_named('sndbuf'), receive_buffer => 2000);
    my $before = used('z');
    my $from   = $sent{a} + 1;
    my $wrong  = 0;

    for (1 .. 30) {
        publish('a', 12);

        for my $ws (@quick) {
            for my $n ($sent{a} - 11 .. $sent{a}) {
                my ($text) = $ws->recv_message;
                $wrong++ if ($text // '') ne body('a', $n, size($n));
            }
        }
    }

    is($wrong, 0, 'the quick ones miss nothing');

    my ($code) = $slow->recv_close(10);
    is($code, 4413, 'the slow one is closed');
    cmp_ok(used('z'), '<', $before + 200_000, 'it holds nothing any more');
    $_->close for $slow, @quick;
}


# a full zone is for its publishers to know
{
    my @slow = map {
        $nginx->client(path => '/small?channel=s',
            port => $nginx->port_named('sndbuf'), receive_buffer => 2000)
    } 1 .. 4;
    my $quick = $nginx->client(path => '/ws?channel=a');
    my ($full, $others) = (0, 0);

    $nginx->expect_log('is full: a message for');

    for (1 .. 60) {
        my $status = publish('s', 12, '/pubsmall');
        $full += $status->{507} || 0;
        $others += grep { !/^(?:201|507)$/ } keys %$status;
        last if $full;
    }

    cmp_ok($full, '>', 0, 'publishers get 507');
    is($others, 0, 'and else 201');

    publish('a', 1);
    is(($quick->recv_message)[0], body('a', $sent{a}, size($sent{a})),
        'another zone goes on');

    # once they are gone there is room again
    $_->close for @slow;
    ok(GatewayProcess::wait_for(5,
            sub { publish('t', 1, '/pubsmall')->{202} }), 'room again');
    cmp_ok(used('small'), '<', 300_000, 'and little is used');
    $quick->close;
}

$publisher->close;
$nginx->stop;
done_testing();
