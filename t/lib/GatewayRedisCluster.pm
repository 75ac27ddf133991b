package GatewayRedisCluster;

# A Cluster: three masters and a replica of each.
#
#   my $cluster = GatewayRedisCluster->new;
#   ... "gateway_redis r " . $cluster->url . ";"
#   $cluster->command('GET', 'key');          # of the node that has the key
#   my $node = $cluster->owner('key');        # a GatewayRedis
#   $cluster->migrate($cluster->slot('key'), $other);
#   $node->kill; $cluster->wait_owner('key', sub { $_[0] != $node });

use strict;
use warnings;

use GatewayProcess;
use GatewayRedis;


# config: further lines for each. Nodes 0 to 2 are the masters, 3 to 5 their
# replicas.
sub new {
    my ($class, %args) = @_;

    my $self = bless { config => '', %args, nodes => [] }, $class;

    for my $i (0 .. 5) {
        my $bus = GatewayProcess::free_port();

        push @{ $self->{nodes} }, GatewayRedis->new(
            start => 0, password => $self->{password}, config => join "\n",
            'cluster-enabled yes', 'cluster-node-timeout 1500',
            "cluster-port $bus", 'cluster-config-file nodes.conf',
            'cluster-allow-replica-migration no',
            defined $self->{password} ? "masterauth $self->{password}" : (),
            $self->{config},
        );
        $self->{nodes}[$i]{bus} = $bus;
        $self->{nodes}[$i]{id} = sprintf '%040x', $i + 1;
    }

    $self->_write_topology($_) for 0 .. 5;
    $_->start(nowait => 1) for $self->nodes;

    $self->wait_ready or die "the Cluster is not ready\n";

    return $self;
}


# They start as if they had been a Cluster before: that is faster than making
# one, and always the same.
sub _write_topology {
    my ($self, $me) = @_;

    my @slots = ('0-5460', '5461-10922', '10923-16383');
    my $text = '';

    for my $i (0 .. 5) {
        my $node = $self->{nodes}[$i];
        my $master = $i < 3 ? '-' : $self->{nodes}[$i - 3]{id};
        my $flags = ($i == $me ? 'myself,' : '')
            . ($i < 3 ? 'master' : 'slave');

        $text .= "$node->{id} 127.0.0.1:$node->{port}\@$node->{bus} $flags "
            . "$master 0 0 " . ($i % 3 + 1) . ' connected'
            . ($i < 3 ? " $slots[$i]" : '') . "\n";
    }

    GatewayProcess::spew($self->{nodes}[$me]->dir . '/nodes.conf',
        "${text}vars currentEpoch 6 lastVoteEpoch 0\n");
}


sub nodes { return @{ $_[0]{nodes} } }
sub url {
    my ($self) = @_;

    return 'redis+cluster://'
        . (defined $self->{password} ? ":$self->{password}\@" : '')
        . join ',', map { '127.0.0.1:' . $_->port } ($self->nodes)[0 .. 2];
}


# Until all that run say that all is well, and replicas are in step.
sub wait_ready {
    my ($self, $timeout) = @_;

    return GatewayProcess::wait_for($timeout // 20, sub {
        !grep { !eval { _is_well($_) } } grep { $_->pid } $self->nodes;
    });
}


sub _is_well {
    my ($node) = @_;

    return $node->command('CLUSTER', 'INFO') =~ /^cluster_state:ok/m
        && ($node->info('role') eq 'master'
            || $node->info('master_link_status') eq 'up');
}


sub _by_id {
    my ($self, $id) = @_;
    return (grep { $_->{id} eq $id } $self->nodes)[0];
}


# Any that answers.
sub _any {
    my ($self) = @_;

    for my $node (grep { $_->pid } $self->nodes) {
        return $node if eval { $node->command('PING') };
    }

    die "no node of the Cluster answers\n";
}


# Of a key; of a slot by number that one.
sub slot {
    my ($self, $key) = @_;
    return $key if $key =~ /^\d+$/;
    return $self->_any->command('CLUSTER', 'KEYSLOT', $key);
}


# The master of a key, or of a slot by number, as one of the nodes says.
sub owner {
    my ($self, $key, $by) = @_;

    my $slot = $self->slot($key);

    for my $range (@{ ($by || $self->_any)->command('CLUSTER', 'SLOTS') }) {
        return $self->_by_id($range->[2][2])
            if $range->[0] <= $slot && $slot <= $range->[1];
    }

    return;
}


# The nodes that replicate one.
sub replicas {
    my ($self, $node) = @_;

    return map { $self->_by_id(/^(\w+)/) }
        grep { / \S*slave\S* $node->{id} / }
        split /\n/, $self->_any->command('CLUSTER', 'NODES');
}


# Waits until all that run agree on an owner of the key that the condition
# takes; returns it.
sub wait_owner {
    my ($self, $key, $condition, $timeout) = @_;

    my $slot = $self->slot($key);

    return GatewayProcess::wait_for($timeout // 20, sub {
        my %say;
        for my $node (grep { $_->pid } $self->nodes) {
            my $owner = eval { $self->owner($slot, $node) } or return;
            $say{ $owner->{id} } = $owner;
        }

        my @owners = values %say;
        return @owners == 1 && $condition->($owners[0]) && $owners[0];
    });
}


sub command {
    my ($self, @words) = @_;
    return $self->owner($words[1])->command(@words);
}


# A slot with its keys to another master, in three steps. Between the first
# and the last it is "migrating": keys that have gone are answered by ASK.
sub migrate {
    my ($self, $slot, $to) = @_;

    my $from = $self->owner($slot);
    return if $from == $to;

    $self->migrate_begin($slot, $from, $to);
    $self->migrate_keys($slot, $from, $to);
    $self->migrate_end($slot, $from, $to);
}


sub migrate_begin {
    my ($self, $slot, $from, $to) = @_;

    $to->command('CLUSTER', 'SETSLOT', $slot, 'IMPORTING', $from->{id});
    $from->command('CLUSTER', 'SETSLOT', $slot, 'MIGRATING', $to->{id});
}


sub migrate_keys {
    my ($self, $slot, $from, $to) = @_;

    my @auth = defined $self->{password} ? ('AUTH', $self->{password}) : ();

    while (1) {
        my @keys = @{
            $from->command('CLUSTER', 'GETKEYSINSLOT', $slot, 100)
        } or return;

        $from->command('MIGRATE', '127.0.0.1', $to->port, '', 0, 5000, @auth,
            'KEYS', @keys);
    }
}


sub migrate_end {
    my ($self, $slot, $from, $to) = @_;

    # what was written between the last look and now
    while (!eval { $to->command('CLUSTER', 'SETSLOT', $slot, 'NODE', $to->{id});
        $from->command('CLUSTER', 'SETSLOT', $slot, 'NODE', $to->{id}); })
    {
        die $@ if $@ !~ /hash slot/;
        $self->migrate_keys($slot, $from, $to);
    }

    for my $node (grep { $_->pid && $_ != $from && $_ != $to } $self->nodes) {
        eval { $node->command('CLUSTER', 'SETSLOT', $slot, 'NODE',
            $to->{id}) };
    }
}

1;
