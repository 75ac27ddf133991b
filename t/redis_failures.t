#!/usr/bin/perl

# What becomes of two nodes when Redis is killed, restarted empty, hangs, is
# slow, cannot be reached by one of them, fails over, answers errors or noise:
# every feature goes on on its own node, a request waits at most once for the
# timeout, log, metrics and status say so, and afterwards all is as before.

use strict;
use warnings;

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use GatewayJWT;
use GatewayNodes;
use GatewayProcess;
use GatewayRedis;
use GatewayRedisCluster;
use GatewayRedisProxy;
use GatewayRedisSentinel;

my @features = split ' ',
    $ENV{GATEWAY_REDIS_FEATURES} || 'channels limit cache revocation';

my $TIMEOUT = 0.6;
my $WORKERS = 2;

my %http = (
    channels => '',
    limit => 'gateway_limit_zone $arg_k zone=l:1m rate=8/m redis=r;',
    cache => 'gateway_cache_zone c:1m redis=r;',
    revocation => 'gateway_jwt_keys k secret_file=secret;',
);

my %config = (
    channels => <<'END',
        location /v1 { gateway_subscriber z; gateway_subscribe_allow **; }
        location /pub { gateway_publisher z; }
END
    limit => <<'END',
        location /limited { gateway_limit zone=l; try_files /x =404; }
END
    cache => <<'END',
        location /cached {
            gateway_cache c;
            gateway_cache_valid 1m;
            add_header X-Cache $gateway_cache_status always;
            proxy_pass http://127.0.0.1:%PORT%/backend;
        }
        location /backend { return 200 $request_id; }
END
    revocation => <<'END',
        location /who {
            gateway_jwt k;
            gateway_jwt_revoked z;
            try_files /x =404;
        }
END
);

my $json = JSON::PP->new->utf8->canonical;
my $secret = 's' x 32;
my $next = 0;


sub start {
    my (@urls) = @_;

    my $nodes = GatewayNodes->new(
        urls => \@urls,
        workers => $WORKERS,
        options => 'timeout=' . 1000 * $TIMEOUT . 'ms',
        http => "gateway_channel_zone z:4m redis=r;\n"
            . join("\n", map { $http{$_} } @features),
        config => "gateway_ping off;\n" . join("\n", @config{@features}),
        files => { 'conf/secret' => $secret, 'html/x' => 'x' },
    );

    $nodes->wait_up or die "Redis is not up\n";
    wait_heard($nodes->all) or die "the nodes do not hear of each other\n";

    return $nodes;
}


# Who publishes knows the subscribers of nodes that it has heard of.
sub wait_heard {
    my ($here, $there) = @_;

    for my $pair ([$here, $there], [$there, $here]) {
        my $channel = 'h' . ++$next;
        my $ws = subscribe($pair->[0], $channel);
        my $heard = eventually(sub {
            my $ack = publish($pair->[1], $channel, 'x') or return;
            return $ack->{subscribers} == 1;
        });
        $ws->close;
        return if !$heard;
    }

    return 1;
}


# Requests, with the time each took in $took.
my ($took, @all);

sub ask {
    my ($node, @request) = @_;

    my $began = time;
    my $answer = $node->http(@request, timeout => 10) || { status => 'none' };
    $took = time - $began;
    push @all, $took;

    return $answer;
}


sub subscribe {
    my ($node, $channel) = @_;

    my $ws = $node->client(path => '/v1', subprotocols => ['v1']);
    $ws->send_json({ type => 'subscribe',
        payload => { resources => [$channel] } });
    $ws->recv_type('subscribed') or die "not subscribed\n";

    return $ws;
}


sub publish {
    my ($node, $channel, $body) = @_;

    my $answer = ask($node, 'POST', "/pub?channel=$channel", body => $body,
        headers => ['Content-Type' => 'text/plain']);
    if ($answer->{status} !~ /^20[12]$/) {
        diag("publishing is answered by $answer->{status}");
        return;
    }

    return $json->decode($answer->{body});
}


