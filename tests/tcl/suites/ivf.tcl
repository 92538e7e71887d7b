# Sets with lists: how they are asked for, what is said about them, that no
# write is ever missed, and that files and the log keep what was trained.

proc info_of {key field {connection r}} { return [dict get [$connection vinfo $key] $field] }
proc infos_of {key args} { set all [r vinfo $key]; return [lmap f $args { dict get $all $f }] }

# Nothing is under way and nothing waits that would be worth while moving.
proc settled {key} {
    wait_for {[info_of $key ivf-phase] eq "idle"} "for the lists of $key"
}

# As many lists as were asked for, and few more: one that has grown too long is split.
proc has_lists {key n} {
    set got [info_of $key ivf-nlist]
    return [expr {$got >= $n && $got <= $n + 8}]
}

proc names {n {from 0} {prefix e}} {
    set out {}
    for {set i $from} {$i < $from + $n} {incr i} { lappend out $prefix$i }
    return $out
}

# n vectors in some 50 clusters.
proc blob {n d} {
    global centres
    if {![info exists centres($d)]} {
        for {set i 0} {$i < 50} {incr i} { lappend centres($d) [random_vector $d] }
        for {set i 0} {$i < 400} {incr i} {
            set row {}
            foreach x [lindex $centres($d) [expr {$i % 50}]] { lappend row [expr {$x + rand() / 5}] }
            lappend centres(rows,$d) [fp32 $row]
        }
    }
    set out ""
    for {set i 0} {$i < $n} {incr i} { append out [lindex $centres(rows,$d) [expr {int(rand() * 400)}]] }
    return $out
}

# Each differs from all others by a little in the first component.
proc add {key n d {from 0}} {
    set blob [blob $n $d]
    set out ""
    for {set i 0} {$i < $n} {incr i} {
        append out [fp32 [expr {rand() * 2 - 1}]] [string range $blob [expr {4 * $d * $i + 4}] [expr {4 * $d * ($i + 1) - 1}]]
    }
    r vmadd $key $n FP32 $out {*}[names $n $from]
}

# Searches through lists against scans of everything.
proc share_found {key d {n 20} args} {
    set found 0
    for {set i 0} {$i < $n} {incr i} {
        set query [list FP32 [blob 1 $d]]
        set exact [r vsearch $key {*}$query EXACT WITHDISTANCES]
        set limit [lindex $exact end]
        foreach {e distance} [r vsearch $key {*}$query WITHDISTANCES {*}$args] {
            incr found [expr {$distance <= $limit}]
        }
    }
    return [expr {$found / (10.0 * $n)}]
}

