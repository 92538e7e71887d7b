# maxmemory without eviction: what is refused, what still works, and whether
# the memory that a set is said to take is what it takes.

set oom {OOM command not allowed when used memory > 'maxmemory'.}

proc used {} { return [info_field used_memory] }

# Waits until nothing is on its way to an index.
proc wait_settled {} {
    wait_for_none {[info_field vector_tail_rows]}
    wait_for {[info_field vector_tail_rows] == 0 && [info_field vector_index_jobs] == 0}
}

proc fill_blob {n d} {
    set out ""
    for {set i 0} {$i < $n} {incr i} { append out [fp32 [random_vector $d]] }
    return $out
}

proc fill_names {n {prefix e}} {
    set out {}
    for {set i 0} {$i < $n} {incr i} { lappend out $prefix$i }
    return $out
}

# Puts the limit `more` bytes above what is in use.
proc limit {more} { r config set maxmemory [expr {[used] + $more}] }
proc no_limit {} { r config set maxmemory 0 }

start_server {} {
    test {over the limit what may take memory is refused, and nothing else} {
        r set string x
        r set number 1
        r vadd set VALUES 3 1 2 3 a SETATTR {{"n":1}}
        r config set maxmemory 1
        foreach words {
            {set k v} {mset k v} {append string y} {incr number} {setrange string 1 y}
            {getset string z} {setex k 10 v} {vadd set VALUES 3 4 5 6 b}
            {vadd other VALUES 3 4 5 6 b} {vcreate other DIM 3} {vmadd set 1 FP32 xxxxxxxxxxxx b}
        } {
            assert_error $oom {r {*}$words}
        }
        assert_equal x [r get string]
        assert_equal {a 1} [r vsim set VALUES 3 1 2 3 WITHSCORES]
        assert_equal a [r vsearch set ELE a]
        assert_equal {{"n":1}} [r vgetattr set a]
        assert_equal 1 [r vcard set]
        assert_equal 1 [r expire set 100]
        assert_equal OK [r rename string renamed]
        assert_equal PONG [r ping]
        assert_equal 1 [r vrem set a]
        assert_equal 2 [r del renamed number]
        assert_equal 0 [r dbsize]
        no_limit
        assert_equal OK [r set k v]
        r flushall
    }

    test {the refusal counts as an error of its kind} {
        r config set maxmemory 1
        r config resetstat
        catch {r set k v}
        assert_match {*errorstat_OOM:count=1*} [r info errorstats]
        assert_match {*cmdstat_set:calls=0,*,rejected_calls=1,failed_calls=0*} [r info commandstats]
        no_limit
    }

    test {a command refused while it is queued aborts EXEC} {
        r config set maxmemory 1
        r multi
        assert_error $oom {r set a b}
        assert_equal QUEUED [r get a]
        assert_error {EXECABORT Transaction discarded because of previous errors.} {r exec}
        r multi
        assert_equal QUEUED [r get a]
        assert_equal {{}} [r exec]
        no_limit
        assert_equal 0 [r exists a]
    }

    test {a limit reached before EXEC aborts a transaction that would write} {
        r set seen yes
        set other [client]
        r multi
        r set a b
        r get seen
        $other config set maxmemory 1
        assert_error "EXECABORT Transaction discarded because of: $oom" {r exec}
        r multi
        r get seen
        assert_equal yes [r exec]
        $other config set maxmemory 0
        $other close
        assert_equal 0 [r exists a]
    }

    test {a command within EXEC that finds no room fails alone} {
        r flushall
        r multi
        r set first 1
        r config set maxmemory 1
        r set second 2
        r vadd set VALUES 3 1 2 3 a
        r get first
        set got [r exec]
        no_limit
        assert_equal {OK OK} [lrange $got 0 1]
        assert_equal 1 [lindex $got end]
    }

    test {a vector that does not fit is refused before anything is taken} {
        r flushall
        r vcreate set DIM 60000 FP32
        set blob [fill_blob 1 60000]
        r vadd set FP32 $blob a
        limit 100000
        set before [list [r debug digest-value set] [r memory usage set]]
        assert_error $oom {r vadd set FP32 $blob b}
        assert_error $oom {r vmadd set 1 FP32 $blob b}
        assert_error $oom {r vsetattr set a [string repeat x 200000]}
        assert_equal $before [list [r debug digest-value set] [r memory usage set]]
        assert_equal a [r vsim set ELE a]
        no_limit
        assert_equal 1 [r vadd set FP32 $blob b]
    }

    test {a VMADD that does not fit as a whole adds nothing} {
        r flushall
        foreach type {NOQUANT Q8 BIN} {
            r vcreate set DIM 100 $type
            set blob [fill_blob 1000 100]
            r vmadd set 1 FP32 [string range $blob 0 399] first
            # Enough for the command itself, not for what it would add.
            limit [dict get {NOQUANT 900000 Q8 600000 BIN 520000} $type]
            assert_error $oom {r vmadd set 1000 FP32 $blob {*}[fill_names 1000]}
            assert_equal 1 [r vcard set]
            no_limit
            assert_equal 1000 [r vmadd set 1000 FP32 $blob {*}[fill_names 1000]]
            r del set
        }
        # Long names and attributes count.
        set long [string repeat n 5000]
        set blob [fill_blob 100 4]
        limit 300000
        assert_error $oom {r vmadd set 100 FP32 $blob {*}[fill_names 100 $long]}
        assert_error $oom {r vmadd set 100 FP32 $blob {*}[fill_names 100] ATTRS {*}[lrepeat 100 $long]}
        assert_equal 0 [r exists set]
        no_limit
        r flushall
    }

    test {an answer that needs more memory than there is is refused} {
        r flushall
        r vmadd set 20000 FP32 [string repeat [fill_blob 10 4] 2000] {*}[fill_names 20000]
        limit 100000
        assert_error $oom {r vsearch set ELE e1 K 20000}
        assert_error $oom {r vsim set ELE e1 COUNT 20000}
        assert_equal {{ERR(OOM command not allowed when used memory > 'maxmemory'.)}} \
            [r vmsearch set 1 FP32 [fp32 {1 2 3 4}] K 20000]
        assert_equal 10 [llength [r vsearch set ELE e1]]
        no_limit
        assert_equal 20000 [llength [r vsearch set ELE e1 K 20000]]
        r flushall
    }

    test {memory in use never goes past the limit by more than a command} {
        r flushall
        limit 3000000
        set most [r config get maxmemory]
        set most [lindex $most 1]
        set refused 0
        for {set i 0} {$i < 30000 && $refused < 50} {incr i} {
            if {[catch {r vadd set[expr {$i % 7}] VALUES 4 [expr {rand()}] 2 3 $i element:$i \
                            SETATTR "{\"n\":$i,\"text\":\"[string repeat x [expr {$i % 50}]]\"}"} err]} {
                assert_equal $oom $err
                incr refused
            }
            if {$i % 100 == 0} { assert {[used] < $most + 200000} }
        }
        assert_equal 50 $refused
        assert {[used] < $most + 200000}
        # Removing makes room again.
        r del set0 set1 set2
        wait_for {[used] < $most - 500000}
        assert_equal 1 [r vadd set3 VALUES 4 1 2 3 4 again]
        no_limit
        r flushall
    }

    # Without graphs: what builders need for their work belongs to no set.
    test {MEMORY USAGE of sets adds up to what they took} {
        foreach {n per d words} {2000 10 64 {} 3 20000 100 {} 50 300 32 attrs 1000 1 300 {} 5000 0 16 {}} {
            r flushall
            # Tables of the keyspace are as large as they will be.
            for {set i 0} {$i < $n} {incr i} { r vcreate set$i DIM $d INDEX FLAT }
            r flushall
            wait_for {[info_field lazyfree_pending_objects] == 0}
            set before [used]
            set sum 0
            for {set i 0} {$i < $n} {incr i} {
                r vcreate set$i DIM $d INDEX FLAT
                if {!$per} continue
                set attrs {}
                if {$words eq "attrs"} {
                    set attrs [concat ATTRS [lrepeat $per {{"year":1999,"title":"something"}}]]
                }
                r vmadd set$i $per FP32 [string repeat [fill_blob 1 $d] $per] {*}[fill_names $per] {*}$attrs
            }
            wait_settled
            set grown [expr {[used] - $before}]
            for {set i 0} {$i < $n} {incr i} { incr sum [r memory usage set$i SAMPLES 0] }
            # Besides: the table of keys, about 64 bytes each, and buffers.
            assert {$grown >= $sum - 32768 && $grown <= $sum + 100 * $n + 262144} \
                "$n sets of $per: grew by $grown, said $sum"
            assert {$n < 100 || $per || $sum / $n <= 1024} "an empty set takes [expr {$sum / $n}]"
        }
        r flushall
    }

    # Nobody sends anything meanwhile: it comes back by itself.
    if {[string match jemalloc* [info_field mem_allocator]]} {
        test {the system has the memory of a set again while the server rests} {
            proc resident {} {
                set f [open /proc/[srv pid]/statm]
                set pages [lindex [read $f] 1]
                close $f
                return $pages
            }
            set blob [fill_blob 1000 100]
            set before [resident]
            r vcreate rests DIM 100 INDEX FLAT
            for {set i 0} {$i < 300} {incr i} {
                r vmadd rests 1000 FP32 $blob {*}[fill_names 1000 $i:]
            }
            set most [expr {$before + ([resident] - $before) / 2}]
            r del rests
            wait_for {[resident] < $most}
        }
    }

    test {memory comes back when sets go} {
        r flushall
        wait_for {[info_field lazyfree_pending_objects] == 0}
        set before [used]
        for {set round 0} {$round < 3} {incr round} {
            for {set i 0} {$i < 10} {incr i} {
                r vmadd set$i 500 FP32 [fill_blob 500 50] {*}[fill_names 500] \
                    ATTRS {*}[lrepeat 500 {{"a":1}}]
            }
            switch $round {
                0 { for {set i 0} {$i < 10} {incr i} { r del set$i } }
                1 { for {set i 0} {$i < 10} {incr i} { r vmrem set$i {*}[fill_names 500] } }
                2 { r flushdb }
            }
            wait_for {[used] < $before + 100000} "round $round: [used] after $before"
        }
    }

    test {INFO memory tells of the limit and the use} {
        no_limit
        assert_equal {0 0B noeviction} \
            [list [info_field maxmemory] [info_field maxmemory_human] [info_field maxmemory_policy]]
        r config set maxmemory 100mb
        assert_equal {104857600 100.00M} [list [info_field maxmemory] [info_field maxmemory_human]]
        set most [info_field used_memory_peak]
        set now [used]
        assert {$most >= $now || $now - $most < 100000}
        foreach f {used_memory_rss used_memory_peak used_memory_startup used_memory_dataset
                   used_memory_overhead total_system_memory mem_clients_normal} {
            assert {[string is entier -strict [info_field $f]] && [info_field $f] >= 0} $f
        }
        assert_match {*%} [info_field used_memory_peak_perc]
        assert_match jemalloc* [string map {libc jemalloc} [info_field mem_allocator]]
        r set big [string repeat x 5000000]
        assert {[info_field used_memory_peak] >= 5000000}
        r del big
        wait_for {[used] < 5000000 + $now}
        assert {[info_field used_memory_peak] >= 5000000}
        no_limit
    }

    test {what rows that wait for a graph will take counts, so that the graph stays below the limit} {
        no_limit
        r flushall
        wait_for {[info_field lazyfree_pending_objects] == 0}
        r vcreate s DIM 32 INDEX HNSW
        limit 3000000
        set n 0
        while {![catch {r vmadd s 500 FP32 [fill_blob 500 32] {*}[fill_names 500 $n.]} why]} {
            incr n
        }
        assert_equal $oom $why
        assert {$n > 10} "only $n times 500 rows found room"
        wait_settled
        set most [lindex [r config get maxmemory] 1]
        assert {[used] <= $most + 300000} "[used] of $most in use"
        assert {[used] >= $most * 7 / 10} "only [used] of $most in use"
        assert_equal 0 [info_field mem_promised_to_graphs]
        r del s
        no_limit
    }

    test {an index that would not find room is refused} {
        r flushall
        wait_for {[info_field lazyfree_pending_objects] == 0}
        r vcreate s DIM 32 INDEX FLAT
        for {set n 0} {$n < 20} {incr n} {
            r vmadd s 500 FP32 [fill_blob 500 32] {*}[fill_names 500 $n.]
        }
        limit 200000
        assert_error $oom {r vtrain s HNSW}
        assert_error $oom {r vtrain s IVF NLIST 64}
        assert_equal flat [dict get [r vinfo s] index]
        no_limit
        assert_equal OK [r vtrain s HNSW]
        assert_equal OK [r vtrain s IVF NLIST 64]
        r del s
        assert_equal 0 [info_field mem_promised_to_graphs]
    }

    test {a limit below what is in use refuses writes until enough is gone} {
        r flushall
        r set big [string repeat x 2000000]
        wait_for {[info_field lazyfree_pending_objects] == 0}
        r config set maxmemory [expr {[used] - 1000000}]
        assert_error $oom {r set small 1}
        r del big
        wait_for {![catch {r set small 1}]}
        no_limit
    }
}
