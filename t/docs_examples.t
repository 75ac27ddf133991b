#!/usr/bin/perl

# The examples of the documentation: nginx accepts every configuration in
# conf.example/ and every ```nginx block of README.md and docs/, every ```json
# block is JSON, and links lead somewhere.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use JSON::PP;
use Test::More;

use GatewayNginx;

my $root = abs_path(dirname(abs_path(__FILE__)) . '/..');
my ($module) = grep { /gateway/ } split ' ',
    $ENV{TEST_NGINX_LOAD_MODULES} || "$root/objs/ngx_http_gateway_module.so";
my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
my $dir = tempdir(CLEANUP => 1);

# What blocks of documentation take for granted.
my @keys = ('gateway_jwt_keys users secret_file=keys/users.secret;',
            'gateway_channel_zone app:1m;');


sub read_file {
    my ($path) = @_;

    open my $fh, '<:encoding(UTF-8)', $path or die "$path: $!";
    local $/;

    return scalar <$fh>;
}


sub write_file {
    my ($path, $text) = @_;

    open my $fh, '>:encoding(UTF-8)', $path or die "$path: $!";
    print $fh $text;
    close $fh or die "$path: $!";
}


sub accepts {
    my ($name, @args) = @_;
    my $said = do {
        local $ENV{LC_ALL} = 'C';
        local $ENV{LD_PRELOAD} = $ENV{GATEWAY_PRELOAD} // '';
        open my $fh, '-|', 'sh', '-c', 'exec 2>&1; exec "$@"', 'sh', $nginx,
             '-t', @args or die "$nginx: $!";
        local $/;
        scalar <$fh>;
    };
    my $ok = $said =~ /test is successful/ && $said !~ /\[(?!notice)\w+\]/;

    ok($ok, $name) or diag($said);
}


# Puts a block into the context where it belongs.
sub complete {
    my ($block) = @_;

    return "load_module $module;\npid $dir/pid;\nevents {}\n$block"
        if $block =~ /^worker_/m;

    $block = "http {\n" . join("\n", @keys) . "\n$block\n}"
        if $block !~ /^http \{/m && $block =~ /^(server \{|gateway_jwt_keys|
                                       gateway_redis|
                                       gateway_jwt_cache|gateway_channel_zone|
                                       gateway_limit_zone|gateway_cache_zone|
                                       map\ )/xm;

    if ($block !~ /^http \{/m) {
        $block = "location / {\n$block\n}" if $block !~ /^location /m;
        $block = "http {\n" . join("\n", @keys)
                 . "\nserver {\nlisten 80;\n$block\n}\n}";
    }

    # a zone of the block's own, rather than the one taken for granted
    $block =~ s/^gateway_channel_zone app:1m;$//m
        if (() = $block =~ /gateway_channel_zone\s+app:/g) > 1;

    return "load_module $module;\npid $dir/pid;\nevents {}\n"
           . $block =~ s/listen 80;/listen unix:$dir\/socket;/gr
                    =~ s/^http \{/http {\naccess_log off;\n
                         client_body_temp_path $dir\/1;
                         proxy_temp_path $dir\/2; fastcgi_temp_path $dir\/3;
                         uwsgi_temp_path $dir\/4; scgi_temp_path $dir\/5;/mr;
}


sub prepare_keys {
    make_path("$dir/keys");
    write_file("$dir/keys/$_.secret", 's' x 32 . "\n") for qw(users services redis);

    GatewayNginx->make_certificate("$dir/keys/redis");

    system("openssl genpkey -algorithm ed25519 2>&1 | openssl pkey -pubout"
           . " -out '$dir/keys/legacy.pem'") == 0 or die 'openssl';
}


sub anchors {
    my ($markdown) = @_;
    my %anchors;

    for ($markdown =~ /^#+ (.*)$/mg) {
        my $anchor = lc;
        $anchor =~ s/[^\w\- ]//g;
        $anchor =~ s/ /-/g;
        $anchors{$anchor} = 1;
    }

    return \%anchors;
}


sub check_links {
    my ($name, $text) = @_;
    my @broken;

    $text =~ s/^```.*?^```//msg;

    for my $link ($text =~ /\]\(([^)\s]+)\)/g) {
        next if $link =~ m{^https?://};

        my ($file, $anchor) = split /#/, $link, 2;
        my $path = $file eq '' ? "$root/$name"
                               : dirname("$root/$name") . "/$file";

        if (!-e $path || defined $anchor
                         && !anchors(read_file($path))->{$anchor})
        {
            push @broken, $link;
        }
    }

    is("@broken", '', "$name: links");
}


-e $module or BAIL_OUT("$module is missing: ./build.sh builds it");

for my $path (glob "$root/conf.example/[0-9]*.conf") {
    accepts($path =~ s{^\Q$root\E/}{}r, '-p', $root, '-c', $path);
}

system("$root/conf.example/demo/prepare.sh", "$dir/demo") == 0
    or die 'prepare.sh';
symlink $module, "$dir/ngx_http_gateway_module.so";
accepts('conf.example/demo.conf', '-p', "$dir/demo", '-c', 'nginx.conf');

prepare_keys();

for my $name ('README.md', map { "docs/$_" } qw(directives.md protocol.md
                                              operations.md
                                                 architecture.md))
{
    my $text = read_file("$root/$name");
    my ($line, $kind, $block) = (0);

    for (split /^/, $text) {
        $line++;

        if (!defined $kind) {
            ($kind, $block) = ($1, '') if /^```(\w*)$/;
            next;
        }

        if ($_ ne "```\n") {
            $block .= $_;
            next;
        }

        if ($kind eq 'nginx') {
            write_file("$dir/nginx.conf", complete($block));
            accepts("$name, to line $line", '-p', $dir, '-c', 'nginx.conf');

        } elsif ($kind eq 'json') {
            ok(eval { JSON::PP->new->decode($block) },
               "$name, to line $line: JSON");
        }

        undef $kind;
    }

    check_links($name, $text);
}

done_testing();
