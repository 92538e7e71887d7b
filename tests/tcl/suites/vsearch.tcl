# VCREATE, VSEARCH and VMSEARCH: every metric and precision against distances
# computed here, every option, and the replies of both protocols.

set metrics {COSINE L2 IP L1}
set precisions {FP32 Q8 BIN FP16 BF16}

proc signs {v} {
    return [lmap x $v { expr {$x < 0 ? -1.0 : 1.0} }]
}

proc dot {a b} {
    set sum 0.0
    foreach x $a y $b { set sum [expr {$sum + $x * $y}] }
    return $sum
}

# The distance as the documents define it.
proc distance {metric a b} {
    switch -- $metric {
        COSINE { return [expr {1 - [dot $a $b] / sqrt([dot $a $a] * [dot $b $b])}] }
        IP { return [expr {1 - [dot $a $b]}] }
    }
    set sum 0.0
    foreach x $a y $b {
        set sum [expr {$sum + ($metric eq "L2" ? ($x - $y) ** 2 : abs($x - $y))}]
    }
    return [expr {$metric eq "L2" ? sqrt($sum) : $sum}]
}

proc score {metric distance} {
    switch -- $metric {
        COSINE { return [expr {1 - $distance / 2.0}] }
        IP { return [expr {1 - $distance}] }
    }
    return [expr {1.0 / (1 + $distance)}]
}

# What rounding components in [-1, 1) to a precision may do to a distance.
proc tolerance {metric precision d} {
    set e [dict get {FP32 2e-6 FP16 1e-3 BF16 8e-3 Q8 8e-3 BIN 1e-6} $precision]
    return [expr {($metric eq "COSINE" ? 2 : $metric eq "L2" ? sqrt($d) : $d) * $e}]
}

# Adds vectors as e0, e1 ...
proc add_vectors {key vectors} {
    set blob ""
    set names {}
    foreach v $vectors { append blob [fp32 $v]; lappend names e[llength $names] }
    r vmadd $key [llength $vectors] FP32 $blob {*}$names
}

proc random_vectors {n d} {
    set out {}
    for {set i 0} {$i < $n} {incr i} { lappend out [random_vector $d] }
    return $out
}

# The reply of VSEARCH WITHDISTANCES against what is right.
proc check_answer {metric precision vectors query k reply} {
    if {$precision eq "BIN"} {
        set vectors [lmap v $vectors { signs $v }]
        set query [signs $query]
    }
    set off [tolerance $metric $precision [llength $query]]
    set true [lmap v $vectors { distance $metric $v $query }]
    set last [lindex [lsort -real $true] [expr {$k - 1}]]
    assert_equal [expr {2 * $k}] [llength $reply]
    set before -1e30
    set seen {}
    foreach {name d} $reply {
        set want [lindex $true [string range $name 1 end]]
        assert_near $want $d $off
        assert {$d >= $before} "in order"
        assert {$want <= $last + 2 * $off} "$name is not among the nearest"
        set before $d
        dict set seen $name 1
    }
    assert_equal $k [dict size $seen]
}

