# Snapshots: SAVE, BGSAVE, save points, SHUTDOWN, and what a start makes of files.

set data $harness::root/tests/data

# Waits for the end of the server's process, however it came about.
proc wait_ended {} {
    wait_for {![harness::alive [srv pid]]} [harness::log_of [srv log]]
}

# Starts it again on its directory; `r` is connected when it answers PING, unless
# it is told not to wait for what it loads.
proc start_again {{wait 1}} {
    set server [harness::launch [srv dir]]
    set harness::servers [lreplace $harness::servers end end $server]
    interp alias {} r {} [resp::connect [srv port]]
    if {$wait} { wait_for {![catch {r ping}]} }
}

proc restart {args} {
    catch {r shutdown {*}$args}
    wait_ended
    start_again
}

proc kill_server {} {
    exec kill -9 [srv pid]
    wait_ended
}

# The process that writes a snapshot; 0 when there is none.
proc child_pid {} {
    if {[catch {open /proc/[srv pid]/task/[srv pid]/children} f]} { return 0 }
    set pids [read $f]
    close $f
    return [expr {[llength $pids] ? [lindex $pids 0] : 0}]
}

proc wait_saved {} {
    wait_for {[info_field rdb_bgsave_in_progress] == 0}
}

proc in_dir {name} { return [file join [srv dir] $name] }

proc bytes_of {path} {
    set f [open $path]
    fconfigure $f -translation binary
    set bytes [read $f]
    close $f
    return $bytes
}

proc put_bytes {path bytes} {
    set f [open $path w]
    fconfigure $f -translation binary
    puts -nonewline $f $bytes
    close $f
}

# Runs the server on a directory until it ends; {exit-code output}.
proc run_on {dir args} {
    set code [catch {exec $harness::binary --port [harness::free_port] --dir $dir --save {} \
                         {*}$args < /dev/null 2>@1} output options]
    return [list $code $output]
}

proc fill {n} {
    for {set i 0} {$i < $n} {incr i} { r send set key:$i value:$i }
    for {set i 0} {$i < $n} {incr i} { r read }
}

