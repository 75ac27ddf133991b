#!/usr/bin/perl

# gateway_cache where time, an upstream that fails, or other features matter.

use strict;
use warnings;

use File::Temp ();
use Test::More;
use Time::HiRes qw(sleep);

use GatewayJWT;
use GatewayNginx;
use GatewayOrigin;
use GatewayProcess;
use GatewaySocket;

my $BIG = join '', map { chr(33 + $_ * $_ % 90) } 1 .. 150_000;

# what the origin is told to do
my $mode_file = File::Temp->new->filename;

sub mode {
    GatewayProcess::spew("$mode_file.new", $_[0]);
    rename "$mode_file.new", $mode_file or die "rename: $!\n";
}

mode('good');

my $origin = GatewayOrigin->new(
    handler => sub {
        my ($uri, $head) = @_;

        my $mode = GatewayProcess::slurp($mode_file);
        return ('503 Service Unavailable', [], 'down') if $mode eq 'down';
        return ('200 OK', [], 'late', 3) if $mode eq 'late';

        my @cc = map { tr/+/ /r } $uri =~ /[?&]cc=([^&]*)/g;
        my @lines = map {"Cache-Control: $_"} @cc;
        push @lines, 'ETag: "v1"' if $uri =~ /etag/;
        push @lines, 'Vary: X-Kind' if $uri =~ /vary/;

        # fresh for longer from then on
        return ('304 Not Modified',
            [map({ s/max-age=1\b/max-age=60/r } @lines), 'X-New: 1'], '')
            if $head =~ /^If-None-Match: "v1"\r$/mi;

        my ($kind) = $head =~ /^X-Kind: (\S+)\r$/mi;
        return ('200 OK', \@lines, $BIG) if $uri =~ /big/;
        return ('200 OK', \@lines, ($kind // 'sub') . ' ' . $mode);
    }
);

my $port = $origin->port;

# one answer for all, as each protocol wants it
my $cgi = "Status: 200 OK\r\nCache-Control: max-age=60\r\n"
    . "Content-Type: text/plain\r\n\r\nby CGI";

my $uwsgi_origin = GatewayOrigin->new(
    children => 2,
    raw      => sub { $cgi },
);
my $fastcgi_origin = GatewayOrigin->new(
    children => 2,
    raw      => sub {
        return pack('CCnnCxa*', 1, 6, 1, length $cgi, 0, $cgi)
            . pack('CCnnCx', 1, 6, 1, 0, 0)
            . pack('CCnnCxNCx3', 1, 3, 1, 8, 0, 0, 0);
    },
);
my ($uwsgi, $fastcgi) = map { $_->port } $uwsgi_origin, $fastcgi_origin;

my $nginx = GatewayNginx->new(
    workers => 2,
    http    => "gateway_cache_zone c:2m;\ngateway_channel_zone ch:1m;\n"
        . "gateway_jwt_keys k secret_file=key;\n"
        . 'add_header X-Cache $gateway_cache_status always;'
        . "upstream b { server 127.0.0.1:$port;\n"
        . "gateway_breaker zone=b:1m failures=1 open=60s; }",
    files  => { 'conf/key' => 'secret-secret-secret-secret-1234' },
    config => <<"END");
        gateway_cache c;
        proxy_read_timeout 1s;
        location / { proxy_pass http://127.0.0.1:$port; }
        location /on/ {
            gateway_cache_stale error timeout http_503;
            proxy_pass http://127.0.0.1:$port;
            error_page 502 503 504 /error;
        }
        location /dead/ {
            gateway_cache_stale error;
            set \$to 127.0.0.1:\$arg_port;
            gateway_cache_key \$uri;
            proxy_pass http://\$to;
        }
        location /breaker/ {
            gateway_breaker_fallback stale 503;
            gateway_cache_stale breaker;
            proxy_pass http://b;
        }
        location /breaker/on/ {
            gateway_cache_stale breaker;
            proxy_pass http://b;
        }
        location /fallback/ {
            proxy_intercept_errors on;
            proxy_pass http://127.0.0.1:$port;
            error_page 503 304 = \@other;
        }
        location \@other {
            proxy_pass http://127.0.0.1:$port/other\$request_uri;
        }
        location /uwsgi/ { uwsgi_pass 127.0.0.1:$uwsgi; }
        location /fastcgi/ { fastcgi_pass 127.0.0.1:$fastcgi; }
        location /jwt/ {
            gateway_jwt k;
            gateway_jwt_token query=t;
            gateway_cache_key \$uri;
            proxy_pass http://127.0.0.1:$port;
        }
        location /updating/ {
            gateway_cache_stale updating;
            proxy_pass http://127.0.0.1:$port;
        }
        location /filters/ {
            gzip on;
            gzip_min_length 1;
            gzip_types *;
            sub_filter_types *;
            sub_filter sub SUB;
            proxy_pass http://127.0.0.1:$port;
        }
        location /small/ {
            proxy_buffers 2 4k;
            proxy_buffer_size 4k;
            proxy_busy_buffers_size 4k;
            limit_rate 60k;
            proxy_pass http://127.0.0.1:$port;
        }
        location /direct/ {
            proxy_buffering off;
            proxy_pass http://127.0.0.1:$port;
        }
        location = /error { return 200 error; }
        location /purge { gateway_cache_purge c; }
        location /pub { gateway_publisher ch; }
        location /ws {
            gateway_subscriber ch;
            gateway_subscribe_allow cache:*;
            gateway_publish_allow cache:\$arg_may;
        }
END

sub get {
    my ($uri, %args) = @_;

    my $response = $nginx->http($args{method} || 'GET', $uri, timeout => 10,
        headers => $args{headers} || []);
    ok($response, "$uri is answered") or return {};

    my ($status, $cache) = @args{qw(status cache)};
    is($response->{status}, $status, "  with $status") if $status;
    is($response->{headers}{'x-cache'}, $cache, "  as $cache") if $cache;
    is($response->{body}, $args{body}, '  with the right body')
        if defined $args{body};

    return $response;
}

# what becomes stale after a second; all at once, to wait once
my %stale = (
    etag     => '/etag?cc=max-age=1',
    plain    => '/plain?cc=max-age=1',
    on       => '/on/a?cc=max-age=1',
    must     => '/on/must?cc=max-age=1,must-revalidate',
    sie      => '/sie?cc=max-age=1,stale-if-error=60',
    swr      => '/swr?cc=max-age=1,stale-while-revalidate=60',
    updating => '/updating/a?cc=max-age=1',
    range    => '/etag/big?cc=max-age=1',
    breaker  => '/breaker/a?cc=max-age=1',
    opened   => '/breaker/on/a?cc=max-age=1',
    must2    => '/breaker/must?cc=max-age=1,must-revalidate',
    dead     => "/dead/a?port=$port&cc=max-age=1",
);

get($stale{$_}, cache => 'MISS') for sort keys %stale;
sleep 2.1;

my $response = get($stale{etag}, cache => 'REVALIDATED', body => 'sub good');
is($response->{headers}{'x-new'}, 1, 'a 304 updates the header');
$response = get($stale{etag}, cache => 'HIT', body => 'sub good');
is($response->{headers}{'x-new'}, 1, 'for good');

get($stale{range}, status => 206, cache => 'REVALIDATED',
    headers => [Range => 'bytes=10-19'], body => substr $BIG, 10, 10);

get($stale{swr}, cache => 'UPDATING');
ok(GatewayProcess::wait_for(5, sub { $origin->requests($stale{swr}) == 2 }),
    'it is fetched in the background');
ok(GatewayProcess::wait_for(5, sub {
    my $r = $nginx->http('GET', $stale{swr});
    $r->{headers}{'x-cache'} eq 'HIT' || $r->{headers}{age} < 1;
}), 'and stored');

get($stale{updating}, cache => 'UPDATING');

mode('down');
get($stale{on}, status => 200, cache => 'STALE', body => 'sub good');
get($stale{sie}, status => 200, cache => 'STALE', body => 'sub good');
get($stale{plain}, status => 503, body => 'down');
get($stale{must}, status => 503, cache => 'MISS');

get('/breaker/opens', status => 503, body => 'down');
get($stale{breaker}, status => 200, cache => 'STALE', body => 'sub good');
get($stale{opened}, status => 200, cache => 'STALE', body => 'sub good');
get($stale{must2}, status => 503, cache => 'MISS');
get('/breaker/b', status => 503, cache => 'MISS');
is($origin->requests($stale{breaker}), 1,
    'an open breaker lets nothing through');

mode('late');
get($stale{on}, status => 200, cache => 'STALE', body => 'sub good');
mode('good');

my $free = GatewayProcess::free_port();
get("/dead/a?port=$free", status => 200, cache => 'STALE',
    body => 'sub good');
get("/dead/b?port=$free", status => 502);


# --- conditions and ranges

my $etag = '/a/etag?cc=max-age=60';
get($etag, status => 304, cache => 'MISS', body => '',
    headers => ['If-None-Match' => '"v1"']);
is($origin->requests($etag), 1, 'the whole was fetched');
get($etag, status => 200, cache => 'HIT', body => 'sub good');
get($etag, status => 304, cache => 'HIT', body => '',
    headers => ['If-None-Match' => 'W/"v1"']);
get($etag, status => 200, cache => 'HIT',
    headers => ['If-None-Match' => '"v2"']);

my $big = '/big?cc=max-age=60';
get($big, status => 206, cache => 'MISS', body => substr($BIG, 100, 50_001),
    headers => [Range => 'bytes=100-50100']);
get($big, status => 200, cache => 'HIT', body => $BIG);
get($big, status => 206, cache => 'HIT', body => substr($BIG, -5),
    headers => [Range => 'bytes=-5']);
get($big, status => 416, headers => [Range => 'bytes=200000-']);
get($big, status => 200, headers => [Range => 'lines=1-2'], body => $BIG);
get($big, method => 'HEAD', status => 200, cache => 'HIT', body => '');
get('/oic', status => 504, headers => ['Cache-Control' => 'only-if-cached']);


# --- Vary

my $vary = '/vary?cc=max-age=60';
get($vary, cache => 'MISS', body => 'a good', headers => ['X-Kind' => 'a']);
get($vary, cache => 'MISS', body => 'b good', headers => ['X-Kind' => 'b']);
get($vary, cache => 'HIT', body => 'a good', headers => ['X-Kind' => 'a']);
get($vary, cache => 'HIT', body => 'b good', headers => ['X-Kind' => 'b']);
is($origin->requests($vary), 2, 'each variant is fetched once');


# --- filters, buffers

my $filters = '/filters/a?cc=max-age=60';
get($filters, cache => 'MISS', body => 'SUB good');
get($filters, cache => 'HIT', body => 'SUB good');
$response = get($filters, cache => 'HIT',
    headers => ['Accept-Encoding' => 'gzip']);
is($response->{headers}{'content-encoding'}, 'gzip', 'hits are compressed');
get($filters, cache => 'HIT', body => 'SUB good');

for my $kind (qw(small direct)) {
    my $uri = "/$kind/big?cc=max-age=60";
    get($uri, cache => 'MISS', body => $BIG);
    get($uri, cache => 'HIT', body => $BIG);
}


# --- other protocols, tokens, redirects

for my $kind (qw(uwsgi fastcgi)) {
    get("/$kind/a", cache => 'MISS', body => 'by CGI');
    $response = get("/$kind/a", cache => 'HIT', body => 'by CGI');
    is($response->{headers}{'content-type'}, 'text/plain', '  of its type');
}

my $token = GatewayJWT::hs256('secret-secret-secret-secret-1234',
    { sub => 'a' });

get("/jwt/a?cc=max-age=60&t=$token", cache => 'MISS');
get("/jwt/a?cc=max-age=60&t=$token", cache => 'MISS');
get("/jwt/b?cc=max-age=60,public&t=$token", cache => 'MISS');
get("/jwt/b?cc=max-age=60,public&t=$token", cache => 'HIT');
get('/jwt/b?cc=max-age=60,public', status => 401);

my $fallback = '/fallback/etag?cc=max-age=0';
get($fallback, cache => 'MISS');
$response = get($fallback, status => 200, body => 'sub good');
like($response->{headers}{'cache-status'}, qr/fwd=stale/,
    'another location answers, without our conditions');


# --- purge is told to subscribers

get($vary, cache => 'HIT', headers => ['X-Kind' => 'b']);
$response = $nginx->http('POST', '/purge', body => '{"pattern":"*vary*"}');
is($response->{body}, '{"purged":2}', 'both variants are purged');
get($vary, cache => 'MISS', headers => ['X-Kind' => 'b']);

$response = $nginx->http('GET', '/pub?channel=cache:invalidate&since=0');
like($response->{body},
    qr/"type":"cache:invalidate","payload":\{"pattern":"\*vary\*"\}/,
    'the channel cache:invalidate has it');

# and clients may purge, where they may publish there

my $ws = $nginx->client(subprotocols => ['v1'],
    path => '/ws?channel=cache:invalidate&may=invalidate');
$ws->recv_type('subscribed');
get($vary, cache => 'HIT', headers => ['X-Kind' => 'b']);
$ws->send_text('{"type":"cache:invalidate","payload":{"pattern":"*vary*"}}');
my $told = $ws->recv_type('cache:invalidate');
is($told && $told->{payload}{pattern}, '*vary*', 'a client purges');
get($vary, cache => 'MISS', headers => ['X-Kind' => 'b']);

$ws->send_text('{"type":"cache:invalidate","payload":{"keys":[]}}');
$told = $ws->recv_type('error');
is($told && $told->{payload}{code}, 'bad-message', 'which names something');
$ws->close;

$ws = $nginx->client(subprotocols => ['v1'], path => '/ws?may=other');
$ws->recv_type('connection:established');
$ws->send_text('{"type":"cache:invalidate","payload":{"pattern":"*"}}');
$told = $ws->recv_type('error');
is($told && $told->{payload}{code}, 'forbidden', 'and is allowed to');
get($vary, cache => 'HIT', headers => ['X-Kind' => 'b']);
$ws->close;

$nginx->stop;
$_->stop for $origin, $uwsgi_origin, $fastcgi_origin;
unlink $mode_file;

done_testing();
