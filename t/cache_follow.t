#!/usr/bin/perl

# gateway_cache: requests are served while the answer to another one comes, in
# its worker and in the other one.

use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use Test::More;
use Time::HiRes qw(sleep time);

use lib dirname(abs_path(__FILE__)) . '/lib';

use GatewayNginx;
use GatewayOrigin;
use GatewayProcess;
use GatewaySocket;

my $SIZE = 60_000;
my $SOME = 20_000;           # nginx sends whole buffers while it comes
my $flag = tempdir(CLEANUP => 1);

sub body_of {
    my ($uri) = @_;
    my $text = md5_hex($uri);
    return substr $text x ($SIZE / 32 + 1), 0, $SIZE;
}

# Once released: goes on, or is cut.
sub release {
    my ($name, $on) = @_;
    GatewayProcess::spew("$flag/.$name", $on ? 'on' : 'cut');
    rename "$flag/.$name", "$flag/$name" or die "rename: $!";
}

my $origin = GatewayOrigin->new(
    children => 12,
    handler  => sub {
        my ($uri) = @_;
        my ($name) = $uri =~ m{([^/]+)$};
        my $hold = sub {
            sleep 0.01 until -e "$flag/$name";
            return GatewayProcess::slurp("$flag/$name") eq 'on';
        };
        return ('200 OK', ['Cache-Control: max-age=600', 'ETag: "e"'],
            body_of($uri), 0, $hold);
    }
);

my $port  = $origin->port;
my $nginx = GatewayNginx->new(
    http => "gateway_cache_zone c:1m max_object=200k;\n"
        . "add_header X-Worker \$pid always;\n",
    config => <<"END");
    location / {
        gateway_cache      c;
        gateway_cache_lock on timeout=30s;
        proxy_pass         http://127.0.0.1:$port;
    }
END

sub ask {
    my ($uri, @headers) = @_;

    my $socket = $nginx->connect(timeout => 20) or die "no connection\n";
    $socket->write(GatewaySocket::request('GET', $uri, headers => \@headers));

    return $socket;
}

# Waits until so many bytes have come, the header among them.
sub has {
    my ($socket, $bytes) = @_;

    return GatewayProcess::wait_for(10, sub {
        $socket->fill(time + 0.05);
        return length $socket->{in} >= $bytes;
    });
}

# A leader that has some of the body.
sub lead {
    my ($uri) = @_;

    my $leader = ask($uri);
    ok(has($leader, $SOME), "$uri: some of it has come");

    return $leader;
}


# --- what comes is passed on

my $leader    = lead('/a');
my @followers;

# which worker takes a connection is chance
GatewayProcess::wait_for(10, sub {
    my @more = map { ask('/a') } 1 .. 20;
    push @followers, @more;
    has($_, $SOME) for @more;

    my %worker = map { $_ => 1 }
        map { $_->{in} =~ /^X-Worker: (\d+)/mi } @followers;
    return keys %worker == 2;
});

is(scalar(grep { has($_, $SOME) } @followers), scalar @followers,
    'others get that, too');
is(scalar(grep { length $_->{in} > $SIZE } @followers), 0, 'and not more');

my $part = ask('/a', Range => 'bytes=10-19');
my $answer = $part->response('GET');
is($answer->{status}, 206, 'a range that is there already');
is($answer->{body}, substr(body_of('/a'), 10, 10), 'is answered');

my $known = ask('/a', 'If-None-Match' => '"e"')->response('GET');
is($known->{status}, 304, 'and so is a condition');

my $late = ask('/a', Range => 'bytes=' . ($SIZE - 5) . '-');
my $gone = ask('/a');
has($gone, $SOME);
$gone->close;

release('a', 1);

my @answers = map { $_->response('GET') } $leader, @followers;
is(scalar(grep { $_->{body} eq body_of('/a') } @answers), 1 + @followers,
    'all get all of it');
is($late->response('GET')->{body}, substr(body_of('/a'), -5),
    'and a range that was not there yet');
is(scalar keys %{ { map { $_->{headers}{'x-worker'} => 1 } @answers } }, 2,
    'in both workers');
is($origin->requests('/a'), 1, 'by one request to upstream');
like($answers[1]{headers}{'cache-status'}, qr/^c; hit; ttl=/,
    'for them it is a hit');


# --- what does not come to its end

$leader    = lead('/cut');
@followers = map { ask('/cut') } 1 .. 10;
has($_, $SOME) for @followers;
release('cut', 0);

is(scalar(grep { length $_->read_to_end < $SIZE && $_->{eof} } @followers),
    10, 'upstream closes: nobody gets a short body for a whole one');
$nginx->expect_log('prematurely closed connection',
    'the answer that was followed has ended');
unlink "$flag/cut";
release('cut', 1);
is(ask('/cut')->response('GET')->{body}, body_of('/cut'),
    'and who comes then gets all of it');
is($origin->requests('/cut'), 2, 'by a request of its own');


# --- a leader that is killed

$leader    = lead('/kill');
my ($pid)  = $leader->{in} =~ /^X-Worker: (\d+)/m;
@followers = map { ask('/kill') } 1 .. 10;
has($_, $SOME) for @followers;

$nginx->kill_worker($pid);
is(scalar(grep { length $_->read_to_end < $SIZE && $_->{eof} } @followers),
    10, 'its followers end, in both workers');

release('kill', 1);
is(ask('/kill')->response('GET')->{body}, body_of('/kill'),
    'and who comes then gets all of it');

$nginx->stop;
$origin->stop;
done_testing();
