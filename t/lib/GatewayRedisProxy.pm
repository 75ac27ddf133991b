package GatewayRedisProxy;

# What stands between a node and its Redis, and does as it is told, in a
# process of its own.
#
#   my $proxy = GatewayRedisProxy->new(to => $redis);
#   ... "gateway_redis r " . $proxy->url . ";"
#   $proxy->behave('slow', 50);
#   $proxy->behave('error', 'OOM no', 'EVAL|EVALSHA');
#   $proxy->behave('pass');
#   $proxy->commands;              # how many of each name so far, { GET => 2 };
#                                  # late: of those that matched
#
# pass; slow MS (each reply so much later, none any more when that is over);
# error TEXT [NAMES] (these commands, all by default, get this error and are not
# carried out); deaf (commands are carried out, their replies are lost); hole
# (nothing arrives on either side, as where the network is parted; it arrives
# once that is over); refuse (connections are closed, those that are there too);
# garbage, bulk, array, line (what no Redis answers, in place of a reply: noise,
# enormous lengths, a line without end); cut (half a reply, then the end); late
# PATTERN [KINDS] (a connection on which a command comes that matches, its words
# parted by blanks, gets no replies until that is over; KINDS: `subscribed`,
# those too that have subscribed, `refuse`, there are no new ones).
#
# It is in effect when behave() returns. It is ended by its own pid.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Time::HiRes qw(time);

use GatewayProcess;

my %INSTEAD = (
    garbage => "\x00\xff\x16\x03\x01HTTP/1.1 200 OK\r\n\r\n" x 8,
    bulk    => "\$2147483647\r\nabc",
    array   => "*1000000000\r\n*1000000000\r\n\$1\r\na\r\n",
    line    => '+' . 'a' x 300_000,
    deaf    => '',
);


# to: a GatewayRedis.
sub new {
    my ($class, %args) = @_;

    my $self = bless {
        port => GatewayProcess::free_port(), owner => $$, %args
    }, $class;

    my $listen = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Proto => 'tcp',
        Listen => 1024, ReuseAddr => 1, Blocking => 0,
    ) or die "port $self->{port}: $!\n";

    socketpair my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or die "socketpair: $!\n";

    $self->{pid} = fork;
    die "fork failed: $!\n" unless defined $self->{pid};

    if ($self->{pid} == 0) {
        $SIG{PIPE} = 'IGNORE';
        close $here;
        eval { $self->_serve($listen, $there); 1 } or warn $@;
        POSIX::_exit(0);
    }

    $self->{control} = $here;

    return $self;
}


sub port { return $_[0]{port} }

sub url {
    my ($self, @db) = @_;
    return $self->{to}->url(@db) =~ s/:$self->{to}{port}\b/:$self->{port}/r;
}


sub _ask {
    my ($self, @words) = @_;

    syswrite $self->{control}, join("\t", @words) . "\n";
    my $answer = readline $self->{control};
    die "the proxy has ended\n" unless defined $answer;
    chomp $answer;

    return $answer;
}


sub behave {
    my ($self, $mode, @how) = @_;
    $self->_ask($mode, @how);
}


sub commands {
    my ($self) = @_;
    return { map { split /=/ } split / /, $self->_ask('commands') };
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;
    local ($?, $!);
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
}


# From here on in the other process. Each connection is two ends, {peer} is
# the other; {later} holds what a slow one has not been told yet.

sub _serve {
    my ($self, $listen, $control) = @_;

    @$self{qw(mode how ends counts)} = ('pass', [], {}, {});

    while (1) {
        my $hole = $self->{mode} eq 'hole';
        my @ends = values %{ $self->{ends} };
        my $select = IO::Select->new($control,
            $hole ? () : ($listen, map { $_->{socket} } @ends));

        for my $socket ($select->can_read($self->_pause)) {
            if ($socket == $control) {
                my $line = readline $control;
                return unless defined $line;
                $self->_told($control, $line);
                last;
            }

            if ($socket == $listen) {
                $self->_accept($listen);
                next;
            }

            my $end = $self->{ends}{$socket} or next;
            $self->_read($end) or $self->_close($end);
        }

        $self->_send_late;
    }
}


sub _told {
    my ($self, $control, $line) = @_;

    chomp $line;
    my ($mode, @how) = split /\t/, $line;

    if ($mode eq 'commands') {
        my $counts = $self->{counts};
        syswrite $control,
            join(' ', map {"$_=$counts->{$_}"} sort keys %$counts) . "\n";
        return;
    }

    @$self{qw(mode how)} = ($mode, \@how);

    if ($mode ne 'late') {
        delete $_->{late} for values %{ $self->{ends} };
    }

    if ($mode eq 'refuse') {
        for my $end (my @all = values %{ $self->{ends} }) {
            $self->_close($end) if $end->{peer};
        }
    }

    syswrite $control, "ok\n";
}