start_server {} {
    test {VTRAIN refuses what it cannot do, and says why} {
        r flushall
        assert_error {ERR key does not exist} {r vtrain nothing IVF}
        r set string x
        assert_error WRONGTYPE* {r vtrain string IVF}
        r vcreate set DIM 12 FP32
        assert_error {ERR the set is empty, there is nothing to train on} {r vtrain set IVF}
        add set 50 12
        foreach {error words} {
            {ERR invalid index: there are FLAT, HNSW and IVF} {LSH}
            {ERR syntax error in VTRAIN command} {IVF FAST}
            {ERR syntax error in VTRAIN command} {IVF NLIST}
            {ERR syntax error in VTRAIN command} {IVF PQ}
            {ERR syntax error in VTRAIN command} {IVF M 16}
            {ERR syntax error in VTRAIN command} {IVF TRAINED}
            {ERR syntax error in VTRAIN command} {IVF TRAINED x ASYNC}
            {ERR syntax error in VTRAIN command} {FLAT NLIST 5}
            {ERR syntax error in VTRAIN command} {HNSW NLIST 5}
            {ERR invalid NLIST} {IVF NLIST 0}
            {ERR invalid NLIST} {IVF NLIST 65537}
            {ERR invalid NLIST} {IVF NLIST many}
            {ERR invalid NPROBE} {IVF NPROBE 0}
            {ERR NPROBE is more than NLIST} {IVF NLIST 4 NPROBE 5}
            {ERR invalid SAMPLE} {IVF SAMPLE -1}
            {ERR SAMPLE is less than NLIST} {IVF NLIST 9 SAMPLE 8}
            {ERR invalid ITERATIONS} {IVF ITERATIONS 1001}
            {ERR invalid SEED} {IVF SEED -1}
            {ERR invalid SEED} {IVF SEED x}
            {ERR invalid PQ} {IVF PQ 0}
            {ERR Q8 and PQ exclude each other} {IVF Q8 PQ 4}
            {ERR PQ 5 does not divide the dimension, 12} {IVF PQ 5}
            {ERR too few elements for NLIST 51: there are 50} {IVF NLIST 51}
            {ERR invalid TRAINED} {IVF TRAINED x}
            {ERR invalid TRAINED} {IVF TRAINED ""}
            {ERR invalid TRAINED} {IVF PART 5 x}
            {ERR invalid TRAINED} {IVF PART -1 x}
            {ERR invalid TRAINED} {IVF PART x x}
            {ERR invalid TRAINED} {IVF TRAINED x AFTER 1}
            {ERR invalid TRAINED} {IVF TRAINED x AFTER y}
            {ERR syntax error in VTRAIN command} {IVF PART 0}
            {ERR syntax error in VTRAIN command} {IVF TRAINED x BEFORE 1}
        } {
            assert_error $error {r vtrain set {*}$words}
        }
        r vcreate bits DIM 12 BIN
        add bits 50 12
        assert_error {ERR Q8 and PQ are not for sets of bits} {r vtrain bits IVF Q8}
        assert_error {ERR Q8 and PQ are not for sets of bits} {r vtrain bits IVF PQ 4}
        r vcreate blocks DIM 12 METRIC L1
        add blocks 50 12
        assert_error {ERR PQ is not for the metric L1} {r vtrain blocks IVF PQ 4}
        assert_equal {flat auto} [infos_of set index index-asked]
        assert {![dict exists [r vinfo set] ivf-nlist]}
        assert_error {ERR invalid INDEX: there are AUTO, FLAT, HNSW and IVF} {r vcreate s DIM 3 INDEX LSH}
    }

    test {VTRAIN gives sets of every metric and precision lists} {
        r flushall
        foreach {metric precision} {COSINE Q8 L2 FP32 IP BF16 L1 FP16 COSINE BIN L2 Q8} {
            r vcreate set DIM 32 METRIC $metric $precision
            add set 4000 32
            set before [r debug digest-value set]
            assert_equal OK [r vtrain set IVF NLIST 40 NPROBE 12 SEED 7]
            settled set
            assert_equal {ivf ivf 12} [infos_of set index index-asked ivf-nprobe] "$metric $precision"
            assert {[has_lists set 40]} "$metric $precision: [info_of set ivf-nlist] lists"
            assert {[info_of set ivf-rows] + [info_of set tail] == 4000}
            assert {[info_of set ivf-rows] > 3500} "$metric $precision: [info_of set ivf-rows] rows in lists"
            assert {[info_of set ivf-imbalance] >= 1 && [info_of set ivf-imbalance] < 4}
            assert {abs([info_of set ivf-last-train] - [clock seconds]) < 60}
            assert_equal 4000 [info_of set ivf-last-train-rows]
            assert_equal OK [r debug vcheck set]
            assert_equal $before [r debug digest-value set]
            set share [share_found set 32]
            assert {$share > ($precision eq "BIN" ? 0.6 : 0.85)} "$metric $precision: $share"
            r del set
        }
    }

    test {a write is found by the next search, while lists are trained, filled and after} {
        r flushall
        r vcreate set DIM 16
        add set 6000 16
        r vtrain set IVF NLIST 30 ASYNC
        for {set i 0} {$i < 40} {incr i} {
            if {$i == 25} { settled set; r vtrain set IVF NLIST 50 ASYNC }
            add set 200 16 [expr {10000 + 200 * $i}]
            set v [random_vector 16]
            r vadd set FP32 [fp32 $v] fresh
            assert_equal fresh [r vsim set FP32 [fp32 $v] COUNT 1]
            set v [random_vector 16]
            r vadd set FP32 [fp32 $v] fresh
            assert_equal fresh [r vsim set FP32 [fp32 $v] COUNT 1]
            r vrem set fresh
            assert {[r vsim set FP32 [fp32 $v] COUNT 1] ne "fresh"}
            r vmrem set {*}[names 60 [expr {150 * $i}]]
        }
        wait_for {[has_lists set 50]}
        settled set
        assert_equal [r vcard set] [expr {[info_of set ivf-rows] + [info_of set tail]}]
        assert_equal OK [r debug vcheck set]
        r vmrem set {*}[r vrandmember set 1000000]
        assert_equal 0 [r vcard set]
        assert_equal OK [r debug vcheck set]
        add set 3000 16
        assert {[share_found set 16] > 0.8}
        assert_equal OK [r debug vcheck set]
    }

    test {VTRAIN blocks its client alone; another meanwhile is refused} {
        r flushall
        set other [client]
        r vcreate set DIM 64
        add set 20000 64
        $other send vtrain set IVF NLIST 1000 ITERATIONS 100
        flush [$other channel]
        assert_equal PONG [r ping]
        wait_for {[dict exists [r vinfo set] ivf-phase]}
        if {[info_of set ivf-phase] ne "idle"} {
            set got [catch {r vtrain set IVF} why]
            if {$got} {
                assert_equal {ERR a VTRAIN of this key is under way already} $why
            }
            assert {[info_of set ivf-progress] >= 0 && [info_of set ivf-progress] <= 1}
            catch {r vtrain set HNSW ASYNC} why
        }
        r del set
        catch {$other read} got
        assert {[string match {*the set is gone*} $got] || [string match {*given up*} $got] || $got eq "OK"} $got
        r vcreate set DIM 64
        add set 20000 64
        $other send vtrain set IVF NLIST 1000 ITERATIONS 100
        flush [$other channel]
        wait_for {[dict exists [r vinfo set] ivf-phase]}
        assert_equal OK [r vtrain set FLAT]
        catch {$other read} got
        assert {[string match {*given up*} $got] || $got eq "OK"} $got
        assert_equal flat [info_of set index-asked]
        assert_equal OK [r debug vcheck set]
        $other close
    }

    test {sets go, are renamed, moved and swapped while lists are trained and filled} {
        r flushall
        for {set i 0} {$i < 18} {incr i} {
            r vcreate set DIM 16
            add set 4000 16
            if {$i >= 9} { r vtrain set IVF NLIST 20 }
            r vtrain set IVF NLIST [expr {30 + $i}] ASYNC
            after [expr {$i % 3}]
            switch [expr {$i % 6}] {
                0 { r del set }
                1 {
                    r rename set other
                    wait_for {[has_lists other [expr {30 + $i}]]}
                    settled other
                    assert_equal OK [r debug vcheck other]
                    r del other
                }
                2 { r flushall }
                3 { r flushdb }
                4 {
                    r move set 1
                    r select 1
                    wait_for {[has_lists set [expr {30 + $i}]]}
                    assert_equal OK [r debug vcheck set]
                    r del set
                    r select 0
                }
                5 {
                    r swapdb 0 2
                    r select 2
                    r vmrem set {*}[names 4000]
                    assert_equal OK [r debug vcheck set]
                    r del set
                    r select 0
                }
            }
        }
        wait_for {[info_field vector_index_jobs] == 0 && [info_field vector_trainings] == 0}
        assert_equal {0 0} [list [info_field vector_lists] [info_field vector_tail_rows]]
    }

    test {one kind of index takes the place of another} {
        r flushall
        r vcreate set DIM 16
        add set 5000 16
        set before [r debug digest-value set]
        foreach kind {IVF HNSW IVF FLAT HNSW FLAT IVF IVF HNSW} {
            assert_equal OK [r vtrain set $kind]
            assert_equal [list [string tolower $kind] [string tolower $kind]] [infos_of set index index-asked]
            assert_equal OK [r debug vcheck set]
            assert {[share_found set 16 5 EF 400] > 0.8} $kind
            assert_equal $before [r debug digest-value set]
        }
        assert_equal 5000 [r vcard set]
        assert_equal 0 [info_field vector_lists]
    }

    test {VRECALL with NPROBE looks through so many lists; RECALL and EF about as many as were measured} {
        r flushall
        r vcreate set DIM 16 METRIC L2 FP32
        add set 4000 16
        r vtrain set IVF NLIST 40
        settled set
        set before 0
        foreach n {1 4 12 40} {
            set measured [r vrecall set NPROBE $n SAMPLES 100]
            assert_equal {samples k nprobe recall p50-us p99-us exact-us} [dict keys $measured]
            assert_equal [list 100 10 $n] [lmap f {samples k nprobe} { dict get $measured $f }]
            assert {[dict get $measured recall] + 0.15 >= $before} "$n lists: $measured, before $before"
            set before [dict get $measured recall]
        }
        assert_equal 1 $before
        assert_error {ERR invalid NPROBE} {r vrecall set NPROBE 0}
        assert_error {ERR syntax error in VRECALL command} {r vrecall set NPROBE}
        r vsearch set ELE e1 RECALL 0.9
        wait_for {[info_of set calibrated-at] == 4000} "for the measurement"
        foreach {effort least} {{RECALL 0.9} 0.8 {RECALL 0.98} 0.9 {EF 100} 0.85 {} 0.85} {
            set found 0
            for {set i 0} {$i < 50} {incr i} {
                set exact [r vsearch set ELE e$i EXACT]
                foreach e [r vsearch set ELE e$i {*}$effort] { incr found [expr {$e in $exact}] }
            }
            assert {$found >= $least * 500} "$effort: $found of 500"
        }
        lassign [r vsearch set ELE e1 NPROBE 40 WITHSTATS] found stats
        assert_equal $found [r vsearch set ELE e1 EXACT]
    }

    test {by inner products, too, VRECALL measures and RECALL finds what it says} {
        r flushall
        foreach precision {FP32 Q8} {
            r vcreate set DIM 16 METRIC IP $precision
            add set 4000 16
            r vtrain set IVF NLIST 40
            settled set
            set all [r vrecall set NPROBE 40 SAMPLES 100]
            set few [r vrecall set NPROBE 2 SAMPLES 100]
            assert {[dict get $all recall] >= 0.99} $all
            assert {[dict get $few recall] <= [dict get $all recall]} "$few $all"
            r vsearch set ELE e1 RECALL 0.9
            wait_for {[info_of set calibrated-at] == 4000} "for the measurement"
            foreach {effort least} {{RECALL 0.9} 0.75 {RECALL 0.99} 0.85} {
                set found 0
                for {set i 0} {$i < 50} {incr i} {
                    set exact [r vsearch set ELE e$i EXACT]
                    foreach e [r vsearch set ELE e$i {*}$effort] { incr found [expr {$e in $exact}] }
                }
                assert {$found >= $least * 500} "$precision $effort: $found of 500"
            }
            r del set
        }
    }

    test {VTRAIN of rows that are all alike, all zero, of one dimension or of thousands} {
        r flushall
        foreach {n d row} {300 8 alike 300 8 zero 300 1 alike 300 1 random 80 4096 random} {
            for {set i 0} {$i < $n} {incr i} {
                set v [switch $row alike { lrepeat $d 1.5 } zero { lrepeat $d 0 } random { random_vector $d }]
                r vadd set FP32 [fp32 $v] e$i
            }
            foreach options [list {NLIST 1} "NLIST $n" {NLIST 4 ITERATIONS 1 SAMPLE 4} "NLIST 4 PQ [expr {($d + 1) / 2}]" {}] {
                assert_equal OK [r vtrain set IVF {*}$options] "$n x $d $row $options"
                settled set
                assert_equal OK [r debug vcheck set] "$n x $d $row $options"
                assert_equal $n [llength [r vsim set ELE e0 COUNT [expr {$n + 5}] EF 100000]] "$n x $d $row $options"
                assert_equal 10 [llength [r vsearch set ELE e0]]
            }
            assert_error "ERR too few elements for NLIST [expr {$n + 1}]: there are $n" {r vtrain set IVF NLIST [expr {$n + 1}]}
            r del set
        }
    }

    test {in a transaction nobody waits} {
        r flushall
        r vcreate set DIM 16
        add set 3000 16
        r multi
        r vadd set FP32 [fp32 [random_vector 16]] fresh
        r vtrain set IVF NLIST 20
        r vsim set ELE fresh COUNT 1
        r debug vcheck set
        assert_equal {1 OK fresh OK} [r exec]
        wait_for {[info_of set index] eq "ivf"}
        settled set
        assert_equal OK [r debug vcheck set]
    }

    test {a set that was made for lists gets them when it has grown} {
        r flushall
        r vcreate set DIM 8 INDEX IVF
        assert_equal {flat ivf} [infos_of set index index-asked]
        for {set i 0} {$i < 6} {incr i} { add set 5000 8 [expr {5000 * $i}] }
        wait_for {[info_of set index] eq "ivf"}
        settled set
        assert_equal OK [r debug vcheck set]
        assert_equal {1 0} [list [info_field vector_lists] [info_field vector_trainings]]
    }
}

