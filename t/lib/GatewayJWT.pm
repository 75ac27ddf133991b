package GatewayJWT;

# Makes keys and tokens for tests. HMAC needs nothing but Perl; the other
# algorithms are signed by the openssl command, with keys made when they are
# first asked for.
#
#   hs256($secret, {sub => 'alice', exp => time + 60})
#   token('ES256', {sub => 'alice'}, {kid => 'a'})      # key "ES256"
#   token('RS256', {sub => 'alice'}, {}, 'other')       # key "other"
#   jwks(jwk('ES256', kid => 'a'), jwk_oct($secret, kid => 'b'))
#   raw_token($header_text, $payload_text, $signature)  # anything at all
#
# A payload is a hash or a text, which is signed as it is.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256 hmac_sha384 hmac_sha512);
use Exporter 'import';
use File::Temp qw(tempdir);
use JSON::PP ();
use MIME::Base64 ();

our @EXPORT = qw(
    base64url hs256 token raw_token sign jwk jwk_oct jwks public_pem key_file
    certificate_pem
);

my $JSON = JSON::PP->new->canonical->latin1;
my $dir;
my %key_file;

my %HMAC = (
    HS256 => \&hmac_sha256, HS384 => \&hmac_sha384, HS512 => \&hmac_sha512,
);

my %KIND = (
    RS => ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
    PS => ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
    ES256 => ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
    ES384 => ['EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
    ES512 => ['EC', '-pkeyopt', 'ec_paramgen_curve:P-521'],
    EdDSA => ['ED25519'],
);

# bytes of a coordinate
my %SIZE = (ES256 => 32, ES384 => 48, ES512 => 66);


sub base64url {
    my $text = MIME::Base64::encode_base64($_[0], '');

    $text =~ tr{+/}{-_};
    $text =~ s/=+$//;

    return $text;
}


sub _run {
    my (@command) = @_;

    open my $pipe, '-|', @command or die "$command[0]: $!";
    binmode $pipe;
    my $output = do { local $/; <$pipe> };
    close $pipe or die "failed: @command";

    return $output;
}


sub _spew {
    my ($name, $text) = @_;

    $dir ||= tempdir(CLEANUP => 1);
    open my $fh, '>:raw', "$dir/$name" or die "$dir/$name: $!";
    print $fh $text;
    close $fh;

    return "$dir/$name";
}


# The private key of that name, made for this algorithm, as a PEM file.
sub key_file {
    my ($alg, $name) = @_;

    $dir ||= tempdir(CLEANUP => 1);
    $name = $alg unless defined $name;

    return $key_file{$name} ||= do {
        my $kind = $KIND{$alg} || $KIND{ substr $alg, 0, 2 };
        my $path = "$dir/key-$name.pem";

        _run('sh', '-c', 'exec openssl genpkey "$@" 2>/dev/null', 'sh',
            '-algorithm', @$kind, '-out', $path);
        $path;
    };
}


sub public_pem {
    my ($alg, $name) = @_;
    return _run(qw(openssl pkey -pubout -in), key_file($alg, $name));
}


sub certificate_pem {
    my ($alg, $name) = @_;
    return _run(qw(openssl req -x509 -new -days 30 -subj /CN=test -key),
        key_file($alg, $name));
}


sub jwk_oct {
    my ($secret, %more) = @_;
    return { kty => 'oct', k => base64url($secret), %more };
}


# The public key as a JWK; `name` for another than that of the algorithm.
sub jwk {
    my ($alg, %more) = @_;

    my $file = key_file($alg, delete $more{name});
    my $der = _run(qw(openssl pkey -pubout -outform DER -in), $file);

    if ($alg =~ /^ES/) {
        my $n = $SIZE{$alg};

        return {
            kty => 'EC',
            crv => { ES256 => 'P-256', ES384 => 'P-384', ES512 => 'P-521' }->{$alg},
            x => base64url(substr $der, -2 * $n, $n),
            y => base64url(substr $der, -$n), %more
        };
    }

    if ($alg eq 'EdDSA') {
        return { kty => 'OKP', crv => 'Ed25519',
            x => base64url(substr $der, -32), %more };
    }

    my ($n) = _run(qw(openssl rsa -noout -modulus -in), $file) =~ /=(\w+)/;

    return { kty => 'RSA', n => base64url(pack 'H*', $n), e => 'AQAB', %more };
}


sub jwks { return $JSON->encode({ keys => [@_] }) }


# DER of two integers to two numbers of fixed length.
sub _raw_ecdsa {
    my ($der, $size) = @_;

    my ($body) = $der =~ /^\x30(?:\x81.|.)(.*)$/s;
    my $out = '';

    for (1 .. 2) {
        my $len = ord substr $body, 1, 1;
        my $n = substr $body, 2, $len;

        $body = substr $body, 2 + $len;
        $n =~ s/^\0+//;
        $out .= "\0" x ($size - length $n) . $n;
    }

    return $out;
}


# The signature's bytes. HS*: key is the secret; else a key's name.
sub sign {
    my ($alg, $input, $key) = @_;

    return $HMAC{$alg}->($input, $key) if $HMAC{$alg};

    my $file = key_file($alg, $key);
    my $data = _spew('input', $input);

    if ($alg eq 'EdDSA') {
        return _run(qw(openssl pkeyutl -sign -rawin -inkey), $file,
            '-in', $data);
    }

    my ($bits) = $alg =~ /(\d+)/;
    my @pss = $alg =~ /^PS/
        ? qw(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest)
        : ();
    my $signature = _run('openssl', 'dgst', "-sha$bits", '-sign', $file,
        @pss, $data);

    return $alg =~ /^ES/ ? _raw_ecdsa($signature, $SIZE{$alg}) : $signature;
}


sub raw_token {
    my ($header, $payload, $signature) = @_;
    return join '.', map { base64url($_) } $header, $payload, $signature;
}


sub token {
    my ($alg, $payload, $header, $key) = @_;

    $payload = $JSON->encode($payload) if ref $payload;
    $header = $JSON->encode({ alg => $alg, typ => 'JWT', %{ $header || {} } })
        if !defined $header || ref $header;

    my $input = base64url($header) . '.' . base64url($payload);

    return "$input." . base64url(sign($alg, $input, $key));
}


sub hs256 {
    my ($secret, $payload, $header) = @_;
    return token('HS256', $payload, $header, $secret);
}

1;
