# Strings: SET and its kin, counters, ranges, LCS, and their limits.

# One reply with its type.
proc typed {args} {
    r send {*}$args
    return [r typed]
}

set int_error "ERR value is not an integer or out of range"
set wrongtype "WRONGTYPE Operation against a key holding the wrong kind of value"

proc make_vset {key} {
    r del $key
    r vadd $key VALUES 2 1 2 x
}

# ---- SET and GET ---------------------------------------------------------------

start_server {} {
    test {SET and GET keep a value as it is} {
        foreach value [list "" v "hello world" 0 -1 12345678901234567890 007 1.50 \
                           " 1" "\x00\x01\xff\r\n" [string repeat x 44] [string repeat y 45]] {
            assert_equal OK [r set k $value]
            assert_equal $value [r get k]
            assert_equal [string length $value] [r strlen k]
        }
    }

    test {keys may be empty, hold any byte and be a megabyte long} {
        set keys [list "" "\x00" "\x00\x00" "a" "a\x00" "\r\n" "\xff\xfe" [string repeat k 1048576]]
        set i 0
        foreach key $keys { r set $key [incr i] }
        set i 0
        foreach key $keys { assert_equal [incr i] [r get $key] }
        assert_equal [llength $keys] [r exists {*}$keys]
        assert_equal [llength $keys] [r del {*}$keys]
        assert_equal 0 [r exists {*}$keys]
    }

    test {a value may have many megabytes} {
        set value [string repeat "0123456789abcdef" 500000]
        r set big $value
        assert {[r get big] eq $value}
        assert_equal 8000000 [r strlen big]
        r del big
    }

    test {GET of a missing key is null in both protocols} {
        assert_equal {null {}} [typed get missing]
        r hello 3
        assert_equal {null {}} [typed get missing]
        r hello 2
    }

    test {SET NX and XX look at whether the key is there} {
        r del k
        assert_equal {null {}} [typed set k a XX]
        assert_equal 0 [r exists k]
        assert_equal OK [r set k a nx]
        assert_equal {null {}} [typed set k b NX]
        assert_equal a [r get k]
        assert_equal OK [r set k c xx]
        assert_equal c [r get k]
    }

    test {SET GET replies the value before, also when the condition stops it} {
        r set k old
        assert_equal {bulk old} [typed set k new GET]
        assert_equal {bulk new} [typed set k newer NX GET]
        assert_equal new [r get k]
        r del k
        assert_equal {null {}} [typed set k v GET XX]
        assert_equal 0 [r exists k]
        assert_equal {null {}} [typed set k v GET NX]
        assert_equal v [r get k]
    }

    test {SET overwrites any type, SET GET does not} {
        make_vset k
        assert_error $wrongtype {r set k v GET}
        assert_error $wrongtype {r set k v GET NX}
        assert_equal vectorset [r type k]
        assert_equal OK [r set k v]
        assert_equal string [r type k]
        make_vset k
        assert_equal OK [r setex k 100 v]
        assert_equal v [r get k]
    }

    test {SET without KEEPTTL clears the expiry} {
        r set k v EX 100
        r set k w KEEPTTL
        assert {[r ttl k] > 90}
        assert_equal w [r get k]
        r set k x
        assert_equal -1 [r ttl k]
        r set k x KEEPTTL
        assert_equal -1 [r ttl k]
    }

    test {SET takes a time in four forms} {
        set now [clock seconds]
        r set k v EX 100
        assert {[r ttl k] > 90 && [r ttl k] <= 100}
        r set k v px 100000
        assert {[r ttl k] > 90 && [r ttl k] <= 100}
        r set k v EXAT [expr {$now + 1000}]
        assert_equal [expr {$now + 1000}] [r expiretime k]
        r set k v PXAT [expr {($now + 1000) * 1000 + 7}]
        assert_equal [expr {($now + 1000) * 1000 + 7}] [r pexpiretime k]
    }

    test {a time in the past makes a key that is not there} {
        r set k old
        assert_equal OK [r set k v PXAT 1]
        assert_equal {null {}} [typed get k]
        assert_equal 0 [r exists k]
    }

    test {of two equal options the last one counts} {
        r del k
        assert_equal OK [r set k v EX 10 EX 5000]
        assert {[r ttl k] > 4000}
        assert_equal {null {}} [typed set k v NX NX]
    }

    test {options of SET that exclude each other are a syntax error} {
        r set k v
        foreach options {
            {NX XX} {XX NX} {EX 10 PX 10} {EX 10 KEEPTTL} {KEEPTTL PX 10} {EXAT 10 PXAT 10}
            {EX 10 EXAT 10} {PERSIST} {EX} {PX} {NX EX} {foo} {GET foo} {EX 10 foo} {""}
        } {
            assert_error "ERR syntax error" {r set k w {*}$options}
        }
        assert_equal v [r get k]
    }

    test {a time of SET that is no positive number in range is refused} {
        foreach time {0 -1 9223372036854775807 9223372036854776 -9223372036854775808} {
            assert_error "ERR invalid expire time in 'set' command" {r set k w EX $time}
        }
        foreach time {0 -1 9223372036854775807} {
            assert_error "ERR invalid expire time in 'set' command" {r set k w PX $time}
        }
        foreach time {"" x 1.5 " 1" +1 01 9223372036854775808} {
            assert_error $int_error {r set k w EX $time}
            assert_error $int_error {r set k w PXAT $time}
        }
        assert_equal OK [r set k w PXAT 9223372036854775807]
        assert_equal 9223372036854775807 [r pexpiretime k]
        assert_equal w [r get k]
    }
}

