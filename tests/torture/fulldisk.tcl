# A disk that is full for real: a small tmpfs in a user namespace of our own.

dict set torture::scenarios fulldisk {10 full_disks}

proc torture::full_disks {n} {
    variable dir
    if {[info exists ::env(TORTURE_MOUNTED)]} { return [full_disks_inside $n] }
    if {[catch {exec unshare -Urm true} why]} {
        puts "  SKIPPED: full disks; this machine allows no user namespaces ($why)"
        return "skipped"
    }
    # Mounts are seen by the process that made its namespace, and its children.
    set ::env(TORTURE_MOUNTED) 1
    set code [catch {
        exec unshare -Urm [info nameofexecutable] [info script] rounds=[expr {10 * $n}] \
            seed=$::seed fulldisk 2>@1
    } output]
    unset ::env(TORTURE_MOUNTED)
    if {$code} { fail $output }
    return "$n full disks"
}

proc torture::full_disks_inside {n} {
    variable dir
    for {set i 0} {$i < $n} {incr i} {
        set policy [lindex {everysec always no} [expr {$i % 3}]]
        wipe
        exec mount -t tmpfs -o size=4m none $dir/data
        if {[catch {full_disk $policy} why o]} {
            return -options $o "$policy: $why ([exec df -k $dir/data]) [exec ls -lR $dir/data]"
        }
        exec umount -l $dir/data
    }
    return "$n full disks"
}

proc torture::ballast {bytes} {
    variable dir
    set f [open $dir/data/ballast w]
    puts -nonewline $f [string repeat x $bytes]
    close $f
}

# Goes on after having been cut off, until a write is refused.
proc torture::is_refused {} {
    variable port
    if {[string match *MISCONF* [ledger refused]]} { return 1 }
    if {[lindex [ledger wait 1 10] 2] > 0} {
        cut_off [ledger stop]
        ledger load $port
    }
    return 0
}

proc torture::full_disk {policy} {
    variable dir
    variable port
    variable extra
    set directives [policy $policy auto-aof-rewrite-percentage 0]
    ballast 2500000
    ledger_open seed=[chance 1000000] clients=2 depth=1 elements=40 {*}$extra
    start $directives
    ledger load $port
    if {$policy eq "always"} {
        # It ends and has acknowledged nothing that is not on the disk.
        wait_for {![torture::is_up]} "the end"
        ledger lost
        gone
    } else {
        wait_for {[torture::is_refused]} "a refusal"
        cut_off [ledger stop]
        reads_work
        # What fails for want of room leaves no rubbish.
        catch {ask bgsave}
        calm rdb_bgsave_in_progress
        catch {ask bgrewriteaof}
        calm aof_rewrite_in_progress
        reads_work
        assert_equal {} [glob -nocomplain $dir/data/temp-* $dir/data/*/temp-*]
    }
    file delete $dir/data/ballast
    if {$policy ne "always"} {
        service_returns
        verify
        ledger load $port
        ledger wait 200 2000
        kill9
        ledger lost
    }
    start $directives
    set line [verify]
    say "$policy: $line"
    kill9
    ledger_close
}
