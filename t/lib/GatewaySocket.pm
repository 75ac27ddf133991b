package GatewaySocket;

# A byte stream with time-outs over TCP or TLS, and the HTTP that tests need.
# Reads go into a buffer, {in}; what a higher layer takes off its front is
# gone. Writing reads at the same time, so that neither side can block the
# other.
#
#   my $http = GatewaySocket->connect(port => $port);
#   $http->write(GatewaySocket::request('GET', '/status'));
#   my $response = $http->response('GET');   # {status, headers, body}
#   ... and so on: the connection stays open

use strict;
use warnings;

use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use IO::Select;
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time);

use GatewayProcess;

$SIG{PIPE} = 'IGNORE';


# host (127.0.0.1), port, timeout of everything (5 s), tls (0), sni
# (localhost), receive_buffer (SO_RCVBUF, for readers meant to be slow).
# Returns undef where nobody listens.
sub connect {
    my ($class, %args) = @_;

    my $self = bless {
        in      => '',
        eof     => 0,
        timeout => GatewayProcess::patience($args{timeout} || 5),
    }, $class;

    my $socket = IO::Socket::INET->new(Proto => 'tcp') or return;

    if ($args{receive_buffer}) {
        $socket->setsockopt(SOL_SOCKET, Socket::SO_RCVBUF(),
            pack 'i', $args{receive_buffer});
    }

    my $address = Socket::pack_sockaddr_in($args{port},
        Socket::inet_aton($args{host} || '127.0.0.1'));
    CORE::connect($socket, $address) or return;

    $socket->setsockopt(IPPROTO_TCP, TCP_NODELAY, pack 'i', 1);

    if ($args{tls}) {
        require IO::Socket::SSL;
        $socket = IO::Socket::SSL->start_SSL(
            $socket,
            SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_NONE(),
            SSL_hostname    => $args{sni} || 'localhost',
            Timeout         => $self->{timeout},
        ) or return;
        $self->{tls} = 1;
    }

    $socket->blocking(0);
    $self->{socket} = $socket;
    $self->{select} = IO::Select->new($socket);

    return $self;
}


sub _again {
    my ($self) = @_;

    return 1 if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
    return $self->{tls}
        && $IO::Socket::SSL::SSL_ERROR
        && $IO::Socket::SSL::SSL_ERROR =~ /wants a (?:read|write)/;
}


# What is there now, without waiting. A reset is an end too; {reset} tells.
sub _read_some {
    my ($self) = @_;

    while (!$self->{eof}) {
        my $n = sysread $self->{socket}, $self->{in}, 65536, length $self->{in};

        if (!defined $n) {
            return if $self->_again;
            $self->{reset} = 1;
            $n = 0;
        }

        $self->{eof} = 1 if $n == 0;
        return unless $self->{tls} && $self->{socket}->pending;
    }
}


# Waits for more input: true where some came, false at the time-out or the
# end ({eof}).
sub fill {
    my ($self, $until) = @_;

    my $had = length $self->{in};

    while (!$self->{eof} && length $self->{in} == $had) {
        my $left = $until - time();
        $left = 0 if $left < 0;

        if (!($self->{tls} && $self->{socket}->pending)) {
            return 0 unless $self->{select}->can_read($left);
        }

        $self->_read_some;
    }

    return length $self->{in} > $had;
}


# The end of the time for something that begins now.
sub deadline {
    my ($self, $timeout) = @_;

    return time() + (
        defined $timeout
        ? GatewayProcess::patience($timeout)
        : $self->{timeout}
    );
}


# Writes everything; false where the other side is gone or does not read.
sub write {
    my ($self, $bytes) = @_;

    my $until = $self->deadline;
    my $at    = 0;

    while ($at < length $bytes) {
        my $n = syswrite $self->{socket}, $bytes, length($bytes) - $at, $at;

        if (defined $n) {
            $at += $n;
            next;
        }

        return 0 unless $self->_again;

        my $left = $until - time();
        return 0 if $left <= 0;

        my ($readable)
            = IO::Select::select($self->{eof} ? undef : $self->{select},
            $self->{select}, undef, $left);
        $self->_read_some if $readable && @$readable;
    }

    return 1;
}


# Everything up to the other side's end, or the time-out.
sub read_to_end {
    my ($self, $timeout) = @_;

    my $until = $self->deadline($timeout);
    1 while $self->fill($until);

    my $all = $self->{in};
    $self->{in} = '';

    return $all;
}