start_server {} {
    test {SETNX sets a key once} {
        assert_equal {int 1} [typed setnx k a]
        assert_equal {int 0} [typed setnx k b]
        assert_equal a [r get k]
        make_vset k
        assert_equal {int 0} [typed setnx k b]
    }

    test {SETEX and PSETEX set value and expiry} {
        assert_equal OK [r setex k 100 v]
        assert {[r ttl k] > 90 && [r ttl k] <= 100}
        assert_equal OK [r psetex k 100000 w]
        assert {[r pttl k] > 90000}
        assert_equal w [r get k]
        assert_error "ERR invalid expire time in 'setex' command" {r setex k 0 x}
        assert_error "ERR invalid expire time in 'psetex' command" {r psetex k -5 x}
        assert_error "ERR invalid expire time in 'setex' command" {r setex k 9223372036854775807 x}
        assert_error $int_error {r setex k ten x}
        assert_equal w [r get k]
    }

    test {GETSET replies the value before and clears the expiry} {
        r del k
        assert_equal {null {}} [typed getset k a]
        r expire k 100
        assert_equal {bulk a} [typed getset k b]
        assert_equal b [r get k]
        assert_equal -1 [r ttl k]
        make_vset k
        assert_error $wrongtype {r getset k v}
        assert_equal vectorset [r type k]
    }

    test {GETDEL replies a value and deletes the key} {
        r set k v
        assert_equal {bulk v} [typed getdel k]
        assert_equal {null {}} [typed getdel k]
        assert_equal 0 [r exists k]
        make_vset k
        assert_error $wrongtype {r getdel k}
        assert_equal 1 [r exists k]
    }

    test {GETEX replies a value and changes the expiry} {
        r set k v
        assert_equal v [r getex k]
        assert_equal -1 [r ttl k]
        assert_equal v [r getex k EX 100]
        assert {[r ttl k] > 90 && [r ttl k] <= 100}
        assert_equal v [r getex k]
        assert {[r ttl k] > 90 && [r ttl k] <= 100}
        assert_equal v [r getex k PX 500000]
        assert {[r ttl k] > 490 && [r ttl k] <= 500}
        assert_equal v [r getex k PERSIST]
        assert_equal -1 [r ttl k]
        assert_equal v [r getex k PXAT 9223372036854775807]
        assert_equal 9223372036854775807 [r pexpiretime k]
        assert_equal {null {}} [typed getex missing EX 100]
        assert_equal 0 [r exists missing]
    }

    test {GETEX with a time in the past replies the value and deletes the key} {
        r set k v
        assert_equal v [r getex k EXAT 1]
        assert_equal 0 [r exists k]
    }

    test {GETEX refuses bad options before it looks at the key, bad times after} {
        r set k v
        foreach options {{EX} {KEEPTTL} {NX} {EX 10 PERSIST} {PERSIST PX 10} {EX 10 PX 10} {GET}} {
            assert_error "ERR syntax error" {r getex k {*}$options}
            assert_error "ERR syntax error" {r getex missing {*}$options}
        }
        assert_error "ERR invalid expire time in 'getex' command" {r getex k EX 0}
        assert_error $int_error {r getex k EX x}
        assert_equal {null {}} [typed getex missing EX x]
        make_vset k
        assert_error $wrongtype {r getex k EX x}
    }

    test {MGET replies null for what is no string} {
        r set a 1
        r set b two
        make_vset v
        assert_equal {array {{bulk 1} {null {}} {bulk two} {null {}} {bulk 1}}} \
            [typed mget a missing b v a]
    }

    test {MSET sets all, clears expiries and takes the last of equal keys} {
        r set a 1 EX 100
        make_vset v
        assert_equal OK [r mset a x b y v z a last]
        assert_equal {last y z} [r mget a b v]
        assert_equal -1 [r ttl a]
        assert_error "ERR wrong number of arguments for 'mset' command" {r mset a}
        assert_error "ERR wrong number of arguments for 'mset' command" {r mset a 1 b}
    }

    test {MSETNX sets all or none} {
        r del a b c
        r set b there
        assert_equal {int 0} [typed msetnx a 1 b 2 c 3]
        assert_equal 0 [r exists a c]
        assert_equal {int 1} [typed msetnx a 1 c 3 c 4]
        assert_equal {1 there 4} [r mget a b c]
        assert_error "ERR wrong number of arguments for 'msetnx' command" {r msetnx a 1 b}
    }

    test {a hundred thousand pairs in one MSET are all set} {
        r flushall
        set words {}
        for {set i 0} {$i < 100000} {incr i} { lappend words key:$i $i }
        r mset {*}$words
        assert_equal 100000 [r dbsize]
        assert_equal {0 50000 99999} [r mget key:0 key:50000 key:99999]
        r flushall
    }
}

