#!/usr/bin/perl

# Limits whose key is a claim, where the keys to verify the token with are
# still on their way: they are checked when those have come, and what others
# had charged until then is given back where they reject.

use strict;
use warnings;

use Test::More;

use GatewayJWKS;
use GatewayJWT;
use GatewayNginx;
use GatewayProcess;

my $secret = 'a secret of at least thirty-two bytes';

my $nginx = GatewayNginx->new(
    workers => 1,
    start   => 0,
    files   => { map {; "html/$_" => '' } qw(x left) },
    http    => <<'END',
    gateway_jwt_keys main uri=/_jwks refresh=1h;
    gateway_limit_zone all zone=all:1m rate=20/h;
    gateway_limit_zone $gateway_jwt_claim_sub zone=user:1m rate=2/h;
END
    config => <<'END');
        location = /_jwks {
            internal;
            proxy_pass http://127.0.0.1:%PORT:jwks%/keys;
        }
        location /x {
            gateway_jwt main;
            gateway_limit zone=all;
            gateway_limit zone=user;
        }
        location /left { gateway_limit zone=all cost=0; }
END

my $server = GatewayJWKS->new($nginx->port_named('jwks'), $nginx->prefix);
$server->keys(jwks(jwk_oct($secret, kid => 'a', alg => 'HS256')));
$server->mode('hang');
$nginx->start;


sub ask {
    my ($token) = @_;

    my $socket = $nginx->connect(timeout => 15);
    $socket->write(GatewaySocket::request('GET', '/x',
        headers => [Authorization => "Bearer $token"]));

    return $socket;
}


sub left {
    $nginx->http('GET', '/left')->{headers}{ratelimit} =~ /^"all";r=(\d+);/;
    return $1;
}


my $alice  = hs256($secret, { sub => 'alice' }, { kid => 'a' });
my $forged = hs256('some other secret of thirty-two bytes',
    { sub => 'alice' }, { kid => 'a' });

my @waiting = map { ask($_) } $forged, ($alice) x 4, $forged;

ok(GatewayProcess::wait_for(4, sub { left() == 14 }),
    'all six are counted by the other limit while they wait');
is(scalar(grep { length $_->{in} } @waiting), 0, 'and none is answered');

$server->mode('ok');
my @answers = map { $_->response('GET') } @waiting;

is(join(' ', sort map { $_->{status} } @answers), '200 200 401 401 429 429',
    'two of the user\'s pass');

my ($passed)  = grep { $_->{status} == 200 } @answers;
my ($refused) = grep { $_->{status} == 429 } @answers;
my ($bad)     = grep { $_->{status} == 401 } @answers;

like($passed->{headers}{ratelimit}, qr/^"all";r=\d+;t=\d+, "user";r=[01];t=\d+$/,
    'what passes is told of both limits, once');
like($refused->{headers}{ratelimit}, qr/"user";r=0;t=36[0-5]\d/,
    'what is refused is told by which');
like($refused->{headers}{'retry-after'}, qr/^36[0-5]\d$/, 'and for how long');
like($bad->{headers}{ratelimit}, qr/^"all";r=\d+;t=\d+$/,
    'a bad token is told of the other limit alone');

is(left(), 16, 'what the user\'s limit refused was given back to the other');

# now that the keys are there
is(ask($alice)->response('GET')->{status}, 429, 'the user has had his share');
is(left(), 16, 'which charges the other nothing');
is(ask($forged)->response('GET')->{status}, 401, 'a bad token');
is(left(), 15, 'which does');

$server->stop;
$nginx->stop;
done_testing();
