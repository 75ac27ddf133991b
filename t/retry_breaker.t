#!/usr/bin/perl

# gateway_retry and gateway_breaker together: each attempt counts, and once it
# is open there are no more.

use strict;
use warnings;

use Test::More;

use GatewayNginx;
use GatewayProcess;
use GatewayUpstream;

my $upstream = GatewayUpstream->new(ports => 2);
my ($one, $two) = map { $upstream->port($_) } 0 .. 1;

my @names = qw(status error timeout split pool pair kept);
my $servers = join "\n", map {
    my $two = /pool|pair/ ? "server 127.0.0.1:$two;" : '';
    my $more = /kept/ ? 'keepalive 2;' : '';
    my $failures = /pool/ ? 3 : 2;
    my $scope = /pair/ ? 'scope=peer' : '';
    "upstream $_ { server 127.0.0.1:$one; $two $more
        gateway_breaker zone=z failures=$failures open=60s $scope; }"
} @names;
$servers =~ s/zone=z /zone=z:1m /;

my $nginx = GatewayNginx->new(
    workers => 1,
    http    => <<"END",
        $servers
        gateway_retry attempts=5 backoff=10ms budget=1000%;
END
    config => join "\n",
        'proxy_http_version 1.1; proxy_set_header Connection "";',
        'add_header X-Attempts $gateway_retry_attempts always;',
        map {
            my $patience = /timeout/ ? 'proxy_read_timeout 300ms;' : '';
            "location /$_ { $patience proxy_pass http://$_; }"
        } @names);

my $id = 'a0';


# A request; the status, the number of attempts, and the whole answer.
sub ask {
    my ($where, $do) = @_;

    my $name = ++$id;
    my $answer = $nginx->http('GET', "/$where?id=$name&do=$do")
        || { status => 'none' };

    return ($answer->{status}, scalar(my @log = $upstream->log($name)),
        $answer);
}


# the breaker opens in the middle of a request's attempts
for (
    ['status',  '503',   503],
    ['error',   'reset', 502],
    ['timeout', 'hang',  504],
    ['split',   'parts', 503],
    ['kept',    '503',   503],
) {
    my ($where, $do, $expected) = @$_;
    my ($status, $attempts, $answer) = ask($where, $do);

    is($status, $expected, "$where: the last answer");
    is($attempts, 2, "$where: no attempt once it is open");
    is($answer->{headers}{'x-attempts'}, 2, "$where: as the variable says");
    is($answer->{body}, "port $one request 2\n", "$where: with its body")
        if $expected == 503;
    is($answer->{headers}{'retry-after'}, undef, "$where: not the breaker's")
        if $expected == 503;

    ($status, $attempts) = ask($where, '200');
    is($status, 503, "$where: the next is refused");
    is($attempts, 0, "$where: and does not reach the upstream");
}

# a success in between counts, too
{
    $nginx->reload(http => $nginx->{http} =~ s/zone=z:1m/zone=y:1m/r
            =~ s/zone=z /zone=y /gr);

    is(join(' ', (ask('status', '503,200'))[0, 1]), '200 2', "try $_")
        for 1 .. 3;
    is(join(' ', (ask('error', 'reset,200'))[0, 1]), '200 2', "try $_")
        for 1 .. 3;
    is(join(' ', (ask('split', 'parts,200'))[0, 1]), '200 2', "try $_")
        for 1 .. 3;
}

# attempts at the same server again, which max_fails would have kept out
{
    my ($status, $attempts) = ask('pool', '503');
    is($status, 503, 'two servers: 503');
    is($attempts, 3, 'two servers: each attempt counts');
    is((ask('pool', '200'))[1], 0, 'two servers: now it is open');
}

# by server: the other one is asked
{
    my ($status, $attempts) = ask('pair', '503,503,503,503,200');
    is($status, 200, 'by server: the other is well');
}

$nginx->stop;
$upstream->stop;
done_testing();
