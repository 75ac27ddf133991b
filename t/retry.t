# gateway_retry: what nginx says of a configuration that is wrong, what it
# takes, and what locations inherit.

use Test::Nginx::Socket 'no_plan';

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(http_config => <<'END')
    server {
        listen 127.0.0.1:$TEST_NGINX_RAND_PORT_2;
        location / { return 200 ok; }
    }
END
        if !defined $block->http_config;
    $block->set_value(config => 'location /t { return 200; }')
        if !defined $block->config;
    $block->set_value(request => 'GET /t')
        if !defined $block->request && !defined $block->must_die;
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: nothing
--- config
    gateway_retry;
--- must_die
--- error_log
invalid number of arguments in "gateway_retry" directive



=== TEST 2: no attempts
--- config
    gateway_retry backoff=1s;
--- must_die
--- error_log
no "attempts" in "gateway_retry", "attempts=number" such as "attempts=3" is needed



=== TEST 3: zero attempts
--- config
    gateway_retry attempts=0;
--- must_die
--- error_log
invalid "attempts=0" in "gateway_retry": a number of attempts from 1 to 100 is accepted, once



=== TEST 4: too many
--- config
    gateway_retry attempts=101;
--- must_die
--- error_log
invalid "attempts=101" in "gateway_retry": a number of attempts from 1 to 100



=== TEST 5: no number
--- config
    gateway_retry attempts=;
--- must_die
--- error_log
invalid "attempts=" in "gateway_retry": a number of attempts



=== TEST 6: a negative number
--- config
    gateway_retry attempts=-1;
--- must_die
--- error_log
invalid "attempts=-1" in "gateway_retry"



=== TEST 7: attempts twice
--- config
    gateway_retry attempts=2 attempts=3;
--- must_die
--- error_log
invalid "attempts=3" in "gateway_retry": a number of attempts from 1 to 100 is accepted, once



=== TEST 8: a backoff that is no time
--- config
    gateway_retry attempts=3 backoff=soon;
--- must_die
--- error_log
invalid "backoff=soon" in "gateway_retry": a time up to 1d such as 100ms or 2s is accepted, once



=== TEST 9: a backoff without a value
--- config
    gateway_retry attempts=3 backoff=;
--- must_die
--- error_log
invalid "backoff=" in "gateway_retry": a time



=== TEST 10: a backoff that is too long
--- config
    gateway_retry attempts=3 max=2d;
--- must_die
--- error_log
invalid "max=2d" in "gateway_retry": a time up to 1d



=== TEST 11: backoff twice
--- config
    gateway_retry attempts=3 backoff=1s backoff=1s;
--- must_die
--- error_log
invalid "backoff=1s" in "gateway_retry"



=== TEST 12: a backoff over max
--- config
    gateway_retry attempts=3 backoff=2s max=1s;
--- must_die
--- error_log
"backoff" is longer than "max" in "gateway_retry"



=== TEST 13: a backoff over the default of max
--- config
    gateway_retry attempts=3 backoff=3s;
--- must_die
--- error_log
"backoff" is longer than "max" in "gateway_retry", a "max" (2s by default) that is not shorter is accepted



=== TEST 14: jitter without its sign
--- config
    gateway_retry attempts=3 jitter=25;
--- must_die
--- error_log
invalid "jitter=25" in "gateway_retry": a share from 0% to 100% is accepted, once



=== TEST 15: too much jitter
--- config
    gateway_retry attempts=3 jitter=101%;
--- must_die
--- error_log
invalid "jitter=101%" in "gateway_retry": a share from 0% to 100%



=== TEST 16: jitter twice
--- config
    gateway_retry attempts=3 jitter=0% jitter=1%;
--- must_die
--- error_log
invalid "jitter=1%" in "gateway_retry"



=== TEST 17: a budget that is no share
--- config
    gateway_retry attempts=3 budget=-1%;
--- must_die
--- error_log
invalid "budget=-1%" in "gateway_retry": a share from 0% to 1000% is accepted, once



