package GatewayNodes;

# Several nodes (a GatewayNginx each) that share a Redis, named r.
#
#   my $nodes = GatewayNodes->new(url => $redis->url,
#       http => 'gateway_channel_zone z:1m redis=r;',
#       config => 'location /pub { gateway_publisher z; }');
#   my ($one, $two) = $nodes->all;
#   $nodes->wait_up;               # all of them say that Redis is there
#   $nodes->metric($one, 'gateway_messages_published_total', zone => 'z');
#   $nodes->stop;

use strict;
use warnings;

use JSON::PP ();

use GatewayNginx;
use GatewayProcess;


# n (2), url or urls (one for each node), options (further parameters of
# gateway_redis), and GatewayNginx's own. /status and /pid are there already.
sub new {
    my ($class, %args) = @_;

    my $n = delete $args{n} || 2;
    my $urls = delete $args{urls} || [(delete $args{url}) x $n];
    my $options = delete $args{options} // '';
    my ($http, $config) = map { delete $args{$_} // '' } qw(http config);

    my @all = map {
        GatewayNginx->new(
            %args,
            http => "gateway_redis r $_ $options;\n$http",
            config => "location = /status { gateway_status; }\n"
                . "location = /pid { return 200 \$pid; }\n"
                . "add_header X-Worker \$pid always;\n$config",
        )
    } @$urls;

    return bless { all => \@all }, $class;
}


sub all { return @{ $_[0]{all} } }


sub status {
    my ($self, $node) = @_;

    my $answer = $node->http('GET', '/status?format=json') or return {};
    return JSON::PP->new->utf8->decode($answer->{body});
}


# The value of a metric, with these labels among others; undef where there is
# none.
sub metric {
    my ($self, $node, $name, %labels) = @_;

    for my $one (@{ $self->status($node)->{metrics}{$name} || [] }) {
        my $has = $one->{labels} || {};

        return $one->{value} // $one->{count}
            if !grep { ($has->{$_} // '') ne $labels{$_} } keys %labels;
    }

    return;
}


# Waits until these nodes (all by default) say that Redis is there, or is not.
sub wait_up   { my $self = shift; return $self->_wait(1, @_) }
sub wait_down { my $self = shift; return $self->_wait(0, @_) }

sub _wait {
    my ($self, $up, @nodes) = @_;

    @nodes = $self->all if !@nodes;

    return GatewayProcess::wait_for(20, sub {
        !grep { ($self->metric($_, 'gateway_redis_up', name => 'r') // -1)
            != $up } @nodes
    });
}


sub stop {
    my ($self) = @_;
    $_->stop for $self->all;
}

1;
