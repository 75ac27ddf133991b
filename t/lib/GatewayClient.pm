package GatewayClient;

# A WebSocket client that can do everything wrong: any bytes, in any pieces.
#
#   my $ws = GatewayClient->connect(port => $port, path => '/ws',
#       subprotocols => ['v1', "jwt.$token"]);
#   $ws->is_open or die $ws->status;
#   $ws->send_json({type => 'subscribe', payload => {resources => ['a']}});
#   my $message = $ws->recv_json;
#   my ($code, $reason) = $ws->recv_close;
#
# Times are seconds. Texts are bytes (UTF-8), except in the _json methods.

use strict;
use warnings;

use parent 'GatewaySocket';

use Digest::SHA qw(sha1_base64);
use JSON::PP ();
use MIME::Base64 qw(encode_base64);

our $JSON = JSON::PP->new->utf8->canonical->allow_nonref;

my %OPCODE = (
    continuation => 0x0, text => 0x1, binary => 0x2,
    close => 0x8, ping => 0x9, pong => 0xa,
);


# GatewaySocket's arguments, and: path (/), headers (array of name => value;
# one given replaces the handshake's own of that name, undef leaves it out),
# subprotocols, key, method (GET), behind (bytes sent with the handshake),
# auto_pong (1: pings are answered while waiting for messages).
# Undef where nobody listens or answers; otherwise look at status().
sub connect {
    my ($class, %args) = @_;

    my $self = $class->start(%args) or return;
    return $self->finish ? $self : undef;
}


