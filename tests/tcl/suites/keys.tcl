# Keys of any type: deleting, counting, renaming, moving, walking, OBJECT.

# One reply with its type.
proc typed {args} {
    r send {*}$args
    return [r typed]
}

proc make_vset {key} {
    r del $key
    r vadd $key VALUES 2 1 2 x
}

# Sets keys PREFIX:0 to PREFIX:n-1.
proc fill {prefix n} {
    for {set i 0} {$i < $n} {incr i 5000} {
        set words {}
        for {set j $i} {$j < $n && $j < $i + 5000} {incr j} { lappend words $prefix:$j $j }
        r mset {*}$words
    }
}

# Every key of a whole SCAN with these options, and after each call a script.
proc scan_all {options {between {}}} {
    set cursor 0
    set found {}
    while 1 {
        lassign [r scan $cursor {*}$options] cursor part
        lappend found {*}$part
        if {$cursor == 0} { return $found }
        uplevel 1 $between
    }
}

start_server {} {
    test {DEL and UNLINK delete keys of any type and count them} {
        foreach command {del unlink} {
            r mset a 1 b 2
            make_vset v
            assert_equal {int 3} [typed $command a missing b a v]
            assert_equal 0 [r dbsize]
            assert_equal {int 0} [typed $command a]
        }
        assert_error "ERR wrong number of arguments for 'del' command" {r del}
        assert_error "ERR wrong number of arguments for 'unlink' command" {r unlink}
    }

    test {EXISTS and TOUCH count a key as often as it is named} {
        r mset a 1 b 2
        make_vset v
        assert_equal {int 5} [typed exists a b a v missing a]
        assert_equal {int 4} [typed touch a b v missing a]
        assert_equal {int 0} [typed exists missing]
        assert_error "ERR wrong number of arguments for 'exists' command" {r exists}
        assert_error "ERR wrong number of arguments for 'touch' command" {r touch}
    }

    test {commands on many thousand keys count right} {
        r flushall
        fill key 20000
        set words {}
        for {set i 0} {$i < 20000} {incr i 2} { lappend words key:$i missing:$i }
        assert_equal 10000 [r exists {*}$words]
        assert_equal 10000 [r touch {*}$words]
        assert_equal 10000 [r del {*}$words]
        assert_equal 10000 [r dbsize]
        r multi
        r exists {*}$words
        r unlink {*}[lmap {a b} $words {string cat key: [expr {[lindex [split $a :] 1] + 1}]}]
        r dbsize
        assert_equal {0 10000 0} [r exec]
    }

    test {TYPE names the types} {
        r set s 1
        make_vset v
        assert_equal {status string} [typed type s]
        assert_equal {status vectorset} [typed type v]
        assert_equal {status none} [typed type missing]
    }

    test {RANDOMKEY finds every key in time} {
        r flushall
        assert_equal {null {}} [typed randomkey]
        fill key 20
        set seen {}
        wait_for {[dict size [dict set seen [r randomkey] 1]] == 20}
        foreach key [dict keys $seen] { assert_equal 1 [r exists $key] }
    }
}

# ---- renaming and moving -------------------------------------------------------

