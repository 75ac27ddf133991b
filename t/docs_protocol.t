#!/usr/bin/perl

# The messages in docs/protocol.md are what a client sends and gets: what has a
# requestId is sent as it stands there, and the answer is compared with the
# next block, member by member. Only what differs each time is left out.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;
use Test::More;

use lib dirname(abs_path(__FILE__)) . '/lib';

use GatewayNginx;

my $root = abs_path(dirname(abs_path(__FILE__)) . '/..');
my $json = JSON::PP->new->utf8->canonical;
my $wait = 5;                                # seconds


# {heading => [parsed blocks]}: the ```json blocks below each ### heading.
sub blocks {
    my ($path) = @_;
    my (%blocks, $heading, $block);

    open my $fh, '<', $path or die "$path: $!";

    while (<$fh>) {
        if (defined $block) {
            if ($_ eq "```\n") {
                push @{ $blocks{$heading} }, $json->decode($block);
                undef $block;
            } else {
                $block .= $_;
            }
        } elsif (/^##+ (.*)/) {
            $heading = $1;
        } elsif ($_ eq "```json\n") {
            $block = '';
        }
    }

    return \%blocks;
}


# Replaces what differs each time by its kind, or by what is wrong with it.
my %variable = (
    timestamp    => qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    expiresAt    => qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    epoch        => qr/^[0-9A-Za-z_-]+$/,
    connectionId => qr/^[0-9A-Za-z_-]+$/,
    nonce        => qr/^.+$/,
    latency      => qr/^\d+$/,
    message      => qr/^.+$/,
);


sub plain {
    my ($value) = @_;

    return [map { plain($_) } @$value] if ref $value eq 'ARRAY';
    return $value if ref $value ne 'HASH';

    return { map {
        my $pattern = $variable{$_};
        my $v = $value->{$_};

        ($_ => !$pattern || ref $v       ? plain($v)
             : ($v // '') =~ $pattern    ? "some $_"
             :                             "no $_: " . ($v // 'null'))
    } keys %$value };
}


sub like_doc {
    my ($got, $expected, $name) = @_;

    is_deeply(plain($got), plain($expected), $name)
        or diag($got ? $json->encode($got) : 'nothing');
}


my $doc = blocks("$root/docs/protocol.md");
my $secret = 's' x 32 . "\n";
my $nginx = GatewayNginx->new(
    files => { 'conf/secret' => $secret },
    http => 'gateway_channel_zone z:1m;
             gateway_jwt_keys k secret_file=%PREFIX%/conf/secret;',
    config => '
        location /ws {
            gateway_jwt k;
            gateway_subscriber z;
            gateway_subscribe_allow news:* user:$gateway_jwt_claim_sub room:*;
            gateway_publish_allow room:*;
        }
        location /message {
            gateway_jwt k;
            gateway_jwt_token message;
            gateway_subscriber z;
        }
        location /lobby { gateway_subscriber z; gateway_channel demo:lobby; }
        location /pub   { gateway_publisher z; }');


sub publish {
    my ($channel, $body, $type) = @_;

    return $nginx->http('POST', "/pub?channel=$channel", body => $body,
        headers => ['Content-Type' => $type || 'application/json']);
}


chomp(my $token = `$root/conf.example/demo/mint-token.sh \\
    '@{[$nginx->prefix]}/conf/secret' alice 3600`);
die 'mint-token.sh' if $?;

my $alice = $nginx->client(path => '/ws',
    subprotocols => ['v1', 'jwt', $token]);

is($alice->subprotocol, 'v1', 'the subprotocol');


# Sends the block that stands below the heading, and returns the answer.
sub ask {
    my ($request) = @_;

    $alice->send_json($request);

    while (my $answer = $alice->recv_json($wait)) {
        return $answer
            if ($answer->{correlationId} // '') eq $request->{requestId};
    }

    return;
}


my $established = $alice->recv_json($wait);

like_doc($established, $doc->{'connection:established'}[0],
    'connection:established');


{
    my $ws = $nginx->client(path => '/message', subprotocols => ['v1']);

    like_doc($ws->recv_json($wait), $doc->{Authentication}[0],
        'auth:challenge');
}

{
    my ($request, $answer) = @{ $doc->{auth} };

    $request->{payload}{token} = $token;
    like_doc(ask($request), $answer, 'auth');
}

{
    my ($request, $answer, $error) = @{ $doc->{subscribe} };

    publish('news:sport', "0:$_", 'text/plain') for 1 .. 42;

    my $published = $json->decode(
        publish('news:sport', '2:1', 'text/plain')->{body});

    $_->{epoch} = $published->{epoch}
        for $request->{payload}{since}{'news:sport'},
            $doc->{'recovery:request'}[0]{payload};

    like_doc(ask($request), $answer, 'subscribe');
    is_deeply([map { $alice->recv_json($wait)->{sequenceNumber} } 1, 2],
        [42, 43], 'subscribe: what was missed');

    $request->{payload} = { resources => ['user:bob'] };
    like_doc(ask($request), $error, 'subscribe: forbidden');
}

{
    my ($request, @answers) = @{ $doc->{'recovery:request'} };
    my @got = (ask($request), map { $alice->recv_json($wait) } 1 .. 4);

    is_deeply([map { $_->{payload}{sequenceNumber} } @got],
        [12, 13, 14, 42, 43], 'recovery:request: the numbers');
    is_deeply([map { $_->{payload}{isComplete} ? 1 : 0 } @got],
        [0, 0, 0, 0, 1], 'recovery:request: isComplete');
    like_doc($got[-1], $answers[0], 'recovery:request');
}

{
    my ($request, $answer) = @{ $doc->{unsubscribe} };

    like_doc(ask($request), $answer, 'unsubscribe');
    publish('news:sport', '2:2', 'text/plain');
}

{
    my ($request, $answer, $message) = @{ $doc->{publish} };

    publish('room:7', '1') for 1 .. 12;
    ask({ type => 'subscribe', requestId => 's',
        payload => { resources => ['room:7'] } });

    $alice->send_json($request);

    my %got = map { $_->{type} => $_ } grep { $_ }
        map { $alice->recv_json($wait) } 1, 2;

    like_doc($got{published}, $answer, 'publish');
    like_doc($got{chat}, $message, 'publish: what subscribers get');

    is(ask($request)->{payload}{code}, 'conflict', 'publish: conflict');
}

{
    my ($request, $answer) = @{ $doc->{ping} };

    like_doc(ask($request), $answer, 'ping');
}

{
    $alice->send_text('[]');
    like_doc($alice->recv_json($wait), $doc->{error}[0], 'error');
}

{
    my @lobby = map { $nginx->client(path => '/lobby') } 1, 2;
    my $response = publish('demo:lobby', '{"text":"hello"}');

    is($response->{status}, 201, 'POST: status');
    like_doc($json->decode($response->{body}), $doc->{POST}[0], 'POST');

    publish('demo:lobby', '{"text":"hello"}') for 2 .. 42;
    publish('demo:lobby', '{"text":"bye"}');

    like_doc($json->decode($nginx->http('GET', "/pub?channel=demo:lobby$_->[0]")
            ->{body}), $doc->{GET}[$_->[1]], "GET $_->[0]")
        for ['', 0], ['&since=41', 1];

    is($nginx->http('DELETE', '/pub?channel=demo:lobby')->{status}, 204,
        'DELETE');
    is($nginx->http('GET', '/pub?channel=demo:nobody')->{status}, 404,
        'GET: unknown');
}

$alice->close;
$nginx->stop;

done_testing();
