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

# Rounds are per cent of all (policy, call, blow) there are.
dict set torture::scenarios faults {100 fault_cases}

namespace eval torture {
    variable blows {
        {fail EIO once} {fail ENOSPC once} {fail EINTR once} {short EIO once}
        {kill-before EIO once} {kill-after EIO once} {kill-torn EIO once}
        {fail EIO on} {fail ENOSPC on}
    }
}

proc torture::fault_cases {percent} {
    variable blows
    set cases {}
    set calls {}
    foreach policy {always everysec no} {
        lassign [fault_case $policy 0 {pass EIO once}] n
        lappend calls "$policy $n"
        for {set i 1} {$i <= $n} {incr i} {
            foreach blow $blows { lappend cases [list $policy $i $blow] }
        }
    }
    # In random order, so that a part is a sample.
    set keyed {}
    foreach case $cases { lappend keyed [list [chance 1000000000] $case] }
    set n [expr {max(1, [llength $cases] * $percent / 100)}]
    set hit 0
    foreach pair [lrange [lsort -integer -index 0 $keyed] 0 $n-1] {
        lassign [lindex $pair 1] policy i blow
        if {[catch {fault_case $policy $i $blow} result o]} {
            return -options $o "$policy, call $i, $blow ([shim::state]): $result"
        }
        lassign $result - acted words
        incr hit [expr {$acted > 0}]
        say "$policy, call $i, $blow: $words"
    }
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
    set words [list [dict get $state op] [file tail [dict get $state path]]]
    if {[is_up]} {
        if {![string match kill* $action]} { reads_work }
        if {[string match kill* $action] && [dict get $state acted]} {
            # The blow fell on a process that was no longer needed.
            lappend words "alive"
        }
        set refused [ledger refused]
        if {$patient && [string match *MISCONF* $refused]} {
            fail "refused: $refused"
        }
        shim::disarm
        service_returns
        verify
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
        # Until a second has passed and the thread has synced.
        fault_writes 1000000 1100
    }
    catch {ask config set appendonly no}
    catch {ask config set appendonly yes}
    fault_writes 4
    calm aof_rewrite_in_progress
    # While the log is off nothing is promised; a snapshot has it all again.
    catch {ask save}
    fault_writes 4
}

proc torture::fault_writes {n {ms 2000}} {
    variable port
    if {![is_up]} { return }
    ledger load $port
    # Under a policy that waits a second a flood would only fill the disk.
    if {$ms < 2000} {
        set end [expr {[clock milliseconds] + $ms}]
        while {[clock milliseconds] < $end && [is_up]} { ledger wait 1 100; after 50 }
    } else {
        ledger wait $n $ms
    }
    ledger stop
}

proc torture::calm {field} {
    set end [expr {[clock milliseconds] + 10000}]
    while {[clock milliseconds] < $end && [is_up]} {
        if {[catch {info_of $field} busy] || $busy eq "0"} { return }
        after 2
    }
}

proc torture::reads_work {} {
    assert_equal PONG [ask ping]
    foreach command {{get str:0:0} {exists set:0:8} {dbsize} {info persistence}} {
        if {[catch {ask {*}$command} why]} { fail "$command: $why" }
    }
    if {[catch {ask set probe x} why]} {
        assert_match {MISCONF*} $why
    } else {
        ask del probe
    }
}

# Writes are served again, by themselves; a failed snapshot's refusal ends with
# a snapshot that succeeds.
proc torture::service_returns {} {
    variable port
    set c [resp::connect $port]
    set end [expr {[clock milliseconds] + $harness::patience_ms}]
    while {[catch {$c set probe x} why]} {
        if {[clock milliseconds] > $end} { fail "still refuses: $why" }
        assert_match {MISCONF*} $why
        if {[info_of rdb_last_bgsave_status] eq "err"} { catch {$c bgsave} }
        after 20
    }
    $c del probe
    $c close
}
