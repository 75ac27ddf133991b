#!/usr/bin/perl

# The v1 protocol, message by message, with two workers: what is published in
# one reaches the subscribers of both. recovery:request is in t/recovery.t.

use strict;
use warnings;

use JSON::PP;
use Test::More;

use GatewayJWT;
use GatewayNginx;
use GatewayProcess;

my $json   = JSON::PP->new->utf8->canonical->allow_nonref;
my $secret = 'a secret of at least thirty-two bytes';
my $time   = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
my $epoch  = qr/^[0-9A-Za-z_-]+$/;

# reuseport: connections come to both workers
my $nginx = GatewayNginx->new(
    workers => 2,
    files   => { secret => "$secret\n" },
    http    => <<'END');
    gateway_jwt_keys main secret_file=%PREFIX%/secret;
    gateway_channel_zone z:8m history=1000;
    gateway_channel_zone three:1m history=3;
    map $arg_pad $pad { default ""; star "*"; two "**"; sep "a:b"; }

    server {
        listen 127.0.0.1:%PORT:two% reuseport;
        add_header X-Worker $pid always;

        gateway_subscribe_allow a* news:* deep:** user:$arg_user
                                p:${pad}x *:end;
        gateway_publish_allow a* news:*;

        location = /ws { gateway_subscriber z; }
        location = /three { gateway_subscriber three; }
        location = /mine { gateway_subscriber z; gateway_channel mine; }
        location = /open {
            gateway_subscriber z;
            gateway_subscribe_allow **;
            gateway_publish_allow **;
        }
        location = /nothing { gateway_subscriber z; gateway_publish_allow x;
                              gateway_subscribe_allow x; }
        location = /raw { gateway_subscriber z; gateway_channel araw; }
        location = /claim {
            gateway_jwt main;
            gateway_channel_claim channels;
            gateway_subscriber z;
        }
        location = /pub { gateway_publisher z; }
        location = /pub3 { gateway_publisher three; }
    }
END

my $port = $nginx->port_named('two');


sub http { my ($m, $u, @a) = @_; $nginx->http($m, $u, port => $port, @a) }

sub post {
    my ($channel, $body, @headers) = @_;
    my $r = http('POST', "/pub?channel=$channel", body => $body,
        headers => \@headers);
    my $state = eval { $json->decode($r->{body}) } || {};
    return { %$state, status => $r->{status}, body => $r->{body} };
}


# An open v1 client that has been greeted; `worker` and `not` choose where.
sub client {
    my ($path, %args) = @_;

    for (1 .. 100) {
        my $ws = $nginx->client(path => $path, port => $port,
            subprotocols => [$args{raw} ? 'raw' : 'v1', @{ $args{also} || [] }]);
        die 'no 101' unless $ws && $ws->is_open;

        next if $args{not} && $ws->header('X-Worker') == $args{not};

        $ws->{greeting} = $ws->recv_json unless $args{raw};
        return $ws;
    }

    die "no other worker took a connection\n";
}


# Sends a text or an object; returns the next message.
my $id = 0;

sub ask {
    my ($ws, $type, $payload, %more) = @_;

    $ws->send_json({ type => $type, payload => $payload,
        requestId => 'r' . ++$id, %more });
    my $answer = $ws->recv_json;
    is($answer->{correlationId}, "r$id", "$type: correlationId")
        if !exists $more{requestId};
    return $answer;
}


sub subscribe {
    my ($ws, @names) = @_;
    return ask($ws, 'subscribe', { resources => [@names] });
}


sub error_is {
    my ($answer, $code, $name) = @_;

    is($answer->{type}, 'error', "$name: an error");
    is($answer->{payload}{code}, $code, "$name: $code");
    ok($answer->{payload}{recoverable}, "$name: recoverable");
}


