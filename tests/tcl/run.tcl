# Runs suites: tclsh tests/tcl/run.tcl [NAME...]   (default: all; `quick` runs
# those that take a moment). VERBOSE=1 says how long every test took, SEED=n
# repeats a run.

set here [file dirname [file normalize [info script]]]
source $here/lib/resp.tcl
source $here/lib/harness.tcl

set seed [expr {[info exists env(SEED)] ? $env(SEED) : [clock milliseconds] % 1000000}]
expr {srand($seed)}

set names $argv
if {$names eq "quick"} {
    set names {protocol strings keys vectorset}
} elseif {![llength $names]} {
    foreach f [lsort [glob $here/suites/*.tcl]] { lappend names [file rootname [file tail $f]] }
}
file mkdir [harness::tmp]
# In a scope of its own, so that a suite's variables stay its own.
proc run_suite {file} {
    source $file
}

foreach name $names {
    if {![file exists $here/suites/$name.tcl]} { continue }
    set harness::suite $name
    set before $harness::failed
    set began [clock milliseconds]
    if {[catch {run_suite $here/suites/$name.tcl} message options]} {
        incr harness::failed
        lappend harness::failures "$name: the suite broke off"
        puts "FAIL: suite $name broke off: $message"
        puts [dict get $options -errorinfo]
        foreach server $harness::servers { catch {exec kill -9 [dict get $server pid]} }
        set harness::servers {}
    }
    puts [format "  tcl %-40s %-6s %6d ms" $name \
        [expr {$harness::failed > $before ? "FAILED" : "ok"}] \
        [expr {[clock milliseconds] - $began}]]
}
foreach f $harness::failures { puts "failed: $f" }
if {$harness::failed} { puts "seed: $seed" }
puts "$harness::passed passed, $harness::failed failed"
exit [expr {$harness::failed > 0}]
