package GatewayPeer;

# A server of an upstream that answers health checks as a test tells it to, and
# other requests with its name. It keeps connections.
#
#   my $peer = GatewayPeer->new(name => 'a', port => $port, folder => $dir);
#   $peer->mode('hang');      # see %ANSWERS, and hang, reset, silent
#   $peer->checks;            # ({connection, host, agent, time}, ...)
#   $peer->requests;          # others, so far
#   $peer->stop;
#
# tls => 1: TLS with folder/server.crt and server.key. path: a Unix socket.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL ();
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes ();

use GatewayProcess;

my $LENGTH = "Content-Length: 2\r\n\r\nok";

my %ANSWERS = (
    ok       => "HTTP/1.1 200 OK\r\n$LENGTH",
    chunked  => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        . "3;a=b\r\nabc\r\n00a\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
    interim  => "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
        . "Link: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    fail     => "HTTP/1.1 503 No\r\n$LENGTH",
    teapot   => "HTTP/1.1 418 Teapot\r\n$LENGTH",
    redirect => "HTTP/1.1 302 Found\r\nLocation: /\r\n$LENGTH",
    close    => "HTTP/1.1 200 OK\r\nConnection: close\r\n$LENGTH",
    old      => "HTTP/1.0 200 OK\r\n\r\n" . 'x' x 10000,
    endless  => "HTTP/1.1 200 OK\r\n\r\n" . 'x' x 3_000_000,
    excess   => "HTTP/1.1 200 OK\r\n${LENGTH}HTTP/1.1 200 OK\r\n$LENGTH",
    garbage  => "\x16\x03\x01\x00\xffSSH-2.0-x\r\n" x 20,
    head     => "HTTP/1.1 200 OK\r\n" . ('X: ' . 'y' x 1000 . "\r\n") x 100,
    chunk    => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        . "ffffffffffffffffff\r\n",
    length   => "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    part     => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab",
);

my %LAST = map { $_ => 1 } qw(close old endless garbage head chunk length part);


sub new {
    my ($class, %args) = @_;

    my $self = bless { owner => $$, tls => 0, mode => 'ok', %args }, $class;

    $self->mode($self->{mode});
    GatewayProcess::spew($self->_file('log'), '') if !-e $self->_file('log');

    my $listen = $self->{path}
        ? IO::Socket::UNIX->new(Local => $self->{path}, Listen => 64)
        : IO::Socket::INET->new(
            LocalAddr => '127.0.0.1', LocalPort => $self->{port},
            Listen    => 64, ReuseAddr => 1);
    die "peer $self->{name}: $!\n" if !$listen;

    $self->{pid} = fork;
    die "fork: $!" unless defined $self->{pid};

    if (!$self->{pid}) {
        $self->_serve($listen);
        POSIX::_exit(0);
    }

    return $self;
}


sub _file { return "$_[0]{folder}/peer-$_[0]{name}.$_[1]" }

sub mode {
    my ($self, $mode) = @_;

    GatewayProcess::spew($self->_file('new'), $mode);
    rename $self->_file('new'), $self->_file('mode') or die $!;
}

sub _lines {
    my ($self, $what) = @_;

    return grep { $_->[0] eq $what } map { [split /\t/] }
        split /\n/, GatewayProcess::slurp($self->_file('log'));
}

sub checks {
    my ($self) = @_;

    return map {
        {
            connection => $_->[1], time => $_->[2], uri => $_->[3],
            host       => $_->[4], agent => $_->[5],
        }
    } $self->_lines('check');
}

sub requests { return scalar $_[0]->_lines('request') }


sub stop {
    my ($self) = @_;

    return if !$self->{pid} || $self->{owner} != $$;

    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
    $self->{pid} = 0;
    unlink $self->{path} if $self->{path};
}

sub DESTROY { local $?; $_[0]->stop }


sub _serve {
    my ($self, $listen) = @_;

    my $n = 0;
    my $select = IO::Select->new($listen);

    $SIG{PIPE} = 'IGNORE';

    while (getppid() == $self->{owner}) {

        for my $socket ($select->can_read(0.05)) {
            if ($socket != $listen) {
                $self->_read($socket) or $self->_close($select, $socket);
                next;
            }

            my $client = $listen->accept or next;
            my $number = ++$n;

            if ($self->{tls}) {
                IO::Socket::SSL->start_SSL($client,
                    SSL_server    => 1,
                    SSL_cert_file => "$self->{folder}/server.crt",
                    SSL_key_file  => "$self->{folder}/server.key",
                    Timeout       => 2) or next;
            }

            ${*$client}{gateway} = { number => $number, in => '' };
            $select->add($client);
        }
    }
}


sub _close {
    my ($self, $select, $socket) = @_;

    $select->remove($socket);
    close $socket;
}


sub _log {
    my ($self, @fields) = @_;

    open my $log, '>>', $self->_file('log') or die $!;
    syswrite $log, join("\t", @fields) . "\n";
    close $log;
}


# False where the connection is to be closed.
sub _read {
    my ($self, $socket) = @_;

    my $state = ${*$socket}{gateway};

    sysread $socket, $state->{in}, 65536, length $state->{in} or return 0;

    while ($state->{in} =~ s/\A(.*?\r\n)\r\n//s) {
        my $head = $1;
        my ($uri) = $head =~ /\A\w+ (\S+)/;
        my ($host) = $head =~ /^Host: (.*)\r$/m;
        my ($agent) = $head =~ /^User-Agent: (.*)\r$/m;

        if (($agent || '') !~ /health/) {
            $self->_log('request', $state->{number});
            syswrite $socket, "HTTP/1.1 200 OK\r\nContent-Length: "
                . length($self->{name}) . "\r\n\r\n$self->{name}";
            next;
        }

        $self->_log('check', $state->{number}, Time::HiRes::time(), $uri,
            $host, $agent);

        $self->_answer($socket) or return 0;
    }

    return 1;
}


sub _answer {
    my ($self, $socket) = @_;

    my $mode = GatewayProcess::slurp($self->_file('mode'));

    return 1 if $mode eq 'hang';
    return 0 if $mode eq 'silent';

    if ($mode eq 'reset') {
        setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
        return 0;
    }

    my $text = $ANSWERS{$mode};
    my $at = 0;

    while ($at < length $text) {
        my $n = syswrite $socket, $text, 65536, $at or last;
        $at += $n;
    }

    return !$LAST{$mode};
}

1;
