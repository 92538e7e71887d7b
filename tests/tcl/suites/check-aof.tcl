# vectra-check-aof, on logs that are made here byte by byte (docs/formats/aof.md)
# and on what a server writes.

set check [file join [file dirname $harness::binary] vectra-check-aof]

# {exit-code output}; `answer` is what is typed.
proc check_aof {answer args} {
    upvar 1 check check
    set code [catch {exec $check {*}$args << $answer 2>@1} output]
    regsub {\nchild process exited abnormally$} $output {} output
    return [list $code $output]
}

proc crc32c {bytes} {
    set crc 0xFFFFFFFF
    binary scan $bytes cu* codes
    foreach c $codes {
        set crc [expr {$crc ^ $c}]
        for {set i 0} {$i < 8} {incr i} {
            set crc [expr {$crc & 1 ? ($crc >> 1) ^ 0x82F63B78 : $crc >> 1}]
        }
    }
    return [expr {$crc ^ 0xFFFFFFFF}]
}

proc command {args} {
    set out "*[llength $args]\r\n"
    foreach a $args { append out "\$[string length $a]\r\n$a\r\n" }
    return $out
}

# A batch of commands that begins at an LSN; its annotation ends it.
proc batch {lsn commands {ts 0}} {
    set stream [join $commands ""]
    set out [expr {$ts ? "#TS:$ts\r\n" : ""}]$stream
    append out "#LSN:$lsn-[expr {$lsn + [string length $stream]}]:SYNCED:0:CRC32C:"
    return $out[format %08x [crc32c $out]]\r\n
}

proc write_bytes {path bytes} {
    set f [open $path w]
    fconfigure $f -translation binary
    puts -nonewline $f $bytes
    close $f
}

proc read_bytes {path} {
    set f [open $path]
    fconfigure $f -translation binary
    set bytes [read $f]
    close $f
    return $bytes
}

# A log of two increments of three batches each, in a new folder. Each batch is
# one SET of 27 bytes.
proc make_log {} {
    set dir [harness::scratch log]
    file mkdir $dir
    set lsn 100
    foreach seq {1 2} {
        set bytes "#VECTRA:1\r\n"
        foreach i {1 2 3} {
            append bytes [batch $lsn [list [command SET k 1$seq$i]] [expr {1000 + 10 * $seq + $i}]]
            incr lsn 29
        }
        write_bytes $dir/appendonly.aof.$seq.incr.aof $bytes
    }
    write_bytes $dir/appendonly.aof.manifest \
        "file appendonly.aof.1.incr.aof seq 1 type i startoffset 100\nfile\
         appendonly.aof.2.incr.aof seq 2 type i startoffset 187\n"
    return $dir
}

test {a good log is good, named by its folder, its manifest or a file} {
    set dir [make_log]
    foreach path [list $dir $dir/appendonly.aof.manifest $dir/appendonly.aof.2.incr.aof] {
        lassign [check_aof "" $path] code output
        assert_equal 0 $code $output
        assert_match "*OK $path: *" $output
    }
    lassign [check_aof "" $dir] code output
    assert_match {*1.incr.aof: * bytes, 3 commands in 3 batches, LSN 100 to 187, time 1011 to 1013: ok*} $output
    assert_match {*2.incr.aof: * LSN 187 to 274, time 1021 to 1023: ok*} $output
    file delete -force $dir
}

test {a torn tail is found and, when asked, cut off} {
    set dir [make_log]
    set path $dir/appendonly.aof.2.incr.aof
    set whole [read_bytes $path]
    for {set n 1} {$n < 70} {incr n 9} {
        write_bytes $path [string range $whole 0 end-$n]
        lassign [check_aof "" $dir] code output
        assert_equal 1 $code
        assert_match {*2.incr.aof: *: torn*} $output
    }
    # Not without being told to, and not without an answer.
    set torn [read_bytes $path]
    assert_match {*nothing was changed*} [lindex [check_aof "n\n" --fix $dir] 1]
    assert_equal $torn [read_bytes $path]
    lassign [check_aof "y\n" --fix $dir] code output
    assert_equal 0 $code $output
    lassign [check_aof "" $dir] code output
    assert_equal 0 $code $output
    assert_match {*2.incr.aof: * 2 commands in 2 batches, LSN 187 to 245*} $output
    file delete -force $dir
}

test {damage in the last file is found at its offset, and --yes does not ask} {
    set dir [make_log]
    set path $dir/appendonly.aof.2.incr.aof
    set whole [read_bytes $path]
    set at [string first "122" $whole]
    write_bytes $path [string replace $whole $at $at 9]
    lassign [check_aof "" $dir] code output
    assert_equal 1 $code
    assert_match {*good up to offset *} $output
    lassign [check_aof "" --fix --yes $dir] code output
    assert_equal 0 $code $output
    assert_match {*2.incr.aof: * 1 commands in 1 batches*} [lindex [check_aof "" $dir] 1]
    file delete -force $dir
}

