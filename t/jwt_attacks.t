#!/usr/bin/perl

# Known attacks on JSON Web Tokens, each against a running gateway: none may
# get in, and $gateway_jwt_status says why. Tokens that are good are mixed in,
# so that a gateway which refuses everything fails here, too.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use JSON::PP;
use MIME::Base64 ();
use Test::More;

use GatewayJWT;
use GatewayNginx;
use GatewayProcess;

my $secret = 'a secret of at least thirty-two bytes';

my $public_pem = public_pem('RS256');
my $evil = jwk('RS256', name => 'evil');

my $nginx = GatewayNginx->new(
    http => <<'END',
        large_client_header_buffers 4 64k;
        gateway_jwt_keys all file=%PREFIX%/jwks.json;
        gateway_jwt_keys rsa pem=%PREFIX%/rsa.pem;
        gateway_jwt_keys secret secret_file=%PREFIX%/secret;
        gateway_jwt all;
END
    config => <<'END',
        add_header X-Status $gateway_jwt_status always;
        add_header X-Sub $gateway_jwt_claim_sub always;
        location /all { }
        location /rsa { gateway_jwt rsa; }
        location /secret { gateway_jwt secret; }
        location /rs256 { gateway_jwt_algorithms RS256; }
END
    files => {
        'jwks.json' => jwks(
            jwk('RS256', kid => 'rsa', alg => 'RS256'),
            jwk('ES256', kid => 'ec'),
            jwk('ES384', kid => 'ec384'),
            jwk('EdDSA', kid => 'ed'),
            jwk_oct($secret, kid => 'oct'),
            jwk('ES512', kid => 'enc', use => 'enc'),
        ),
        'rsa.pem' => $public_pem,
        secret => "$secret\n",
    });

mkdir $nginx->prefix . '/html';
$nginx->write_file("html/$_", "ok\n") for qw(all rsa secret rs256);


sub check {
    my ($where, $token, $expected, $name) = @_;

    my $response = $nginx->http('GET', "/$where",
        headers => [Authorization => "Bearer $token"]);
    my $got = $response
        ? "$response->{status} " . ($response->{headers}{'x-status'} // '')
        : 'no answer';

    is($got, $expected eq 'ok' ? '200 ok' : "401 $expected", $name);

    if ($response && $expected ne 'ok') {
        ok(!$response->{headers}{'x-sub'}, "$name: no claim can be read");
        like($response->{headers}{'www-authenticate'} // '',
            qr/^Bearer error="invalid_token", error_description="[^"\\]+"$/,
            "$name: said so");
    }
}

my $claims = { sub => 'alice' };


# Tokens that are good.

check('all', token('RS256', $claims, { kid => 'rsa' }), 'ok', 'RS256');
check('all', token('ES256', $claims, { kid => 'ec' }),  'ok', 'ES256');
check('all', token('ES384', $claims, {}), 'ok', 'ES384 without kid');
check('all', token('EdDSA', $claims, {}), 'ok', 'EdDSA');
check('all', hs256($secret, $claims, { kid => 'oct' }), 'ok', 'HS256');
check('rsa', token('PS512', $claims, {}, 'RS256'), 'ok', 'PS512');


# No signature, or another algorithm than the key's.

for my $none (qw(none None NONE nOnE)) {
    check('all', raw_token(qq({"alg":"$none"}), '{"sub":"alice"}', ''),
        'algorithm', "alg $none, no signature");
}

check('all', raw_token('{"alg":"none"}', '{"sub":"alice"}', 'x' x 64),
    'algorithm', 'alg none with a signature');
check('all', raw_token('{"alg":"HS256"}', '{"sub":"alice"}', ''),
    'signature', 'an empty signature');
check('all', raw_token('{}', '{"sub":"alice"}', 'x'), 'malformed', 'no alg');
check('all', raw_token('{"alg":["HS256"]}', '{}', 'x'), 'malformed',
    'alg is an array');
check('all', raw_token('{"alg":""}', '{}', 'x'), 'algorithm', 'alg empty');
check('all', raw_token('{"alg":"hs256"}', '{}', 'x'), 'algorithm',
    'alg in small letters');

