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
        power_trace $policy [expr {$t % 2 ? "no" : "yes"}]
        set todo [expr {min($images_per_trace, $n - $images)}]
        for {set i 0} {$i < $todo} {incr i} {
            incr images
            if {[catch {power_cut $policy [expr {1000 * $t + $i}]} result]} {
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

# Lets a server work for a while, in an empty folder.
proc torture::power_trace {policy preamble} {
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
    set rounds [expr {$policy eq "always" ? 3 : 7}]
    for {set i 0} {$i < $rounds} {incr i} {
        ledger wait [expr {50 + [chance 300]}] [expr {$policy eq "always" ? 400 : 700}]
        set job [lindex {bgrewriteaof bgsave bgrewriteaof} [chance 3]]
        catch {ask $job}
    }
    ledger wait 300 300
    kill9
    ledger lost
}

# One image: how many changes it lost.
proc torture::power_cut {policy seed} {
    variable dir
    variable port
    variable programs
    file delete -force $dir/image $dir/image-as-made
    set words [exec $programs/powerloss $dir/trace [file normalize $dir/data] $dir/image $seed]
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
