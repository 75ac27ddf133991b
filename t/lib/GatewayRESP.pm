package GatewayRESP;

# A client of Redis for tests: one connection, one command at a time.
#
#   my $resp = GatewayRESP->connect(port => $port, password => 'x') or die;
#   my $reply = $resp->command('XRANGE', 'key', '-', '+');
#   my $message = $resp->read(2);     # what comes unasked, of pub/sub
#
# A reply is a string, a number, a reference to an array, or undef (nil). An
# error dies with Redis's text.

use strict;
use warnings;

use GatewaySocket;


# port, tls, timeout (5 s), user, password. Undef where nobody listens.
sub connect {
    my ($class, %args) = @_;

    my $socket = GatewaySocket->connect(%args) or return;
    my $self = bless { socket => $socket }, $class;

    $self->command('AUTH', $args{user} // (), $args{password})
        if defined $args{password};

    return $self;
}


sub close { $_[0]{socket}->close }


sub send {
    my ($self, @words) = @_;

    my $text = '*' . @words . "\r\n";
    $text .= '$' . length($_) . "\r\n$_\r\n" for @words;

    $self->{socket}->write($text) or die "redis: cannot write\n";
}


sub command {
    my ($self, @words) = @_;

    $self->send(@words);
    return $self->read;
}


sub _line {
    my ($self, $until) = @_;

    my $end;

    while (($end = index $self->{socket}{in}, "\r\n") < 0) {
        $self->{socket}->fill($until) or die "redis: no reply\n";
    }

    my $line = substr $self->{socket}{in}, 0, $end + 2, '';
    return substr $line, 0, $end;
}


# The next reply.
sub read {
    my ($self, $timeout) = @_;
    return $self->_value($self->{socket}->deadline($timeout));
}


sub _value {
    my ($self, $until) = @_;

    my ($kind, $text) = $self->_line($until) =~ /^([-+:\$*])(.*)$/
        or die "redis: not a reply\n";

    return $text         if $kind eq '+' || $kind eq ':';
    die "redis: $text\n" if $kind eq '-';
    return               if $text < 0;

    if ($kind eq '*') {
        my @values;
        push @values, scalar $self->_value($until) for 1 .. $text;
        return \@values;
    }

    while (length $self->{socket}{in} < $text + 2) {
        $self->{socket}->fill($until) or die "redis: no reply\n";
    }

    my $value = substr $self->{socket}{in}, 0, $text + 2, '';
    return substr $value, 0, $text;
}

1;