# The server has nothing else to say: the next is the answer to a ping.
sub quiet {
    my ($ws, $name) = @_;

    $ws->send_json({ type => 'ping', payload => {}, requestId => 'quiet' });
    my $next = $ws->recv_json;
    is($next->{correlationId}, 'quiet', $name)
        or diag($json->encode($next));
}


subtest 'the greeting' => sub {
    my $ws = client('/ws');
    my $m = $ws->{greeting};

    is($ws->subprotocol, 'v1', 'subprotocol');
    is(join(' ', sort keys %$m), 'payload timestamp type', 'members');
    is($m->{type}, 'connection:established', 'type');
    like($m->{timestamp}, $time, 'timestamp');
    is(join(' ', sort keys %{ $m->{payload} }),
        'connectionId heartbeat userId', 'payload');
    is($m->{payload}{userId}, undef, 'nobody');
    is($m->{payload}{heartbeat}, 30000, 'heartbeat in ms');
    isnt($m->{payload}{connectionId}, client('/ws')->{greeting}{payload}{connectionId},
        'connectionId is another each time');
    quiet($ws, 'no channel, no "subscribed"');
};


subtest 'ids' => sub {
    my $ws = client('/ws');

    for my $text ('"a\"b\\\\ \u00e9 \ud83d\ude00 \/ "', '""',
        "\"\xc3\xa9\"", '"' . 'x' x 5000 . '"')
    {
        $ws->send_text(qq({"requestId":$text,"type":"ping","payload":{}}));
        my $answer = $ws->recv_message;
        ok(index($answer, qq("correlationId":$text})) > 0,
            'as it was written: ' . substr $text, 0, 40);
        ok(eval { $json->decode($answer) }, 'JSON');
    }

    $ws->send_text('{"type":"ping"}');
    unlike(scalar $ws->recv_message, qr/correlationId/, 'none without');
    $ws->send_text('{"type":"ping","requestId":7}');
    unlike(scalar $ws->recv_message, qr/correlationId/, 'none but strings');
    $ws->send_text('{"requestId":"r","t\u0079pe":"p\u0069ng"}');
    like(scalar $ws->recv_message, qr/"type":"pong".*"correlationId":"r"/,
        'escapes in names and types');
};