# True once the other side has ended its direction and nothing is unread.
sub at_end {
    my ($self, $timeout) = @_;

    $self->fill($self->deadline($timeout)) unless length $self->{in};

    return $self->{eof} && !length $self->{in};
}


# No more from us, but still reading.
sub half_close { $_[0]{socket}->shutdown(1) }


sub close {
    my ($self) = @_;

    my $socket = delete $self->{socket} or return;
    $self->{tls} ? $socket->close(SSL_no_shutdown => 1) : $socket->close;
    $self->{eof} = 1;
}


# An RST in place of a FIN.
sub abort {
    my ($self) = @_;

    my $socket = $self->{socket} or return;
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    $self->close;
}


sub fileno { return CORE::fileno($_[0]{socket}) }


# The bytes of a request: headers are an array of name => value pairs.
sub request {
    my ($method, $uri, %args) = @_;

    my @headers = @{ $args{headers} || [] };
    my %named   = map { lc $headers[ 2 * $_ ] => 1 } 0 .. @headers / 2 - 1;

    unshift @headers, Host => 'localhost' unless $named{host};
    push @headers, 'Content-Length' => length $args{body}
        if defined $args{body} && !$named{'content-length'};
    push @headers, Connection => 'close'
        if $args{close} && !$named{connection};

    my $text = "$method $uri HTTP/1.1\r\n";

    while (my ($name, $value) = splice @headers, 0, 2) {
        $text .= "$name: $value\r\n";
    }

    return "$text\r\n" . ($args{body} // '');
}


# Chunks at the start of the text: the body they make and the bytes they take,
# undef where not all has come.
sub _dechunk {
    my ($text) = @_;

    my ($body, $at) = ('', 0);

    while (substr($text, $at, 40) =~ /^([0-9a-fA-F]+)[^\r\n]*\r\n/) {
        my ($size, $line) = (hex $1, length $&);

        $at += $line;
        last if $size == 0;

        return if $at + $size + 2 > length $text;
        $body .= substr $text, $at, $size;
        $at += $size + 2;
    }

    # trailers, which nobody reads, and the empty line
    my $end = substr($text, $at, 2) eq "\r\n" ? $at - 2 : index $text,
        "\r\n\r\n", $at;

    return $end < 0 ? () : ($body, $end + 4);
}


# Takes one response off the front of $$text: {status, raw_headers, headers,
# body}. `ended` says that no more will come. Returns undef where it is not
# complete.
sub take_response {
    my ($text, $method, $ended) = @_;

    my $head = index $$text, "\r\n\r\n";
    return if $head < 0;

    my $raw = substr $$text, 0, $head + 2;
    my ($status) = $raw =~ m{^HTTP/1\.\d (\d{3})} or return;
    my %headers;

    for my $line (split /\r\n/, $raw) {
        push @{ $headers{ lc $1 } }, $2
            if $line =~ /^([^:\s]+):[ \t]*(.*?)[ \t]*$/;
    }

    my $body   = substr $$text, $head + 4;
    my $length = $headers{'content-length'}[0];
    my $chunks = lc($headers{'transfer-encoding'}[0] // '') eq 'chunked';
    my $used;

    if ($method eq 'HEAD' || $status =~ /^(?:1..|204|304)$/) {
        $used = 0;
    } elsif ($chunks) {
        my $all = $body;
        ($body, $used) = _dechunk($all);
        if (!defined $used) {
            return unless $ended;
            ($body, $used) = ($all, length $all);
        }
    } elsif (defined $length && $length <= length $body) {
        $used = $length;
    } elsif ($ended) {
        $used = length $body;
    } else {
        return;
    }

    substr $$text, 0, $head + 4 + $used, '';

    return {
        status      => $status,
        raw_headers => $raw,
        headers     => {
            map { $_ => join ', ', @{ $headers{$_} } } keys %headers
        },
        body => $chunks ? $body : substr($body, 0, $used),
    };
}


# Waits for the next response. Undef at the time-out or a broken end.
sub response {
    my ($self, $method, $timeout) = @_;

    my $until = $self->deadline($timeout);

    while (1) {
        my $response = take_response(\$self->{in}, $method, $self->{eof});
        return $response if $response;
        return unless $self->fill($until) || $self->{eof};
        return if $self->{eof} && !length $self->{in};
        return take_response(\$self->{in}, $method, 1) if $self->{eof};
    }
}

1;
