# Every call to a file fails once, or is the last one.
#
# A scripted workload (writes, a snapshot, a rewrite of the log, the log switched
# off and on, a save) makes some number of calls; each of them in turn is hit by
# an error, a short write, an interruption, or the death of the process before,
# after or in the middle of it. What must be so:
#
#  - interrupted and short calls: nobody notices;
#  - errors: under `always` the process may end, without having acknowledged;
#    under the other policies it stays, may refuse writes, answers reads, and
#    serves again when the disk does;
#  - afterwards, and after a restart, nothing acknowledged is missing.

# Rounds are per mille of all (policy, call, blow) there are.
dict set torture::scenarios faults {1000 fault_cases}

namespace eval torture {
    variable blows {
        {fail EIO once} {fail ENOSPC once} {fail EINTR once} {short EIO once}
        {kill-before EIO once} {kill-after EIO once} {kill-torn EIO once}
        {fail EIO on} {fail ENOSPC on}
    }
}

proc torture::fault_cases {mille} {
    variable blows
    variable part
    lassign $part k parts
    set cases {}
    set calls {}
    foreach policy {always everysec no} {
        lassign [fault_case $policy 0 {pass EIO once}] n
        lappend calls "$policy $n"
        for {set i 1} {$i <= $n} {incr i} {
            if {$i % $parts != $k % $parts} { continue }
            foreach blow $blows { lappend cases [list $policy $i $blow] }
        }
    }
    # In random order, so that a part is a sample.
    set keyed {}
    foreach case $cases { lappend keyed [list [chance 1000000000] $case] }
    set n [expr {max(1, [llength $cases] * $mille / 1000)}]
    set hit 0
    foreach pair [lrange [lsort -integer -index 0 $keyed] 0 $n-1] {
        lassign [lindex $pair 1] policy i blow
        if {[catch {fault_case $policy $i $blow} result o]} {
            note_failure "$policy, call $i, $blow ([shim::state]): $result"
            continue
        }
        lassign $result - acted words
        incr hit [expr {$acted > 0}]
        say "$policy, call $i, $blow: $words"
    }
    fail_if_any
    return "$n of [llength $cases] blows ([join $calls {, }] calls), $hit hit"
}

# One run; how many calls there were, how many were hit, and words.
proc torture::fault_case {policy n blow} {
    variable extra
    variable port
    lassign $blow action error how
    set patient [expr {$action in {pass short} || $error eq "EINTR"}]
    wipe
    shim::clear
    shim::plan action $action error $error first $n last [expr {$how eq "on" ? -1 : $n}]
    ledger_open seed=[expr {$n + 1}] clients=1 depth=1 elements=30 bulk=8 {*}$extra
    set directives [policy $policy]
    set started [start $directives [list env [shim::env] may_fail 1]]
    if {$started ne ""} { fault_work $policy }
    set state [shim::state]
    # What no kernel interrupts, nobody need be ready for.
    if {$error eq "EINTR" && [dict get $state op] in {rename unlink link mkdir}} {
        set patient 0
    }
    set words [list [dict get $state op] [file tail [dict get $state path]]]
    if {[is_up] && [unless_dead {
        if {![string match kill* $action]} { reads_work }
        set refused [ledger refused]
        if {$patient && [string match *MISCONF* $refused]} {
            fail "refused: $refused"
        }
        shim::disarm
        service_returns
        verify
    }]} {
        lappend words "served on"
        kill9
    } else {
        if {$patient} { fail "it ended: [tail_of_log]" }
        if {$started ne "" && $action eq "fail" && $policy ne "always"} {
            fail "it ended: [tail_of_log]"
        }
        lappend words [expr {$started eq "" ? "did not start" : "ended"}]
        gone
    }
    shim::disarm
    start $directives
    ask del probe ;# the one that the server ended on may be there
    lappend words [verify]
    kill9
    ledger_close
    return [list [dict get $state matched] [dict get $state acted] $words]
}

# The script. It goes on whatever happens: what must be so is seen afterwards.
proc torture::fault_work {policy} {
    fault_writes 10
    catch {ask bgsave}
    fault_writes 4
    calm rdb_bgsave_in_progress
    catch {ask bgrewriteaof}
    fault_writes 4
    calm aof_rewrite_in_progress
    fault_writes 4
    if {$policy eq "everysec"} {
        # The thread syncs once a second.
        after 1100
    }
    # While the log is off, or waits for its base, nothing is promised.
    catch {ask config set appendonly no}
    if {![is_up] || ![log_on]} { return }
    fault_writes 4
    catch {ask save}
    fault_writes 4
}

# Switches the log on, and waits until it has all.
proc torture::log_on {} {
    if {[catch {ask config set appendonly yes}]} { return 0 }
    calm aof_rewrite_scheduled
    calm aof_rewrite_in_progress
    return [expr {![catch {info_of aof_last_bgrewrite_status} status] && $status eq "ok"}]
}

proc torture::fault_writes {n} {
    variable port
    if {![is_up]} { return }
    ledger load $port
    ledger wait $n 2000
    cut_off [ledger stop]
}

# A client whose write could not be logged is cut off, since whether it will
# be is open. What the server has then is what is gone on with.
proc torture::cut_off {ended} {
    if {![regexp {lost=0} $ended]} {
        unless_dead { verify }
    }
}

# Runs a script, and says whether the server outlived it: one that is about to
# die is not alive enough for anything.
proc torture::unless_dead {script} {
    if {![catch {uplevel 1 $script} why o]} { return 1 }
    set end [expr {[clock milliseconds] + 500}]
    while {[is_up] && [clock milliseconds] < $end} { after 5 }
    if {[is_up]} { return -options $o $why }
    return 0
}

proc torture::calm {field} {
    set end [expr {[clock milliseconds] + 10000}]
    while {[clock milliseconds] < $end && [is_up]} {
        if {[catch {info_of $field} busy] || $busy eq "0"} { return }
        after 2
    }
}

proc torture::reads_work {} {
    foreach command {{get str:0:0} {exists set:0:8} {dbsize} {info persistence}} {
        if {[catch {ask {*}$command} why]} { fail "$command: $why" }
    }
    if {[catch {ask set probe x} why]} {
        if {$why ne "connection closed"} { assert_match {MISCONF*} $why }
    } else {
        catch {ask del probe} ;# or when service has returned
    }
}

# Writes are served again, by themselves; a failed snapshot's refusal ends with
# a snapshot that succeeds.
proc torture::service_returns {} {
    variable port
    set end [expr {[clock milliseconds] + $harness::patience_ms}]
    while {[catch {ask set probe x} why]} {
        if {[clock milliseconds] > $end} { fail "still refuses: $why" }
        # One whose write is not in the log is cut off.
        if {$why ne "connection closed"} { assert_match {MISCONF*} $why }
        if {[info_of rdb_last_bgsave_status] eq "err"} { catch {ask bgsave} }
        after 20
    }
    if {[lindex [ask config get appendonly] 1] ne "yes"} { ask config set appendonly yes }
    wait_for {[torture::has_log]} "the log"
    ask del probe
}

# Whether all that is there is in the log; where a base is missing, one is made.
proc torture::has_log {} {
    if {[info_of aof_rewrite_in_progress] ne "0" || [info_of aof_rewrite_scheduled] ne "0"} {
        return 0
    }
    if {[info_of aof_last_bgrewrite_status] ne "ok"} {
        catch {ask bgrewriteaof}
        return 0
    }
    return 1
}
