# The log: what was acknowledged is there after the server was killed, damage is
# noticed, bases are written under load, and nothing is promised that is not
# kept.

# ---- helpers -----------------------------------------------------------------

# Kills the server as a crash would and starts it again on the same files.
proc crash_and_restart {{directives {}}} {
    set server [lindex $::harness::servers end]
    catch {exec kill -9 [dict get $server pid]}
    wait_for {![harness::alive [dict get $server pid]]}
    set_directives [dict get $server dir] $directives
    set server [harness::launch [dict get $server dir]]
    lset ::harness::servers end $server
    interp alias {} r {} [resp::connect [dict get $server port]]
    wait_for {![info_field loading]}
}

proc set_directives {dir directives} {
    if {![llength $directives]} return
    set f [open $dir/vectra.conf w]
    dict for {name value} $directives { puts $f "$name $value" }
    close $f
}

# The words with which a server refuses to start on a directory.
proc refusal_of {dir args} {
    set pid [exec $::harness::binary $dir/vectra.conf --dir $dir \
                 --port [harness::free_port] {*}$args > $dir/refusal 2>@1 &]
    wait_for {![harness::alive $pid]} "for the server to refuse [harness::log_of $dir/refusal]"
    return [harness::log_of $dir/refusal]
}

proc read_file {path} {
    set f [open $path rb]
    set content [read $f]
    close $f
    return $content
}

proc write_file {path content} {
    set f [open $path wb]
    puts -nonewline $f $content
    close $f
}

