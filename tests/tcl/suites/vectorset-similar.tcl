# VSIM: the shapes of its replies, its options and its numbers, which an obvious
# computation in Tcl repeats.

# Score of two vectors as Redis defines it for a precision: both are normalised,
# then quantised.
proc prepared {v type} {
    set square 0.0
    foreach x $v { set square [expr {$square + double($x) * $x}] }
    set norm [expr {$square > 0 ? sqrt($square) : 1.0}]
    set unit {}
    foreach x $v { lappend unit [expr {$x / $norm}] }
    if {$type eq "NOQUANT"} { return $unit }
    set out {}
    if {$type eq "BIN"} {
        foreach x $unit { lappend out [expr {$x > 0}] }
        return $out
    }
    set range 0.0
    foreach x $unit { set range [expr {max($range, abs($x))}] }
    foreach x $unit {
        set code [expr {$range > 0 ? round($x * 127 / $range) : 0}]
        lappend out [expr {$code * $range / 127}]
    }
    return $out
}

proc score_of {a b type} {
    set sum 0.0
    if {$type eq "BIN"} {
        foreach x $a y $b { incr differing [expr {$x != $y}] }
        return [expr {1 - double($differing) / [llength $a]}]
    }
    foreach x $a y $b { set sum [expr {$sum + $x * $y}] }
    return [expr {($sum + 1) / 2}]
}

# Compares a reply WITHSCORES with the elements of a twin, name -> vector: every
# score is right, none is missing and none that is better was left out.
proc check_hits {reply twin query type count {tolerance 1e-5}} {
    set q [prepared $query $type]
    set scores {}
    dict for {name v} $twin {
        lappend scores [score_of [prepared $v $type] $q $type]
        set score_of_name($name) [lindex $scores end]
    }
    set best [lrange [lsort -real -decreasing $scores] 0 [expr {$count - 1}]]
    assert_equal [llength $best] [expr {[llength $reply] / 2}]
    assert_equal [llength $best] [dict size $reply]
    foreach {name score} $reply want $best {
        assert {[info exists score_of_name($name)]} "($name is not in the set)"
        assert_near $score_of_name($name) $score $tolerance
        assert_near $want $score $tolerance
    }
}

