package GatewayFallback;

# Lets `use Test::Nginx::Socket` find the harness in t/fallback where CPAN's
# Test::Nginx is not installed: the folder is appended to @INC, so that an
# installed one wins. .proverc and t/run load this before each test.

use strict;
use warnings;

use Cwd ();
use File::Basename qw(dirname);
use File::Spec;

my $lib = File::Spec->rel2abs(dirname(__FILE__));

push @INC, "$lib/../fallback";

# prove t/x.t alone tests what ./build.sh has built
my $module = "$lib/../../objs/ngx_http_gateway_module.so";
$ENV{TEST_NGINX_LOAD_MODULES} = Cwd::realpath($module)
    if !defined $ENV{TEST_NGINX_LOAD_MODULES} && -e $module;

1;
