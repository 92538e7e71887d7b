# Requests as bytes: malformed, cut, pipelined, enormous; and clients that send
# without reading.

# What the server answers to bytes, up to `n` bytes of it.
proc answer_line {bytes} {
    set c [client]
    $c raw $bytes
    set line [gets [$c channel]]
    $c close
    return [string trimright $line \r]
}

# The bytes are answered by an error and the connection closes.
proc assert_breaks_off {bytes error} {
    set c [client]
    $c raw $bytes
    assert_error $error {$c read}
    assert_equal 1 [$c eof]
    $c close
}

proc request {args} {
    set out "*[llength $args]\r\n"
    foreach word $args { append out "\$[string length $word]\r\n$word\r\n" }
    return $out
}

start_server {} {
    test {counts that are no counts break off} {
        foreach count {x "" -0 +1 01 "1 " 2147483648 99999999999999999999 0x1} {
            assert_breaks_off "*$count\r\n" {ERR Protocol error: invalid multibulk length}
        }
    }

    test {empty and negative arrays, and empty lines, are passed over} {
        assert_equal +PONG [answer_line "*0\r\n*-1\r\n*-10\r\n\r\n\n\r\nPING\r\n"]
    }

    test {lengths that are no lengths break off} {
        foreach length {-1 x "" 03 +3 536870913 99999999999999999999} {
            assert_breaks_off "*1\r\n\$$length\r\n" {ERR Protocol error: invalid bulk length}
        }
    }

    test {what is not a bulk string breaks off} {
        assert_breaks_off "*1\r\n:1\r\n" {ERR Protocol error: expected '$', got ':'}
        assert_breaks_off "*1\r\n*1\r\n" {ERR Protocol error: expected '$', got '\*'}
        assert_breaks_off "*2\r\n\$4\r\nPING\r\nPING\r\n" {ERR Protocol error: expected '$', got 'P'}
        assert_breaks_off "*2\r\n\$2\r\nGET\r\n\$1\r\nk\r\n" {ERR Protocol error: expected '$', got *}
    }

    test {lines without an end break off once they are too long} {
        set long [string repeat 1 70000]
        assert_breaks_off "*$long" {ERR Protocol error: too big mbulk count string}
        assert_breaks_off "*1\r\n\$$long" {ERR Protocol error: too big bulk count string}
        assert_breaks_off $long {ERR Protocol error: too big inline request}
    }

    test {requests before the broken one are answered} {
        set c [client]
        $c raw "[request set k v][request get k]*x\r\n[request get k]"
        assert_equal OK [$c read]
        assert_equal v [$c read]
        assert_error {ERR Protocol error*} {$c read}
        assert_equal 1 [$c eof]
        $c close
        r del k
    }

    test {inline requests} {
        assert_equal +PONG [answer_line "PING\r\n"]
        assert_equal +PONG [answer_line "ping\n"]
        assert_equal +PONG [answer_line "   PING   \r\n"]
        set c [client]
        $c raw "SET k \"a b\\x41\\n\\\"\"\r\nGET k\r\nECHO 'it''s'\r\n"
        assert_equal OK [$c read]
        assert_equal "a bA\n\"" [$c read]
        assert_error {ERR Protocol error: unbalanced quotes in request} {$c read}
        assert_equal 1 [$c eof]
        $c close
        foreach bad {{PING "a} {PING 'a} {PING "a"b} {"PING}} {
            assert_breaks_off "$bad\r\n" {ERR Protocol error: unbalanced quotes in request}
        }
        r del k
    }

    test {HTTP closes the connection before anything of it runs} {
        foreach start {"POST / HTTP/1.1\r\n" "post x\r\n" "Host: a\r\n"} {
            set c [client]
            $c raw "${start}SET k evil\r\n"
            assert_equal 1 [$c eof]
            $c close
        }
        assert_equal "" [r get k]
    }

    test {an unknown command shows what it was called with, as far as fits} {
        assert_error "ERR unknown command 'nosuch', with args beginning with: 'a' 'b' " \
            {r nosuch a b}
        assert_error {ERR unknown command '', with args beginning with: } {r {}}
        catch {r [string repeat x 1000] [string repeat y 1000] z} error
        assert_equal "ERR unknown command '[string repeat x 128]', with args beginning with:\
            '[string repeat y 128]' " $error
    }

    test {an error line stays one line} {
        catch {r "two\r\nlines" "\r\n-ERR x"} error
        assert_match {ERR unknown command 'two  lines'*} $error
        assert_equal PONG [r ping]
    }

    test {keys, values and elements are binary safe} {
        set all ""
        for {set i 0} {$i < 256} {incr i} { append all [format %c $i] }
        r set $all$all $all
        assert_equal $all [r get $all$all]
        r vadd $all values 2 1 0 $all setattr $all
        assert_equal $all [r vgetattr $all $all]
        assert_equal [list $all] [r vsim $all ele $all]
        assert_equal 1 [r vrem $all $all]
        r flushall
    }

    test {a request may come one byte at a time} {
        set c [client]
        set bytes "[request set key value][request get key][request ping]PING inline\r\n"
        foreach byte [split $bytes ""] {
            puts -nonewline [$c channel] $byte
            flush [$c channel]
        }
        assert_equal {OK value PONG inline} [list [$c read] [$c read] [$c read] [$c read]]
        $c close
        r del key
    }

    test {a request may be cut anywhere} {
        set bytes "[request set key [string repeat x 100]][request get key]"
        for {set cut 1} {$cut < [string length $bytes]} {incr cut 3} {
            set c [client]
            $c raw [string range $bytes 0 $cut-1]
            r ping
            $c raw [string range $bytes $cut end]
            assert_equal OK [$c read]
            assert_equal [string repeat x 100] [$c read]
            $c close
        }
        r del key
    }

    test {a client that goes in the middle of a request leaves nothing behind} {
        set bytes [request set key value]
        set clients [info_field connected_clients]
        for {set cut 1} {$cut < [string length $bytes]} {incr cut} {
            set c [client]
            $c raw [string range $bytes 0 $cut-1]
            $c close
        }
        wait_for {[info_field connected_clients] == $clients}
        assert_equal "" [r get key]
    }

    test {a megabyte in many pieces arrives whole} {
        set value [string repeat 0123456789abcdef 65536]
        set bytes [request set big $value]
        set c [client]
        for {set at 0} {$at < [string length $bytes]} {incr at 7919} {
            puts -nonewline [$c channel] [string range $bytes $at [expr {$at + 7918}]]
            flush [$c channel]
        }
        assert_equal OK [$c read]
        assert_equal $value [$c get big]
        $c close
        r del big
    }

    test {many arguments in one request} {
        set words mset
        for {set i 0} {$i < 20000} {incr i} { lappend words k$i $i }
        assert_equal OK [r {*}$words]
        assert_equal 20000 [r dbsize]
        assert_equal 19999 [r get k19999]
        r flushall
    }

    test {an announced array takes no memory before it arrives} {
        set was [info_field used_memory]
        set clients {}
        for {set i 0} {$i < 20} {incr i} {
            set c [client]
            $c raw "*2000000000\r\n\$3\r\nSET\r\n\$500000000\r\nabc"
            lappend clients $c
        }
        r ping
        assert {[info_field used_memory] < $was + 30000000}
        foreach c $clients { $c close }
    }

    test {a hundred thousand requests are answered though none was read meanwhile} {
        set c [client]
        fconfigure [$c channel] -buffersize 1000000
        set other [client]
        set batch ""
        for {set i 0} {$i < 1000} {incr i} { append batch [request incr counter] }
        for {set i 0} {$i < 100} {incr i} {
            $c raw $batch
        }
        assert_equal PONG [$other ping]
        for {set i 1} {$i <= 100000} {incr i} {
            if {[$c read] != $i} { fail "reply $i is out of order" }
        }
        $other close
        $c close
        r del counter
    }

    test {a pipeline of searches is answered in order} {
        for {set i 0} {$i < 100} {incr i} { r vadd set values 2 1 [expr {$i / 50.0}] e$i NOQUANT }
        set c [client]
        for {set i 0} {$i < 2000} {incr i} {
            if {$i % 3} { $c send vsim set ele e[expr {$i % 100}] count 1 } else { $c send echo $i }
        }
        for {set i 0} {$i < 2000} {incr i} {
            set want [expr {$i % 3 ? "e[expr {$i % 100}]" : $i}]
            if {[$c read] ne $want} { fail "reply $i is out of order" }
        }
        $c close
        r del set
    }
}

