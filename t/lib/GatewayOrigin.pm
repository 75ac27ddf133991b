package GatewayOrigin;

# An HTTP server for tests to proxy to: a few children that answer one request
# for each connection, and write down what they were asked for.
#
#   my $origin = GatewayOrigin->new(handler => sub {
#       my ($uri, $head) = @_;
#       return ("200 OK", ["Cache-Control: max-age=60"], "body", 0.5);
#   });
#   $origin->port; $origin->requests('/a'); $origin->stop;
#
# The handler runs in a child, and returns status, lines of the header, body
# and, where the answer is to be late, seconds; then, where it is to stop in the
# middle of the body, code that returns when it is to go on, or false where the
# connection is to be closed. For other protocols than HTTP
# `raw` returns all bytes of the answer to what has come at first.

use strict;
use warnings;

use File::Temp ();
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep);

use GatewayProcess;


# handler or raw, children (8)
sub new {
    my ($class, %args) = @_;

    my $self = bless { children => 8, %args, owner => $$ }, $class;

    $self->{port}   = GatewayProcess::free_port();
    $self->{log}    = File::Temp->new;
    $self->{socket} = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1',
        LocalPort => $self->{port},
        Proto     => 'tcp',
        Listen    => 511,
        ReuseAddr => 1,
    ) or die "cannot listen: $!\n";

    for (1 .. $self->{children}) {
        my $pid = fork();
        die "fork failed: $!\n" unless defined $pid;
        if ($pid == 0) {
            $self->_serve;
            POSIX::_exit(0);
        }
        push @{ $self->{pids} }, $pid;
    }

    close $self->{socket};

    return $self;
}


sub port { return $_[0]{port} }


# How often this URI was asked for, or all of them.
sub requests {
    my ($self, $uri) = @_;

    return scalar grep { !defined $uri || $_ eq $uri } split /\n/,
        GatewayProcess::slurp($self->{log}->filename);
}


sub stop {
    my ($self) = @_;

    return unless $self->{owner} == $$;

    kill 'KILL', @{ $self->{pids} };
    waitpid $_, 0 for @{ $self->{pids} };
    $self->{pids} = [];
}


sub DESTROY { $_[0]->stop }


sub _write {
    my ($client, $bytes) = @_;

    while (length $bytes) {
        my $n = syswrite $client, $bytes or return;
        substr $bytes, 0, $n, '';
    }
}


sub _serve {
    my ($self) = @_;

    $SIG{PIPE} = 'IGNORE';
    open my $log, '>>', $self->{log}->filename or return;

    while (my $client = $self->{socket}->accept) {
        my $head = '';
        if ($self->{raw}) {
            sysread $client, $head, 65536;
            syswrite $client, $self->{raw}->($head);
            # what is left unread would make it a reset
            shutdown $client, 1;
            1 while sysread $client, $head, 65536;
            next;
        }
        while ($head !~ /\r\n\r\n/) {
            last unless sysread $client, $head, 65536, length $head;
        }
        next unless $head =~ m{^\S+ (\S+) };
        my $uri = $1;

        syswrite $log, "$uri\n";

        my ($status, $lines, $body, $late, $hold)
            = $self->{handler}->($uri, $head);
        sleep $late if $late;

        my $answer = join "\r\n", "HTTP/1.1 $status", @$lines,
            'Content-Length: ' . length $body, 'Connection: close', '',
            $head =~ /^HEAD/ ? '' : $body;

        if ($hold) {
            my $half = int(length($body) / 2);
            _write($client, substr $answer, 0, length($answer) - $half, '');
            $answer = '' unless $hold->();
        }

        _write($client, $answer);
        close $client;
    }
}

1;