for my $pem ($public_pem, $public_pem =~ s/\n$//r) {
    check('rsa', hs256($pem, $claims), 'algorithm',
        'the public key as an HMAC secret');
    check('all', hs256($pem, $claims, { kid => 'rsa' }), 'algorithm',
        'the same by kid');
}
check('all', token('RS384', $claims, { kid => 'rsa' }, 'RS256'),
    'algorithm', 'not the alg that the key states');
check('rs256', token('ES256', $claims, {}), 'algorithm',
    'not among gateway_jwt_algorithms');
check('all', token('ES512', $claims, { kid => 'enc' }), 'unknown-key',
    'a key that is for encryption');


# Keys that the token brings along, and kid.

for my $embedded (
    { jwk => $evil },
    { jku => 'http://127.0.0.1:1/jwks', kid => 'evil' },
    { x5u => 'http://127.0.0.1:1/cert', kid => 'evil' },
    { x5c => ['MIIB'] },
) {
    my ($what) = sort keys %$embedded;
    check('rsa', token('RS256', $claims, $embedded, 'evil'), 'signature',
        "its own $what");
}

for my $kid ('../../../../dev/null', "' OR 1=1 --", '/proc/self/environ', '',
    'rsa\u0000x', '*', 'RSA', 'rs' . 'a' x 5000)
{
    my $response = $nginx->http('GET', '/all', headers => [
        Authorization => 'Bearer ' . hs256('', $claims, { kid => $kid })]);
    is($response->{status}, 401, 'kid ' . substr $kid, 0, 20);
}

check('all', hs256("\0", $claims, { kid => 'none' }), 'unknown-key',
    'a kid that nobody has');
check('all', hs256($secret, $claims, '{"alg":"HS256","kid":1}'), 'malformed',
    'a kid that is a number');
check('all', hs256($secret, $claims, '{"alg":"HS256","kid":{"a":1}}'),
    'malformed', 'a kid that is an object');


# Signatures.

my $es = token('ES256', $claims, { kid => 'ec' });
my ($input) = $es =~ /^(.*)\./;

for my $size (64, 63, 65, 0, 1) {
    check('all', "$input." . base64url("\0" x $size), 'signature',
        "ECDSA: $size zero bytes");
}

my $order = pack 'H*',
    'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551';
check('all', "$input." . base64url($order x 2), 'signature',
    'ECDSA: the order of the curve');
check('all', "$input." . base64url("\0" x 31 . "\1" . "\0" x 31 . "\1"),
    'signature', 'ECDSA: r = s = 1');