# ---- counters ------------------------------------------------------------------

start_server {} {
    test {INCR and its kin count from zero} {
        assert_equal {int 1} [typed incr a]
        assert_equal {int -1} [typed decr b]
        assert_equal {int 42} [typed incrby c 42]
        assert_equal {int -42} [typed decrby d 42]
        assert_equal {int -9223372036854775808} [typed incrby e -9223372036854775808]
        assert_equal {1 -1 42 -42 -9223372036854775808} [r mget a b c d e]
    }

    test {counters stop at the ends of 64 bits} {
        r set k 9223372036854775806
        assert_equal 9223372036854775807 [r incr k]
        assert_error "ERR increment or decrement would overflow" {r incr k}
        assert_equal 9223372036854775807 [r get k]
        r set k -9223372036854775807
        assert_equal -9223372036854775808 [r decr k]
        assert_error "ERR increment or decrement would overflow" {r decrby k 1}
        assert_error "ERR decrement would overflow" {r decrby k -9223372036854775808}
        assert_error "ERR increment or decrement would overflow" {r incrby k -9223372036854775808}
        assert_equal -9223372036854775808 [r get k]
    }

    test {what is no integer cannot be counted} {
        foreach value {"" x " 1" "1 " +1 01 -0 1.0 9223372036854775808} {
            r set k $value
            assert_error $int_error {r incr k}
            assert_error $int_error {r incrby n $value}
            assert_error $int_error {r decrby n $value}
            assert_equal $value [r get k]
        }
        assert_equal 0 [r exists n]
        make_vset k
        foreach command {{incr k} {decr k} {incrby k 1} {decrby k 1} {incrbyfloat k 1}} {
            assert_error $wrongtype {r {*}$command}
        }
    }

    test {counting keeps the expiry} {
        r set k 5 EX 100
        r incr k
        r incrbyfloat k 0.5
        assert_equal 6.5 [r get k]
        assert {[r ttl k] > 90}
    }

    test {an integer that was appended to is one still} {
        r set k 1
        r append k 2
        assert_equal raw [r object encoding k]
        assert_equal 13 [r incr k]
        assert_equal int [r object encoding k]
    }

    test {INCRBYFLOAT answers decimals without trailing zeros} {
        r del k
        assert_equal {bulk 0.1} [typed incrbyfloat k 0.1]
        assert_equal 0.3 [r incrbyfloat k 0.2]
        r set k 3.0e3
        assert_equal 5200 [r incrbyfloat k 2.2e3]
        assert_equal 5000 [r incrbyfloat k -200]
        assert_equal 0 [r incrbyfloat k -5000]
        r set k 1.5
        assert_equal 0 [r incrbyfloat k -1.5]
        r set k 0
        assert_equal 0 [r incrbyfloat k -0]
        r set k 0
        assert_equal 0.00000000000000001 [r incrbyfloat k 1e-17]
        r set k 10
        assert_equal 26 [r incrbyfloat k 0x1p4]
        r set k 5
        assert_equal 10000000000000000000000 [r incrbyfloat k 9999999999999999999995]
    }

    test {INCRBYFLOAT refuses what is no finite number} {
        r set k 1
        foreach value {"" x " 1" "1 " nan 1e5000 1e-5000 1.5x} {
            assert_error "ERR value is not a valid float" {r incrbyfloat k $value}
            r set v $value
            assert_error "ERR value is not a valid float" {r incrbyfloat v 1}
        }
        foreach value {inf -inf infinity} {
            assert_error "ERR increment would produce NaN or Infinity" {r incrbyfloat k $value}
            assert_error "ERR increment would produce NaN or Infinity" {r incrbyfloat new $value}
        }
        r set k 1e4932
        assert_error "ERR increment would produce NaN or Infinity" {r incrbyfloat k 1.1e4932}
        assert_equal 1e4932 [r get k]
        assert_equal 0 [r exists new]
        assert_error "ERR value is not a valid float" {r incrbyfloat new "1\x00"}
    }
}

