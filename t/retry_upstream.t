#!/usr/bin/perl

# gateway_retry against upstreams that fail: how often, when and with what
# each attempt reaches them, and what the client gets.

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use GatewayNginx;
use GatewayProcess;
use GatewayUpstream;

my $upstream = GatewayUpstream->new(ports => 3);
my ($one, $two, $three) = map { $upstream->port($_) } 0 .. 2;
my $dead = GatewayProcess::free_port();

my $nginx = GatewayNginx->new(
    workers => 1,
    tls     => 1,
    http    => <<"END",
        log_format retry '\$uri \$arg_id \$status a=\$gateway_retry_attempts '
                         'addr=\$upstream_addr s=\$upstream_status';
        access_log %PREFIX%/logs/retry.log retry;
        proxy_cache_path %PREFIX%/cache keys_zone=c:1m;
        proxy_connect_timeout 5s;

        upstream single { server 127.0.0.1:$one; }
        upstream pool { server 127.0.0.1:$one; server 127.0.0.1:$two; }
        upstream shared { zone shared 64k; server 127.0.0.1:$one;
                          server 127.0.0.1:$two; server 127.0.0.1:$dead down;
                          server 127.0.0.1:$three backup; }
        upstream worn { server 127.0.0.1:$one; server 127.0.0.1:$two; }
        upstream keep { server 127.0.0.1:$one; keepalive 4; }
        upstream mixed { server 127.0.0.1:$dead; server 127.0.0.1:$two; }
        upstream refused { server 127.0.0.1:$dead; }
        upstream hashed { hash \$arg_id consistent;
                          server 127.0.0.1:$one; server 127.0.0.1:$two;
                          server 127.0.0.1:$three; }
        upstream least { least_conn; server 127.0.0.1:$one max_fails=0;
                         server 127.0.0.1:$two max_fails=0; }

        # the shares are those that the tests below need
        gateway_retry attempts=3 backoff=10ms budget=1000%;

        server {
            listen 127.0.0.1:%PORT:grpc% http2;
            access_log %PREFIX%/logs/grpc.log;
            location / { return 503 "\$request_id"; }
        }
END
    config => <<"END");
        listen 127.0.0.1:%PORT:h2% http2;
        location /single { proxy_pass http://single; }
        location /impatient {
            proxy_read_timeout 300ms;
            proxy_pass http://single;
        }
        location /host { proxy_pass http://127.0.0.1:$one; }
        location /pool { proxy_pass http://pool; }
        location /shared { proxy_pass http://shared; }
        location /tls { proxy_pass https://127.0.0.1:%TLS_PORT%/teapot; }
        location /teapot {
            access_log %PREFIX%/logs/tls.log;
            return 503 "\$ssl_session_reused";
        }
        location /asked {
            auth_request /auth;
            proxy_pass http://127.0.0.1:$one/well;
        }
        location /auth {
            internal;
            proxy_pass http://single\$request_uri;
        }
        location /stale {
            gateway_retry attempts=2 backoff=20ms budget=1000%;
            proxy_cache c;
            proxy_cache_key \$uri;
            proxy_cache_valid 200 1s;
            proxy_cache_use_stale error http_503;
            proxy_ignore_headers Cache-Control;
            proxy_pass http://single;
        }
        location /worn { proxy_pass http://worn; }
        location /fastcgi {
            fastcgi_param REQUEST_URI \$request_uri;
            fastcgi_param END "";
            fastcgi_pass single;
        }
        location /uwsgi {
            uwsgi_param REQUEST_URI \$request_uri;
            uwsgi_pass single;
        }
        location /grpc { grpc_pass 127.0.0.1:%PORT:grpc%; }
        location /mixed { proxy_pass http://mixed; }
        location /refused { proxy_pass http://refused; }
        location /hashed { proxy_pass http://hashed; }
        location /least { proxy_pass http://least; }
        location /named { set \$where single; proxy_pass http://\$where; }
        location /keep {
            proxy_pass http://keep;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
        location /off {
            proxy_next_upstream off;
            proxy_next_upstream_tries 1;
            proxy_pass http://single;
        }
        location /once {
            gateway_retry attempts=1;
            proxy_next_upstream error timeout http_503;
            proxy_pass http://least;
        }
        location /all {
            gateway_retry attempts=3 backoff=0 budget=1000% non_idempotent
                on=error,timeout,invalid_header,http_500,http_404,http_429;
            proxy_pass http://single;
        }
        location /unbuffered {
            gateway_retry attempts=3 backoff=0 budget=1000% non_idempotent;
            proxy_request_buffering off;
            proxy_pass http://single;
        }
        location /unbuffered_refused {
            gateway_retry attempts=3 backoff=20ms budget=1000% non_idempotent;
            proxy_request_buffering off;
            proxy_pass http://refused;
        }
        location /slow {
            gateway_retry attempts=4 backoff=200ms max=450ms jitter=0%
                budget=1000%;
            proxy_pass http://single;
        }
        location /long {
            gateway_retry attempts=3 backoff=20s max=30s budget=1000%;
            proxy_pass http://single;
        }
        location /after {
            gateway_retry attempts=2 backoff=1ms max=3s budget=1000%;
            proxy_pass http://single;
        }
        location /capped {
            gateway_retry attempts=2 backoff=1ms max=300ms budget=1000%;
            proxy_pass http://single;
        }
        location /budget {
            gateway_retry attempts=2 backoff=0;
            proxy_pass http://single;
        }
        location /own {
            gateway_retry attempts=2 backoff=10ms budget=1000%;
            proxy_intercept_errors on;
            error_page 503 =200 \@page;
            proxy_pass http://single;
        }
        location \@page { return 200 "page \$gateway_retry_attempts"; }
        location /none { return 200 "none [\$gateway_retry_attempts]"; }
        location /show {
            add_header X-Attempts \$gateway_retry_attempts always;
            add_header X-Status \$upstream_status always;
            add_header X-Addr \$upstream_addr always;
            proxy_pass http://single;
        }
        location /status { gateway_status; }
END

my $id = 'a0';


# A request with a script; the answer, and what reached the upstream.
sub ask {
    my ($where, $do, %args) = @_;

    my $name = ++$id;
    my $answer = $nginx->http(delete $args{method} || 'GET',
        "/$where?id=$name&do=$do", %args) || { status => 'none' };

    return ($answer, [$upstream->log($name)]);
}


# Tests status and number of attempts.
sub gives {
    my ($where, $do, $status, $attempts, %args) = @_;

    my $name = delete $args{name} || "/$where, $do";
    my ($answer, $log) = ask($where, $do, %args);

    is($answer->{status}, $status, "$name: $status");
    is(scalar @$log, $attempts, "$name: $attempts attempts");

    return ($answer, $log);
}


# each kind of failure, at a single server
gives('single', '200', 200, 1);
gives('single', '503,200', 200, 2);
gives('single', '502,504,200', 200, 3);
gives('single', 'reset,end,200', 200, 3);
gives('impatient', 'hang,503,200', 200, 3);
gives('impatient', 'hang', 504, 3);
gives('single', 'reset', 502, 3);
gives('host', '503,reset,200', 200, 3);
gives('named', '503,reset,200', 200, 3);
gives('refused', '200', 502, 0);

# what is not among the causes is passed on
gives('single', '500', 500, 1);
gives('single', '404', 404, 1);
gives('single', '429', 429, 1);
gives('single', 'garbage', 502, 1);
gives('all', '500,404,200', 200, 3);
gives('all', '429,garbage,200', 200, 3);
gives('all', 'garbage', 502, 3);
gives('all', '503', 503, 1);

# the last attempt's own answer
{
    my ($answer) = gives('single', '502,504,503', 503, 3);
    is($answer->{body}, "port $one request 3\n", 'the last has its body');
}

# proxy_next_upstream does nothing, in either direction
gives('off', '503,503,200', 200, 3);
gives('once', '503', 503, 1);
gives('once', 'reset', 502, 1);

# several servers: the others first, the same again where there is no other
{
    my ($answer, $log) = gives('pool', '503,200', 200, 2);
    isnt($log->[0]{port}, $log->[1]{port}, 'another server is next');

    ($answer, $log) = gives('worn', '503', 503, 3);
    is($answer->{body}, "port $log->[2]{port} request 3\n",
        'the last answer, also where max_fails has taken all out');

    gives('least', '503', 503, 3);
    gives('hashed', '503,503,200', 200, 3);
    gives('mixed', '200', 200, 1);
}

# servers in shared memory, one of them as a backup, one down
{
    my ($answer, $log) = gives('shared', '503,503,200', 200, 3);
    is($log->[2]{port}, $three, 'the backup after the others');
}

# TLS to the upstream
{
    my ($answer) = ask('tls', '');
    is($answer->{status}, 503, 'TLS: 503');
    my @log = split /\n/,
        GatewayProcess::slurp($nginx->prefix . '/logs/tls.log');
    is(scalar @log, 3, 'TLS: 3 attempts');
    is($answer->{body}, 'r', 'TLS: the session is used again');
}

# a subrequest
gives('asked', '503,reset,200', 200, 4, name => 'a subrequest, three times');
gives('asked', '503', 500, 3, name => 'a subrequest that fails');

# nginx's cache: a stale response once no attempt is left
{
    gives('stale', '200', 200, 1);
    sleep 2.1;
    my ($answer, $log) = gives('stale', '503', 200, 2);
    like($answer->{body}, qr/request 1$/, 'the cached one');
    ($answer, $log) = gives('stale', 'reset', 200, 2);
    like($answer->{body}, qr/request 1$/, 'the cached one');
    gives('stale', '503,200', 200, 2);
    is((ask('stale', '503'))[0]{status}, 200, 'from the cache');
}

# other protocols
gives($_, '503,200', 200, 2) for qw(fastcgi uwsgi);
gives($_, '503', 503, 3) for qw(fastcgi uwsgi);
gives($_, 'reset,200', 200, 2) for qw(fastcgi uwsgi);

{
    my ($answer) = ask('grpc', '');
    is($answer->{status}, 503, 'grpc: 503');
    my @log = split /\n/,
        GatewayProcess::slurp($nginx->prefix . '/logs/grpc.log');
    is(scalar @log, 3, 'grpc: 3 attempts');
}

# HTTP/2 in front
{
    my $name = ++$id;
    my $h2 = $nginx->port_named('h2');
    my $body = `curl -s --http2-prior-knowledge --max-time 20 \\
        'http://127.0.0.1:$h2/single?id=$name&do=503,reset,200'`;
    is($body, "port $one request 3\n", 'over HTTP/2');
    is(scalar(my @log = $upstream->log($name)), 3, 'three attempts');

    $name = ++$id;
    system "curl -s --http2-prior-knowledge --max-time 0.5 -o /dev/null \\
        'http://127.0.0.1:$h2/long?id=$name&do=503'";
    ok(
        GatewayProcess::wait_for(
            5,
            sub {
                GatewayProcess::slurp($nginx->prefix . '/logs/retry.log')
                    =~ m{^/long $name 499 a=1}m;
            }
        ),
        'a stream that ends while it waits'
    );
}

# methods and bodies
gives('single', 'reset,200', 502, 1, method => 'POST', body => 'x');
gives('single', '503,200', 503, 1, method => 'POST', body => 'x');
gives('single', '503,200', 503, 1, method => 'PATCH', body => 'x');
gives('single', '503,200', 200, 2, method => 'PUT', body => 'x');
gives('all', 'reset,200', 200, 2, method => 'POST', body => 'x');

for my $size (10, 70_000, 400_000) {
    my $body = join '', map { chr(65 + $_ * $_ % 57) } 1 .. $size;
    my ($answer, $log) = gives('all', 'reset,500,200', 200, 3,
        method => 'POST', body => $body, name => "POST of $size bytes");
    is(scalar(grep { $_->{md5} eq md5_hex($body) } @$log), 3,
        "all of the $size bytes each time");
}

gives('unbuffered', '503,200', 503, 1, method => 'PUT', body => 'x' x 300_000);
gives('unbuffered', '200', 200, 1, method => 'PUT', body => 'x' x 300_000);

# what was not sent can be repeated, also if it is POST or not buffered
for my $where (qw(refused unbuffered_refused)) {
    my ($answer) = ask($where, '200', method => 'POST', body => 'x');
    is($answer->{status}, 502, "/$where: 502");
    my $name = $id;
    like(
        GatewayProcess::wait_for(5, sub {
            (grep {/ $name /} split /\n/,
                GatewayProcess::slurp($nginx->prefix . '/logs/retry.log'))[0]
        }),
        qr/ a=3 addr=127.0.0.1:$dead, 127.0.0.1:$dead, 127.0.0.1:$dead s=/,
        "/$where: three attempts"
    );
}

# the times between
{
    my ($answer, $log) = gives('slow', '503', 503, 4);
    my @pause = map { $log->[$_]{time} - $log->[$_ - 1]{time} } 1 .. 3;

    cmp_ok($pause[0], '>=', 0.195, 'first the backoff');
    cmp_ok($pause[1], '>=', 0.395, 'then twice that');
    cmp_ok($pause[2], '>=', 0.445, 'then max');

    ($answer, $log) = gives('after', '503:1,200', 200, 2);
    cmp_ok($log->[1]{time} - $log->[0]{time}, '>=', 0.99,
        'Retry-After is obeyed');

    my $until = int(time()) + 2;
    my $date = POSIX::strftime('%a%%2C%%20%d%%20%b%%20%Y%%20%T%%20GMT',
        gmtime $until);
    ($answer, $log) = gives('after', "503:$date,200", 200, 2,
        name => 'Retry-After with a date');
    cmp_ok($log->[1]{time}, '>=', $until - 0.1, 'is obeyed, too');

    ($answer, $log) = gives('capped', '503:3600,200', 200, 2);
    cmp_ok($log->[1]{time} - $log->[0]{time}, '>=', 0.29,
        'a long one up to max');

    for my $bad ('', '-1', 'soon', '9' x 400, '%ff%ff',
        'Fri%2C%2099%20Xyz') {
        ($answer, $log) = gives('capped', "503:$bad,200", 200, 2,
            name => 'Retry-After of ' . substr $bad, 0, 9);
    }
}

# variables and the log
{
    my ($answer) = ask('show', '503,503,200');
    is($answer->{headers}{'x-attempts'}, 3, '$gateway_retry_attempts');
    is($answer->{headers}{'x-status'}, '503, 503, 200', '$upstream_status');
    is($answer->{headers}{'x-addr'},
        join(', ', ("127.0.0.1:$one") x 3), '$upstream_addr');

    ($answer) = ask('show', '200');
    is($answer->{headers}{'x-attempts'}, 1, 'one without a retry');

    is($nginx->http('GET', '/none')->{body}, 'none []',
        'none where nothing is passed on');
    is((ask('own', '503'))[0]{body}, 'page 2', 'known to an error page');

    like($nginx->error_log,
        qr/\[info\].*gateway_retry: attempt 2 of 3 in \d+ ms, after "http_503" of "127.0.0.1:$one"/,
        'a line for each');
    like($nginx->error_log, qr/gateway_retry: .* after "timeout" of /,
        'time-outs are told from errors');
}

# a keep-alive connection is used again, and counts as any other
{
    my ($answer, $log) = gives('keep', '200', 200, 1);
    my $connection = $log->[0]{connection};

    ($answer, $log) = gives('keep', '503,503,200', 200, 3);
    is($log->[0]{connection}, $connection, 'the connection is used again');

    ($answer, $log) = gives('keep', 'reset', 502, 3);
    ($answer, $log) = gives('keep', '200', 200, 1);
    $connection = $log->[0]{connection};
    ($answer, $log) = gives('keep', 'reset,200', 200, 2);
    is($log->[0]{connection}, $connection, 'also the one that breaks');
}

# a client that leaves ends it
{
    my $name = ++$id;
    my $client = $nginx->connect;
    $client->write(GatewaySocket::request('GET', "/long?id=$name&do=503"));
    ok(GatewayProcess::wait_for(5, sub { $upstream->log($name) }),
        'an attempt');
    ok($nginx->wait_for_log(qr/attempt 2 of 3 in \d{5} ms/), 'it waits');
    $client->close;

    ok(
        GatewayProcess::wait_for(
            5,
            sub {
                GatewayProcess::slurp($nginx->prefix . '/logs/retry.log')
                    =~ m{^/long $name 499 a=1}m;
            }
        ),
        'the client leaves, and nothing waits any longer'
    );
    is(scalar(my @log = $upstream->log($name)), 1, 'no attempt more');
}

# the budget: ten, and then the share
{
    my $name = ++$id;
    my @waiting;

    # all at once, so that no window passes
    for (1 .. 30) {
        my $client = $nginx->connect;
        $client->write(GatewaySocket::request('GET',
            "/budget?id=$name&do=503", close => 1));
        push @waiting, $client;
    }

    my @bodies = map { ($_->response('GET') || {})->{body} } @waiting;
    is(scalar(grep {/^port $one request/} @bodies), 30,
        'all get an answer of the upstream');
    is(scalar(my @log = $upstream->log($name)), 40, '30 requests, 10 retries');

    @waiting = map {
        my $client = $nginx->connect;
        $client->write(GatewaySocket::request('GET',
            "/budget?id=$name&do=503", close => 1));
        $client
    } 1 .. 70;
    $_->response('GET') for @waiting;
    is(scalar(@log = $upstream->log($name)), 120,
        '100 requests, 20 retries');

    like($nginx->error_log,
        qr/no attempt 2 after "http_503" of "127.0.0.1:$one", the budget of 20% is used up/,
        'the log says so');
    my $text = $nginx->http('GET', '/status?format=prometheus')->{body};
    like($text, qr/^gateway_retries_total\{result="budget"\} 80$/m, 'counted');
    like($text, qr/^gateway_retries_total\{result="retried"\} [1-9]/m,
        'retries are, too');
}

# a worker that ends lets those that wait come to their end
{
    my $name = ++$id;
    my $client = $nginx->connect;
    $client->write(GatewaySocket::request('GET',
        "/after?id=$name&do=503:1,200", close => 1));
    ok(GatewayProcess::wait_for(5, sub { $upstream->log($name) }),
        'an attempt');
    $nginx->reload;
    is(($client->response('GET') || {})->{status}, 200,
        'over a reload the retry is made');
    ok(GatewayProcess::wait_for(5, sub { !$nginx->old_worker_pids }),
        'and the old worker ends');
}

$nginx->stop;
$upstream->stop;
done_testing();