start_server {} {
    test {RENAME moves value and expiry, over whatever is there} {
        r set a value EX 1000
        r set b other
        assert_equal OK [r rename a b]
        assert_equal value [r get b]
        assert {[r ttl b] > 900}
        assert_equal 0 [r exists a]
        r set a plain
        assert_equal OK [r rename a b]
        assert_equal -1 [r ttl b]
        make_vset v
        assert_equal OK [r rename v b]
        assert_equal vectorset [r type b]
        assert_equal 1 [r vismember b x]
        r set a plain EX 1000
        assert_equal OK [r rename a b]
        assert_equal {plain 1} [list [r get b] [expr {[r ttl b] > 900}]]
    }

    test {RENAME of a missing key is an error} {
        assert_error "ERR no such key" {r rename missing b}
        assert_error "ERR no such key" {r rename missing missing}
        assert_error "ERR no such key" {r renamenx missing b}
        assert_error "ERR wrong number of arguments for 'rename' command" {r rename a}
    }

    test {RENAME of a key to itself changes nothing} {
        r set a value EX 1000
        assert_equal OK [r rename a a]
        assert_equal {int 0} [typed renamenx a a]
        assert_equal value [r get a]
        assert {[r ttl a] > 900}
    }

    test {RENAMENX leaves what is there} {
        r set a 1
        r set b 2
        assert_equal {int 0} [typed renamenx a b]
        assert_equal {1 2} [r mget a b]
        r del b
        assert_equal {int 1} [typed renamenx a b]
        assert_equal {{} 1} [r mget a b]
    }

    test {MOVE takes a key to another database} {
        r flushall
        r set a value EX 1000
        make_vset v
        assert_equal {int 1} [typed move a 9]
        assert_equal {int 1} [typed move v 9]
        assert_equal 0 [r dbsize]
        r select 9
        assert_equal value [r get a]
        assert {[r ttl a] > 900}
        assert_equal 1 [r vcard v]
        r select 0
    }

    test {the number of a database is checked alike wherever one is named} {
        set within "ERR value is out of range, value must between -2147483648*"
        foreach {db error} [list 16 "ERR DB index is out of range" \
                                -1 "ERR DB index is out of range" \
                                2147483648 $within -2147483649 $within \
                                x "ERR value is not an integer*"] {
            assert_error $error {r select $db}
            assert_error $error {r move k $db}
            assert_error $error {r copy k l DB $db}
        }
    }

    test {MOVE does not overwrite and does not invent} {
        r set a new
        assert_equal {int 0} [typed move a 9]
        assert_equal new [r get a]
        assert_equal {int 0} [typed move missing 9]
        assert_error "ERR source and destination objects are the same" {r move a 0}
        assert_error "ERR source and destination objects are the same" {r move missing 0}
        assert_error "ERR DB index is out of range" {r move a 16}
        assert_error "ERR DB index is out of range" {r move a -1}
        assert_error "ERR value is not an integer or out of range" {r move a x}
        assert_error "ERR value is out of range, value must between -2147483648 and 2147483647" \
            {r move a 2147483648}
        assert_equal new [r get a]
    }

    # Runs a command of another client between WATCH and EXEC; true when the
    # transaction was stopped.
    proc stopped_by {watched args} {
        set c [client]
        r watch {*}$watched
        catch {$c {*}$args}
        $c close
        r multi
        r ping
        return [expr {[r exec] eq ""}]
    }

    test {WATCH is broken for both names of a rename and by what deletes} {
        foreach {watched command stops} {
            a {rename a b} 1    b {rename a b} 1    a {rename a a} 0    a {renamenx a b} 0
            a {renamenx a n} 1  n {renamenx a n} 1  c {rename a b} 0    a {move a 9} 1
            a {move b 9} 0      a {del a} 1         a {unlink a} 1      n {del n} 0
            a {del b} 0         a {touch a} 0       a {exists a} 0      a {type a} 0
            a {flushdb} 1       n {flushdb} 0       a {object encoding a} 0
        } {
            r flushall
            r mset a 1 b 2
            assert_equal $stops [stopped_by $watched {*}$command] "$watched; $command"
        }
    }
}

# ---- KEYS ----------------------------------------------------------------------