# The first half of connect: the handshake is sent, and not waited for.
sub start {
    my ($class, %args) = @_;

    my $self = $class->SUPER::connect(%args) or return;

    $self->{auto_pong} = $args{auto_pong} // 1;
    $self->{key}       = $args{key}       // encode_base64(_random(16), '');
    $self->{fragments} = undef;

    my @own = (
        Host                    => 'localhost',
        Connection              => 'Upgrade',
        Upgrade                 => 'websocket',
        'Sec-WebSocket-Version' => '13',
        'Sec-WebSocket-Key'     => $self->{key},
    );
    push @own,
        'Sec-WebSocket-Protocol' => join ', ', @{ $args{subprotocols} }
        if $args{subprotocols};

    # a given header takes the place of the handshake's own
    my @given = @{ $args{headers} || [] };
    my %given = map { lc $given[ 2 * $_ ] => 1 } 0 .. @given / 2 - 1;
    my @headers;

    while (my ($name, $value) = splice @own, 0, 2) {
        push @headers, $name => $value unless $given{ lc $name };
    }

    while (my ($name, $value) = splice @given, 0, 2) {
        push @headers, $name => $value if defined $value;
    }

    $self->write(
        GatewaySocket::request(
            $args{method} || 'GET',
            $args{path}   || '/',
            headers => \@headers
        ) . ($args{behind} // '')
    );

    return $self;
}


# The second half: waits for the answer. False where none came.
sub finish {
    my ($self, $timeout) = @_;

    $self->{response} = $self->response('GET', $timeout);
    return defined $self->{response};
}


sub status  { return $_[0]{response}{status} }
sub headers { return $_[0]{response}{headers} }
sub header  { return $_[0]{response}{headers}{ lc $_[1] } }
sub body    { return $_[0]{response}{body} }

sub subprotocol { return $_[0]->header('Sec-WebSocket-Protocol') }


# 101 with the right answer to the key.
sub is_open {
    my ($self) = @_;

    return ($self->status // 0) == 101
        && ($self->header('Sec-WebSocket-Accept') // '') eq sha1_base64(
        "$self->{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11") . '=';
}


sub _random {
    my ($length) = @_;

    return join '', map { chr int rand 256 } 1 .. $length;
}


# The bytes of a frame. Options: opcode (number or name, text), fin (1), rsv
# (0 to 7), mask (4 bytes, or 0: unmasked), length_form (7, 16 or 64: the
# number of bits), declared (a length that is not the payload's).
sub frame {
    my ($payload, %args) = @_;

    my $opcode = $args{opcode} // 'text';
    $opcode = $OPCODE{$opcode} if exists $OPCODE{$opcode};

    my $length = $args{declared} // length $payload;
    my $form   = $args{length_form}
        // ($length < 126 ? 7 : $length < 65536 ? 16 : 64);
    my $mask = $args{mask} // _random(4);

    my $first = (($args{fin} // 1) << 7) | (($args{rsv} // 0) << 4) | $opcode;
    my $bit = $mask ? 0x80 : 0;

    my $head
        = $form == 7  ? pack('CC',   $first, $bit | $length)
        : $form == 16 ? pack('CCn',  $first, $bit | 126, $length)
        :               pack('CCQ>', $first, $bit | 127, $length);

    return "$head$payload" unless $mask;

    my $keys = substr $mask x (length($payload) / 4 + 1), 0, length $payload;

    return $head . $mask . ($payload ^ $keys);
}


sub send_raw   { return $_[0]->write($_[1]) }
sub send_frame { my $self = shift; return $self->write(frame(@_)) }
sub send_text   { return $_[0]->send_frame($_[1]) }
sub send_binary { return $_[0]->send_frame($_[1], opcode => 'binary') }
sub send_ping   { return $_[0]->send_frame($_[1] // '', opcode => 'ping') }
sub send_pong   { return $_[0]->send_frame($_[1] // '', opcode => 'pong') }
sub send_json   { return $_[0]->send_frame($JSON->encode($_[1])) }


sub send_close {
    my ($self, $code, $reason) = @_;

    my $payload = defined $code ? pack('n', $code) . ($reason // '') : '';

    return $self->send_frame($payload, opcode => 'close');
}


# Takes one frame off the front of the input, undef where not all is there.
sub _take_frame {
    my ($self) = @_;

    my $in = \$self->{in};
    return if length $$in < 2;

    my ($first, $second) = unpack 'CC', $$in;
    my ($length, $at, $form) = ($second & 0x7f, 2, 7);

    if ($length == 126) {
        return if length $$in < 4;
        ($length, $at, $form) = (unpack('x2n', $$in), 4, 16);
    } elsif ($length == 127) {
        return if length $$in < 10;
        ($length, $at, $form) = (unpack('x2Q>', $$in), 10, 64);
    }

    my $mask = '';

    if ($second & 0x80) {
        return if length $$in < $at + 4;
        $mask = substr $$in, $at, 4;
        $at += 4;
    }

    return if length $$in < $at + $length;

    my $payload = substr $$in, $at, $length;
    substr $$in, 0, $at + $length, '';

    if (length $mask) {
        $payload ^= substr $mask x ($length / 4 + 1), 0, $length;
    }

    return {
        fin         => $first >> 7,
        rsv         => ($first >> 4) & 7,
        opcode      => $first & 0xf,
        masked      => length $mask ? 1 : 0,
        length_form => $form,
        payload     => $payload,
    };
}


# The next frame of any kind: {fin, rsv, opcode, masked, length_form,
# payload}. Undef at the time-out or the end ($ws->{eof}).
sub recv_frame {
    my ($self, $timeout) = @_;

    my $until = $self->deadline($timeout);

    while (1) {
        my $frame = $self->_take_frame;

        if ($frame) {
            $self->{closed} = $frame if $frame->{opcode} == $OPCODE{close};
            return $frame;
        }

        return unless $self->fill($until);
    }
}


# The next whole message: its bytes, in list context its bytes and "text" or
# "binary". Pongs are skipped, pings answered. Undef (an empty list) at the
# time-out, at the end and at a close frame, which recv_close then returns.
sub recv_message {
    my ($self, $timeout) = @_;

    my $until = $self->deadline($timeout);

    while (!$self->{closed}) {
        my $frame = $self->_take_frame;

        if (!$frame) {
            last unless $self->fill($until);
            next;
        }

        my $opcode = $frame->{opcode};

        if ($opcode == $OPCODE{close}) {
            $self->{closed} = $frame;
            last;
        }

        if ($opcode == $OPCODE{ping}) {
            $self->send_pong($frame->{payload}) if $self->{auto_pong};
            next;
        }

        next if $opcode == $OPCODE{pong};

        if ($opcode != $OPCODE{continuation}) {
            $self->{fragments} = '';
            $self->{kind} = $opcode == $OPCODE{text} ? 'text' : 'binary';
        }

        $self->{fragments} .= $frame->{payload};
        next unless $frame->{fin};

        my $message = $self->{fragments};
        return wantarray ? ($message, $self->{kind}) : $message;
    }

    return;
}


# The next message, parsed. Undef as with recv_message.
sub recv_json {
    my ($self, $timeout) = @_;

    my ($text) = $self->recv_message($timeout);
    return defined $text ? $JSON->decode($text) : undef;
}


# The next message of that type; others are dropped.
sub recv_type {
    my ($self, $type, $timeout) = @_;

    my $until = $self->deadline($timeout);

    while (my $message = $self->recv_json($timeout)) {
        return $message if $message->{type} eq $type;
        last if Time::HiRes::time() > $until;
    }

    return;
}


# The code and reason of the server's close frame, skipping what comes before
# it: 1005 where it has none, an empty list where none comes.
sub recv_close {
    my ($self, $timeout) = @_;

    my $until = $self->deadline($timeout);

    while (!$self->{closed}) {
        my $frame = $self->_take_frame;

        if ($frame) {
            $self->{closed} = $frame if $frame->{opcode} == $OPCODE{close};
        } elsif (!$self->fill($until)) {
            return;
        }
    }

    my $payload = $self->{closed}{payload};

    return (1005, '') if length $payload < 2;
    return (unpack('n', $payload), substr $payload, 2);
}


# The server closes, with this code, and then the connection ends.
sub closes_with {
    my ($self, $code, $timeout) = @_;

    my ($got) = $self->recv_close($timeout);
    return 0 unless defined $got && $got == $code;

    $self->send_close($code) unless $self->{eof};

    return $self->at_end($timeout);
}

1;
