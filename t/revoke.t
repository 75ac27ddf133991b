#!/usr/bin/perl

# Revoked tokens: requests, WebSockets, renewals, in all workers, over a
# reload; without Redis.

use strict;
use warnings;

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use GatewayJWT qw(hs256);
use GatewayNginx;
use GatewayProcess;

my $json   = JSON::PP->new->utf8->canonical;
my $secret = 'a secret of at least thirty-two bytes';
my $exp    = int(time) + 3600;

my $nginx = GatewayNginx->new(
    workers => 2,
    files   => { 'conf/secret' => $secret },
    http    => <<'END',
    gateway_jwt_keys main secret_file=secret;
    gateway_channel_zone z:1m;
    gateway_channel_zone other:1m;
    gateway_channel_zone small:64k max_message=4k;
    log_format status $gateway_jwt_status;
    keepalive_requests 100000;
END
    config => <<'END');
    gateway_jwt_token subprotocol header message;
    gateway_jwt_revoked z;
    gateway_subscribe_allow **;
    gateway_publish_allow **;

    location = /x { gateway_jwt main; add_header X-Pid $pid; }
    location = /lenient { gateway_jwt main; gateway_jwt_leeway 1h; }
    location = /status_of { access_log logs/status.log status;
                            gateway_jwt main; }
    location = /other { gateway_jwt main; gateway_jwt_revoked other; }
    location = /free { }
    location = /grpc { gateway_jwt main; }
    location = /ws { gateway_jwt main; gateway_subscriber z; }
    location = /open { gateway_subscriber z; }
    location = /joins { gateway_subscriber z; gateway_channel auth:revoke; }
    location = /pub { gateway_publisher z; }
    location = /puball { gateway_publisher small; }
    location = /revoke { gateway_publisher z; gateway_channel auth:revoke; }
    location = /metrics { gateway_status; }
END

$nginx->write_file("html/$_", 'x') for qw(x lenient status_of other free grpc);


sub jwt {
    my (%claims) = @_;
    return hs256($secret, { exp => $exp, %claims });
}


sub get {
    my ($token, $path) = @_;
    return $nginx->http('GET', $path || '/x',
        headers => [Authorization => "Bearer $token"])->{status};
}


sub revoke {
    my ($body, $path) = @_;
    return $nginx->http('POST', $path || '/pub?channel=auth:revoke',
        body => ref $body ? $json->encode($body) : $body)->{status};
}


sub client {
    my ($token, %args) = @_;
    my $ws = $nginx->client(path => '/ws',
        subprotocols => ['v1', $token ? ('jwt', $token) : ()], %args);
    $ws->recv_json if $ws->status == 101;
    return $ws;
}


# requests, by jti

my $gone = jwt(jti => 'gone', sub => 'ann');
my $kept = jwt(jti => 'kept', sub => 'ann');

is(get($_), 200, 'a token is taken') for $gone, $gone, $kept;
is(revoke({ jti => 'gone', exp => $exp }), 202, 'revoked');

my $answer = $nginx->http('GET', '/x',
    headers => [Authorization => "Bearer $gone"]);
is($answer->{status}, 401, 'a remembered token is refused at once');
like($answer->{headers}{'www-authenticate'},
    qr/^Bearer error="invalid_token", error_description=".*revoked/,
    'and the client told why');

# each worker has its own memory of tokens
my %pids;
for (1 .. 200) {
    my $r = $nginx->http('GET', '/x',
        headers => [Authorization => "Bearer $kept"]);
    $pids{ $r->{headers}{'x-pid'} }++;
    fail('refused in both workers') if get($gone) != 401;
    last if keys %pids == 2 && $_ >= 20;
}
is(scalar keys %pids, 2, 'both workers were asked');
is(get($kept), 200, 'another token of the user is not concerned');
is(get($gone, '/other'), 200, 'nor is a location with another zone');
is(get($gone, '/free'), 200, 'nor one that asks for no token');
is(get($gone, '/lenient'), 401, 'a location with leeway is');

get($gone, '/status_of');
ok(GatewayProcess::wait_for(5, sub {
    GatewayProcess::slurp($nginx->prefix . '/logs/status.log')
        =~ /^revoked$/m }), '$gateway_jwt_status is revoked');

