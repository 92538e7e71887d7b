# Crashes, failing files and power cuts.
# usage: tclsh tests/torture/run.tcl [rounds=N | sample] [seed=N] [part=K/N] [SCENARIO...]
#        tclsh tests/torture/run.tcl list       the scenarios' names
#
# rounds=100 is the whole programme (docs/DURABILITY.md says what that is), less
# a part in proportion; `sample` is what fits into `make test`. VERBOSE=1 tells
# what each round did. Most of the time of `faults` is waiting: part=1/4 to
# part=4/4 beside each other are all of it. A folder of what failed stays in
# tests/tmp.

set here [file dirname [file normalize [info script]]]
source $here/../tcl/lib/resp.tcl
source $here/../tcl/lib/harness.tcl
source $here/lib.tcl
foreach part {crash faults powerloss fulldisk} {
    if {[file exists $here/$part.tcl]} { source $here/$part.tcl }
}

if {$argv eq "list"} {
    puts [dict keys $torture::scenarios]
    exit
}
set seed [expr {[info exists env(SEED)] ? $env(SEED) : [clock milliseconds] % 1000000}]
set wanted {}
set sample 0
foreach word $argv {
    if {[regexp {^rounds=(\d+)$} $word - torture::rounds]} { continue }
    if {[regexp {^seed=(\d+)$} $word - seed]} { continue }
    if {[regexp {^part=(\d+)/(\d+)$} $word - k n]} { set torture::part [list $k $n]; continue }
    if {$word eq "sample"} { set sample 1; continue }
    lappend wanted $word
}
expr {srand($seed)}
set harness::suite torture
file mkdir [harness::tmp]
if {[info exists env(LEDGER)]} { set torture::extra $env(LEDGER) }
if {![llength $wanted]} { set wanted [dict keys $torture::scenarios] }

foreach name $wanted {
    lassign [dict get $torture::scenarios $name] full script
    set n [expr {$sample ? [dict get $torture::samples $name]
                         : max(1, int(ceil($full * $torture::rounds / 100.0)))}]
    set failed $harness::failed
    set starts $torture::starts
    set began [clock milliseconds]
    torture::begin $name
    set done 0
    test "torture $name" { set done [torture::$script $n] }
    torture::finish $failed
    puts [format "  torture %-20s %-6s %s, %d starts, %.1f s" $name \
              [expr {$harness::failed > $failed ? "FAILED" : "ok"}] $done \
              [expr {$torture::starts - $starts}] \
              [expr {([clock milliseconds] - $began) / 1000.0}]]
}
if {$harness::failed} { puts "seed: $seed" }
puts "$harness::passed passed, $harness::failed failed"
exit [expr {$harness::failed > 0}]