start_server {} {
    foreach metric $metrics {
        foreach precision $precisions {
            test "VSEARCH by $metric on $precision finds what an exact computation does" {
                set d [expr {int(rand() * 40) + 3}]
                set vectors [random_vectors 80 $d]
                r del s
                assert_equal OK [r vcreate s DIM $d METRIC $metric $precision]
                assert_equal 80 [add_vectors s $vectors]
                for {set i 0} {$i < 5} {incr i} {
                    set q [random_vector $d]
                    check_answer $metric $precision $vectors $q 10 \
                        [r vsearch s FP32 [fp32 $q] K 10 WITHDISTANCES]
                    check_answer $metric $precision $vectors $q 80 \
                        [r vsearch s VALUES $d {*}$q K 1000 WITHDISTANCES EXACT]
                }
                # The same queries in one command answer the same.
                set queries [random_vectors 20 $d]
                set blob ""
                foreach q $queries { append blob [fp32 $q] }
                set all [r vmsearch s 20 FP32 $blob K 7 WITHDISTANCES]
                foreach q $queries answer $all {
                    assert_equal [r vsearch s FP32 [fp32 $q] K 7 WITHDISTANCES] $answer
                }
            }

            test "scores and radius follow distances by $metric on $precision" {
                set d 24
                set vectors [random_vectors 50 $d]
                r del s
                r vcreate s DIM $d METRIC $metric $precision
                add_vectors s $vectors
                set q [fp32 [random_vector $d]]
                set all [r vsearch s FP32 $q K 50 WITHSCORES WITHDISTANCES]
                foreach {name score distance} $all {
                    assert_near [score $metric $distance] $score 1e-5
                }
                # Without K all within the radius come, the border included.
                set radius [lindex $all [expr {3 * 19 + 2}]]
                set within {}
                foreach {name score distance} $all {
                    if {$distance <= $radius} { lappend within $name }
                }
                assert_equal [lsort $within] [lsort [r vsearch s FP32 $q RADIUS $radius]]
                assert_equal [lrange $within 0 4] [lrange [r vsearch s FP32 $q RADIUS $radius K 20] 0 4]
                assert_equal 5 [llength [r vsearch s FP32 $q RADIUS $radius K 5]]
                assert_equal {} [r vsearch s FP32 $q RADIUS -1e30]
            }
        }
    }

    test {an element is its own nearest, and ELE finds what its vector does} {
        foreach precision $precisions {
            r del s
            r vcreate s DIM 32 METRIC L2 $precision
            add_vectors s [random_vectors 60 32]
            foreach e {e0 e17 e59} {
                set got [r vsearch s ELE $e K 3 WITHDISTANCES]
                assert_equal $e [lindex $got 0]
                assert_near 0 [lindex $got 1] 1e-3
            }
        }
    }

    test {FP16 and BF16 queries equal their FP32 values} {
        r del s
        r vcreate s DIM 4 METRIC L2 FP32
        add_vectors s [random_vectors 30 4]
        # 1.0 -2.0 0.5 0.25 in each
        set half [binary format s* {0x3c00 0xc000 0x3800 0x3400}]
        set brain [binary format s* {0x3f80 0xc000 0x3f00 0x3e80}]
        set want [r vsearch s FP32 [fp32 {1 -2 0.5 0.25}] WITHDISTANCES]
        assert_equal $want [r vsearch s FP16 $half WITHDISTANCES]
        assert_equal $want [r vsearch s BF16 $brain WITHDISTANCES]
    }

    test {a large set is searched on workers with the same answers} {
        r del s
        set vectors [random_vectors 3000 8]
        r vcreate s DIM 8 METRIC L2 FP32
        add_vectors s $vectors
        set c [client]
        set queries [random_vectors 12 8]
        foreach q $queries { $c send vsearch s FP32 [fp32 $q] K 2000 WITHDISTANCES }
        foreach q $queries { check_answer L2 FP32 $vectors $q 2000 [$c read] }
        $c close
    }

    test {FILTER narrows, WITHATTRIBS shows} {
        r del s
        r vcreate s DIM 2 METRIC L2 FP32
        for {set i 0} {$i < 20} {incr i} {
            r vadd s VALUES 2 $i 0 e$i SETATTR "{\"n\":$i}"
        }
        r vadd s VALUES 2 0.1 0 bare
        assert_equal {e5 e6 e7} [r vsearch s VALUES 2 0 0 K 3 FILTER {.n >= 5}]
        assert_equal {} [r vsearch s VALUES 2 0 0 FILTER {.n > 100}]
        assert_equal {e0 {{"n":0}} bare {}} [r vsearch s VALUES 2 0 0 K 2 WITHATTRIBS]
        assert_equal {e1 1 {{"n":1}}} \
            [r vsearch s VALUES 2 0 0 K 1 WITHDISTANCES WITHATTRIBS FILTER {.n == 1}]
        # The last of several expressions counts.
        assert_equal {e2} [r vsearch s VALUES 2 0 0 FILTER {.n == 1} FILTER {.n == 2}]
        assert_error {ERR syntax error in FILTER expression near: *} \
            {r vsearch s VALUES 2 0 0 FILTER {.n ==}}
        assert_error {ERR syntax error in FILTER expression near: *} \
            {r vmsearch s 1 FP32 [fp32 {0 0}] FILTER {(.n}}
    }

    test {replies of VSEARCH in RESP2 and RESP3} {
        r del s
        r vcreate s DIM 2 METRIC L2 FP32
        r vadd s VALUES 2 3 4 a SETATTR {{"x":1}}
        set c [client]
        set q {vsearch s VALUES 2 0 0}
        foreach {words want} {
            {} {array {{bulk a}}}
            WITHDISTANCES {array {{bulk a} {bulk 5}}}
            {WITHDISTANCES WITHSCORES} {array {{bulk a} {bulk 0.16666666666666666} {bulk 5}}}
            WITHATTRIBS {array {{bulk a} {bulk {{"x":1}}}}}
        } {
            $c send {*}$q {*}$words
            assert_equal $want [$c typed] $words
        }
        $c send {*}$q WITHSTATS
        assert_equal {array {{array {{bulk a}}} {array {{bulk plan} {bulk flat}\
            {bulk rows-scored} {int 1} {bulk tail-rows} {int 1} {bulk exact} {int 1}\
            {bulk complete} {int 1}}}}} [$c typed]
        $c hello 3
        foreach {words want} {
            {} {array {{bulk a}}}
            WITHDISTANCES {map {{bulk a} {double 5}}}
            {WITHDISTANCES WITHSCORES}
            {map {{bulk a} {array {{double 0.16666666666666666} {double 5}}}}}
            WITHATTRIBS {map {{bulk a} {bulk {{"x":1}}}}}
        } {
            $c send {*}$q {*}$words
            assert_equal $want [$c typed] $words
        }
        $c send {*}$q WITHSTATS
        assert_equal {array {{array {{bulk a}}} {map {{bulk plan} {bulk flat}\
            {bulk rows-scored} {int 1} {bulk tail-rows} {int 1} {bulk exact} {bool 1}\
            {bulk complete} {bool 1}}}}} [$c typed]
        r vadd s VALUES 2 6 8 b
        $c send {*}$q WITHDISTANCES WITHATTRIBS
        assert_equal {map {{bulk a} {array {{double 5} {bulk {{"x":1}}}}}\
            {bulk b} {array {{double 10} {null {}}}}}} [$c typed]
        $c send vmsearch s 2 FP32 [fp32 {0 0 6 8}] K 1 WITHSTATS
        assert_equal array [lindex [$c typed] 0]
        $c close
    }

    test {options of later index kinds are taken and change nothing} {
        r del s
        r vcreate s DIM 3
        add_vectors s [random_vectors 40 3]
        set want [r vsearch s VALUES 3 1 2 3 K 5 WITHDISTANCES]
        foreach o {{EF 100} {NPROBE 8} {FILTER-EF 10} EXACT {EF 1 EXACT} {TIMEOUT 60000} {ef 1000000}} {
            assert_equal $want [r vsearch s VALUES 3 1 2 3 K 5 WITHDISTANCES {*}$o]
            assert_equal [list $want] [r vmsearch s 1 FP32 [fp32 {1 2 3}] K 5 WITHDISTANCES {*}$o]
        }
    }

    test {an empty set and a missing key answer nothing} {
        r del s none
        r vcreate s DIM 3
        assert_equal {} [r vsearch s VALUES 3 1 2 3]
        assert_equal {{} {}} [r vmsearch s 2 FP32 [fp32 {1 2 3 4 5 6}]]
        assert_equal {} [r vsearch none VALUES 3 1 2 3]
        assert_equal {{} {}} [r vmsearch none 2 FP32 [fp32 {1 2 3 4 5 6}]]
    }

    test {wrong searches are refused with their reason} {
        r set string x
        r del s
        r vcreate s DIM 3
        r vadd s VALUES 3 1 2 3 e
        foreach {want words} {
            {WRONGTYPE *} {string VALUES 3 1 2 3}
            {ERR wrong number of arguments for 'VSEARCH' command} {s ELE}
            {ERR element not found in set} {s ELE nobody}
            {ERR Vector dimension mismatch - got 2 but set has 3} {s VALUES 2 1 2}
            {ERR invalid vector specification} {s VALUES 0 1}
            {ERR invalid vector specification} {s VALUES -1 1}
            {ERR invalid vector specification} {s VALUES 3 1 2}
            {ERR invalid vector specification} {s VALUES x 1 2 3}
            {ERR invalid vector specification} {s VALUES 3 1 2 x}
            {ERR invalid vector specification} {s VALUES 3 1 2 nan}
            {ERR invalid vector specification} {s VALUES 3 1 2 inf}
            {ERR invalid vector specification} {s VALUES 99999999999 1 2 3}
            {ERR invalid vector specification} {s FP32 abc}
            {ERR invalid vector specification} {s FP16 abc}
            {ERR invalid vector specification} {s FP32 {}}
            {ERR invalid vector specification} {s NOTHING 1 2}
            {ERR invalid K} {s ELE e K 0}
            {ERR invalid K} {s ELE e K -3}
            {ERR invalid K} {s ELE e K ten}
            {ERR invalid K} {s ELE e K 99999999999999999999}
            {ERR invalid EF} {s ELE e EF 0}
            {ERR invalid EF} {s ELE e EF 1000001}
            {ERR invalid NPROBE} {s ELE e NPROBE 0}
            {ERR invalid FILTER-EF} {s ELE e FILTER-EF 0}
            {ERR invalid TIMEOUT} {s ELE e TIMEOUT 0}
            {ERR invalid TIMEOUT} {s ELE e TIMEOUT -5}
            {ERR invalid RADIUS} {s ELE e RADIUS x}
            {ERR invalid RADIUS} {s ELE e RADIUS nan}
            {ERR syntax error in VSEARCH command} {s ELE e K}
            {ERR syntax error in VSEARCH command} {s ELE e FILTER}
            {ERR syntax error in VSEARCH command} {s ELE e RADIUS}
            {ERR syntax error in VSEARCH command} {s ELE e WHATEVER}
        } {
            assert_error $want {r vsearch {*}$words}
        }
        assert_error {ERR invalid vector specification} \
            {r vsearch s FP32 [binary format r3 {1 2 NaN}]}
    }

    test {wrong VMSEARCHes are refused with their reason} {
        set two [fp32 {1 2 3 4 5 6}]
        foreach {want words} {
            {WRONGTYPE *} {string 1 FP32 xxxx}
            {ERR invalid query count} {s 0 FP32 $two}
            {ERR invalid query count} {s -1 FP32 $two}
            {ERR invalid query count} {s x FP32 $two}
            {ERR invalid query count} {s 10001 FP32 $two}
            {ERR invalid query count} {none 10001 FP32 $two}
            {ERR invalid vector specification} {s 2 VALUES $two}
            {ERR invalid vector specification} {s 5 FP32 $two}
            {ERR invalid vector specification} {s 2 FP32 {}}
            {ERR Vector dimension mismatch - got 2 but set has 3} {s 3 FP32 $two}
            {ERR invalid K} {s 2 FP32 $two K 0}
            {ERR syntax error in VMSEARCH command} {s 2 FP32 $two WHATEVER}
        } {
            assert_error $want {r vmsearch {*}[subst $words]}
        }
        # One bad query among good ones is an error in its place.
        set got [r vmsearch s 3 FP32 "[fp32 {1 2 3}][binary format r3 {1 2 NaN}][fp32 {1 2 3}]"]
        assert_equal {e {ERR(ERR invalid vector specification)} e} $got
    }

    test {a search that takes longer than TIMEOUT says so} {
        r del s
        r vcreate s DIM 64 FP32
        add_vectors s [random_vectors 500 64]
        # Ten thousand queries that must all be done within a millisecond.
        set blob [string repeat [fp32 [random_vector 64]] 10000]
        set late 0
        foreach answer [r vmsearch s 10000 FP32 $blob K 100 TIMEOUT 1] {
            if {[string match {ERR(TIMEOUT the search took longer than 1 ms)} $answer]} {
                incr late
            } elseif {[llength $answer] != 100} {
                fail "neither late nor whole: $answer"
            }
        }
        assert {[info_field total_error_replies] >= $late}
    }

    test {VMSEARCH projects queries as VSEARCH does} {
        r del s
        r vadd s REDUCE 4 VALUES 8 1 2 3 4 5 6 7 8 a
        r vadd s REDUCE 4 VALUES 8 8 7 6 5 4 3 2 1 b
        set q [fp32 {1 2 3 4 5 6 7 9}]
        assert_equal [list [r vsearch s FP32 $q WITHSCORES] [r vsearch s FP32 $q WITHSCORES]] \
            [r vmsearch s 2 FP32 $q$q WITHSCORES]
    }

    test {VMSEARCH inside MULTI answers in its place} {
        r del s
        r vcreate s DIM 2 METRIC L2 FP32
        r multi
        r vadd s VALUES 2 0 0 a
        r vmsearch s 2 FP32 [fp32 {0 0 1 1}]
        r vadd s VALUES 2 1 1 b
        r vmsearch s 2 FP32 [fp32 {0 0 1 1}] K 1
        assert_equal {1 {a a} 1 {a b}} [r exec]
    }
}

# ---- VCREATE -----------------------------------------------------------------

start_server {} {
    test {VCREATE takes every option} {
        foreach metric $metrics {
            foreach {word name} {NOQUANT f32 FP32 f32 Q8 int8 BIN bin FP16 f16 BF16 bf16} {
                r del s
                assert_equal OK [r vcreate s DIM 7 METRIC $metric $word INDEX FLAT M 24 EF 300]
                assert_equal vectorset [r type s]
                assert_equal 0 [r vcard s]
                assert_equal 7 [r vdim s]
                set info [r vinfo s]
                assert_equal $name [dict get $info quant-type] $word
                assert_equal [string tolower $metric] [string tolower [dict get $info metric]]
                assert_equal 24 [dict get $info hnsw-m]
            }
        }
        r del s
        assert_equal OK [r vcreate s dim 65536 bin metric ip]
        assert_equal OK [r vcreate t DIM 1 INDEX AUTO]
        assert_equal int8 [dict get [r vinfo t] quant-type]
    }

    test {VCREATE refuses what is not an option and an existing key} {
        r flushall
        r set string x
        r vcreate set DIM 3
        foreach {want words} {
            {ERR wrong number of arguments for 'VCREATE' command} {s}
            {ERR wrong number of arguments for 'VCREATE' command} {s DIM}
            {ERR syntax error} {s SIZE 3}
            {ERR invalid DIM} {s DIM 0}
            {ERR invalid DIM} {s DIM -1}
            {ERR invalid DIM} {s DIM 65537}
            {ERR invalid DIM} {s DIM 3.5}
            {ERR invalid DIM} {s DIM 99999999999999999999}
            {ERR invalid METRIC} {s DIM 3 METRIC HAMMING}
            {ERR syntax error} {s DIM 3 METRIC}
            {ERR invalid INDEX*} {s DIM 3 INDEX ANNOY}
            {ERR syntax error} {s DIM 3 INDEX}
            {ERR invalid M} {s DIM 3 M 3}
            {ERR invalid M} {s DIM 3 M 4097}
            {ERR invalid EF} {s DIM 3 EF 0}
            {ERR invalid EF} {s DIM 3 EF 1000001}
            {ERR syntax error} {s DIM 3 WHATEVER}
            {ERR syntax error} {s DIM 3 WHATEVER 3}
            {ERR key already exists} {string DIM 3}
            {ERR key already exists} {set DIM 3}
            {ERR key already exists} {set DIM 4 METRIC L2}
        } {
            assert_error $want {r vcreate {*}$words}
        }
        assert_equal 2 [r dbsize]
        assert_equal 3 [r vdim set]
    }

    test {a set made by VCREATE stays when it is emptied, one made by VADD goes} {
        r flushall
        r vcreate made DIM 2 METRIC L1 BF16
        r vadd made VALUES 2 1 2 a
        r vadd grown VALUES 2 1 2 a
        r vrem made a
        r vrem grown a
        assert_equal 1 [r exists made]
        assert_equal 0 [r exists grown]
        assert_equal {0 2} [list [r vcard made] [r vdim made]]
        r vmadd made 2 FP32 [fp32 {1 2 3 4}] a b
        r vmadd grown 2 FP32 [fp32 {1 2 3 4}] a b
        assert_equal {2 2} [list [r vmrem made a b c] [r vmrem grown a b c]]
        assert_equal {1 0} [list [r exists made] [r exists grown]]
        assert_equal l1 [string tolower [dict get [r vinfo made] metric]]
    }

    test {options given must match the set that VCREATE made} {
        r flushall
        r vcreate s DIM 2 METRIC L2 FP16
        assert_equal 1 [r vadd s VALUES 2 1 2 a]
        assert_error {ERR asked quantization mismatch with existing vector set} \
            {r vadd s VALUES 2 1 2 b Q8}
        assert_error {ERR asked quantization mismatch with existing vector set} \
            {r vmadd s 1 FP32 [fp32 {1 2}] b BIN}
        assert_equal 1 [r vcard s]
    }
}