# ---- files -------------------------------------------------------------------

# What must be the same after a way through a file.
proc of_lists {key} {
    return [infos_of $key index index-asked size ivf-nlist ivf-nprobe ivf-last-train ivf-last-train-rows]
}

start_server {} {
    test {a snapshot keeps lists, and which row is in which} {
        r flushall
        foreach {key precision} {plain Q8 floats FP32 bits BIN} {
            r vcreate $key DIM 24 $precision
            add $key 5000 24
            r vtrain $key IVF NLIST 32 NPROBE 5 SEED 3
            r vmrem $key {*}[names 700 300]
            add $key 100 24 6000
            r vsetattr $key e0 {{"n":1}}
            settled $key
        }
        set before [lmap key {plain floats bits} { list {*}[of_lists $key] {*}[infos_of $key ivf-rows tail] }]
        set digest [r debug digest]
        r save
        exec [file join [file dirname $harness::binary] vectra-check-rdb] [srv dir]/dump.rdb
        r debug reload
        assert_equal $digest [r debug digest]
        set after [lmap key {plain floats bits} { list {*}[of_lists $key] {*}[infos_of $key ivf-rows tail] }]
        foreach b $before a $after {
            assert_equal [lrange $b 0 end-2] [lrange $a 0 end-2]
            # What was moved meanwhile is in lists, too.
            assert {[lindex $a end-1] >= [lindex $b end-1]} "$b, $a"
        }
        foreach key {plain floats bits} {
            assert_equal OK [r debug vcheck $key]
            assert {[share_found $key 24 5] > 0.5}
        }
        # They live on.
        add plain 2000 24 20000
        r vmrem plain {*}[names 1000]
        settled plain
        assert_equal OK [r debug vcheck plain]
    }

    test {DUMP and RESTORE, COPY and a snapshot in the middle of things} {
        r flushall
        r vcreate set DIM 24
        add set 6000 24
        set payload [r dump set]
        r vtrain set IVF NLIST 64
        settled set
        set trained [r dump set]
        r copy set copy
        r restore restored 0 $trained
        foreach key {copy restored} {
            assert_equal [of_lists set] [of_lists $key]
            assert_equal [r debug digest-value set] [r debug digest-value $key]
            assert_equal OK [r debug vcheck $key]
        }
        r restore again 0 [r dump restored]
        assert_equal [of_lists set] [of_lists again]
        # Begun before, ended after.
        for {set i 0} {$i < 6} {incr i} {
            r restore fresh$i 0 $payload
            r vtrain fresh$i IVF NLIST [expr {40 + $i}] ASYNC
            after [expr {$i * 3}]
            r copy fresh$i other$i
            if {$i % 2} { r debug reload }
        }
        for {set i 0} {$i < 6} {incr i} {
            foreach key [list fresh$i other$i] {
                wait_for {[info_of $key index] eq "ivf" && [info_of $key ivf-phase] eq "idle"} "for $key"
                assert {[has_lists $key [expr {40 + $i}]]} "[info_of $key ivf-nlist] lists of $key"
                assert_equal OK [r debug vcheck $key]
                assert_equal [r debug digest-value set] [r debug digest-value $key]
            }
        }
        # Emptied ones.
        r vcreate empty DIM 24
        add empty 3000 24
        r vtrain empty IVF
        r vmrem empty {*}[names 3000]
        r copy empty emptier
        r debug reload
        foreach key {empty emptier} {
            assert_equal {ivf 0} [infos_of $key index size]
            assert_equal OK [r debug vcheck $key]
            add $key 500 24
            assert_equal OK [r debug vcheck $key]
        }
    }
}