sub _accept {
    my ($self, $listen) = @_;

    my $client = $listen->accept or return;
    return if grep { $_ eq 'refuse' } $self->{mode}, @{ $self->{how} };

    my $server = IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $self->{to}{port}) or return;

    my ($a, $b) = map { +{ socket => $_, in => '', later => [] } }
        $client, $server;

    @$a{qw(peer commands)} = ($b, 1);
    $b->{peer} = $a;
    $self->{ends}{ $_->{socket} } = $_ for $a, $b;
}


sub _close {
    my ($self, $end) = @_;

    for my $one ($end, delete $end->{peer}) {
        delete $self->{ends}{ $one->{socket} };
        delete $one->{peer};
        close $one->{socket};
    }
}


# False where the connection is over.
sub _read {
    my ($self, $end) = @_;

    my $n = sysread $end->{socket}, my $bytes, 65536 or return 0;
    my $to = $end->{peer}{socket};
    my ($mode, @how) = ($self->{mode}, @{ $self->{how} });

    return _write($to, $self->_commands($end, $bytes)) if $end->{commands};

    if (defined $INSTEAD{$mode}) {
        return _write($to, $INSTEAD{$mode});
    }

    if ($mode eq 'cut') {
        _write($to, substr $bytes, 0, $n / 2);
        return 0;
    }

    if ($mode eq 'slow' || $mode eq 'late' && $self->_late($end)) {
        push @{ $end->{later} },
            [$mode eq 'slow' ? time + $how[0] / 1000 : 0, $bytes];
        return 1;
    }

    return _write($to, $bytes);
}


sub _late {
    my ($self, $end) = @_;

    return $end->{late} || $end->{subscribed}
        && grep { $_ eq 'subscribed' } @{ $self->{how} };
}


# What goes to the server for these bytes. An error is made by the server, so
# that it comes in its place among the replies.
sub _commands {
    my ($self, $end, $bytes) = @_;

    my ($mode, $text, $names) = ($self->{mode}, @{ $self->{how} });
    my $out = '';

    $end->{in} .= $bytes;

    while (my ($length, @words) = _command($end->{in})) {
        my $name = uc $words[0];
        my $command = substr $end->{in}, 0, $length, '';

        $self->{counts}{$name}++;
        $end->{peer}{subscribed} = 1 if $name =~ /SUBSCRIBE/;

        if ($mode eq 'late' && "@words" =~ /$text/) {
            $end->{peer}{late} = 1;
            $self->{counts}{late}++;
        }

        if ($mode eq 'error' && (!defined $names || $name =~ /^(?:$names)$/)) {
            my $script = 'return {err = ARGV[1]}';
            $command = "*4\r\n\$4\r\nEVAL\r\n\$" . length($script)
                . "\r\n$script\r\n\$1\r\n0\r\n\$" . length($text)
                . "\r\n$text\r\n";
        }

        $out .= $command;
    }

    return $out;
}


# The first command of a text: its length and its words.
sub _command {
    my ($text) = @_;

    $text =~ /\G\*(\d+)\r\n/gc or return;
    my ($n, @words) = ($1);

    for (1 .. $n) {
        $text =~ /\G\$(\d+)\r\n/gc or return;
        my $at = pos $text;
        return if length $text < $at + $1 + 2;
        push @words, substr $text, $at, $1;
        pos($text) = $at + $1 + 2;
    }

    return (pos $text, @words);
}


sub _write {
    my ($socket, $bytes) = @_;

    my $at = 0;
    while ($at < length $bytes) {
        my $n = syswrite $socket, $bytes, length($bytes) - $at, $at;
        return 0 unless $n;
        $at += $n;
    }

    return 1;
}


sub _pause {
    my ($self) = @_;

    return if $self->{mode} =~ /^(?:hole|late)$/;

    my ($next) = sort { $a <=> $b } map { $_->{later}[0][0] }
        grep { @{ $_->{later} } } values %{ $self->{ends} };

    return !defined $next ? undef : $next > time ? $next - time : 0;
}


sub _send_late {
    my ($self) = @_;

    return if $self->{mode} =~ /^(?:hole|late)$/;

    for my $end (my @all = values %{ $self->{ends} }) {
        while ($end->{peer} && @{ $end->{later} }
            && ($self->{mode} ne 'slow' || $end->{later}[0][0] <= time))
        {
            my $bytes = (shift @{ $end->{later} })->[1];
            if (!_write($end->{peer}{socket}, $bytes)) {
                $self->_close($end);
                last;
            }
        }
    }
}

1;
