#!/usr/bin/perl

# Key sets that are fetched: gateway_jwt_keys uri=. Two workers, a server of
# keys that hangs, fails and recovers, reloads, and workers that are killed.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);

use GatewayJWKS;
use GatewayJWT;
use GatewayNginx;
use GatewayProcess;

my $s1 = 'first secret of thirty-two bytes';
my $s2 = 'other secret of thirty-two bytes';
my $s3 = 'third secret of thirty-two bytes';

my ($nginx, $server);


sub set_up {
    my (%args) = @_;

    $nginx = GatewayNginx->new(
        %args,
        start  => 0,
        http   => "gateway_jwt_keys main uri=/_jwks refresh=$args{refresh};"
            . ($args{http} || ''),
        config => <<'END',
            location = /_jwks {
                internal;
                proxy_pass http://127.0.0.1:%PORT:jwks%/keys;
            }
            location /x {
                gateway_jwt main;
                add_header X-Pid $pid;
                add_header X-Sub $gateway_jwt_claim_sub;
            }
            location /free { }
END
    );
    mkdir $nginx->prefix . '/html';
    $nginx->write_file('html/x', 'x');
    $nginx->write_file('html/free', 'free');

    $server = GatewayJWKS->new($nginx->port_named('jwks'), $nginx->prefix);
    $server->keys(jwks(jwk_oct($s1, kid => 'a', alg => 'HS256')));
    $server->mode($args{mode}) if $args{mode};

    $nginx->start;
}


sub get {
    my ($token, %args) = @_;

    return $nginx->http('GET', '/x', timeout => 15,
        headers => [Authorization => "Bearer $token"], %args)
        || { status => 'none', headers => {} };
}

sub status { return get(@_)->{status} }