# ---- parts ---------------------------------------------------------------------

start_server {} {
    test {APPEND makes keys and makes them longer} {
        r del k
        assert_equal {int 5} [typed append k hello]
        assert_equal {int 11} [typed append k " world"]
        assert_equal "hello world" [r get k]
        assert_equal {int 11} [typed append k ""]
        assert_equal {int 0} [typed append empty ""]
        assert_equal 1 [r exists empty]
        r set n 12
        assert_equal 4 [r append n 34]
        assert_equal 1234 [r get n]
        make_vset k
        assert_error $wrongtype {r append k x}
    }

    test {APPEND in small pieces builds a large value} {
        r del k
        for {set i 0} {$i < 5000} {incr i} { r send append k piece$i, }
        for {set i 0} {$i < 5000} {incr i} { r read }
        set want ""
        for {set i 0} {$i < 5000} {incr i} { append want piece$i, }
        assert {[r get k] eq $want}
    }

    test {APPEND keeps the expiry} {
        r set k v EX 100
        r append k w
        assert {[r ttl k] > 90}
    }

    test {GETRANGE takes positions from both ends} {
        r set k "Hello World"
        foreach {from to want} {
            0 4 Hello  -5 -1 World  0 -1 "Hello World"  6 100 World  -100 4 Hello  5 5 " "
            4 2 ""  -1 -5 ""  11 20 ""  -100 -200 ""  -100 -90 "H"  0 0 H
            -9223372036854775808 9223372036854775807 "Hello World"
        } {
            assert_equal $want [r getrange k $from $to] "$from $to"
            assert_equal $want [r substr k $from $to]
        }
        r set n 12345
        assert_equal 34 [r getrange n 2 3]
        assert_equal {bulk {}} [typed getrange missing 0 -1]
        r set e ""
        assert_equal "" [r getrange e 0 -1]
    }

    test {GETRANGE looks at its numbers before the key} {
        make_vset v
        assert_error $int_error {r getrange v x 1}
        assert_error $int_error {r getrange v 1 x}
        assert_error $wrongtype {r getrange v 0 1}
        assert_error $wrongtype {r substr v 0 1}
        assert_error $wrongtype {r strlen v}
        assert_equal {int 0} [typed strlen missing]
    }

    test {GETRANGE of random positions agrees with string range} {
        for {set i 0} {$i < 500} {incr i} {
            set value [string repeat [format %c [expr {97 + int(rand() * 26)}]]$i [expr {int(rand() * 8)}]]
            set from [expr {int(rand() * 40) - 20}]
            set to [expr {int(rand() * 40) - 20}]
            r set k $value
            set n [string length $value]
            set a [expr {$from < 0 ? max(0, $from + $n) : $from}]
            set b [expr {$to < 0 ? max(0, $to + $n) : $to}]
            set want [string range $value $a $b]
            if {$from < 0 && $to < 0 && $from > $to} { set want "" }
            assert_equal $want [r getrange k $from $to] "'$value' $from $to"
        }
    }

    test {SETRANGE overwrites, fills with zeros and makes keys} {
        r set k "Hello World"
        assert_equal {int 11} [typed setrange k 6 Redis]
        assert_equal "Hello Redis" [r get k]
        assert_equal {int 14} [typed setrange k 12 xy]
        assert_equal "Hello Redis\x00xy" [r get k]
        assert_equal {int 5} [typed setrange new 3 ab]
        assert_equal "\x00\x00\x00ab" [r get new]
        r set n 1234
        assert_equal {int 4} [typed setrange n 1 9]
        assert_equal 1934 [r get n]
        assert_equal 1935 [r incr n]
    }

    test {SETRANGE with nothing to write changes nothing} {
        assert_equal {int 0} [typed setrange missing 0 ""]
        assert_equal {int 0} [typed setrange missing 100 ""]
        assert_equal 0 [r exists missing]
        r set k v
        assert_equal {int 1} [typed setrange k 100 ""]
        assert_equal embstr [r object encoding k]
    }

    test {no string becomes longer than proto-max-bulk-len, piece by piece} {
        set error "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        r config set proto-max-bulk-len 1mb
        assert_error $error {r setrange long 1048576 a}
        assert_equal 0 [r exists long]
        assert_equal 1048576 [r setrange long 1048575 a]
        assert_error $error {r append long a}
        assert_equal 1048576 [r strlen long]
        r config set proto-max-bulk-len 512mb
        assert_equal 1048577 [r append long a]
        r del long
    }

    test {SETRANGE looks at offset, type and length in this order} {
        make_vset v
        assert_error $int_error {r setrange v x a}
        assert_error "ERR offset is out of range" {r setrange v -1 a}
        assert_error $wrongtype {r setrange v 0 ""}
        assert_error $wrongtype {r setrange v 536870912 a}
        foreach offset {536870912 9223372036854775807} {
            assert_error "ERR string exceeds maximum allowed size (proto-max-bulk-len)" \
                {r setrange missing $offset a}
            r set k v
            assert_error "ERR string exceeds maximum allowed size (proto-max-bulk-len)" \
                {r setrange k $offset a}
        }
        assert_error "ERR string exceeds maximum allowed size (proto-max-bulk-len)" \
            {r setrange missing 536870900 [string repeat x 13]}
        assert_equal 0 [r exists missing]
        assert_equal v [r get k]
    }

    test {a value that has become short gives its memory back} {
        r set k [string repeat x 10000000]
        set large [r memory usage k]
        r set k short
        assert {[r memory usage k] < $large / 1000}
    }
}

