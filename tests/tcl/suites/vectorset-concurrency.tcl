# What searches see while others write. The set is large enough that they run on
# workers; MONITOR tells in which order the server took the commands of several
# clients, and a twin in Tcl says what each search must have answered.

# A background that no query comes near: vectors around (-1, 0, 0, ...).
proc add_background {key rows dim} {
    set names {}
    set blob ""
    for {set i 0} {$i < $rows} {incr i} {
        set v [list -9]
        for {set j 1} {$j < $dim} {incr j} { lappend v [expr {rand() - 0.5}] }
        append blob [fp32 $v]
        lappend names b$i
    }
    r vmadd $key $rows FP32 $blob {*}$names NOQUANT
}

# Words of a vector at an angle, in degrees, in the plane of the first two axes.
proc at_angle {degrees dim} {
    set a [expr {$degrees * 3.14159265358979 / 180}]
    return [list VALUES $dim [format %.7f [expr {cos($a)}]] [format %.7f [expr {sin($a)}]] \
                {*}[lrepeat [expr {$dim - 2}] 0]]
}

# A command of a client of the random test. Angles are small enough that no
# background is ever nearer than an element.
proc random_command {dim} {
    set name e[expr {int(rand() * 30)}]
    set angle [expr {int(rand() * 60)}]
    set kind [expr {rand()}]
    if {$kind < 0.3} {
        return [list VADD k {*}[at_angle $angle $dim] $name NOQUANT SETATTR "{\"g\":[expr {$angle % 3}]}"]
    } elseif {$kind < 0.4} {
        return [list VREM k $name]
    } elseif {$kind < 0.5} {
        return [list VSETATTR k $name "{\"g\":[expr {int(rand() * 3)}]}"]
    } elseif {$kind < 0.9} {
        set query [list VSIM k {*}[at_angle $angle $dim] COUNT 5]
        return [concat $query [expr {rand() < 0.5 ? {} : [list FILTER ".g == [expr {$angle % 3}]"]}]]
    }
    return [list VSIM k ELE $name COUNT 4 WITHATTRIBS]
}

# The angle that the words of a vector stand for.
proc angle_of {x y} {
    return [expr {round(atan2($y, $x) * 180 / 3.14159265358979)}]
}

# Does a command on the twin, two dictionaries, and checks its reply.
proc twin_step {command reply} {
    upvar 1 angles angles groups groups
    switch -- [lindex $command 0] {
        VADD {
            set name [lindex $command [expr {4 + [lindex $command 3]}]]
            assert_equal [expr {![dict exists $angles $name]}] $reply
            dict set angles $name [angle_of [lindex $command 4] [lindex $command 5]]
            dict set groups $name [lindex $command end]
        }
        VREM {
            set name [lindex $command 2]
            assert_equal [dict exists $angles $name] $reply
            dict unset angles $name
            dict unset groups $name
        }
        VSETATTR {
            set name [lindex $command 2]
            assert_equal [dict exists $angles $name] $reply
            if {$reply} { dict set groups $name [lindex $command end] }
        }
        VSIM {
            if {[lindex $command 2] eq "ELE"} {
                twin_search_element [lindex $command 3] $reply
            } else {
                twin_search $command $reply
            }
        }
    }
}

proc twin_search_element {name reply} {
    upvar 2 angles angles groups groups
    if {![dict exists $angles $name]} {
        assert_equal "ERR element not found in set" $reply
        return
    }
    assert_equal 8 [llength $reply]
    set angle [dict get $angles $name]
    foreach {hit attribute} $reply {
        if {[string match b* $hit]} continue
        assert_equal [dict get $groups $hit] $attribute
    }
    check_nearest $angle $angles [dict keys $reply]
}