start_server {enable-debug-command yes} {
    test {what is saved is there after a restart} {
        r set text "hello \x00\xff world"
        r set number -77
        r set long [string repeat abc 10000]
        r set later v pxat 4102444800123
        r select 9
        r set nine 9
        r vadd set VALUES 3 1 2 3 elem SETATTR {{"a":1}}
        r vadd set VALUES 3 -1 2 3 other
        r select 0
        set digest [r debug digest]
        assert_equal OK [r save]
        kill_server
        start_again
        assert_equal $digest [r debug digest]
        assert_equal 4102444800123 [r pexpiretime later]
        assert_equal "hello \x00\xff world" [r get text]
        assert_equal 6 [info_field rdb_last_load_keys_loaded]
    }

    test {SAVE and LASTSAVE are told by INFO} {
        set saves [info_field rdb_saves]
        r set one more
        assert_equal 1 [info_field rdb_changes_since_last_save]
        r save
        assert_equal 0 [info_field rdb_changes_since_last_save]
        assert_equal [expr {$saves + 1}] [info_field rdb_saves]
        assert_equal [r lastsave] [info_field rdb_last_save_time]
        assert {abs([r lastsave] - [clock seconds]) < 10}
    }

    test {redis-check-rdb walks the file} {
        if {[auto_execok redis-check-rdb] ne ""} {
            assert_match "*RDB looks OK*" [exec redis-check-rdb [in_dir dump.rdb]]
        }
    }

    test {a snapshot of nothing is one} {
        set digest [r debug digest]
        r flushall
        r save
        restart nosave
        assert_equal 0 [r dbsize]
    }

    test {BGSAVE writes what there was when it began, beside writes} {
        r config set rdb-key-save-delay 20000
        fill 100
        set digest [r debug digest]
        assert_equal {Background saving started} [r bgsave]
        wait_for {[info_field current_save_keys_processed] > 0}
        # The child stands still until all has been seen that there is to see.
        set child [child_pid]
        exec kill -STOP $child
        assert_equal 1 [info_field rdb_bgsave_in_progress]
        assert_equal 100 [info_field current_save_keys_total]
        r set key:50 changed
        r del key:99
        assert_error {ERR Background save already in progress} {r bgsave}
        assert_error {ERR Background save already in progress} {r bgsave schedule}
        assert_error {ERR Background save already in progress} {r save}
        exec kill -CONT $child
        wait_saved
        assert_equal 2 [info_field rdb_changes_since_last_save]
        assert_equal ok [info_field rdb_last_bgsave_status]
        assert {[info_field rdb_last_cow_size] > 0}
        assert {[info_field total_forks] >= 1 && [info_field latest_fork_usec] > 0}
        kill_server
        start_again
        assert_equal $digest [r debug digest]
        assert_error {ERR syntax error} {r bgsave now}
    }

    test {SAVE is no command of a transaction, BGSAVE is} {
        r multi
        assert_error {ERR Command not allowed inside a transaction} {r save}
        assert_error EXECABORT* {r exec}
        r multi
        r bgsave
        assert_equal {{Background saving started}} [r exec]
        wait_saved
    }

    test {a server that is killed takes the child along, and its file goes with the next start} {
        r config set rdb-key-save-delay 100000
        fill 100
        r bgsave
        wait_for {[child_pid] && [file exists [in_dir temp-[child_pid].rdb]]}
        set child [child_pid]
        kill_server
        wait_for {![harness::alive $child]}
        assert {[file exists [in_dir temp-$child.rdb]]}
        put_bytes [in_dir temp-[pid].rdb] "of a process that lives"
        start_again
        assert {![file exists [in_dir temp-$child.rdb]]}
        assert {[file exists [in_dir temp-[pid].rdb]]}
        file delete [in_dir temp-[pid].rdb]
    }

    test {a key that expires while the server is down is not loaded} {
        r flushall
        r set short v px 1
        r set long v ex 1000
        r save
        wait_for {[r exists short] == 0}
        kill_server
        start_again
        assert_equal 1 [r dbsize]
        assert_equal 1 [info_field rdb_last_load_keys_loaded]
        assert_equal 1 [info_field rdb_last_load_keys_expired]
    }

    test {maxmemory does not hold for loading} {
        r flushall
        r set big [string repeat x 5000000]
        r save
        kill_server
        set f [open [in_dir vectra.conf] a]
        puts $f "maxmemory 3mb"
        close $f
        start_again
        assert_equal 5000000 [r strlen big]
        assert_equal {maxmemory 3145728} [r config get maxmemory]
        assert_error {OOM *} {r set more x}
        r config set maxmemory 0
        r flushall
    }
}

start_server {enable-debug-command yes} {
    test {DEBUG RELOAD gives the same data again, from the file alone with NOSAVE} {
        fill 50
        r set later v pxat 4102444800000
        r vadd set VALUES 2 1 0 a
        r vadd set VALUES 2 0 1 b
        set digest [r debug digest]
        assert_equal OK [r debug reload]
        assert_equal $digest [r debug digest]
        r set more 1
        assert_equal OK [r debug reload nosave]
        assert_equal $digest [r debug digest]
        assert_equal 4102444800000 [r pexpiretime later]
    }

    test {sets that workers take part in reading come back as they were} {
        foreach {key quant} {wide NOQUANT short Q8} {
            r vcreate $key DIM 256 $quant INDEX FLAT
            for {set i 0} {$i < 8} {incr i} {
                set names {}
                set vectors {}
                for {set j 0} {$j < 1000} {incr j} {
                    lappend names [format {%s-%06d} $key [expr {$i * 1000 + $j}]]
                    append vectors [fp32 [random_vector 256]]
                }
                r vmadd $key 1000 FP32 $vectors {*}$names
            }
            for {set i 0} {$i < 8000} {incr i 80} {
                r vsetattr $key [format {%s-%06d} $key $i] "{\"n\":$i}"
            }
        }
        set digest [r debug digest]
        assert_equal OK [r debug reload]
        assert_equal $digest [r debug digest]
        r debug vcheck wide
        r debug vcheck short
        r restore again 0 [r dump wide]
        assert_equal [r debug digest-value wide] [r debug digest-value again]
        r del wide short again
    }

    test {DEBUG RELOAD NOFLUSH is refused for keys that are there, MERGE replaces them} {
        r set key:1 other
        r set extra 1
        assert_error {ERR Error trying to load the RDB dump*} {r debug reload nosave noflush}
        assert_equal OK [r debug reload nosave noflush merge]
        assert_equal value:1 [r get key:1]
        assert_equal 1 [r get extra]
        assert_error {ERR DEBUG RELOAD only supports*} {r debug reload nosuch}
        file delete [in_dir dump.rdb]
        assert_error {ERR Error trying to load the RDB dump*} {r debug reload nosave}
        assert_equal 0 [r dbsize]
    }

    test {DEBUG RELOAD counts as a change for those who watch} {
        r set k v
        set c [client]
        $c watch k
        r debug reload
        $c multi
        $c ping
        assert_equal {} [$c exec]
        $c close
    }
}