# Whether a subscriber gets what was acknowledged.
sub gets {
    my ($ws, $ack, $body) = @_;

    my $m = $ws->recv_type('message') || {};
    my ($got, $want) = map {
        join ' ', map { $_ // '-' } @$_{qw(epoch sequenceNumber payload)}
    } $m, { %$ack, payload => $body };

    diag("got $got, not $want") if $got ne $want;
    return $got eq $want;
}


sub ticket { return hs256($secret, { jti => $_[0], sub => 'u' }) }

sub who {
    my ($node, $token) = @_;
    return ask($node, 'GET', '/who',
        headers => [Authorization => "Bearer $token"])->{status};
}

sub revoke {
    my ($node, $jti) = @_;
    return ask($node, 'POST', '/pub?channel=auth:revoke',
        body => qq({"jti":"$jti","exp":) . (time + 3600 | 0) . '}')->{status};
}

sub eventually { return GatewayProcess::wait_for(5, $_[0]) ? 1 : 0 }


# What each feature does on one node alone, and over two: texts of what is
# wrong.
my %alone = (
    channels => sub {
        my ($node) = @_;
        my $channel = 'a' . ++$next;
        my $ws = subscribe($node, $channel);
        my $ack = publish($node, $channel, 'x') or return 'not published';
        my $ok = gets($ws, $ack, 'x');
        $ws->close;
        return $ok ? () : 'not delivered';
    },

    # its half of eight, as soon as it knows that it is alone
    limit => sub {
        my ($node) = @_;
        my $half = join ' ', (200) x 4, (429) x 5;
        my $got;

        eventually(sub {
            my $key = ++$next;
            $got = join ' ',
                map { ask($node, 'GET', "/limited?k=$key")->{status} } 1 .. 9;
            return $got eq $half || $got !~ /^(?:200 ){1,8}429/;
        });

        return $got eq $half ? () : "limited: $got";
    },

    cache => sub {
        my ($node) = @_;
        my $key = ++$next;
        my @got = map { $_->{status} . ($_->{headers}{'x-cache'} // '-') }
            map { ask($node, 'GET', "/cached/$key") } 1 .. 2;
        return "@got" eq '200MISS 200HIT' ? () : "cached: @got";
    },

    revocation => sub {
        my ($node) = @_;
        my $jti = 'j' . ++$next;
        my $token = ticket($jti);
        my @got = (who($node, $token), revoke($node, $jti),
            eventually(sub { who($node, $token) == 401 }));
        return "@got" eq '200 202 1' ? () : "revoked: @got";
    },
);

my %together = (
    channels => sub {
        my ($here, $there) = @_;
        my $channel = 'c' . ++$next;
        my @ws = map { subscribe($_, $channel) } $here, $there;
        my @wrong;

        for my $node ($here, $there, $here) {
            my $body = 'm' . ++$next;
            my $ack = publish($node, $channel, $body);
            push @wrong, 'not published' and next if !$ack;
            push @wrong, map { gets($ws[$_], $ack, $body) ? ()
                : $body . ' did not reach ' . ($_ ? 'the other' : 'the one')
            } 0, 1;
        }

        $_->close for @ws;
        return @wrong;
    },

    limit => sub {
        my ($here, $there) = @_;
        my $key = ++$next;
        ask($here, 'GET', "/limited?k=$key") for 1 .. 8;
        return eventually(sub {
            ask($there, 'GET', "/limited?k=$key")->{status} == 429;
        }) ? () : 'not limited together';
    },

    cache => sub {
        my ($here, $there) = @_;
        my $key = ++$next;
        ask($here, 'GET', "/cached/$key");
        my $got;

        # what is stored is on its way; a miss stores anew
        return eventually(sub {
            $got = ask($there, 'GET', "/cached/$key")->{headers}{'x-cache'};
            $key = ++$next and ask($here, 'GET', "/cached/$key")
                if $got ne 'REDIS';
            $got eq 'REDIS';
        }) ? () : "cached: $got";
    },

    revocation => sub {
        my ($here, $there) = @_;
        my $jti = 'j' . ++$next;
        my $token = ticket($jti);
        who($there, $token);
        revoke($here, $jti);
        return eventually(sub { who($there, $token) == 401 })
            ? () : 'not revoked over there';
    },
);


sub check_together {
    my ($name, @nodes) = @_;

    for my $feature (@features) {
        my @wrong = map { $together{$feature}->(@$_) }
            [@nodes], [reverse @nodes];
        is("@wrong", '', "$name: $feature, over both nodes");
    }
}

# Each feature, twice; and what the requests took. In each worker one may have
# waited for the timeout.
sub check_alone {
    my ($name, $node) = @_;

    @all = ();

    for my $feature (@features) {
        my @wrong = map { $alone{$feature}->($node) } 1, 2;
        is("@wrong", '', "$name: $feature, on its own node");
    }

    my @slow = grep { $_ > $TIMEOUT / 2 } @all;
    cmp_ok(scalar @slow, '<=', $WORKERS, "$name: few requests wait")
        or diag "@slow";
    is(scalar(grep { $_ > GatewayProcess::patience($TIMEOUT + 0.4) } @all), 0,
        "$name: ... and only for the timeout") or diag "@slow";
}


# name; nodes; those of them concerned; what breaks it and what heals it; none
# of these: other things. `kept`: what was published before is still there.
sub failure {
    my ($name, $nodes, $concerned, $break, $heal) = @_;

    my @nodes = $nodes->all;
    my $channel = 'k' . ++$next;

    # a subscriber and a number from before
    my $ws = subscribe($concerned->[0], $channel);
    my $before = publish($concerned->[0], $channel, 'before');
    ok($before && gets($ws, $before, 'before'), "$name: before");

    $break->();

    my $own = publish($concerned->[0], $channel, 'own');
    ok($own && gets($ws, $own, 'own'), "$name: a channel known before goes on");
    isnt($own->{epoch}, $before->{epoch}, "$name: ... in an epoch of its own");
    cmp_ok($took, '<', GatewayProcess::patience($TIMEOUT + 0.4),
        "$name: ... after the timeout at most");

    check_alone($name, $_) for @$concerned;

    ok($nodes->wait_down(@$concerned), "$name: the metrics say so");
    like($concerned->[0]->error_log, qr/\[(?:warn|error)\] .*redis "r"/i,
        "$name: the log too");

    if (@$concerned < @nodes) {
        my ($other) = grep { $_ != $concerned->[0] } @nodes;
        is($nodes->metric($other, 'gateway_redis_up', name => 'r'), 1,
            "$name: the other node is not concerned");
    }

    $heal->();
    ok($nodes->wait_up, "$name: it comes back by itself");
    check_together("$name, back", @nodes);

    my $after = publish($nodes[1], $channel, 'after');
    ok($after && gets($ws, $after, 'after'),
        "$name: the channel is one again");
    isnt($after->{epoch}, $own->{epoch}, "$name: ... not in the node's epoch");

    $ws->close;
}


# Each of these in turn, against the same Redis and the same nodes.
{
    my $redis = GatewayRedis->new;
    my $nodes = start(($redis->url) x 2);
    my @nodes = $nodes->all;

    check_together('at first', @nodes);

    failure('killed', $nodes, \@nodes,
        sub { $redis->kill }, sub { $redis->start });
    failure('hung', $nodes, \@nodes,
        sub { $redis->suspend }, sub { $redis->resume });

    # what needs no outage to be noticed
    $redis->kill;
    $redis->start;
    ok($nodes->wait_up, 'restarted empty: it comes back');
    check_together('restarted empty', @nodes);

    $redis->command('SCRIPT', 'FLUSH');
    check_together('without its scripts', @nodes);

    $redis->command('FLUSHALL');
    check_together('flushed', @nodes);

    $redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    $redis->command('CLIENT', 'KILL', 'TYPE', 'normal');
    ok($nodes->wait_up, 'connections killed: it comes back');
    check_together('connections killed', @nodes);

    $redis->command('CONFIG', 'SET', 'maxmemory', '1');
    check_alone('out of memory', $nodes[0]);
    $redis->command('CONFIG', 'SET', 'maxmemory', '0');
    ok($nodes->wait_up, 'memory again: it comes back');
    check_together('memory again', @nodes);

    $nodes->stop;
}


# One node's way to Redis, the other has its own.
{
    my $redis = GatewayRedis->new(password => 'p');
    my $proxy = GatewayRedisProxy->new(to => $redis);
    my $nodes = start($proxy->url, $redis->url);
    my @nodes = $nodes->all;

    check_together('through a proxy', @nodes);

    $proxy->behave('slow', 1000 * $TIMEOUT / 6);
    check_together('slow', @nodes);
    $proxy->behave('pass');

    my $broken = sub {
        my ($name, @mode) = @_;
        failure($name, $nodes, [$nodes[0]], sub { $proxy->behave(@mode) },
            sub {
                # a stream that has lost something does not go on
                $proxy->behave('refuse') if $mode[0] !~ /^(?:slow|hole|error)$/;
                $proxy->behave('pass');
            });
    };

    $broken->('slower than the timeout', 'slow', 3000 * $TIMEOUT);
    $broken->('parted', 'hole');
    $broken->('deaf', 'deaf');
    $broken->('refused', 'refuse');
    $broken->($_, $_) for qw(garbage bulk array line cut);
    $broken->('loading', 'error', 'LOADING Redis is loading the dataset');
    $broken->('read-only', 'error',
        "READONLY You can't write against a read only replica.");

    for my $error ('OOM command not allowed', 'NOSCRIPT No matching script',
        'ERR no', 'MISCONF no', 'NOPERM no')
    {
        $proxy->behave('error', $error, 'EVAL|EVALSHA|SCRIPT');
        check_alone("\"$error\"", $nodes[0]);
        $proxy->behave('pass');
        ok($nodes->wait_up, "after \"$error\"");
        check_together("after \"$error\"", @nodes);
    }

    $nodes->stop;
}


# A user who may do no more than docs/operations.md says.
{
    my $redis = GatewayRedis->new(user => 'gateway', password => 'x',
        acl => '~gw:* &gw:* +@all -@admin -@dangerous +info '
            . '+cluster|slots +asking');
    my $nodes = start(($redis->url) x 2);

    check_together('a user with few rights', $nodes->all);
    unlike(join('', map { $_->error_log } $nodes->all), qr/NOPERM/,
        'a user with few rights: nothing is missing');
    $nodes->stop;
}


{
    my $group = GatewayRedisSentinel->new;
    my $nodes = start(($group->url) x 2);
    my @nodes = $nodes->all;

    check_together('Sentinel', @nodes);

    $group->master->kill;
    check_alone('failing over', $_) for @nodes;
    ok($group->wait_failover, 'the Sentinels have made a new master');
    ok($nodes->wait_up, 'failed over: it comes back');
    check_together('failed over', @nodes);

    $_->kill for $group->sentinels;
    check_together('without the Sentinels', @nodes);

    $nodes->stop;
}


{
    my $cluster = GatewayRedisCluster->new;
    my $nodes = start(($cluster->url) x 2);
    my @nodes = $nodes->all;

    check_together('Cluster', @nodes);

    # the one that has the limit's counts, where there is a limit
    my ($counts) = ((grep {/\}w:l:/}
        map { @{ $_->command('KEYS', 'gw:*') } } $cluster->nodes), 'gw:{0}');
    my $dead = $cluster->owner($counts);
    $dead->kill;
    check_alone('a master of the Cluster is gone', $_) for @nodes;
    ok($cluster->wait_owner($counts, sub { $_[0] != $dead }),
        'it has a new master');
    ok($nodes->wait_up, 'of the Cluster: it comes back');
    check_together('a new master of the Cluster', @nodes);

    $nodes->stop;
}

done_testing();