start_server {} {
    set two [client]
    set three [client]
    $three hello 3
    r vadd g VALUES 2 1 0 east NOQUANT SETATTR {{"n":1}}
    r vadd g VALUES 2 0 1 north NOQUANT
    r vadd g VALUES 2 -1 0 west NOQUANT SETATTR {{"n":3}}
    set query {VALUES 2 3 4}

    # ---- shapes --------------------------------------------------------------

    test "VSIM returns names, nearest first" {
        set names {*3 $5 north $4 east $4 west}
        assert_wires $names $names vsim g {*}$query
        assert_wires $names $names vsim g FP32 [fp32 {3 4}]
        assert_wires $names $names vsim g FP16 [binary format H* 00420044]
        assert_wires $names $names vsim g BF16 [binary format H* 40408040]
        assert_wires {*1 $4 west} {*1 $4 west} vsim g ELE west COUNT 1
    }

    test "VSIM WITHSCORES returns pairs, in RESP3 a map of doubles" {
        assert_wires {*6 $5 north $18 0.9000000059604645 $4 east $17 0.800000011920929
            $4 west $19 0.19999998807907104} \
            {%3 $5 north ,0.9000000059604645 $4 east ,0.800000011920929
            $4 west ,0.19999998807907104} vsim g {*}$query WITHSCORES
        assert_wires {*6 $4 east $1 1 $5 north $3 0.5 $4 west $1 0} \
            {%3 $4 east ,1 $5 north ,0.5 $4 west ,0} vsim g ELE east WITHSCORES
    }

    test "VSIM WITHATTRIBS returns pairs, in RESP3 a map; null without attribute" {
        assert_wires {*6 $5 north $-1 $4 east $7 {{"n":1}} $4 west $7 {{"n":3}}} \
            {%3 $5 north _ $4 east $7 {{"n":1}} $4 west $7 {{"n":3}}} \
            vsim g {*}$query WITHATTRIBS
    }

    test "VSIM with scores and attributes, in either order, gives scores first" {
        foreach options {{WITHSCORES WITHATTRIBS} {withattribs withscores}} {
            assert_wires {*9 $5 north $18 0.9000000059604645 $-1
                $4 east $17 0.800000011920929 $7 {{"n":1}}
                $4 west $19 0.19999998807907104 $7 {{"n":3}}} \
                {%3 $5 north *2 ,0.9000000059604645 _
                $4 east *2 ,0.800000011920929 $7 {{"n":1}}
                $4 west *2 ,0.19999998807907104 $7 {{"n":3}}} \
                vsim g {*}$query {*}$options
        }
    }

    test "VSIM that finds nothing is an empty array, with details an empty map" {
        assert_wires *0 *0 vsim g {*}$query FILTER {.n == 9}
        foreach options {WITHSCORES WITHATTRIBS {WITHSCORES WITHATTRIBS}} {
            assert_wires *0 %0 vsim g {*}$query FILTER {.n == 9} {*}$options
            assert_wires *0 %0 vsim g {*}$query EPSILON 0.01 {*}$options
        }
    }

    test "VSIM of a missing key is an empty array, whatever follows" {
        foreach words {{ELE x} {ELE x WITHSCORES} {any words at all} {FP32 x WITHATTRIBS}
                       {VALUES 0 WITHSCORES WITHATTRIBS} {ELE x COUNT nan}} {
            assert_wires *0 *0 vsim none {*}$words
        }
    }

    # ---- options -------------------------------------------------------------

    test "COUNT bounds the answer; ten is the default; the last one wins" {
        for {set i 0} {$i < 30} {incr i} { r vadd thirty VALUES 2 1 $i e$i }
        assert_equal 10 [llength [r vsim thirty ELE e3]]
        assert_equal 1 [llength [r vsim thirty ELE e3 COUNT 1]]
        assert_equal 30 [llength [r vsim thirty ELE e3 COUNT 30]]
        assert_equal 30 [llength [r vsim thirty ELE e3 COUNT 9223372036854775807]]
        assert_equal 4 [llength [r vsim thirty ELE e3 COUNT 20 count 4]]
    }

    test "EPSILON cuts what is farther away, and keeps what is just so far" {
        assert_equal {north east} [r vsim g {*}$query EPSILON 0.5]
        assert_equal {north} [r vsim g {*}$query EPSILON 0.15]
        assert_equal {east north} [r vsim g ELE east EPSILON 0.5]
        assert_equal {east} [r vsim g ELE east EPSILON 0.49999]
        assert_equal {east} [r vsim g ELE east EPSILON 1e-300]
        assert_equal {east north west} [r vsim g ELE east EPSILON 1]
        assert_equal {east north west} [r vsim g ELE east EPSILON inf]
        assert_equal {east} [r vsim g ELE east EPSILON 1 EPSILON .1]
        # 0.3 is no float32, and neither is the distance that is meant by it.
        r vadd e VALUES 4 1 0 0 0 a NOQUANT
        assert_equal {a} [r vsim e VALUES 4 .5 .25 .5 -1 EPSILON 0.3]
        assert_equal {} [r vsim e VALUES 4 .5 .25 .5 -1 EPSILON 0.29999]
    }

    test "EF, FILTER-EF, TRUTH and NOTHREAD change no answer" {
        set want [r vsim thirty ELE e3 WITHSCORES COUNT 20]
        foreach options {TRUTH NOTHREAD {EF 1} {EF 1000000} {FILTER-EF 1} {ef 5 truth nothread}
                         {FILTER-EF 9223372036854775807 NOTHREAD EF 10 EF 20}} {
            assert_equal $want [r vsim thirty ELE e3 WITHSCORES COUNT 20 {*}$options]
        }
    }

    test "COUNT elements pass a filter before COUNT is reached" {
        for {set i 0} {$i < 2000} {incr i} {
            r send vadd rare VALUES 2 1 $i e$i SETATTR "{\"n\":$i}"
        }
        for {set i 0} {$i < 2000} {incr i} { r read }
        assert_equal {e500 e1000 e1500} [lsort -dictionary \
            [r vsim rare VALUES 2 1 0 FILTER {.n % 500 == 0 and .n > 0} COUNT 10 FILTER-EF 1]]
    }

    # ---- numbers -------------------------------------------------------------

    test "Scores: 1 for the same direction, 0.5 across, 0 for the opposite" {
        foreach type {NOQUANT Q8 BIN} {
            foreach dim {1 2 64 65 512} {
                set v {}
                set opposite {}
                for {set i 0} {$i < $dim} {incr i} {
                    lappend v [expr {$i % 2 ? 127 : -127}]
                    lappend opposite [expr {$i % 2 ? -3 : 3}]
                }
                set key $type$dim
                r vadd $key VALUES $dim {*}$v a $type
                r vadd $key VALUES $dim {*}$opposite b $type
                lassign [r vsim $key VALUES $dim {*}$v WITHSCORES] a near b far
                assert_equal {a b} [list $a $b]
                assert_near 1 $near 1e-6
                assert_near 0 $far 1e-6
            }
        }
        r vadd same VALUES 2 1 1 a
        assert_equal {a 1} [r vsim same VALUES 2 1 1 WITHSCORES]
        assert_equal {a 1} [r vsim same VALUES 2 7 7 WITHSCORES]
    }

    test "A zero vector scores exactly 0.5 with everything but in BIN" {
        foreach type {NOQUANT Q8} {
            r vadd z$type VALUES 3 0 0 0 zero $type
            r vadd z$type VALUES 3 1 2 3 one $type
            assert_equal {0.5 0.5} [dict values [r vsim z$type VALUES 3 0 0 0 WITHSCORES]]
            assert_equal 0.5 [dict get [r vsim z$type VALUES 3 1 2 3 WITHSCORES] zero]
            assert_equal 0.5 [dict get [r vsim z$type ELE zero WITHSCORES] zero]
        }
    }

    test "An element is found by itself" {
        foreach {type floor} {NOQUANT 0.99999 Q8 0.999 BIN 1} {
            for {set i 0} {$i < 20} {incr i} {
                r vadd self$type VALUES 16 {*}[random_vector 16] e$i $type
            }
            lassign [r vsim self$type ELE e7 WITHSCORES] name score
            assert_equal e7 $name
            assert {$score >= $floor && $score <= 1.00001}
        }
    }

    test "VSIM finds the nearest of random sets, with the scores an obvious computation gives" {
        foreach type {NOQUANT Q8 BIN} {
            foreach {dim size} {1 20 3 50 17 60 64 40 130 30} {
                set twin {}
                for {set i 0} {$i < $size} {incr i} {
                    set v [random_vector $dim]
                    dict set twin e$i $v
                    r vadd k FP32 [fp32 $v] e$i $type
                }
                # Ranges of codes are float32: a rounding edge may move one code.
                set tolerance [expr {$type eq "Q8" ? 1e-3 : 1e-5}]
                foreach count {1 7 100} {
                    set q [random_vector $dim]
                    check_hits [r vsim k FP32 [fp32 $q] WITHSCORES COUNT $count TRUTH] \
                        $twin $q $type $count $tolerance
                }
                r del k
            }
        }
    }

    test "VSIM follows additions, replacements and removals" {
        set twin {}
        for {set step 0} {$step < 600} {incr step} {
            set name e[expr {int(rand() * 60)}]
            if {rand() < 0.35} {
                assert_equal [dict exists $twin $name] [r vrem k $name]
                dict unset twin $name
            } else {
                set v [random_vector 5]
                assert_equal [expr {![dict exists $twin $name]}] \
                    [r vadd k VALUES 5 {*}$v $name NOQUANT]
                dict set twin $name $v
            }
            if {$step % 20 == 0 && [dict size $twin]} {
                set q [random_vector 5]
                check_hits [r vsim k VALUES 5 {*}$q WITHSCORES COUNT 25] $twin $q NOQUANT 25
            }
        }
        assert_equal [dict size $twin] [r vcard k]
    }
}
