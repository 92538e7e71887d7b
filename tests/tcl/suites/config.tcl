# CONFIG GET, SET, REWRITE, RESETSTAT, and what a change does at once.

proc config_get {name} {
    return [lindex [r config get $name] 1]
}

proc read_file {path} {
    set f [open $path]
    set text [read $f]
    close $f
    return $text
}

start_server {} {
    test {CONFIG GET answers names and values, each once, for several patterns} {
        assert_equal {databases 16} [r config get databases]
        assert_equal {maxclients 10000 maxmemory 0 maxmemory-policy noeviction} \
            [r config get MAX* maxmemory]
        assert_equal {hz 10} [r config get hz HZ h?]
        assert_equal {} [r config get nothing-like-that]
        assert {[llength [r config get *]] > 60}
    }

    test {CONFIG GET spells a name as it was asked for, and others in lower case} {
        assert_equal {HZ 10} [r config get HZ]
        assert_equal {Hz 10} [r config get Hz hz]
        assert_equal {hz 10} [r config get H?]
    }

    test {CONFIG SET names what it takes in Redis's order} {
        assert_error "*the following: everysec, always, no" \
            {r config set appendfsync never}
    }

    test {CONFIG GET of dir is the working directory} {
        assert_equal [file normalize [srv dir]] [config_get dir]
    }

    test {CONFIG GET of output limits calls replicas slave} {
        assert_equal {normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60} \
            [config_get client-output-buffer-limit]
    }

    test {CONFIG without a subcommand and an unknown one are errors} {
        assert_error {ERR wrong number of arguments for 'config' command} {r config}
        assert_error {ERR wrong number of arguments for 'config|get' command} {r config get}
        assert_error {ERR wrong number of arguments for 'config|set' command} {r config set port}
        assert_error {ERR wrong number of arguments for 'config|rewrite' command} \
            {r config rewrite x}
        assert_error {ERR unknown subcommand 'foo'. Try CONFIG HELP.} {r config foo}
        assert_match {*GET*RESETSTAT*REWRITE*SET*} [r config help]
    }

    test {CONFIG SET says what is wrong with a value in Redis's words} {
        set failed "ERR CONFIG SET failed (possibly related to argument"
        foreach {directive value why} {
            port 70000 {argument must be between 0 and 65535 inclusive}
            Port abc {argument couldn't be parsed into an integer}
            timeout 01 {argument couldn't be parsed into an integer}
            maxmemory 5kbx {argument must be a memory or percent value}
            proto-max-bulk-len x {argument must be a memory value}
            proto-max-bulk-len 1
            {argument must be between 1048576 and 9223372036854775807 inclusive}
            loglevel loud
            {argument(s) must be one of the following: debug, verbose, notice, warning, nothing}
            maxmemory-policy allkeys-lru {argument(s) must be one of the following: noeviction}
            protected-mode maybe {argument must be 'yes' or 'no'}
            databases 16 {can't set immutable config}
            worker-threads 1 {can't set immutable config}
            enable-debug-command yes {can't set immutable config}
            dir / {can't set protected config}
            slowlog-log-slower-than -2
            {argument must be between -1 and 9223372036854775807 inclusive}
            client-output-buffer-limit {normal 0 0}
            {Wrong number of arguments in buffer limit configuration.}
            save {900} {Invalid save parameters}
            dbfilename x.rdb {can't set protected config}
            appendfilename other {can't set immutable config}
            appendfsync never {argument(s) must be one of the following: everysec, always, no}
        } {
            assert_error "$failed '$directive') - $why" {r config set $directive $value}
        }
    }

    test {CONFIG SET of something unknown, or half a pair, is an error} {
        assert_error {ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'} \
            {r config set nosuch 1}
        assert_error {ERR Unknown option or number of arguments for CONFIG SET - ''} \
            {r config set {} 1}
        assert_error {ERR syntax error} {r config set timeout 1 hz}
        assert_error {ERR Unknown option or number of arguments for CONFIG SET - 'include'} \
            {r config set include /etc/passwd}
    }

    test {CONFIG SET changes all of its directives or none} {
        assert_error {*Unknown option*} {r config set timeout 77 nosuch 1}
        assert_error {*duplicate parameter} {r config set timeout 77 hz 20 TIMEOUT 78}
        assert_error {*'port') - argument must be*} {r config set timeout 77 port -1}
        assert_equal 0 [config_get timeout]
        assert_equal OK [r config set timeout 77 hz 20]
        assert_equal {hz 20 timeout 77} [lsort -stride 2 [r config get timeout hz]]
        r config set timeout 0 hz 10
    }

    test {an address that is not there takes everything back and goes on listening} {
        assert_error {*'bind') - Failed to bind to specified addresses.} \
            {r config set timeout 5 bind 192.0.2.1 maxmemory 1gb}
        assert_equal {bind {* -::*} maxmemory 0 timeout 0} \
            [lsort -stride 2 [r config get bind timeout maxmemory]]
        set c [client]
        assert_equal PONG [$c ping]
        $c close
    }

    test {hz is brought inside its limits} {
        r config set hz 0
        assert_equal 1 [config_get hz]
        r config set hz 100000
        assert_equal 500 [config_get hz]
        r config set hz 10
    }

    test {maxmemory holds from the next command on} {
        r config set maxmemory 1
        assert_error {OOM command not allowed when used memory > 'maxmemory'.} \
            {r vadd v values 2 1 2 e}
        r config set maxmemory 0
        assert_equal 1 [r vadd v values 2 1 2 e]
        r config set maxmemory 1k
        assert_equal 1000 [config_get maxmemory]
        r config set maxmemory 1kB
        assert_equal 1024 [config_get maxmemory]
        r config set maxmemory 50%
        assert {[config_get maxmemory] > 1000000}
        r config set maxmemory 0
    }

    test {requirepass lets connected clients stay and asks new ones} {
        r config set requirepass "a b"
        assert_equal PONG [r ping]
        assert_equal "a b" [config_get requirepass]
        set c [client]
        assert_error {NOAUTH*} {$c ping}
        r config set requirepass ""
        assert_equal PONG [$c ping]
        $c close
    }

    test {maxclients turns away those past it} {
        set c [client]
        $c ping
        r config set maxclients 2
        set d [client]
        assert_error {ERR max number of clients reached} {$d ping}
        $d close
        $c close
        r config set maxclients 10000
        assert_error {*The operating system is not able to handle the specified number*} \
            {r config set maxclients 4000000000}
        assert_equal 10000 [config_get maxclients]
    }

    test {timeout closes clients that have long been idle} {
        set c [client]
        $c ping
        assert_equal 2 [info_field connected_clients]
        r config set timeout 1
        wait_for {[info_field connected_clients] == 1}
        r config set timeout 0
        assert_equal 1 [$c eof]
        $c close
    }

    test {proto-max-bulk-len is the longest argument} {
        r config set proto-max-bulk-len 1mb
        set c [client]
        $c raw "*2\r\n\$4\r\nPING\r\n\$1048577\r\n"
        assert_error {*invalid bulk length*} {$c read}
        $c close
        r config set proto-max-bulk-len 512mb
    }

    test {client-query-buffer-limit closes a client that sends too much at once} {
        r config set client-query-buffer-limit 1mb
        set c [client]
        catch {
            $c raw "*2\r\n\$4\r\nPING\r\n\$3000000\r\n"
            $c raw [string repeat x 2999000]
        }
        assert {[catch {$c read}]}
        $c close
        r config set client-query-buffer-limit 1gb
        assert_equal 1 [info_field client_query_buffer_limit_disconnections]
    }

    test {output limits change the classes named} {
        r config set client-output-buffer-limit "pubsub 1mb 2kb 3 replica 1 2 4"
        assert_equal {normal 0 0 0 slave 1 2 4 pubsub 1048576 2048 3} \
            [config_get client-output-buffer-limit]
    }

    test {a class over its hard limit is closed} {
        r config set client-output-buffer-limit "normal 100kb 0 0"
        set c [client]
        catch {
            for {set i 0} {$i < 40} {incr i} { $c send ping [string repeat x 1000000] }
            flush [$c channel]
        }
        wait_for {[info_field client_output_buffer_limit_disconnections] == 1}
        $c close
        r config set client-output-buffer-limit "normal 0 0 0"
    }

    test {vset-force-single-threaded-execution runs searches on the loop} {
        r config set vset-force-single-threaded-execution yes
        set earlier [info_field searches_inline]
        r vsim v ele e
        assert {[info_field searches_inline] == $earlier + 1}
        r config set vset-force-single-threaded-execution no
    }

    test {logfile is opened at once, and one that cannot be is refused} {
        assert_error {*'logfile') - *No such file or directory} \
            {r config set logfile /no/such/place/log}
        r config set logfile [srv dir]/other.log loglevel debug
        r config set loglevel notice
        r config rewrite
        assert_match {*rewrote the configuration file*} [read_file [srv dir]/other.log]
        r config set logfile ""
    }

    test {port moves to another one and connections stay} {
        set other [harness::free_port]
        set old [srv port]
        r config set port $other
        set c [resp::connect $other]
        assert_equal PONG [$c ping]
        $c close
        assert_equal PONG [r ping]
        assert {[catch {resp::connect $old}]}
        assert_equal $other [info_field tcp_port]
        r config set port 0
        assert {[catch {resp::connect $other}]}
        r config set port $old
        assert_equal PONG [[client] ping]
    }

    test {a port that is taken is refused and the old one stays} {
        set taken [socket -server {} -myaddr 127.0.0.1 0]
        set port [lindex [fconfigure $taken -sockname] 2]
        assert_error {*'port') - Unable to listen on this port. Check server logs.} \
            {r config set port $port}
        close $taken
        assert_equal [srv port] [config_get port]
        assert_equal PONG [[client] ping]
    }
}

start_server {maxmemory "  1gb   " timeout 300 requirepass {""}} {
    test {CONFIG REWRITE keeps the file but for what has changed} {
        set path [srv dir]/vectra.conf
        set f [open $path w]
        puts $f "# my server\nmaxmemory   1gb\n\n  timeout 300\nrequirepass ''"
        close $f
        r config set timeout 5 slowlog-max-len 7
        assert_equal OK [r config rewrite]
        assert_equal "# my server\nmaxmemory   1gb\n\ntimeout 5\nrequirepass ''\n
# Generated by CONFIG REWRITE\nport [srv port]\ndir [srv dir]\nsave \"\"\nslowlog-max-len 7\n" \
            [read_file $path]
    }

    test {CONFIG REWRITE writes what a start with the file sets} {
        r config set requirepass {it's "quoted"} client-output-buffer-limit "normal 1kb 2 3" \
            bind 127.0.0.1 maxmemory 3000
        r config rewrite
        set wanted [r config get *]
        set copy [srv dir]/copy.conf
        file copy [srv dir]/vectra.conf $copy
        set port [harness::free_port]
        set pid [exec $harness::binary $copy --port $port > [srv dir]/log2 2>@1 &]
        wait_for {![catch {resp::connect $port} c]}
        assert_error {NOAUTH*} {$c ping}
        $c close
        exec kill -TERM $pid
        wait_for {![harness::alive $pid]}
        set text [read_file $copy]
        assert {[string first "\nrequirepass \"it's \\\"quoted\\\"\"\n" $text] > 0}
        assert_match "*\nclient-output-buffer-limit normal 1kb 2 3\n*" $text
        assert_match "*\nbind 127.0.0.1\n*" $text
        assert_match "*\nmaxmemory 3000\n*" $text
        r config set requirepass ""
    }

    test {CONFIG REWRITE is an error when the file is no configuration any more} {
        set f [open [srv dir]/vectra.conf a]
        puts $f "nonsense 1"
        close $f
        assert_error {ERR Rewriting config file: *'nonsense' is not a directive*} \
            {r config rewrite}
    }
}

test {CONFIG REWRITE without a file is an error} {
    set port [harness::free_port]
    set pid [exec $harness::binary --save {} --port $port > /dev/null 2>@1 &]
    wait_for {![catch {resp::connect $port} c]}
    assert_error {ERR The server is running without a config file} {$c config rewrite}
    assert_equal {} [info_field config_file $c]
    $c close
    exec kill -TERM $pid
    wait_for {![harness::alive $pid]}
}

test {several words may come as one, on the command line and in a file} {
    set dir [harness::scratch words]
    file mkdir $dir
    set f [open $dir/vectra.conf w]
    puts $f {client-output-buffer-limit "normal 5mb 1mb 3"}
    puts $f {save "60 5"}
    close $f
    set port [harness::free_port]
    set pid [exec $harness::binary $dir/vectra.conf --save {3600 1 300 100} --dir $dir \
                 --port $port > /dev/null 2>@1 &]
    wait_for {![catch {resp::connect $port} c]}
    assert_match "*3600 1 300 100" [lindex [$c config get save] 1]
    assert_match "normal 5242880 1048576 3 *" [lindex [$c config get client-output-buffer-limit] 1]
    catch {$c shutdown nosave}
    wait_for {![harness::alive $pid]}
    file delete -force $dir
}

start_server {enable-protected-configs local} {
    test {dir changes where it may, and goes back when something else fails} {
        r config set dir /
        assert_equal / [config_get dir]
        assert_error {*No such file or directory} {r config set dir /no/such/place}
        assert_error {*'bind') - *} {r config set dir /tmp bind 192.0.2.1}
        assert_equal / [config_get dir]
    }
}