subtest 'bad messages' => sub {
    my $ws = client('/ws');
    subscribe($ws, 'a');

    my @bad = (
        'x', '', '[]', '"a"', 'null', '{', '{"type":"ping"} x', '{"type":"ping",}',
        '{}', '{"type":1}', '{"type":"nothing"}', '{"type":"Ping"}', '{"type":""}',
        '{"type":"ping\u0000"}', '{"type":"\ud800"}',
        '{"payload":' . '[' x 100 . ']' x 100 . ',"type":"ping"}',
        '{"type":"ping","type":"none"}',
        (map {qq({"type":"subscribe"$_})} '', ',"payload":[]',
            map {",\"payload\":{$_}"} '', '"resources":"a"', '"resources":[]',
            '"resources":[1]', '"resources":[""]', '"resources":["a",null]',
            '"resources":["a\u0000"]', '"resources":["a\ud800"]',
            '"resources":["' . 'x' x 256 . '"]',
            '"resources":["' . 'a\u0061' x 200 . '"]',
            '"resources":["' . '\u0061' x 9000 . '"]',
            '"resources":[' . join(',', map {"\"a$_\""} 1 .. 1001) . ']',
            '"resources":["a"],"echo":1', '"resources":["a"],"since":[]',
            '"resources":["a"],"since":{"a":{}}', '"resources":["a"],"since":{"a":1}',
            '"resources":["a"],"since":{"a":{"sequenceNumber":-1,"epoch":"x"}}',
            '"resources":["a"],"since":{"a":{"sequenceNumber":1.5,"epoch":"x"}}',
            '"resources":["a"],"since":{"a":{"sequenceNumber":1,"epoch":1}}',
            '"resources":["a"],"filters":{}', '"resources":["a"],"throttle":1',
            '"resources":["a"],"batch":1'),
        (map {qq({"type":"unsubscribe","payload":{$_}})} '', '"resources":1',
            '"resources":[1]', '"resources":["a",""]',
            '"resources":[' . join(',', map {"\"b$_\""} 1 .. 1001) . ']'),
        (map {qq({"type":"publish","payload":{$_}})} '', '"resource":"a"', '"data":1',
            '"resource":1,"data":1', '"resource":"","data":1',
            '"resource":"a","data":1,"type":1', '"resource":"a","data":1,"type":""',
            '"resource":"a","data":1,"priority":"urgent"',
            '"resource":"a","data":1,"priority":1',
            '"resource":"a","data":1,"expectedVersion":-1',
            '"resource":"a","data":1,"expectedVersion":"1"',
            '"resource":"a","data":1,"expectedVersion":1e1',
            '"resource":"a","data":1,"expectedVersion":9223372036854775808'),
        '{"type":"auth"}', '{"type":"auth","payload":{"token":1}}',
        '{"type":"recovery:request","payload":{}}',
    );

    for my $text (@bad) {
        $ws->send_text($text);
        my $m = $ws->recv_json;
        is($m && "$m->{type} $m->{payload}{code} $m->{payload}{recoverable}",
            'error bad-message 1', substr $text, 0, 90);
    }

    $ws->send_binary('{"type":"ping","payload":{}}');
    error_is($ws->recv_json, 'bad-message', 'binary');

    my $long = '{"type":"ping","payload":"' . 'x' x (65536 - 28) . '"}';
    is(length $long, 65536, 'as long as may be');
    $ws->send_text($long);
    is($ws->recv_json->{type}, 'pong', '64 KB');

    is(post('a', '1')->{subscribers}, 1, 'none of it has changed anything');
    is($ws->recv_json->{payload}, 1, 'the connection goes on');

    $ws->send_text('x' x 65537);
    ok($ws->closes_with(1009), 'more than max_message closes');
};


subtest 'subscribe' => sub {
    my $ws = client('/ws');
    my $other = client('/ws', not => $ws->header('X-Worker'));

    my $m = subscribe($ws, 'a1', 'news:x', 'a1');
    is($m->{type}, 'subscribed', 'subscribed');
    like($m->{timestamp}, $time, 'timestamp');
    my @r = @{ $m->{payload}{resources} };
    is(join(' ', map { $_->{resource} } @r), 'a1 news:x', 'each once');
    is(join(' ', sort keys %{ $r[0] }), 'epoch recovered resource sequenceNumber',
        'members');
    is($r[0]{sequenceNumber}, 0, 'nothing yet');
    ok(!$r[0]{recovered}, 'nothing recovered');
    like($r[0]{epoch}, $epoch, 'epoch');

    is(subscribe($other, 'a1')->{payload}{resources}[0]{epoch}, $r[0]{epoch},
        'the same epoch in the other worker');

    my $p = post('a1', '{"x": 1.0}');
    is($p->{status}, 201, '201 with subscribers');
    is($p->{subscribers}, 2, 'of both workers');

    for ($ws, $other) {
        my $text = $_->recv_message;
        like($text, qr/^\{"type":"message","payload":\{"x": 1\.0\},"timestamp":"[^"]+","resource":"a1","sequenceNumber":1,"epoch":"$r[0]{epoch}"\}$/,
            'the envelope');
    }

    post('news:x', 'hi');
    is($ws->recv_json->{payload}, 'hi', 'the other channel');
    quiet($other, 'not for who is not on it');

    $m = subscribe($ws, 'b', 'a2', "q\"\xe9");
    is(join(' ', map { $_->{resource} } @{ $m->{payload}{resources} }), 'a2',
        'allowed ones are joined');
    $m = $ws->recv_json;
    error_is($m, 'forbidden', 'mixed');
    is($m->{correlationId}, "r$id", 'correlationId');
    is_deeply($m->{payload}{details}, { resources => ['b', "q\"\xe9"] }, 'which');

    $m = subscribe($ws, 'b', 'news:x:y');
    error_is($m, 'forbidden', 'none allowed');
    is_deeply($m->{payload}{details}{resources}, ['b', 'news:x:y'], 'which');
    quiet($ws, 'alone');

    is(scalar @{ subscribe($ws, map {"a$_"} 1 .. 1000)->{payload}{resources} },
        1000, 'a thousand at once');
    is(post('a777', '1')->{subscribers}, 1, 'joined');
    is($ws->recv_json->{resource}, 'a777', 'delivered');
};


