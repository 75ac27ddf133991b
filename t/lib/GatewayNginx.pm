package GatewayNginx;

# An nginx of its own for a Test::More script: free ports, its own folder.
#
#   my $nginx = GatewayNginx->new(
#       http   => 'gateway_channel_zone z:1m;',
#       config => 'location /ws { gateway_subscriber z; }',
#       workers => 2);
#   my $ws = $nginx->client(path => '/ws');
#   my $answer = $nginx->http('POST', '/pub?channel=a', body => 'x');
#   $nginx->reload;
#   $nginx->stop;
#
# stop() adds tests: that nginx ended by itself, and that neither its error log
# ([alert], [crit], [emerg]) nor a memory checker complains. A script that does
# not call it gets them at its end.
#
# In the configuration %PORT%, %TLS_PORT%, %PREFIX% and %PORT:name% (a free
# port for each name) are replaced.

use strict;
use warnings;

use File::Path qw(make_path remove_tree);
use File::Temp ();
use Test::More ();

use GatewayClient;
use GatewayProcess;
use GatewaySocket;

my @unstopped;


# main, http, config: text of these blocks; workers (2), master (1),
# worker_connections (4096), log_level (info; notice at least, the workers are
# counted by it), tls (0: no TLS listener), files ({name => text} in the
# folder), start (1).
sub new {
    my ($class, %args) = @_;

    my $self = bless {
        main => '', http => '', config => '', workers => 2, master => 1,
        worker_connections => 4096, log_level => 'info', files => {},
        %args,
        ports => {}, expected => [], owner => $$,
    }, $class;

    $self->{prefix} = File::Temp::tempdir('gateway-XXXXXX', TMPDIR => 1);
    $self->{port}   = GatewayProcess::free_port();

    make_path(map {"$self->{prefix}/$_"} qw(logs conf html));

    if ($self->{tls}) {
        $self->{tls_port} = GatewayProcess::free_port();
        $self->make_certificate("$self->{prefix}/server");
    }

    $self->write_file($_, $self->{files}{$_}) for keys %{ $self->{files} };
    $self->write_config;

    $self->{process} = GatewayProcess->new(
        prefix    => $self->{prefix},
        conf      => "$self->{prefix}/conf/nginx.conf",
        error_log => "$self->{prefix}/logs/error.log",
        pid_file  => "$self->{prefix}/logs/nginx.pid",
    );

    $self->start unless defined $args{start} && !$args{start};

    return $self;
}


sub port      { return $_[0]{port} }
sub tls_port  { return $_[0]{tls_port} }
sub prefix    { return $_[0]{prefix} }
sub pid       { return $_[0]{process}->pid }
sub error_log { return $_[0]{process}->error_log }

sub port_named {
    my ($self, $name) = @_;
    return $self->{ports}{$name} ||= GatewayProcess::free_port();
}


sub access_log {
    my ($self) = @_;
    return GatewayProcess::slurp("$self->{prefix}/logs/access.log");
}


sub write_file {
    my ($self, $name, $text) = @_;
    GatewayProcess::spew("$self->{prefix}/$name", $text);
}


# A self-signed certificate for localhost: PATH.crt and PATH.key.
sub make_certificate {
    my ($self, $path) = @_;

    my $output = `openssl req -x509 -newkey ec -nodes -days 30 \\
        -pkeyopt ec_paramgen_curve:P-256 \\
        -subj /CN=localhost -addext subjectAltName=DNS:localhost \\
        -keyout '$path.key' -out '$path.crt' 2>&1`;
    die "openssl: $output" if $?;
}


sub _expand {
    my ($self, $text) = @_;

    $text =~ s/%PORT:(\w+)%/$self->port_named($1)/eg;
    $text =~ s/%PORT%/$self->{port}/g;
    $text =~ s/%TLS_PORT%/$self->{tls_port} || die "tls is off\n"/eg;
    $text =~ s/%PREFIX%/$self->{prefix}/g;

    return $text;
}


sub write_config {
    my ($self) = @_;

    my $load = join '', map {"load_module $_;\n"}
        split ' ', $ENV{TEST_NGINX_LOAD_MODULES} || '';
    my $user   = $> == 0 ? "user root;\n" : '';
    my $master = $self->{master} ? 'on' : 'off';
    my $temps  = GatewayProcess::temp_paths($self->{http});
    my $tls    = $self->{tls}
        ? "listen 127.0.0.1:%TLS_PORT% ssl;\n"
        . "ssl_certificate %PREFIX%/server.crt;\n"
        . "ssl_certificate_key %PREFIX%/server.key;\n"
        : '';

    $self->write_file('conf/nginx.conf', $self->_expand(<<"END"));
worker_processes $self->{workers};
master_process $master;
error_log %PREFIX%/logs/error.log $self->{log_level};
pid %PREFIX%/logs/nginx.pid;
$user$load
$self->{main}

events {
worker_connections $self->{worker_connections};
}

http {
access_log %PREFIX%/logs/access.log;
default_type text/plain;
$temps
$self->{http}

server {
listen 127.0.0.1:%PORT%;
$tls
server_name localhost;
root %PREFIX%/html;

$self->{config}
}
}
END
}


sub start {
    my ($self) = @_;

    $self->{process}->start or die $self->{process}->why, "\n";
    push @unstopped, $self;

    # connections made now are shared out only where all of them listen
    GatewayProcess::wait_for(5,
        sub { $self->worker_pids == $self->{workers} })
        or die "the workers did not start\n"
        if $self->{master};

    return $self;
}


