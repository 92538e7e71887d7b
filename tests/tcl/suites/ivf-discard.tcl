# Sets that give their vectors up for codes: VTRAIN IVF PQ m DISCARD.

proc info_of {key field} { return [dict get [r vinfo $key] $field] }
proc infos_of {key args} { set all [r vinfo $key]; return [lmap f $args { dict get $all $f }] }

proc names {n {from 0} {prefix e}} {
    set out {}
    for {set i $from} {$i < $from + $n} {incr i} { lappend out $prefix$i }
    return $out
}

# Vectors with some structure: sums of a few directions.
proc vector {d} {
    global directions
    if {![info exists directions($d)]} {
        for {set i 0} {$i < 40} {incr i} { lappend directions($d) [random_vector $d] }
    }
    set a [lindex $directions($d) [expr {int(rand() * 40)}]]
    set b [lindex $directions($d) [expr {int(rand() * 40)}]]
    set w [expr {rand()}]
    return [lmap x $a y $b { expr {$w * $x + (1 - $w) * $y + rand() / 3} }]
}

proc add {key n d {from 0}} {
    set blob ""
    for {set i 0} {$i < $n} {incr i} { append blob [fp32 [vector $d]] }
    r vmadd $key $n FP32 $blob {*}[names $n $from]
}

# So many in little time: 500 vectors again and again, each with another length and one component
# of its own.
proc add_many {key n d {from 0}} {
    global many
    if {![info exists many($d)]} {
        for {set i 0} {$i < 500} {incr i} { lappend many($d) [fp32 [lrange [vector $d] 1 end]] }
    }
    set blob ""
    for {set i 0} {$i < $n} {incr i} {
        append blob [fp32 [expr {rand() * 4 - 2}]] [lindex $many($d) [expr {$i % 500}]]
    }
    r vmadd $key $n FP32 $blob {*}[names $n $from]
}

proc settled {key} {
    wait_for {[info_of $key ivf-phase] eq "idle"} "for the lists of $key"
}

proc is_discarded {key} {
    assert_equal {ivf ivf ivf-pq no} [infos_of $key index index-asked quant-type originals]
    assert_equal OK [r debug vcheck $key]
}

# How much of what is nearest in `whole` is found in `key`.
proc share_found {key whole d args} {
    set found 0
    for {set i 0} {$i < 20} {incr i} {
        set query [list FP32 [fp32 [vector $d]]]
        set exact [r vsearch $whole {*}$query EXACT]
        foreach name [r vsearch $key {*}$query {*}$args] { incr found [expr {$name in $exact}] }
    }
    return [expr {$found / 200.0}]
}

