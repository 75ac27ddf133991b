package GatewayJWKS;

# A server of keys that does what a test tells it to. What it is told stands in
# files of the folder.
#
#   my $server = GatewayJWKS->new($nginx->port_named('jwks'), $nginx->prefix);
#   $server->keys(jwks(...));
#   $server->mode('hang');     # ok, fail (500), hang, reset, short, broken, big
#   $server->hits;             # requests so far
#   $server->stop;
#
# What hangs is answered once the mode is another.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);

use GatewayProcess;


sub new {
    my ($class, $port, $folder) = @_;

    my $listen = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 64,
        ReuseAddr => 1) or die "jwks server: $!\n";

    my $self = bless { folder => $folder, owner => $$ }, $class;
    $self->mode('ok');
    GatewayProcess::spew("$folder/jwks.hits", '');

    $self->{pid} = fork;
    die "fork: $!" unless defined $self->{pid};

    if (!$self->{pid}) {
        $self->_serve($listen);
        POSIX::_exit(0);
    }

    return $self;
}


sub _put {
    my ($self, $name, $text) = @_;

    GatewayProcess::spew("$self->{folder}/$name.new", $text);
    rename "$self->{folder}/$name.new", "$self->{folder}/$name" or die $!;
}

sub keys { $_[0]->_put('jwks.text', $_[1]) }
sub mode { $_[0]->_put('jwks.mode', $_[1]) }

sub hits { return -s "$_[0]{folder}/jwks.hits" || 0 }


sub stop {
    my ($self) = @_;

    return if !$self->{pid} || $self->{owner} != $$;

    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
    $self->{pid} = 0;
}

sub DESTROY { local $?; $_[0]->stop }


sub _serve {
    my ($self, $listen) = @_;

    my @waiting;
    my $select = IO::Select->new($listen);

    $SIG{PIPE} = 'IGNORE';

    while (getppid() == $self->{owner}) {

        for ($select->can_read(0.02)) {
            my $client = $listen->accept or next;
            $client->sysread(my $request, 8192);

            open my $hits, '>>', "$self->{folder}/jwks.hits" or die $!;
            print $hits '.';
            close $hits;

            push @waiting, $client;
        }

        my $mode = GatewayProcess::slurp("$self->{folder}/jwks.mode");
        next if $mode eq 'hang';

        $self->_answer($_, $mode) for splice @waiting;
    }
}


sub _answer {
    my ($self, $client, $mode) = @_;

    my $text = GatewayProcess::slurp("$self->{folder}/jwks.text");
    my $status = $mode eq 'fail' ? '500 No' : '200 OK';

    $text = '{"keys":' if $mode eq 'broken';
    $text = ' ' x 1_200_000 . $text if $mode eq 'big';

    if ($mode eq 'reset') {
        setsockopt $client, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
        close $client;
        return;
    }

    my $length = length($text) + ($mode eq 'short' ? 100 : 0);

    $client->syswrite("HTTP/1.1 $status\r\n"
        . "Content-Type: application/jwk-set+json\r\n"
        . "Content-Length: $length\r\nConnection: close\r\n\r\n");

    my $at = 0;
    while ($at < length $text) {
        my $n = $client->syswrite($text, 65536, $at) or last;
        $at += $n;
    }

    close $client;
}

1;
