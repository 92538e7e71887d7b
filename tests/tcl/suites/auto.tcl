# Sets that choose their index themselves: when they have which, and why.

proc info_of {key field} { return [dict get [r vinfo $key] $field] }

# Adds rows as a client does that comes again when memory is short.
proc fill {key n d} {
    set some {}
    for {set i 0} {$i < 64} {incr i} { lappend some [fp32 [random_vector [expr {$d / 4}]]] }
    for {set from 0} {$from < $n} {incr from 500} {
        set names {}
        set blob ""
        for {set i $from} {$i < $from + 500 && $i < $n} {incr i} {
            lappend names e$i
            for {set k 0} {$k < 4} {incr k} { append blob [lindex $some [expr {int(rand() * 64)}]] }
        }
        wait_for {![catch {r vmadd $key [llength $names] FP32 $blob {*}$names} e] ||
                  ![string match OOM* $e] && [error $e]}
    }
}

start_server {} {
    test {a set that is to choose says what it has and why} {
        r flushall
        r vcreate s DIM 8
        r vadd s VALUES 8 1 2 3 4 5 6 7 8 a
        assert_equal flat [info_of s index]
        assert_match {*scanned faster*} [info_of s index-why]
        fill s 13000 8
        wait_for {[info_of s index] eq "hnsw"}
        assert_match {*room for a graph*} [info_of s index-why]
        r vcreate t DIM 8 INDEX FLAT
        assert_match {*asked for*} [info_of t index-why]
    }

    test {a set has lists when maxmemory leaves no room for a graph, and keeps them} {
        r flushall
        r vcreate s DIM 64 METRIC L2
        fill s 10000 64
        set need [dict get [r vestimate DIM 64 COUNT 25000 INDEX HNSW] index-bytes]
        set rows [expr {[dict get [r vestimate DIM 64 COUNT 25000 INDEX FLAT] memory-bytes] +
                        [dict get [r vestimate DIM 64 COUNT 25000 INDEX IVF] index-bytes]}]
        r config set maxmemory [expr {[info_field used_memory] + $rows + $need / 2}]
        fill s 25000 64
        wait_for {[info_of s index] eq "ivf"}
        assert_equal auto [info_of s index-asked]
        assert_match {*maxmemory leaves*} [info_of s index-why]
        assert_equal 25000 [r vcard s]
        assert_equal 10 [llength [r vsearch s ELE e7 K 10]]
        r config set maxmemory 0
        assert_match {*less than an hour ago*} [info_of s index-why]
        assert_equal ivf [info_of s index]
        r debug vcheck s
        r vmrem s {*}[lrange [r vrange s - +] 0 22000]
        wait_for {[info_of s index] eq "flat"}
        r debug vcheck s
    }

    test {a graph gives way to writes that there would be no room for} {
        r flushall
        r vcreate s DIM 64
        fill s 13000 64
        wait_for_none {[info_of s index] eq "hnsw" ? [info_of s tail] : [r vcard s]}
        r config set maxmemory [expr {[info_field used_memory] + 200000}]
        fill s 18000 64
        r config set maxmemory 0
        assert_equal 18000 [r vcard s]
        r debug vcheck s
    }

    test {lists answer until a graph that is asked for is there} {
        r flushall
        r vcreate s DIM 64
        fill s 9000 64
        r vtrain s IVF
        assert_equal ivf [info_of s index]
        r vtrain s HNSW ASYNC
        while {[set index [info_of s index]] ne "hnsw"} {
            assert_equal ivf $index
            assert_equal 10 [llength [r vsearch s ELE e7 K 10]]
        }
        assert_equal 9000 [r vcard s]
        r debug vcheck s
    }
}
