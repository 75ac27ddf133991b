package GatewayBackend;

# An upstream server that misbehaves as told, in a process of its own, and
# keeps a log of what has reached it.
#
#   my $up = GatewayBackend->new;
#   $up->behave('hang');           # from now on, for each request
#   ... GET /?do=slow:200          # or for this request alone
#   my @seen = $up->requests;      # ({at, do, uri, under_way}, ...)
#   $up->stop; $up->start;         # connections are refused in between
#
# What it can do: ok; a status such as 503; parts503 (the same, its header in
# two parts); hang; slow:MS (a whole answer after so long); reset (before an
# answer); drop (close before it); cut (a body that ends too early); cutreset
# (the same by a reset); drip:MS (a header at once, the body after so long);
# close (ok, and not kept alive).
#
# It is ended by its own pid.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use POSIX qw(:sys_wait_h);
use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time);

use File::Temp ();

use GatewayProcess;

my %running;


sub new {
    my ($class, %args) = @_;

    my $self = bless {
        port => GatewayProcess::free_port(), name => 'up',
        %args,
        dir => File::Temp::tempdir('upstream-XXXXXX', TMPDIR => 1,
            CLEANUP => 1),
    }, $class;

    $self->behave('ok');
    $self->start unless exists $args{start} && !$args{start};

    return $self;
}


sub port { return $_[0]{port} }

sub behave {
    my ($self, $what) = @_;

    GatewayProcess::spew("$self->{dir}/do.new", $what);
    rename "$self->{dir}/do.new", "$self->{dir}/do" or die "rename: $!\n";
}


# All requests so far, or those after the mark that mark() gave.
sub requests {
    my ($self, $mark) = @_;

    my @all = map {
        my ($at, $do, $uri, $under_way) = split ' ';
        +{ at => $at, do => $do, uri => $uri, under_way => $under_way };
    } split /\n/, GatewayProcess::slurp("$self->{dir}/log");

    return @all[($mark || 0) .. $#all];
}


sub mark {
    my ($self) = @_;
    return scalar(my @all = $self->requests);
}


sub start {
    my ($self) = @_;

    my $listen = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Proto => 'tcp',
        Listen => 1024, ReuseAddr => 1, Blocking => 0,
    ) or die "port $self->{port}: $!\n";

    my $pid = fork();
    die "fork failed: $!\n" unless defined $pid;

    if ($pid == 0) {
        $SIG{PIPE} = 'IGNORE';
        eval { $self->serve($listen) };
        POSIX::_exit(0);
    }

    close $listen;
    $self->{pid} = $pid;
    $running{$pid} = $$;

    return $self;
}


sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;

    kill 'KILL', $pid;
    waitpid $pid, 0;
    delete $running{$pid};
}


sub serve {
    my ($self, $listen) = @_;

    open my $log, '>>', "$self->{dir}/log" or die "log: $!\n";
    $log->autoflush(1);

    my $select = IO::Select->new($listen);
    my (%in, %later);

    while (1) {
        my $now = time;
        my ($next) = sort { $a <=> $b } map { $_->{due} } values %later;
        my $wait = defined $next ? $next - $now : 1;

        for my $s ($select->can_read($wait > 0 ? $wait : 0)) {
            if ($s == $listen) {
                while (my $new = $listen->accept) {
                    $new->blocking(0);
                    $select->add($new);
                    $in{$new} = '';
                }
                next;
            }

            my $n = sysread $s, $in{$s}, 65536, length $in{$s};

            if (!$n && !(defined $n ? 0 : $!{EAGAIN})) {
                delete $later{$s};
                delete $in{$s};
                $select->remove($s);
                close $s;
                next;
            }

            # one at a time on a connection, as nginx does
            next if $later{$s} || $in{$s} !~ /\r\n\r\n/;

            my ($uri) = $in{$s} =~ /^\S+ (\S+)/;
            my ($length) = $in{$s} =~ /^content-length: *(\d+)/mi;
            my $head = index($in{$s}, "\r\n\r\n") + 4;

            next if length $in{$s} < $head + ($length || 0);
            substr $in{$s}, 0, $head + ($length || 0), '';

            my ($do) = $uri =~ /[?&]do=([\w:]+)/;
            $do //= GatewayProcess::slurp("$self->{dir}/do");

            my $under_way = 1 + grep { $_->{due} > $now } values %later;
            printf {$log} "%.4f %s %s %d\n", time, $do, $uri, $under_way;

            my ($what, $ms) = split /:/, $do;
            $later{$s} = {
                socket => $s, what => $what,
                due => $what eq 'hang' ? 1e18
                    : $what eq 'slow' ? $now + $ms / 1000
                    : $now,
            };

            if ($what eq 'drip') {
                syswrite $s, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
                $later{$s}{due} = $now + $ms / 1000;
            }
        }

        $now = time;

        for my $key (keys %later) {
            next if $later{$key}{due} > $now;

            my ($s, $what) = @{ delete $later{$key} }{qw(socket what)};

            next if $self->answer($s, $what);

            delete $in{$key};
            $select->remove($s);
            close $s;
        }
    }
}


# False where the connection ends.
sub answer {
    my ($self, $s, $what) = @_;

    if ($what =~ /reset/) {
        syswrite $s, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789"
            if $what eq 'cutreset';
        select undef, undef, undef, 0.02 if $what eq 'cutreset';
        setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
        return 0;
    }

    return 0 if $what eq 'drop';

    if ($what eq 'cut') {
        syswrite $s, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789";
        return 0;
    }

    if ($what eq 'drip') {
        syswrite $s, $self->{name};
        return 1;
    }

    # nginx takes in the first part alone
    if ($what =~ s/^parts//) {
        syswrite $s, "HTTP/1.1 $what X\r\nX-Part: ";
        select undef, undef, undef, 0.02;
        syswrite $s, "1\r\nContent-Length: 1\r\n\r\nx";
        return 1;
    }

    my $status = $what =~ /^\d+$/ ? $what : 200;
    my $body = $status == 200 ? $self->{name} : "answer $status";
    my $connection = $what eq 'close' ? "Connection: close\r\n" : '';

    syswrite $s, "HTTP/1.1 $status X\r\n${connection}Content-Length: "
        . length($body) . "\r\n\r\n$body";

    return $what ne 'close';
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
