package GatewayRedisSentinel;

# A master, a replica and three Sentinels.
#
#   my $group = GatewayRedisSentinel->new;
#   ... "gateway_redis r " . $group->url . ";"
#   $group->master->kill;         # each of them is a GatewayRedis
#   $group->wait_failover;        # until all Sentinels name the other
#
# The Sentinels take half a second of silence for a failure.

use strict;
use warnings;

use GatewayProcess;
use GatewayRedis;


# password (of the servers), name (of the master, "main").
sub new {
    my ($class, %args) = @_;

    my $self = bless { name => 'main', sentinels => [], %args }, $class;
    my @common = (
        password => $self->{password},
        config => "repl-ping-replica-period 1\n"
            . (defined $self->{password} ? "masterauth $self->{password}\n"
                : ''),
    );

    my $master = GatewayRedis->new(@common);
    my $replica = GatewayRedis->new(@common, replica_of => $master);

    $self->{servers} = [$master, $replica];
    $self->{master} = $master;

    GatewayProcess::wait_for(10,
        sub { $replica->info('master_link_status') eq 'up' })
        or die 'the replica is not in step: ', $replica->log;

    $self->_start_sentinels($master, $replica);

    return $self;
}


# They are told of each other, which they would else find out within seconds.
sub _start_sentinels {
    my ($self, $master, $replica) = @_;

    my @ids = map { sprintf '%040x', $_ } 1 .. 3;
    my @ports = map { GatewayProcess::free_port() } @ids;
    my $name = $self->{name};

    for my $i (0 .. 2) {
        my @lines = (
            "sentinel myid $ids[$i]",
            "sentinel monitor $name 127.0.0.1 $master->{port} 2",
            "sentinel down-after-milliseconds $name 500",
            "sentinel failover-timeout $name 3000",
            "sentinel known-replica $name 127.0.0.1 $replica->{port}",
            map({"sentinel known-sentinel $name 127.0.0.1 $ports[$_] $ids[$_]"}
                grep { $_ != $i } 0 .. 2),
        );

        push @lines, "sentinel auth-pass $name $self->{password}"
            if defined $self->{password};

        push @{ $self->{sentinels} }, GatewayRedis->new(
            port => $ports[$i], args => ['--sentinel'],
            config => join "\n", @lines,
        );
    }

    $self->wait_ready or die "the Sentinels are not ready\n";
}


# Until all Sentinels see each other, the master, and the replica in step.
sub wait_ready {
    my ($self, $timeout) = @_;

    return GatewayProcess::wait_for($timeout // 20, sub {
        3 == grep { $self->_sees_all($_) } $self->sentinels
    });
}


sub _sees_all {
    my ($self, $sentinel) = @_;

    my %master = @{ $sentinel->command('SENTINEL', 'MASTER', $self->{name}) };
    my ($replica, @more)
        = @{ $sentinel->command('SENTINEL', 'REPLICAS', $self->{name}) };
    my %replica = @{ $replica || [] };

    return $master{flags} eq 'master' && $master{'num-other-sentinels'} == 2
        && !@more && $replica{flags} eq 'slave'
        && $replica{'master-link-status'} eq 'ok';
}


sub sentinels { return @{ $_[0]{sentinels} } }
sub servers   { return @{ $_[0]{servers} } }

# The master, as far as this object knows; and the other.
sub master { return $_[0]{master} }

sub replica {
    my ($self) = @_;
    return (grep { $_ != $self->{master} } $self->servers)[0];
}


sub url {
    my ($self, $db) = @_;

    return 'redis+sentinel://'
        . (defined $self->{password} ? ":$self->{password}\@" : '')
        . join(',', map { '127.0.0.1:' . $_->port } $self->sentinels)
        . "/$self->{name}" . (defined $db ? "/$db" : '');
}


# Orders a change of places while all are well, and waits until it is over: one
# that begins before that may be undone by it.
sub failover {
    my ($self) = @_;

    $self->wait_ready or return;
    ($self->sentinels)[0]->command('SENTINEL', 'FAILOVER', $self->{name});

    return $self->wait_failover && GatewayProcess::wait_for(30,
        sub { $self->replica->info('master_link_status') eq 'up' });
}


# Waits until all Sentinels name the other one, with no failover under way any
# more, and it is a master: this is then master(). False where that does not
# come.
sub wait_failover {
    my ($self, $timeout) = @_;

    my $next = $self->replica;

    GatewayProcess::wait_for($timeout // 20, sub {
        my @say = grep {
            my %master = eval {
                @{ $_->command('SENTINEL', 'MASTER', $self->{name}) }
            };
            %master && $master{port} == $next->port
                && $master{flags} eq 'master';
        } $self->sentinels;

        return @say == $self->sentinels
            && $next->info('role') eq 'master';
    }) or return;

    return $self->{master} = $next;
}

1;
