package GatewayUpstream;

# An HTTP, FastCGI and uwsgi upstream whose failures are written into the request, and a log of
# all that reached it.
#
#   my $upstream = GatewayUpstream->new(ports => 2);
#   ... proxy_pass http://127.0.0.1:PORT, PORT of $upstream->port(0)
#   $nginx->http('GET', '/x?id=a&do=503,reset,200');
#   my @log = $upstream->log('a');   # {time, port, connection, method, uri,
#                                    #  headers (text), length, md5}
#   $upstream->stop;
#
# The n-th request with the same `id` meets the n-th of the comma-separated
# words of `do`, the last of them from then on:
#   200, 503 …    this status; 503:2 with "Retry-After: 2", the text after the
#                 colon is URI-encoded
#   reset         reads the request and resets the connection
#   end           reads it and closes the connection
#   hang          reads it and says nothing more
#   parts         is 503, with a pause after the status line
#   garbage       answers with a header that is none
# The body of an answer names the port and the number of the request.

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(sleep time);

use GatewayProcess;

my %running;


sub new {
    my ($class, %args) = @_;

    my @listen = map {
        IO::Socket::INET->new(
            LocalAddr => '127.0.0.1', LocalPort => GatewayProcess::free_port(),
            Proto => 'tcp', Listen => 511, ReuseAddr => 1,
        ) or die "listen: $!\n"
    } 1 .. ($args{ports} || 1);

    my $self = bless {
        ports => [map { $_->sockport } @listen],
        file  => File::Temp->new(TEMPLATE => 'upstream-XXXXXX', TMPDIR => 1),
    }, $class;

    my $pid = fork();
    die "fork failed: $!\n" unless defined $pid;

    if ($pid == 0) {
        $SIG{PIPE} = 'IGNORE';
        open my $log, '>>:raw', $self->{file}->filename;
        $log->autoflush(1);
        eval { _serve($log, @listen) };
        print STDERR $@ if $@;
        POSIX::_exit(0);
    }

    $running{$pid} = $$;
    $self->{pid} = $pid;

    return $self;
}


sub port { return $_[0]{ports}[$_[1] || 0] }


# What was logged for this id, or everything; in the order of arrival.
sub log {
    my ($self, $id) = @_;

    return grep { !defined $id || $_->{id} eq $id }
        map { JSON::PP::decode_json($_) }
        split /\n/, GatewayProcess::slurp($self->{file}->filename);
}


sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;

    kill 'KILL', $pid;
    waitpid $pid, 0;
    delete $running{$pid};
}


sub _serve {
    my ($log, @listen) = @_;

    my $select = IO::Select->new(@listen);
    my %listens = map { $_ => 1 } @listen;
    my (%connection, %seen, $made);

    while (my @ready = $select->can_read) {
        for my $socket (@ready) {
            if ($listens{$socket}) {
                my $new = $socket->accept or next;
                $select->add($new);
                $connection{$new} = {
                    in => '', number => ++$made, port => $new->sockport,
                };
                next;
            }

            my $c = $connection{$socket};
            my $n = sysread $socket, $c->{in}, 65536, length $c->{in};

            while ($n && (my $request = _take($c))) {
                my $id = $request->{id};
                print {$log} JSON::PP::encode_json($request), "\n";
                last if $n = _answer($socket, $request, ++$seen{$id});
            } continue {
                $n = 1;
            }

            next if $n && $n ne 'closed';

            $select->remove($socket);
            delete $connection{$socket};
            close $socket;
        }
    }
}


# One request off the front of what came, undef where it is not complete.
sub _take {
    my ($c) = @_;

    my $in = \$c->{in};
    my ($kind, $method, $uri, $head, $body);

    if ($$in =~ /^\x01/) {
        ($kind, $body) = ('fastcgi', '');
        my $at = 0;

        while (1) {
            return if length($$in) < $at + 8;
            my ($type, $length, $padding) = unpack "x$at x C x2 n C", $$in;
            return if length($$in) < $at + 8 + $length + $padding;
            $head = substr $$in, 0, $at if $type == 5 && !defined $head;
            $body .= substr $$in, $at + 8, $length if $type == 5;
            $at += 8 + $length + $padding;
            last if $type == 5 && $length == 0;
        }

        $uri = $head =~ /REQUEST_URI([!-~]+?)(?=[^!-~]|$)/ ? $1 : '';
        substr $$in, 0, $at, '';
    } elsif ($$in =~ /^\x00/) {
        return if length($$in) < 4;
        my $size = unpack 'x v', $$in;
        return if length($$in) < 4 + $size;

        ($kind, $body) = ('uwsgi', substr $$in, 4 + $size);
        $head = substr $$in, 4, $size;
        $uri = $head =~ /REQUEST_URI..([!-~]+)/s ? $1 : '';
        $$in = '';
    } else {
        my $end = index $$in, "\r\n\r\n";
        return if $end < 0;

        $kind = 'http';
        $head = substr $$in, 0, $end + 2;
        my $length = $head =~ /^content-length:\s*(\d+)/mi ? $1 : 0;
        return if length($$in) < $end + 4 + $length;

        ($method, $uri) = $head =~ /^(\S+) (\S+)/;
        $body = substr $$in, $end + 4, $length;
        substr $$in, 0, $end + 4 + $length, '';
    }

    return {
        time => time(), port => $c->{port}, connection => $c->{number},
        kind => $kind, method => $method, uri => $uri,
        headers => $kind eq 'http' ? $head : '',
        length => length $body, md5 => md5_hex($body),
        id => $uri =~ /[?&]id=([^&]*)/ ? $1 : '',
    };
}


# "closed" where the connection is to be closed.
sub _answer {
    my ($socket, $request, $n) = @_;

    my @words = split /,/, $request->{uri} =~ /[?&]do=([^&]*)/ ? $1 : '200';
    my ($what, $after) = split /:/, $words[$n > @words ? -1 : $n - 1], 2;

    return if $what eq 'hang';
    return 'closed' if $what eq 'end';

    if ($what eq 'reset') {
        setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
        return 'closed';
    }

    if ($what eq 'garbage') {
        syswrite $socket, "HTTP/1.1 200 OK\r\nwhat \0 is this\r\n\r\n";
        return 'closed';
    }

    my $parts = $what eq 'parts';
    $what = 503 if $parts;

    my $body = "port $request->{port} request $n\n";
    my $retry = '';

    if (defined $after) {
        $after =~ s/%(..)/chr hex $1/ge;
        $retry = "Retry-After: $after\r\n";
    }

    $body = $retry . "Content-Type: text/plain\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body";

    if ($request->{kind} eq 'fastcgi') {
        $body = "Status: $what Status\r\n$body";
        syswrite $socket, pack('CCnnCx', 1, 6, 1, length $body, 0) . $body
            . pack('CCnnCx', 1, 6, 1, 0, 0)
            . pack('CCnnCx x8', 1, 3, 1, 8, 0);
        return 'closed';
    }

    my $line = "HTTP/1.1 $what Status\r\n";

    if ($parts) {
        syswrite $socket, $line;
        sleep 0.05;
        $line = '';
    }

    syswrite $socket, "$line$body";

    return $request->{kind} eq 'uwsgi' ? 'closed' : ();
}


END {
    my $status = $?;

    for my $pid (grep { $running{$_} == $$ } keys %running) {
        kill 'KILL', $pid;
        waitpid $pid, 0;
    }

    $? = $status;
}

1;
