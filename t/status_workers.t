#!/usr/bin/perl

# gateway_status over several workers: values are summed, survive reloads, also
# into another configuration and back, and the deaths of workers, exactly once.

use strict;
use warnings;

use JSON::PP;
use Test::More;

use GatewayNginx;
use GatewayProcess;

my $json = JSON::PP->new->utf8;

my $nginx = GatewayNginx->new(
    http   => 'gateway_channel_zone room:1m;',
    config => <<'END');
        location /ws {
            gateway_subscriber room;
            gateway_channel a;
        }
        location /pub { gateway_publisher room; }
        location /pid { return 200 $pid; }
        location /status { gateway_status; }
END

sub status { return $json->decode($nginx->http('GET', '/status')->{body}) }


# The value of a series, or the count of a histogram; undef: there is none.
sub value {
    my ($name, %labels) = @_;

    my $metric = status()->{metrics}{$name};
    return $metric unless ref $metric;

    for my $series (@$metric) {
        return $series->{value} // $series->{count}
            if !grep { ($series->{labels}{$_} // '') ne $labels{$_} }
            keys %labels;
    }

    return undef;
}


sub published { return value('gateway_messages_published_total', @_) }

sub connections {
    return value('gateway_connections', transport => 'websocket');
}


sub publish {
    my ($n) = @_;
    $nginx->http('POST', '/pub?channel=a', body => 'x') for 1 .. $n;
}


sub becomes {
    my ($get, $expected, $name) = @_;

    GatewayProcess::wait_for(10, sub { ($get->() // '') eq $expected });
    is($get->(), $expected, $name);
}


# Makes each worker publish at least once; returns how many it took.
sub publish_in_all {
    my ($n, %seen) = (0);

    while (keys %seen < 2 && $n < 1000) {
        my $socket = $nginx->connect;

        for my $request (['POST', '/pub?channel=a', body => 'x'],
            ['GET', '/pid'])
        {
            my ($method, $uri, @more) = @$request;
            $socket->write(GatewaySocket::request($method, $uri, @more));
            my $response = $socket->response($method);
            $seen{ $response->{body} } = 1 if $uri eq '/pid';
        }

        $socket->close;
        $n++;
    }

    is(scalar keys %seen, 2, 'both workers published');
    return $n;
}


becomes(sub { status()->{workers} }, 2, 'workers');
is(published(zone => 'room'), 0, 'nothing published');

my $n = publish_in_all();
is(published(zone => 'room'), $n, 'the sum over both workers');


# gauges go up and down
{
    my @clients = map { $nginx->client(path => '/ws') } 1 .. 4;
    becomes(\&connections, 4, 'connections');

    $_->close for splice @clients, 0, 3;
    becomes(\&connections, 1, 'connections that ended are gone');

    # what a dead worker held is forgotten, and what it counted is not
    for my $pid ($nginx->worker_pids) {
        $nginx->kill_worker($pid);
    }

    becomes(\&connections, 0, 'connections of killed workers are gone');
    becomes(sub { published(zone => 'room') }, $n, 'counters are not');
    becomes(sub { status()->{workers} }, 2, 'workers after two were killed');
}


# counters are added up once, however often workers come and go
for (1 .. 3) {
    $nginx->reload;
    $n += publish_in_all();
}

becomes(sub { status()->{workers} }, 2, 'workers after reloads');
is(published(zone => 'room'), $n, 'counters after reloads');


# in another configuration cells are others, but keep their names
{
    my $http = $nginx->{http};

    $nginx->reload(http => "gateway_channel_zone first:1m; $http");
    is(published(zone => 'room'), $n, 'with a metric more before it');
    is(published(zone => 'first'), 0, 'the new one begins at 0');

    publish(3);
    $n += 3;

    $nginx->reload(http => $http);
    is(published(zone => 'room'), $n, 'and without it again');
    is(published(zone => 'first'), undef, 'which is no longer told');
}


# a configuration that is refused changes nothing
{
    ok($nginx->reload_fails('unknown directive "nonsense"',
            http => "gateway_channel_zone other:1m; nonsense;"),
        'a reload is refused');

    publish(2);
    $n += 2;
    is(published(zone => 'room'), $n, 'counting goes on');
}

$nginx->stop;
done_testing();
