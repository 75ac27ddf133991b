# Open WebSockets: what RFC 6455 asks of a receiver, closing in every way,
# pings, tokens as messages, slow readers, reloads. On plain and on TLS
# listeners.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);

use lib 't/lib';
use GatewayJWT;
use GatewayNginx;

my $secret = 'a secret of at least thirty-two bytes';

my $nginx = GatewayNginx->new(
    tls     => 1,
    workers => 1,
    files   => { secret => $secret },
    http    => <<'END',
gateway_channel_zone z:8m;
gateway_channel_zone s:16m history=2;
gateway_jwt_keys main secret_file=%PREFIX%/secret;
large_client_header_buffers 4 16k;
END
    config => <<'END',
listen 127.0.0.1:%PORT:small% sndbuf=8k;
listen 127.0.0.1:%PORT:small_tls% ssl sndbuf=8k;

location = /raw {
    gateway_channel $arg_id;
    gateway_publish_allow $arg_id;
    gateway_max_message 2000;
    gateway_subscriber z;
}
location = /mute { gateway_channel mute; gateway_subscriber z; }
location = /v1 {
    gateway_subscribe_allow **;
    gateway_publish_allow **;
    gateway_subscriber z;
}
location = /ping {
    gateway_ping 100ms timeout=600ms;
    gateway_channel p;
    gateway_subscriber z;
}
location = /answer {
    gateway_ping 200ms timeout=200ms;
    gateway_channel answer; gateway_subscriber z;
}
location = /off { gateway_ping off; gateway_channel off; gateway_subscriber z; }
location = /token {
    gateway_jwt main;
    gateway_subscribe_allow news;
    gateway_subscriber z;
}
location = /message {
    gateway_jwt main;
    gateway_jwt_token subprotocol message;
    gateway_jwt_claim role user error=403;
    gateway_channel own:$gateway_jwt_claim_sub;
    gateway_publish_allow own:$gateway_jwt_claim_sub;
    gateway_subscriber z;
}
location = /slow {
    gateway_channel slow;
    gateway_send_buffer 64k;
    gateway_subscriber s;
}
location = /mirrored {
    mirror /mirror;
    gateway_channel m;
    gateway_subscriber z;
}
location = /mirror { internal; proxy_pass http://127.0.0.1:%PORT:mirror%; }
location = /pub { gateway_publisher z; }
location = /slowpub { gateway_publisher s; }
END
);

my $number = 0;

sub frame { return GatewayClient::frame(@_) }

sub open_raw {
    my (%args) = @_;

    $number++;
    my $ws = $nginx->client(path => "/raw?id=c$number", %args);
    die "not open: " . ($ws ? $ws->status : 'no answer')
        unless $ws && $ws->is_open;

    return $ws;
}

sub open_v1 {
    my ($path, %args) = @_;

    my $ws = $nginx->client(path => $path, %args,
        subprotocols => ['v1', @{ $args{subprotocols} || [] }]);
    die "not open: " . ($ws ? $ws->status : 'no answer')
        unless $ws && $ws->is_open;

    return $ws;
}

sub publish {
    my ($channel, $body, $path) = @_;
    return $nginx->http('POST', ($path || '/pub') . "?channel=$channel",
        body => $body, headers => ['Content-Type' => 'text/plain']);
}

# Waits for the line that tells of a connection's end; the log's id is the
# only name that a raw client has, so it is looked for by what else is known.
sub last_line {
    my ($pattern) = @_;
    return $nginx->wait_for_log(qr/ closed with $pattern/);
}

# What takes seconds goes on beside everything else.
my $no_auth  = $nginx->client(path => '/message');
my $no_auth_v1 = open_v1('/message');
my $no_close = open_raw();
my $began    = time;
$no_close->send_raw(frame('', opcode => 'close', rsv => 1));


for my $tls (0, 1) {
    my $on = $tls ? 'TLS' : 'plain';
    my %on = (tls => $tls);
    my $big = 'x' x 126;

    # --- what fails, and with which code

    my @wrong = (
        ['an unmasked frame', 1002, frame('x', mask => 0)],
        (map { ["RSV $_", 1002, frame('x', rsv => $_)] } 1, 2, 4, 7),
        (map { ["opcode $_", 1002, frame('x', opcode => $_)] }
            3 .. 7, 11 .. 15),
        ['a fragmented ping', 1002, frame('', opcode => 'ping', fin => 0)],
        ['a fragmented close', 1002, frame('', opcode => 'close', fin => 0)],
        ['a ping of 126', 1002, frame($big, opcode => 'ping')],
        ['a continuation of nothing', 1002,
            frame('x', opcode => 'continuation')],
        ['a message inside another', 1002,
            frame('x', fin => 0) . frame('y')],
        ['a continuation after the end', 1002,
            frame('x') . frame('y', opcode => 'continuation')],
        ['a length of 125 in 16 bits', 1002,
            frame('x' x 125, length_form => 16)],
        ['a length of 300 in 64 bits', 1002,
            frame('x' x 300, length_form => 64)],
        ['a length of 2^63', 1002, "\x82\xff\x80" . "\0" x 7],
        ['a close of one byte', 1002, frame("\x03", opcode => 'close')],
        (map {
            ["close code $_", 1002, frame(pack('n', $_), opcode => 'close')]
        } 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535),
        ['a close reason that is not UTF-8', 1007,
            frame(pack('n', 1000) . "\xff", opcode => 'close')],
        ['text that is not UTF-8', 1007, frame("a\xc0\xafb")],
        ['a surrogate', 1007, frame("\xed\xa0\x80")],
        ['over U+10FFFF', 1007, frame("\xf4\x90\x80\x80")],
        ['text that ends inside a character', 1007, frame("a\xe2\x82")],
        ['... over fragments', 1007,
            frame("\xe2", fin => 0) . frame("\x82", opcode => 0)],
        ['an impossible byte before the frame has ended', 1007,
            frame("\xce\xba\xff", declared => 1000)],
        ['... in a later fragment', 1007,
            frame("\xf4", fin => 0)
                . frame("\x90", opcode => 0, fin => 0, declared => 20)],
        ['more than max_message by the header alone', 1009,
            substr(frame('', opcode => 2, declared => 2001), 0, 4)],
        ['... by 64 bits', 1009,
            frame('', opcode => 2, declared => 2**40)],
        ['... over fragments', 1009,
            frame('x' x 1500, fin => 0)
                . frame('', opcode => 0, declared => 501)],
    );

    for my $case (@wrong) {
        my ($name, $code, $bytes) = @$case;

        my $ws = open_raw(%on);
        $ws->send_raw($bytes);
        my ($got) = $ws->recv_close;
        is($got, $code, "$on: $name");
        ok($ws->at_end, "$on: $name: the end");
    }

    # --- what is taken

    my $ws = open_raw(%on);
    my @good = (
        ['text', "\xce\xba\xf0\x9f\x98\x80"], ['text', ''], ['binary', ''],
        ['binary', "\xff\0\xfe"], ['text', 'y' x 125], ['text', 'y' x 126],
        ['binary', 'z' x 2000],
    );

    for my $case (@good) {
        my ($kind, $payload) = @$case;
        $ws->send_frame($payload, opcode => $kind);
        my ($message, $as) = $ws->recv_message;
        is($message, $payload, "$on: $kind of " . length $payload);
        is($as, $kind, "$on: as it was sent");
    }

    my $all = frame("ab\xe2", fin => 0) . frame('ping', opcode => 'ping')
        . frame("\x82", opcode => 0, fin => 0) . frame('', opcode => 0, fin => 0)
        . frame('unasked', opcode => 'pong')
        . frame("\xaccd", opcode => 0) . frame('q' x 200, opcode => 2)
        . frame('', opcode => 'ping');

    for my $step (1, 2, 3, 5, 7) {
        for (my $at = 0; $at < length $all; $at += $step) {
            $ws->send_raw(substr $all, $at, $step);
        }

        # pongs come at once, channel data a moment later
        my (@pongs, @data);
        while (@pongs + @data < 4 && (my $f = $ws->recv_frame)) {
            push @{ $f->{opcode} == 10 ? \@pongs : \@data }, $f->{payload};
        }
        is("@pongs", 'ping ', "$on: pongs, in pieces of $step");
        is(join('|', @data), "ab\xe2\x82\xaccd|" . 'q' x 200,
            "$on: messages, in pieces of $step");
    }

    for my $at (1 .. length($all) - 1) {
        $ws->send_raw(substr $all, 0, $at);
        $ws->send_raw(substr $all, $at);
    }
    my %seen;
    while (($seen{10} // 0) + ($seen{1} // 0) + ($seen{2} // 0)
        < 4 * (length($all) - 1) && (my $f = $ws->recv_frame))
    {
        $seen{ $f->{opcode} }++;
    }
    is($seen{1}, length($all) - 1, "$on: whole messages, cut at every byte");

    # --- much at once from one who reads

    my $v1 = open_v1('/v1', %on);
    $v1->recv_json;
    $v1->send_raw(frame('{"type":"ping"}') x 8000);
    my $pongs = 0;
    $pongs++ while $pongs < 8000 && $v1->recv_message;
    is($pongs, 8000, "$on: many requests at once");

    # --- closing

    for my $code (1000, 1001, 1003, 1014, 3000, 4999) {
        my $ws = open_raw(%on);
        $ws->send_close($code, 'bye');
        my @got = $ws->recv_close;
        is($got[0], $code, "$on: close $code is echoed");
        ok($ws->at_end, "$on: ... and the server ends it");
    }

    $ws->send_raw(frame('', opcode => 'close') . frame('x', rsv => 7) x 10);
    is(($ws->recv_close)[0], 1005, "$on: an empty close is answered by one");
    ok($ws->at_end, "$on: ... what follows it is dropped");

    # --- half closed, with a request before

    if (!$tls) {
        my $half = open_v1('/v1');
        $half->send_json({ type => 'ping', payload => { sequenceNumber => 7 } });
        $half->half_close;
        my $pong = $half->recv_type('pong');
        is($pong && $pong->{payload}{sequenceNumber}, 7,
            'half closed: the answer comes');
        ok($half->at_end, 'half closed: then the end');

        my $much = open_v1('/v1', port => $nginx->port_named('small'),
            receive_buffer => 4096);
        $much->recv_type('connection:established');
        $much->send_raw(frame('p' x 125, opcode => 'ping') x 1200);
        $much->half_close;
        my $pongs = 0;
        while (my $f = $much->recv_frame) {
            $pongs++ if $f->{opcode} == 10;
        }
        is($pongs, 1200, 'half closed: also the part that had to wait');
        ok($much->{eof} && !$much->{reset}, 'half closed: an orderly end');

        my $reset = open_raw();
        $reset->abort;
        ok(last_line(qr/1006 after/), 'a reset is noticed');
    }

    # --- frames right behind the handshake

    my $early = open_raw(%on, path => "/raw?id=early$tls",
        behind => frame('first') . substr frame('second'), 0, 3);
    is(scalar $early->recv_message, 'first', "$on: behind the handshake");

    my $long = hs256($secret, { sub => 'long', pad => 'x' x 6000,
        role => 'user' });
    $early = $nginx->client(%on, path => '/message',
        subprotocols => ['raw', "jwt.$long"],
        behind => frame('one') . frame('two', opcode => 'ping'));
    is($early->status, 101, "$on: a long token");
    my @frames = sort { $a->{opcode} <=> $b->{opcode} }
        map { $early->recv_frame } 1, 2;
    is(join(' ', map { $_->{payload} // '' } @frames), 'one two',
        "$on: behind a handshake of many bytes");

    # --- tokens

    my $now = time;
    $ws = open_v1('/token', %on, subprotocols =>
        ['jwt.' . hs256($secret, { sub => 'bob', exp => int($now) + 2 })]);
    my $hello = $ws->recv_json;
    is($hello->{payload}{userId}, 'bob', "$on: established for the user");
    is(($ws->recv_close)[0], 4401, "$on: closed when the token expires");
    cmp_ok(time - $now, '<', 3.5, "$on: ... and not later");

    $ws = open_v1('/token', %on, subprotocols =>
        ['jwt.' . hs256($secret, { sub => 'bob', exp => int($now) + 1000 })]);
    $ws->recv_json;
    my $renew = sub {
        my ($claims, $key) = @_;
        $ws->send_json({ type => 'auth', requestId => 'r',
            payload => { token => hs256($key || $secret, $claims) } });
        return $ws->recv_json;
    };
    my $ok = $renew->({ sub => 'bob', exp => int($now) + 2000 });
    is($ok->{type}, 'auth:ok', "$on: renewed");
    is($ok->{correlationId}, 'r', "$on: ... answered to the request");
    like($ok->{payload}{expiresAt}, qr/^\d{4}-.*Z$/, "$on: ... with its end");
    is($renew->({ sub => 'eve' })->{payload}{code}, 'unauthorized',
        "$on: not by another's token");
    is($renew->({ sub => 'bob' }, 'x' x 32)->{payload}{code}, 'unauthorized',
        "$on: not by a forged one");
    is($renew->({ sub => 'bob', exp => int(time) + 2 })->{type}, 'auth:ok',
        "$on: renewed for a short time");
    is($renew->({ sub => 'bob', exp => int(time) + 1000 })->{type}, 'auth:ok',
        "$on: renewed for a long time");
    $renew->({ sub => 'bob', exp => int(time) + 2 });
    $renew->({ sub => 'bob' }, 'x' x 32);
    is(($ws->recv_close)[0], 4401, "$on: a bad renewal changes nothing");

    # --- a token as the first message

    $ws = open_v1('/message', %on);
    my $challenge = $ws->recv_json;
    is($challenge->{type}, 'auth:challenge', "$on: asked for a token");
    ok($challenge->{payload}{nonce}, "$on: with a nonce");
    $ws->send_json({ type => 'subscribe', requestId => 'q',
        payload => { resources => ['x'] } });
    my $error = $ws->recv_json;
    is($error->{payload}{code}, 'unauthorized', "$on: nothing else meanwhile");
    is($error->{correlationId}, 'q', "$on: ... answered to the request");
    $ws->send_json({ type => 'auth', payload =>
        { token => hs256($secret, { sub => 'ann', role => 'user' }) } });
    is($ws->recv_json->{type}, 'auth:ok', "$on: the token is taken");
    is($ws->recv_json->{type}, 'connection:established', "$on: established");
    is($ws->recv_json->{payload}{resources}[0]{resource}, 'own:ann',
        "$on: joined what the token says");
    publish('own:ann', 'hi');
    is($ws->recv_json->{payload}, 'hi', "$on: and gets it");

    $ws = open_v1('/message', %on);
    $ws->send_json({ type => 'auth', payload => { token => 'a.b.c' } });
    is(($ws->recv_close)[0], 4401, "$on: a bad first token");
    ok($ws->closes_with(4401), "$on: ... closed on both sides");

    $ws = open_v1('/message', %on);
    $ws->send_json({ type => 'auth', payload =>
        { token => hs256($secret, { sub => 'ann', role => 'none' }) } });
    is(($ws->recv_close)[0], 4403, "$on: a first token that is not enough");

    $ws = $nginx->client(%on, path => '/message');
    $ws->send_text(hs256($secret, { sub => 'raw', role => 'user' }));
    $ws->send_text('echo');
    is(scalar $ws->recv_message, 'echo', "$on: a bare token in raw mode");

    # --- messages that may not be published

    $ws = $nginx->client(%on, path => '/mute');
    $ws->send_raw(frame('no') x 999);
    $ws->send_ping('still');
    is($ws->recv_frame->{payload}, 'still', "$on: 999 refused");
    $ws->send_text('no');
    is(($ws->recv_close)[0], 4403, "$on: 1,000 refused in a row");

    # --- pings

    $ws = $nginx->client(%on, path => '/ping');
    my $until = time + 1.5;
    my $pings = 0;
    while (time < $until && (my $f = $ws->recv_frame(2))) {
        last if $f->{opcode} == 8;
        $pings++ if $f->{opcode} == 9;
        $ws->send_pong($f->{payload});
    }
    cmp_ok($pings, '>=', 5, "$on: pings come");
    ok(!$ws->{closed}, "$on: ... and pongs keep it open");
    my $silent = time;
    is(($ws->recv_close)[0], 4408, "$on: silence closes");
    cmp_ok(time - $silent, '<', 3, "$on: ... in its time");

    # a timeout that is not longer than the interval counts from the ping
    $ws = $nginx->client(%on, path => '/answer', auto_pong => 0);
    for my $n (1 .. 4) {
        my $f = $ws->recv_frame(5);
        is($f && $f->{opcode}, 9, "$on: ping $n, with a short timeout");
        $ws->send_pong($f->{payload}) if $n < 4;
    }
    is(($ws->recv_close)[0], 4408, "$on: no answer to the last one closes");

    # --- a slow reader

    my $port = $nginx->port_named($tls ? 'small_tls' : 'small');
    my $slow = open_v1('/slow', %on, port => $port, receive_buffer => 4096);
    my $fast = $nginx->client(%on, path => '/slow');
    my $lost = qr/too slow: gateway_send_buffer is full/;
    my $had  = () = $nginx->error_log =~ /$lost/g;
    my $sent = 0;

    while ($sent < 400) {
        publish('slow', "$sent " . 's' x 30000, '/slowpub');
        my $got = $fast->recv_message;
        is($got && substr($got, 0, length "$sent "), "$sent ",
            "$on: the fast one gets message $sent");
        $sent++;
        last if $had < (() = $nginx->error_log =~ /$lost/g);
    }
    cmp_ok($sent, '<', 400, "$on: the slow one is closed");

    my ($whole, $bad, @last) = (0, 0);
    while (my $f = $slow->recv_frame) {
        $bad++ if !$f->{fin} || $f->{rsv} || $f->{opcode} !~ /^[189]$/;
        if ($f->{opcode} == 1) {
            my $m = eval { $GatewayClient::JSON->decode($f->{payload}) };
            $bad++ unless $m;
            @last = ($m->{type}, $m->{payload});
            $whole++;
        }
        last if $f->{opcode} == 8;
    }
    is($bad, 0, "$on: the slow one gets valid frames ($whole)");
    is($last[0], 'connection:status', "$on: the last is the status");
    is($last[1]{status}, 'reconnecting', "$on: ... reconnecting");
    is(($slow->recv_close)[0], 4413, "$on: then 4413");
    ok($slow->closes_with(4413), "$on: and the end");

    # the other side leaves while much is queued for it
    for my $how (qw(abort close)) {
        $slow = open_v1('/slow', %on, port => $port, receive_buffer => 4096);
        publish('slow', 't' x 60000, '/slowpub') for 1, 2;
        $slow->$how;
    }
    $slow = open_v1('/slow', %on, port => $port, receive_buffer => 4096);
    publish('slow', 't' x 60000, '/slowpub');
    $slow->send_close(1000);
    is(($slow->recv_close)[0], 1000, "$on: closed while much is queued");
    ok($slow->at_end, "$on: ... to the end");
    $fast->close;
}


# --- numbers in the log

my $ws = open_raw(path => '/raw?id=counted');
$ws->send_text('four');
$ws->recv_message;
$ws->send_close(4321);
$ws->recv_close;
ok(last_line(qr/4321 after \d+ s: in 1 messages 18 bytes, out 1 messages 10 bytes/),
    'the last line counts both ways');

$ws = open_v1('/token', subprotocols =>
    ['jwt.' . hs256($secret, { sub => 'logged' })]);
$ws->send_close(4322);
ok($nginx->wait_for_log(
    qr/\[info\] .*WebSocket [0-9a-f]{32} of user "logged" closed with 4322/),
    '... and names the user');


# --- a background subrequest that outlives the handler

my $mirror = IO::Socket::INET->new(Listen => 5, ReuseAddr => 1,
    LocalAddr => '127.0.0.1', LocalPort => $nginx->port_named('mirror'));
$ws = $nginx->client(path => '/mirrored', behind => frame('', opcode => 'ping'));
is($ws && $ws->status, 101, 'with a mirror');
my $request = $mirror->accept;
publish('m', 'during');
close $request;
is($ws->recv_frame->{opcode}, 10, 'a mirror that ends late');
is(scalar $ws->recv_message, 'during', '... loses nothing');
$mirror->close;


# --- the slow ones of the beginning

is(($no_close->recv_close)[0], 1002, 'a broken frame');
ok($no_close->at_end, 'a client that never answers is let go of');
is(($no_auth->recv_close(12))[0], 4408, 'no token in time, raw');
is(($no_auth_v1->recv_close(12))[0], 4408, 'no token in time, v1');
cmp_ok(time - $began, '>', 9, '... which is 10 seconds');
my $unanswered = time;


# --- reload and quit

$ws = open_raw(path => '/raw?id=kept');
my $off = $nginx->client(path => '/off');
my $tls = open_v1('/v1', tls => 1);
$tls->recv_json;
$nginx->reload;
my ($old) = $nginx->old_worker_pids;
ok($old, 'the old worker stays for its connections');
publish('off', 'through the new worker');
is(scalar $off->recv_message, 'through the new worker',
    'a connection without pings lives through a reload');
$ws->send_text('to myself');
is(scalar $ws->recv_message, 'to myself', 'one that publishes too');
$tls->send_json({ type => 'ping', payload => {} });
is($tls->recv_json->{type}, 'pong', 'and one with TLS');

my ($new) = $nginx->worker_pids;
my $other = open_raw(path => '/raw?id=quit');
kill 'QUIT', $new;
ok($nginx->wait_for_log(qr/ $new#\d+: gracefully shutting down/), 'QUIT');
$other->send_text('still');
is(scalar $other->recv_message, 'still', 'a connection lives through QUIT');

$_->send_close(1000) for $ws, $off, $tls, $other;
is(($_->recv_close)[0], 1000, 'closed in an old worker')
    for $ws, $off, $tls, $other;
$_->close for $ws, $off, $tls, $other;

# the unanswered ones have 5 s, as all have that were told to close
ok($no_auth->at_end(6) && $no_auth_v1->at_end(6),
    'a Close that is not answered');
cmp_ok(time - $unanswered, '<', 8, '... is waited for 5 s');

ok(GatewayProcess::wait_for(10, sub { !$nginx->old_worker_pids }),
    'workers end when their connections have');

$nginx->stop;


# --- tokens that wait for the keys

$nginx = GatewayNginx->new(
    workers => 1, start => 0,
    http    => "gateway_channel_zone z:1m;\n"
        . 'gateway_jwt_keys far uri=/keys;',
    config => <<'END');
location = /keys { internal; proxy_pass http://127.0.0.1:%PORT:keys%; }
location = /message {
    gateway_jwt far;
    gateway_jwt_token message;
    gateway_channel c;
    gateway_publish_allow c;
    gateway_subscriber z;
}
END

my $keys = IO::Socket::INET->new(Listen => 5, ReuseAddr => 1, Timeout => 10,
    LocalAddr => '127.0.0.1', LocalPort => $nginx->port_named('keys'));
$nginx->start;
my $fetch = $keys->accept;
while (my $line = <$fetch>) {
    last if $line eq "\r\n";
}

my $waiter = hs256($secret, { sub => 'waiter' });
my @auth   = ({ type => 'auth', requestId => 'a', token => $waiter },
    { type => 'auth', requestId => 'b', token => $waiter });

my $first = open_v1('/message');
$first->recv_type('auth:challenge');
$first->send_json($_) for @auth;
my $second = $first->recv_json;
is($second->{payload}{code}, 'unauthorized', 'one token at a time');
is($second->{correlationId}, 'b', '... the other is refused');

my $gone = open_v1('/message');
$gone->send_json($auth[0]);
$gone->abort;
$gone = open_v1('/message');
$gone->send_json($auth[0]);
$gone->send_close(4323);
$gone->recv_close;
ok(last_line(qr/4323/) && last_line(qr/1006/), 'some do not wait for it');

my $bare = $nginx->client(path => '/message');
$bare->send_text($waiter);
$bare->send_text('too early');
$bare->send_ping('there');
is($bare->recv_frame->{payload}, 'there', 'raw: what comes early is dropped');

my $set = jwks(jwk_oct($secret));
print {$fetch} "HTTP/1.0 200 OK\r\n\r\n$set";
close $fetch;

is($first->recv_type('auth:ok')->{correlationId}, 'a', 'the keys have come');
is($first->recv_type('subscribed')->{payload}{resources}[0]{resource}, 'c',
    '... and what was put off is done');
GatewayProcess::wait_for(5, sub {
    $bare->send_text('in time');
    return defined $bare->recv_message(0.2);
});
is($first->recv_type('message')->{payload}, 'in time', '... raw as well');

$_->close for $first, $bare;
$keys->close;
$nginx->stop;


# --- coming and going, in all ways, leaves nothing behind

my $plain = !$ENV{GATEWAY_PRELOAD} && !$ENV{TEST_NGINX_USE_VALGRIND};
my $rounds = $plain ? 200 : 20;

$nginx = GatewayNginx->new(
    tls => 1, workers => 1, files => { secret => $secret },
    http   => "gateway_channel_zone z:1m;\n"
        . "gateway_jwt_keys main secret_file=%PREFIX%/secret;",
    config => <<'END');
location = /raw { gateway_channel c; gateway_subscriber z; }
location = /v1 { gateway_subscribe_allow **; gateway_subscriber z; }
location = /message {
    gateway_jwt main;
    gateway_jwt_token subprotocol message;
    gateway_channel c;
    gateway_subscriber z;
}
location = /status { gateway_status; }
END

my $jwt = hs256($secret, { sub => 'bob' });

# each leaves nothing open
my @ways = (
    sub { my $c = $nginx->client(path => '/raw'); $c->send_close; $c->at_end },
    sub { $nginx->client(path => '/raw')->close },
    sub { $nginx->client(path => '/raw')->abort },
    sub { my $c = $nginx->client(path => '/raw'); $c->half_close;
        $c->read_to_end },
    sub { my $c = $nginx->client(path => '/raw');
        $c->send_raw(frame('x', rsv => 1)); $c->recv_close; $c->close },
    sub { my $c = $nginx->client(path => '/message', subprotocols => ['v1']);
        $c->send_json({ type => 'auth', token => $jwt });
        $c->recv_type('connection:established');
        $c->send_json({ type => 'auth', token => $jwt });
        $c->recv_type('auth:ok'); $c->abort },
    sub { $nginx->client(path => '/message', subprotocols => ['v1'])->close },
    sub { my $c = $nginx->client(path => '/message');
        $c->send_text('a.b.c'); $c->recv_close; $c->close },
    sub { my $c = $nginx->client(path => '/v1?channel=a&channel=b',
            subprotocols => ['v1']); $c->send_raw("\x81\xfe\x01"); $c->close },
    sub { my $c = $nginx->client(path => '/raw');
        $c->send_raw(frame('x' x 500, fin => 0)); $c->abort },
    sub { GatewayClient->start(port => $nginx->port, path => '/raw')->abort },
    sub { $nginx->client(path => '/v1?channel=', subprotocols => ['v1'])->close },
    sub { $nginx->client(path => '/message', subprotocols => ['x.y.z', 'jwt'])->close },
);
push @ways, sub {
    my $c = $nginx->client(path => '/raw', tls => 1); $c->send_close; $c->at_end };
push @ways, sub { $nginx->client(path => '/raw', tls => 1)->abort };

sub settled {
    return GatewayProcess::wait_for(10, sub {
        $nginx->http('GET', '/status?format=prometheus')->{body}
            =~ /^gateway_connections\{transport="websocket"\} 0$/m });
}

sub memory {
    my ($pid) = $nginx->worker_pids;
    return GatewayProcess::slurp("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m
        ? $1 : 0;
}

for my $way (@ways) { $way->() for 1 .. 10 }
ok(settled(), 'the count of connections goes back to none');
my $before = memory();
for my $round (1 .. $rounds) { $_->() for @ways }
ok(settled(), '... after ' . $rounds * @ways . ' as well');

SKIP: {
    skip 'memory is not as usual', 1 unless $plain;
    cmp_ok(memory() - $before, '<', 300, 'KB that the worker has grown by');
}

$nginx->stop;

done_testing();