start_server {} {
    test {DISCARD refuses what it cannot do, and says why} {
        r flushall
        r vcreate set DIM 32 FP32
        add set 200 32
        foreach {error words} {
            {ERR DISCARD is for PQ} {IVF DISCARD}
            {ERR DISCARD is for PQ} {IVF Q8 DISCARD}
            {ERR PQ 5 does not divide the dimension, 32} {IVF PQ 5 DISCARD}
            {ERR DISCARD wants PQ of at least an eighth of the dimension*} {IVF PQ 2 DISCARD}
            {ERR syntax error in VTRAIN command} {HNSW DISCARD}
            {ERR syntax error in VTRAIN command} {FLAT DISCARD}
        } {
            assert_error $error {r vtrain set {*}$words}
        }
        assert_equal yes [info_of set originals]
        assert {![dict exists [r vinfo set] pq-warning]}
        r vcreate blocks DIM 32 METRIC L1
        add blocks 200 32
        assert_error {ERR PQ is not for the metric L1} {r vtrain blocks IVF PQ 16 DISCARD}
        r vcreate bits DIM 32 BIN
        add bits 200 32
        assert_error {ERR Q8 and PQ are not for sets of bits} {r vtrain bits IVF PQ 16 DISCARD}
    }

    test {sets of every metric and precision become codes} {
        foreach {metric precision} {COSINE FP32 COSINE Q8 L2 FP32 L2 Q8 IP BF16 COSINE FP16} {
            r flushall
            foreach key {set whole} {
                r vcreate $key DIM 32 METRIC $metric $precision
            }
            set blob ""
            for {set i 0} {$i < 3000} {incr i} { append blob [fp32 [vector 32]] }
            foreach key {set whole} { r vmadd $key 3000 FP32 $blob {*}[names 3000] }
            r vsetattr set e7 {{"n":7}}
            set uid [info_of set vset-uid]
            assert_equal OK [r vtrain set IVF NLIST 20 PQ 16 DISCARD SEED 5]
            is_discarded set
            assert_equal [list 3000 16 20 $uid 1] [infos_of set size pq-m ivf-nlist vset-uid attributes-count]
            assert_equal [dict get {FP32 f32 Q8 int8 BF16 bf16 FP16 f16} $precision] [info_of set originals-type]
            assert_match {*VRECALL*} [info_of set pq-warning]
            assert_equal {{"n":7}} [r vgetattr set e7]
            set truth [share_found set whole 32 EXACT]
            set found [share_found set whole 32 NPROBE 20]
            assert {$truth > 0.45} "$metric $precision: $truth"
            assert {abs($truth - $found) < 0.2} "$metric $precision: $found of $truth"
            # What comes back is near to what was given, and as long.
            set given [r vemb whole e7]
            set got [r vemb set e7]
            set dot 0; set a 0; set b 0
            foreach x $given y $got {
                set dot [expr {$dot + $x * $y}]; set a [expr {$a + $x * $x}]; set b [expr {$b + $y * $y}]
            }
            assert {$dot / sqrt($a * $b) > 0.9} "$metric $precision: $dot $a $b"
            assert {abs($a - $b) < 0.05 * $a}
            lassign [r vemb set e7 RAW] type code norm
            assert_equal {pq4 8} [list $type [string length $code]]
            assert {abs($norm * $norm - $a) < 0.05 * $a}
            # An element finds itself; with what is said of it in one call as in another.
            assert {$metric eq "IP" || "e9" in [r vsim set ELE e9 COUNT 10]}
            assert_equal e7 [r vsim set ELE e9 COUNT 1 FILTER .n==7]
            assert_equal 3000 [llength [r vrange set - +]]
            assert_equal 32 [llength [lindex [r vlinks set e9] 0]]
            foreach {name distance} [r vsearch set ELE e9 K 20 WITHDISTANCES RADIUS 1000] {
                assert {$metric eq "IP" || $distance >= 0} $distance
            }
        }
    }

    test {later writes are codes at once, and replace what there was} {
        r flushall
        r vcreate set DIM 32 FP32
        add set 3000 32
        r vtrain set IVF PQ 16 DISCARD
        settled set
        for {set i 0} {$i < 30} {incr i} {
            set v [fp32 [vector 32]]
            assert_equal [expr {$i == 0}] [r vadd set FP32 $v fresh SETATTR "{\"n\":$i}"]
            assert {"fresh" in [r vsim set FP32 $v COUNT 200]} ;# codes tell rows apart roughly
            assert_equal "{\"n\":$i}" [r vgetattr set fresh]
            add set 300 32 [expr {10000 + 300 * $i}]
            r vmrem set {*}[names 50 [expr {50 * $i}]]
        }
        r vrem set fresh
        assert {"fresh" ni [r vsim set FP32 $v COUNT 200]}
        settled set
        is_discarded set
        assert_equal [expr {3000 + 9000 - 1500}] [r vcard set]
        assert_error {ERR asked quantization mismatch*} {r vadd set FP32 $v x Q8}
        assert_equal 1 [r vadd set FP32 $v x NOQUANT]
        r vmrem set {*}[r vrandmember set 100000]
        assert_equal 0 [r vcard set]
        add set 500 32
        is_discarded set
    }

    test {writes meanwhile are made to what comes as well} {
        r flushall
        for {set round 0} {$round < [often 3]} {incr round} {
            r vcreate set DIM 64 FP32
            add_many set 12000 64
            for {set i 0} {$i < 100} {incr i} { r vsetattr set e$i "{\"n\":$i}" }
            array unset there
            foreach name [names 12000] { set there($name) 1 }
            r vtrain set IVF NLIST 60 ITERATIONS 2 SAMPLE 500 PQ 32 DISCARD ASYNC
            set i 0
            while {[info_of set quant-type] ne "ivf-pq"} {
                set fresh n[incr i]
                set v [fp32 [vector 64]]
                r vadd set FP32 $v $fresh
                set there($fresh) 1
                assert {$fresh in [r vsim set FP32 $v COUNT 200]}
                set name e[expr {int(rand() * 12000)}]
                if {$i % 3 == 0} {
                    r vrem set $name
                    unset -nocomplain there($name)
                } elseif {$i % 3 == 1} {
                    r vadd set FP32 [fp32 [vector 64]] $name
                    set there($name) 1
                }
                catch { r vsetattr set e[expr {$i % 100}] "{\"n\":-$i}" }
                if {[info exists there(e[expr {$i % 100}])]} { set attribute(e[expr {$i % 100}]) "{\"n\":-$i}" }
                if {$i % 40 == 0} { assert_equal OK [r debug vcheck set] }
            }
            is_discarded set
            assert_equal [lsort [array names there]] [lsort [r vrange set - +]]
            foreach {name value} [array get attribute] {
                if {[info exists there($name)]} { assert_equal $value [r vgetattr set $name] }
            }
            array unset attribute
            r del set
        }
    }

    test {sets go, are renamed, moved and swapped while vectors become codes} {
        r flushall
        for {set i 0} {$i < 24} {incr i} {
            r vcreate set DIM 64 FP32
            add_many set 6000 64
            r vtrain set IVF NLIST 20 ITERATIONS 1 SAMPLE 200 PQ 32 DISCARD ASYNC
            after [expr {$i * 2}]
            switch [expr {$i % 6}] {
                0 { r del set }
                1 {
                    r rename set other
                    wait_for {[info_of other originals] eq "no"}
                    is_discarded other
                    r del other
                }
                2 { r flushall }
                3 { catch { r vtrain set FLAT }; r flushdb }
                4 {
                    r move set 1
                    r select 1
                    wait_for {[info_of set originals] eq "no"}
                    is_discarded set
                    r del set
                    r select 0
                }
                5 {
                    r swapdb 0 2
                    r select 2
                    r vmrem set {*}[names 6000]
                    assert_equal OK [r debug vcheck set]
                    r del set
                    r select 0
                }
            }
        }
        wait_for {[info_field vector_index_jobs] == 0 && [info_field vector_trainings] == 0}
        assert_equal {0 0} [list [info_field vector_lists] [info_field vector_tail_rows]]
    }

    test {a set that has given up its vectors keeps to that} {
        r flushall
        r vcreate set DIM 32 FP32
        add set 3000 32
        r vtrain set IVF PQ 16 DISCARD
        set digest [r debug digest-value set]
        assert_error {ERR the set has given up its vectors, of which a graph would be made} {r vtrain set HNSW}
        assert_error {ERR Q8 is not for a set that has given up its vectors} {r vtrain set IVF Q8}
        assert_error {ERR the set has given up its vectors and has PQ 16 for good} {r vtrain set IVF PQ 32}
        assert_error {ERR the set has given up its vectors and has PQ 16 for good} {r vtrain set IVF PQ 8 DISCARD}
        foreach words {{IVF NLIST 30} {IVF PQ 16 NLIST 40} {IVF PQ 16 DISCARD NLIST 50}} {
            assert_equal OK [r vtrain set {*}$words]
            is_discarded set
            assert_equal [lindex $words end] [info_of set ivf-nlist]
            assert_equal $digest [r debug digest-value set]
        }
        assert_equal OK [r vtrain set FLAT]
        assert_equal {flat flat ivf-pq} [infos_of set index index-asked quant-type]
        add set 2000 32 5000
        assert_equal OK [r vtrain set IVF]
        is_discarded set
        assert_equal 5000 [r vcard set]
        assert_match {*recall*} [r vrecall set SAMPLES 20]
        # In a transaction nobody waits.
        r vcreate other DIM 32 FP32
        add other 3000 32
        r multi
        r vtrain other IVF PQ 16 DISCARD
        r vsim other ELE e1 COUNT 1
        assert_equal {OK e1} [r exec]
        wait_for {[info_of other originals] eq "no"}
        is_discarded other
    }

    test {projected vectors} {
        r flushall
        for {set i 0} {$i < 1500} {incr i} { r vadd set REDUCE 16 FP32 [fp32 [vector 32]] e$i NOQUANT }
        r vtrain set IVF NLIST 10 PQ 16 DISCARD
        is_discarded set
        set v [fp32 [vector 32]]
        r vadd set REDUCE 16 FP32 $v fresh
        assert {"fresh" in [r vsim set FP32 $v COUNT 200]} ;# codes tell rows apart roughly
        set digest [r debug digest]
        r debug reload
        assert_equal $digest [r debug digest]
        assert {"fresh" in [r vsim set FP32 $v COUNT 200]} ;# codes tell rows apart roughly
    }

    test {what it takes, and what VESTIMATE says} {
        r flushall
        r vcreate set DIM 128 FP32
        for {set i 0} {$i < 120000} {incr i 12000} { add_many set 12000 128 $i }
        assert {[info_of set memory-bytes] / 120000 > 512}
        r vtrain set IVF PQ 64 DISCARD
        settled set
        is_discarded set
        set per [expr {[info_of set memory-bytes] / 120000.0}]
        assert {$per <= 85} "$per bytes an element"
        set e [r vestimate DIM 128 COUNT 120000 FP32 INDEX IVF PQ 64 DISCARD NAMELEN 6]
        assert {abs([dict get $e memory-bytes] - [info_of set memory-bytes]) < 0.12 * [info_of set memory-bytes]} \
            "$e [r vinfo set]"
        set e [r vestimate DIM 128 COUNT 1000000 FP32 INDEX IVF PQ 64 DISCARD NAMELEN 7]
        assert {[dict get $e bytes-per-element] <= 80} $e
        assert_error {ERR DISCARD is for PQ} {r vestimate DIM 128 COUNT 1000 INDEX IVF DISCARD}
        assert_error {ERR NLIST, PQ and DISCARD are for INDEX IVF} {r vestimate DIM 128 COUNT 1000 PQ 64 DISCARD}
    }
}