# ---- LCS -----------------------------------------------------------------------

start_server {} {
    test {LCS finds the longest common subsequence} {
        r mset a ohmytext b mynewtext
        assert_equal {bulk mytext} [typed lcs a b]
        assert_equal {int 6} [typed lcs a b LEN]
        assert_equal {matches {{{4 7} {5 8}} {{2 3} {0 1}}} len 6} [r lcs a b IDX]
        assert_equal {matches {{{4 7} {5 8} 4} {{2 3} {0 1} 2}} len 6} [r lcs a b IDX WITHMATCHLEN]
        assert_equal {matches {{{4 7} {5 8}}} len 6} [r lcs a b IDX MINMATCHLEN 4]
        assert_equal {matches {{{4 7} {5 8} 4}} len 6} [r lcs a b IDX MINMATCHLEN 4 WITHMATCHLEN]
        r hello 3
        assert_equal map [lindex [typed lcs a b IDX] 0]
        r hello 2
    }

    test {LCS takes a missing key for an empty string} {
        assert_equal {bulk {}} [typed lcs a missing]
        assert_equal {int 0} [typed lcs missing missing LEN]
        assert_equal {matches {} len 0} [r lcs missing b IDX]
    }

    test {LCS refuses other types, conflicting and unknown options} {
        make_vset v
        assert_error "ERR The specified keys must contain string values" {r lcs a v}
        assert_error "ERR The specified keys must contain string values" {r lcs v a foo}
        assert_error "ERR If you want both the length and indexes, please just use IDX." {r lcs a b LEN IDX}
        assert_error "ERR syntax error" {r lcs a b foo}
        assert_error "ERR syntax error" {r lcs a b IDX MINMATCHLEN}
        assert_error $int_error {r lcs a b IDX MINMATCHLEN x}
    }

    test {LCS refuses strings whose table would be too large} {
        r set long [string repeat x 20000]
        assert_error "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len" \
            {r lcs long long}
        r set other [string repeat x 6000]
        assert_equal 6000 [r lcs long other LEN]
    }

    # The textbook table in Tcl, walked back as Redis does.
    proc lcs {a b} {
        set n [string length $a]
        set m [string length $b]
        for {set i 0} {$i <= $n} {incr i} {
            for {set j 0} {$j <= $m} {incr j} {
                if {$i == 0 || $j == 0} {
                    set t($i,$j) 0
                } elseif {[string index $a $i-1] eq [string index $b $j-1]} {
                    set t($i,$j) [expr {$t([expr {$i-1}],[expr {$j-1}]) + 1}]
                } else {
                    set t($i,$j) [expr {max($t([expr {$i-1}],$j), $t($i,[expr {$j-1}]))}]
                }
            }
        }
        set out ""
        set i $n
        set j $m
        while {$i > 0 && $j > 0} {
            if {[string index $a $i-1] eq [string index $b $j-1]} {
                set out [string index $a $i-1]$out
                incr i -1
                incr j -1
            } elseif {$t([expr {$i-1}],$j) > $t($i,[expr {$j-1}])} {
                incr i -1
            } else {
                incr j -1
            }
        }
        return $out
    }

    test {LCS of random strings agrees with the textbook} {
        for {set round 0} {$round < 60} {incr round} {
            foreach which {a b} {
                set $which ""
                set len [expr {int(rand() * 30)}]
                for {set i 0} {$i < $len} {incr i} {
                    append $which [format %c [expr {97 + int(rand() * 3)}]]
                }
                r set $which [set $which]
            }
            set want [lcs $a $b]
            assert_equal $want [r lcs a b] "'$a' '$b'"
            assert_equal [string length $want] [r lcs a b LEN]
            set sum 0
            foreach range [lindex [r lcs a b IDX WITHMATCHLEN] 1] {
                lassign $range in_a in_b n
                assert_equal [string range $a {*}$in_a] [string range $b {*}$in_b]
                incr sum $n
            }
            assert_equal [string length $want] $sum
        }
    }

    test {others are served while a long LCS runs} {
        r set x [string repeat ab 5500]
        r set y [string repeat ba 5500]
        set served 0
        for {set try 0} {$try < 50 && !$served} {incr try} {
            set c [client]
            r del flag
            $c send ping
            $c send lcs x y LEN
            $c send get flag
            assert_equal PONG [$c read] ;# so LCS has begun
            r set flag 1
            assert_equal 10999 [$c read]
            set served [expr {[$c read] eq "1"}]
            $c close
        }
        assert {$served}
    }
}

