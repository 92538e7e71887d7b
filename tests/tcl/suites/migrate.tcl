# MIGRATE: keys move from one server to another.

proc typed {args} {
    r send {*}$args
    return [r typed]
}

proc digest {key {connection r}} { return [$connection debug digest-value $key] }

# Somebody who listens, accepts, and says what a script makes of each request.
proc fake_target {script} {
    set ::fake_script $script
    set server [socket -server fake_accept -myaddr 127.0.0.1 0]
    return [list $server [lindex [fconfigure $server -sockname] 2]]
}
proc fake_accept {chan args} {
    fconfigure $chan -blocking 0 -translation binary
    fileevent $chan readable [list fake_read $chan]
}
proc fake_read {chan} {
    set data [read $chan]
    if {[eof $chan]} { close $chan; return }
    eval $::fake_script
}

# The reply to a command, while events are served.
proc reply_meanwhile {connection} {
    $connection raw ""
    set timer [after 20000 {set ::readable late}]
    fileevent [$connection channel] readable {set ::readable 1}
    vwait ::readable
    after cancel $timer
    fileevent [$connection channel] readable {}
    return [$connection read]
}

start_server {} {
    set source [client]
    set from [srv port]
    start_server {requirepass secret} {
        r auth secret
        set to [srv port]

        test {a key moves} {
            for {set i 0} {$i < 100} {incr i} {
                $source vadd set FP32 [fp32 [random_vector 8]] e$i SETATTR "{\"n\":$i}"
            }
            $source set text hello
            assert_error "ERR Target instance replied with error: NOAUTH*" {
                $source migrate 127.0.0.1 $to set 0 60000
            }
            set before [digest set $source]
            assert_equal OK [$source migrate 127.0.0.1 $to set 0 60000 AUTH secret]
            assert_equal $before [digest set]
            assert_equal 0 [$source exists set]
            assert_equal OK [$source migrate localhost $to text 3 60000 AUTH2 default secret]
            r select 3
            assert_equal hello [r get text]
            r select 0
        }

        test {several keys, copies, times to live} {
            $source mset a 1 b 2 c 3
            $source pexpire b 100000
            assert_equal OK [$source migrate 127.0.0.1 $to "" 0 60000 COPY AUTH secret KEYS a b c missing]
            assert_equal {1 2 3} [r mget a b c]
            assert {[r pttl b] > 90000 && [r pttl b] <= 100000}
            assert_equal -1 [r pttl a]
            assert_equal 3 [$source exists a b c]
            assert_error "ERR Target instance replied with error: BUSYKEY Target key name already exists." {
                $source migrate 127.0.0.1 $to "" 0 60000 AUTH secret KEYS a d
            }
            $source set d 4
            assert_error "ERR Target instance replied with error: BUSYKEY*" {
                $source migrate 127.0.0.1 $to "" 0 60000 AUTH secret KEYS a d
            }
            assert_equal {1 0} [list [$source exists a] [$source exists d]]
            assert_equal 4 [r get d]
            $source set a 5
            assert_equal OK [$source migrate 127.0.0.1 $to "" 0 60000 REPLACE AUTH secret KEYS a b c a]
            assert_equal {5 2 3} [r mget a b c]
            assert_equal 0 [$source exists a b c]
        }

        test {errors} {
            $source set a 1
            assert_equal NOKEY [$source migrate 127.0.0.1 $to missing 0 1000]
            assert_error "ERR Target instance replied with error: WRONGPASS*" {
                $source migrate 127.0.0.1 $to a 0 1000 AUTH wrong
            }
            assert_error "ERR Target instance replied with error: ERR DB index is out of range" {
                $source migrate 127.0.0.1 $to a 99 1000 AUTH secret
            }
            assert_error "IOERR error or timeout connecting to the client" {
                $source migrate 127.0.0.1 1 a 0 1000
            }
            assert_error "ERR value is not an integer or out of range" {
                $source migrate 127.0.0.1 $to a 0 soon
            }
            assert_error "ERR value is not an integer or out of range" {
                $source migrate 127.0.0.1 $to a x 1000
            }
            assert_error "ERR syntax error" {$source migrate 127.0.0.1 $to a 0 1000 FOO}
            assert_error "ERR syntax error" {$source migrate 127.0.0.1 $to a 0 1000 AUTH}
            assert_error "ERR syntax error" {$source migrate 127.0.0.1 $to a 0 1000 AUTH2 x}
            assert_error "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string" {
                $source migrate 127.0.0.1 $to a 0 1000 KEYS b
            }
            assert_error "ERR wrong number of arguments for 'migrate' command" {
                $source migrate 127.0.0.1 $to a 0
            }
            assert_equal 1 [$source get a]
        }

        test {in a transaction} {
            $source set a 7
            $source multi
            $source migrate 127.0.0.1 $to a 0 60000 REPLACE AUTH secret
            $source exists a
            assert_equal {OK 0} [$source exec]
            assert_equal 7 [r get a]
        }
    }

    test {others are served, and a key that changes meanwhile stays} {
        r mset a 1 b 2
        lassign [fake_target {
            set ::asked 1
            after 300 [list catch "puts -nonewline $chan {+OK\r\n+OK\r\n+OK\r\n}; flush $chan"]
        }] server port
        $source send migrate 127.0.0.1 $port "" 0 60000 KEYS a b
        $source raw ""
        vwait ::asked
        assert_equal PONG [r ping]
        r append a x
        set code [catch {reply_meanwhile $source} reply]
        assert_equal "ERR a key was written to while it was being moved, and is there and here" $reply
        assert_equal 1x [r get a]
        assert_equal 0 [r exists b]
        close $server
    }

    test {a server that is silent costs the time allowed} {
        r set a 1
        lassign [fake_target {}] server port
        $source send migrate 127.0.0.1 $port a 0 200
        catch {reply_meanwhile $source} reply
        assert_equal "IOERR error or timeout reading to target instance" $reply
        assert_equal 1 [r get a]
        # Its client goes, and it goes on.
        set gone [client]
        $gone send migrate 127.0.0.1 $port a 0 500
        $gone raw ""
        r ping
        $gone close
        assert_equal 1 [r get a]
        close $server
    }
}
