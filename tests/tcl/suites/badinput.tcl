# What no client should send or do: the exact error or a clean end, the set as it
# was, memory bounded, and others served meanwhile.

proc request {args} {
    set out "*[llength $args]\r\n"
    foreach word $args { append out "\$[string length $word]\r\n$word\r\n" }
    return $out
}

# The set that nothing may change.
proc make_treasure {} {
    for {set i 0} {$i < 50} {incr i} {
        r vadd treasure VALUES 3 [expr {rand()}] [expr {rand()}] 1 e$i SETATTR "{\"n\":$i}"
    }
    return [r debug digest-value treasure]
}

# n elements of dimension d, enough to keep workers busy.
proc make_large {key n d} {
    set some ""
    for {set i 0} {$i < 100} {incr i} { append some [fp32 [random_vector $d]] }
    for {set at 0} {$at < $n} {incr at 10000} {
        set names {}
        for {set i $at} {$i < $at + 10000} {incr i} { lappend names e$i }
        r vmadd $key 10000 FP32 [string repeat $some 100] {*}$names
    }
}

proc float_of {bits} { return [binary format i $bits] }

proc clients_are {n} { return [expr {[info_field connected_clients] == $n}] }

start_server {} {
    set digest [make_treasure]
    r set string x

    test {vector commands with wrong arguments say so and change nothing} {
        set long [string repeat 0 4]
        foreach {want words} {
            {ERR wrong number of arguments*} {VADD treasure}
            {ERR invalid vector specification} {VADD treasure VALUES 3 1}
            {ERR invalid vector specification} {VADD treasure VALUES 0 1 2 3 e}
            {ERR invalid vector specification} {VADD treasure VALUES -3 1 2 3 e}
            {ERR invalid vector specification} {VADD treasure VALUES 65537 1 2 3 e}
            {ERR invalid vector specification} {VADD treasure VALUES 9223372036854775807 1 2 3 e}
            {ERR invalid vector specification} {VADD treasure VALUES 18446744073709551617 1 2 3 e}
            {ERR invalid vector specification} {VADD treasure VALUES 3.0 1 2 3 e}
            {ERR invalid vector specification} {VADD treasure VALUES 3 1 2 x e}
            {ERR invalid vector specification} {VADD treasure VALUES 3 1 2 {} e}
            {ERR invalid vector specification} {VADD treasure VALUES 3 nan 2 3 e}
            {ERR invalid vector specification} {VADD treasure VALUES 3 inf 2 3 e}
            {ERR invalid vector specification} {VADD treasure VALUES 3 -inf 2 3 e}
            {ERR invalid vector specification} {VADD treasure VALUES 3 1e39 2 3 e}
            {ERR invalid vector specification} {VADD treasure VALUES 3 1e999 2 3 e}
            {ERR invalid vector specification} {VADD treasure FP32 {} e}
            {ERR invalid vector specification} {VADD treasure FP32 abcdefghijk e}
            {ERR Vector dimension mismatch - got 4 but set has 3} {VADD treasure VALUES 4 1 2 3 4 e}
            {ERR Vector dimension mismatch - got 1 but set has 3} {VADD treasure FP32 $long e}
            {ERR *} {VADD treasure REDUCE 0 VALUES 3 1 2 3 e}
            {ERR *} {VADD treasure REDUCE 4 VALUES 3 1 2 3 e}
            {ERR *} {VADD treasure REDUCE 99999999 VALUES 3 1 2 3 e}
            {ERR *} {VADD treasure VALUES 3 1 2 3 e WHATEVER}
            {ERR *} {VADD treasure VALUES 3 1 2 3 e EF 0}
            {ERR *} {VADD treasure VALUES 3 1 2 3 e M 5000}
            {ERR *} {VADD treasure VALUES 3 1 2 3 e SETATTR}
            {ERR asked quantization mismatch*} {VADD treasure VALUES 3 1 2 3 e BIN}
            {WRONGTYPE *} {VADD string VALUES 3 1 2 3 e}
            {WRONGTYPE *} {VREM string e}
            {WRONGTYPE *} {VSETATTR string e {}}
            {WRONGTYPE *} {VCARD string}
            {WRONGTYPE *} {VSIM string ELE e}
            {ERR invalid COUNT} {VSIM treasure ELE e1 COUNT 0}
            {ERR invalid COUNT} {VSIM treasure ELE e1 COUNT -1}
            {ERR invalid COUNT} {VSIM treasure ELE e1 COUNT 99999999999999999999}
            {ERR invalid EPSILON} {VSIM treasure ELE e1 EPSILON nan}
            {ERR element not found in set} {VSIM treasure ELE none}
            {ERR *} {VRANDMEMBER treasure x}
            {ERR *} {VRANDMEMBER treasure 99999999999999999999}
        } {
            assert_error $want {r {*}[subst $words]}
        }
        foreach bits {0x7fc00000 0xffc00000 0x7f800000 0xff800000 0x7f800001} {
            for {set at 0} {$at < 3} {incr at} {
                set blob [string replace [fp32 {1 2 3}] [expr {4 * $at}] [expr {4 * $at + 3}] \
                              [float_of $bits]]
                foreach words {{VADD treasure FP32 $blob e} {VADD treasure FP32 $blob e1}
                               {VSIM treasure FP32 $blob} {VSEARCH treasure FP32 $blob}
                               {VMADD treasure 1 FP32 $blob e} {VADD new FP32 $blob e}} {
                    assert_error {ERR invalid vector specification} {r {*}[subst $words]}
                }
            }
        }
        assert_error {ERR invalid vector specification} \
            {r vadd new FP32 [string repeat [fp32 {1}] 65537] e}
        assert_equal 0 [r exists new]
        assert_equal $digest [r debug digest-value treasure]
    }

    test {absurd counts are answered at once} {
        set most 9223372036854775807
        assert_equal 50 [llength [r vsim treasure ELE e1 COUNT $most]]
        assert_equal 50 [llength [r vsearch treasure ELE e1 K $most]]
        assert_equal 50 [llength [r vrandmember treasure $most]]
        assert_equal 50 [llength [r vrange treasure - + $most]]
        assert_error {ERR COUNT asks for too large an answer} {r vrandmember treasure -$most}
        assert_equal 50 [llength [r vsim treasure ELE e1 FILTER-EF $most COUNT 100]]
    }

    test {a hundred thousand watched keys are no burden} {
        set words watch
        for {set i 0} {$i < 100000} {incr i} { lappend words k$i k$i }
        set c [client]
        assert_equal OK [$c {*}$words]
        assert_equal 100000 [info_field total_watched_keys]
        r set k99999 1
        $c multi
        $c ping
        assert_equal {} [$c exec]
        assert_equal 0 [info_field total_watched_keys]
        assert_equal OK [$c {*}$words]
        $c close
        wait_for {[info_field total_watched_keys] == 0}
        r del k99999
    }

    test {a huge string goes, replaced or deleted, with its memory} {
        set was [info_field used_memory]
        r setrange huge 50000000 x
        r set huge small
        wait_for {[info_field used_memory] < $was + 5000000}
        r setrange huge 50000000 x
        r del huge
        r setrange huge 50000000 x
        r rename string huge
        r rename huge string
        wait_for {[info_field used_memory] < $was + 5000000}
        assert_equal x [r get string]
    }

    test {a filter of any size and nesting is answered} {
        foreach {filter want} [list \
            [string repeat ( 300] {ERR *} \
            [string repeat ( 100000] {ERR *} \
            "[string repeat ( 200].n > 3[string repeat ) 200]" * \
            [string repeat "not " 100000].n * \
            "[string repeat {.n + } 100000].n > 1" * \
            ".n in \[[string repeat {1,} 50000]2\]" * \
            "[string repeat \x00 100]" {ERR *} \
            "\x22[string repeat x 100000]" {ERR *}] {
            catch {r vsim treasure ELE e1 FILTER $filter} got
            assert_match $want $got
        }
        assert_equal PONG [r ping]
    }

    test {attributes of any shape are kept as they are} {
        set open \x7b
        foreach json [list [string repeat \[ 100000] [string repeat "$open\"a\":" 50000] \
                           \x00\xff\xfe "$open\"n\":" "$open\"n\":1e999\x7d" \
                           "$open\"[string repeat k 100000]\":1\x7d" [string repeat x 1000000]] {
            r vadd odd VALUES 2 1 2 e SETATTR $json
            assert_equal $json [r vgetattr odd e]
            assert_equal {} [r vsim odd ELE e FILTER {.n == 4}]
        }
        r del odd
    }

    test {every byte in every place of a request is survived} {
        set good [request vadd other VALUES 2 1 2 a]
        set n [info_field connected_clients]
        for {set at 0} {$at < [string length $good]} {incr at} {
            foreach byte [list \x00 \r \n \x7f \xff * \$ - + 0 9 : \x7b \x7d \" [format %c [expr {int(rand() * 256)}]]] {
                set c [client]
                $c raw [string replace $good $at $at $byte]
                $c close
            }
        }
        wait_for {[clients_are $n]}
        r del other
        assert_equal $digest [r debug digest-value treasure]
    }

    test {a request cut anywhere leaves the set as it was} {
        set good [request vmadd treasure 2 FP32 [fp32 {1 2 3 4 5 6}] x y]
        set n [info_field connected_clients]
        for {set cut 1} {$cut < [string length $good]} {incr cut} {
            set c [client]
            $c raw [string range $good 0 $cut-1]
            $c close
        }
        wait_for {[clients_are $n]}
        assert_equal $digest [r debug digest-value treasure]
    }

    test {announced blobs that never come take no memory} {
        set was [info_field used_memory]
        set halves {}
        for {set i 0} {$i < 30} {incr i} {
            set c [client]
            $c raw "*4\r\n\$4\r\nVADD\r\n\$8\r\ntreasure\r\n\$4\r\nFP32\r\n\$500000000\r\nabcd"
            lappend halves $c
        }
        assert_equal PONG [r ping]
        assert {[info_field used_memory] - $was < 50000000}
        foreach c $halves { $c close }
        assert_equal $digest [r debug digest-value treasure]
    }
}

# ---- clients that go, or do not read -----------------------------------------

start_server {} {
    make_large large 40000 64
    set treasure [make_treasure]
    set digest [r debug digest-value large]
    set names [r vrange large - + 5000]

    test {clients that go in the middle of a search leave nothing behind} {
        set n [info_field connected_clients]
        for {set i 0} {$i < 40} {incr i} {
            set c [client]
            for {set j 0} {$j < 5} {incr j} { $c send vsearch large ELE e$j K 40000 WITHSCORES }
            flush [$c channel]
            $c close
        }
        wait_for {[clients_are $n]}
        assert_equal {e3} [r vsearch large ELE e3 K 1]
        assert_equal $digest [r debug digest-value large]
    }

    test {CLIENT KILL during a search, in MULTI and behind a job ends cleanly} {
        set other [client]
        set n [info_field connected_clients]
        for {set i 0} {$i < 12} {incr i} {
            set c [client]
            set id [$c client id]
            switch [expr {$i % 6}] {
                0 { $c send vsearch large ELE e1 K 40000 }
                1 { $c send multi; $c send vadd treasure VALUES 3 1 2 3 x; $c send vrem treasure e1 }
                2 { $c send vrange large - +; $c send vadd treasure VALUES 3 1 2 3 x }
                3 { $c send debug digest; $c send vrem treasure e1 }
                4 { $c send multi; $c send vsearch large ELE e1 K 40000; $c send vsearch large ELE e2; $c send exec }
                5 { $c send vmsearch large 200 FP32 [string repeat [fp32 [random_vector 64]] 200] K 100 }
            }
            flush [$c channel]
            wait_for {[regexp {cmd=(?!client)} [$other client list id $id]]}
            assert_equal 1 [$other client kill id $id]
            $c close
        }
        wait_for {[clients_are $n]}
        $other close
        assert_equal $digest [r debug digest-value large]
    }

    test {a client may end itself anywhere} {
        set n [info_field connected_clients]
        foreach script {
            {quit} {{client kill id $id skipme no}} {reset quit} {multi {client kill id $id skipme no} exec}
            {{vsearch large ELE e1 K 40000} quit} {{vsearch large ELE e1} {client kill id $id skipme no} ping}
            {multi {vsearch large ELE e1 K 20000} {client kill id $id skipme no} {vsearch large ELE e2} exec ping}
            {{vmsearch large 5 FP32 $five K 1000} quit ping} {monitor quit} {monitor {client kill id $id skipme no}}
            {monitor ping {client kill id $id skipme no}} {{watch large} multi ping quit exec}
            {{vrange large - +} {client kill id $id skipme no}}
        } {
            set c [client]
            set id [$c client id]
            set five [string repeat [fp32 [random_vector 64]] 5]
            foreach command $script {
                # Word by word: a blob may have any byte in it.
                $c send {*}[lmap word $command { subst $word }]
            }
            flush [$c channel]
            set rest [read [$c channel]]
            assert {[string length $rest] > 0 && [eof [$c channel]]} $script
            $c close
        }
        wait_for {[clients_are $n]}
    }

    test {replies that nobody reads are bounded and hold up no other} {
        set was [info_field used_memory]
        set deaf {}
        set other [client]
        for {set i 0} {$i < 4} {incr i} {
            set c [client]
            # Each about a megabyte of reply, a thousand of them.
            $c raw [string repeat [request vsearch large ELE e$i K 40000 WITHSCORES] 1000]
            lappend deaf $c
        }
        for {set i 0} {$i < 100} {incr i} {
            assert_equal PONG [$other ping]
            assert {[info_field used_memory $other] - $was < 600000000}
        }
        assert_equal e1 [$other vsearch large ELE e1 K 1]
        foreach c $deaf { $c close }
        wait_for {[info_field used_memory] - $was < 50000000}
        $other close
    }

    test {one command's many answers that nobody reads are bounded} {
        set was [info_field used_memory]
        set other [client]
        set c [client]
        $c send vmsearch large 10000 FP32 [string repeat [fp32 [random_vector 64]] 10000] K 40000
        flush [$c channel]
        for {set i 0} {$i < 200} {incr i} {
            assert_equal PONG [$other ping]
            assert {[info_field used_memory $other] - $was < 600000000}
        }
        $c close
        wait_for {[info_field used_memory] - $was < 50000000}
        $other close
    }

    test {an output limit ends a client amid its answers} {
        r config set client-output-buffer-limit "normal 5000000 0 0"
        set n [info_field connected_clients]
        foreach words {{vsearch large ELE e1 K 40000 WITHSCORES} {vrange large - +} {vrandmember large -200000}} {
            set c [client]
            $c raw [string repeat [request {*}$words] 300]
            wait_for {[clients_are $n]} $words
            $c close
        }
        r config set client-output-buffer-limit "normal 0 0 0"
        assert_equal $digest [r debug digest-value large]
    }

    test {a search sees its set to the end though it is deleted, renamed and made anew} {
        set c [client]
        for {set round 0} {$round < 5} {incr round} {
            make_large gone 20000 64
            for {set i 0} {$i < 20} {incr i} { $c send vsearch gone ELE e$i K 5000 }
            flush [$c channel]
            switch [expr {$round % 5}] {
                0 { r del gone }
                1 { r rename gone elsewhere; r vadd gone VALUES 2 1 2 x }
                2 { r vcreate fresh DIM 2; r rename fresh gone }
                3 { r set gone text }
                4 { r pexpire gone 1 }
            }
            for {set i 0} {$i < 20} {incr i} {
                catch {$c read} got
                assert {[llength $got] in {0 5000} || [regexp {not found|WRONGTYPE} $got]} [string range $got 0 80]
            }
            r del gone elsewhere
        }
        $c close
    }
}