# ---- encodings, memory, transactions -------------------------------------------

start_server {} {
    test {OBJECT ENCODING tells integers, short and long texts} {
        foreach {value encoding} [list \
            0 int -5 int 9223372036854775807 int 9223372036854775808 embstr 007 embstr "" embstr \
            [string repeat x 44] embstr [string repeat x 45] raw] {
            r set k $value
            assert_equal $encoding [r object encoding k] $value
        }
        r del k
        r append k 12
        assert_equal int [r object encoding k]
        r append k x
        assert_equal raw [r object encoding k]
        r del k
        r incrbyfloat k 3
        assert_equal embstr [r object encoding k]
        r del k
        r setrange k 0 1
        assert_equal raw [r object encoding k]
    }

    test {string commands on a vector set leave it alone} {
        make_vset v
        foreach command {
            {get v} {getset v x} {getdel v} {getex v} {append v x} {strlen v} {getrange v 0 1}
            {setrange v 0 x} {incr v} {incrbyfloat v 1}
        } {
            assert_error $wrongtype {r {*}$command}
        }
        assert_equal 1 [r vcard v]
        r set s text
        foreach command {{vadd s VALUES 2 1 2 x} {vcard s} {vrem s x} {vsim s ELE x}} {
            assert_error $wrongtype {r {*}$command}
        }
        assert_equal text [r get s]
    }

    test {strings in a transaction see each other} {
        r multi
        r set t 1
        r incr t
        r append t x
        r get t
        assert_equal {OK 2 2 2x} [r exec]
    }

    test {an error in a transaction stops nothing else} {
        r set t abc
        r multi
        r incr t
        r set t 5
        r incr t
        assert_equal "ERR($int_error) OK 6" [join [r exec]]
    }

    # Runs a command of another client between WATCH k and EXEC; true when the
    # transaction was stopped.
    proc stopped_by {args} {
        set c [client]
        r watch k
        catch {$c {*}$args}
        $c close
        r multi
        r ping
        return [expr {[r exec] eq ""}]
    }

    test {WATCH is broken by writes that change, not by those that do not} {
        foreach {setup command stops} {
            {set k 1} {set k 1} 1           {set k 1} {set k 1 NX} 0
            {del k} {set k 1 XX} 0          {del k} {set k 1} 1
            {set k 1} {get k} 0             {set k 1} {incr k} 1
            {set k x} {incr k} 0            {set k 1} {append k ""} 1
            {set k 1} {setrange k 0 ""} 0   {set k 1} {setrange k 0 x} 1
            {set k 1} {getex k} 0           {set k 1} {getex k EX 100} 1
            {set k 1} {getex k PERSIST} 0   {set k 1 EX 99} {getex k PERSIST} 1
            {set k 1} {getdel k} 1          {del k} {getdel k} 0
            {set k 1} {getset k 1} 1        {set k 1} {setnx k 2} 0
            {set k 1} {mset o 1} 0          {set k 1} {mset o 1 k 2} 1
            {set k 1} {msetnx o2 1 k 2} 0   {set k 1} {incrbyfloat k 0} 1
            {set k 1} {incrbyfloat k x} 0   {set k 1} {setex k 0 v} 0
        } {
            r {*}$setup
            assert_equal $stops [stopped_by {*}$command] "$setup; $command"
        }
    }
}

