# Servers that are killed, the ledger, and the shim between a server and its
# files. Sourced by run.tcl, on top of tests/tcl/lib.

namespace eval torture {
    variable dir ""       ;# of this scenario
    variable programs [file join $harness::root build release tests torture]
    variable port 0
    variable server {}    ;# dict: pid port dir log
    variable ledger ""
    variable rounds 100
    variable starts 0
    # Options a server of another make does not know; see torture::plain.
    variable extra {}
    # Which part of `faults` this is, and of how many.
    variable part {1 1}
}

# ---- servers -----------------------------------------------------------------

# An empty folder for a scenario: data/ for the server, the rest beside it.
proc torture::begin {name} {
    variable dir
    variable server
    variable failures {}
    set dir [harness::scratch torture-$name]
    file mkdir $dir/data
    set server {}
}

proc torture::wipe {{data data}} {
    variable dir
    file delete -force $dir/$data
    file mkdir $dir/$data
}

# Leaves the folder behind when something failed.
proc torture::finish {failed_before} {
    variable dir
    ledger_close
    kill9
    if {$harness::failed == $failed_before} {
        file delete -force $dir
    } else {
        puts "  what failed is in $dir"
    }
}

# Starts a server on a folder of data and waits until it serves; what it was
# killed in the middle of must never keep it from that.
# options: data FOLDER   env {NAME VALUE ...}   may_fail 1
proc torture::start {directives {options {}}} {
    variable dir
    variable server
    variable port
    variable starts
    incr starts
    set data $dir/[expr {[dict exists $options data] ? [dict get $options data] : "data"}]
    set may_fail [dict exists $options may_fail]
    set words {}
    dict for {name value} $directives { lappend words --$name {*}$value }
    set environment {}
    if {[dict exists $options env]} {
        dict for {name value} [dict get $options env] { lappend environment $name=$value }
    }
    for {set try 0} {$try < 5} {incr try} {
        if {!$port || $try} { set port [harness::free_port] }
        set f [open $dir/log a]
        puts $f "--- start [incr ::torture_starts] $directives"
        close $f
        set pid [exec env {*}$environment $harness::binary --port $port --dir $data \
                     {*}$words < /dev/null >> $dir/log 2>@1 &]
        set server [dict create pid $pid port $port dir $data log $dir/log]
        if {[await $pid]} { return $server }
        if {[regexp -nocase {address already in use} [tail_of_log]]} { continue }
        if {$may_fail} { return "" }
        break
    }
    error "the server does not start: [tail_of_log]"
}

proc torture::tail_of_log {} {
    variable dir
    set text [harness::log_of $dir/log]
    set at [string last "--- start" $text]
    return [string range $text $at [expr {$at + 3000}]]
}

# Whether a server that was started comes to serve.
proc torture::await {pid} {
    variable port
    set end [expr {[clock milliseconds] + 4 * $harness::patience_ms}]
    while {[clock milliseconds] < $end} {
        if {![harness::alive $pid]} { return 0 }
        if {![catch {
            set c [resp::connect $port]
            set code [catch {$c ping} answer]
            set ours [harness::is_it $c $pid]
            $c close
            set answer
        }] && $answer eq "PONG" && $ours} { return 1 }
        after 3
    }
    error "the server neither serves nor ends: [tail_of_log]"
}

proc torture::kill9 {} {
    variable server
    if {$server eq ""} { return }
    catch {exec kill -9 [dict get $server pid]}
    gone
}

# Waits for the end of a server that was killed or ends by itself.
proc torture::gone {} {
    variable server
    if {$server eq ""} { return }
    wait_for {![harness::alive [dict get $torture::server pid]]} "the server's end"
    set server {}
}

proc torture::is_up {} {
    variable server
    return [expr {$server ne "" && [harness::alive [dict get $server pid]]}]
}

# One command on a connection of its own; an error is a Tcl error.
proc torture::ask {args} {
    variable port
    set c [resp::connect $port]
    set code [catch {$c {*}$args} answer options]
    $c close
    return -code $code $answer
}

proc torture::info_of {field} {
    if {[regexp "(?n)^$field:(.*?)\r?\$" [ask info everything] - value]} { return $value }
    return ""
}