like($nginx->http('GET', '/metrics?format=prometheus')->{body},
    qr/^gateway_jwt_tokens_total\{status="revoked"\} [1-9]/m, 'counted');

my $grpc = $nginx->http('POST', '/grpc', headers => [
    'Content-Type' => 'application/grpc', TE => 'trailers',
    Authorization => "Bearer $gone"]);
is($grpc->{headers}{'grpc-status'}, 16, 'refused in terms of gRPC');


# by sub

my $now = int time;
my $old = jwt(sub => 'bob', iat => $now - 10);
my $new = jwt(sub => 'bob', iat => $now);
my $bare = jwt(sub => 'bob');

is(revoke({ sub => 'bob', before => $now }), 202, 'of a user');
is(get($old), 401, 'issued before');
is(get($new), 200, 'issued then');
is(get($bare), 401, 'without iat');
is(get(jwt(sub => 'bobby', iat => 1)), 200, 'another user');
is(get(jwt(sub => 'Bob', iat => 1)), 200, 'with regard to case');
is(get(jwt(iat => 1)), 200, 'no user');
is(get(jwt(jti => 'bob', iat => 1)), 200, 'a jti is no sub');
is(revoke({ sub => 'bob', before => $now + 1, exp => $now + 2 }), 202,
    'a later moment');
is(get($new), 401, 'issued before that');
is(revoke({ sub => 'bob', before => 1, exp => $exp }), 202, 'an earlier one');
is(get($new), 401, 'takes nothing back');

is(revoke({ sub => 12, before => $now }), 202, 'a number as sub');
is(get(jwt(sub => 12)), 401, 'is one in the token');
is(get(jwt(sub => '12')), 401, 'or text');


# until it is over

is(revoke({ jti => 'short', exp => $now - 3600 + 2 }), 202,
    'the leeway of another location counts too');
is(get(jwt(jti => 'short')), 401, 'so it is kept as long');
ok(GatewayProcess::wait_for(10, sub { get(jwt(jti => 'short')) == 200 }),
    'and no longer');
is(revoke({ jti => 'past', exp => 1 }), 202, 'what is over is taken');
is(get(jwt(jti => 'past')), 200, 'and means nothing');


# malformed

is(revoke($_), 400, "malformed: $_")
    for '', 'x', '[]', '{}', '{"jti":"a"}', '{"sub":"a"}',
    '{"jti":"a","sub":"b","exp":1,"before":1}', '{"jti":7.5,"exp":"1"}',
    '{"jti":null,"exp":1}', '{"jti":"","exp":1}', '{"jti":"a","exp":-1}',
    '{"sub":"a","before":"now"}', '{"sub":"a","exp":1}', "{\"jti\":\"\xff\"}";
is(revoke('x' x 70000), 413, 'too large');

for my $method (qw(GET DELETE HEAD PUT)) {
    my $r = $nginx->http($method, '/pub?channel=auth:revoke');
    is($r->{status}, 405, "$method is not for it");
    like($r->{headers}{allow}, qr/^POST$/, "$method: but POST is")
        if $method ne 'PUT';
}

is(revoke({ jti => 'conf', exp => $exp }, '/revoke'), 202,
    'by gateway_channel');
is(get(jwt(jti => 'conf')), 401, 'too');


# nobody sees it

is($nginx->client(path => '/open?channel=auth:revoke')->status, 403,
    'no subscription by the argument');
is($nginx->client(path => '/joins')->status, 403,
    'none by gateway_channel');
$nginx->expect_log(qr/nobody can join/);

my $ws = $nginx->client(path => '/open?channel=auth:other',
    subprotocols => ['v1']);
$ws->recv_json for 1 .. 2;

