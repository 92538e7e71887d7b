# Sets with a graph: when they have one, what they say about it, and that no
# write is ever missed however far behind the graph is.

proc info_of {key field {connection r}} { return [dict get [$connection vinfo $key] $field] }

proc settled {key} {
    wait_for_none {[info_of $key pending-index]}
    wait_for {[info_of $key pending-index] == 0 && [info_of $key index-job] eq "none"}
}

proc names {n {from 0} {prefix e}} {
    set out {}
    for {set i $from} {$i < $from + $n} {incr i} { lappend out $prefix$i }
    return $out
}

# n vectors: each of pieces that are drawn from 64, so that they are made fast.
set ::piece_of {}
proc blob {n d {piece 4}} {
    global piece_of
    if {![dict exists $piece_of $piece]} {
        set pieces {}
        for {set i 0} {$i < 64} {incr i} { lappend pieces [fp32 [random_vector $piece]] }
        dict set piece_of $piece $pieces
    }
    set pieces [dict get $piece_of $piece]
    set out ""
    for {set i [expr {$n * $d / $piece}]} {$i > 0} {incr i -1} {
        append out [lindex $pieces [expr {int(rand() * 64)}]]
    }
    return $out
}

proc add {key n d {from 0}} {
    r vmadd $key $n FP32 [blob $n $d [expr {$d > 100 ? 96 : 4}]] {*}[names $n $from]
}

# What VLINKS and VINFO say must fit each other and the elements there are.
proc check_links {key members} {
    set m [info_of $key hnsw-m]
    set highest 0
    foreach e $members {
        set layers [r vlinks $key $e]
        set level [expr {[llength $layers] - 1}]
        if {$level > $highest} { set highest $level }
        for {set i 0} {$i <= $level} {incr i} {
            set links [lindex $layers $i]
            assert {[llength $links] <= ($i == $level ? 2 * $m : $m)} "$e has [llength $links] links"
            assert_equal [llength $links] [llength [lsort -unique $links]] "links of $e"
            foreach l $links {
                assert {$l in $members && $l ne $e} "$e is linked to $l"
            }
        }
    }
    assert_equal $highest [info_of $key max-level] "max-level"
}