start_server {} {
    # Room for about a hundred kilobytes more.
    proc limit_memory {} {
        r config set maxmemory [expr {[info_field used_memory] + 100000}]
    }

    test {what maxmemory has no room for changes nothing} {
        r set number 5
        r set text abc EX 1000
        r mset x 1 y 2
        limit_memory
        set big [string repeat x 300000]
        set oom "OOM command not allowed when used memory > 'maxmemory'."
        foreach command {
            {set text $big} {set new $big} {set text $big EX 10 GET} {setnx new $big}
            {setex text 10 $big} {getset text $big} {append text $big} {append new $big}
            {setrange text 300000 x} {setrange new 300000 x} {mset x a new $big}
            {msetnx new a new2 $big}
        } {
            assert_error $oom {r {*}[subst -nocommands $command]}
        }
        assert_equal {abc 5 1 2} [r mget text number x y]
        assert {[r ttl text] > 900}
        assert_equal 0 [r exists new new2]
        assert_equal OK [r set small value]
        r config set maxmemory 0
    }

    test {memory is never used past maxmemory} {
        r flushall
        limit_memory
        set limit [lindex [r config get maxmemory] 1]
        set n 0
        while {![catch {r set key:[incr n] [string repeat x [expr {$n % 500}]]}]} {
            if {$n % 50 == 0} { assert {[info_field used_memory] <= $limit + 20000} }
            if {$n > 100000} { fail "no end" }
        }
        assert {$n > 50}
        assert_equal "" [r get key:$n]
        r config set maxmemory 0
        assert_equal OK [r set key:$n v]
    }

    test {reading and deleting go on when memory is out} {
        r set k v
        r config set maxmemory 1
        assert_error "OOM*" {r set k w}
        assert_error "OOM*" {r incr n}
        assert_equal v [r get k]
        assert_equal v [r getex k EX 100]
        assert_equal 1 [r expire k 100]
        assert_equal 1 [r del k]
        r config set maxmemory 0
    }
}
