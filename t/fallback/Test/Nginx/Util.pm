package Test::Nginx::Util;

# The server's side of the harness: settings, files, nginx.conf, start and end
# of nginx. See Test::Nginx::Socket.

use strict;
use warnings;

use Cwd qw(realpath);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use File::Spec;
use List::Util qw(shuffle);

use lib realpath(dirname(__FILE__) . '/../../../lib');

use GatewayProcess;

our @EXPORT = qw(
    repeat_each workers worker_connections master_on master_off
    master_process_enabled log_level timeout server_port
    server_port_for_client server_addr server_name server_root html_dir
    no_shuffle no_root_location no_long_string no_nginx_manager use_hup
    env_to_nginx config_preamble
    add_block_preprocessor add_cleanup_handler add_response_body_check
    bail_out
);

our @EXPORT_OK = qw(
    setting ordered preprocess cleanup response_checks expand
    set_up_server new_process version_matches keep_server_root
);

my $port =
      $ENV{TEST_NGINX_RANDOMIZE}
    ? GatewayProcess::free_port()
    : $ENV{TEST_NGINX_SERVER_PORT} || $ENV{TEST_NGINX_PORT} || 1984;

my %setting = (
    repeat_each        => 1,
    workers            => 1,
    worker_connections => 64,
    master             => $ENV{TEST_NGINX_MASTER_PROCESS} || 'off',
    log_level          => $ENV{TEST_NGINX_LOG_LEVEL} || 'debug',
    timeout            => $ENV{TEST_NGINX_TIMEOUT} || 3,
    port               => $port,
    client_port        => $ENV{TEST_NGINX_CLIENT_PORT} || $port,
    addr               => '127.0.0.1',
    server_name        => 'localhost',
    shuffle            => !$ENV{TEST_NGINX_NO_SHUFFLE},
    root_location      => 1,
    long_string        => 1,
    preamble           => '',
);

my $root = File::Spec->rel2abs(
      $ENV{TEST_NGINX_RANDOMIZE} ? "t/servroot_$port"
    : $ENV{TEST_NGINX_SERVROOT}  ? $ENV{TEST_NGINX_SERVROOT}
    :                              't/servroot'
);
$ENV{TEST_NGINX_SERVER_ROOT} = $root;

my $keep_root = $root !~ /servroot_\d+$/;
my $owner     = $$;
my (@preprocessors, @cleanups, @response_checks, @env);


# A getter that sets where it is given a value.
sub _setting {
    my ($name, @value) = @_;

    $setting{$name} = $value[0] if @value;
    return $setting{$name};
}

sub repeat_each            { return _setting('repeat_each',        @_) }
sub workers                { return _setting('workers',            @_) }
sub worker_connections     { return _setting('worker_connections', @_) }
sub log_level              { return _setting('log_level',          @_) }
sub timeout                { return _setting('timeout',            @_) }
sub server_port            { return _setting('port',               @_) }
sub server_port_for_client { return _setting('client_port',        @_) }
sub server_addr            { return _setting('addr',               @_) }
sub server_name            { return _setting('server_name',        @_) }
sub config_preamble        { return _setting('preamble',           @_) }

sub master_on        { $setting{master}        = 'on' }
sub master_off       { $setting{master}        = 'off' }
sub no_shuffle       { $setting{shuffle}       = 0 }
sub no_root_location { $setting{root_location} = 0 }
sub no_long_string   { $setting{long_string}   = 0 }

sub master_process_enabled {
    $setting{master} = $_[0] ? 'on' : 'off' if @_;
    return $setting{master};
}

sub setting                 { return $setting{ $_[0] } }
sub server_root             { return $root }
sub html_dir                { return "$root/html" }
sub env_to_nginx            { push @env, @_ }
sub add_block_preprocessor  { unshift @preprocessors, $_[0] }
sub add_cleanup_handler     { unshift @cleanups, $_[0] }
sub add_response_body_check { push @response_checks, $_[0] }
sub response_checks         { return @response_checks }
sub keep_server_root        { $keep_root = 1 }

sub preprocess { my ($block) = @_; $_->($block) for @preprocessors }
sub cleanup    { $_->() for @cleanups }
sub ordered    { return $setting{shuffle} ? shuffle(@_) : @_ }

sub no_nginx_manager { die "no_nginx_manager() is not supported here\n" }
sub use_hup          { die "use_hup() is not supported here\n" }

sub bail_out {
    cleanup();
    Test::More::BAIL_OUT(join '', @_);
}


