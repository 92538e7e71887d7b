# Starting with all kinds of command lines, and stopping.

# Runs the server with these arguments until it ends; {exit-code output}.
proc run_to_end {args} {
    set code [catch {exec $harness::binary {*}$args < /dev/null 2>@1} output options]
    if {$code} {
        set why [dict get $options -errorcode]
        set code [expr {[lindex $why 0] eq "CHILDSTATUS" ? [lindex $why 2] : 99}]
        regsub {\nchild process exited abnormally$} $output {} output
    }
    return [list $code $output]
}

proc assert_no_start {want args} {
    assert_equal [list 1 "vectra-server: $want"] [run_to_end {*}$args]
}

proc write_conf {text} {
    set path [harness::scratch start].conf
    set f [open $path w]
    puts -nonewline $f $text
    close $f
    return $path
}

# Starts it with these arguments and a free port in the background; {pid port}.
proc start_bare {args} {
    set port [harness::free_port]
    set log [harness::scratch startstop].log
    set pid [exec $harness::binary --save {} {*}$args --port $port < /dev/null > $log 2>@1 &]
    wait_for {![catch {resp::connect $port} c]} [harness::log_of $log]
    file delete $log
    $c close
    return [list $pid $port]
}

proc end_bare {pid {signal TERM}} {
    exec kill -$signal $pid
    wait_for {![harness::alive $pid]}
}

test {--version and --help print and end with 0} {
    lassign [run_to_end --version] code text
    assert_equal 0 $code
    assert_match {Vectra server v=* redis=8.0.6 malloc=* bits=64} $text
    assert_equal [list 0 $text] [run_to_end -v]
    lassign [run_to_end --help] code text
    assert_equal 0 $code
    assert_match "usage: vectra-server*" $text
}

test {--dump config is vectra.conf} {
    lassign [run_to_end --dump config] code text
    assert_equal 0 $code
    set f [open $harness::root/vectra.conf]
    assert_equal [string trimright [read $f] \n] $text
    close $f
}

test {--dump info explains every field of INFO} {
    lassign [run_to_end --dump info] code text
    assert_equal 0 $code
    assert_match "*| `used_memory` |*" $text
}

test {a start that fails says why in one line and ends with 1} {
    set conf [write_conf "port 1\n\nhash-max-listpack-entries yes\n"]
    assert_no_start "$conf line 3: 'hash-max-listpack-entries' is not a directive that Vectra has" $conf
    assert_no_start "command line: 'nosuch' is not a directive that Vectra has" --nosuch 1
    assert_no_start "command line: port: argument must be between 0 and 65535 inclusive" \
        --port 65536
    assert_no_start "opening /no/such.conf: No such file or directory" /no/such.conf
    assert_no_start "dir /no/such: No such file or directory" --dir /no/such
    assert_no_start "logfile: cannot open log file /no/such/log: No such file or directory" \
        --logfile /no/such/log
    assert_no_start "what is 'b.conf'? See --help." $conf b.conf
    assert_no_start "there is no 'nosuch' to dump" --dump nosuch
    file delete $conf
}

test {a port that is taken is a failure to start} {
    set taken [socket -server {} -myaddr 127.0.0.1 0]
    set port [lindex [fconfigure $taken -sockname] 2]
    assert_no_start "listening on 127.0.0.1 port $port: Address already in use" \
        --port $port --bind 127.0.0.1
    close $taken
}

test {an address that may be missing is passed over, one that must not is a failure} {
    lassign [start_bare --bind 127.0.0.1 -192.0.2.1] pid port
    end_bare $pid
    set port [harness::free_port]
    assert_no_start "listening on 192.0.2.1 port $port: Cannot assign requested address" \
        --bind 192.0.2.1 --port $port
}

