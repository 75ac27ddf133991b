package GatewayProcess;

# One nginx, run in the foreground as a child of the test. It is ended by the
# pid of that child, and by nothing else; what a memory checker found and what
# the error log complains about can be asked for afterwards.
#
#   my $nginx = GatewayProcess->new(
#       prefix => $dir, conf => "$dir/conf/nginx.conf",
#       error_log => "$dir/logs/error.log", pid_file => "$dir/logs/nginx.pid");
#   $nginx->start or die $nginx->why;
#   ...
#   $nginx->stop or die $nginx->why;
#   die $_ for $nginx->complaints, $nginx->findings;
#
# Environment:
#   TEST_NGINX_BINARY        the nginx to run, default "nginx" of the PATH
#   TEST_NGINX_USE_VALGRIND  1, or valgrind's options
#   GATEWAY_PRELOAD          what LD_PRELOAD is for nginx alone (libasan)

use strict;
use warnings;

use Cwd qw(realpath);
use Errno qw(EINTR);
use File::Basename qw(dirname);
use IO::Socket::INET;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(sleep time);

my $ROOT = realpath(dirname(__FILE__) . '/../..');
my $TICK = 0.01;

my %running;


# All times here are seconds. Under valgrind everything takes longer.
sub patience {
    my ($seconds) = @_;

    return $ENV{TEST_NGINX_USE_VALGRIND} ? $seconds * 10 : $seconds;
}


# Waits for a condition; returns what it returned, false after `seconds`.
sub wait_for {
    my ($seconds, $condition) = @_;

    my $end = time() + patience($seconds);

    while (1) {
        my $result = $condition->();
        return $result if $result;
        return         if time() > $end;
        sleep $TICK;
    }
}


# A port of 127.0.0.1 that nobody listens on now, another one each time. Ports
# under the ephemeral range, so that no outgoing connection takes one in the
# meantime.
my %given;

sub free_port {
    for (1 .. 1000) {
        my $port = 10000 + int rand 20000;
        next if $given{$port}++;

        my $socket = IO::Socket::INET->new(
            LocalAddr => '127.0.0.1',
            LocalPort => $port,
            Proto     => 'tcp',
            Listen    => 1,
        );

        return $port if $socket;
    }

    die "no free port on 127.0.0.1\n";
}


sub slurp {
    my ($path) = @_;

    open my $in, '<:raw', $path or return '';
    local $/;
    my $text = <$in>;
    return defined $text ? $text : '';
}


sub spew {
    my ($path, $text) = @_;

    open my $out, '>:raw', $path or die "cannot write $path: $!\n";
    print {$out} $text or die "cannot write $path: $!\n";
    close $out or die "cannot write $path: $!\n";
}


