# Sets that are written down, copied and moved while they are given lists: what comes
# out elsewhere is the same set, it can be worked with, and it is given its lists.

proc info_of {key field {c r}} { return [dict get [$c vinfo $key] $field] }

# n vectors around some centres; each name says which.
proc add {key n d {from 0}} {
    global rows
    if {![info exists rows($d)]} {
        for {set i 0} {$i < 40} {incr i} {
            set centre [random_vector $d]
            for {set j 0} {$j < 10} {incr j} {
                lappend rows($d) [fp32 [lmap x $centre {expr {$x + rand() / 4}}]]
            }
        }
    }
    set blob ""
    set names {}
    for {set i $from} {$i < $from + $n} {incr i} {
        append blob [fp32 [expr {rand()}]] [string range [lindex $rows($d) [expr {int(rand() * 400)}]] 4 end]
        lappend names e$i
    }
    r vmadd $key $n FP32 $blob {*}$names
}

# Until a set is in that phase of its training, or has its lists already.
proc come_to {key phase} {
    wait_for {[info_of $key ivf-phase] eq $phase || [info_of $key index] eq "ivf"} "for $phase"
}

proc trained {key {c r}} {
    wait_for {[info_of $key index $c] eq "ivf" && [info_of $key ivf-phase $c] eq "idle"} "for lists of $key"
}

# It is what it was, and answers, and takes what is put into it.
proc works {key digest n c} {
    assert_equal $digest [$c debug digest-value $key]
    assert_equal $n [$c vcard $key]
    assert_equal OK [$c debug vcheck $key]
    # Of some fifty that are nearly alike codes may not tell which is the nearest.
    foreach e {e0 e77 e4000} {
        assert {[lindex [$c vsim $key ELE $e WITHSCORES COUNT 200] 1] > 0.999} "$e is not the nearest to itself"
    }
    set v [random_vector [$c vdim $key]]
    $c vadd $key FP32 [fp32 $v] fresh
    assert_equal fresh [$c vsim $key FP32 [fp32 $v] COUNT 1]
    assert_equal 1 [$c vrem $key fresh]
    assert_equal $digest [$c debug digest-value $key]
    trained $key $c
    assert_equal OK [$c debug vcheck $key]
    assert_equal $digest [$c debug digest-value $key]
    assert_equal 5 [llength [$c vsim $key ELE e4000 COUNT 5]]
}

start_server {} {
    set source [client]
    set from_dir [srv dir]
    start_server {} {
        set target [client]
        set to [srv port]
        set to_dir [srv dir]
        interp alias {} r {} $source
        r vcreate set DIM 24
        add set 20000 24
        set plain [r dump set]
        r del set

        # Each way of moving, at each phase, with lists of codes and of none; a few
        # elements come behind the beginning, so that there is a tail.
        foreach phase {sampling training filling} options {{} {PQ 12} {Q8}} {
            foreach how {dump copy migrate bgsave} {
                test "a set is the same elsewhere: $how while $phase, VTRAIN IVF $options" {
                    $target flushall
                    r flushall
                    r restore set 0 $plain
                    r vtrain set IVF NLIST 100 ITERATIONS 30 {*}$options ASYNC
                    add set 50 24 30000
                    r vrem set e5
                    come_to set $phase
                    set digest [r debug digest-value set]
                    switch $how {
                        dump {
                            $target restore set 0 [r dump set]
                            works set $digest 20049 $target
                        }
                        copy {
                            assert_equal 1 [r copy set other]
                            works other $digest 20049 r
                        }
                        migrate {
                            assert_equal OK [r migrate 127.0.0.1 $to set 0 60000 COPY]
                            works set $digest 20049 $target
                        }
                        bgsave {
                            set saved [r lastsave]
                            r bgsave
                            wait_for {![info_field rdb_bgsave_in_progress $source]} "for the child"
                            assert_equal ok [info_field rdb_last_bgsave_status $source]
                            file copy -force $from_dir/dump.rdb $to_dir/dump.rdb
                            assert_equal OK [$target debug reload nosave]
                            works set $digest 20049 $target
                        }
                    }
                    # And where it came from.
                    works set $digest 20049 r
                }
            }
        }

        test {a set that leaves while it is given lists takes its training along} {
            foreach phase {sampling training filling} {
                $target flushall
                r flushall
                r restore set 0 $plain
                r vtrain set IVF NLIST 80 ITERATIONS 30 ASYNC
                come_to set $phase
                set digest [r debug digest-value set]
                assert_equal OK [r migrate 127.0.0.1 $to set 0 60000]
                assert_equal 0 [r exists set]
                works set $digest 20000 $target
                # The lists are as many as were asked for, or some that grew were split.
                set n [info_of set ivf-nlist $target]
                assert {$n >= 80 && $n <= 90} "$n lists"
            }
        }
    }
}