test {the directives of a file, standard input and the command line add up} {
    set conf [write_conf "timeout 1\nhz 11\nmaxclients 500\n"]
    set port [harness::free_port]
    set pid [exec $harness::binary $conf - --save {} --timeout 3 --port $port \
                 << "timeout 2\nhz 12\n" > /dev/null 2>@1 &]
    wait_for {![catch {resp::connect $port} c]}
    assert_equal {timeout 3} [$c config get timeout]
    assert_equal {hz 12} [$c config get hz]
    assert_equal {maxclients 500} [$c config get maxclients]
    $c close
    end_bare $pid
    file delete $conf
}

test {SIGTERM and SIGINT end the server with 0} {
    foreach signal {TERM INT} {
        set port [harness::free_port]
        set out [open "|$harness::binary --save {} --port $port 2>@1"]
        wait_for {![catch {resp::connect $port} c]}
        assert_equal PONG [$c ping]
        exec kill -$signal [pid $out]
        assert_match "*shutting down*stopped*" [read $out]
        close $out
        assert_equal 1 [$c eof]
        $c close
    }
}

test {SIGHUP and a client that goes away while it is written to do no harm} {
    lassign [start_bare] pid port
    exec kill -HUP $pid
    set c [resp::connect $port]
    for {set i 0} {$i < 100} {incr i} { $c send ping [string repeat x 100000] }
    flush [$c channel]
    $c close
    set c [resp::connect $port]
    assert_equal PONG [$c ping]
    $c close
    end_bare $pid
}

test {in the background the command returns when clients can connect} {
    set dir [harness::scratch daemon]
    file mkdir $dir
    set port [harness::free_port]
    assert_equal {0 {}} [run_to_end --port $port --dir $dir --daemonize yes \
                             --pidfile vectra.pid --logfile vectra.log]
    set c [resp::connect $port]
    assert_equal PONG [$c ping]
    set pid [string trim [harness::log_of $dir/vectra.pid]]
    assert_equal $pid [info_field process_id $c]
    $c close
    exec kill -TERM $pid
    wait_for {![file exists $dir/vectra.pid]}
    wait_for {[string match "*is ready*stopped*" [harness::log_of $dir/vectra.log]]}
    file delete -force $dir
}

test {in the background a failure to start is seen, too} {
    set taken [socket -server {} -myaddr 127.0.0.1 0]
    set port [lindex [fconfigure $taken -sockname] 2]
    assert_no_start "listening on 127.0.0.1 port $port: Address already in use" \
        --port $port --bind 127.0.0.1 --daemonize yes
    close $taken
}

test {the Unix socket has its permissions and goes with the server} {
    set path [harness::scratch s]
    lassign [start_bare --unixsocket $path --unixsocketperm 600] pid port
    wait_for {[file exists $path]}
    file stat $path status
    assert_equal 600 [format %o [expr {$status(mode) & 0777}]]
    set c [resp::connect $port]
    assert_match "*name=unix,bind=$path*" [$c info server]
    $c close
    end_bare $pid
    assert {![file exists $path]}
}

test {without TCP the server is reached by its Unix socket alone} {
    set path [harness::scratch s]
    set pid [exec $harness::binary --save {} --port 0 --unixsocket $path > /dev/null 2>@1 &]
    wait_for {[file exists $path]}
    end_bare $pid
    assert {![file exists $path]}
}

test {replies to what was asked before the end are sent} {
    set port [harness::free_port]
    set out [open "|$harness::binary --save {} --port $port 2>@1"]
    wait_for {![catch {resp::connect $port} c]}
    $c vadd v values 2 1 2 e
    for {set i 0} {$i < 100} {incr i} {
        $c send ping $i
        $c send vsim v ele e
    }
    $c send shutdown nosave
    for {set i 0} {$i < 100} {incr i} {
        assert_equal $i [$c read]
        assert_equal e [$c read]
    }
    assert_equal 1 [$c eof]
    $c close
    assert_match *asked-by=SHUTDOWN*stopped* [read $out]
    close $out
}
