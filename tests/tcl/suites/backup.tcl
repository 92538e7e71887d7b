# BACKUP: a folder that holds the log up to STOP, whatever the server does
# meanwhile; and what other tools make of our files.

set check_aof [file join [file dirname $harness::binary] vectra-check-aof]
set check_rdb [file join [file dirname $harness::binary] vectra-check-rdb]
set log_on {appendonly yes save {""} appendfsync everysec enable-debug-command yes}

proc fill {from to} {
    for {set i $from} {$i < $to} {incr i} {
        r vadd v fp32 [fp32 [random_vector 8]] e$i SETATTR "{\"n\":$i}"
        r set s$i $i
    }
}

proc calm {} {
    wait_for {[info_field aof_rewrite_in_progress] eq "0" &&
              [info_field aof_rewrite_scheduled] eq "0"} "the rewrite"
    assert_equal ok [info_field aof_last_bgrewrite_status]
}

proc backed_up {} {
    wait_for {[info_field aof_backup_in_progress] eq "0"} "the backup"
    assert_equal ok [info_field aof_last_backup_status]
}

# Runs the body with `r` connected to a server on a copy of a backup.
proc restored {backup body {cut {}}} {
    upvar 1 check_aof check_aof
    set dir [harness::scratch restored]
    file mkdir $dir
    file copy $backup $dir/appendonlydir
    if {[llength $cut]} {
        exec $check_aof {*}$cut --yes $dir/appendonlydir
    }
    set f [open $dir/vectra.conf w]
    puts $f "appendonly yes\nsave \"\"\nenable-debug-command yes"
    close $f
    set server [harness::launch $dir]
    lappend ::harness::servers $server
    interp alias {} r {} [resp::connect [dict get $server port]]
    wait_for {![info_field loading]}
    set code [catch {uplevel 1 $body} result options]
    harness::stop $server
    set ::harness::servers [lrange $::harness::servers 0 end-1]
    if {[llength $::harness::servers]} { interp alias {} r {} [resp::connect [srv port]] }
    return -options $options $result
}

start_server $log_on {
    set backup [srv dir]/backup

    test {a backup begins and ends only where it can} {
        assert_error {ERR no backup is in progress} {r backup stop}
        assert_error {ERR cannot make the directory: *} {r backup start [srv dir]/no/such}
        assert_error {ERR cannot make the directory: *} {r backup start [srv dir]}
        assert_error {ERR invalid directory} {r backup start ""}
    }

    test {it keeps up while the server writes and rewrites, and ends at STOP} {
        fill 0 200
        assert_equal {Background backup started} [r backup start $backup]
        assert_error {ERR a backup is in progress} {r backup start $backup-2}
        fill 200 300
        r bgrewriteaof
        fill 300 350
        calm
        r bgrewriteaof
        calm
        fill 350 400
        r del s7
        set middle [info_field master_repl_offset]
        r set after-the-middle 1
        set digest [r debug digest]
        assert_equal {Background backup finishing} [r backup stop]
        fill 400 500
        backed_up
        assert_match {OK *} [lindex [split [exec $check_aof $backup] \n] end]
        # What comes later does not come into it.
        set size [exec du -sb $backup]
        fill 500 600
        r bgrewriteaof
        calm
        assert_equal $size [exec du -sb $backup]
    }

    test {restored, it is what the server was at STOP} {
        restored $backup {
            assert_equal $digest [r debug digest]
            assert_equal 400 [r vcard v]
            assert_equal OK [r debug vcheck v]
            # And it goes on from there.
            r set more 1
        }
    }

    test {restored to an LSN, it is what the server was then} {
        restored $backup {
            assert_equal 0 [r exists after-the-middle]
            assert_equal 400 [r vcard v]
            assert_equal 0 [r exists s7]
        } [list --truncate-to-lsn $middle]
    }

    test {redis-check-aof accepts the log and the backup, redis-check-rdb the base} {
        if {[catch {exec which redis-check-aof redis-check-rdb}]} {
            puts "  SKIPPED: redis-check-aof and redis-check-rdb are not installed"
        } else {
            foreach dir [list $backup [srv dir]/appendonlydir] {
                exec redis-check-aof $dir/appendonly.aof.manifest 2>@1
                foreach base [glob -nocomplain $dir/*.base.rdb] { exec redis-check-rdb $base 2>@1 }
            }
            r save
            exec redis-check-rdb [srv dir]/dump.rdb 2>@1
        }
    }

    test {vectra-check-rdb verifies every block of a snapshot of ours} {
        r save
        set output [exec $check_rdb --keys [srv dir]/dump.rdb]
        assert_match {*vectra-vs *} $output
        assert_match {*OK *} $output
        assert {[regexp {(\d+) blocks verified} $output - n] && $n >= 3}
        assert_match "*key 0 vectra-vs * \"v\" elements=[r vcard v] dim=8*" $output
    }

    test {a base of commands is backed up as well} {
        r config set aof-use-rdb-preamble no
        r bgrewriteaof
        calm
        r backup start $backup-3
        r set last 1
        r backup stop
        backed_up
        set digest [r debug digest]
        assert {[llength [glob $backup-3/*.base.aof]] == 1}
        restored $backup-3 { assert_equal $digest [r debug digest] }
    }

    test {a log that is switched off ends its backup} {
        r backup start $backup-4
        r config set appendonly no
        assert_error {ERR no backup is in progress} {r backup stop}
        assert_equal err [info_field aof_last_backup_status]
        assert_error {ERR there is no log to back up*} {r backup start $backup-5}
    }
}

start_server [dict merge $log_on {aof-timestamp-enabled yes}] {
    test {restored to a time, it is what the server was then} {
        r set early 1
        set time [clock seconds]
        wait_for {[clock seconds] > $time + 1}
        r set late 1
        r backup start [srv dir]/backup
        r backup stop
        backed_up
        set backup [srv dir]/backup
        restored $backup {
            assert_equal 1 [r get early]
            assert_equal 0 [r exists late]
        } [list --truncate-to-time [expr {$time + 1}]]
        restored $backup { assert_equal 1 [r get late] }
    }

    test {what was before the base is not in the backup, and that is said} {
        r bgrewriteaof
        calm
        r backup start [srv dir]/later
        r set latest 1
        r backup stop
        backed_up
        foreach limit [list [list --truncate-to-time $time] {--truncate-to-lsn 1}] {
            assert {[catch {exec $check_aof {*}$limit --yes [srv dir]/later} output]}
            assert_match {*begins after that, at LSN *, at time *older backup*} $output
        }
        restored [srv dir]/later { assert_equal 1 [r get latest] }
    }
}