proc twin_search {command reply} {
    upvar 2 angles angles groups groups
    set candidates $angles
    set at [lsearch $command FILTER]
    if {$at > 0} {
        set group [lindex [lindex $command $at+1] 2]
        dict for {name g} $groups {
            if {$g ne "{\"g\":$group}"} { dict unset candidates $name }
        }
        assert_equal [expr {min(5, [dict size $candidates])}] [llength $reply]
    }
    check_nearest [angle_of [lindex $command 4] [lindex $command 5]] $candidates $reply
}

# Hits of one distance may come in any order; what is left is background.
proc check_nearest {angle candidates hits} {
    set want {}
    dict for {name a} $candidates { lappend want [expr {abs($a - $angle)}] }
    set want [lrange [lsort -integer $want] 0 [llength $hits]-1]
    foreach hit $hits distance $want {
        if {$distance eq ""} {
            assert_match b* $hit
        } else {
            assert {[dict exists $candidates $hit]} "($hit should not be there)"
            assert_equal $distance [expr {abs([dict get $candidates $hit] - $angle)}]
        }
    }
}

# Commands as MONITOR tells them until `last` is seen, as {address command}.
proc monitored {monitor last} {
    set all {}
    while {1} {
        set line [$monitor read]
        regexp {^\S+ \[0 (\S+)\] (.*)$} $line - address words
        if {$words eq "\"echo\" \"$last\""} { return $all }
        # Words are quoted as Tcl reads them; brackets and dollars do not occur.
        lappend all [list $address [list {*}$words]]
    }
}