test {damage before the last file is told and not mended} {
    set dir [make_log]
    set path $dir/appendonly.aof.1.incr.aof
    set whole [read_bytes $path]
    write_bytes $path [string range $whole 0 end-5]
    lassign [check_aof "" --fix --yes $dir] code output
    assert_equal 1 $code
    assert_match {*is not the last file*} $output
    assert_equal [string range $whole 0 end-5] [read_bytes $path]
    file delete -force $dir
}

test {a file that does not go on where the last one ended is told} {
    set dir [make_log]
    set path $dir/appendonly.aof.2.incr.aof
    write_bytes $path "#VECTRA:1\r\n[batch 1000 [list [command SET k 1]]]"
    lassign [check_aof "" $dir] code output
    assert_equal 1 $code
    assert_match {*begins at LSN 1000, the file before it ends at 187*} $output
    file delete -force $dir
}

test {a whole batch that does not follow the one before is damage, not a torn tail} {
    set dir [make_log]
    set path $dir/appendonly.aof.2.incr.aof
    write_bytes $path "[read_bytes $path][batch 5000 [list [command SET k 1]]]"
    lassign [check_aof "" $dir] code output
    assert_equal 1 $code
    assert_match {*2.incr.aof: * 3 commands in 3 batches*DAMAGED*not the one that follows*} $output
    file delete -force $dir
}

test {--truncate-to-lsn keeps the batches up to there, in whatever file} {
    # wanted LSN, files left, LSN at the end
    foreach {lsn files end} {274 2 274 273 2 245 216 2 216 200 2 187 186 1 158 129 1 129} {
        set dir [make_log]
        lassign [check_aof "" --truncate-to-lsn $lsn --yes $dir] code output
        assert_equal 0 $code $output
        lassign [check_aof "" $dir] code output
        assert_equal 0 $code $output
        assert_match "*: $files files" $output
        if {$end != 187} { assert_match "*LSN * to $end*" $output }
        assert_equal [expr {$files + 1}] [llength [glob $dir/*]]
        file delete -force $dir
    }
    set dir [make_log]
    assert_match {*begins after that, at LSN 100*older backup*} \
        [lindex [check_aof "" --truncate-to-lsn 99 --yes $dir] 1]
    file delete -force $dir
}

test {--truncate-to-time keeps what was written up to then} {
    foreach {time n} {1023 3 1022 2 1021 1} {
        set dir [make_log]
        assert_equal 0 [lindex [check_aof "" --truncate-to-time $time --yes $dir] 0]
        assert_match "*2.incr.aof: * $n commands *" [lindex [check_aof "" $dir] 1]
        file delete -force $dir
    }
    set dir [make_log]
    assert_equal 0 [lindex [check_aof "" --truncate-to-time 1012 --yes $dir] 0]
    lassign [check_aof "" $dir] code output
    assert_match "*LSN 100 to 158, time 1011 to 1012*1 files" $output
    file delete -force $dir
}

test {a log without a base is cut to nothing where that is what there was} {
    set dir [make_log]
    lassign [check_aof "" --truncate-to-time 1010 --yes $dir] code output
    assert_equal 0 $code $output
    assert_equal 0 [file size $dir/appendonly.aof.1.incr.aof]
    assert {![file exists $dir/appendonly.aof.2.incr.aof]}
    file delete -force $dir
}

test {a log as Redis writes it has no sums but is read all the same} {
    set path [harness::scratch plain].aof
    set bytes [command SELECT 0]
    foreach i {1 2 3} { append bytes "#TS:100$i\r\n[command SET k $i]" }
    write_bytes $path $bytes
    lassign [check_aof "" $path] code output
    assert_equal 0 $code $output
    assert_match {*4 commands, time 1001 to 1003: ok*} $output
    assert_equal 1 [lindex [check_aof "" --truncate-to-lsn 5 --yes $path.no] 0]
    assert_equal 0 [lindex [check_aof "" --truncate-to-time 1002 --yes $path] 0]
    assert_match {*3 commands, time 1001 to 1002: ok*} [lindex [check_aof "" $path] 1]
    write_bytes $path [string range $bytes 0 end-4]
    assert_equal 0 [lindex [check_aof "" --fix --yes $path] 0]
    assert_match {*3 commands*} [lindex [check_aof "" $path] 1]
    write_bytes $path "$bytes*what"
    assert_match {*neither a command nor a comment*} [lindex [check_aof "" $path] 1]
    file delete $path
}

test {what it is not called with} {
    assert_match {usage: *} [lindex [check_aof "" --help] 1]
    foreach args {{} {--what f} {--fix --truncate-to-lsn 5 f} {--truncate-to-lsn x f} {/no/such}} {
        assert_equal 1 [lindex [check_aof "" {*}$args] 0]
    }
}