=== TEST 18: a budget without a number
--- config
    gateway_retry attempts=3 budget=%;
--- must_die
--- error_log
invalid "budget=%" in "gateway_retry": a share



=== TEST 19: budget twice
--- config
    gateway_retry attempts=3 budget=5% budget=5%;
--- must_die
--- error_log
invalid "budget=5%" in "gateway_retry"



=== TEST 20: a cause that is none
--- config
    gateway_retry attempts=3 on=error,http_418;
--- must_die
--- error_log
invalid "on=error,http_418" in "gateway_retry": a list of error, timeout, invalid_header, http_403, http_404, http_429, http_500, http_502, http_503 and http_504



=== TEST 21: no cause
--- config
    gateway_retry attempts=3 on=;
--- must_die
--- error_log
invalid "on=" in "gateway_retry": a list of



=== TEST 22: an empty cause
--- config
    gateway_retry attempts=3 on=error,;
--- must_die
--- error_log
invalid "on=error," in "gateway_retry": a list of



=== TEST 23: a cause twice
--- config
    gateway_retry attempts=3 on=error,timeout,error;
--- must_die
--- error_log
invalid "on=error,timeout,error" in "gateway_retry": a list of



=== TEST 24: causes twice
--- config
    gateway_retry attempts=3 on=error on=timeout;
--- must_die
--- error_log
invalid "on=timeout" in "gateway_retry": "on=" is accepted once



=== TEST 25: non_idempotent twice
--- config
    gateway_retry attempts=3 non_idempotent non_idempotent;
--- must_die
--- error_log
invalid "non_idempotent" in "gateway_retry": "attempts=number", "backoff=time", "max=time", "jitter=N%", "budget=N%", "on=error,timeout,..." and "non_idempotent" are accepted, each once



=== TEST 26: another word
--- config
    gateway_retry attempts=3 off;
--- must_die
--- error_log
invalid "off" in "gateway_retry": "attempts=number"



=== TEST 27: the directive twice
--- config
    gateway_retry attempts=3;
    gateway_retry attempts=3;
--- must_die
--- error_log
"gateway_retry" directive is duplicate



=== TEST 28: not in an upstream
--- http_config
    upstream u { server 127.0.0.1; gateway_retry attempts=3; }
--- must_die
--- error_log
"gateway_retry" directive is not allowed here



=== TEST 29: everything
--- http_config
    gateway_retry attempts=100 backoff=0 max=0 jitter=0% budget=0%
                  on=error,timeout,invalid_header,http_403,http_404,http_429,http_500,http_502,http_503,http_504
                  non_idempotent;
--- config
    gateway_retry attempts=1 max=1d backoff=1d jitter=100% budget=1000%;
    location /t { gateway_retry attempts=2 max=50ms; return 200; }
--- request
GET /t
--- error_code: 200
--- no_error_log
[error]



=== TEST 30: locations inherit it, and replace it as a whole
--- http_config
    gateway_retry attempts=2 backoff=1ms;
--- config
    location /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        error_page 502 = @show;
    }
    location @show { return 200 "$gateway_retry_attempts $upstream_addr"; }
    location /own {
        gateway_retry attempts=4 backoff=1ms;
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1;
        error_page 502 = @show;
    }
--- pipelined_requests eval
["GET /t", "GET /own"]
--- response_body_like eval
[qr/^2 127.*, 127.*$/, qr/^4 127(.*, 127){3}.*$/]
--- error_code eval
[200, 200]



=== TEST 31: nothing is passed on
--- config
    gateway_retry attempts=3;
    location /t { return 200 "[$gateway_retry_attempts]"; }
--- response_body: []



=== TEST 32: passed on without it
--- config
    location /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2/inner;
        add_header X-Attempts "[$gateway_retry_attempts]";
    }
--- response_headers
X-Attempts: []
--- response_body: ok



=== TEST 33: passed on once
--- config
    gateway_retry attempts=3;
    location /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_2/inner;
        add_header X-Attempts "[$gateway_retry_attempts]";
    }
--- response_headers
X-Attempts: [1]
--- response_body: ok
