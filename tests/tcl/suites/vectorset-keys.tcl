# Vector sets as keys: type, expiry, RENAME, DEL, transactions, WATCH, COMMAND.

set family {VADD VREM VSIM VCARD VDIM VEMB VLINKS VINFO VSETATTR VGETATTR VRANDMEMBER VISMEMBER VRANGE}

# Whether EXEC runs after `command` of another client, with `prepare` before WATCH.
proc survives_watch {prepare command} {
    set watcher [client]
    r flushall
    foreach c $prepare { r {*}$c }
    $watcher watch k
    catch {r {*}$command}
    $watcher multi
    $watcher ping
    set ran [expr {[$watcher exec] eq "PONG"}]
    $watcher close
    return $ran
}

start_server {} {
    set two [client]
    set three [client]
    $three hello 3

    test "A vector set is a vectorset, encoded raw" {
        r vadd k VALUES 2 1 2 a
        assert_wires +vectorset +vectorset type k
        assert_wires {$3 raw} {$3 raw} object encoding k
        assert_equal {0 k} [r scan 0 type vectorset]
        assert_equal {0 {}} [r scan 0 type string]
        assert {[r memory usage k] > 0}
    }

    test "MEMORY USAGE grows with elements and attributes" {
        set before [r memory usage k]
        r vsetattr k a [string repeat x 5000]
        assert {[r memory usage k] > $before + 5000}
        r vsetattr k a {}
        assert {[r memory usage k] < $before + 500}
        for {set i 0} {$i < 500} {incr i} { r vadd k VALUES 2 1 2 e$i }
        assert {[r memory usage k] > $before + 500 * 10}
    }

    test "RENAME, RENAMENX and DEL take a set as any key" {
        r flushall
        r vadd k VALUES 2 1 2 a SETATTR x
        r set other x
        r rename k k2
        assert_equal {0 1 x} [list [r vcard k] [r vcard k2] [r vgetattr k2 a]]
        assert_equal 0 [r renamenx k2 other]
        r rename k2 other
        assert_equal vectorset [r type other]
        assert_equal a [r vsim other ELE a]
        r set other string
        assert_error WRONGTYPE* {r vcard other}
        r vadd k VALUES 2 1 2 a
        assert_equal {2 0} [list [r del k other] [r dbsize]]
    }

    test "An expired set is gone; an emptied one takes its expiry along" {
        r vadd k VALUES 2 1 2 a
        r expire k 100
        r vadd k VALUES 2 1 2 b
        assert {[r ttl k] > 90}
        r vrem k a
        r vrem k b
        r vadd k VALUES 2 1 2 a
        assert_equal -1 [r ttl k]
        r pexpire k 1
        wait_for {[r exists k] == 0}
        assert_equal {0 {} 0} [list [r vcard k] [r vsim k ELE a] [r vismember k a]]
        r vadd k VALUES 3 1 2 3 a
        assert_equal 3 [r vdim k]
    }

    test "Databases keep their sets apart" {
        r select 3
        assert_equal 0 [r exists k]
        r vadd k VALUES 1 1 elsewhere
        r select 0
        assert_equal 3 [r vdim k]
        r flushall
    }

    # ---- transactions --------------------------------------------------------

    test "A transaction sees its own writes" {
        foreach c [list $two $three] scores {{a 1 b 0.5} {a 1 b 0.5}} {
            r flushall
            foreach command {
                MULTI {VADD k VALUES 2 1 0 a SETATTR {{"n":1}}} {VADD k VALUES 2 0 1 b NOQUANT}
                {VADD k VALUES 2 0 1 b} {VSIM k ELE a WITHSCORES}
                {VSIM k ELE a FILTER {.n == 1}} {VREM k a} {VSIM k ELE a}
                {VSIM k VALUES 2 1 0} {VSETATTR k b x} {VGETATTR k b} {VLINKS k b} {VCARD k}
                {VREM k b} {EXISTS k} {VSIM k ELE a}
            } { assert {[$c {*}$command] in {OK QUEUED}} }
            assert_equal [list 1 "ERR(ERR asked quantization mismatch with existing vector set)" \
                1 $scores a 1 "ERR(ERR element not found in set)" b 1 x {{}} 1 1 0 {}] [$c exec]
        }
    }

    test "Many searches in a transaction are answered at their places" {
        for {set i 0} {$i < 40} {incr i} { r vadd k VALUES 2 1 $i e$i NOQUANT }
        r multi
        set want {}
        for {set i 39} {$i >= 0} {incr i -1} {
            r vsim k VALUES 2 1 $i COUNT 1
            r vrem k e$i
            lappend want e$i 1
        }
        assert_equal $want [r exec]
        assert_equal 0 [r exists k]
    }

    test "DISCARD leaves a set as it was, and a bad command aborts EXEC" {
        r multi
        r vadd k VALUES 2 1 2 a
        r discard
        assert_equal 0 [r exists k]
        r multi
        r vadd k VALUES 2 1 2 a
        assert_error "ERR wrong number of arguments for 'VCARD' command" {r vcard}
        assert_error "EXECABORT *" {r exec}
        assert_equal 0 [r exists k]
    }

    test "WATCH notices every write that came as far as its key" {
        set a {vadd k VALUES 2 1 2 a SETATTR x}
        foreach {prepare command} {
            {} {vadd k VALUES 2 1 2 a}          {a} {vadd k VALUES 2 1 2 b}
            {a} {vadd k VALUES 2 1 2 a}         {a} {vadd k VALUES 1 1 b}
            {a} {vadd k VALUES 2 1 2 b NOQUANT} {a} {vadd k VALUES 2 1 2 b M 99}
            {a} {vrem k a}                      {a} {vrem k none}
            {a} {vsetattr k a y}                {a} {vsetattr k a x}
            {a} {vsetattr k none x}             {} {vrem k a}
            {} {vsetattr k a x}                 {s} {vadd k VALUES 2 1 2 a}
            {s} {vrem k a}                      {s} {vsetattr k a x}
        } {
            set prepare [string map [list a [list $a] s {{set k string}}] $prepare]
            assert {![survives_watch $prepare $command]} "($prepare; $command)"
        }
    }

    test "WATCH does not notice reads, nor writes that fail before their key" {
        set a {vadd k VALUES 2 1 2 a SETATTR x}
        foreach command {
            {vsim k ELE a} {vsim k VALUES 2 1 2 TRUTH} {vcard k} {vdim k} {vemb k a} {vlinks k a}
            {vinfo k} {vgetattr k a} {vrandmember k} {vrandmember k 3} {vismember k a} {vrange k - +}
            {vadd k VALUES x 1 2 a} {vadd k VALUES 2 1 2 a BAD} {vadd k VALUES 2 1 2 a EF 0}
            {vadd k} {vrem k} {vadd other VALUES 2 1 2 a}
        } {
            assert {[survives_watch [list $a] $command]} "($command)"
        }
    }

    test "Writes count as changes, and what changes nothing does not" {
        r flushall
        set before [info_field rdb_changes_since_last_save]
        r vadd k VALUES 2 1 2 a
        r vadd k VALUES 2 2 1 a
        r vsetattr k a x
        r vsetattr k none x
        r vrem k none
        catch {r vadd k VALUES 1 1 a}
        r vsim k ELE a
        r vrem k a
        assert_equal 4 [expr {[info_field rdb_changes_since_last_save] - $before}]
    }

    # ---- digests -------------------------------------------------------------

    test "DEBUG DIGEST-VALUE is that of Redis" {
        r vadd k VALUES 2 1 2 a NOQUANT SETATTR x
        assert_equal 4f151953778ffcd17001c002930d2703a1054b51 [r debug digest-value k]
        r vsetattr k a {}
        assert_equal fbe99bf67746c516cab899c87182a652612c61db [r debug digest]
    }

    test "DEBUG DIGEST-VALUE does not depend on the order of writes" {
        r flushall
        for {set i 0} {$i < 30} {incr i} { r vadd up VALUES 3 $i 1 2 e$i SETATTR $i }
        for {set i 29} {$i >= 0} {incr i -1} {
            r vadd down VALUES 3 9 9 9 e$i
            r vadd down VALUES 3 $i 1 2 e$i SETATTR $i
        }
        assert_equal [r debug digest-value up] [r debug digest-value down]
        r vsetattr down e3 other
        assert {[r debug digest-value up] ne [r debug digest-value down]}
    }

    # ---- COMMAND -------------------------------------------------------------

    test "COMMAND tells arity, flags, keys and categories of the family" {
        foreach {command arity flags speed} {
            VADD -5 {write denyoom} slow        VREM 3 write slow
            VSIM -4 readonly slow               VDIM 2 {readonly fast} fast
            VCARD 2 {readonly fast} fast        VEMB -3 {readonly fast} fast
            VLINKS -3 {readonly fast} fast      VINFO 2 {readonly fast} fast
            VSETATTR 4 {write fast} fast        VGETATTR 3 {readonly fast} fast
            VRANDMEMBER -2 readonly slow        VISMEMBER 3 readonly slow
            VRANGE -4 readonly slow
        } {
            set info [lindex [r command info $command] 0]
            assert_equal [list $command $arity] [lrange $info 0 1]
            assert_equal [lsort [concat $flags module]] [lsort [lindex $info 2]]
            assert_equal {1 1 1} [lrange $info 3 5]
            assert_equal [lsort [list @vectorset @$speed @[string map {only {}} [lindex $flags 0]]]] \
                [lsort [lindex $info 6]]
            assert_equal [list $info] [r command info [string tolower $command]]
            assert_equal key [r command getkeys $command key {*}[lrepeat [expr {abs($arity) - 2}] x]]
        }
    }

    test "COMMAND LIST knows the family by module and category" {
        foreach filter {{module vectorset} {aclcat vectorset}} {
            set all [r command list filterby {*}$filter]
            foreach command $family { assert {$command in $all} $command }
        }
    }

    test "INFO commandstats has upper-case names" {
        r config resetstat
        r vadd k VALUES 2 1 2 a
        r vsim k ELE a
        catch {r vsim k ELE none}
        catch {r vsim k}
        assert_match "calls=2,*,rejected_calls=1,failed_calls=1" [info_field cmdstat_VSIM]
        assert_match "calls=1,*,rejected_calls=0,failed_calls=0" [info_field cmdstat_VADD]
    }
}
