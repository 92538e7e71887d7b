# VESTIMATE: what a set would take, against what sets take.

proc estimated {args} { return [r vestimate {*}$args] }

proc names_of {n} {
    set out {}
    for {set i 0} {$i < $n} {incr i} { lappend out [format e%07d $i] }
    return $out
}

# n elements of d dimensions with names of 8 bytes, all of them drawn from a few
# hundred vectors that are made fast, and a number that makes each unlike others.
proc fill {key n d options {attribute ""}} {
    r vcreate $key DIM $d {*}$options
    set rest [expr {$d - 1}]
    set some {}
    for {set i 0} {$i < 64} {incr i} { lappend some [fp32 [random_vector $rest]] }
    set names [names_of $n]
    for {set from 0} {$from < $n} {incr from 5000} {
        set part [lrange $names $from $from+4999]
        set blob ""
        for {set i 0} {$i < [llength $part]} {incr i} {
            append blob [lindex $some [expr {int(rand() * 64)}]] [fp32 [list [expr {rand()}]]]
        }
        set attrs [expr {$attribute eq "" ? {} : [list ATTRS {*}[lrepeat [llength $part] $attribute]]}]
        r vmadd $key [llength $part] FP32 $blob {*}$part {*}$attrs
    }
    wait_for_none {[dict get [r vinfo $key] pending-index]}
    wait_for {[dict get [r vinfo $key] pending-index] == 0 && [dict get [r vinfo $key] index-job] eq "none"}
}

# Each part within percent of the whole, and the whole within that.
proc check {key percent args} {
    set said [estimated {*}$args NAMELEN 8]
    set info [r vinfo $key]
    set took [r memory usage $key]
    assert_equal [dict get $info index] [dict get $said index] "index of $args"
    foreach part {code-bytes name-bytes attribute-bytes index-bytes memory-bytes} {
        set want [expr {$part eq "memory-bytes" ? $took : [dict get $info $part]}]
        set got [dict get $said $part]
        assert {abs($got - $want) <= $took * $percent / 100.0} "$part of $args: estimated $got, takes $want of $took"
    }
}

start_server {} {
    test {VESTIMATE is within a few percent of what small sets take} {
        r flushall
        foreach {n d options} {1 3 {} 10 64 {} 100 128 {NOQUANT} 3000 100 {BIN} 1000 768 {FP16 INDEX FLAT}} {
            fill s $n $d $options
            check s [expr {$n < 50 ? 25 : 4}] DIM $d COUNT $n {*}$options
            r del s
        }
    }

    test {VESTIMATE is within a few percent of what sets with a graph take} {
        r flushall
        foreach {n d options} {20000 16 {} 6000 200 {NOQUANT INDEX HNSW} 9000 40 {BF16 INDEX HNSW M 8 METRIC L2}} {
            fill s $n $d $options
            check s 3 DIM $d COUNT $n {*}$options
            r del s
        }
    }

    # What they give back when nobody writes to them is not in it; of small sets
    # the page more or less that rests is some percent.
    test {VESTIMATE is within a few percent of what sets with lists take} {
        r flushall
        foreach {n d options nlist} {40000 128 {} 200 30000 40 {METRIC L2} 64} {
            fill s $n $d [concat $options {INDEX FLAT}]
            r vtrain s IVF NLIST $nlist
            set of [list DIM $d COUNT $n {*}$options INDEX IVF NLIST $nlist]
            set said [dict get [estimated {*}$of NAMELEN 8] memory-bytes]
            wait_for {[dict get [r vinfo s] index-job] eq "none" && [r memory usage s] < $said * 1.2}
            check s 20 {*}$of
            r del s
        }
    }

    test {VESTIMATE knows attributes by one of them} {
        r flushall
        set json {{"year": 1984, "title": "a title that is not short"}}
        fill s 5000 32 {INDEX FLAT} $json
        check s 3 DIM 32 COUNT 5000 INDEX FLAT SETATTR $json
    }

    test {VESTIMATE of more than fits anywhere is a large number} {
        set said [estimated DIM 1536 COUNT 4000000000 NOQUANT]
        assert {[dict get $said memory-bytes] > 4000000000 * 1536 * 4} "memory-bytes"
        assert {[dict get $said bytes-per-element] < 1536 * 6} "bytes-per-element"
        set said [estimated DIM 1 COUNT 0]
        assert_equal flat [dict get $said index]
        assert {[dict get $said memory-bytes] < 2000} "memory-bytes of nothing"
        assert_near 0 [dict get $said bytes-per-element]
    }

    test {VESTIMATE of lists is less than of a graph,} {
        set of {DIM 128 COUNT 1000000}
        set flat [dict get [estimated {*}$of INDEX FLAT] memory-bytes]
        set hnsw [dict get [estimated {*}$of INDEX HNSW] memory-bytes]
        set ivf [dict get [estimated {*}$of INDEX IVF] memory-bytes]
        assert {$flat < $ivf && $ivf < $hnsw} "$flat $ivf $hnsw"
    }

    test {VESTIMATE says what is wrong} {
        assert_error {ERR wrong number*} {r vestimate DIM 3 COUNT}
        assert_error {ERR syntax error*} {r vestimate DIN 3 COUNT 1}
        assert_error {ERR syntax error*} {r vestimate DIM 3 COUNTS 1}
        assert_error {ERR invalid DIM*} {r vestimate DIM 0 COUNT 1}
        assert_error {ERR invalid COUNT*} {r vestimate DIM 3 COUNT -1}
        assert_error {ERR invalid COUNT*} {r vestimate DIM 3 COUNT 5000000000}
        assert_error {ERR invalid INDEX*} {r vestimate DIM 3 COUNT 1 INDEX TREE}
        assert_error {ERR invalid METRIC*} {r vestimate DIM 3 COUNT 1 METRIC L3}
        assert_error {ERR invalid M*} {r vestimate DIM 3 COUNT 1 M 2}
        assert_error {ERR syntax error*} {r vestimate DIM 3 COUNT 1 M}
        assert_error {ERR syntax error*} {r vestimate DIM 3 COUNT 1 Q9}
        assert_error {ERR invalid NAMELEN*} {r vestimate DIM 3 COUNT 1 NAMELEN -1}
        assert_error {ERR NLIST, PQ and DISCARD are for INDEX IVF} {r vestimate DIM 3 COUNT 1 PQ 3}
        assert_error {ERR DISCARD is for PQ*} {r vestimate DIM 3 COUNT 1 INDEX IVF DISCARD}
        assert_error {ERR PQ 7 does not divide*} {r vestimate DIM 128 COUNT 1000 INDEX IVF PQ 7}
    }
}