my ($r, $s) = unpack 'a32a32',
    MIME::Base64::decode_base64($es =~ s/.*\.//r =~ tr{-_}{+/}r);
my $der = join '', map { "\x02" . chr(length $_) . $_ }
    map { s/^\0+//r =~ s/^(?=[\x80-\xff])/\0/r } $r, $s;
check('all', "$input." . base64url("\x30" . chr(length $der) . $der),
    'signature', 'ECDSA as DER');
check('all', "$input." . base64url($r . $s . "\0"), 'signature',
    'ECDSA with a byte more');

my $ed = token('EdDSA', $claims, { kid => 'ed' });
check('all', ($ed =~ s/\.[^.]*$//r) . '.' . base64url("\0" x 64),
    'signature', 'EdDSA: zeros');

my $hs = hs256($secret, $claims);
my ($h, $p, $sig) = split /\./, $hs;
check('secret', $hs, 'ok', 'HS256');
check('secret', "$h.$p." . substr($sig, 0, 20), 'signature', 'a part of it');
check('secret', "$h." . base64url('{"sub":"eve"}') . ".$sig", 'signature',
    'another payload');
check('secret', base64url('{"typ":"x","alg":"HS256"}') . ".$p.$sig",
    'signature', 'another header');


# One token has one text.

# 32 bytes are 43 characters, the last of which has two bits to spare

my $set = join '', 'A' .. 'Z', 'a' .. 'z', 0 .. 9, '-_';
my $last = index $set, substr $sig, -1;

for my $spare (1 .. 3) {
    check('secret', substr($hs, 0, -1) . substr($set, $last ^ $spare, 1),
        'malformed', 'spare bits of base64url');
}

check('secret', "$hs=", 'malformed', 'padding');
check('secret', "$h.$p.$sig.", 'malformed', 'a point at the end');
check('secret', "$h.$p.$sig.x", 'malformed', 'four parts');
check('secret', "$h.$p", 'malformed', 'two parts');
check('secret', "$h..$sig", 'malformed', 'no payload');
check('secret', "..", 'malformed', 'two points');
check('secret', "$h.$p+/.$sig", 'malformed', 'plain base64');
check('secret', "$h.$p\x01.$sig", 'malformed', 'a control character');
check('secret', "$h.$p\xff.$sig", 'malformed', 'a byte over 127');


# JSON of two minds. All of these are signed.

for my $test (
    ['{"sub":"alice","sub":"eve"}', 'a claim twice'],
    ['{"sub":"alice","\u0073ub":"eve"}', 'a claim twice, escaped'],
    ['["sub"]', 'an array'],
    ['"sub"', 'a string'],
    ['', 'nothing'],
    ['{"sub":"alice"', 'cut off'],
    ['{"sub":"alice"}x', 'something behind it'],
    ['{"sub":"alice",}', 'a comma too many'],
    ["{\"sub\":\"\xff\"}", 'no UTF-8'],
    ['{"sub":"\u0000"}', 'a zero'],
    ['{"sub":"\ud800"}', 'half a surrogate pair'],
    ['{"a":' . '[' x 5000 . ']' x 5000 . '}', 'nested 5,000 deep'],
    ['{"a":' . '[' x 33 . ']' x 33 . '}', 'nested 33 deep'],
    ['{"exp":"9999999999"}', 'exp is a string'],
    ['{"exp":null}', 'exp is null'],
    ['{"exp":99999999999999999999}', 'exp over 64 bits'],
    ['{"exp":1e400}', 'exp over a double'],
    ['{"exp":1e300}', 'exp over 64 bits, as a real'],
    ['{"nbf":true}', 'nbf is a boolean'],
    ['{"iat":{}}', 'iat is an object'],
    ['{"a":123456789012345678901234567890}', 'a number out of range'],
) {
    check('secret', hs256($secret, $test->[0]), 'malformed',
        "payload: $test->[1]");
}

for my $test (
    ['{"alg":"HS256","crit":["exp"]}', 'crit'],
    ['{"alg":"HS256","crit":[]}', 'crit, empty'],
    ['{"alg":"HS256","b64":false,"crit":["b64"]}', 'b64'],
    ['{"alg":"HS256","b64":false}', 'b64 without crit'],
    ['{"alg":"none","alg":"HS256"}', 'alg twice'],
    ['{"alg":"HS256","x":' . '[' x 5000 . ']' x 5000 . '}', 'nested'],
    ['[]', 'an array'],
    ['', 'nothing'],
) {
    check('secret', hs256($secret, $claims, $test->[0]), 'malformed',
        "header: $test->[1]");
}


# Time.

my $now = time;
check('secret', hs256($secret, { exp => $now + 60, nbf => $now - 60 }), 'ok',
    'within its time');
check('secret', hs256($secret, { exp => $now - 1 }), 'expired', 'exp');
check('secret', hs256($secret, { exp => 0 }), 'expired', 'exp 0');
check('secret', hs256($secret, '{"exp":-1}'), 'expired', 'exp -1');
check('secret', hs256($secret, '{"exp":1e3}'), 'expired', 'exp 1e3');
check('secret', hs256($secret, { nbf => $now + 60 }), 'early', 'nbf');
check('secret', hs256($secret, { exp => 9007199254740993 }), 'ok', 'exp large');


my $brief = hs256($secret, { exp => $now + 3 });
check('secret', $brief, 'ok', 'for three seconds') for 1 .. 4;
GatewayProcess::wait_for(5, sub { time > $now + 3 });
check('secret', $brief, 'expired', 'also if it was remembered') for 1 .. 4;


# Size.

check('secret', hs256($secret, { sub => 'a', x => 'y' x 4000 }), 'ok',
    'a token of 5 KB');

check('secret', hs256($secret, { x => 'y' x 20000 }), 'malformed',
    'a token of 27 KB');

unlike($nginx->error_log, qr/\Q$sig\E/, 'no token in the error log');

$nginx->stop;
done_testing;