start_server {} {
    test {KEYS matches patterns} {
        r flushall
        foreach key {hello hallo hxllo heello hllo "" a\\b "x*y" "\[z" "h\nllo"} { r set $key v }
        foreach {pattern want} {
            h?llo {hello hallo hxllo "h\nllo"}
            h*llo {hello hallo hxllo heello hllo "h\nllo"}
            h[ae]llo {hello hallo}
            h[^e]llo {hallo hxllo "h\nllo"}
            h[a-e]llo {hello hallo}
            h[e-a]llo {hello hallo}
            "" {""}
            hello {hello}
            hell {}
            *hello* {hello}
            ? {}
            HELLO {}
        } {
            assert_equal [lsort [subst -nocommands $want]] [lsort [r keys $pattern]] $pattern
        }
        assert_equal [list x*y] [r keys {x\*y}]
        assert_equal [list {a\b}] [r keys {a\\b}]
        assert_equal [list {[z}] [r keys {\[z}]
        assert_equal 10 [llength [r keys *]]
        assert_equal [lsort [r keys h*o]] [lsort [r keys h**o]]
    }

    test {KEYS of an empty database is an empty array} {
        r flushall
        assert_equal {array {}} [typed keys *]
        assert_equal {array {}} [typed keys foo]
    }

    test {a pattern full of stars is matched in no time} {
        r set [string repeat a 5000] v
        assert_equal {} [r keys [string repeat *a 2000]b]
        r flushall
    }

    test {KEYS leaves out expired keys} {
        r set stays v
        r set goes v PX 1
        wait_for {[llength [r keys *]] == 1}
        assert_equal stays [r keys *]
    }

    test {KEYS of a hundred thousand keys has each once} {
        r flushall
        fill key 100000
        set keys [r keys *]
        assert_equal 100000 [llength $keys]
        assert_equal 100000 [llength [lsort -unique $keys]]
        assert_equal {key:10099 key:20099 key:30099} [lsort [r keys {key:[1-3]0099}]]
    }

    test {others are served while KEYS walks} {
        set served 0
        for {set try 0} {$try < 50 && !$served} {incr try} {
            set c [client]
            r del flag
            $c send ping
            $c send keys *
            $c send get flag
            assert_equal PONG [$c read] ;# so KEYS has begun
            r set flag 1
            assert {[llength [$c read]] in {100000 100001}}
            set served [expr {[$c read] eq "1"}]
            $c close
        }
        assert {$served}
    }

    test {a client that goes away in the middle of KEYS does no harm} {
        for {set i 0} {$i < 20} {incr i} {
            set c [client]
            $c send keys *
            flush [$c channel]
            $c close
        }
        assert_equal PONG [r ping]
    }

    test {KEYS and FLUSHALL at the same time do no harm} {
        set c [client]
        r flushall
        for {set i 0} {$i < 10} {incr i} {
            fill key 20000
            $c send keys *
            flush [$c channel]
            r flushall
            assert {[llength [$c read]] <= 20001}
        }
        $c close
        assert_equal {} [r keys *]
    }
}

# ---- SCAN ----------------------------------------------------------------------

start_server {} {
    test {SCAN walks all keys, whatever the count} {
        r flushall
        assert_equal {0 {}} [r scan 0]
        fill key 3000
        set want [lsort [r keys *]]
        foreach count {1 7 10 100 1000 100000 9223372036854775807} {
            assert {[lsort -unique [scan_all [list COUNT $count]]] eq $want} $count
        }
        assert {[lsort -unique [scan_all {}]] eq $want}
        assert_equal 0 [lindex [r scan 0 COUNT 100000] 0]
    }

    test {SCAN replies a cursor as text and an array} {
        lassign [typed scan 0] type items
        assert_equal array $type
        assert_equal bulk [lindex $items 0 0]
        assert_equal array [lindex $items 1 0]
    }

    test {SCAN MATCH and TYPE filter} {
        make_vset v1
        make_vset v2
        assert_equal {v1 v2} [lsort [scan_all {TYPE vectorset}]]
        assert_equal {v1 v2} [lsort [scan_all {TYPE VectorSet COUNT 100}]]
        assert_equal 3000 [llength [lsort -unique [scan_all {type string count 500}]]]
        assert_equal {} [scan_all {TYPE list COUNT 1000}]
        assert_equal {} [scan_all {TYPE nonsense COUNT 1000}]
        assert_equal {key:7} [scan_all {MATCH key:7 COUNT 1000}]
        assert_equal [lsort [r keys key:29?7]] [lsort [scan_all {MATCH key:29?7 COUNT 77}]]
        assert_equal {v2} [scan_all {MATCH *2 TYPE vectorset COUNT 500}]
        assert_equal {v1} [scan_all {MATCH foo MATCH v1 COUNT 500}]
    }

    test {SCAN refuses bad cursors and options} {
        foreach cursor {x "" -1 1x 1.0 18446744073709551616} {
            assert_error "ERR invalid cursor" {r scan $cursor}
            assert_error "ERR invalid cursor" {r scan $cursor COUNT 0}
        }
        foreach options {{COUNT} {COUNT 0} {COUNT -1} {MATCH} {TYPE} {foo} {foo 1} {COUNT 5 MATCH}} {
            assert_error "ERR syntax error" {r scan 0 {*}$options}
        }
        foreach count {x "" 1.5} {
            assert_error "ERR value is not an integer or out of range" {r scan 0 COUNT $count}
        }
        assert_error "ERR NOVALUES option can only be used in HSCAN" \
            {r scan 0 NOVALUES}
        assert_equal 0 [lindex [r scan 18446744073709551615] 0]
    }

    test {SCAN finds what is there all the time, while other keys come and go} {
        for {set round 0} {$round < 5} {incr round} {
            r flushall
            set n [expr {100 + int(rand() * 3000)}]
            fill stays $n
            set coming 0
            set found [scan_all [list COUNT [expr {1 + int(rand() * 50)}]] {
                for {set i 0} {$i < 40} {incr i} {
                    # Keys that came faster than a small COUNT passes them
                    # would never let the scan end.
                    if {$coming < 5000 && rand() < 0.6} {
                        r send set comes:[incr coming] v
                    } else {
                        r send del comes:[expr {1 + int(rand() * $coming)}]
                    }
                }
                for {set i 0} {$i < 40} {incr i} { r read }
            }]
            set stays [lsort -unique [lsearch -all -inline $found stays:*]]
            assert_equal $n [llength $stays]
        }
    }

    test {SCAN ends while a database shrinks} {
        r flushall
        fill key 5000
        set left 5000
        scan_all {COUNT 20} {
            for {set i 0} {$i < 100 && $left > 0} {incr i} { r send del key:[incr left -1] }
            for {} {$i > 0} {incr i -1} { r read }
        }
        assert_equal 0 [r dbsize]
    }

    test {SCAN of another database sees only that} {
        r flushall
        fill key 100
        r select 3
        r set other v
        assert_equal other [scan_all {}]
        r select 0
        assert_equal 100 [llength [scan_all {COUNT 1000}]]
    }

    test {SCAN in a transaction is one instant} {
        r multi
        r scan 0 COUNT 1000
        r set more v
        assert_equal 100 [llength [lindex [r exec] 0 1]]
    }
}

# ---- OBJECT --------------------------------------------------------------------

start_server {} {
    test {OBJECT ENCODING of a vector set is raw} {
        make_vset v
        assert_equal {bulk raw} [typed object encoding v]
        assert_equal {null {}} [typed object encoding missing]
    }

    test {OBJECT REFCOUNT is what clients know} {
        r mset small 9999 large 10000 negative -1 text x
        assert_equal {int 2147483647} [typed object refcount small]
        foreach key {large negative text} { assert_equal {int 1} [typed object refcount $key] }
        assert_equal {null {}} [typed object refcount missing]
    }

    test {OBJECT IDLETIME counts seconds until the next access} {
        r set k v
        assert_equal 0 [r object idletime k]
        wait_for {[r object idletime k] >= 1}
        r ttl k
        r type k
        r exists k
        r object encoding k
        assert {[r object idletime k] >= 1}
        r touch k
        assert_equal 0 [r object idletime k]
        wait_for {[r object idletime k] >= 1}
        r get k
        assert_equal 0 [r object idletime k]
        wait_for {[r object idletime k] >= 1}
        r append k x
        assert_equal 0 [r object idletime k]
        assert_equal {null {}} [typed object idletime missing]
    }

    test {OBJECT FREQ needs a policy that there is none of} {
        r set k v
        assert_error "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust." \
            {r object freq k}
        assert_equal {null {}} [typed object freq missing]
    }

    test {OBJECT explains itself and refuses the rest} {
        assert_match "OBJECT <subcommand> *" [lindex [r object help] 0]
        assert_error "ERR unknown subcommand 'foo'. Try OBJECT HELP." {r object foo}
        assert_error "ERR unknown subcommand 'foo'. Try OBJECT HELP." {r object foo bar}
        assert_error "ERR wrong number of arguments for 'object' command" {r object}
        assert_error "ERR wrong number of arguments for 'object|encoding' command" {r object encoding}
        assert_error "ERR wrong number of arguments for 'object|freq' command" {r object freq a b}
    }
}