start_server {worker-threads 2} {
    set dim 32
    add_background k 6000 $dim

    test "Searches of one client are answered in order, and so is what is between" {
        for {set i 0} {$i < 90} {incr i} { r vadd k {*}[at_angle $i $dim] e$i NOQUANT }
        set c [client]
        for {set i 0} {$i < 90} {incr i} {
            $c send vsim k {*}[at_angle $i $dim] COUNT 1
            if {$i % 3 == 0} { $c send echo $i }
            if {$i % 7 == 0} { $c send vsim none ELE x }
            if {$i % 11 == 0} { $c send vsim k ELE none }
        }
        for {set i 0} {$i < 90} {incr i} {
            assert_equal e$i [$c read]
            if {$i % 3 == 0} { assert_equal $i [$c read] }
            if {$i % 7 == 0} { assert_equal {} [$c read] }
            if {$i % 11 == 0} { assert_error "ERR element not found*" {$c read} }
        }
        $c close
        assert {[info_field searches_on_workers] > 50}
        assert_equal 0 [info_field searches_under_way]
    }

    test "A pipelined search sees the writes before it and none after it" {
        set c [client]
        for {set i 0} {$i < 90} {incr i} {
            foreach command [list [list vsim k {*}[at_angle $i $dim] COUNT 1] \
                [list vrem k e$i] [list vsim k {*}[at_angle $i $dim] COUNT 2 FILTER 1] \
                [list vadd k {*}[at_angle $i $dim] new$i NOQUANT SETATTR "{\"i\":$i}"] \
                [list vsim k {*}[at_angle $i $dim] COUNT 1 WITHATTRIBS] \
                [list vsetattr k new$i {{"i":-1}}] \
                [list vsim k {*}[at_angle $i $dim] COUNT 1 WITHATTRIBS FILTER {.i < 0}] \
                [list vrem k new$i]] { $c send {*}$command }
        }
        for {set i 0} {$i < 90} {incr i} {
            assert_equal [list e$i 1 {} 1 [list new$i "{\"i\":$i}"] 1 [list new$i {{"i":-1}}] 1] \
                [list [$c read] [$c read] [$c read] [$c read] [$c read] [$c read] [$c read] [$c read]]
        }
        $c close
        assert_equal 6000 [r vcard k]
    }

    test "Searches and writes of several clients are one sequence" {
        set monitor [client]
        $monitor monitor
        set clients {}
        foreach i {1 2 3 4} {
            set c [client]
            lappend clients $c
            regexp { addr=(\S+)} [$c client info] - address
            set client_at($address) $c
        }
        monitored $monitor [r echo ready]
        set angles {}
        set groups {}
        for {set round 0} {$round < 40} {incr round} {
            foreach part {1 2 3} {
                foreach c $clients {
                    for {set n [expr {int(rand() * 12)}]} {$n > 0} {incr n -1} {
                        $c send {*}[random_command $dim]
                    }
                    flush [$c channel]
                }
            }
            foreach c $clients { $c send echo "end of $c" }
            foreach c $clients {
                set replies($c) {}
                while {[catch {$c read} reply] || $reply ne "end of $c"} {
                    lappend replies($c) $reply
                }
            }
            foreach step [monitored $monitor [r echo "round $round"]] {
                lassign $step address command
                if {[lindex $command 0] eq "echo"} continue
                set c $client_at($address)
                set replies($c) [lassign $replies($c) reply]
                twin_step $command $reply
            }
            foreach c $clients { assert_equal {} $replies($c) }
        }
        assert_equal [expr {6000 + [dict size $angles]}] [r vcard k]
        foreach c [concat $clients $monitor] { $c close }
        foreach name [dict keys $angles] { r vrem k $name }
    }

    test "A search of another client sees a transaction whole or not at all" {
        # One marker wanders; nobody may see none, two, or an earlier one.
        set writer [client]
        set readers [list [client] [client] [client]]
        r vadd k {*}[at_angle 0 $dim] m0 NOQUANT
        foreach c $readers { set last($c) 0 }
        for {set i 0} {$i < 60} {incr i} {
            foreach c $readers {
                $c send vsim k {*}[at_angle 45 $dim] COUNT 2
                flush [$c channel]
            }
            $writer send multi
            $writer send vrem k m$i
            $writer send vadd k {*}[at_angle [expr {$i % 90}] $dim] m[expr {$i + 1}] NOQUANT
            $writer send exec
            flush [$writer channel]
            foreach c $readers {
                $c send vsim k {*}[at_angle 45 $dim] COUNT 2
                flush [$c channel]
            }
            foreach n {1 2 3 4} { set done [$writer read] }
            assert_equal {1 1} $done
            # What is sent once the transaction was answered sees it.
            foreach c $readers { $c send vsim k {*}[at_angle 45 $dim] COUNT 2 }
            foreach c $readers {
                foreach floor [list $last($c) $i [expr {$i + 1}]] {
                    lassign [$c read] first second
                    assert_match {m[0-9]*} $first
                    assert_match b* $second
                    set seen [string range $first 1 end]
                    assert {$seen >= $last($c) && $seen >= $floor && $seen <= $i + 1}
                    set last($c) $seen
                }
            }
        }
        foreach c [concat $writer $readers] { $c close }
        r vrem k m60
    }

    test "A search in a transaction sees its own writes and delays its answer alone" {
        set c [client]
        $c send multi
        for {set i 0} {$i < 20} {incr i} {
            $c send vadd k {*}[at_angle $i $dim] t$i NOQUANT
            $c send vsim k {*}[at_angle $i $dim] COUNT 1
            $c send vrem k t$i
            $c send vsim k {*}[at_angle $i $dim] COUNT 1
        }
        $c send exec
        flush [$c channel]
        assert_equal PONG [r ping]
        for {set i 0} {$i < 81} {incr i} { $c read }
        set got [$c read]
        for {set i 0} {$i < 20} {incr i} {
            lassign [lrange $got [expr {4 * $i}] [expr {4 * $i + 3}]] added found removed other
            assert_equal [list 1 t$i 1] [list $added $found $removed]
            assert_match b* $other
        }
        $c close
    }

    test "A search is answered in the protocol it was sent in" {
        set c [client]
        r vadd k {*}[at_angle 10 $dim] only NOQUANT
        for {set i 0} {$i < 10} {incr i} {
            $c send vsim k ELE only COUNT 1 WITHSCORES
            $c send hello 3
            $c send vsim k ELE only COUNT 1 WITHSCORES
            $c send hello 2
        }
        for {set i 0} {$i < 10} {incr i} {
            assert_equal array [lindex [$c typed] 0]
            $c read
            assert_equal map [lindex [$c typed] 0]
            $c read
        }
        $c close
        r vrem k only
    }

    foreach {what command after} {
        "Deleting" {del k} 0
        "Flushing" {flushall} 0
        "Overwriting" {set k x} x
        "Expiring" {pexpire k 0} 0
        "Renaming" {rename k other} 0
    } {
        test "$what a set leaves the searches under way their answers" {
            r flushall
            add_background k 6000 $dim
            r vadd k {*}[at_angle 7 $dim] seven NOQUANT
            set clients [list [client] [client] [client]]
            foreach c $clients {
                for {set i 0} {$i < 10} {incr i} { $c send vsim k {*}[at_angle 7 $dim] COUNT 3 }
            }
            set c [lindex $clients 0]
            $c send {*}$command
            $c send vsim k {*}[at_angle 7 $dim] COUNT 3
            foreach c $clients { flush [$c channel] }
            foreach c $clients {
                for {set i 0} {$i < 10} {incr i} {
                    if {[catch {$c read} got]} {
                        # Only those of other clients may have come too late.
                        assert_match WRONGTYPE* $got
                        assert {$c ne [lindex $clients 0]}
                    } elseif {$c eq [lindex $clients 0] || $got ne ""} {
                        assert_equal 3 [llength $got]
                        assert_equal seven [lindex $got 0]
                    }
                }
            }
            set c [lindex $clients 0]
            $c read
            if {$after eq "x"} {
                assert_error WRONGTYPE* {$c read}
            } else {
                assert_equal {} [$c read]
            }
            foreach c $clients { $c close }
        }
    }

    test "A client that goes while it is searching disturbs nobody" {
        r flushall
        add_background k 6000 $dim
        r vadd k {*}[at_angle 7 $dim] seven NOQUANT
        for {set i 0} {$i < 20} {incr i} {
            set c [client]
            for {set n 0} {$n < 30} {incr n} { $c send vsim k {*}[at_angle 7 $dim] COUNT 1 }
            flush [$c channel]
            $c close
            assert_equal seven [r vsim k {*}[at_angle 7 $dim] COUNT 1]
        }
        wait_for {[info_field searches_under_way] == 0}
    }
}

