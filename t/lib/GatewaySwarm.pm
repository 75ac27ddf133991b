package GatewaySwarm;

# Many subscribers that read as fast as they can, in one process.
#
#   my $swarm = GatewaySwarm->new;
#   $swarm->add($ws, 'raw a');         # a GatewayClient that has subscribed
#   $swarm->wait_for(5, sub { $swarm->all_have('raw a', 20) });
#   my @payloads = $swarm->payloads('raw a');
#
# The clients of one group must get the very same bytes: the longest stream of
# them is kept and each is compared with it as it comes, so that only one has
# to be parsed. A group of one is a client that gets what no other does.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use Time::HiRes qw(time);

use GatewayProcess;


sub new {
    my ($class) = @_;

    return bless { clients => {}, groups => {}, errors => [], mask => '' },
        $class;
}


sub add {
    my ($self, $ws, $name) = @_;

    my $group = $self->{groups}{$name} ||= {
        stream => '', parsed => 0, frames => 0, members => [],
        ended  => 0,
    };
    my $client = {
        ws => $ws, socket => $ws->{socket}, name => $name,
        group => $group, at => 0,
    };

    push @{ $group->{members} }, $client;
    $self->{clients}{ $ws->fileno } = $client;
    vec($self->{mask}, $ws->fileno, 1) = 1;

    $self->_feed($client, $ws->{in}) if length $ws->{in};
    $ws->{in} = '';

    return $client;
}


sub errors { return @{ $_[0]{errors} } }


sub _feed {
    my ($self, $client, $data) = @_;

    my $group = $client->{group};
    my $known = length($group->{stream}) - $client->{at};
    $known = length $data if $known > length $data;

    push @{ $self->{errors} }, "$client->{name}: other bytes at $client->{at}"
        if substr($group->{stream}, $client->{at}, $known) ne
        substr($data, 0, $known);

    $group->{stream} .= substr $data, $known if $known < length $data;
    $client->{at} += length $data;
}


# Length of the frame at a place, 0 where not all of its head is there, and of
# its head.
sub _frame_at {
    my ($stream, $at) = @_;

    my $left = length($$stream) - $at;
    return 0 if $left < 2;

    my $length = unpack "x$at x C", $$stream;
    return ($length + 2, 2) if $length < 126;

    if ($length == 126) {
        return 0 if $left < 4;
        return (unpack("x$at x2 n", $$stream) + 4, 4);
    }

    return 0 if $left < 10;
    return (unpack("x$at x2 Q>", $$stream) + 10, 10);
}


# How many whole frames the group's stream has so far.
sub frames {
    my ($self, $name) = @_;

    my $group = $self->{groups}{$name} or return 0;

    while (1) {
        my ($size) = _frame_at(\$group->{stream}, $group->{parsed});
        last if !$size
            || $group->{parsed} + $size > length $group->{stream};

        $group->{parsed} += $size;
        $group->{frames}++;
    }

    return $group->{frames};
}


# Whether each client of the group that is still there has that many frames,
# and the group nothing besides whole frames.
sub all_have {
    my ($self, $name, $n) = @_;

    return 0 if $self->frames($name) < $n;

    my $group = $self->{groups}{$name};
    my $all   = length $group->{stream};

    return 0 if $group->{parsed} != $all;
    return !grep { !$_->{ended} && $_->{at} < $all } @{ $group->{members} };
}


# The payloads of the group's stream; opcodes that are not data are errors.
sub payloads {
    my ($self, $name) = @_;

    my $stream = \$self->{groups}{$name}{stream};
    my ($at, @payloads) = (0);

    while ($at < length $$stream) {
        my ($size, $head) = _frame_at($stream, $at);
        last if !$size || $at + $size > length $$stream;

        my $first = ord substr $$stream, $at, 1;
        push @{ $self->{errors} }, "$name: a frame that begins with $first"
            if $first != 0x81 && $first != 0x82;

        push @payloads, substr $$stream, $at + $head, $size - $head;
        $at += $size;
    }

    return @payloads;
}


sub members { return @{ $_[0]{groups}{ $_[1] }{members} } }


# How many of a group are still connected.
sub alive {
    my ($self, $name) = @_;

    my $group = $self->{groups}{$name};
    return @{ $group->{members} } - $group->{ended};
}


sub _end {
    my ($self, $fd) = @_;

    my $client = delete $self->{clients}{$fd};
    vec($self->{mask}, $fd, 1) = 0;
    $client->{ended} = 1;
    $client->{group}{ended}++;
}


# Reads what there is.
sub pump {
    my ($self, $timeout) = @_;

    my $ready = $self->{mask};
    my $n = select $ready, undef, undef, $timeout // 0;
    return if $n <= 0;

    for my $fd (keys %{ $self->{clients} }) {
        next unless vec $ready, $fd, 1;

        my $client = $self->{clients}{$fd};
        my $got = sysread $client->{socket}, my $data, 262144;

        if ($got) {
            $self->_feed($client, $data);
        } elsif (defined $got || ($! != EAGAIN && $! != EINTR)) {
            $self->_end($fd);
        }
    }
}


# Reads until the condition is true; false at the time-out.
sub wait_for {
    my ($self, $seconds, $condition) = @_;

    my $until = time() + GatewayProcess::patience($seconds);

    until ($condition->()) {
        return 0 if time() > $until;
        $self->pump(0.05);
    }

    return 1;
}


sub close {
    my ($self) = @_;

    $_->{ws}->close for map { @{ $_->{members} } } values %{ $self->{groups} };
    $self->{clients} = {};
    $self->{mask}    = '';
}

1;
