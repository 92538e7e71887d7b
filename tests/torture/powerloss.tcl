# Power cuts: see powerloss.c.
#
# A server works under the shim, which writes down what it did to its files,
# while it snapshots and rewrites its log; from that trace images of the disk
# are made, as they may be after the power went at some instant. The server
# starts on each; under `always` nothing that was acknowledged by that instant is
# missing, under `everysec` nothing acknowledged two seconds before.

dict set torture::scenarios powerloss {2000 power_cuts}

namespace eval torture {
    variable images_per_trace 40
}

proc torture::power_cuts {n} {
    variable images_per_trace
    set traces [expr {max(1, ($n + $images_per_trace - 1) / $images_per_trace)}]
    set images 0
    set lost 0
    for {set t 0} {$t < $traces} {incr t} {
        set policy [lindex {always always everysec} [expr {$t % 3}]]
        set from [power_trace $policy [expr {$t % 2 ? "no" : "yes"}] \
                      [expr {$t % 3 == 1}]]
        set todo [expr {min($images_per_trace, $n - $images)}]
        for {set i 0} {$i < $todo} {incr i} {
            incr images
            if {[catch {power_cut $policy [expr {1000 * $t + $i}] $from} result]} {
                note_failure $result
                break
            }
            incr lost $result
        }
        ledger_close
    }
    fail_if_any
    return "$images images of $traces traces, $lost changes lost"
}

# Lets a server work for a while, in an empty folder; perhaps it is killed and
# started again on what the kernel had, not all of which was on the disk. Gives
# the time from which on the power may go.
proc torture::power_trace {policy preamble restarts} {
    variable dir
    variable port
    variable extra
    wipe
    file delete $dir/trace
    shim::clear
    ledger_open seed=[chance 1000000] clients=4 elements=60 volatile=1 {*}$extra
    start [policy $policy aof-use-rdb-preamble $preamble] [list env [shim::env $dir/trace]]
    # A disk that takes its time leaves more that is not there yet.
    shim::plan ops {fsync fdatasync} action delay delay [chance 4000]
    ledger load $port
    set from 0
    if {$restarts} { set from [power_restart [policy $policy aof-use-rdb-preamble $preamble]] }
    set rounds [expr {$policy eq "always" ? 3 : 7}]
    for {set i 0} {$i < $rounds} {incr i} {
        ledger wait [expr {50 + [chance 300]}] [expr {$policy eq "always" ? 400 : 700}]
        set job [lindex {bgrewriteaof bgsave bgrewriteaof} [chance 3]]
        catch {ask $job}
    }
    ledger wait 300 300
    kill9
    ledger lost
    return $from
}

# Kills the server while syncs are slow and the log goes on in a fresh increment,
# so that the end of the one before is not on the disk. What the next server
# shows of it must be there from then on.
proc torture::power_restart {directives} {
    variable dir
    variable port
    ledger wait 300 300
    shim::plan ops {fsync fdatasync} action delay delay 150000
    ask bgrewriteaof
    # The second is named before it is used: there is more than its first line then.
    set incr $dir/data/appendonlydir/appendonly.aof.2.incr.aof
    wait_for {[file exists $incr] && [file size $incr] > 11} "the fresh increment"
    kill9
    ledger lost
    shim::plan ops {fsync fdatasync} action delay delay [chance 4000]
    start $directives [list env [shim::env $dir/trace]]
    verify
    set from [ledger now]
    ledger load $port
    return $from
}

# One image: how many changes it lost.
proc torture::power_cut {policy seed from} {
    variable dir
    variable port
    variable programs
    file delete -force $dir/image $dir/image-as-made
    set words [exec $programs/powerloss $dir/trace [file normalize $dir/data] $dir/image $seed $from]
    file copy $dir/image $dir/image-as-made
    regexp {ack_ns=(\d+) sent_ns=(\d+) lost_writes=(\d+) lost_names=(\d+)} $words - \
        ack sent writes names
    if {$policy ne "always"} {
        # Two seconds are promised; half a second is for a busy machine.
        set ack [expr {max(0, $ack - 2500000000)}]
    }
    if {[catch {
        start [policy $policy] {data image}
        set line [ledger check $port $ack $sent]
        if {![string match "ok *" $line]} { fail $line }
    } why]} {
        error "image $seed ($policy, $words): $why"
    }
    kill9
    say "image $seed $policy: $words; $line"
    return [expr {$writes + $names}]
}