start_server {} {
    test "VRANDMEMBER names each element once while their vectors are replaced" {
        add_background k 200000 4
        set writer [client]
        set reader [client]
        # Written ahead, so that it arrives while the walk goes on.
        set writes ""
        for {set i 0} {$i < 2000} {incr i} {
            append writes "VADD k VALUES 4 1 2 3 4 b[expr {int(rand() * 100000)}] NOQUANT\r\n"
        }
        for {set round 0} {$round < 5} {incr round} {
            $reader send vrandmember k 190000
            flush [$reader channel]
            $writer raw $writes
            for {set i 0} {$i < 2000} {incr i} { $writer read }
            set got [$reader read]
            assert_equal 190000 [llength $got]
            assert_equal 190000 [llength [lsort -unique $got]]
        }
        # One whose set goes is answered all the same.
        $reader send vrandmember k 150000
        flush [$reader channel]
        $writer raw "DEL k\r\nPING\r\n"
        set got [$reader read]
        assert {[llength $got] in {0 150000}}
        $writer close
        $reader close
    }

    test "VRANDMEMBER does not fill the memory with repeats" {
        r flushall
        r vadd k VALUES 1 1 [string repeat long 1000]
        r config set maxmemory 1
        assert_equal 10 [llength [r vrandmember k -10]]
        foreach count {-100000000 -9223372036854775807} {
            assert_error "ERR COUNT asks for too large an answer" {r vrandmember k $count}
        }
        r config set maxmemory 0
        assert_equal 1000 [llength [r vrandmember k -1000]]
    }
}