# ---- files -------------------------------------------------------------------

proc of_set {key} {
    return [infos_of $key quant-type originals originals-type pq-m index index-asked size ivf-nlist ivf-last-train]
}

start_server {} {
    test {snapshots, DUMP, RESTORE and COPY} {
        r flushall
        foreach {key precision metric} {a FP32 COSINE b Q8 L2 c FP32 IP} {
            r vcreate $key DIM 24 $precision METRIC $metric
            add $key 2500 24
            r vsetattr $key e3 {{"n":1}}
            r vtrain $key IVF NLIST 20 PQ 12 DISCARD
            add $key 300 24 5000
            r vmrem $key {*}[names 200 100]
        }
        r vcreate empty DIM 24 FP32
        add empty 1500 24
        r vtrain empty IVF PQ 12 DISCARD
        r vmrem empty {*}[names 1500]
        r copy c flat
        r vtrain flat FLAT
        set before [lmap key {a b c empty} { of_set $key }]
        set digest [r debug digest]
        r save
        exec [file join [file dirname $harness::binary] vectra-check-rdb] [srv dir]/dump.rdb
        r debug reload
        assert_equal $digest [r debug digest]
        assert_equal $before [lmap key {a b c empty} { of_set $key }]
        assert_equal {ivf-pq flat} [infos_of flat quant-type index]
        foreach key {a b c} {
            is_discarded $key
            r copy $key copy
            r restore restored 0 [r dump $key]
            foreach other {copy restored} {
                assert_equal [of_set $key] [of_set $other]
                assert_equal [r debug digest-value $key] [r debug digest-value $other]
                is_discarded $other
                # The same codebooks: the same code.
                set v [fp32 [vector 24]]
                foreach k [list $key $other] { r vadd $k FP32 $v fresh }
                assert_equal [r vemb $key fresh RAW] [r vemb $other fresh RAW]
                r vrem $key fresh
                r del $other
            }
        }
        foreach key {empty flat} {
            add $key 500 24
            assert_equal OK [r debug vcheck $key]
        }
    }

    test {a snapshot and a copy in the middle} {
        r flushall
        r vcreate set DIM 64 FP32
        add_many set 5000 64
        set payload [r dump set]
        for {set i 0} {$i < 5} {incr i} {
            r restore fresh$i 0 $payload
            r vtrain fresh$i IVF NLIST 20 ITERATIONS 1 SAMPLE 200 PQ 32 SEED 9 DISCARD ASYNC
            after [expr {$i * 6}]
            r copy fresh$i other$i
            if {$i % 2} { r debug reload }
        }
        for {set i 0} {$i < 5} {incr i} {
            foreach key [list fresh$i other$i] {
                wait_for {[info_of $key originals] eq "no" && [info_of $key ivf-phase] eq "idle"} "for $key"
                is_discarded $key
                assert_equal 5000 [r vcard $key]
            }
        }
    }
}