# Asks until each worker has answered; returns the statuses met, each once.
sub statuses_of_all {
    my ($token) = @_;

    my (%pid, %status);

    GatewayProcess::wait_for(10, sub {
        my $response = get($token);
        $status{ $response->{status} }++;
        $pid{ $response->{headers}{'x-pid'} // '' }++;
        return keys %pid >= 2;
    });

    return join ' ', sort keys %status;
}


# A request whose answer is read later.
sub begin {
    my ($token, %args) = @_;

    my $socket = $nginx->connect(timeout => 15, %args);
    $socket->write("GET /x HTTP/1.1\r\nHost: localhost\r\n"
        . "Authorization: Bearer $token\r\nConnection: close\r\n\r\n");

    return $socket;
}

sub settle { my ($n, $what) = @_;
    return GatewayProcess::wait_for(8, sub { $what->() >= $n });
}

my $a = hs256($s1, { sub => 'alice' }, { kid => 'a' });
my $b = hs256($s2, { sub => 'bob' }, { kid => 'b' });


# One fetch serves all workers.

set_up(refresh => '1h');

is(statuses_of_all($a), '200', 'both workers verify');
is($server->hits, 1, 'by one fetch');
is(get($a)->{headers}{'x-sub'}, 'alice', 'claims are there');
is(status(hs256($s2, {}, { kid => 'a' })), 401, 'another signature');

# An unknown kid asks for one more.

$server->keys(jwks(jwk_oct($s1, kid => 'a'), jwk_oct($s2, kid => 'b')));
my @parked = map { begin($b) } 1 .. 20;
is(join(' ', map { $_->response('GET')->{status} } @parked),
    join(' ', (200) x 20), 'a kid that is new is fetched');
is($server->hits, 2, 'once for all who wait');

is(statuses_of_all($b), '200', 'and taken over by the other worker');
is(status($a), 200, 'the key of before is still there');

my $then = time;
is(status(hs256($s3, {}, { kid => 'c' })), 401, 'a kid that nobody knows');
is($server->hits, 2, 'no further fetch within 10 s');
cmp_ok(time - $then, '<', 2, 'nor does the request wait');

# A reload keeps what was fetched.

$server->mode('fail');
$nginx->expect_log(qr/"uri=\/_jwks" of "gateway_jwt_keys main"/);
$nginx->reload;
is(statuses_of_all($b), '200', 'a reload keeps the keys');
settle(3, sub { $server->hits });
ok($nginx->wait_for_log(qr/failed: answered 500; the last good keys stay/),
    'a failure is logged');
is(statuses_of_all($b), '200', 'and keeps the keys');

settle(5, sub { $server->hits });
is(scalar(() = $nginx->error_log =~ /failed: answered 500/g), 1,
    'a failure that goes on is logged once');

$server->mode('broken');
ok($nginx->wait_for_log(qr/gateway_jwt_keys main.* failed: .*the last good/, 8),
    'a broken answer is logged');
is(statuses_of_all($b), '200', 'and keeps the keys');

$server->mode('ok');
$server->keys(jwks(jwk_oct($s2, kid => 'b')));
ok($nginx->wait_for_log('answers again', 15), 'so is its return');
is(statuses_of_all($b), '200', 'the new set is used');
is(status($a), 401, 'what is not in it any more is refused');

$nginx->stop;
$server->stop;


# In the background.

set_up(refresh => '1s', http => 'gateway_jwt_cache 16;');
is(statuses_of_all($a), '200', 'first keys');
$server->keys(jwks(jwk_oct($s2, kid => 'b')));
ok(GatewayProcess::wait_for(6, sub { status($b) == 200 }),
    'keys are refreshed');
is(statuses_of_all($a), '401', 'also for tokens that were remembered')
    if GatewayProcess::wait_for(3, sub { status($a) == 401 });

for my $mode (qw(reset short big)) {
    my $hits = $server->hits;

    $server->mode($mode);
    settle($hits + 2, sub { $server->hits });
    is(status($b), 200, "the last good keys are used: $mode");
}

$server->mode('ok');
$server->keys(jwks(jwk_oct($s1, kid => 'a')));
ok(GatewayProcess::wait_for(12, sub { status($a) == 200 }), 'until it answers');

$nginx->expect_log('no live upstreams');
$nginx->stop;
$server->stop;


# Requests wait for the first answer.

set_up(refresh => '1h', mode => 'hang', tls => 1);

settle(1, sub { $server->hits });
is($nginx->http('GET', '/free')->{status}, 200, 'others do not wait');
is($nginx->http('GET', '/x')->{status}, 401, 'nor does one without a token');

my @wait = (begin($a), begin($a, tls => 1));
my $gone = begin($a);
my $aborted = begin($a);
$gone->close;
$aborted->abort;
$server->mode('ok');
is($_->response('GET')->{status}, 200, 'a request waits for the first keys')
    for @wait;
is(statuses_of_all($a), '200', 'and the next do not');
$nginx->stop;
$server->stop;

set_up(refresh => '1h', mode => 'hang');
$then = time;
my $late = get($a);
my $took = time - $then;
is($late->{status}, 503, 'no keys for 5 s');
cmp_ok($took, '>', 4.5, 'that long');
cmp_ok($took, '<', GatewayProcess::patience(7), 'and no longer');

# Whoever fetches is killed; each is, as it is not known which one does.

$server->mode('hang');
my $hits = $server->hits;
$nginx->kill_worker($_) for $nginx->worker_pids;
ok(settle($hits + 1, sub { $server->hits }), 'another worker fetches');
$server->mode('ok');
is(status($a), 200, 'and its answer counts');
is(statuses_of_all($a), '200', 'for all');
$nginx->stop;
$server->stop;


# A fetch under way delays neither a reload nor the end.

set_up(refresh => '1h', mode => 'hang');
ok(settle(1, sub { $server->hits }), 'a fetch that hangs');
$nginx->reload;
ok(GatewayProcess::wait_for(4, sub { !$nginx->old_worker_pids }),
    'an old worker gives its fetch up');

my $waiting = begin($a);
ok(settle(2, sub { $server->hits }), 'a new one fetches for those who wait');
$server->mode('ok');
is($waiting->response('GET')->{status}, 200, 'and they are answered');
is(statuses_of_all($a), '200', 'keys after a reload during a fetch');
$nginx->reload for 1 .. 5;
is(statuses_of_all($a), '200', 'keys after several');

$server->mode('hang');
$nginx->reload;
$nginx->stop;
$server->stop;


# One process without a master.

set_up(refresh => '1h', master => 0, workers => 1);
is(status($a), 200, 'without a master');
$server->keys(jwks(jwk_oct($s2, kid => 'b')));
is(status($b), 200, 'an unknown kid there');
$nginx->stop;
$server->stop;

done_testing;