for my $type (qw(subscribe recovery:request publish)) {
    $ws->send_json({ type => $type, payload => {
        resources => ['auth:revoke'], resource => 'auth:revoke',
        data => { jti => 'kept', exp => $exp } } });
    my $m = $ws->recv_json;
    is($m->{type} . ' ' . ($m->{payload}{code} // ''), 'error forbidden',
        "v1: $type");
}

is(get($kept), 200, 'nothing was revoked by it');
revoke({ jti => 'z', exp => $exp });
$nginx->http('POST', '/pub?channel=auth:other', body => '1');
is($ws->recv_json->{resource}, 'auth:other', 'a revocation is not delivered');


# WebSockets, on both workers

sub closed_within {
    my ($ws, $what) = @_;
    my $from = time;
    my ($code, $reason) = $ws->recv_close(3);
    is($code, 4401, "$what: closed with 4401");
    cmp_ok(time - $from, '<', GatewayProcess::patience(1),
        "$what: within a second");
}

my @mine = map { client(jwt(jti => "c$_", sub => 'carl', iat => 5)) }
    1 .. 8;
my @others = map { client(jwt(jti => "d$_", sub => 'dora')) } 1 .. 8;

is(revoke({ jti => 'c1', exp => $exp }), 202, 'one of the tokens');
closed_within($mine[0], 'by jti');

is(revoke({ sub => 'carl', before => 6 }), 202, 'all of a user');
closed_within($mine[$_], "by sub $_") for 1 .. 7;

for my $ws (@others) {
    $ws->send_json({ type => 'ping', payload => {}, requestId => 'p' });
    is($ws->recv_json->{type}, 'pong', 'the others are open');
}

is($nginx->client(path => '/ws',
    subprotocols => ['v1', 'jwt', jwt(sub => 'carl', iat => 5)])->status,
    401, 'refused before the upgrade');

my $raw = $nginx->client(path => '/ws', subprotocols =>
    ['raw', 'jwt', jwt(jti => 'raw')]);
is(revoke({ jti => 'raw', exp => $exp }), 202);
closed_within($raw, 'raw');


# tokens as messages

sub auth {
    my ($ws, $token) = @_;
    $ws->send_json({ type => 'auth', payload => { token => $token } });
    my $m = $ws->recv_json or return 'closed';
    return $m->{payload}{code} // $m->{type};
}

$ws = client();
auth($ws, jwt(sub => 'carl', iat => 5));
closed_within($ws, 'a revoked first token');

$ws = client();
is(auth($ws, jwt(jti => 'm1', sub => 'emil')), 'auth:ok', 'a first token');
is($ws->recv_type('connection:established')->{type},
    'connection:established', 'open');

is(revoke({ jti => 'm2', exp => $exp }), 202);
is(auth($ws, jwt(jti => 'm2', sub => 'emil')), 'unauthorized',
    'a revoked token does not renew');
is(auth($ws, jwt(jti => 'm3', sub => 'emil')), 'auth:ok', 'another does');

is(revoke({ jti => 'm1', exp => $exp }), 202, 'the token of before');
$ws->send_json({ type => 'ping', payload => {} });
is($ws->recv_json->{type}, 'pong', 'is no longer what it is open for');
is(revoke({ jti => 'm3', exp => $exp }), 202, 'the token of now');
closed_within($ws, 'renewed');


# over a reload, also in workers of before

my $before = client(jwt(jti => 'r1', sub => 'fred'));
$nginx->reload;
is(get($gone), 401, 'still revoked');

my $after = client(jwt(jti => 'r2', sub => 'fred', iat => 1));
is(revoke({ sub => 'fred', before => $now }), 202);
closed_within($before, 'in a worker of before');
closed_within($after, 'in a new one');


# a worker that is killed

$nginx->kill_worker(($nginx->worker_pids)[0]);
is(get($gone), 401, 'still revoked') for 1 .. 4;


# a zone that is full: messages give way, then it says so

for my $i (1 .. 40) {
    $nginx->http('POST', "/puball?channel=c$i", body => 'x' x 4000);
}

my ($n, $status) = (0);
$nginx->expect_log(qr/is full: a token was not revoked/);
my $c = $nginx->connect;

while ($n < 5000) {
    $c->write(GatewaySocket::request('POST', '/puball?channel=auth:revoke',
        body => qq({"jti":"t$n","exp":$exp})));
    $status = $c->response('POST')->{status};
    last if $status != 202;
    $n++;
}

is($status, 507, 'no room');
cmp_ok($n, '>', 300, "after $n in 64k");
ok($nginx->wait_for_log('is full: a token was not revoked'), 'logged');

$_->close for @others, $c;
$nginx->stop;
done_testing();