subtest 'unsubscribe' => sub {
    my $ws = client('/ws');
    subscribe($ws, 'au1', 'au2');

    my $m = ask($ws, 'unsubscribe', { resources => ['au1', 'not:on'] });
    is($m->{type}, 'unsubscribed', 'unsubscribed');
    is_deeply($m->{payload}, { resources => ['au1', 'not:on'] }, 'payload');
    is(post('au1', '1')->{status}, 202, 'nobody there');
    is(post('au2', '2')->{status}, 201, 'the other stays');
    is($ws->recv_json->{payload}, 2, 'delivered');

    subscribe($ws, 'au1');
    post('au1', '3');
    is($ws->recv_json->{payload}, 3, 'and again');
};


subtest 'what is allowed' => sub {
    my %allowed = (
        '/ws' => { 'a' => 1, 'abc' => 1, 'a:b' => 0, 'a.b' => 0, 'a/b' => 0,
            'news:x' => 1, 'news:' => 0, 'news:x:y' => 0, 'news' => 0,
            'deep:x' => 1, 'deep:x:y/z' => 1, 'deep:' => 0, 'user:' => 0,
            'user:x' => 0, 'x:end' => 1, ':end' => 0, 'p:x' => 0, 'mine' => 0 },
        '/ws?user=bob' => { 'user:bob' => 1, 'user:bo' => 0, 'user:bobb' => 0 },
        '/ws?user=*' => { 'user:*' => 1, 'user:x' => 0 },
        '/ws?user=a:b' => { 'user:a:b' => 0 },
        '/ws?user=a.b' => { 'user:a.b' => 0 },
        '/ws?user=a/b' => { 'user:a/b' => 0 },
        '/ws?user=' . 'u' x 2000 => { 'user:' . 'u' x 250 => 0, 'a' => 1 },
        '/ws?pad=star' => { 'p:*x' => 1, 'p:yx' => 0 },
        '/ws?pad=two' => { 'p:**x' => 1, 'p:yx' => 0 },
        '/ws?pad=sep' => { 'p:a:bx' => 0, 'p:x' => 0 },
        '/mine' => { 'mine' => 1, 'a' => 1 },
        '/nothing' => { 'x' => 1, 'a' => 0 },
    );

    for my $path (sort keys %allowed) {
        my $ws = client($path);
        $ws->recv_json if $path eq '/mine';

        for my $name (sort keys %{ $allowed{$path} }) {
            my $m = subscribe($ws, $name);
            is($m->{type}, $allowed{$path}{$name} ? 'subscribed' : 'error',
                substr("$path $name", 0, 60));
        }
    }

    is($nginx->client(path => '/ws?channel=b', port => $port)->status, 403,
        '?channel= that is not allowed');
    is($nginx->client(path => '/ws?channel=%00', port => $port)->status, 400,
        '?channel= that is no name');

    my $ws = client('/ws?channel=a%62&channel=news:z');
    my $m = $ws->recv_json;
    is(join(' ', map { $_->{resource} } @{ $m->{payload}{resources} }),
        'ab news:z', '?channel= joins');
};


