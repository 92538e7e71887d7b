# Tests, assertions and servers. A suite file holds `test {sentence} {body}` and
# runs against the server that `start_server` has started for it.

namespace eval harness {
    variable passed 0
    variable failed 0
    variable failures {}
    variable servers {}
    variable suite ""
    variable tags {}
    variable root [file normalize [file join [file dirname [info script]] ../../..]]
    # Which server: the one named, or of the variant named, or the release.
    variable binary "$root/bin/vectra-server"
    if {[info exists ::env(VECTRA_SERVER)]} {
        set binary $::env(VECTRA_SERVER)
    } elseif {[info exists ::env(VECTRA_VARIANT)] && $::env(VECTRA_VARIANT) ne "release"} {
        set binary "$root/build/$::env(VECTRA_VARIANT)/vectra-server"
    }
    # Sanitizers and loaded machines are slow; a wait is bounded, not timed.
    variable patience_ms 300000
}

# ---- tests -------------------------------------------------------------------

# Runs a body; any error in it is a failure.
proc test {name body} {
    variable ::harness::passed
    variable ::harness::failed
    set began [clock milliseconds]
    if {[catch {uplevel 1 $body} message options]} {
        incr failed
        puts "FAIL: $name"
        puts "      $message"
        if {[dict get $options -errorcode] ne "ASSERT"} {
            puts [join [lrange [split [dict get $options -errorinfo] \n] 0 8] "\n      "]
        }
        lappend ::harness::failures "$::harness::suite: $name"
    } else {
        incr passed
        if {[info exists ::env(VERBOSE)]} { puts "ok: $name, [expr {[clock milliseconds] - $began}] ms" }
    }
}

proc fail {message} {
    return -code error -errorcode ASSERT $message
}

proc assert {condition {message ""}} {
    if {![uplevel 1 [list expr $condition]]} {
        fail "not true: $condition $message"
    }
}

proc assert_equal {want got {message ""}} {
    if {$want ne $got} {
        fail "wanted '[harness::show $want]', got '[harness::show $got]' $message"
    }
}

proc assert_match {pattern got} {
    if {![string match $pattern $got]} {
        fail "wanted a match of '$pattern', got '[harness::show $got]'"
    }
}

# The body must reply an error that matches.
proc assert_error {pattern body} {
    if {![catch {uplevel 1 $body} got]} {
        fail "wanted error '$pattern', got '[harness::show $got]'"
    }
    assert_match $pattern $got
}

# The bytes of a reply, given as a list of its lines; nothing may follow them.
proc assert_wire {want connection args} {
    $connection send {*}$args
    $connection send ECHO end-of-reply
    flush [$connection channel]
    set got ""
    while {![string match "*\$12\r\nend-of-reply\r\n" $got]} {
        if {[gets [$connection channel] line] < 0} { fail "the connection was closed" }
        append got $line \n
    }
    set got [string range $got 0 end-19]
    set want "[join $want \r\n]\r\n"
    if {$got ne $want} {
        fail "wanted '[harness::show $want]', got '[harness::show $got]' for [lrange $args 0 4]"
    }
}

# The same of a RESP2 and a RESP3 connection, $two and $three of the caller.
proc assert_wires {want2 want3 args} {
    upvar 1 two two three three
    assert_wire $want2 $two {*}$args
    assert_wire $want3 $three {*}$args
}

proc assert_near {want got {tolerance 1e-4}} {
    if {abs($want - $got) > $tolerance} {
        fail "wanted $want within $tolerance, got $got"
    }
}

proc harness::show {value} {
    set s [string map [list \n \\n \r \\r \0 \\0] $value]
    return [expr {[string length $s] > 300 ? "[string range $s 0 300]..." : $s}]
}

# Waits until a condition holds.
proc wait_for {condition {what ""}} {
    set end [expr {[clock milliseconds] + $::harness::patience_ms}]
    while {![uplevel 1 [list expr $condition]]} {
        if {[clock milliseconds] > $end} {
            fail "waited in vain for: $condition $what"
        }
        after 5
    }
}

# Waits until a number is 0. Patience begins anew whenever it has become smaller:
# what builds indexes gives way to everything else on a busy machine.
proc wait_for_none {number} {
    set least ""
    while {[set now [uplevel 1 [list expr $number]]] != 0} {
        if {$least eq "" || $now < $least} {
            set least $now
            set end [expr {[clock milliseconds] + $::harness::patience_ms}]
        } elseif {[clock milliseconds] > $end} {
            fail "$now stood still: $number"
        }
        after 5
    }
}

# ---- servers -----------------------------------------------------------------

# A port below those that the kernel gives to connections, so that a server which
# is started again finds its port free. Where the search begins depends on the
# process and on how often it asked: suites that run beside each other do not meet.
proc harness::free_port {} {
    variable ports_tried
    while 1 {
        set port [expr {10000 + ([pid] * 211 + [incr ports_tried]) % 22000}]
        if {![catch {socket -server {} -myaddr 127.0.0.1 $port} s]} {
            close $s
            return $port
        }
    }
}