# $TEST_NGINX_RAND_PORT_n is a free port, the same within one block; other
# $TEST_NGINX_... come from the environment.
sub expand {
    my ($block, $text) = @_;

    return '' unless defined $text;

    $text =~ s{\$(TEST_NGINX_[_A-Z0-9]+)}{
          my $name = $1;
          $name =~ /^TEST_NGINX_RAND_PORT_\d+$/
        ? $block->{_rand_ports}{$name} ||= GatewayProcess::free_port()
        : $ENV{$name}
            // bail_out($block->name, " - no environment $name defined")
    }eg;

    return $text;
}


# "1: < 1.23.0, >= 1.22" as in a skip_nginx section; the number is that of the
# tests skipped.
sub version_matches {
    my ($conditions) = @_;

    my $binary = $ENV{TEST_NGINX_BINARY} || 'nginx';
    my ($version) = `'$binary' -v 2>&1` =~ m{/(\d+\.\d+\.\d+)}
        or bail_out("cannot tell the version of $binary");

    my $number = sub {
        my @part = split /\./, $_[0];
        return ($part[0] * 1000 + ($part[1] || 0)) * 1000 + ($part[2] || 0);
    };

    for my $condition (split /\s*,\s*/, $conditions) {
        my ($op, $than) = $condition =~ /^\s*(<=|>=|<|>|==?|!=)\s*([\d.]+)\s*$/
            or bail_out("bad skip_nginx condition \"$condition\"");

        my $order = $number->($version) <=> $number->($than);

        return 0
            unless $op eq '<' ? $order < 0
            : $op eq '<='     ? $order <= 0
            : $op eq '>'      ? $order > 0
            : $op eq '>='     ? $order >= 0
            : $op eq '!='     ? $order != 0
            :                   $order == 0;
    }

    return 1;
}


# ">>> name [touch's date]" and the text up to the next one, or [name, text].
sub _user_files {
    my ($block) = @_;

    my $files = $block->user_files;
    return unless defined $files;
    return @$files if ref $files;

    my @files;

    for my $line (split /^/, $files) {
        if ($line =~ /^>>> (\S+)(?:\s+(\S+))?/) {
            push @files, [$1, '', $2];
        } elsif (@files) {
            $files[-1][1] .= $line;
        } else {
            bail_out($block->name, ' - user_files does not begin with ">>>"');
        }
    }

    return @files;
}


sub _write_user_files {
    my ($block) = @_;

    for my $file (_user_files($block)) {
        my ($name, $text, $date) = @$file;
        my $path = $name =~ m{^/} ? $name : "$root/html/$name";

        make_path(dirname($path));
        GatewayProcess::spew($path, expand($block, $text // ''));

        next unless defined $date;
        local $ENV{TZ} = 'GMT';
        system('touch', '-t', $date, $path) == 0
            or bail_out($block->name, " - bad date \"$date\"");
    }
}


sub _config {
    my ($block) = @_;

    my $main  = expand($block, $block->main_config);
    my $http  = expand($block, $block->http_config);
    my $local = expand($block, $block->config);
    my $end   = expand($block, $block->post_main_config);

    my $name  = $block->server_name // $setting{server_name};
    my $level = $block->log_level   // $setting{log_level};

    my $load = join '', map {"load_module $_;\n"}
        split ' ', $ENV{TEST_NGINX_LOAD_MODULES} || '';
    my $env   = join '', map { /\s/ ? "env '$_';\n" : "env $_;\n" } @env;
    my $user  = $> == 0 ? "user root;\n" : '';
    my $temps = GatewayProcess::temp_paths($http);
    my $files = $setting{root_location}
        ? "location / {\nroot $root/html;\nindex index.html index.htm;\n}\n"
        : '';

    return <<"END";
worker_processes $setting{workers};
master_process $setting{master};
error_log $root/logs/error.log $level;
pid $root/logs/nginx.pid;
$user$env
$load
$main

http {
access_log $root/logs/access.log;
default_type text/plain;
keepalive_timeout 68;
$temps
$http

server {
listen $setting{port};
server_name '$name';
client_max_body_size 30M;

$setting{preamble}

# the block's config section
$local
# the end of it

$files}
}

$end
events {
accept_mutex off;
worker_connections $setting{worker_connections};
}
END
}


sub set_up_server {
    my ($block) = @_;

    remove_tree($root);
    make_path("$root/logs", "$root/html", "$root/conf");

    GatewayProcess::spew("$root/html/index.html",
        '<html><head><title>It works!</title></head>'
            . '<body>It works!</body></html>');
    _write_user_files($block);
    GatewayProcess::spew("$root/conf/nginx.conf", _config($block));
}


sub new_process {
    return GatewayProcess->new(
        prefix    => $root,
        conf      => "$root/conf/nginx.conf",
        error_log => "$root/logs/error.log",
        pid_file  => "$root/logs/nginx.pid",
    );
}


END {
    remove_tree($root) if $owner == $$ && !$keep_root && $? == 0;
}

1;