# A scenario of independent cases goes on after one that failed, up to a few;
# what it left is kept aside.
proc torture::note_failure {words} {
    variable dir
    variable failures
    lappend failures $words
    puts "    FAILED: $words"
    set n [llength $failures]
    foreach name {data image-as-made trace log} {
        if {[file exists $dir/$name]} {
            file mkdir $dir/failed-$n
            file copy $dir/$name $dir/failed-$n/$name
        }
    }
    ledger_close
    kill9
    if {$n >= 10} { fail "$n cases failed, the rest was not tried" }
}

proc torture::fail_if_any {} {
    variable failures
    if {[llength $failures]} { fail "[llength $failures] cases failed" }
}

# ---- the ledger --------------------------------------------------------------

proc torture::ledger_open {args} {
    variable ledger
    variable programs
    set ledger [open "|[list $programs/ledger {*}$args 2>@stderr]" r+]
    fconfigure $ledger -buffering line
}

proc torture::ledger {args} {
    variable ledger
    puts $ledger $args
    flush $ledger
    if {[gets $ledger line] < 0} { error "the ledger is gone" }
    return $line
}

proc torture::ledger_close {} {
    variable ledger
    if {$ledger ne ""} { catch {close $ledger} }
    set ledger ""
}

# The server holds what it promised, or it is a failure of the test.
proc torture::verify {{since ""}} {
    variable port
    set line [expr {$since eq "" ? [ledger verify $port] : [ledger verify $port $since]}]
    if {![string match "ok *" $line]} { fail $line }
    return $line
}

# ---- the shim ----------------------------------------------------------------

namespace eval shim {
    variable ops {open write pwrite fsync fdatasync sync_range rename unlink truncate
        fallocate link mkdir close}
    variable actions {pass 0 fail 1 short 2 delay 3 kill-before 4 kill-after 5 kill-torn 6}
    variable errors {EINTR 4 EIO 5 ENOSPC 28}
}

# What to set in a server's environment for it to run under the shim.
proc shim::env {{trace ""} {data data}} {
    set env [list LD_PRELOAD $torture::programs/io_shim.so \
                 VECTRA_SHIM_DIR [file normalize $torture::dir/$data] \
                 VECTRA_SHIM_CONTROL $torture::dir/control]
    if {$trace ne ""} { lappend env VECTRA_SHIM_TRACE $trace }
    return $env
}

# An empty control block: no plan, counters at zero.
proc shim::clear {} {
    set f [open $torture::dir/control w]
    fconfigure $f -translation binary
    puts -nonewline $f [string repeat \0 384]
    close $f
}

# plan ops {write fsync} action fail error EIO first 3 last 3 role any path aof
proc shim::plan {args} {
    variable ops
    variable actions
    variable errors
    set p [dict merge {ops all action pass error EIO first 1 last -1 delay 0 role any path ""} \
               $args]
    set mask 0
    foreach op $ops {
        if {[dict get $p ops] eq "all" || $op in [dict get $p ops]} {
            set mask [expr {$mask | 1 << [lsearch $ops $op]}]
        }
    }
    disarm
    set f [open $torture::dir/control r+]
    fconfigure $f -translation binary -buffering none
    seek $f 4
    puts -nonewline $f [binary format iiiwwiia88 $mask \
        [dict get $actions [dict get $p action]] [dict get $errors [dict get $p error]] \
        [dict get $p first] [dict get $p last] [dict get $p delay] \
        [lsearch {any server child} [dict get $p role]] [dict get $p path]]
    puts -nonewline $f [binary format wwi 0 0 0]
    seek $f 0
    puts -nonewline $f [binary format i 1]
    close $f
}

proc shim::disarm {} {
    set f [open $torture::dir/control r+]
    fconfigure $f -translation binary
    puts -nonewline $f [binary format i 0]
    close $f
}

# matched acted op path calls: what happened since the plan was made.
proc shim::state {} {
    variable ops
    set f [open $torture::dir/control]
    fconfigure $f -translation binary
    set bytes [read $f]
    close $f
    binary scan $bytes @128wwiia104@256w13 matched acted op pid path counts
    set calls {}
    foreach name $ops n $counts { dict set calls $name $n }
    return [dict create matched $matched acted $acted op [lindex $ops $op] \
                path [string trimright $path \0] calls $calls]
}