start_server {} {
    test {a set gets a graph when it has grown, and gives it up when it shrinks} {
        r flushall
        add big 900 384
        assert_equal {flat auto 0 0 0} \
            [lmap f {index index-asked index-nodes max-level pending-index} { info_of big $f }]
        assert_equal 1 [llength [r vlinks big e1]]
        r vcreate asked DIM 384 INDEX FLAT
        r del big
        r vcreate big DIM 384 FP32
        add big 1300 384
        assert_equal hnsw [info_of big index]
        settled big
        assert_equal {1300 0 0} [lmap f {index-nodes tail index-dead} { info_of big $f }]
        assert {[info_of big max-level] > 0}
        foreach f {memory-bytes code-bytes name-bytes attribute-bytes index-bytes} { set $f [info_of big $f] }
        assert {${index-bytes} > 1300 * (384 + 4 * 32) && ${index-bytes} < 2 * 2048 * (400 + 4 * 32)}
        assert {${name-bytes} > 0 && ${name-bytes} < 100 * 1300} "names: ${name-bytes}"
        set more [expr {[r memory usage big] - ${memory-bytes}}]
        assert {$more >= 0 && $more < 200} "the key takes $more"
        assert_equal 1 [info_field vector_graphs]
        assert_equal OK [r debug vcheck big]
        assert_equal hnsw [dict get [lindex [r vsearch big ELE e1 WITHSTATS] 1] plan]
        r vmrem big {*}[names 900]
        wait_for {[info_of big index] eq "flat"}
        assert_equal {0 0} [lmap f {max-level index-nodes} { info_of big $f }]
        assert_equal OK [r debug vcheck big]
        assert_equal e901 [lindex [r vsim big ELE e901] 0]
        # And grows again, into slots that were held for the graph.
        add big 1300 384
        wait_for {[info_of big index] eq "hnsw"}
        settled big
        assert_equal OK [r debug vcheck big]
        add asked 1300 384
        assert_equal {flat flat} [lmap f {index index-asked} { info_of asked $f }]
    }

    test {INDEX HNSW has a graph from the first element on} {
        r flushall
        r vcreate set DIM 3 INDEX HNSW M 5 EF 33
        assert_equal {flat hnsw 5} [lmap f {index index-asked hnsw-m} { info_of set $f }]
        r vadd set VALUES 3 1 2 3 a
        assert_equal {hnsw 5 33} [lmap f {index index-m index-ef} { info_of set $f }]
        assert_equal a [r vsim set VALUES 3 1 2 3]
        set links [r vlinks set a]
        assert_equal [lrepeat [llength $links] {}] $links
        r vrem set a
        assert_equal {} [r vsim set VALUES 3 1 2 3]
        assert_equal {0 0} [lmap f {size max-level} { info_of set $f }]
        assert_equal OK [r debug vcheck set]
        r del set
    }

    test {VADD's M and EF shape the graph of the set it makes} {
        r flushall
        r vadd set VALUES 2 1 2 a M 9 EF 50
        r vadd set VALUES 2 1 3 b M 9 EF 70
        r vtrain set HNSW
        assert_equal {9 9 50} [lmap f {hnsw-m index-m index-ef} { info_of set $f }]
        assert_error {ERR asked M value mismatch*} {r vadd set VALUES 2 1 2 c M 10}
        r del set
    }

    test {VLINKS waits for an element's turn} {
        r flushall
        r vcreate set DIM 16 INDEX HNSW M 8
        for {set round 0} {$round < 20} {incr round} {
            add set 50 16 [expr {50 * $round}]
            set e e[expr {50 * $round + 7}]
            set links [lindex [r vlinks set $e] end]
            assert {$round == 0 || [llength $links] > 0}
            foreach {l score} [lindex [r vlinks set $e WITHSCORES] end] {
                assert {$l ne $e && $score >= 0 && $score <= 1.0001}
            }
        }
        # Pipelined behind the write; what follows sees it unchanged.
        for {set i 0} {$i < 20} {incr i} {
            r send vadd set FP32 [fp32 [random_vector 16]] fresh$i
            r send vlinks set fresh$i
            r send vrem set fresh$i
        }
        for {set i 0} {$i < 20} {incr i} {
            assert_equal 1 [r read]
            assert {[llength [r read]] >= 1}
            assert_equal 1 [r read]
        }
        assert_equal OK [r debug vcheck set]
    }

    test {VLINKS in both protocols, and scores as VSIM's of stored vectors} {
        r flushall
        r vcreate set DIM 4 INDEX HNSW M 4
        r vadd set VALUES 4 1 0 0 0 a
        set levels [llength [r vlinks set a]]
        r vadd set VALUES 4 1 1 0 0 b
        r vadd set VALUES 4 0 1 1 0 c
        settled set
        set got [lindex [r vlinks set a WITHSCORES] end]
        assert_equal {b c} [lsort [dict keys $got]]
        assert_near [expr {(1 + sqrt(0.5)) / 2}] [dict get $got b] 0.01
        assert_near 0.5 [dict get $got c] 0.01
        r hello 3
        assert_equal $got [lindex [r vlinks set a WITHSCORES] end]
        r hello 2
        assert_equal {} [r vlinks set nobody]
        assert_error {ERR wrong number of arguments*} {r vlinks set a b}
        r del set
    }

    test {max-level is that of the tallest element, after every VREM} {
        r flushall
        set removed 0
        for {set s 0} {$s < 8} {incr s} {
            r vcreate set DIM 4 INDEX HNSW M 4
            set members [names 40]
            add set 40 4
            if {$s % 2} { settled set }
            while {[llength $members]} {
                set i [expr {int(rand() * [llength $members])}]
                r vrem set [lindex $members $i]
                set members [lreplace $members $i $i]
                incr removed
                check_links set $members
            }
            assert_equal 0 [info_of set max-level]
            assert_equal OK [r debug vcheck set]
            r del set
        }
        assert_equal 320 $removed
    }

    test {updates and deletes leave a graph that is whole} {
        r flushall
        r vcreate set DIM 16 INDEX HNSW M 6
        add set 3000 16
        for {set round 0} {$round < 8} {incr round} {
            set from [expr {int(rand() * 2000)}]
            r vmrem set {*}[names 500 $from]
            add set 700 16 [expr {int(rand() * 2300)}]
            assert_equal OK [r debug vcheck set]
        }
        settled set
        check_links set [r vrandmember set 100000]
        assert_equal OK [r debug vcheck set]
        set n [r vcard set]
        assert_equal $n [llength [r vsearch set ELE [r vrandmember set] K 100000]]
        r vmrem set {*}[r vrandmember set 100000]
        assert_equal {0 0} [lmap f {size max-level} { info_of set $f }]
        assert_equal {} [r vsim set VALUES 16 {*}[lrepeat 16 1]]
    }

    test {vectors that are all alike are chained, and found} {
        r flushall
        r vcreate set DIM 8 INDEX HNSW M 4
        r vmadd set 1200 FP32 [string repeat [fp32 {1 2 3 4 5 6 7 8}] 1200] {*}[names 1200]
        add set 500 8 5000
        settled set
        assert_equal OK [r debug vcheck set]
        assert_equal 100 [llength [r vsim set VALUES 8 1 2 3 4 5 6 7 8 COUNT 100]]
        r del set
    }

    test {approximate answers are nearly the exact ones} {
        r flushall
        foreach {metric precision} {COSINE Q8 L2 FP32 IP BF16 L1 FP16 COSINE BIN} {
            r vcreate set DIM 32 METRIC $metric $precision INDEX HNSW
            add set 2000 32
            settled set
            set found 0
            for {set i 0} {$i < 40} {incr i} {
                set query [list FP32 [fp32 [random_vector 32]]]
                set exact [r vsearch set {*}$query EXACT WITHDISTANCES]
                set limit [lindex $exact end]
                foreach {e distance} [r vsearch set {*}$query EF 200 WITHDISTANCES] {
                    incr found [expr {$distance <= $limit}]
                }
            }
            assert {$found >= ($precision eq "BIN" ? 340 : 385)} "$metric $precision: $found of 400"
            r del set
        }
    }

    test {a write is found by the next search, however far behind the graph is} {
        r flushall
        r vcreate set DIM 16 INDEX HNSW
        add set 2000 16
        for {set i 0} {$i < 30} {incr i} {
            add set 300 16 [expr {10000 + 300 * $i}]
            set v [random_vector 16]
            r vadd set FP32 [fp32 $v] fresh
            assert_equal fresh [r vsim set FP32 [fp32 $v] COUNT 1]
            set v [random_vector 16]
            r vadd set FP32 [fp32 $v] fresh
            assert_equal fresh [r vsim set FP32 [fp32 $v] COUNT 1]
            r vrem set fresh
            assert {[r vsim set FP32 [fp32 $v] COUNT 1] ne "fresh"}
        }
        assert_equal OK [r debug vcheck set]
    }

    test {sets go and are renamed while their graphs are built} {
        r flushall
        for {set i 0} {$i < 15} {incr i} {
            r vcreate set DIM 16 INDEX HNSW
            add set 3000 16
            switch [expr {$i % 5}] {
                0 { r del set }
                1 {
                    r rename set other
                    assert_equal e7 [lindex [r vsim other ELE e7] 0]
                    r vlinks other e2999
                    assert_equal OK [r debug vcheck other]
                    r del other
                }
                2 { r flushall }
                3 {
                    r vtrain set HNSW M 4 ASYNC
                    r flushdb
                }
                4 {
                    r vtrain set HNSW M 4 ASYNC
                    r move set 1
                    r select 1
                    r vlinks set e2999
                    assert_equal OK [r debug vcheck set]
                    r del set
                    r select 0
                }
            }
        }
        wait_for {[info_field vector_index_jobs] == 0}
        assert_equal {0 0} [list [info_field vector_graphs] [info_field vector_tail_rows]]
    }

    test {VTRAIN builds a graph beside what answers} {
        r flushall
        r vcreate set DIM 16
        add set 3000 16
        assert_equal flat [info_of set index]
        assert_equal OK [r vtrain set HNSW]
        assert_equal {hnsw hnsw 16 3000 0} \
            [lmap f {index index-asked index-m index-nodes pending-index} { info_of set $f }]
        assert_equal OK [r vtrain set HNSW M 5 EF 60]
        assert_equal {hnsw 5 60 3000} [lmap f {index index-m index-ef index-nodes} { info_of set $f }]
        check_links set [names 3000]
        assert_equal OK [r debug vcheck set]
        # Writes go on meanwhile, and nothing is lost by them.
        for {set round 0} {$round < 5} {incr round} {
            r vtrain set HNSW M [expr {4 + $round}] ASYNC
            for {set i 0} {$i < 4} {incr i} {
                r vmrem set {*}[names 100 [expr {int(rand() * 2900)}]]
                add set 200 16 [expr {int(rand() * 4000)}]
                set e [r vrandmember set]
                assert_equal $e [lindex [r vsim set ELE $e COUNT 1] 0]
                assert_equal OK [r debug vcheck set]
            }
        }
        wait_for {[info_of set index-m] == 8}
        settled set
        assert_equal OK [r debug vcheck set]
        check_links set [r vrandmember set 100000]
        assert_equal OK [r vtrain set FLAT]
        assert_equal {flat flat 0 0} [lmap f {index index-asked index-nodes max-level} { info_of set $f }]
        assert_equal OK [r debug vcheck set]
    }

    test {VTRAIN blocks its client alone, and tells when there is nothing to wait for} {
        r flushall
        set other [client]
        r vcreate set DIM 16 INDEX FLAT
        add set 12000 16
        $other send vtrain set HNSW M 32 EF 400
        flush [$other channel]
        assert_equal PONG [r ping]
        wait_for {[info_of set index-job] eq "build" || [info_of set index] eq "hnsw"}
        r del set
        catch {$other read} got
        assert {[string match {*the set is gone*} $got] || $got eq "OK"} $got
        r vcreate set DIM 16 INDEX FLAT
        add set 12000 16
        $other send vtrain set HNSW M 32 EF 400
        flush [$other channel]
        wait_for {[info_of set index-job] eq "build" || [info_of set index] eq "hnsw"}
        assert_equal OK [r vtrain set FLAT]
        catch {$other read} got
        assert {[string match {*given up*} $got] || $got eq "OK"} $got
        $other close
    }

    test {VTRAIN refuses what it does not know} {
        r flushall
        assert_error {ERR key does not exist} {r vtrain nothing HNSW}
        r set string x
        assert_error WRONGTYPE* {r vtrain string HNSW}
        assert_error WRONGTYPE* {r debug vcheck string}
        assert_error {ERR no such key} {r debug vcheck nothing}
        r vcreate set DIM 3
        foreach {error words} {
            {ERR invalid index: there are FLAT, HNSW and IVF} {ANNOY}
            {ERR syntax error in VTRAIN command} {HNSW FAST}
            {ERR syntax error in VTRAIN command} {HNSW M}
            {ERR syntax error in VTRAIN command} {FLAT M 5}
            {ERR invalid M} {HNSW M 3}
            {ERR invalid EF} {HNSW EF 0}
        } {
            assert_error $error {r vtrain set {*}$words}
        }
        assert_equal auto [info_of set index-asked]
        assert_equal OK [r vtrain set HNSW]
        assert_equal hnsw [info_of set index]
    }

    test {VRECALL measures what searches find} {
        r flushall
        r vcreate set DIM 16 INDEX HNSW M 4 EF 8
        assert_equal {samples 0 k 10 ef 100 recall 1 p50-us 0 p99-us 0 exact-us 0} [r vrecall set]
        add set 2500 16
        settled set
        set poor [r vrecall set EF 10 SAMPLES 60]
        set good [r vrecall set EF 400 SAMPLES 60 K 5]
        assert_equal {samples k ef recall p50-us p99-us exact-us} [dict keys $poor]
        assert_equal {60 10 10} [lmap f {samples k ef} { dict get $poor $f }]
        assert_equal {60 5 400} [lmap f {samples k ef} { dict get $good $f }]
        assert {[dict get $good recall] >= 0.95} $good
        assert {[dict get $poor recall] <= [dict get $good recall] && [dict get $poor recall] > 0.2} $poor
        assert {[dict get $good p50-us] <= [dict get $good p99-us]}
        r multi
        r vrecall set SAMPLES 5
        assert_equal 5 [dict get [lindex [r exec] 0] samples]
        foreach {error words} {
            {ERR invalid K} {set K 0} {ERR invalid EF} {set EF x} {ERR invalid SAMPLES} {set SAMPLES -1}
            {ERR syntax error in VRECALL command} {set EF} {ERR key does not exist} {none}
            {ERR invalid RECALL} {1}
        } {
            if {[llength $words] == 1 && $words ne "none"} {
                foreach recall {0 1.1 -1 x nan} {
                    assert_error $error {r vsearch set ELE e1 RECALL $recall}
                }
            } else {
                assert_error $error {r vrecall {*}$words}
            }
        }
        # The set goes while it is measured, and so does the client.
        set other [client]
        $other send vrecall set SAMPLES 100000
        flush [$other channel]
        wait_for {[info_field searches_under_way] > 0}
        r flushall
        assert {[dict get [$other read] samples] < 100000}
        r vcreate set DIM 16
        add set 2500 16
        $other send vrecall set SAMPLES 100000
        flush [$other channel]
        wait_for {[info_field searches_under_way] > 0}
        $other close
        r del set
        wait_for {[info_field searches_under_way] == 0}
    }

    test {RECALL picks the effort that reaches it} {
        r flushall
        r vcreate set DIM 96 INDEX HNSW M 4 EF 8
        add set 3000 96
        settled set
        assert_equal 0 [info_of set calibrated-at]
        assert_equal 10 [llength [r vsearch set ELE e1 RECALL 0.9]]
        wait_for {[info_of set calibrated-at] == 3000}
        set scored {}
        foreach recall {0.3 0.8 0.95 1} {
            set found 0
            set work 0
            for {set i 0} {$i < 60} {incr i} {
                set query [list ELE e[expr {int(rand() * 3000)}]]
                set limit [lindex [r vsearch set {*}$query EXACT WITHDISTANCES] end]
                lassign [r vsearch set {*}$query RECALL $recall WITHDISTANCES WITHSTATS] got stats
                foreach {e distance} $got { incr found [expr {$distance <= $limit}] }
                incr work [dict get $stats rows-scored]
            }
            assert {$found >= 600 * ($recall - 0.08)} "$recall: $found of 600"
            lappend scored $work
        }
        assert_equal $scored [lsort -integer $scored]
        # It has grown by half: measured again when somebody asks.
        add set 1600 96 5000
        r vsearch set ELE e1 RECALL 0.9
        wait_for {[info_of set calibrated-at] == 4600}
        r vtrain set HNSW M 8
        r vsearch set ELE e1 RECALL 0.9
        r flushall
    }

    test {WITHSTATS says how a filter was dealt with} {
        r flushall
        r vcreate set DIM 96 FP32 INDEX HNSW
        add set 20000 96
        for {set i 0} {$i < 20000} {incr i} {
            r send vsetattr set e$i "{\"n\":$i}"
            if {$i % 1000 == 999} {
                flush [r channel]
                for {set j 0} {$j < 1000} {incr j} { assert_equal 1 [r read] }
            }
        }
        # Sanitizers take their time.
        for {set i 0} {[catch {settled set} why]} {incr i} { assert {$i < 5} $why }
        proc plan_of {filter args} {
            lassign [r vsearch set ELE e1 FILTER $filter {*}$args WITHSTATS] got stats
            foreach e $got { assert {[string range $e 1 end] in [passing $filter]} "$e for $filter" }
            return [list [dict get $stats plan] [llength $got] [dict get $stats complete]]
        }
        # `.n % a < b`
        proc passing {filter} {
            global passing
            if {![info exists passing($filter)]} {
                for {set i 0} {$i < 20000} {incr i} {
                    if {[expr [string map [list .n $i] $filter]]} { lappend passing($filter) $i }
                }
            }
            return $passing($filter)
        }
        assert_equal {hnsw 10 1} [plan_of {.n % 10 < 9} EF 12]
        # What passes is not known yet: few questions are asked.
        assert_equal {hnsw 10 1} [plan_of {.n % 10 < 1} EF 12]
        wait_for {[plan_of {.n % 10 < 1} EF 12] eq {hnsw-two-hop 10 1}}
        # Rare, and known after some searches: listed.
        assert_equal {10 1} [lrange [plan_of {.n % 1000 < 1}] 1 2]
        wait_for {[plan_of {.n % 1000 < 1}] eq {listed 10 1}}
        assert_equal {listed 20 1} [plan_of {.n % 1000 < 1} K 30]
        assert_equal {listed 20 1} [plan_of {.n % 1000 < 1} K 30 EXACT]
        # The client bounds the effort: that is cheap, and short.
        assert_equal {hnsw 0} [lreplace [plan_of {.n % 2000 < 1} FILTER-EF 12] 1 1]
        # An attribute that goes takes its element along at once.
        r vsetattr set e0 ""
        assert_equal {listed 19 1} [plan_of {.n % 1000 < 1} K 30]
        r vsetattr set e1 {{"n":0}}
        set ::passing(.n\ %\ 1000\ <\ 1) [concat 1 [passing {.n % 1000 < 1}]]
        assert_equal {listed 20 1} [plan_of {.n % 1000 < 1} K 30]
        r vrem set e2000
        assert_equal {listed 19 1} [plan_of {.n % 1000 < 1} K 30]
        array unset ::passing
    }

    test {in a transaction nobody waits} {
        r flushall
        r vcreate set DIM 16 INDEX HNSW
        add set 500 16
        r multi
        r vadd set FP32 [fp32 [random_vector 16]] fresh
        r vlinks set fresh
        r vtrain set HNSW M 7
        r vsim set ELE fresh COUNT 1
        r debug vcheck set
        set got [r exec]
        assert_equal 1 [lindex $got 0]
        assert {[llength [lindex $got 1]] >= 1}
        assert_equal {OK fresh OK} [lrange $got 2 end]
        wait_for {[info_of set index-m] == 7}
        settled set
        assert_equal OK [r debug vcheck set]
    }
}

start_server {} {
    test {a graph of a set that never had an element is whole} {
        r vcreate empty DIM 3 INDEX HNSW
        r vtrain empty HNSW
        assert_equal OK [r debug vcheck empty]
    }

    test {a server that stops ends what is under way} {
        r vcreate set DIM 16 INDEX HNSW
        add set 6000 16
        set other [client]
        $other send vrecall set SAMPLES 100000
        flush [$other channel]
        wait_for {[info_field searches_under_way] > 0}
        r vsearch set ELE e1 RECALL 0.9
        r vtrain set HNSW M 24 EF 300 ASYNC
        set waiting [client]
        $waiting send vtrain set HNSW M 24 EF 300
        flush [$waiting channel]
        r debug vcheck set
    }
}
