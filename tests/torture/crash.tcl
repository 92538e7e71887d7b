# SIGKILL at random instants under load, restart, compare.
#
# A round loads a server with the ledger's clients, kills it at some instant, as
# a rule while something particular is under way, starts it again on what it
# left, and has the ledger compare every key, element, attribute and count. The
# next round goes on from there.

namespace eval torture {
    # name {rounds of the full programme, procedure}
    variable scenarios {
        always   {400 crash_always}
        everysec {200 crash_everysec}
        slate    {100 crash_slate}
        behind   {100 crash_behind}
        snapshot {100 crash_snapshot}
        bgsave   {100 crash_bgsave}
        rewrite  {100 crash_rewrite}
        switch   {100 crash_switch}
        train    {100 crash_train}
        lists    {100 crash_lists}
        del      {100 crash_del}
    }
    # How many of each there are in `make test`; of faults, per mille.
    variable samples {
        always 10 everysec 6 slate 3 behind 2 snapshot 3 bgsave 3 rewrite 4 switch 8 train 2 lists 2 del 2
        faults 10 powerloss 60 fulldisk 2
    }
    # A data folder serves this many rounds.
    variable folder_rounds 25
}

proc torture::chance {n} { return [expr {int(rand() * $n)}] }

proc torture::say {words} {
    if {[info exists ::env(VERBOSE)]} { puts "    $words" }
}

