#!/usr/bin/perl

# Purges of the cache's second level in a Cluster: keys, tags and patterns are
# spread over its masters.

use strict;
use warnings;

use Test::More;

use GatewayNodes;
use GatewayProcess;
use GatewayRedisCluster;

my $OBJECTS = 30;

my $cluster = GatewayRedisCluster->new;
my $nodes   = GatewayNodes->new(
    url     => $cluster->url,
    workers => 1,
    http    => "gateway_cache_zone c:4m redis=r;\n",
    config  => <<'END_CONFIG');
location / {
    gateway_cache c;
    gateway_cache_key $uri;
    gateway_cache_valid 10m;
    add_header X-Cache $gateway_cache_status always;
    proxy_pass http://127.0.0.1:%PORT%/backend/;
}
location /backend/ {
    add_header Cache-Tag "$arg_tag all";
    return 200 $request_id;
}
location = /purge { gateway_cache_purge c; }
END_CONFIG

my ($one, $two) = $nodes->all;

sub status {
    my ($node, $i) = @_;

    my $answer = $node->http('GET', "/o/$i?tag=t" . $i % 2) or return 'none';
    return $answer->{headers}{'x-cache'} // $answer->{status};
}

sub count {
    my ($node, $status) = @_;
    return scalar grep { status($node, $_) eq $status } 1 .. $OBJECTS;
}

# Both nodes have all of it.
sub fill {
    my $full = sub { count($_[0], 'HIT') == $OBJECTS };

    GatewayProcess::wait_for(5, sub { $full->($one) })
        && GatewayProcess::wait_for(5, sub { $full->($two) });
}

sub purged {
    my ($json, $n, $what) = @_;

    ok(fill(), 'stored');
    is($one->http('POST', '/purge', body => $json)->{body},
        qq({"purged":$n}), $what);

    my $left = $OBJECTS - $n;
    ok(GatewayProcess::wait_for(1, sub {
        my $hits = grep { $two->http('GET', "/o/$_", headers =>
            ['Cache-Control' => 'only-if-cached'])->{status} == 200 }
            1 .. $OBJECTS;
        $hits == $left;
    }), 'on the other node too');
}

$nodes->wait_up or BAIL_OUT('no Cluster');

is(count($one, 'MISS'), $OBJECTS, 'fetched by one node');
ok(GatewayProcess::wait_for(5, sub {
    return 1 if count($two, 'MISS') == 0;
}), 'is found by the other one');

purged('{"keys":["/o/1","/o/2","/o/3"]}', 3, 'by key');
purged('{"tags":["t1"]}', $OBJECTS / 2, 'by tag');
purged('{"pattern":"/o/*0"}', $OBJECTS / 10, 'by pattern');
purged('{"keys":["/o/1"],"cascade":true}', $OBJECTS, 'with what shares a tag');

$nodes->stop;
undef $cluster;

done_testing();