# What the error log tells of the workers, read on from where it was read last:
# {started} and {closing} have their pids. (Their titles would do, if valgrind
# did not keep those to itself.)
sub _workers {
    my ($self) = @_;

    my $seen = $self->{workers_seen} ||= { at => 0 };

    open my $log, '<:raw', "$self->{prefix}/logs/error.log" or return $seen;
    seek $log, $seen->{at}, 0;

    while (my $line = <$log>) {
        last if $line !~ /\n$/;
        $seen->{at} += length $line;
        $seen->{started}{$1} = 1 if $line =~ /start worker process (\d+)/;
        $seen->{closing}{$1} = 1
            if $line =~ / (\d+)#\d+: gracefully shutting down/;
    }

    return $seen;
}


# The workers that accept connections.
sub worker_pids {
    my ($self) = @_;

    my $seen = $self->_workers;

    return grep { $seen->{started}{$_} && !$seen->{closing}{$_} }
        GatewayProcess::children($self->pid);
}


# The workers of earlier generations that still serve somebody.
sub old_worker_pids {
    my ($self) = @_;

    my $seen = $self->_workers;

    return grep { $seen->{closing}{$_} } GatewayProcess::children($self->pid);
}


# Makes nginx read its configuration again, with other texts where given, and
# returns once the workers of before no longer accept. Dies where it is not
# taken; reload_fails() is for those that must not be.
sub reload {
    my ($self, %texts) = @_;

    my %old = map { $_ => 1 } $self->worker_pids;

    $self->{$_} = $texts{$_} for keys %texts;
    $self->write_config;

    kill 'HUP', $self->pid;

    GatewayProcess::wait_for(
        10,
        sub {
            my @now = $self->worker_pids;
            return @now == $self->{workers} && !grep { $old{$_} } @now;
        }
    ) or die 'the configuration was not reloaded: ', $self->error_log;

    # until then an old worker may take a connection
    for my $pid (keys %old) {
        GatewayProcess::wait_for(
            10,
            sub { $self->error_log =~ /\b$pid#\d+: gracefully shutting down/ }
        ) or die "worker $pid has not heard of it: ", $self->error_log;
    }
}


# True where a reload is refused and the same workers go on; the message is
# expected in the log then.
sub reload_fails {
    my ($self, $pattern, %texts) = @_;

    my $old = join ' ', sort $self->worker_pids;
    my %before = map { $_ => $self->{$_} } keys %texts;

    $self->expect_log($pattern);
    $self->{$_} = $texts{$_} for keys %texts;
    $self->write_config;
    $self->{$_} = $before{$_} for keys %texts;

    kill 'HUP', $self->pid;
    my $line = $self->wait_for_log($pattern);

    return defined $line && $old eq join ' ', sort $self->worker_pids;
}


# Kills one worker, and returns the pid of the one in its place.
sub kill_worker {
    my ($self, $pid, $signal) = @_;

    $signal ||= 'KILL';

    my %before = map { $_ => 1 } $self->worker_pids;
    $self->expect_log(qr/\[alert\] .* worker process $pid exited on signal/);

    kill $signal, $pid;

    my @new;
    GatewayProcess::wait_for(
        10,
        sub {
            @new = grep { !$before{$_} } $self->worker_pids;
            return @new && !grep { $_ == $pid }
                GatewayProcess::children($self->pid);
        }
    ) or die "no worker in place of $pid\n";

    return $new[0];
}


# Lines of the error log with this string or qr// are no complaint.
sub expect_log {
    my ($self, @patterns) = @_;
    push @{ $self->{expected} }, @patterns;
}


# Waits for a line of the error log, and returns it.
sub wait_for_log {
    my ($self, $pattern, $timeout) = @_;

    my $regex = ref $pattern ? $pattern : qr/\Q$pattern\E/;

    return GatewayProcess::wait_for($timeout || 5,
        sub { (grep { $_ =~ $regex } split /\n/, $self->error_log)[0] });
}


# One request on a connection of its own: headers (array of name => value),
# body, tls, port, timeout. Returns {status, headers (lower case), body}, or
# undef.
sub http {
    my ($self, $method, $uri, %args) = @_;

    my $socket = $self->connect(%args) or return;

    $socket->write(GatewaySocket::request($method, $uri, %args, close => 1));
    my $response = $socket->response($method);
    $socket->close;

    return $response;
}


# A connection for several requests, see GatewaySocket.
sub connect {
    my ($self, %args) = @_;
    return GatewaySocket->connect($self->_where(%args));
}


# A WebSocket, see GatewayClient.
sub client {
    my ($self, %args) = @_;
    return GatewayClient->connect($self->_where(%args));
}


sub _where {
    my ($self, %args) = @_;

    $args{port} ||= $args{tls} ? $self->{tls_port} : $self->{port};
    return %args;
}


# Ends nginx (QUIT, or the signal given) and tests that nothing was wrong.
sub stop {
    my ($self, $signal) = @_;

    @unstopped = grep { $_ != $self } @unstopped;

    my $process = $self->{process};

    Test::More::ok($process->stop($signal), 'nginx ends')
        or Test::More::diag($process->why);

    my @bad = ($process->complaints(@{ $self->{expected} }),
        $process->findings);

    Test::More::is(scalar @bad, 0, 'nginx complains of nothing')
        or Test::More::diag(join "\n", @bad);

    if (Test::More->builder->is_passing) {
        remove_tree($self->{prefix});
    } else {
        Test::More::diag("nginx's files are in $self->{prefix}");
    }
}


END {
    my $status = $?;

    for my $nginx (grep { $_->{owner} == $$ } @unstopped) {
        if (Test::More->builder->has_plan || $status) {
            $nginx->{process}->kill_off;
            Test::More::diag("nginx's files are in $nginx->{prefix}");
        } else {
            $nginx->stop;
        }
    }

    $? = $status;
}

1;