# Directives that keep temporary files out of the system's folders, for an
# nginx that has those compiled in, except where `config` has them.
sub temp_paths {
    my ($config) = @_;

    my $binary = $ENV{TEST_NGINX_BINARY} || 'nginx';
    our %built;
    $built{$binary} //= `'$binary' -V 2>&1`;

    my $text = '';

    for my $kind (qw(client-body proxy fastcgi uwsgi scgi)) {
        next unless $built{$binary} =~ m{--http-$kind-temp-path=/};

        (my $directive = "${kind}_temp_path") =~ tr/-/_/;
        $text .= "$directive temp_$kind;\n"
            unless ($config // '') =~ /\b$directive\b/;
    }

    return $text;
}


sub new {
    my ($class, %args) = @_;

    for my $key (qw(prefix conf error_log pid_file)) {
        die "GatewayProcess: \"$key\" is missing\n" unless defined $args{$key};
    }

    return bless { %args, why => '' }, $class;
}


sub pid       { return $_[0]{pid} }
sub why       { return $_[0]{why} }
sub error_log { return slurp($_[0]{error_log}) }


sub command {
    my ($self) = @_;

    my @command = (
        $ENV{TEST_NGINX_BINARY} || 'nginx',
        '-p', "$self->{prefix}/",
        '-e', $self->{error_log},
        '-c', $self->{conf},
        '-g', 'daemon off;',
    );

    my $valgrind = $ENV{TEST_NGINX_USE_VALGRIND} or return @command;

    my @options =
        $valgrind =~ /^\d+$/
        ? (
            '--leak-check=full',   '--show-possibly-lost=no',
            '--num-callers=30',    '--gen-suppressions=all',
            "--suppressions=$ROOT/t/valgrind.supp",
          )
        : split ' ', $valgrind;

    return (
        'valgrind', '-q', @options,
        "--log-file=$self->{prefix}/valgrind.%p", @command
    );
}


# Without waiting: the pid of the new child.
sub spawn {
    my ($self) = @_;

    unlink $self->{pid_file};

    my $pid = fork();
    die "fork failed: $!\n" unless defined $pid;

    if ($pid == 0) {
        my $log = "$self->{prefix}/sanitizer";
        for my $name (qw(ASAN_OPTIONS UBSAN_OPTIONS)) {
            $ENV{$name} = join ':', $ENV{$name} || (), "log_path=$log";
        }
        $ENV{LD_PRELOAD} = $ENV{GATEWAY_PRELOAD} if $ENV{GATEWAY_PRELOAD};

        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>>', "$self->{prefix}/output";
        open STDERR, '>>', "$self->{prefix}/output";
        my @command = $self->command;
        { exec { $command[0] } @command }
        POSIX::_exit(127);
    }

    $running{$pid} = $$;
    $self->{pid} = $pid;
    delete $self->{status};

    return $pid;
}


# True once the child has ended; its wait status is then in {status}.
sub has_ended {
    my ($self) = @_;

    return 1 if defined $self->{status} || !defined $self->{pid};

    my $pid = waitpid $self->{pid}, WNOHANG;
    return 0 if $pid == 0;

    $self->{status} = $pid == $self->{pid} ? $? : -1;
    delete $running{ $self->{pid} };

    return 1;
}


# Runs nginx until its listening sockets are open. False, with why(), where it
# ends instead.
sub start {
    my ($self) = @_;

    $self->spawn;

    my $result = wait_for(
        10,
        sub {
            return 'ended' if $self->has_ended;
            return slurp($self->{pid_file}) =~ /^$self->{pid}$/m
                ? 'started'
                : undef;
        }
    );

    return 1 if defined $result && $result eq 'started';

    $self->{why} =
          (defined $result ? 'nginx ended at once: ' : 'nginx did not start: ')
        . $self->error_log
        . slurp("$self->{prefix}/output");
    $self->kill_off unless defined $result;

    return 0;
}


# Runs nginx, which is expected to end by itself; returns its exit code, or
# undef, with why(), where it went on or was ended by a signal.
sub run_to_end {
    my ($self) = @_;

    $self->spawn;

    if (!wait_for(10, sub { $self->has_ended || -s $self->{pid_file} })
        || !$self->has_ended)
    {
        $self->{why} = 'nginx started';
        $self->stop;
        return;
    }

    if ($self->{status} & 127) {
        $self->{why} = 'nginx was ended by signal ' . ($self->{status} & 127);
        return;
    }

    return $self->{status} >> 8;
}


# QUIT (graceful) or TERM. False, with why(), where nginx had to be killed or
# had ended before.
sub stop {
    my ($self, $signal) = @_;

    return 1 unless defined $self->{pid};

    $signal ||= 'QUIT';

    if ($self->has_ended) {
        $self->{why} = 'nginx had ended before, with status '
            . $self->{status} . ': ' . slurp("$self->{prefix}/output");
        delete $self->{pid};
        return 0;
    }

    kill $signal, $self->{pid};

    if (!wait_for(10, sub { $self->has_ended })) {
        $self->{why} = "nginx did not end within 10 s of $signal";
        $self->kill_off;
        return 0;
    }

    my $status = $self->{status};
    delete $self->{pid};

    return 1 if $status == 0;

    $self->{why} = "nginx ended with status $status: "
        . slurp("$self->{prefix}/output");

    return 0;
}


# TERM makes a master end its workers, KILL would leave them behind.
sub kill_off {
    my ($self) = @_;

    my $pid = delete $self->{pid};
    return unless defined $pid && !defined $self->{status};

    my @workers = children($pid);

    kill 'TERM', $pid;

    my $ended = sub { waitpid($pid, WNOHANG) != 0 };

    if (!wait_for(3, $ended)) {
        kill 'KILL', $pid, @workers;
        wait_for(3, $ended);
    }

    delete $running{$pid};
}


# The pids of the children of a process.
sub children {
    my ($pid) = @_;

    return split ' ', slurp("/proc/$pid/task/$pid/children");
}


# Lines of the error log that no test may cause, except where one of the
# patterns (strings or qr//) names them.
sub complaints {
    my ($self, @expected) = @_;

    my @bad = grep {/ \[(?:alert|crit|emerg)\] /} split /\n/, $self->error_log;

    for my $pattern (@expected) {
        my $regex = ref $pattern ? $pattern : qr/\Q$pattern\E/;
        @bad = grep { $_ !~ $regex } @bad;
    }

    return @bad;
}


# What valgrind and the sanitizers have written.
sub findings {
    my ($self) = @_;

    return grep {/\S/}
        map { slurp($_) } glob "$self->{prefix}/{valgrind,sanitizer}.*";
}


# A test that dies leaves nothing running.
END {
    my $status = $?;

    for my $pid (grep { $running{$_} == $$ } keys %running) {
        my @workers = children($pid);
        kill 'TERM', $pid;
        wait_for(3, sub { waitpid($pid, WNOHANG) != 0 })
            or kill 'KILL', $pid, @workers;
    }

    $? = $status;
}

1;
