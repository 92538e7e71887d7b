# Lists whose rows have codes besides: what is searched are codes, what is
# answered are rows.

proc info_of {key field} { return [dict get [r vinfo $key] $field] }

proc settled {key} {
    wait_for {[info_of $key ivf-phase] eq "idle"} "for the lists of $key"
}

proc names {n {from 0}} {
    set out {}
    for {set i $from} {$i < $from + $n} {incr i} { lappend out e$i }
    return $out
}

proc blob {n d} {
    set row {}
    for {set i 0} {$i < $n * $d} {incr i} { lappend row [expr {rand() + rand() - 1}] }
    return [fp32 $row]
}

proc add {key n d {from 0}} { r vmadd $key $n FP32 [blob $n $d] {*}[names $n $from] }

# Of the ten nearest, by searches through all lists; distances are the rows'.
proc share_found {key d lists} {
    set found 0
    for {set i 0} {$i < 20} {incr i} {
        set query [list FP32 [blob 1 $d]]
        set exact [r vsearch $key {*}$query EXACT WITHDISTANCES]
        foreach {e distance} [r vsearch $key {*}$query WITHDISTANCES NPROBE $lists] {
            if {[dict exists $exact $e]} {
                incr found
                assert {abs($distance - [dict get $exact $e]) < 1e-5} "$e is not scored by its row"
            }
        }
    }
    return [expr {$found / 200.0}]
}

start_server {} {
    test {Codes of every kind find what the rows would} {
        foreach {metric precision codes} {
            COSINE FP32 {PQ 12} COSINE Q8 {PQ 12} L2 FP32 {PQ 24} L2 Q8 {PQ 8} IP FP16 {PQ 12} IP Q8 {PQ 24}
            COSINE FP32 Q8 L2 BF16 Q8 L1 FP32 Q8 IP FP16 {}
        } {
            r flushall
            r vcreate set DIM 24 METRIC $metric $precision
            add set 3000 24
            set before [r debug digest-value set]
            r vtrain set IVF NLIST 30 {*}$codes
            settled set
            assert {[share_found set 24 30] > 0.95} "$metric $precision $codes: [share_found set 24 30]"
            assert_equal $before [r debug digest-value set]
            assert_equal OK [r debug vcheck set]
        }
    }

    test {What an effort finds is not bounded by how coarse codes are} {
        r flushall
        r vcreate set DIM 24 METRIC L2 FP32
        add set 3000 24
        r vtrain set IVF NLIST 30 PQ 2
        settled set
        set few [r vrecall set NPROBE 1 SAMPLES 100]
        set all [r vrecall set NPROBE 30 SAMPLES 100]
        assert {[dict get $few recall] < 0.9} $few
        assert_equal 1 [dict get $all recall]
    }

    test {A number of parts need not be even} {
        r flushall
        r vcreate set DIM 15 FP32
        add set 2000 15
        r vtrain set IVF NLIST 20 PQ 15
        assert {[share_found set 15 20] > 0.95}
        r vtrain set IVF NLIST 20 PQ 5
        assert {[share_found set 15 20] > 0.9}
        r vtrain set IVF NLIST 20 PQ 1
        assert_equal pq [info_of set ivf-codes]
        assert_equal 1 [info_of set ivf-pq-m]
    }

    test {With codes every write is seen by the next search} {
        r flushall
        r vcreate set DIM 16 METRIC L2 FP32
        add set 4000 16
        r vtrain set IVF NLIST 32 PQ 8
        for {set i 0} {$i < 300} {incr i} {
            set x [blob 1 16]
            set e e[expr {int(rand() * 4000)}]
            r vadd set FP32 $x $e
            assert_equal [list $e] [r vsearch set FP32 $x K 1]
            r vrem set $e
            assert {$e ni [r vsearch set FP32 $x K 5]}
            r vadd set FP32 $x $e
        }
        add set 3000 16 4000
        settled set
        assert_equal OK [r debug vcheck set]
        assert {[share_found set 16 32] > 0.95}
    }

    test {A filter finds all that pass, however the codes order them} {
        r flushall
        r vcreate set DIM 16 FP32
        add set 3000 16
        for {set i 0} {$i < 3000} {incr i 300} { r vsetattr set e$i {{"rare":1}} }
        r vtrain set IVF NLIST 24 PQ 8
        assert_equal 10 [llength [r vsearch set FP32 [blob 1 16] K 20 FILTER .rare==1]]
    }

    test {Other codes come to lie beside those that answer} {
        r flushall
        r vcreate set DIM 16 FP32
        add set 5000 16
        foreach codes {{PQ 8} Q8 {PQ 4} {PQ 16}} {
            r vtrain set IVF NLIST 40 {*}$codes ASYNC
            while {[info_of set ivf-phase] ne "idle"} {
                set x [blob 1 16]
                r vadd set FP32 $x probe
                assert_equal probe [r vsearch set FP32 $x K 1]
            }
            assert_equal OK [r debug vcheck set]
        }
        assert {[share_found set 16 40] > 0.95}
        r vtrain set FLAT
        assert_equal flat [info_of set index]
    }
}