proc log_dir {} { return [srv dir]/appendonlydir }
proc manifest {} { return [read_file [log_dir]/appendonly.aof.manifest] }
proc increment {} { return [lindex [lsort -dictionary [glob [log_dir]/*.incr.aof]] end] }

# Some of everything.
proc write_some_of_everything {tag} {
    r set s$tag plain
    r set e$tag expires px 10000000
    r setex f$tag 10000 expires
    r incrbyfloat n$tag 1.25
    r append s$tag more
    r set gone$tag x px 1
    r getex s$tag ex 5000
    r vadd v$tag fp32 [fp32 {1 2 3 4}] a setattr {{"n":1}}
    r vadd v$tag values 4 1.5 2.5 -3 0.25 b cas
    r vadd v$tag values 4 9 8 7 6 a
    r vsetattr v$tag b {{"n":2}}
    r vadd x$tag values 3 1 2 3 a noquant
    r vadd b$tag values 3 1 -2 3 a bin
    r vadd p$tag reduce 2 values 4 1 2 3 4 a
    r vcreate c$tag dim 2 metric l2 fp16
    r vmadd m$tag 3 fp32 [fp32 {1 2 3 4 5 6}] a b c attrs 1 2 3
    r vmrem m$tag a nothere
    r multi
    r incr t$tag
    r select 3
    r set other$tag 1
    r select 0
    r exec
    r rename n$tag o$tag
    wait_for {![r exists gone$tag]}
}

proc rewrite_log {} {
    set n [info_field aof_rewrites]
    r bgrewriteaof
    wait_for {[info_field aof_rewrites] > $n}
}

# ---- what is acknowledged ----------------------------------------------------

foreach policy {always everysec no} {
    start_server [list appendonly yes appendfsync $policy save {""}] {
        test "what was acknowledged is there after a kill -9, appendfsync $policy" {
            write_some_of_everything 1
            set digest [r debug digest]
            crash_and_restart
            assert_equal $digest [r debug digest]
            write_some_of_everything 2
            set digest [r debug digest]
            crash_and_restart
            assert_equal $digest [r debug digest]
            assert {[r ttl e1] > 0 && [r ttl f1] > 0 && [r ttl s1] > 0}
            assert_equal -1 [r ttl t1]
        }

        test "what was acknowledged to many clients is there, appendfsync $policy" {
            set clients {}
            for {set i 0} {$i < 10} {incr i} { lappend clients [client] }
            for {set round 0} {$round < 50} {incr round} {
                foreach c $clients {
                    $c send incr counter
                    $c send vadd words fp32 [fp32 [random_vector 8]] w[expr {int(rand() * 500)}]
                }
                foreach c $clients { $c read; $c read }
            }
            set digest [r debug digest]
            crash_and_restart
            assert_equal 500 [r get counter]
            assert_equal $digest [r debug digest]
        }

        test "what was removed does not come back, appendfsync $policy" {
            r del words
            r flushdb
            r set left 1
            crash_and_restart
            assert_equal {left} [r keys *]
        }
    }
}

start_server {appendonly yes appendfsync everysec save {""}} {
    test {keys that expired while nobody looked are gone after a restart} {
        r debug set-active-expire 0
        r set a 1 px 1
        r set b 1 px 100000000
        wait_for {[r get a] eq ""}
        crash_and_restart
        assert_equal b [r keys *]
    }

    test {redis-check-aof accepts the log} {
        write_some_of_everything 1
        assert_match "*All AOF files and manifest are valid*" \
            [exec redis-check-aof [log_dir]/appendonly.aof.manifest]
        rewrite_log
        r set a 1
        assert_match "*All AOF files and manifest are valid*" \
            [exec redis-check-aof [log_dir]/appendonly.aof.manifest]
    }

    test {aof-timestamp-enabled writes the time into the log} {
        r config set aof-timestamp-enabled yes
        r set a 2
        assert_match "*#TS:[clock seconds]*" [string range [read_file [increment]]\
            [string first "#TS:" [read_file [increment]]] end]
        assert_match "*All AOF files and manifest are valid*" \
            [exec redis-check-aof [log_dir]/appendonly.aof.manifest]
        crash_and_restart
        assert_equal 2 [r get a]
    }
}

# ---- tails and damage --------------------------------------------------------

start_server {appendonly yes appendfsync always save {""}} {
    test {a log may end at any byte of its last write} {
        r set a 1
        r set b 2
        set whole [file size [increment]]
        r set c 3
        r multi
        r set d 4
        r set e 5
        r exec
        set text [read_file [increment]]
        set path [increment]
        r config set appendonly no
        for {set len [string length $text]} {$len >= $whole} {incr len -1} {
            write_file $path [string range $text 0 [expr {$len - 1}]]
            r debug loadaof
            set keys [lsort [r keys *]]
            assert {$keys eq {a b} || $keys eq {a b c} || $keys eq {a b c d e}} "at $len: $keys"
            assert {[file size $path] <= $len}
        }
        assert_equal {a b} $keys
        assert_equal $whole [file size $path]
    }
}

start_server {appendonly yes save {""}} {
    test {an increment may have reached the disk before the end of the one before} {
        # All in the second after the first sync, which has the first write.
        for {set try 0} {$try < 60} {incr try} {
            catch {exec kill -9 [srv pid]}
            wait_for {![harness::alive [srv pid]]}
            file delete -force [log_dir]
            crash_and_restart
            r config set rdb-key-save-delay 10000000
            r set a 1
            r waitaof 1 0 0
            set size [file size [log_dir]/appendonly.aof.1.incr.aof]
            r set b 2
            r bgrewriteaof
            set second [log_dir]/appendonly.aof.2.incr.aof
            wait_for {[file exists $second] && [file size $second] > 11}
            r set c 3
            exec kill -9 [srv pid]
            wait_for {![harness::alive [srv pid]]}
            if {[lsort -unique [regexp -all -inline {SYNCED:\d+} [read_file $second]]] eq
                "SYNCED:50"} break
        }
        file copy [log_dir] [srv dir]/image
        exec truncate -s $size [srv dir]/image/appendonly.aof.1.incr.aof
        assert_match "*appendonly.aof.2.incr.aof*not the one that follows*" \
            [refusal_of [srv dir] --appenddirname image --aof-load-truncated no]
        crash_and_restart {appendonly yes save {""} appenddirname image}
        assert_equal a [r keys *]
        assert_match "*leaving it out*" [read_file [srv log]]
        r set d 4
        crash_and_restart
        assert_equal {a d} [lsort [r keys *]]
    }

    test {nor may the first increment of all be missing, when it is known to have been there} {
        crash_and_restart {appendonly yes save {""}}
        assert_equal {a b c} [lsort [r keys *]]
        exec kill -9 [srv pid]
        wait_for {![harness::alive [srv pid]]}
        foreach keep {11 0} {
            exec truncate -s $keep [log_dir]/appendonly.aof.1.incr.aof
            assert_match "*appendonly.aof.2.incr.aof*not the one that follows*" \
                [refusal_of [srv dir]]
        }
        file delete -force [log_dir]
        crash_and_restart
    }
}

start_server {appendonly yes appendfsync always save {""}} {
    test {a log that is cut short is cut back and goes on} {
        r set a 1
        r set b 2
        set path [increment]
        exec truncate -s -5 $path
        crash_and_restart
        assert_equal 1 [r get a]
        assert_equal "" [r get b]
        assert_match "*the log is cut short*" [read_file [srv log]]
        r set c 3
        crash_and_restart
        assert_equal {a c} [lsort [r keys *]]
        assert {![string match "*cut short*" [read_file [srv log]]]}
    }

    test {aof-load-truncated no refuses a log that is cut short} {
        r set d 4
        exec kill -9 [srv pid]
        wait_for {![harness::alive [srv pid]]}
        exec truncate -s -5 [increment]
        assert_match "*appendonly.aof.1.incr.aof*cut short*" \
            [refusal_of [srv dir] --aof-load-truncated no]
    }

    test {damage before the tail refuses to start, naming file and offset} {
        crash_and_restart
        for {set i 0} {$i < 20} {incr i} { r set key:$i value:$i }
        set path [increment]
        set text [read_file $path]
        set at [string first value:3 $text]
        exec kill -9 [srv pid]
        wait_for {![harness::alive [srv pid]]}
        write_file $path [string replace $text $at $at X]
        set words [refusal_of [srv dir]]
        assert_match "*appendonly.aof.1.incr.aof*offset *CRC-32C*" $words
        # What is cut off at the end of the same file changes nothing about that.
        write_file $path [string range [read_file $path] 0 end-3]
        assert_match "*offset *CRC-32C*" [refusal_of [srv dir]]
        write_file $path $text
        crash_and_restart
        assert_equal value:3 [r get key:3]
    }

    test {a file that is missing refuses to start} {
        rewrite_log
        exec kill -9 [srv pid]
        wait_for {![harness::alive [srv pid]]}
        set base [glob [log_dir]/*.base.rdb]
        file rename $base $base.away
        assert_match "*base.rdb*No such file*" [refusal_of [srv dir]]
        file rename $base.away $base
        crash_and_restart
        assert_equal value:3 [r get key:3]
    }

    test {long commands among short ones are run in their order} {
        for {set i 0} {$i < 40} {incr i} {
            r set order $i
            if {$i % 7 == 3} { r mset order long$i a 1 b 2 c 3 d 4 e 5 }
            if {$i % 7 == 5} { r append order + ; r mset o$i [r get order] a 1 b 2 c 3 d 4 }
        }
        set digest [r debug digest]
        crash_and_restart
        assert_equal {39 33+} [list [r get order] [r get o33]]
        assert_equal $digest [r debug digest]
        r del order {*}[r keys o*] {*}[r keys long*]
    }

    test {a manifest that is damaged refuses to start} {
        exec kill -9 [srv pid]
        wait_for {![harness::alive [srv pid]]}
        set text [manifest]
        write_file [log_dir]/appendonly.aof.manifest "file x seq\n"
        assert_match "*manifest*line 1*" [refusal_of [srv dir]]
        write_file [log_dir]/appendonly.aof.manifest $text
        crash_and_restart
        assert_equal value:3 [r get key:3]
    }
}

# ---- logs of Redis -----------------------------------------------------------

proc resp_command {args} {
    set out "*[llength $args]\r\n"
    foreach a $args { append out "\$[string length $a]\r\n$a\r\n" }
    return $out
}

start_server {save {""}} {
    test {a log of one file, as Redis 6 has it, becomes the base} {
        write_file [srv dir]/appendonly.aof [resp_command SELECT 0][resp_command SET a 1][resp_command \
            VADD v FP32 [fp32 {1 2}] e CAS][resp_command SELECT 2][resp_command SET b 2]
        crash_and_restart {appendonly yes save {""}}
        assert_equal 1 [r get a]
        assert_equal 1 [r vcard v]
        assert_match "file appendonly.aof seq 1 type b\n*" [manifest]
        assert {![file exists [srv dir]/appendonly.aof]}
        r set c 3
        crash_and_restart
        assert_equal {a c v} [lsort [r keys *]]
        r select 2
        assert_equal 2 [r get b]
    }
}

start_server {save {""}} {
    test {a log of several files, as Redis 8 has it, is taken over} {
        file mkdir [log_dir]
        write_file [log_dir]/appendonly.aof.1.base.aof [resp_command SELECT 0][resp_command SET a 1]
        write_file [log_dir]/appendonly.aof.4.incr.aof [resp_command SELECT 0][resp_command INCR a]
        write_file [log_dir]/appendonly.aof.5.incr.aof [resp_command SELECT 0]#TS:1628217470\r\n[resp_command \
            INCR a][resp_command MULTI][resp_command SET x 1]
        write_file [log_dir]/appendonly.aof.manifest [string trimleft "
file appendonly.aof.1.base.aof seq 1 type b
file appendonly.aof.3.incr.aof seq 3 type h
file appendonly.aof.4.incr.aof seq 4 type i startoffset 0 endoffset 50
file appendonly.aof.5.incr.aof seq 5 type i startoffset 50
"]
        crash_and_restart {appendonly yes save {""}}
        assert_equal 3 [r get a]
        assert_equal 0 [r exists x]
        assert_match "*cut short*" [read_file [srv log]]
        r incr a
        crash_and_restart
        assert_equal 4 [r get a]
        assert_match "*appendonly.aof.6.incr.aof seq 6 type i*" [manifest]
    }

    test {a command that is unknown, or fails, refuses to start} {
        exec kill -9 [srv pid]
        wait_for {![harness::alive [srv pid]]}
        file delete -force [log_dir]
        foreach {line why} {
            {LPUSH l 1} {*offset 23*LPUSH*}
            {INCRBY a x} {*offset 23*incrby*not an integer*}
            {GET a} {*offset 23*no command that writes*}
        } {
            write_file [srv dir]/appendonly.aof [resp_command SELECT 0][resp_command {*}$line]
            assert_match $why [refusal_of [srv dir]]
            file delete -force [log_dir]
        }
        crash_and_restart
    }
}

# ---- bases -------------------------------------------------------------------

foreach preamble {yes no} {
    start_server [list appendonly yes aof-use-rdb-preamble $preamble save {""}] {
        test "a rewrite under load loses nothing, aof-use-rdb-preamble $preamble" {
            write_some_of_everything 1
            set c [client]
            for {set i 0} {$i < 3000} {incr i} {
                $c send vadd big fp32 [fp32 [random_vector 16]] e$i
            }
            for {set i 0} {$i < 3000} {incr i} { $c read }
            for {set round 0} {$round < 3} {incr round} {
                set n [info_field aof_rewrites]
                assert_equal "Background append only file rewriting started" [r bgrewriteaof]
                for {set i 0} {[info_field aof_rewrites] == $n && $i < 100000} {incr i} {
                    r incr during
                    r vadd big fp32 [fp32 [random_vector 16]] e[expr {int(rand() * 4000)}]
                    r vrem big e[expr {int(rand() * 4000)}]
                }
                write_some_of_everything r$round
            }
            set digest [r debug digest]
            crash_and_restart
            assert_equal $digest [r debug digest]
            assert_equal ok [info_field aof_last_bgrewrite_status]
        }

        test "the files that a rewrite replaced are removed, aof-use-rdb-preamble $preamble" {
            rewrite_log
            wait_for {[llength [glob [log_dir]/*]] == 3}
            set suffix [expr {$preamble ? "rdb" : "aof"}]
            assert {[llength [glob [log_dir]/*.base.$suffix]] == 1}
        }

        test "rows come out of a base as they went in, aof-use-rdb-preamble $preamble" {
            set before [list [r vemb v1 a raw] [r vemb x1 a raw] [r vemb b1 a raw] [r vinfo c1]]
            set digest [r debug digest]
            r debug loadaof
            assert_equal $digest [r debug digest]
            set after [list [r vemb v1 a raw] [r vemb x1 a raw] [r vemb b1 a raw] [r vinfo c1]]
            assert_equal [lrange $before 0 2] [lrange $after 0 2]
        }
    }
}

start_server {appendonly yes auto-aof-rewrite-min-size 20kb auto-aof-rewrite-percentage 100
              save {""}} {
    test {a log that has grown is rewritten by itself} {
        for {set i 0} {$i < 400} {incr i} { r set k [string repeat x 200] }
        wait_for {[info_field aof_rewrites] > 0}
        wait_for {[info_field aof_current_size] < 100000}
        r config set auto-aof-rewrite-percentage 0
    }

    test {the size of the log is told} {
        rewrite_log
        assert {[info_field aof_base_size] > 0}
        set size [info_field aof_current_size]
        r set more 1
        wait_for {[info_field aof_current_size] > $size}
        wait_for {[info_field aof_buffer_length] == 0}
    }
}

# ---- switching ---------------------------------------------------------------

start_server {save {""}} {
    test {the log is switched on while the server runs} {
        write_some_of_everything 1
        assert_equal 0 [info_field aof_enabled]
        r config set appendonly yes
        r set while 1
        wait_for {[info_field aof_rewrites] == 1}
        r set after 2
        set digest [r debug digest]
        crash_and_restart {appendonly yes save {""}}
        assert_equal $digest [r debug digest]
    }

    test {the log is switched off and on again} {
        r config set appendonly no
        assert_equal 0 [info_field aof_enabled]
        set size [file size [increment]]
        r set unlogged 1
        assert_equal $size [file size [increment]]
        r config set appendonly yes
        wait_for {[info_field aof_rewrites] == 1}
        r set after 3
        set digest [r debug digest]
        crash_and_restart
        assert_equal $digest [r debug digest]
        assert_equal 1 [r get unlogged]
    }

    test {switching on and off at once does no harm} {
        for {set i 0} {$i < 5} {incr i} {
            r config set appendonly no
            r incr x
            r config set appendonly yes
            r incr x
        }
        wait_for {[info_field aof_rewrites] > 0}
        set digest [r debug digest]
        crash_and_restart
        assert_equal $digest [r debug digest]
    }

    test {appendfsync is changed while clients write} {
        foreach policy {always no everysec always everysec} {
            r config set appendfsync $policy
            for {set i 0} {$i < 50} {incr i} { r incr y }
        }
        crash_and_restart
        assert_equal 250 [r get y]
    }

    test {the child that writes a base has no connection of a client} {
        for {set i 0} {$i < 50} {incr i} { r set slow:$i v }
        r config set rdb-key-save-delay 1000000
        set forks [info_field total_forks]
        r bgrewriteaof
        wait_for {[info_field total_forks] > $forks}
        assert {[info_field latest_fork_usec] > 0}
        set pid [srv pid]
        set child [string trim [read_file /proc/$pid/task/$pid/children]]
        wait_for {![catch {read_file /proc/$child/comm} name] &&
                  [string trim $name] eq "vectra-base"}
        wait_for {
            [lsearch -glob [lmap fd [glob /proc/$child/fd/*] {file readlink $fd}] socket:*] < 0
        }
        assert_equal 1 [info_field aof_rewrite_in_progress]
        r config set appendonly no
        r config set rdb-key-save-delay 0
        wait_for {[info_field aof_rewrite_in_progress] == 0}
        r config set appendonly yes
        wait_for {[info_field aof_rewrite_in_progress] == 0}
    }

    test {BGREWRITEAOF waits for a BGSAVE, and says so} {
        r config set rdb-key-save-delay 10000000
        r bgsave
        assert_match "*scheduled*" [r bgrewriteaof]
        assert_equal 1 [info_field aof_rewrite_scheduled]
        assert_match "*scheduled*" [r bgrewriteaof]
        assert_equal 1 [info_field rdb_bgsave_in_progress]
        # It may begin a moment later.
        set children /proc/[srv pid]/task/[srv pid]/children
        wait_for {[read_file $children] ne ""}
        r config set rdb-key-save-delay 0
        set n [info_field aof_rewrites]
        r flushall
        exec kill -9 {*}[read_file $children]
        wait_for {[info_field aof_rewrites] > $n}
        assert_equal 0 [info_field aof_rewrite_scheduled]
        r bgsave
        wait_for {![info_field rdb_bgsave_in_progress]}
    }

    test {DEBUG LOADAOF without a log leaves the data alone} {
        r set a 1
        r config set appendonly no
        file rename [log_dir] [log_dir]-aside
        assert_error "*there is no log*" {r debug loadaof}
        assert_equal 1 [r get a]
        file delete -force [log_dir]
        file rename [log_dir]-aside [log_dir]
        r debug loadaof
        assert_equal 1 [r get a]
        r config set appendonly yes
        wait_for {![info_field aof_rewrite_in_progress]}
    }

    test {BGREWRITEAOF works while the log is off} {
        r config set appendonly no
        rewrite_log
        assert_match "*type b*" [manifest]
        set digest [r debug digest]
        crash_and_restart
        assert_equal $digest [r debug digest]
    }
}

# ---- one server --------------------------------------------------------------

start_server {appendonly yes appendfsync always save {""}} {
    test {a log that a server has is not another's, nor cut by a tool} {
        r set a 1
        set second [srv dir]/second
        set pid [exec $::harness::binary [srv dir]/vectra.conf --dir [srv dir] \
                     --port [harness::free_port] > $second 2>@1 &]
        wait_for {[string match "*waiting for another process*" [harness::log_of $second]]}
        set check [file join [file dirname $::harness::binary] vectra-check-aof]
        assert {[catch {exec $check --truncate-to-lsn 1 --yes [log_dir]} words]}
        assert_match "*in use by another process*" $words
        r set b 2
        # Until the first is gone, however that came about.
        exec kill -9 [srv pid]
        wait_for {[string match "*is ready*" [harness::log_of $second]]}
        assert {[regexp {is ready port=(\d+)} [harness::log_of $second] - port]}
        set c [resp::connect $port]
        assert_equal {a b} [lsort [$c keys *]]
        $c close
        exec kill -9 $pid
        wait_for {![harness::alive $pid]}
        crash_and_restart
        assert_equal {a b} [lsort [r keys *]]
    }
}

# ---- WAITAOF -----------------------------------------------------------------

start_server {appendonly yes appendfsync no save {""}} {
    test {WAITAOF waits until the writes of its connection are on disk} {
        r set a 1
        assert_equal {1 0} [r waitaof 1 0 0]
        assert_equal {1 0} [r waitaof 0 0 0]
        r set a 2
        set c [client]
        assert_equal {1 0} [$c waitaof 1 0 0]
        assert_equal {1 0} [r waitaof 1 0 0]
        r set a 3
        r waitaof 1 0 0
        assert_equal {1 0} [r waitaof 1 1 1]
    }

    test {WAITAOF takes only what makes sense} {
        assert_error {ERR value is out of range, value must between 0 and 1} {r waitaof 2 0 10}
        assert_error {ERR value is not an integer or out of range} {r waitaof x 0 10}
        assert_error {ERR value is out of range, must be positive} {r waitaof 0 -1 10}
        assert_error {ERR value is not an integer or out of range} {r waitaof x 0 10}
        assert_error {ERR value is not an integer or out of range} {r waitaof 0 x 10}
        assert_error {ERR timeout is negative} {r waitaof 0 0 -1}
        assert_error {ERR timeout is not an integer or out of range} {r waitaof 0 0 x}
        r config set appendonly no
        assert_error {ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.} \
            {r waitaof 1 0 10}
        assert_equal {0 0} [r waitaof 0 0 10]
    }

    test {WAITAOF inside a transaction does not wait} {
        r config set appendonly yes
        r multi
        r set a 1
        r waitaof 0 1 0
        assert_equal 0 [lindex [r exec] 1 1]
    }
}

# ---- the slate ---------------------------------------------------------------

proc slate {} { return [log_dir]/appendonly.aof.slate }

# Has a slate made, which much at once does.
proc have_slate {} {
    r set much [string repeat x 20000]
    wait_for {[file exists [slate]] && [file size [slate]] == 2097152}
    # Its thread is done when it has told the loop.
    wait_for {[r set much [string repeat x 20000]] eq "OK" &&
              [string first much [read_file [slate]]] > 0}
    wait_for {[info_field aof_buffer_length] == 0}
}

start_server {appendonly yes appendfsync everysec save {""} auto-aof-rewrite-percentage 0} {
    test {what is acknowledged and not in the log yet survives a kill -9} {
        r set long [string repeat x 3000000]
        have_slate
        r select 3
        set digest [r debug digest]
        # From here on the log takes nothing more, and the slate still does.
        set size [file size [increment]]
        exec prlimit --pid [srv pid] --fsize=$size:unlimited
        assert_equal OK [r set b [string repeat y 30000]]
        assert_equal $size [file size [increment]]
        wait_for {[info_field aof_last_write_status] eq "err"}
        assert_error {MISCONF*} {r set c 1}
        set digest [r debug digest]
        crash_and_restart
        assert_match "*going on with what was not in the log yet*" [read_file [srv log]]
        assert_equal $digest [r debug digest]
        r select 3
        assert_equal 30000 [r strlen b]
        # It is in the log now, and there once.
        assert {![file exists [slate]]}
        r append b z
        crash_and_restart
        assert {![string match "*going on with*" [read_file [srv log]]]}
        r select 3
        assert_equal 30001 [r strlen b]
    }

    test {service returns, and what waited meanwhile is in the log} {
        r select 0
        have_slate
        set size [file size [increment]]
        exec prlimit --pid [srv pid] --fsize=$size:unlimited
        assert_equal OK [r set b [string repeat y 40000]]
        wait_for {[info_field aof_last_write_status] eq "err"}
        exec prlimit --pid [srv pid] --fsize=unlimited:unlimited
        wait_for {[info_field aof_last_write_status] eq "ok"}
        assert {[file size [increment]] > $size + 40000}
        set digest [r debug digest]
        crash_and_restart
        assert_equal $digest [r debug digest]
        assert_equal 40000 [r strlen b]
    }

    test {what is cut off the log stays so} {
        have_slate
        set size [file size [increment]]
        exec prlimit --pid [srv pid] --fsize=$size:unlimited
        assert_equal OK [r set b [string repeat z 50000]]
        exec kill -9 [srv pid]
        wait_for {![harness::alive [srv pid]]}
        assert {[file exists [slate]]}
        exec [file join [file dirname $::harness::binary] vectra-check-aof] --truncate-to-lsn 3100000 [log_dir] << y\n
        assert {![file exists [slate]]}
        crash_and_restart
        assert {[r strlen b] != 50000}
    }

    # {lsn of the log's end, lsn of the slate's end} by vectra-check-aof
    proc slate_ends {} {
        set said [exec [file join [file dirname $::harness::binary] vectra-check-aof] [log_dir]]
        if {![regexp {slate: \d+ bytes that the log does not have yet, LSN (\d+) to (\d+)} $said - from to]} {
            return {}
        }
        return [list $from $to]
    }

    test {what is on the slate is cut off, too, and only what is past the point} {
        set check [file join [file dirname $::harness::binary] vectra-check-aof]
        r config set appendonly no
        r config set appendonly yes
        wait_for {[info_field aof_rewrite_in_progress] == 0 &&
                  [info_field aof_rewrite_scheduled] == 0}
        have_slate
        r set b first
        wait_for {[info_field aof_buffer_length] == 0}
        exec prlimit --pid [srv pid] --fsize=[file size [increment]]:unlimited
        r set b [string repeat y 30000]
        exec kill -9 [srv pid]
        wait_for {![harness::alive [srv pid]]}
        lassign [slate_ends] from to
        assert {$to - $from > 30000 && $to - $from < 30500} "$from $to"
        set whole [read_file [slate]]
        # All of it, and nothing of it.
        assert_match "*nothing to cut*" [exec $check --truncate-to-lsn $to --yes [log_dir]]
        assert_match "*nothing to cut*" \
            [exec $check --truncate-to-time [expr {[clock seconds] + 3600}] --yes [log_dir]]
        assert_equal [list $from $to] [slate_ends]
        assert_equal $whole [read_file [slate]]
        assert {[catch {exec $check --truncate-to-lsn [expr {$to - 1}] [log_dir] << n\n}]}
        assert_equal [list $from $to] [slate_ends]
        # --fix of a torn end leaves it.
        set f [open [increment] ab]
        puts -nonewline $f "*3\r\n\$3\r\nSE"
        close $f
        exec $check --fix --yes [log_dir]
        assert_equal [list $from $to] [slate_ends]
        assert_match "*cut the slate*" [exec $check --truncate-to-lsn [expr {$to - 1}] --yes [log_dir]]
        assert_equal {} [slate_ends]
        crash_and_restart
        assert_equal first [r get b]
        # By time: all of it.
        have_slate
        r set b first
        wait_for {[info_field aof_buffer_length] == 0}
        exec prlimit --pid [srv pid] --fsize=[file size [increment]]:unlimited
        r set b [string repeat y 30000]
        exec kill -9 [srv pid]
        wait_for {![harness::alive [srv pid]]}
        assert {[slate_ends] ne ""}
        file mtime [slate] 1000000000
        assert_match "*nothing to cut*" [exec $check --truncate-to-time 2000000000 --yes [log_dir]]
        file mtime [slate] 2000000001
        assert_match "*cut the slate*" [exec $check --truncate-to-time 2000000000 --yes [log_dir]]
        assert_equal {} [slate_ends]
        crash_and_restart
        assert_equal first [r get b]
    }

    test {a log that is switched off, or a server that ends, leaves no slate} {
        have_slate
        r config set appendonly no
        assert {![file exists [slate]]}
        r config set appendonly yes
        wait_for {[info_field aof_rewrite_in_progress] == 0 &&
                  [info_field aof_rewrite_scheduled] == 0}
        have_slate
        r set much [string repeat x 30000]
        set digest [r debug digest]
        catch {r shutdown}
        wait_for {![harness::alive [srv pid]]}
        assert {![file exists [slate]]}
        crash_and_restart
        assert_equal $digest [r debug digest]
    }

    test {many large writes go through it, with rewrites between, and survive} {
        set clients {}
        for {set i 0} {$i < 4} {incr i} { lappend clients [client] }
        for {set round 0} {$round < 30} {incr round} {
            foreach c $clients {
                $c select [expr {$round % 16}]
                for {set i 0} {$i < 5} {incr i} { $c send append k:$i [string repeat $round 9000] }
            }
            if {$round % 10 == 5} {
                wait_for {[info_field aof_rewrite_in_progress] == 0}
                r bgrewriteaof
            }
            foreach c $clients { for {set i 0} {$i < 5} {incr i} { $c read } }
        }
        set digest [r debug digest]
        crash_and_restart
        assert_equal $digest [r debug digest]
    }
}

# ---- failures ----------------------------------------------------------------

start_server {appendonly yes appendfsync everysec save {""}} {
    test {a log that cannot be written refuses writes, and service returns by itself} {
        r set a 1
        r set long [string repeat x 10000]; # so that the server's own log stays below
        set c [client]
        exec prlimit --pid [srv pid] --fsize=[expr {[file size [increment]] + 60}]:unlimited
        # The write that cannot be logged is never acknowledged.
        assert_error "connection closed" {$c set b [string repeat x 1000]}
        assert_error {MISCONF Errors writing to the AOF file: File too large} {r set c 1}
        assert_error {MISCONF Errors writing to the AOF file: File too large} {r ping}
        r multi
        assert_error {MISCONF*} {r set c 1}
        assert_error {EXECABORT*} {r exec}
        assert_equal 1 [r get a]
        assert_equal err [info_field aof_last_write_status]
        exec prlimit --pid [srv pid] --fsize=unlimited:unlimited
        wait_for {![catch {r set d 1}]}
        assert_equal ok [info_field aof_last_write_status]
        set digest [r debug digest]
        crash_and_restart
        assert_equal $digest [r debug digest]
    }
}

start_server {appendonly yes appendfsync always save {""}} {
    test {under always a log that cannot be written ends the server, unacknowledged} {
        r set a 1
        r set long [string repeat x 10000]; # so that the server's own log stays below
        exec prlimit --pid [srv pid] --fsize=[expr {[file size [increment]] + 60}]:unlimited
        assert_error "connection*" {r set b [string repeat x 1000]}
        wait_for {![harness::alive [srv pid]]}
        assert_match "*exiting without acknowledging*" [read_file [srv log]]
        crash_and_restart
        assert_equal 1 [r get a]
        assert_equal "" [r get b]
    }
}

start_server {save {""}} {
    test {a first base that fails is tried again, and nothing is lost by it} {
        set random ""
        for {set i 0} {$i < 3000} {incr i} {
            append random [format %c [expr {int(rand() * 94) + 33}]]
        }
        r set long $random
        exec prlimit --pid [srv pid] --fsize=2000:unlimited
        r config set appendonly yes
        wait_for {[info_field aof_rewrites_consecutive_failures] > 1}
        assert_equal err [info_field aof_last_bgrewrite_status]
        r set meanwhile 1
        assert_equal {0 0} [r waitaof 1 0 10]
        exec prlimit --pid [srv pid] --fsize=unlimited:unlimited
        wait_for {[info_field aof_rewrites] == 1}
        r set after 1
        assert_equal {1 0} [r waitaof 1 0 0]
        set digest [r debug digest]
        assert_match "*All AOF files and manifest are valid*" \
            [exec redis-check-aof [log_dir]/appendonly.aof.manifest]
        wait_for {[llength [glob [log_dir]/*]] == 3}
        crash_and_restart {appendonly yes save {""}}
        assert_equal $digest [r debug digest]
    }
}