# Rounds of: start, load, `during` (which kills, or leaves that to the end),
# restart, compare. `ledger_options` go to the ledger.
proc torture::crash_rounds {n directives ledger_options during {options {}}} {
    variable folder_rounds
    variable port
    set env [expr {[dict exists $options shim] ? [shim::env] : {}}]
    set grace [expr {[dict exists $options since] ? 1 : 0}]
    variable extra
    ledger_open seed=[chance 1000000] {*}$ledger_options {*}$extra
    if {$env ne {}} { shim::clear }
    for {set i 0} {$i < $n} {incr i} {
        if {$i % $folder_rounds == 0} {
            kill9
            wipe
            ledger forget
        }
        # A restart every now and then in the middle of nothing.
        if {![is_up]} { start $directives [list env $env] }
        set ::torture::since ""
        ledger load $port
        if {[catch {uplevel #0 [list $during $i]} why o] && [is_up]} {
            return -options $o "round $i: $why"
        }
        kill9
        set lost [ledger lost]
        if {$env ne {}} { shim::disarm }
        if {[catch {
            start $directives [list env $env]
            set line [verify $::torture::since]
        } why o]} {
            return -options $o "round $i of $n ($lost): $why"
        }
        say "round $i: $lost; $line"
    }
    kill9
    return "$n rounds"
}

proc torture::policy {name args} {
    return [dict merge {appendonly yes save {{}}} [list appendfsync $name] $args]
}

# ---- under load --------------------------------------------------------------

proc torture::crash_at_once {i} {
    torture::ledger wait [expr {1 + [torture::chance 3000]}] [expr {20 + [torture::chance 300]}]
}

proc torture::crash_always {n} {
    return [crash_rounds $n [policy always] {clients=6} torture::crash_at_once]
}

proc torture::crash_everysec {n} {
    return [crash_rounds $n [policy everysec] {clients=6} torture::crash_at_once]
}

# Much at once, which is on the slate before it is in the log, with rewrites.
proc torture::crash_slate {n} {
    return [crash_rounds $n [policy everysec auto-aof-rewrite-min-size 2mb] \
                {clients=6 depth=40 bulk=400} torture::crash_at_once]
}

# A disk that takes less than clients send: what the slate has no room for is
# not answered before it is written, and nobody else waits for that.
proc torture::crash_behind {n} {
    return [crash_rounds $n [policy everysec auto-aof-rewrite-min-size 4mb] \
                {clients=6 depth=40 bulk=400} torture::behind_and_kill {shim 1}]
}

proc torture::slow_log {us} {
    shim::plan ops write path incr.aof action delay delay $us role server
}

proc torture::behind_and_kill {i} {
    if {$i == 0} { serves_while_behind }
    slow_log [expr {1000 + [torture::chance 300000]}]
    torture::ledger wait [expr {200 + [torture::chance 3000]}] [expr {20 + [torture::chance 1000]}]
    torture::ask get str:0:0
    if {[torture::chance 2]} {
        shim::disarm
        torture::ledger wait [expr {1 + [torture::chance 1000]}] 200
    }
}

# The loop runs commands while far more waits for the log than the slate holds.
proc torture::serves_while_behind {} {
    variable port
    slow_log 300000
    set c [socket localhost $port]
    fconfigure $c -translation binary -blocking 0
    set value [string repeat x 16000]
    puts -nonewline $c [string repeat "*3\r\n\$3\r\nSET\r\n\$6\r\nbehind\r\n\$16000\r\n$value\r\n" 600]
    puts -nonewline $c "*2\r\n\$3\r\nDEL\r\n\$6\r\nbehind\r\n"
    flush $c
    set end [expr {[clock milliseconds] + 60000}]
    while {[info_of aof_buffer_length] < 5000000} {
        if {[clock milliseconds] > $end} { fail "the loop does not serve while the log is behind" }
        update
    }
    set answers [read $c]
    if {[string length $answers] >= 600 * 5} { fail "what is not in the log was answered" }
    shim::disarm
    fconfigure $c -blocking 1
    flush $c
    append answers [read $c [expr {600 * 5 + 4 - [string length $answers]}]]
    assert_equal "[string repeat "+OK\r\n" 600]:1\r\n" $answers
    close $c
}

# ---- while something goes on -------------------------------------------------

# Snapshots without a log: what the last finished one had is there, and no state
# that is not one instant.
proc torture::crash_snapshot {n} {
    return [crash_rounds $n {appendonly no save {{}}} \
                {clients=4 elements=600 bulk=200} torture::save_and_kill {since 1}]
}

# Two snapshots; the kill falls into the second, or after it.
proc torture::save_and_kill {i} {
    torture::ledger wait [expr {200 + [torture::chance 2000]}] 2000
    set ::torture::since [torture::ledger now]
    torture::ask bgsave
    wait_for {[torture::info_of rdb_bgsave_in_progress] eq "0"} "the first snapshot"
    assert_equal ok [torture::info_of rdb_last_bgsave_status]
    torture::ledger wait 500 200
    torture::ask bgsave
    after [torture::chance 40]
}

proc torture::crash_bgsave {n} {
    return [crash_rounds $n [policy everysec] {clients=4 elements=800 bulk=300} \
                torture::bgsave_and_kill]
}

proc torture::bgsave_and_kill {i} {
    torture::ledger wait [expr {200 + [torture::chance 1000]}] 1000
    torture::ask bgsave
    after [torture::chance 60]
}

proc torture::crash_rewrite {n} {
    set preamble [expr {[chance 2] ? "yes" : "no"}]
    set half [expr {($n + 1) / 2}]
    crash_rounds $half [policy everysec aof-use-rdb-preamble yes] \
        {clients=4 elements=500 bulk=200} torture::rewrite_and_kill
    ledger_close
    if {$n > $half} {
        crash_rounds [expr {$n - $half}] [policy always aof-use-rdb-preamble no] \
            {clients=4 elements=500 bulk=200} torture::rewrite_and_kill
    }
    return "$n rounds"
}

proc torture::rewrite_and_kill {i} {
    torture::ledger wait [expr {200 + [torture::chance 1000]}] 1000
    torture::ask bgrewriteaof
    after [torture::chance 80]
    if {[torture::chance 3] == 0} {
        # Another on its heels.
        wait_for {[torture::info_of aof_rewrite_in_progress] eq "0"} "the rewrite"
        torture::ask bgrewriteaof
        after [torture::chance 20]
    }
}

# The switch of bases, call by call: the shim kills at the n-th change of a name
# (or write to the manifest, or sync) during a rewrite.
proc torture::crash_switch {n} {
    return [crash_rounds $n [policy [expr {[chance 2] ? "always" : "everysec"}]] \
                {clients=3 elements=200} torture::switch_and_kill {shim 1}]
}

proc torture::switch_and_kill {i} {
    torture::ledger wait [expr {100 + [torture::chance 600]}] 1000
    set what [lindex {
        {ops {open rename unlink link mkdir}}
        {ops {rename unlink}}
        {path manifest}
        {path temp}
        {ops {fsync rename unlink open close} path aof}
    } [torture::chance 5]]
    set action [lindex {kill-before kill-after kill-torn} [torture::chance 3]]
    shim::plan {*}$what action $action first [expr {1 + [torture::chance 12]}] role server
    catch {torture::ask bgrewriteaof}
    set end [expr {[clock milliseconds] + 3000}]
    while {[torture::is_up] && [clock milliseconds] < $end} {
        if {[catch {torture::info_of aof_rewrite_in_progress} busy] || $busy eq "0"} { break }
        after 5
    }
}

# Graphs are built, by VTRAIN and because sets grow.
proc torture::crash_train {n} {
    return [crash_rounds $n [policy everysec] \
                {clients=2 sets=2 elements=3000 bulk=1000 del=1 precision=0} \
                torture::train_and_kill]
}

proc torture::train_and_kill {i} {
    torture::ledger wait [expr {200 + [torture::chance 1500]}] 2000
    foreach client {0 1} {
        foreach key {8 9} {
            set c [resp::connect $torture::port]
            catch {$c select $client}
            catch {$c vtrain set:$client:$key HNSW M [expr {8 + [torture::chance 3] * 8}] ASYNC}
            $c close
        }
    }
    if {[torture::chance 2]} { catch {torture::ask bgsave} }
    after [torture::chance 200]
}

# Lists are trained, filled, trained anew and given up; snapshots and bases are
# written meanwhile.
proc torture::crash_lists {n} {
    set half [expr {($n + 1) / 2}]
    set ledger {clients=2 sets=2 elements=5000 bulk=2500 del=1}
    crash_rounds $half [policy everysec aof-use-rdb-preamble yes] $ledger torture::lists_and_kill
    ledger_close
    if {$n > $half} {
        crash_rounds [expr {$n - $half}] [policy always aof-use-rdb-preamble no] $ledger torture::lists_and_kill
    }
    return "$n rounds"
}

proc torture::lists_and_kill {i} {
    torture::ledger wait [expr {100 + [torture::chance 600]}] 2000
    for {set round [torture::chance 3]} {$round >= 0} {incr round -1} {
        foreach client {0 1} {
            foreach key {8 9} {
                set c [resp::connect $torture::port]
                catch {$c select $client}
                catch {$c vtrain set:$client:$key IVF NLIST [expr {8 + [torture::chance 60]}] \
                           ITERATIONS [expr {1 + [torture::chance 60]}] ASYNC}
                $c close
            }
        }
        switch [torture::chance 4] {
            0 { catch {torture::ask bgsave} }
            1 { catch {torture::ask bgrewriteaof} }
        }
        after [torture::chance 150]
    }
}

# Large sets are dropped all the time.
proc torture::crash_del {n} {
    return [crash_rounds $n [policy [expr {[chance 2] ? "always" : "everysec"}]] \
                {clients=3 sets=4 elements=3000 bulk=2500 del=60 precision=0} \
                torture::del_and_kill]
}

proc torture::del_and_kill {i} {
    torture::ledger wait [expr {300 + [torture::chance 1500]}] 2000
}