proc crash_and_restart {} {
    set server [lindex $::harness::servers end]
    catch {exec kill -9 [dict get $server pid]}
    wait_for {![harness::alive [dict get $server pid]]}
    set server [harness::launch [dict get $server dir]]
    lset ::harness::servers end $server
    interp alias {} r {} [resp::connect [dict get $server port]]
    wait_for {![info_field loading]}
}

foreach preamble {yes no} {
    start_server [list appendonly yes appendfsync no aof-use-rdb-preamble $preamble] {
        test "the log has what the codebooks are, and gives the same codes; preamble $preamble" {
            foreach {key precision} {a FP32 b Q8} {
                r vcreate $key DIM 64 $precision
                add_many $key 5000 64
                r vsetattr $key e4 {{"n":4}}
                r vtrain $key IVF NLIST 30 PQ 32 DISCARD ASYNC
                # Before, meanwhile and after.
                for {set i 0} {$i < 200} {incr i} {
                    r vadd $key FP32 [fp32 [vector 64]] e[expr {int(rand() * 6000)}]
                    if {$i % 5 == 0} { r vrem $key e[expr {int(rand() * 6000)}] }
                }
                wait_for {[info_of $key originals] eq "no"}
                add_many $key 500 64 9000
            }
            settled a
            settled b
            set digest [r debug digest]
            set before [lmap key {a b} { of_set $key }]
            foreach round {1 2 3} {
                switch $round {
                    1 { crash_and_restart }
                    2 {
                        set n [info_field aof_rewrites]
                        r bgrewriteaof
                        wait_for {[info_field aof_rewrites] > $n}
                        crash_and_restart
                    }
                    3 { r debug loadaof }
                }
                assert_equal $digest [r debug digest]
                assert_equal $before [lmap key {a b} { of_set $key }]
                foreach key {a b} { is_discarded $key }
            }
        }

        test "a crash in the middle: it is begun again; preamble $preamble" {
            r flushall
            r vcreate set DIM 64 FP32
            add_many set 10000 64
            r vtrain set IVF NLIST 20 PQ 32 DISCARD ASYNC
            after 30
            crash_and_restart
            assert_equal 10000 [r vcard set]
            assert_equal OK [r debug vcheck set]
        }
    }
}