# ---- failures ------------------------------------------------------------------

start_server {save {3600 1000000}} {
    test {a child that is killed makes writes fail, until one succeeds} {
        r config set rdb-key-save-delay 100000
        fill 100
        r bgsave
        wait_for {[child_pid] && [file exists [in_dir temp-[child_pid].rdb]]}
        set child [child_pid]
        exec kill -9 $child
        wait_saved
        assert_equal err [info_field rdb_last_bgsave_status]
        assert {![file exists [in_dir temp-$child.rdb]] && ![file exists [in_dir dump.rdb]]}
        set misconf "MISCONF Redis is configured to save RDB snapshots, but it's currently\
            unable to persist to disk. Commands that may modify the data set are disabled,\
            because this instance is configured to report errors during writes if RDB\
            snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs\
            for details about the RDB error."
        assert_error $misconf {r set a b}
        assert_error $misconf {r vadd s VALUES 1 1 a}
        assert_error $misconf {r del key:1}
        assert_error $misconf {r ping}
        assert_equal value:1 [r get key:1]
        r multi
        assert_error $misconf {r set a b}
        assert_error {EXECABORT*} {r exec}
    }

    test {stop-writes-on-bgsave-error no, or no save points, takes writes nevertheless} {
        r config set stop-writes-on-bgsave-error no
        assert_equal OK [r set a b]
        r config set stop-writes-on-bgsave-error yes
        assert_error {MISCONF*} {r set a b}
        r config set save ""
        assert_equal OK [r set a b]
        r config set save "3600 1000000"
        assert_error {MISCONF*} {r set a b}
    }

    test {a queue that was filled before is not run} {
        r config set stop-writes-on-bgsave-error no
        r multi
        r set a c
        set c [client]
        $c config set stop-writes-on-bgsave-error yes
        $c close
        assert_error {EXECABORT Transaction discarded because of: MISCONF*} {r exec}
        assert_equal b [r get a]
    }

    test {a snapshot that succeeds lets writes in again} {
        r config set rdb-key-save-delay 0
        r bgsave
        wait_saved
        assert_equal ok [info_field rdb_last_bgsave_status]
        assert_equal OK [r set a b]
        assert_equal PONG [r ping]
    }

    test {a file that cannot get its name is a failure, and the old one stays} {
        set before [bytes_of [in_dir dump.rdb]]
        file rename [in_dir dump.rdb] [in_dir kept]
        file mkdir [in_dir dump.rdb/x]
        r bgsave
        wait_saved
        assert_equal err [info_field rdb_last_bgsave_status]
        assert_error {ERR renaming temp-*.rdb to dump.rdb: *} {r save}
        assert_equal {} [glob -nocomplain [in_dir temp-*]]
        assert_match "*saving failed; writes are refused*renaming*" [harness::log_of [srv log]]
    }

    test {SHUTDOWN does not end a server that cannot save, FORCE and NOSAVE do} {
        assert_error {ERR Errors trying to SHUTDOWN. Check logs.} {r shutdown}
        assert_error {ERR Errors trying to SHUTDOWN. Check logs.} {r shutdown save now}
        assert_error {ERR No shutdown in progress.} {r shutdown abort}
        exec kill -TERM [srv pid]
        wait_for {[string match "*asked-by=signal*the server goes on*" \
                       [harness::log_of [srv log]]]}
        assert_error {MISCONF*} {r ping}
        assert_equal value:1 [r get key:1]
        catch {r shutdown force}
        wait_ended
        file delete -force [in_dir dump.rdb]
        file rename [in_dir kept] [in_dir dump.rdb]
        start_again
        assert_equal value:1 [r get key:1]
    }
}

