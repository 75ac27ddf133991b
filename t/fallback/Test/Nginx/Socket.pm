package Test::Nginx::Socket;

# A harness that runs the suites of t/*.t where CPAN's Test::Nginx is not
# installed. It understands the sections that are used here, as CPAN's does,
# and dies on every other one. Differences, on purpose:
#   - [alert], [crit] and [emerg] in the error log fail a test, unless its
#     error_log section names the line
#   - error_log waits for its lines, up to the time-out; no_error_log looks
#     once nginx has ended, so that it misses nothing
#   - nginx runs in the foreground, as a child of the test

use strict;
use warnings;

use Test::Base -base;
use Test::LongString;
use Test::More ();
use Time::HiRes qw(sleep);

use Test::Nginx::Util;
use Test::Nginx::Util qw(
    setting ordered preprocess cleanup response_checks set_up_server
    new_process version_matches keep_server_root
);

use GatewaySocket;

our $VERSION = '0.1';

our @EXPORT = (@Test::Nginx::Util::EXPORT, qw(run_tests is_str));

my %known = map { $_ => 1 } qw(
    ONLY SKIP LAST skip_nginx skip_eval init
    main_config http_config config post_main_config server_name user_files
    must_die log_level
    request more_headers raw_request pipelined_requests
    timeout abort shutdown wait ignore_response
    error_code error_code_like
    response_headers response_headers_like
    raw_response_headers_like raw_response_headers_unlike
    response_body response_body_like response_body_unlike
    error_log no_error_log grep_error_log grep_error_log_out
    access_log no_access_log
);


sub is_str {
    my ($got, $expected, $name) = @_;

    return Test::More::like($got, $expected, $name)
        if ref $expected eq 'Regexp';
    return Test::More::is($got, $expected, $name)
        if !setting('long_string') || !defined $got || !defined $expected;
    return is_string($got, $expected, $name);
}


# Seconds, from "200ms", "3s" or "3".
sub _seconds {
    my ($text) = @_;

    return $1 / 1000 if $text =~ /^\s*([\d.]+)\s*ms\s*$/;
    return $1 if $text =~ /^\s*([\d.]+)\s*s?\s*$/;
    bail_out("bad time \"$text\"");
}


# The value for one of several requests: an array has one for each.
sub _value_for {
    my ($block, $section, $index, $many) = @_;

    my $value = $block->$section;

    return $value->[$index] if ref $value eq 'ARRAY';

    bail_out($block->name,
        " - several requests need an array in section $section")
        if $many && defined $value;

    return $value;
}