subtest 'a claim' => sub {
    my $token = sub {
        my ($claim, %more) = @_;
        return hs256($secret, { sub => 'bob', exp => time + 1000,
            channels => $claim, %more });
    };
    my $can = sub {
        my ($ws, $subscribe, $publish, $name) = @_;
        is(subscribe($ws, 'c:1')->{type}, $subscribe ? 'subscribed' : 'error',
            "$name: subscribe");
        my $m = ask($ws, 'publish', { resource => 'c:2', data => 1 });
        is($m->{payload}{code} // '', $publish ? '' : 'forbidden', "$name: publish");
    };
    my %claims = (
        array  => [['c:*'], 1, 0],
        object => [{ subscribe => ['c:*'], publish => ['**'] }, 1, 1],
        publish => [{ publish => ['c:2'] }, 0, 1],
        odd => [[1, '', undef, {}, 'x' x 2000, 'c:1'], 1, 0],
        string => ['c:*', 0, 0],
        number => [7, 0, 0],
        empty => [{}, 0, 0],
        many => [[map {"n$_"} 1 .. 300], 0, 0],
    );

    for my $kind (sort keys %claims) {
        my ($claim, @may) = @{ $claims{$kind} };
        my $ws = client('/claim', also => ['jwt.' . $token->($claim)]);
        $can->($ws, @may, $kind);
    }

    my $ws = client('/claim', also => ['jwt.' . $token->(['c:*'])]);
    is($ws->{greeting}{payload}{userId}, 'bob', 'userId');
    like($ws->{greeting}{payload}{expiresAt}, $time, 'expiresAt');
    $can->($ws, 1, 0, 'before');
    ask($ws, 'unsubscribe', { resources => ['c:1'] });

    my $m = ask($ws, 'auth', { token => $token->([], sub => 'eve') });
    error_is($m, 'unauthorized', 'somebody else');
    $can->($ws, 1, 0, 'as before');
    ask($ws, 'unsubscribe', { resources => ['c:1'] });

    error_is(ask($ws, 'auth', { token => 'x.y.z' }), 'unauthorized', 'no token');

    $m = ask($ws, 'auth', { token => $token->({ publish => ['c:*'] }) });
    is($m->{type}, 'auth:ok', 'renewed');
    is($m->{payload}{userId}, 'bob', 'userId');
    like($m->{payload}{expiresAt}, $time, 'expiresAt');
    $can->($ws, 0, 1, 'after');

    $m = ask($ws, 'auth', undef, token => $token->(['c:*']));
    is($m->{type}, 'auth:ok', 'renewed, the token at top level');
    $can->($ws, 1, 0, 'and again');
};


subtest 'publish' => sub {
    my $ws = client('/ws');
    my $other = client('/ws', not => $ws->header('X-Worker'));
    subscribe($other, 'ap');

    my @data = ('null', 'true', 'false', '0', '-0.0', '1.0', '1E+2',
        '123456789012345678901234567890.10', '""', '"\u0061\/\ud800 \u0000"',
        "\"\xf0\x9f\x98\x80\"", '[ 1 ,2]', '{ "b" : 1,"a":{},"b":2 }',
        '{"type":"x","payload":1}', '"' . 'y' x 60000 . '"');
    my $seq = 0;

    for my $data (@data) {
        $seq++;
        $ws->send_text(qq( { "type" : "publish" ,"payload":{"data": $data , )
            . qq("resource":"\\u0061p"},"requestId":"p"} ));
        my $m = $ws->recv_json;
        is($m->{type}, 'published', 'published');
        is_deeply([@{ $m->{payload} }{qw(resource sequenceNumber)}], ['ap', $seq], 'as');
        like($m->{payload}{epoch}, $epoch, 'epoch');
        is($m->{correlationId}, 'p', 'correlationId');

        my $got = $other->recv_message;
        ok(index($got, qq({"type":"message","payload":$data,"timestamp":")) == 0,
            'byte for byte: ' . substr $data, 0, 40)
            or diag($got);
    }

    quiet($ws, 'nothing comes to who is not on it');

    $ws->send_text('{"type":"publish","payload":{"resource":"ap","data":1,'
        . '"data":2,"type":"t\u0031","priority":"\u0068igh","x":[]}}');
    is($ws->recv_json->{type}, 'published', 'duplicate members');
    like(scalar $other->recv_message, qr/^\{"type":"t\\u0031","payload":2,/,
        'the last one counts; the type as written');
    $seq++;

    for (['low', $seq], ['normal', $seq + 1], ['high', undef]) {
        my ($priority, $version) = @$_;
        my $m = ask($ws, 'publish', { resource => 'ap', data => 3,
            priority => $priority,
            defined $version ? (expectedVersion => $version) : () });
        is($m->{payload}{sequenceNumber}, ++$seq, "$priority");
        $other->recv_json;
    }

    for my $version (0, $seq - 1, $seq + 1, 9223372036854775807) {
        my $m = ask($ws, 'publish', { resource => 'ap', data => 3,
            expectedVersion => $version });
        error_is($m, 'conflict', "version $version");
        is($m->{payload}{details}{sequenceNumber}, $seq, 'the channel\'s');
    }

    is(ask($ws, 'publish', { resource => 'anew', data => 1, expectedVersion => 0 })
        ->{type}, 'published', 'version 0 of a new channel');
    error_is(ask($ws, 'publish', { resource => 'deep:no', data => 1 }),
        'forbidden', 'not allowed');
    is(http('GET', '/pub?channel=deep:no')->{status}, 404, 'nor done');
    quiet($other, 'none of these was published');
};


subtest 'raw and v1 on one channel' => sub {
    my $v1 = client('/ws');
    my $w = $v1->header('X-Worker');
    my $raw = client('/raw', raw => 1, not => $w);
    my $raw2 = client('/raw', raw => 1, not => $raw->header('X-Worker'));
    subscribe($v1, 'araw');

    my @kinds = (
        ['{"x": 1}', '{"x":1}', 'text'], ['text', '"text"', 'text'],
        ["\xff\x00", '"/wA="', 'binary'], ['', '""', 'text'],
        ['{"type":"t","payload":5}', '5', 'text'],
    );

    for (@kinds) {
        my ($body, $payload, $kind) = @$_;
        is(post('araw', $body)->{status}, 201, 'published');
        for my $ws ($raw, $raw2) {
            is_deeply([$ws->recv_message], [$body, $kind], "raw: as it is, $kind");
        }
        my $m = $v1->recv_json;
        is($json->encode($m->{payload}), $payload, 'v1: payload');
        is($m->{encoding}, $kind eq 'binary' ? 'base64' : undef, 'encoding');
    }

    $raw->send_text('{"a": 1}');
    is(scalar $_->recv_message, '{"a": 1}', 'raw to raw') for $raw, $raw2;
    is_deeply($v1->recv_json->{payload}, { a => 1 }, 'raw to v1');

    $v1->send_text('{"type":"publish","payload":{"resource":"araw","data":[1, 2]}}');
    is(scalar $_->recv_message, '[1, 2]', 'v1 to raw') for $raw, $raw2;
};


subtest 'echo' => sub {
    my $ws = client('/ws');
    my $other = client('/ws', not => $ws->header('X-Worker'));
    my $say = sub {
        $ws->send_json({ type => 'publish', payload => { resource => 'ae', data => $_[0] } });
        is($other->recv_json->{payload}, $_[0], 'others get it');
        my @types = map { $_->{type} } $ws->recv_json;
        return $types[0];
    };
    subscribe($other, 'ae');

    ask($ws, 'subscribe', { resources => ['ae'], echo => JSON::PP::false });
    is($say->(1), 'published', 'answered');
    quiet($ws, 'one\'s own does not come');
    post('ae', '2');
    is($ws->recv_json->{payload}, 2, 'that of others does');
    $other->recv_json;

    subscribe($ws, 'ae');
    my %types;
    $ws->send_json({ type => 'publish', payload => { resource => 'ae', data => 3 } });
    $types{ $ws->recv_json->{type} }++ for 1 .. 2;
    is_deeply(\%types, { published => 1, message => 1 }, 'switched on');

    ask($ws, 'subscribe', { resources => ['ae'], echo => JSON::PP::false });
    $other->recv_json;
    is($say->(4), 'published', 'answered');
    quiet($ws, 'and off again');
};


subtest 'ping' => sub {
    my $ws = client('/ws');
    my $sent = sub {
        my $ms = shift;
        my @t = gmtime int $ms / 1000;
        return sprintf '%d-%02d-%02dT%02d:%02d:%02d.%03dZ', $t[5] + 1900, $t[4] + 1,
            @t[3, 2, 1, 0], $ms % 1000;
    };
    my $now = int(Time::HiRes::time() * 1000);

    for ($sent->($now - 5000), $now - 5000) {
        my $m = ask($ws, 'ping', { timestamp => $_, sequenceNumber => 7 });
        is($m->{type}, 'pong', 'pong');
        is($m->{payload}{timestamp}, $_, 'timestamp');
        is($m->{payload}{sequenceNumber}, 7, 'sequenceNumber');
        my $latency = $m->{payload}{latency};
        ok($latency >= 4900 && $latency < 65000, "latency in ms ($latency)");
    }

    is(ask($ws, 'ping', { timestamp => $sent->($now + 100000) })->{payload}{latency},
        0, 'a clock that is ahead');
    is_deeply(ask($ws, 'ping', { timestamp => 'x', sequenceNumber => [1] })->{payload},
        { timestamp => 'x', sequenceNumber => [1], latency => undef }, 'whatever it was');
};


# since

sub since {
    my ($ws, $channel, $seq, $of) = @_;
    return ask($ws, 'subscribe', { resources => [$channel],
        since => { $channel => { sequenceNumber => $seq, epoch => $of } } });
}


subtest 'since' => sub {
    my $e = post('as', '1')->{epoch};
    post('as', $_) for 2 .. 5;

    for my $seq (0 .. 5) {
        my $ws = client('/ws');
        my $m = since($ws, 'as', $seq, $e);
        ok($m->{payload}{resources}[0]{recovered}, "since $seq: recovered");
        is($m->{payload}{resources}[0]{sequenceNumber}, 5, 'the newest');
        is($ws->recv_json->{sequenceNumber}, $_, "message $_") for $seq + 1 .. 5;
        quiet($ws, 'and no more');
    }

    for ([6, $e], [0, 'x'], [0, 'x' x 12], [3, '']) {
        my $ws = client('/ws');
        my $m = since($ws, 'as', @$_);
        ok(!$m->{payload}{resources}[0]{recovered}, "$$_[0] $$_[1]: not recovered");
        quiet($ws, 'nothing comes');
    }

    my $ws = client('/mine');
    is($ws->recv_json->{payload}{resources}[0]{resource}, 'mine', 'joined unasked');
    $e = post('mine', '1')->{epoch};
    is($ws->recv_json->{payload}, 1, 'live');
    post('mine', '2');
    is($ws->recv_json->{payload}, 2, 'live');
    ok(since($ws, 'mine', 1, $e)->{payload}{resources}[0]{recovered}, 'since');
    is($ws->recv_json->{payload}, 2, 'once more');
    quiet($ws, 'not more than that');
    post('mine', '3');
    is($ws->recv_json->{payload}, 3, 'live again');

    # several, in one message
    my %e = map { $_ => post($_, '1')->{epoch} } qw(as1 as2 as3);
    post('as2', '2');
    $ws = client('/ws');
    my $m = ask($ws, 'subscribe', { resources => [qw(as1 as2 as3)], since => {
        as1 => { sequenceNumber => 0, epoch => $e{as1} },
        as2 => { sequenceNumber => 1, epoch => $e{as2} }, other => 'ignored' } });
    is(join(' ', map { $_->{recovered} ? 1 : 0 } @{ $m->{payload}{resources} }),
        '1 1 0', 'each for itself');
    my %got;
    for (1 .. 2) { my $x = $ws->recv_json; $got{ $x->{resource} } = $x->{payload} }
    is_deeply(\%got, { as1 => 1, as2 => 2 }, 'what was missed');
    quiet($ws, 'no more');
};


subtest 'gone from history, after DELETE' => sub {
    my $body = sub { $json->decode(http('POST', '/pub3?channel=a',
        body => $_[0])->{body}) };
    my $e = $body->(1)->{epoch};
    $body->($_) for 2 .. 6;

    my $ws = client('/three');
    ok(!since($ws, 'a', 2, $e)->{payload}{resources}[0]{recovered}, 'gone');
    quiet($ws, 'live only');
    ok(since($ws, 'a', 3, $e)->{payload}{resources}[0]{recovered}, 'there still');
    is($ws->recv_json->{sequenceNumber}, $_, "message $_") for 4 .. 6;

    is(http('DELETE', '/pub3?channel=a')->{status}, 204, 'DELETE');
    my $p = $body->(7);
    is($p->{sequenceNumber}, 1, 'from 1');
    isnt($p->{epoch}, $e, 'another epoch');
    is($p->{subscribers}, 1, 'subscribers stay');
    my $m = $ws->recv_json;
    is($m->{epoch}, $p->{epoch}, 'delivered in it');
    is($m->{payload}, 7, 'the message');

    my $new = client('/three');
    ok(!since($new, 'a', 0, $e)->{payload}{resources}[0]{recovered}, 'the old epoch');
    ok(since($new, 'a', 0, $p->{epoch})->{payload}{resources}[0]{recovered}, 'the new');
    is($new->recv_json->{payload}, 7, 'what is in it');
};


# A publisher in another worker goes on at full speed while clients leave and
# come back with `since`: each gets each message once, in order.
subtest 'since, while somebody publishes' => sub {
    my $ws = client('/ws');
    my $publisher = client('/ws', not => $ws->header('X-Worker'));
    my $n = 900;
    my $e = subscribe($ws, 'afast')->{payload}{resources}[0]{epoch};

    my $pid = fork // die;
    if (!$pid) {
        for my $i (1 .. $n) {
            $publisher->send_json({ type => 'publish',
                payload => { resource => 'afast', data => $i } });
            $publisher->recv_json if $i > 20;    # some on their way
        }
        POSIX::_exit(0);
    }

    my ($last, $wrong, $rounds) = (0, 0, 0);

    while ($last < $n) {
        my $m = $ws->recv_json or last;
        next if $m->{type} ne 'message';
        $wrong++ if $m->{sequenceNumber} != $last + 1 || $m->{payload} != $last + 1;
        $last = $m->{sequenceNumber};

        next if $last % 50;

        # half of them on the same connection, half on a new one
        my $from = $last;
        if ($rounds++ % 2) { $ws->close; $ws = client('/ws') }
        $ws->send_json({ type => 'subscribe', payload => { resources => ['afast'],
            since => { afast => { sequenceNumber => $from, epoch => $e } } } });
        while (my $s = $ws->recv_json) {
            if ($s->{type} eq 'subscribed') {
                $wrong++ if !$s->{payload}{resources}[0]{recovered};
                last;
            }
        }
        last if $wrong;
    }

    waitpid $pid, 0;
    is($last, $n, 'all');
    is($wrong, 0, 'each once, in order');
    cmp_ok($rounds, '>', 10, 'over many subscriptions');
    quiet($ws, 'no more');
};

$nginx->stop;
done_testing;