start_server {enable-protected-configs yes} {
    test {a snapshot goes to the directory of its beginning} {
        r config set rdb-key-save-delay 20000
        fill 50
        file mkdir [in_dir elsewhere]
        r bgsave
        wait_for {[child_pid]}
        r config set dir [in_dir elsewhere] dbfilename other.rdb
        wait_saved
        assert_equal ok [info_field rdb_last_bgsave_status]
        assert {[file exists [in_dir dump.rdb]]}
        r config set rdb-key-save-delay 0
        r save
        assert_equal [in_dir elsewhere/other.rdb] [glob [in_dir elsewhere/*]]
        assert_error "*can't be a path, just a name" {r config set dbfilename a/b}
        r config set dir [srv dir]
    }

    test {a directory that is gone is an error that names it} {
        file mkdir [in_dir gone]
        r config set dir [in_dir gone]
        file delete [in_dir gone]
        assert_error {ERR creating temp-*.rdb: No such file or directory} {r save}
        assert_equal {Background saving started} [r bgsave]
        wait_saved
        assert_equal err [info_field rdb_last_bgsave_status]
        assert_match "*creating temp-*.rdb: No such file*" [harness::log_of [srv log]]
        assert_equal OK [r set a b] ;# there are no save points
        r config set dir [srv dir]
    }
}

# ---- when it is saved by itself --------------------------------------------------

start_server {} {
    test {a save point saves when its changes and its time are there} {
        assert_equal {save {}} [r config get save]
        r config set save "1 3"
        r set a 1
        r set b 2
        assert_equal 0 [info_field rdb_saves]
        r set c 3
        wait_for {[info_field rdb_saves] == 1}
        assert_equal 0 [info_field rdb_changes_since_last_save]
        assert_match "*a save point is reached changes=3 after=1s*" [harness::log_of [srv log]]
        assert_error "*Invalid save parameters" {r config set save "1 2 3"}
        assert_equal {save {1 3}} [r config get save]
    }

    test {SHUTDOWN saves when there are save points, and with SAVE} {
        r config set save "10000 1"
        r set kept 1
        restart
        assert_equal 1 [r get kept]
        r set lost 1
        restart
        assert_equal {} [r get lost]
        r set kept 2
        restart save
        assert_equal 2 [r get kept]
    }

    test {SHUTDOWN NOSAVE does not, whatever the save points} {
        r config set save "10000 1"
        r set kept 3
        restart nosave
        assert_equal 2 [r get kept]
    }

    test {FLUSHALL empties the snapshot, too, when there are save points} {
        fill 100
        r save
        r config set rdb-key-save-delay 100000
        r bgsave
        wait_for {[child_pid]}
        r config set rdb-key-save-delay 0 save "10000 1"
        r set a b
        r flushall
        wait_for {[info_field rdb_saves] == 2}
        assert_equal ok [info_field rdb_last_bgsave_status]
        kill_server
        start_again
        assert_equal 0 [r dbsize]
    }

    test {SIGTERM is as SHUTDOWN} {
        r config set save "10000 1"
        r set kept 4
        exec kill -TERM [srv pid]
        wait_ended
        start_again
        assert_equal 4 [r get kept]
    }

    test {SHUTDOWN gives up the snapshot under way} {
        r config set rdb-key-save-delay 100000
        fill 100
        r bgsave
        wait_for {[child_pid] && [file exists [in_dir temp-[child_pid].rdb]]}
        set child [child_pid]
        restart nosave
        assert {![harness::alive $child]}
        assert_equal {} [glob -nocomplain [in_dir temp-*]]
        assert_equal 4 [r get kept]
        assert_equal {} [r get key:1]
    }
}

# ---- loading ---------------------------------------------------------------------

start_server {enable-debug-command yes key-load-delay 2000} {
    test {while a snapshot is loaded clients are told so} {
        fill 500
        r save
        set digest [r debug digest]
        kill_server
        start_again 0
        assert_error {LOADING Redis is loading the dataset in memory} {r get key:1}
        assert_error {LOADING *} {r ping}
        assert_error {LOADING *} {r save}
        assert_equal 1 [info_field loading]
        assert_equal 0 [info_field async_loading]
        assert_equal [file size [in_dir dump.rdb]] [info_field loading_total_bytes]
        assert {abs([info_field loading_start_time] - [clock seconds]) < 20}
        foreach field {loading_loaded_bytes loading_loaded_perc loading_eta_seconds} {
            assert {[info_field $field] ne ""} $field
        }
        set size [file size [in_dir dump.rdb]]
        wait_for {![catch {r ping}]}
        assert_equal 0 [info_field loading]
        assert_equal {} [info_field loading_eta_seconds]
        assert_equal $digest [r debug digest]
    }

    test {a server that is stopped while it loads leaves the file alone} {
        set before [bytes_of [in_dir dump.rdb]]
        kill_server
        start_again 0
        assert_error {LOADING *} {r ping}
        catch {r shutdown save}
        wait_ended
        assert {[bytes_of [in_dir dump.rdb]] eq $before}
        start_again 0
        assert_error {LOADING *} {r ping}
        exec kill -TERM [srv pid]
        wait_ended
        assert {[bytes_of [in_dir dump.rdb]] eq $before}
        start_again
        assert_equal 500 [r dbsize]
    }
}

test {a file that is cut short or damaged is no start, and is named with the place} {
    set dir [harness::scratch hostile]
    file mkdir $dir
    set whole [bytes_of $data/redis-8.0.6-strings.rdb]
    foreach n {0 8 30 500 1000} {
        put_bytes $dir/dump.rdb [string range $whole 0 $n-1]
        lassign [run_on $dir] code output
        assert_equal 1 $code
        assert_match "*vectra-server: dump.rdb: *offset *: the input ends in the middle*" $output
    }
    set last [expr {[string length $whole] - 9}]
    put_bytes $dir/dump.rdb [string replace $whole end-20 end-20 "\x01"]
    assert_match {*vectra-server: dump.rdb: *offset *} [lindex [run_on $dir] 1]
    put_bytes $dir/dump.rdb "[string range $whole 0 $last]12345678"
    assert_match {*the checksum is *} [lindex [run_on $dir] 1]
    file delete -force $dir
}

test {types that Vectra does not have are no start, unless they are to be left out} {
    set dir [harness::scratch types]
    file mkdir $dir
    file copy $data/redis-8.0.6-types.rdb $dir/dump.rdb
    lassign [run_on $dir] code output
    assert_equal 1 $code
    assert_match "*vectra-server: dump.rdb: offset *: key '*' in database *: a *, which Vectra does\
        not have; rdb-skip-unknown-types yes leaves such keys out*" $output
    file delete -force $dir
}

start_server {rdb-skip-unknown-types yes} {
    test {a file of Redis 8 is loaded, without what Vectra does not have} {
        kill_server
        file copy -force $data/redis-8.0.6-types.rdb [in_dir dump.rdb]
        start_again
        assert_equal hello [r get plain]
        assert_equal [string repeat abc 200] [r get lzf]
        assert_equal 9000000000 [r get int64]
        assert_equal 4102444800123 [r pexpiretime far]
        assert_equal 3 [r vdim vs]
        assert_equal 0 [r exists list-big]
        r select 3
        assert_equal 12345678901234 [r get ttl]
        assert_match "*a key was left out: Vectra does not have its type key='list-big'*" \
            [harness::log_of [srv log]]
        assert_match "*functions were left out*" [harness::log_of [srv log]]
    }

    test {a checksum of 0 says that there is none; rdbchecksum no writes that and looks at none} {
        kill_server
        set bytes [bytes_of $data/redis-8.0.6-strings.rdb]
        put_bytes [in_dir dump.rdb] [string replace $bytes end-7 end [string repeat \0 8]]
        start_again
        assert_equal hello [r get plain]
        kill_server
        put_bytes [in_dir dump.rdb] [string replace $bytes end-7 end 12345678]
        set f [open [in_dir vectra.conf] a]
        puts $f "rdbchecksum no"
        close $f
        start_again
        assert_equal hello [r get plain]
        r save
        assert_equal [string repeat \0 8] [string range [bytes_of [in_dir dump.rdb]] end-7 end]
    }
}
