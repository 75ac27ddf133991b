package GatewayRedis;

# A redis-server of the test's own: a free port of 127.0.0.1, a folder of its
# own, ended by its own pid. See GatewayRedisSentinel and GatewayRedisCluster
# for several.
#
#   my $redis = GatewayRedis->new(password => 'secret');
#   ... "gateway_redis r " . $redis->url . ";"
#   $redis->command('GET', 'key');       # see GatewayRESP; dies on an error
#   $redis->kill; $redis->start;         # restarted, empty
#   $redis->suspend; $redis->resume;     # hung in between
#
# Nothing is kept over a restart, except with appendonly => 1, or after
# command('SAVE'); start(empty => 1) forgets that too.

use strict;
use warnings;

use File::Path ();
use File::Temp ();
use POSIX ();

use GatewayNginx;
use GatewayProcess;
use GatewayRESP;


# password, user (then the password is that user's, who may do what `acl` says,
# all by default), unix (url() is that of a Unix socket), tls (TLS alone, see
# ca()), appendonly, replica_of (a GatewayRedis), config (further lines), port,
# args (after the file's name), start (1).
sub new {
    my ($class, %args) = @_;

    my $self = bless {
        port => GatewayProcess::free_port(), acl => '~* &* +@all',
        config => '', args => [],
        %args,
        owner => $$,
        dir => File::Temp::tempdir('redis-XXXXXX', TMPDIR => 1, CLEANUP => 1),
    }, $class;

    GatewayNginx->make_certificate("$self->{dir}/server") if $self->{tls};

    GatewayProcess::spew("$self->{dir}/redis.conf", $self->_config);
    $self->start unless exists $args{start} && !$args{start};

    return $self;
}


sub port { return $_[0]{port} }
sub dir  { return $_[0]{dir} }
sub pid  { return $_[0]{pid} }
sub path { return "$_[0]{dir}/redis.sock" }

# The certificate that rediss://localhost is to be verified with.
sub ca { return "$_[0]{dir}/server.crt" }

sub log { return GatewayProcess::slurp("$_[0]{dir}/log") }


# As gateway_redis has it. Of a Unix socket it has no password, that needs a
# password_file.
sub url {
    my ($self, $db) = @_;

    return "unix:" . $self->path . (defined $db ? "?db=$db" : '')
        if $self->{unix};

    my $login = '';

    if (defined $self->{password}) {
        $login = join(':', map { s/([^A-Za-z0-9])/sprintf '%%%02x', ord $1/egr }
            $self->{user} // '', $self->{password}) . '@';
    }

    return ($self->{tls} ? 'rediss://' : 'redis://') . $login
        . ($self->{tls} ? 'localhost' : '127.0.0.1') . ":$self->{port}"
        . (defined $db ? "/$db" : '');
}


sub _config {
    my ($self) = @_;

    my @lines = (
        'bind 127.0.0.1', "dir $self->{dir}", "logfile $self->{dir}/log",
        'daemonize no', 'protected-mode no', 'save ""',
        'repl-diskless-sync yes', 'repl-diskless-sync-delay 0',
        $self->{tls} ? 'port 0' : "port $self->{port}",
        $self->{config},
    );

    push @lines, 'appendonly yes', 'appendfsync always' if $self->{appendonly};
    push @lines, 'unixsocket ' . $self->path            if $self->{unix};
    push @lines, "replicaof 127.0.0.1 $self->{replica_of}{port}"
        if $self->{replica_of};

    push @lines, "tls-port $self->{port}", 'tls-auth-clients no',
        "tls-cert-file $self->{dir}/server.crt",
        "tls-key-file $self->{dir}/server.key",
        "tls-ca-cert-file $self->{dir}/server.crt"
        if $self->{tls};

    if (defined $self->{user}) {
        push @lines, 'user default off', 'user tests on >tests ~* &* +@all',
            "user $self->{user} on >$self->{password} $self->{acl}";
    } elsif (defined $self->{password}) {
        push @lines, "requirepass $self->{password}";
    }

    return join "\n", @lines, '';
}


# Runs it, and waits until it answers.
sub start {
    my ($self, %args) = @_;

    if ($args{empty}) {
        unlink "$self->{dir}/dump.rdb";
        File::Path::remove_tree("$self->{dir}/appendonlydir");
    }

    my $pid = fork;
    die "fork failed: $!\n" unless defined $pid;

    if ($pid == 0) {
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>>', "$self->{dir}/output";
        open STDERR, '>>', "$self->{dir}/output";
        my @command = ('redis-server', "$self->{dir}/redis.conf",
            @{ $self->{args} });
        { exec { $command[0] } @command }
        POSIX::_exit(127);
    }

    $self->{pid} = $pid;
    return $self if $args{nowait};

    $self->wait_ready or die 'redis-server did not start: ', $self->log,
        GatewayProcess::slurp("$self->{dir}/output"), "\n";

    return $self;
}


# False where it does not answer, or is still loading, for so long.
sub wait_ready {
    my ($self, $timeout) = @_;

    return GatewayProcess::wait_for($timeout // 10, sub {
        return 1 if eval { $self->command('PING') eq 'PONG' };
    });
}


sub _end {
    my ($self, $signal) = @_;

    my $pid = delete $self->{pid} or return;

    CORE::kill 'CONT', $pid if $signal eq 'TERM';
    CORE::kill $signal, $pid;
    waitpid $pid, 0;
}

# At once, or as it ends itself.
sub kill { $_[0]->_end('KILL') }
sub stop { $_[0]->_end('TERM') }


# It hangs: connections are taken by the system, nothing is answered.
sub suspend {
    my ($self) = @_;

    CORE::kill 'STOP', $self->{pid};
    GatewayProcess::wait_for(2, sub {
        GatewayProcess::slurp("/proc/$self->{pid}/stat") =~ /\) T /
    });
}

sub resume { CORE::kill 'CONT', $_[0]{pid} }


# A connection of one's own, see GatewayRESP.
sub connect {
    my ($self, %args) = @_;

    return GatewayRESP->connect(
        port => $self->{port}, tls => $self->{tls},
        defined $self->{user} ? (user => 'tests', password => 'tests')
        : (password => $self->{password}),
        %args,
    );
}


sub command {
    my ($self, @words) = @_;

    my $resp = $self->connect or die "redis: no connection\n";
    my $reply = $resp->command(@words);
    $resp->close;

    return $reply;
}


# A field of INFO; '' where there is no answer now.
sub info {
    my ($self, $field) = @_;

    my $all = eval { $self->command('INFO', 'everything') } // '';
    return $all =~ /^$field:(.*?)\r$/m ? $1 : '';
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $@, $!);
    $self->kill if $self->{owner} == $$;
}

1;
