# VRANGE: names in bytewise order, in ranges and by pages, while others write.

# Adds names, in random order, to a set of four dimensions.
proc add_names {key names {connection r}} {
    foreach part [in_parts [shuffled $names] 1000] {
        set n [llength $part]
        $connection vmadd $key $n FP32 [string repeat [fp32 {1 2 3 4}] $n] {*}$part
    }
}

proc shuffled {items} {
    set keyed {}
    foreach item $items { lappend keyed [list [expr {rand()}] $item] }
    set out {}
    foreach pair [lsort -real -index 0 $keyed] { lappend out [lindex $pair 1] }
    return $out
}

proc in_parts {items size} {
    set parts {}
    for {set i 0} {$i < [llength $items]} {incr i $size} {
        lappend parts [lrange $items $i [expr {$i + $size - 1}]]
    }
    return $parts
}

# Names e<from> .. e<to - 1> of six digits.
proc numbered {from to} {
    set names {}
    for {set i $from} {$i < $to} {incr i} { lappend names [format e%06d $i] }
    return $names
}

proc by_bytes {a b} {
    return [string compare [binary encode hex $a] [binary encode hex $b]]
}

# All names by pages of n; `between` runs after each page.
proc pages {key n {between {}}} {
    set all {}
    set start -
    while {1} {
        set page [r vrange $key $start + $n]
        lappend all {*}$page
        if {[llength $page] < $n} { return $all }
        set start ([lindex $page end]
        uplevel 1 $between
    }
}

start_server {} {
    test "VRANGE of a missing key is an empty array" {
        assert_equal {array {}} [r send vrange none - +; r typed]
        assert_equal {} [r vrange none (a \[b 10]
    }

    test "VRANGE returns names in bytewise order within its bounds" {
        add_names k [list banana apple cherry date elderberry Zebra {} \xc3\xa9]
        assert_equal [list {} Zebra apple banana cherry date elderberry \xc3\xa9] \
            [r vrange k - +]
        assert_equal {banana cherry date} [r vrange k \[banana \[date]
        assert_equal {cherry} [r vrange k (banana (date]
        assert_equal {banana cherry} [r vrange k \[banana (date]
        assert_equal {cherry date} [r vrange k (banana \[date]
        assert_equal {date elderberry} [r vrange k \[cz (f]
        assert_equal {{} Zebra} [r vrange k - \[Zz]
    }

    test "VRANGE with start past end is empty" {
        assert_equal {} [r vrange k \[date \[banana]
        assert_equal {} [r vrange k (date (date]
        assert_equal {} [r vrange k \[date (date]
        assert_equal {} [r vrange k (date \[date]
        assert_equal {date} [r vrange k \[date \[date]
    }

    test "VRANGE takes brackets and signs after a bracket as text" {
        add_names brackets [list - + \[ ( \[a (a]
        assert_equal [list ( (a + - \[ \[a] [r vrange brackets - +]
        assert_equal [list - \[ \[a] [r vrange brackets \[- +]
        assert_equal [list + - \[] [r vrange brackets \[+ \[\[]
        assert_equal [list (a +] [r vrange brackets (( (-]
    }

    test "VRANGE with a count returns that many, all with a negative one" {
        assert_equal {{} Zebra} [r vrange k - + 2]
        assert_equal {banana cherry} [r vrange k (apple + 2]
        assert_equal {date} [r vrange k \[date \[date 5]
        assert_equal 8 [llength [r vrange k - + -1]]
        assert_equal 8 [llength [r vrange k - + -9223372036854775808]]
        assert_equal 8 [llength [r vrange k - + 9223372036854775807]]
        assert_equal {} [r vrange k - + 0]
    }

    test "VRANGE replies an array of bulk strings in both protocols" {
        set c [client]
        $c send vrange k \[date +
        assert_equal "array {{bulk date} {bulk elderberry} {bulk \xc3\xa9}}" [$c typed]
        $c hello 3
        $c send vrange k \[date \[elderberry
        assert_equal {array {{bulk date} {bulk elderberry}}} [$c typed]
        $c close
    }

    test "VRANGE checks its arguments in order, before it looks at the key" {
        r set string x
        set arity "ERR wrong number of arguments for 'VRANGE' command"
        assert_error $arity {r vrange string -}
        assert_error $arity {r vrange string - + 1 2}
        foreach count {x 1.5 {} { 1} 9223372036854775808} {
            assert_error "ERR invalid COUNT value" {r vrange string bad bad $count}
        }
        foreach bound {x {} \[ ( apple -1 ++ \{a} {
            assert_error "ERR invalid start range format" {r vrange string $bound bad}
            assert_error "ERR invalid end range format" {r vrange string - $bound}
        }
        set signs "ERR '-' can only be used as first argument, '+' only as second"
        assert_error $signs {r vrange string + -}
        assert_error $signs {r vrange string + +}
        assert_error $signs {r vrange string - -}
        assert_error $signs {r vrange string + \[a}
        assert_error $signs {r vrange string \[a - 5}
        assert_error "WRONGTYPE *" {r vrange string - +}
        assert_error "WRONGTYPE *" {r vrange string - + 0}
    }

    test "VRANGE orders binary names of all lengths by their bytes" {
        set names {}
        foreach a {0 1 127 128 255} {
            foreach b {0 10 13 200} {
                lappend names [binary format c $a] [binary format cc $a $b] \
                    [binary format cca12 $a $b tail] [binary format cca300 $a $b x]
            }
        }
        set names [lsort -unique -command by_bytes $names]
        add_names binary $names
        assert_equal $names [r vrange binary - +]
        assert_equal $names [pages binary 7]
    }

    test "VRANGE inside MULTI sees what the transaction has written" {
        add_names few {a c}
        r multi
        r vadd few VALUES 4 1 2 3 4 b
        r vrange few - +
        r vrem few a
        r vrange few (a + 1
        assert_equal {1 {a b c} 1 b} [r exec]
    }

    test "VRANGE of a set that was removed and made again shows the new one" {
        r del few
        add_names few {x y}
        assert_equal {x y} [r vrange few - +]
    }
}

start_server {} {
    set all [numbered 0 50000]
    add_names big $all

    test "VRANGE reads a large set whole and by pages of any size" {
        assert_equal $all [r vrange big - +]
        assert_equal $all [pages big 1000]
        assert_equal $all [pages big 7777]
        assert_equal $all [r vrange big - + 50000]
        assert_equal [lrange $all 100 199] [r vrange big \[e000100 (e000200]
    }

    test "VRANGE shows removals, additions and replacements at once" {
        r vrem big e000100
        r vadd big VALUES 4 1 2 3 4 e000100x
        r vadd big VALUES 4 4 3 2 1 e000101
        assert_equal {e000099 e000100x e000101 e000102} \
            [r vrange big \[e000099 \[e000102]
        r vrem big e000100x
        r vadd big VALUES 4 1 2 3 4 e000100
        assert_equal [lrange $all 99 102] [r vrange big \[e000099 \[e000102]
    }

    test "VRANGE passes over a long run of removed names" {
        foreach part [in_parts [lrange $all 10000 13999] 1000] { r vmrem big {*}$part }
        assert_equal [concat [lrange $all 9990 9999] [lrange $all 14000 14009]] \
            [r vrange big \[e009990 + 20]
        assert_equal {e014000} [r vrange big \[e011000 + 1]
        add_names big [lrange $all 10000 13999]
        assert_equal $all [pages big 5000]
    }

    test "VRANGE inside MULTI reads a large set" {
        r multi
        r vadd big VALUES 4 1 2 3 4 e000000x
        r vrange big - + 3
        r vrem big e000000x
        r vrange big - + 3
        assert_equal {1 {e000000 e000000x e000001} 1 {e000000 e000001 e000002}} [r exec]
    }

    test "VRANGE waits for its order while others are served, and may be given up" {
        # A write to nearly every name makes the order be made anew.
        add_names big [lrange $all 0 9999]
        set waiting {}
        for {set i 0} {$i < 5} {incr i} { lappend waiting [client] }
        foreach c $waiting {
            $c send vrange big \[e020000 + 10
            flush [$c channel]
        }
        [lindex $waiting 0] close
        assert_equal PONG [r ping]
        foreach c [lrange $waiting 1 end] {
            assert_equal [lrange $all 20000 20009] [$c read]
            $c close
        }
    }

    test "VRANGE by pages returns what stays exactly once while writers are busy" {
        set writer [client]
        set turn 0
        set seen [pages big 500 {
            # What comes and goes, on both sides of the page; what stays but
            # moves to another slot, as its vector is replaced.
            for {set i 0} {$i < 20} {incr i} {
                set at [expr {int(rand() * 50000)}]
                $writer send vadd big VALUES 4 1 2 3 4 [format e%06dx $at]
                $writer send vrem big [format e%06dx [expr {int(rand() * 50000)}]]
                $writer send vadd big VALUES 4 4 3 2 1 [format e%06d $at]
            }
            for {set i 0} {$i < 60} {incr i} { $writer read }
            incr turn
        }]
        assert {$turn > 90}
        assert_equal $seen [lsort -unique $seen]
        assert_equal $all [lsearch -all -inline -not -glob $seen *x]
        $writer close
    }

    test "A long VRANGE returns what stays exactly once while a writer is busy" {
        set writer [client]
        for {set round 0} {$round < 5} {incr round} {
            set reader [client]
            $reader send vrange big - +
            flush [$reader channel]
            for {set i 0} {$i < 300} {incr i} {
                set at [expr {int(rand() * 50000)}]
                $writer send vadd big VALUES 4 4 3 2 1 [format e%06d $at]
                $writer send vadd big VALUES 4 1 2 3 4 [format e%06dy $at]
            }
            for {set i 0} {$i < 600} {incr i} { $writer read }
            set seen [$reader read]
            assert_equal $seen [lsort -unique $seen]
            assert_equal $all [lsearch -all -inline -regexp $seen {[0-9]$}]
            $reader close
        }
        $writer close
    }

    test "A long VRANGE reads a set that is deleted meanwhile to its end" {
        r del big
        add_names big $all
        set deleter [client]
        $deleter ping
        r send vrange big - +
        flush [r channel]
        $deleter del big
        set seen [r read]
        # The order of the two is theirs; what is never seen is a part.
        assert {$seen eq $all || $seen eq {}}
        assert_equal 0 [r exists big]
        $deleter close
    }

    test "FLUSHALL while VRANGE waits leaves a server that goes on" {
        add_names big [lrange $all 0 4999]
        set c [client]
        $c send vrange big - + 10
        flush [$c channel]
        r flushall
        set seen [$c read]
        assert {$seen eq [lrange $all 0 9] || $seen eq {}}
        assert_equal PONG [r ping]
        $c close
    }
}

start_server {maxmemory-policy noeviction} {
    test "VRANGE without memory for an order selects instead" {
        set all [numbered 0 20000]
        add_names big $all
        r config set maxmemory 1
        assert_equal [lrange $all 500 599] [r vrange big (e000499 + 100]
        assert_equal [lrange $all 19990 end] [r vrange big (e019989 +]
        assert_error "OOM *" {r vadd big VALUES 4 1 2 3 4 more}
        r config set maxmemory 0
        assert_equal $all [pages big 3000]
    }
}
