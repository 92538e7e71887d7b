# vectra-check-rdb, on files of Redis and of ours.

set check [file join [file dirname $harness::binary] vectra-check-rdb]
set data $harness::root/tests/data

# {exit-code output}
proc check_rdb {args} {
    upvar 1 check check
    set code [catch {exec $check {*}$args 2>@1} output]
    regsub {\nchild process exited abnormally$} $output {} output
    return [list $code $output]
}

proc bytes_of_file {path} {
    set f [open $path]
    fconfigure $f -translation binary
    set bytes [read $f]
    close $f
    return $bytes
}

proc file_of_bytes {bytes} {
    set path [harness::scratch check].rdb
    set f [open $path w]
    fconfigure $f -translation binary
    puts -nonewline $f $bytes
    close $f
    return $path
}

test {what Redis wrote is walked, whatever its types} {
    foreach file [glob $data/*.rdb] {
        lassign [check_rdb $file] code output
        assert_equal 0 $code $output
        assert_match "*OK $file: RDB version *, [file size $file] bytes, checksum verified" $output
    }
}

test {a changed byte anywhere is noticed} {
    set bytes [bytes_of_file $data/redis-8.0.6-strings.rdb]
    for {set i 0} {$i < [string length $bytes]} {incr i 7} {
        set c [scan [string index $bytes $i] %c]
        set path [file_of_bytes [string replace $bytes $i $i [format %c [expr {$c ^ 1}]]]]
        lassign [check_rdb $path] code output
        assert_equal 1 $code "byte $i"
        assert_match "*DAMAGED $path: *" $output
        file delete $path
    }
}

test {a file that ends early is damaged, and so is one that goes on} {
    set bytes [bytes_of_file $data/redis-8.0.6-strings.rdb]
    foreach n {0 5 9 30 100} {
        set path [file_of_bytes [string range $bytes 0 $n-1]]
        assert_equal 1 [lindex [check_rdb $path] 0]
        file delete $path
    }
    set path [file_of_bytes ${bytes}x]
    assert_match "*1 bytes follow the end*" [lindex [check_rdb $path] 1]
    file delete $path
}

test {--keys and --json list the keys} {
    lassign [check_rdb --keys $data/redis-8.0.6-types.rdb] code output
    assert_equal 0 $code
    set n [llength [regexp -all -inline {(?n)^key } $output]]
    assert_match "*$n keys in *" $output
    lassign [check_rdb --json $data/redis-8.0.6-types.rdb] code output
    assert_equal 0 $code
    assert_equal $n [llength [regexp -all -inline {"key": } $output]]
    assert_match {*"ok": true*} $output
    # Whether it is JSON is for another to say.
    if {![catch {exec which python3}]} {
        exec python3 -m json.tool << $output
    }
}

test {what it is not called with} {
    assert_match {usage: *} [lindex [check_rdb --help] 1]
    assert_equal 1 [lindex [check_rdb] 0]
    assert_equal 1 [lindex [check_rdb --what file] 0]
    assert_equal 1 [lindex [check_rdb /no/such/file] 0]
}