# A path in the tests' folder that nobody else has.
proc harness::scratch {name} {
    variable scratches
    while {[file exists [set path [file join [tmp] $name-[pid]-[incr scratches]]]]} {}
    return $path
}

# Starts a server with directives given as name value pairs and runs the body
# with `r` connected to it. Inside, [srv port|pid|dir|log] tells about it and
# [client] makes another connection.
proc start_server {directives body} {
    set dir [harness::scratch server]
    file mkdir $dir
    set conf [open $dir/vectra.conf w]
    # Nothing is written that a suite did not ask for.
    if {![dict exists $directives save]} { puts $conf {save ""} }
    dict for {name value} $directives { puts $conf "$name $value" }
    close $conf
    set server [harness::launch $dir]
    lappend ::harness::servers $server
    interp alias {} r {} [resp::connect [dict get $server port]]
    set code [catch {uplevel 1 $body} result options]
    # A suite may have started it again.
    harness::stop [lindex $::harness::servers end]
    set ::harness::servers [lrange $::harness::servers 0 end-1]
    if {[llength $::harness::servers]} {
        interp alias {} r {} [resp::connect [srv port]]
    }
    return -options $options $result
}

# The port is free when it is asked for; if somebody takes it before the server
# does, another is tried.
proc harness::launch {dir} {
    variable binary
    variable patience_ms
    for {set try 0} {$try < 5} {incr try} {
        set port [free_port]
        set pid [exec $binary $dir/vectra.conf --port $port --dir $dir \
                     > $dir/log 2>@1 &]
        set end [expr {[clock milliseconds] + $patience_ms}]
        while {[clock milliseconds] < $end && [alive $pid]} {
            if {![catch {set c [resp::connect $port]}]} {
                set ours [is_it $c $pid]
                $c close
                if {$ours} { return [dict create port $port pid $pid dir $dir log $dir/log] }
            }
            after 10
        }
        catch {exec kill -9 $pid}
    }
    error "cannot start $binary: [log_of $dir/log]"
}

# Whether who answers on a connection is that process; one with a password does not
# tell.
proc harness::is_it {c pid} {
    if {[catch {$c info server} text]} { return [alive $pid] }
    return [expr {[regexp {process_id:(\d+)} $text - who] && $who == $pid}]
}

proc harness::alive {pid} {
    return [expr {![catch {exec kill -0 $pid} ] && ![zombie $pid]}]
}

proc harness::zombie {pid} {
    if {[catch {open /proc/$pid/stat} f]} { return 1 }
    set stat [read $f]
    close $f
    return [string match {*) Z *} $stat]
}

proc harness::log_of {path} {
    if {[catch {open $path} f]} { return "" }
    set text [read $f]
    close $f
    return $text
}

# Ends a server; what a sanitizer reported, or a crash, is a failure.
proc harness::stop {server} {
    variable failed
    variable failures
    variable suite
    variable patience_ms
    set pid [dict get $server pid]
    set died [expr {![alive $pid]}]
    catch {exec kill -TERM $pid}
    set end [expr {[clock milliseconds] + $patience_ms}]
    while {[alive $pid] && [clock milliseconds] < $end} { after 5 }
    if {[alive $pid]} { set died 1; catch {exec kill -9 $pid} }
    set text [log_of [dict get $server log]]
    if {$died || [regexp {Sanitizer|runtime error|assertion failed} $text]} {
        incr failed
        lappend failures "$suite: the server did not end well"
        puts "FAIL: the server did not end well ($suite)"
        puts [string range $text end-4000 end]
    } else {
        file delete -force [dict get $server dir]
    }
}

proc srv {what} {
    return [dict get [lindex $::harness::servers end] $what]
}

proc client {} {
    return [resp::connect [srv port]]
}

proc harness::tmp {} {
    variable root
    if {[info exists ::env(TEST_TMP)]} { return $::env(TEST_TMP) }
    return [file join $root tests tmp]
}

# ---- vectors -----------------------------------------------------------------

# Little-endian float32 bytes of a list of numbers.
proc fp32 {numbers} {
    return [binary format r* $numbers]
}

# A list of d random numbers in [-1, 1).
proc random_vector {d} {
    set v {}
    for {set i 0} {$i < $d} {incr i} { lappend v [expr {2 * rand() - 1}] }
    return $v
}

# How often a suite tries something at random: EFFORT=n makes it n times as often.
proc often {usual} {
    return [expr {$usual * ([info exists ::env(EFFORT)] ? max(1, $::env(EFFORT)) : 1)}]
}

# One field of INFO.
proc info_field {name {connection r}} {
    if {[regexp "(?n)^$name:(.*?)\r?\$" [$connection info everything] - value]} {
        return $value
    }
    return ""
}
