# VMADD and VMREM: many elements in one command, in slices, as a whole refused
# when an argument is wrong.

proc random_blob {n d} {
    set out ""
    for {set i 0} {$i < $n} {incr i} { append out [fp32 [random_vector $d]] }
    return $out
}

proc names {from to} {
    set out {}
    for {set i $from} {$i < $to} {incr i} { lappend out e$i }
    return $out
}

# Adds n elements in a command; all vectors are the same few.
proc add_many {key n d {connection r}} {
    set some [random_blob 10 $d]
    return [$connection vmadd $key $n FP32 [string repeat $some [expr {$n / 10}]] \
                {*}[names 0 $n]]
}

start_server {} {
    test {VMADD adds what VADD one by one does} {
        foreach options {{} Q8 NOQUANT BIN} {
            r flushall
            set blob ""
            for {set i 0} {$i < 50} {incr i} {
                set v [random_vector 12]
                append blob [fp32 $v]
                r vadd one FP32 [fp32 $v] e$i {*}$options
            }
            assert_equal 50 [r vmadd many 50 FP32 $blob {*}[names 0 50] {*}$options]
            assert_equal [r debug digest-value one] [r debug digest-value many]
            assert_equal [r vemb one e17] [r vemb many e17]
            assert_equal 50 [r vcard many]
        }
    }

    test {VMADD stores all that VADD does of what a search goes by} {
        r flushall
        set n 1500
        set blob ""
        for {set i 0} {$i < $n} {incr i} {
            set v [random_vector 21]
            if {$i % 3 == 0} { set v [lmap x $v {expr {int($x * 100)}}] }
            append blob [fp32 $v]
            r vadd one FP32 [fp32 $v] e$i
        }
        assert_equal $n [r vmadd many $n FP32 $blob {*}[names 0 $n]]
        for {set i 0} {$i < 50} {incr i} {
            set q [fp32 [random_vector 21]]
            foreach options {{} TRUTH {EF 500}} {
                assert_equal [r vsim one FP32 $q WITHSCORES COUNT 20 {*}$options] \
                    [r vsim many FP32 $q WITHSCORES COUNT 20 {*}$options]
            }
        }
        assert_equal [r vsim one ELE e7 WITHSCORES] [r vsim many ELE e7 WITHSCORES]
    }

    test {VMADD answers how many are new, and replaces the others} {
        r flushall
        assert_equal 2 [r vmadd s 2 FP32 [fp32 {1 2 3 4}] a b NOQUANT]
        assert_equal 1 [r vmadd s 2 FP32 [fp32 {5 6 7 8}] b c]
        assert_equal {5 6} [r vemb s b]
        assert_equal 0 [r vmadd s 1 FP32 [fp32 {9 9}] c]
        assert_equal 3 [r vcard s]
        # The last of two with one name stays.
        assert_equal 1 [r vmadd s 2 FP32 [fp32 {1 1 2 2}] d d]
        foreach x [r vemb s d] { assert_near 2 $x }
    }

    test {VMADD takes attributes, an empty one for none} {
        r flushall
        r vmadd s 3 FP32 [fp32 {1 2 3 4 5 6}] a b c ATTRS {{"n":1}} {} {{"n":3}}
        assert_equal [list {{"n":1}} {} {{"n":3}}] \
            [list [r vgetattr s a] [r vgetattr s b] [r vgetattr s c]]
        assert_equal c [r vsearch s VALUES 2 1 2 FILTER {.n > 2}]
        # Without ATTRS an element keeps what it has; an empty one takes it away.
        r vmadd s 2 FP32 [fp32 {1 2 3 4}] a c
        assert_equal {{"n":1}} [r vgetattr s a]
        r vmadd s 2 FP32 [fp32 {1 2 3 4}] a c ATTRS {} {{"n":4}}
        assert_equal [list {} {{"n":4}}] [list [r vgetattr s a] [r vgetattr s c]]
        # Words that look like options are names and attributes in their place.
        r vmadd s 2 FP32 [fp32 {1 2 3 4}] ATTRS Q8 Q8 ATTRS Q8 ATTRS
        assert_equal {Q8 ATTRS} [list [r vgetattr s ATTRS] [r vgetattr s Q8]]
    }

    test {a refused VMADD leaves the set as it was, and makes none} {
        r flushall
        r set string x
        r vmadd s 2 FP32 [fp32 {1 2 3 4}] a b
        r vcreate f16 DIM 2 FP16 METRIC L2
        set two [fp32 {5 6 7 8}]
        set before [list [r debug digest-value s] [r info keyspace]]
        foreach {want words} {
            {ERR wrong number of arguments for 'VMADD' command} {s 1 FP32 xxxx}
            {ERR wrong number of arguments for 'VMADD' command} {s 2 FP32 $two a}
            {ERR invalid element count} {s 0 FP32 $two a}
            {ERR invalid element count} {s -1 FP32 $two a}
            {ERR invalid element count} {s x FP32 $two a}
            {ERR invalid element count} {s 10000001 FP32 $two a}
            {ERR invalid element count} {s 99999999999999999999 FP32 $two a}
            {ERR invalid vector specification} {s 10000000 FP32 $two a}
            {ERR invalid vector specification} {s 3 FP32 $two a b c}
            {ERR invalid vector specification} {s 2 VALUES $two a b}
            {ERR invalid vector specification} {s 2 FP32 {} a b}
            {ERR invalid vector specification} {s 2 FP32 xxx a b}
            {ERR invalid vector specification} {s 1 FP32 [string repeat $two 32769] a}
            {ERR Vector dimension mismatch - got 4 but set has 2} {s 1 FP32 $two a}
            {ERR asked quantization mismatch with existing vector set} {s 2 FP32 $two a c BIN}
            {ERR asked quantization mismatch with existing vector set} {f16 2 FP32 $two a c Q8}
            {ERR syntax error in VMADD command} {s 2 FP32 $two a c WHATEVER}
            {ERR syntax error in VMADD command} {s 2 FP32 $two a c ATTRS {{}}}
            {ERR syntax error in VMADD command} {s 2 FP32 $two a c d}
            {WRONGTYPE *} {string 2 FP32 $two a c}
        } {
            assert_error $want {r vmadd {*}[subst $words]}
        }
        # NaN, the infinities, and a NaN of another kind; first, amid and last.
        foreach bad {0x7fc00000 0x7f800000 0xff800000 0xffffffff} {
            foreach at {0 7 31} {
                set blob [fp32 [lrepeat 32 0.5]]
                set blob [string replace $blob [expr {4 * $at}] [expr {4 * $at + 3}] \
                              [binary format i $bad]]
                foreach key {s new} {
                    assert_error {ERR invalid vector specification} \
                        {r vmadd $key 16 FP32 $blob {*}[names 0 16]}
                }
            }
        }
        # Finite, but not as FP16.
        assert_error {ERR invalid vector specification} \
            {r vmadd f16 2 FP32 [fp32 {1 2 1e6 1}] a b}
        assert_equal $before [list [r debug digest-value s] [r info keyspace]]
        assert_equal 0 [r vcard f16]
    }

    test {a zero vector is accepted} {
        r flushall
        assert_equal 2 [r vmadd s 2 FP32 [fp32 {0 0 1 0}] zero one]
        assert_equal {zero one} [lsort -decreasing [r vsearch s VALUES 2 0 0]]
    }

    test {VMADD of tens of thousands is one element each, while others are served} {
        r flushall
        set c [client]
        set other [client]
        set n 40000
        set some [random_blob 10 16]
        $c send vmadd s $n FP32 [string repeat $some [expr {$n / 10}]] {*}[names 0 $n]
        flush [$c channel]
        set pings 0
        while {[r vcard s] < $n} {
            assert_equal PONG [$other ping]
            incr pings
        }
        assert_equal $n [$c read]
        assert_equal $n [r vcard s]
        assert_equal [r vemb s e7] [r vemb s e39997]
        # And away again.
        $c send vmrem s {*}[names 0 [expr {$n - 5}]] nobody
        assert_equal [expr {$n - 5}] [$c read]
        assert_equal {e39995 e39996 e39997 e39998 e39999} [lsort [r vrandmember s 10]]
        $c close
        $other close
    }

    test {what a client sends behind a long VMADD waits for it} {
        r flushall
        set c [client]
        set some [random_blob 10 16]
        $c send vmadd s 20000 FP32 [string repeat $some 2000] {*}[names 0 20000]
        $c send vcard s
        $c send vmrem s {*}[names 0 20000]
        $c send exists s
        assert_equal {20000 20000 20000 0} [list [$c read] [$c read] [$c read] [$c read]]
        $c close
    }

    test {inside MULTI a bulk command is one instant} {
        r flushall
        r multi
        add_many s 20000 8
        r vcard s
        r vmrem s {*}[names 0 19999]
        r vcard s
        assert_equal {20000 20000 19999 1} [r exec]
    }

    test {VMREM answers how many were there and drops the set with its last} {
        r flushall
        r set string x
        assert_equal 0 [r vmrem none a b]
        assert_error {WRONGTYPE *} {r vmrem string a}
        r vmadd s 3 FP32 [fp32 {1 2 3 4 5 6}] a b c
        assert_equal 1 [r vmrem s a a x]
        assert_equal 2 [r vcard s]
        assert_equal 2 [r vmrem s b c]
        assert_equal 0 [r exists s]
    }

    test {VMADD on a projected set takes vectors as they were before it} {
        r flushall
        set v [random_vector 8]
        r vadd s REDUCE 4 VALUES 8 {*}$v a NOQUANT
        assert_equal 1 [r vmadd s 1 FP32 [fp32 $v] b]
        assert_equal [r vemb s a] [r vemb s b]
        foreach wrong {{1 2 3 4} {1 2 3 4 5}} {
            assert_error "ERR Vector dimension mismatch - got [llength $wrong] but set has 4" \
                {r vmadd s 1 FP32 [fp32 $wrong] d}
        }
        assert_error {ERR invalid vector specification} \
            {r vmadd s 1 FP32 [binary format r* {1 2 3 4 5 6 7 NaN}] d}
        assert_equal 2 [r vcard s]
    }

    test {a key deleted under a long VMADD is made anew by the rest} {
        r flushall
        set c [client]
        set some [random_blob 10 64]
        $c send vmadd s 30000 FP32 [string repeat $some 3000] {*}[names 0 30000]
        flush [$c channel]
        wait_for {[r exists s]}
        r del s
        assert_equal 30000 [$c read]
        assert {[r vcard s] <= 30000}
        r del s
        # And one that becomes something else ends it with an error.
        $c send vmadd s 30000 FP32 [string repeat $some 3000] {*}[names 0 30000]
        flush [$c channel]
        wait_for {[r exists s]}
        r set s text
        catch {$c read} got
        assert {$got == 30000 || [string match WRONGTYPE* $got]} $got
        assert_equal text [r get s]
        $c close
    }

    test {killing the client of a long VMADD leaves a whole set} {
        r flushall
        set some [random_blob 10 64]
        for {set i 0} {$i < 5} {incr i} {
            set c [client]
            set id [$c client id]
            $c send vmadd s 30000 FP32 [string repeat $some 3000] {*}[names 0 30000]
            flush [$c channel]
            wait_for {[r exists s]}
            r client kill id $id
            $c close
            set card [r vcard s]
            if {$card} {
                assert_equal $card [llength [r vrange s - +]]
                assert_equal $card [r vmrem s {*}[r vrange s - +]]
            }
            r del s
        }
        assert_equal 0 [r dbsize]
    }
}
