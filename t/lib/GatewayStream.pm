package GatewayStream;

# A numbered stream of messages from several publishers to a GatewaySwarm, and
# the check that everybody got it. The configuration needs: /raw and /v1, which
# subscribe to the channel of the argument `channel`, /pub, and X-Worker with
# $pid on all of them. Clients in raw mode are of group "raw CHANNEL", those in
# v1 of "v1 CHANNEL".

use strict;
use warnings;

use Test::More;

use GatewayClient;
use GatewaySocket;
use GatewaySwarm;


sub new {
    my ($class, %args) = @_;

    return bless {
        nginx => $args{nginx}, swarm => GatewaySwarm->new,
        sent  => {}, publishers => [], workers => {}, %args,
    }, $class;
}


sub swarm { return $_[0]{swarm} }


# Adds n subscribers of a channel, connecting at once, and waits until each is
# in; returns them.
sub subscribe {
    my ($self, $mode, $channel, $n) = @_;

    my @new = map {
        GatewayClient->start(
            port => $self->{port} || $self->{nginx}->port,
            path => "/$mode?channel=$channel",
            subprotocols => [$mode],
        )
    } 1 .. $n;

    for my $ws (@new) {
        $ws->finish && $ws->is_open or die "a subscriber was not let in\n";

        if ($mode eq 'v1') {
            $ws->recv_type('subscribed') or die "no \"subscribed\"\n";
        }

        $self->{workers}{ $ws->header('X-Worker') }++;
        $self->{swarm}->add($ws, "$mode $channel");
    }

    return @new;
}


# A publisher with a name of its own, on a connection of its own; its worker.
sub publisher {
    my ($self, $kind) = @_;

    my $n = $self->{made}++;
    my $publisher = { kind => $kind, name => "p$n" };
    my $port = $self->{port} || $self->{nginx}->port;

    if ($kind eq 'v1') {
        $publisher->{socket} = GatewayClient->connect(
            port => $port, path => '/v1', subprotocols => ['v1']);
        $publisher->{socket}->recv_type('connection:established');
        $publisher->{worker} = $publisher->{socket}->header('X-Worker');
    } else {
        my $socket = GatewaySocket->connect(port => $port);
        $socket->write(GatewaySocket::request('GET', '/pid'));
        $publisher->{worker} = $socket->response('GET')->{body};
        $publisher->{socket} = $socket;
    }

    push @{ $self->{publishers} }, $publisher;
    return $publisher;
}


# At least two of a kind, one on each of two workers.
sub publishers_on_all {
    my ($self, $kind, $workers) = @_;

    my %on;

    for (1 .. 200) {
        $on{ $self->publisher($kind)->{worker} }++;
        last if keys %on >= $workers;
    }

    return keys(%on) >= $workers;
}


sub _body {
    my ($publisher, $n) = @_;
    return "$publisher->{name} $n " . ('x' x ($n * 7 % 60));
}


# The next thing that a publisher gets: true where it is a good answer,
# "message" where it is one that it is subscribed to, which is counted.
sub answer {
    my ($self, $publisher) = @_;

    if ($publisher->{kind} ne 'v1') {
        my $response = $publisher->{socket}->response('POST');
        return $response && $response->{status} =~ /^20[12]$/;
    }

    my ($text) = $publisher->{socket}->recv_message or return 0;

    if ($text =~ /^\{"type":"message","payload":"(\w+) /) {
        $publisher->{heard}++;
        $publisher->{echoed}++ if $1 eq $publisher->{name};
        return 'message';
    }

    return $text =~ /^\{"type":"published"/;
}


# Each publisher sends a batch to each channel, pipelined; their answers are
# waited for. Returns the publishers that did not answer.
sub round {
    my ($self, $per_channel, @channels) = @_;

    my (@dead, %expected);

    for my $publisher (@{ $self->{publishers} }) {
        my ($text, @bodies) = ('');

        for my $i (1 .. $per_channel) {
            for my $channel (@channels) {
                my $n = ++$publisher->{count}{$channel};
                my $body = _body($publisher, $n);

                $text .= $publisher->{kind} eq 'v1'
                    ? GatewayClient::frame(
                    qq({"type":"publish","payload":{"resource":"$channel",)
                        . qq("data":"$body"}}))
                    : GatewaySocket::request('POST', "/pub?channel=$channel",
                    headers => ['Content-Type' => 'text/plain'],
                    body => $body);
            }
        }

        $expected{ $publisher->{name} } = $per_channel * @channels;
        $publisher->{socket}->write($text);
    }

    $self->{between}->() if $self->{between};

    for my $publisher (@{ $self->{publishers} }) {
        my $left = $expected{ $publisher->{name} };

        while ($left > 0) {
            my $answer = $self->answer($publisher) or last;
            $left-- if $answer ne 'message';
        }

        if ($left) {
            push @dead, $publisher;
            next;
        }

        $self->{sent}{$_} += $per_channel for @channels;
    }

    return @dead;
}


sub close {
    my ($self) = @_;

    $_->{socket}->close for @{ $self->{publishers} };
    $self->{swarm}->close;
}


# Waits until each subscriber that is still there has all that was sent.
sub everything {
    my ($self) = @_;

    my $swarm = $self->{swarm};

    return $swarm->wait_for(
        20,
        sub {
            return !grep {
                /^(?:raw|v1) (\w+)$/
                    && $swarm->alive($_)
                    && !$swarm->all_have($_, $self->{sent}{$1} || 0)
            } keys %{ $swarm->{groups} };
        }
    );
}


# Tests: each channel's messages came once and in order, by the publishers'
# numbers and by the sequence numbers.
sub check {
    my ($self, $what) = @_;

    my $swarm = $self->{swarm};
    my @wrong;

    for my $name (sort keys %{ $swarm->{groups} }) {
        my ($mode, $channel) = $name =~ /^(raw|v1) (\w+)$/ or next;
        my (%last, $seq);

        for my $payload ($swarm->payloads($name)) {
            my $body = $payload;

            if ($mode eq 'v1') {
                $payload =~ /"payload":"([^"]*)".*"sequenceNumber":(\d+)/
                    or push @wrong, "$name: $payload";
                $body = $1;
                push @wrong, "$name: sequence number $2 after $seq"
                    if defined $seq && $2 != $seq + 1;
                $seq = $2;
            }

            my ($who, $n) = $body =~ /^"?(\w+) (\d+) x*"?$/;
            push @wrong, "$name: $body" unless defined $n;
            push @wrong, "$name: $who $n after " . ($last{$who} // 'none')
                if $n != ($last{$who} // $n - 1) + 1;
            $last{$who} = $n;
        }

        push @wrong, "$name: " . $swarm->frames($name)
            . " messages of $self->{sent}{$channel}"
            if $swarm->frames($name) != ($self->{sent}{$channel} || 0)
            && $swarm->alive($name);
    }

    push @wrong, $swarm->errors;
    is(scalar @wrong, 0, "$what: each message once and in order")
        or diag(join "\n", @wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)]);
}

1;