# Kills the server as a crash would and starts it again on the same files.
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
        test "the log keeps what was trained, not the training; preamble $preamble" {
            r vcreate set DIM 16
            add set 5000 16
            r vtrain set IVF NLIST 40 NPROBE 6
            # Trained in the background, under another name and elsewhere by then.
            r select 3
            r vcreate first DIM 16
            add first 4000 16
            r vtrain first IVF NLIST 50 ASYNC
            r rename first second
            r select 0
            add set 1000 16 9000
            r vmrem set {*}[names 500 100]
            r select 3
            wait_for {[info_of second index] eq "ivf" && [info_of second ivf-phase] eq "idle"}
            set second [of_lists second]
            r select 0
            settled set
            set set [of_lists set]
            set digest [r debug digest]
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
                wait_for {[info_field vector_index_jobs] == 0}
                settled set
                assert_equal $set [of_lists set] "round $round"
                assert_equal OK [r debug vcheck set]
                r select 3
                settled second
                assert_equal $second [of_lists second] "round $round"
                assert_equal OK [r debug vcheck second]
                r select 0
                assert {[info_of set ivf-rows] > 5000}
            }
        }

        test "much that was trained gets into the log in parts, between writes; preamble $preamble" {
            r flushall
            r vcreate set DIM 256
            add set 1000 256
            # 400 KiB of centroids: 7 parts. The log begins anew meanwhile, the
            # set has another name now and then, and is written to.
            for {set n 0} {$n < 2} {incr n} {
                r vtrain set IVF NLIST [expr {400 + $n}] ITERATIONS 1 ASYNC
                r bgrewriteaof
                while {[dict exists [r vinfo set] ivf-phase] && [info_of set ivf-phase] ne "idle"} {
                    add set 10 256 [expr {1000 + int(rand() * 1000)}]
                    r rename set other
                    r rename other set
                }
                wait_for {[has_lists set [expr {400 + $n}]] && [info_of set ivf-phase] eq "idle"}
                wait_for {![info_field aof_rewrite_in_progress]}
                set digest [r debug digest]
                set before [info_of set ivf-nlist]
                crash_and_restart
                assert_equal $digest [r debug digest]
                wait_for {[info_of set ivf-phase] eq "idle"}
                assert_equal $before [info_of set ivf-nlist]
                assert_equal OK [r debug vcheck set]
            }
        }

        test "a training that a crash ended is begun again; preamble $preamble" {
            r flushall
            for {set i 0} {$i < 4} {incr i} {
                r vcreate set$i DIM 16
                add set$i 4000 16
                r vtrain set$i IVF NLIST [expr {60 + $i}] ITERATIONS 200 ASYNC
                add set$i 10 16 20000
                if {$i == 1} { r bgrewriteaof }
            }
            set digest [r debug digest]
            crash_and_restart
            assert_equal $digest [r debug digest]
            for {set i 0} {$i < 4} {incr i} {
                wait_for {[info_of set$i index] eq "ivf" && [info_of set$i ivf-phase] eq "idle"} "for set$i"
                assert {[has_lists set$i [expr {60 + $i}]]} "[info_of set$i ivf-nlist] lists of set$i"
                assert_equal OK [r debug vcheck set$i]
            }
            # The log is read faster than the first lists are filled.
            r vcreate twice DIM 16
            add twice 20000 16
            r vtrain twice IVF NLIST 30
            settled twice
            r vtrain twice IVF NLIST 70 ITERATIONS 200 ASYNC
            crash_and_restart
            wait_for {[has_lists twice 70] && [info_of twice ivf-phase] eq "idle"} "for other lists"
            assert_equal OK [r debug vcheck twice]
            r del twice
            # Once begun, and undone.
            r vtrain set0 IVF NLIST 99 ASYNC
            r vtrain set0 FLAT
            crash_and_restart
            assert_equal {flat flat} [infos_of set0 index index-asked]
        }
    }
}

start_server {} {
    test {a server that stops ends what is under way} {
        r vcreate set DIM 32
        add set 20000 32
        set waiting [client]
        $waiting send vtrain set IVF NLIST 500 ITERATIONS 100
        flush [$waiting channel]
        wait_for {[dict exists [r vinfo set] ivf-phase]}
        r debug vcheck set
    }
}