# Sends without reading until the server takes no more, or `limit` bytes.
proc send_until_full {c bytes limit} {
    set chan [$c channel]
    fconfigure $chan -blocking 0 -buffering full -buffersize 65536
    set sent 0
    set stuck 0
    while {$sent < $limit && $stuck < 50} {
        puts -nonewline $chan $bytes
        flush $chan
        incr sent [string length $bytes]
        set stuck 0
        # What the channel could not hand on piles up here, not there.
        while {[chan pending output $chan] > 0 && $stuck < 50} {
            after 2
            catch {flush $chan}
            incr stuck
        }
    }
    return $sent
}

start_server {} {
    test {a client that never reads holds up neither the others nor all memory} {
        r set big [string repeat x 1000000]
        set was [info_field used_memory]
        set deaf {}
        for {set i 0} {$i < 4} {incr i} {
            set c [client]
            # 200 requests of 1 MB replies each: 800 MB in all, if made.
            $c raw [string repeat [request get big] 200]
            lappend deaf $c
        }
        set other [client]
        for {set i 0} {$i < 200} {incr i} {
            assert_equal PONG [$other ping]
        }
        assert {[info_field used_memory] - $was < 400000000} [info_field used_memory_human]
        # One that reads in the end gets every reply.
        set c [lindex $deaf 0]
        for {set i 0} {$i < 200} {incr i} {
            if {[string length [$c read]] != 1000000} { fail "reply $i is short" }
        }
        foreach c $deaf { $c close }
        wait_for {[info_field used_memory] - $was < 50000000} "memory comes back"
        assert_equal PONG [$other ping]
        $other close
    }

    test {a client over its output limit is closed, and only it} {
        r config set client-output-buffer-limit "normal 10000000 0 0"
        set c [client]
        set id [$c client id]
        $c raw [string repeat [request get big] 100]
        wait_for {[r client list id $id] eq ""} "the limit closes it"
        $c close
        r config set client-output-buffer-limit "normal 0 0 0"
        assert_equal PONG [r ping]
    }

    test {a client that sends requests and reads nothing is not read from for ever} {
        set c [client]
        set sent [send_until_full $c [string repeat [request get big] 100] 4000000]
        set other [client]
        assert_equal PONG [$other ping]
        assert {[info_field used_memory] < 800000000}
        $c close
        $other close
        r flushall
    }

    test {a request larger than the query buffer limit closes the client} {
        r config set client-query-buffer-limit 1048576
        set c [client]
        catch {$c raw "*2\r\n\$4\r\nECHO\r\n\$3000000\r\n[string repeat x 2500000]"}
        assert_equal 1 [expr {[catch {$c eof} end] || $end}]
        $c close
        r config set client-query-buffer-limit 1gb
        assert_equal PONG [r ping]
    }

    test {a value longer than proto-max-bulk-len breaks off} {
        r config set proto-max-bulk-len 1048576
        assert_equal [string repeat x 1000000] [r echo [string repeat x 1000000]]
        assert_breaks_off "*2\r\n\$4\r\nECHO\r\n\$1048577\r\n" \
            {ERR Protocol error: invalid bulk length}
        r config set proto-max-bulk-len 512mb
    }
}