sub _header_lines {
    my ($text) = @_;

    my @lines;

    for my $line (split /\r?\n/, $text // '') {
        next if $line =~ /^\s*(?:#|$)/;
        my ($name, $value) = split /:\s*/, $line, 2;
        push @lines, "$name: " . ($value // '');
    }

    return @lines;
}


# "GET /uri [HTTP/1.x]" and further lines as the body, which is stripped of
# blank space at both ends.
sub _build_request {
    my ($block, $text, $more, $connection) = @_;

    $text =~ s/^\s+//;
    $text =~ s/^(?:\#[^\n]*\n\s*)+//;

    my ($line, $body) = split /\r?\n/, $text, 2;
    my ($method, $uri, $version) = split ' ', $line // '';

    bail_out($block->name, ' - empty request') unless defined $method;

    my @headers = _header_lines($more);
    my $has     = sub {
        my ($name) = @_;
        return grep {/^\Q$name\E:/i} @headers;
    };

    my @request = join ' ', $method, $uri // '/', $version // 'HTTP/1.1';

    push @request, 'Host: ' . setting('server_name')  unless $has->('Host');
    push @request, "Connection: $connection" unless $has->('Connection');
    push @request, @headers;

    $body = '' unless defined $body;

    if (!grep {/^Transfer-Encoding: chunked$/i} @headers) {
        if (length $body && !$has->('Content-Length')) {
            $body =~ s/^\s+|\s+$//g;
            push @request, 'Content-Length: ' . length $body;
        }
    }

    return join("\r\n", @request, '', '') . $body;
}


# A list of exchanges: [method of each request, packets to send]
sub _exchanges {
    my ($block) = @_;

    my $more = $block->more_headers;
    my $headers_for = sub { ref $more ? $more->[ $_[0] ] : $more };

    if (defined(my $raw = $block->raw_request)) {
        my @packets = ref $raw ? @$raw : ($raw);
        my ($method) = $packets[0] =~ /^(\S+)/;
        return [[$method // ''], @packets];
    }

    if (my $requests = $block->pipelined_requests) {
        my (@methods, @texts);

        for my $i (0 .. $#$requests) {
            push @methods, $requests->[$i] =~ /^\s*(\S+)/;
            push @texts,
                _build_request($block, $requests->[$i], $headers_for->($i),
                $i == $#$requests ? 'close' : 'keep-alive');
        }

        return [\@methods, join '', @texts];
    }

    my $request = $block->request;
    bail_out($block->name, ' - no request') unless defined $request;

    my @requests = ref $request ? @$request : ($request);

    return map {
        my $text = $requests[$_];
        [   [$text =~ /^\s*(\S+)/],
            _build_request($block, $text, $headers_for->($_), 'close')
        ]
    } 0 .. $#requests;
}


# Sends and receives until the server closes; returns what came and whether
# the time ran out.
sub _talk {
    my ($block, $limit, @packets) = @_;

    my $socket = GatewaySocket->connect(
        host    => setting('addr'),
        port    => setting('client_port'),
        timeout => $limit,
    ) or bail_out($block->name, " - cannot connect: $!");

    $socket->write(join '', @packets);
    $socket->half_close if defined $block->shutdown;

    my $received = $socket->read_to_end;
    my $ended    = $socket->{eof};
    $socket->close;

    return ($received, !$ended);
}


sub _header {
    my ($response, $name) = @_;

    return $response->{headers}{ lc $name };
}


sub _with_port {
    my ($text) = @_;

    my %port = (
        ServerPort          => setting('port'),
        ServerPortForClient => setting('client_port'),
    );
    $text =~ s/\$(ServerPort(?:ForClient)?)\b/$port{$1}/g unless ref $text;

    return $text;
}


sub _check_code {
    my ($block, $response, $name, @which) = @_;

    if (defined $block->error_code_like) {
        my $like = _value_for($block, 'error_code_like', @which);
        Test::More::like($response->{status}, qr/$like/, "$name - status");
        return;
    }

    my $expected = _value_for($block, 'error_code', @which) // 200;
    $expected =~ s/^\s+|\s+$//g;

    Test::More::is($response->{status} || '', $expected, "$name - status");
}


sub _check_headers {
    my ($block, $response, $name, @which) = @_;

    for my $section (qw(response_headers response_headers_like)) {
        next unless defined $block->$section;

        for my $line (split /\n/, _value_for($block, $section, @which) // '') {
            next unless $line =~ /\S/;

            if ($line =~ /^\s*!\s*(\S+)\s*$/) {
                Test::More::is(_header($response, $1),
                    undef, "$name - no header $1");
                next;
            }

            my ($key, $value) = $line =~ /^\s*([^:\s]+)\s*:\s*(.*?)\s*$/
                or bail_out("$name - bad line \"$line\" in $section");

            my $got = _header($response, $key) // '';
            $value = _with_port($value);

            if ($section eq 'response_headers') {
                is_str($got, $value, "$name - header $key");
            } else {
                Test::More::like($got, qr/^$value$/, "$name - header $key");
            }
        }
    }

    if (defined $block->raw_response_headers_like) {
        my $like = _value_for($block, 'raw_response_headers_like', @which);
        Test::More::like($response->{raw_headers} // '',
            qr/$like/s, "$name - headers") if defined $like;
    }

    if (defined $block->raw_response_headers_unlike) {
        my $like = _value_for($block, 'raw_response_headers_unlike', @which);
        Test::More::unlike($response->{raw_headers} // '',
            qr/$like/s, "$name - headers lack it") if defined $like;
    }
}


sub _check_body {
    my ($block, $response, $name, @which) = @_;

    my $body = $response->{body};

    if (defined $block->response_body) {
        my $expected = _value_for($block, 'response_body', @which);
        is_str($body, _with_port($expected), "$name - body")
            if defined $expected;
    }

    if (defined $block->response_body_like) {
        my $like = _with_port(_value_for($block, 'response_body_like', @which));
        Test::More::like($body, qr/$like/s, "$name - body") if defined $like;
    }

    if (defined $block->response_body_unlike) {
        my $like = _value_for($block, 'response_body_unlike', @which);
        Test::More::unlike($body, qr/$like/s, "$name - body lacks it")
            if defined $like;
    }

    $_->($block, $body, $which[0], undef, undef) for response_checks();
}


sub _patterns {
    my ($value) = @_;

    return unless defined $value;
    return grep {defined} @$value if ref $value eq 'ARRAY';
    return $value if ref $value;
    return grep {length} split /\n+/, $value;
}


sub _first_match {
    my ($pattern, @lines) = @_;

    my $regex = ref $pattern ? $pattern : qr/\Q$pattern\E/;
    return (grep { $_ =~ $regex } @lines)[0];
}


sub _lines_of {
    my ($path, $from) = @_;

    my $text = GatewayProcess::slurp($path);
    return split /^/, substr $text, $from < length $text ? $from : length $text;
}


# Lines that must appear in the log after `from`.
sub _check_log {
    my ($block, $section, $path, $from, $name) = @_;

    for my $pattern (_patterns($block->$section)) {
        my $found = GatewayProcess::wait_for(setting('timeout'),
            sub { defined _first_match($pattern, _lines_of($path, $from)) });

        Test::More::ok($found, "$name - $section has \"$pattern\"");
    }
}


sub _check_not_in_log {
    my ($block, $section, $path, $name) = @_;

    for my $pattern (_patterns($block->$section)) {
        my $line = _first_match($pattern, _lines_of($path, 0));

        Test::More::ok(!defined $line, "$name - $section \"$pattern\"")
            or Test::More::diag("found: $line");
    }
}


sub _check_grep {
    my ($block, $path, $from, $name, $index) = @_;

    my $pattern = $block->grep_error_log;
    return unless defined $pattern;

    my $expected = $block->grep_error_log_out;
    bail_out("$name - no grep_error_log_out") unless defined $expected;

    $pattern  = $pattern->[$index]  if ref $pattern eq 'ARRAY';
    $expected = $expected->[$index] if ref $expected eq 'ARRAY';

    my $regex = ref $pattern ? $pattern : qr/\Q$pattern\E/;
    my $grep  = sub {
        return join '', map { $_ =~ $regex ? "$&\n" : () }
            map { chomp; $_ } _lines_of($path, $from);
    };

    GatewayProcess::wait_for(
        setting('timeout'),
        sub {
            my $got = $grep->();
            return ref $expected ? $got =~ $expected : $got eq $expected;
        }
    );

    is_str($grep->(), $expected, "$name - grep_error_log");
}


sub _log_paths {
    my $logs = server_root() . '/logs';
    return ("$logs/error.log", "$logs/access.log");
}


sub _run_requests {
    my ($block, $name, $repeat) = @_;

    my ($error_log, $access_log) = _log_paths();
    my $from_error  = -s $error_log  || 0;
    my $from_access = -s $access_log || 0;
    $from_error = 0 unless $repeat;

    my $limit =
        defined $block->timeout
        ? _seconds($block->timeout)
        : setting('timeout');

    my @exchanges = _exchanges($block);
    my $many = @exchanges > 1 || @{ $exchanges[0][0] } > 1;
    my $index = 0;

    for my $exchange (@exchanges) {
        my ($methods, @packets) = @$exchange;
        my ($raw, $timed_out) = _talk($block, $limit, @packets);

        Test::More::fail("$name - client socket timed out")
            if $timed_out && !defined $block->abort;

        for my $method (@$methods) {
            my $title = $many ? "$name (request $index)" : $name;

            if (!defined $block->ignore_response) {
                my $response = GatewaySocket::take_response(\$raw, $method, 1);
                Test::More::diag("$title - no response") unless $response;

                $response ||= { status => '', headers => {} };
                _check_code($block, $response, $title, $index, $many);
                _check_headers($block, $response, $title, $index, $many);
                _check_body($block, $response, $title, $index, $many);
            }

            $index++;
        }
    }

    sleep _seconds($block->wait) if defined $block->wait;

    _check_log($block, 'error_log',  $error_log,  $from_error,  $name);
    _check_log($block, 'access_log', $access_log, $from_access, $name);
    _check_grep($block, $error_log, $from_error, $name, $repeat);
}


sub _run_must_die {
    my ($block, $name) = @_;

    my $process = new_process();
    my $code    = $process->run_to_end;
    my ($error_log) = _log_paths();

    if ($block->must_die =~ /^\s*(\d+)\s*$/) {
        Test::More::is($code, $1, "$name - dies with the code");
    } else {
        Test::More::ok($code, "$name - dies")
            or Test::More::diag($process->why);
    }

    _check_log($block, 'error_log', $error_log, 0, $name);
    _check_not_in_log($block, 'no_error_log', $error_log, $name);
    _check_grep($block, $error_log, 0, $name, 0);
}


# What must hold of every test once nginx has ended.
sub _check_end {
    my ($block, $process, $name) = @_;

    my ($error_log, $access_log) = _log_paths();

    $process->stop or Test::More::fail("$name - " . $process->why);

    _check_not_in_log($block, 'no_error_log',  $error_log,  $name);
    _check_not_in_log($block, 'no_access_log', $access_log, $name);

    my @bad = (
        $process->complaints(_patterns($block->error_log)),
        $process->findings
    );

    Test::More::fail("$name - $_") for @bad;
}


sub _skip {
    my ($block) = @_;

    for my $section (qw(skip_nginx skip_eval)) {
        next unless defined $block->$section;

        my ($count, $condition) = $block->$section =~ /^\s*(\d+)\s*:\s*(.+)/s
            or bail_out($block->name, " - bad $section");

        my $met =
              $section eq 'skip_nginx'
            ? version_matches($condition)
            : eval $condition;
        bail_out($block->name, " - $section: $@") if $@;

        return $count if $met;
    }

    return;
}


sub _run_block {
    my ($block) = @_;

    my $name = $block->name;

    preprocess($block);

    for my $section (keys %$block) {
        next unless exists $block->{_section_map}[0]{$section};
        $known{$section} or die "$name: section \"$section\" is unknown\n";
    }

    if (my $count = _skip($block)) {
    SKIP: {
            Test::More::skip("$name - not here", $count);
        }
        return;
    }

    bail_out("$name - no config section") unless defined $block->config;

    set_up_server($block);

    if (defined $block->must_die) {
        _run_must_die($block, $name) for 1 .. repeat_each();
        return;
    }

    my $process = new_process();

    if (!$process->start) {
        Test::More::fail("$name - nginx starts");
        Test::More::diag($process->why);
        return;
    }

    if (defined $block->init) {
        eval $block->init;
        bail_out("$name - init: $@") if $@;
    }

    _run_requests($block, $name, $_) for 0 .. repeat_each() - 1;
    _check_end($block, $process, $name);
}


sub run_tests {
    for my $block (ordered(Test::Base::blocks())) {
        _run_block($block);
    }

    cleanup();
    keep_server_root() unless Test::More->builder->is_passing;
}

1;
