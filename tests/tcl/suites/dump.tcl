# Values on their own: DUMP, RESTORE, COPY; here and from Redis 8.

# What Redis 8.0.6 dumped of small sets of each precision, with their digests.
# The element zero has no length, 12345 is a number in the payload, the empty
# name and an attribute that is no JSON are there too.
set redis_dumps {
    f32 {a32cf3ef1a36a59593140bdedb6158297b35a496 0781bde72da2bb1eb40002030204025000020205016305076e6f206a736f6e050cb2414d3f77d6083f77d6883e020d02040280010000010203022002010203020202813f8000000000000102010210020102813e924926000000000280406f775105047a65726f0500050c000000000000000000000000020902030280010000000203022002020201020402813f8000000000000002803f8000000501620500050c8274dfbe82745f3e82745f3f020d02020280010000010203022002010203020402813f8000000000000102010210020102813e99acb80000000002810a0d65634012a47605016105077b226e223a317d050c77d6883e77d6083fb2414d3f021102010280010000020203022002020203020402813f80000000000001020202100202020402813e99acb800000000020002100200028161707379406f7751000c00d74d5df3441ff902}
    int8 {9a191d4239038d0295c2a28a8a19777788619ab8 0781bde72da2bb1eb4000204020402440102020500050b7b2278223a5b312c325d7d05047f7f7f7f02080204028001000000020202080201020302813f8000000000000102813f0000004000000005c139300500050400000000020902030280010000000203020802020201020402813f8000000000000002803f80000005016205000504f2071c7f02080202028001000000020202080201020302813f8000000000000102813f78161e411497e90501610500050420405f7f020902010280010000000203020802020203020402813f8000000000000102813f3af4ba40af456f000c0070e14d4d00135327}
    bin {f9a042f83969d1c0fce6e3ffdff3cbfd35a1677a 0781bde72da2bb1eb40002050202025002020005016205080a000000000000000207020202800100000002010220020102814000000000000000028040ed517f050161050815000000000000000207020102800100000002010220020202814000000000000000028040ed517f000c00fd9bffce5a47ea54}
    reduced {188bf42712c8ca7ad106c5666c9bdb61fb11e354 0781bde72da2bb1eb400020202020250010203020405c31020040000003f00e0090300bf80130100bf050162050a7b2279223a747275657d05027f190207020202800100000002010220020102813d9b13b00000000002813f7b075640a32b2b050161050005027fe70207020102800100000002010220020202813d9b13b00000000002813f7b075640a32b2b000c00e5ad344d752c0c89}
}

# CRC-64 as payloads have it.
proc crc64 {data} {
    set crc 0
    binary scan $data cu* bytes
    foreach byte $bytes {
        set crc [expr {$crc ^ $byte}]
        for {set i 0} {$i < 8} {incr i} {
            set crc [expr {$crc & 1 ? ($crc >> 1) ^ 0x95AC9329AC4BC9B5 : $crc >> 1}]
        }
    }
    return $crc
}

# A value with the footer that makes it a payload.
proc payload {value {version 12}} {
    append value [binary format s $version]
    return $value[binary format w [crc64 $value]]
}

proc typed {args} {
    r send {*}$args
    return [r typed]
}

proc digest {key {connection r}} { return [$connection debug digest-value $key] }

# A set with everything a set can have.
proc make_set {key n {words {}}} {
    r del $key
    for {set i 0} {$i < $n} {incr i} {
        set attribute [expr {$i % 3 ? {} : [list SETATTR "{\"n\":$i}"]}]
        r vadd $key FP32 [fp32 [random_vector 8]] e$i {*}$words {*}$attribute
    }
}

start_server {} {
    test {a value comes back from what DUMP gave} {
        r mset text "hello world" number 12345 empty "" long [string repeat ab 40000]
        make_set q8 200
        make_set f32 200 NOQUANT
        make_set bin 200 BIN
        foreach key {text number empty long q8 f32 bin} {
            set dump [r dump $key]
            r restore copy:$key 0 $dump
            assert_equal [digest $key] [digest copy:$key]
            assert_equal [r type $key] [r type copy:$key]
            assert_equal [r object encoding $key] [r object encoding copy:$key]
            assert_equal -1 [r pttl copy:$key]
        }
        assert_equal {null {}} [typed dump missing]
    }

    test {a restored set goes on as the one it was dumped from} {
        r restore again 0 [r dump q8]
        foreach key {q8 again} {
            r vrem $key e5
            r vadd $key FP32 [fp32 {1 2 3 4 5 6 7 8}] new SETATTR {{"n":3}}
            r vsetattr $key e7 {}
        }
        assert_equal [digest q8] [digest again]
        set query [list FP32 [fp32 {8 7 6 5 4 3 2 1}] COUNT 20 WITHSCORES]
        assert_equal [r vsim q8 {*}$query] [r vsim again {*}$query]
        assert_equal [r vsim q8 {*}$query FILTER {.n < 50}] \
            [r vsim again {*}$query FILTER {.n < 50}]
    }

    test {RESTORE checks its arguments in the order of Redis} {
        r set there 1
        set good [r dump there]
        assert_error "ERR wrong number of arguments for 'restore' command" {r restore a 0}
        assert_error "ERR syntax error" {r restore there 0 x FOO}
        assert_error "ERR syntax error" {r restore there 0 x IDLETIME}
        assert_error "ERR syntax error" {r restore there 0 x FREQ 1 IDLETIME 2}
        assert_error "ERR Invalid IDLETIME value, must be >= 0" {r restore there 0 x IDLETIME -1}
        assert_error "ERR Invalid FREQ value, must be >= 0 and <= 255" {r restore there 0 x FREQ 256}
        assert_error "ERR value is not an integer or out of range" {r restore there 0 x FREQ x}
        assert_error "ERR value is not an integer or out of range" {r restore there 0 x IDLETIME x}
        assert_error "BUSYKEY Target key name already exists." {r restore there foo x}
        assert_error "ERR value is not an integer or out of range" {r restore a foo x}
        assert_error "ERR Invalid TTL value, must be >= 0" {r restore a -1 x}
        assert_error "ERR DUMP payload version or checksum are wrong" {r restore a 0 x}
        assert_equal 0 [r exists a]
        assert_equal OK [r restore there 0 $good REPLACE]
    }

    test {RESTORE refuses payloads whose footer is wrong} {
        set good [r dump text]
        set bad "ERR DUMP payload version or checksum are wrong"
        for {set i 0} {$i < [string length $good]} {incr i} {
            binary scan $good cu* bytes
            lset bytes $i [expr {[lindex $bytes $i] ^ 1}]
            assert_error $bad {r restore a 0 [binary format c* $bytes]}
            assert_error $bad {r restore a 0 [string range $good 0 $i-1]}
        }
        set value [string range $good 0 end-10]
        assert_error $bad {r restore a 0 [payload $value 13]}
        assert_error $bad {r restore a 0 $value[binary format sw 12 0]}
        assert_equal OK [r restore a 0 [payload $value 11]]
        r del a
    }

    test {RESTORE refuses values that are none} {
        foreach hex {{} 05 07 00 0003 0700 01 0b00 07ff 0781bde72da2bb1eb401
                     0781bde72da2bb1eb400 0781bde72da2bb1eb4000200 ff fe00
                     0781bde72da2bb1eb400020202000250000200000e} {
            assert_error "ERR Bad data format" {r restore a 0 [payload [binary format H* $hex]]}
        }
        # It is empty, and its footer says a version to come.
        assert_error "ERR DUMP payload version or checksum are wrong" {
            r restore a 0 [binary format H* 0781bde72da2bb1eb400020202000250000200000e000000000000000000]
        }
        set good [string range [r dump q8] 0 end-10]
        assert_error "ERR Bad data format" {r restore a 0 [payload ${good}x]}
        assert_error "ERR Bad data format" {r restore a 0 [payload [string range $good 0 end-1]]}
        assert_equal 0 [r exists a]
    }

    test {RESTORE gives a time to live, or a time to die at} {
        set dump [r dump text]
        r restore a 100000 $dump
        assert {[r pttl a] > 90000 && [r pttl a] <= 100000}
        set at [expr {[clock milliseconds] + 50000}]
        r restore a $at $dump REPLACE ABSTTL
        assert_equal $at [r pexpiretime a]
        r restore a 0 $dump REPLACE ABSTTL
        assert_equal -1 [r pttl a]
        r restore a 1 $dump REPLACE ABSTTL
        assert_equal 0 [r exists a] "it had expired before"
        r restore a 0 $dump IDLETIME 1000
        assert {[r object idletime a] >= 1000}
        r restore a 0 $dump REPLACE FREQ 10
        assert {[r object idletime a] < 100}
        r del a
    }

    test {RESTORE REPLACE exchanges values of any type} {
        r set a text
        r restore a 0 [r dump q8] REPLACE
        assert_equal vectorset [r type a]
        r restore a 0 [r dump number] REPLACE
        assert_equal 12345 [r get a]
    }

    test {RESTORE and COPY in a transaction, and under WATCH} {
        r del a b
        set dump [r dump q8]
        r multi
        r restore a 0 $dump
        r copy a b
        r vcard b
        assert_equal {OK 1 200} [r exec]
        r watch a
        set other [client]
        $other restore a 0 $dump REPLACE
        r multi
        r ping
        assert_equal {} [r exec]
        $other close
    }

    test {what Redis 8 dumped is restored to the byte} {
        dict for {key value} $redis_dumps {
            lassign $value digest hex
            assert_equal OK [r restore $key 0 [binary format H* $hex] REPLACE]
            assert_equal $digest [digest $key] $key
            r restore twice 0 [r dump $key] REPLACE
            assert_equal $digest [digest twice] $key
        }
        assert_equal {{"n":1}} [r vgetattr f32 a]
        assert_equal {no json} [r vgetattr f32 c]
        assert_equal {a b} [lsort [r vsim bin ELE a]]
        assert_equal {1 -1 1 -1 1} [r vemb bin a]
        assert_equal 4 [dict get [r vinfo int8] hnsw-m]
        assert_equal 4 [dict get [r vinfo int8] hnsw-max-node-uid]
        assert_equal 4 [dict get [r vinfo reduced] projection-input-dim]
        r vadd reduced REDUCE 2 VALUES 4 1 0 0 0 c
        r vadd int8 VALUES 4 5 5 5 5 e M 4
        assert_equal 5 [dict get [r vinfo int8] hnsw-max-node-uid]
        assert_equal 3 [r vcard reduced]
    }

    test {what Redis 8 dumped and somebody changed is refused or harmless} {
        dict for {key value} $redis_dumps {
            set good [string range [binary format H* [lindex $value 1]] 0 end-10]
            for {set i 9} {$i < [string length $good]} {incr i} {
                binary scan $good cu* bytes
                lset bytes $i [expr {int(rand() * 256)}]
                if {[catch {r restore bad 0 [payload [binary format c* $bytes]] REPLACE} error]} {
                    assert_equal "ERR Bad data format" $error
                } else {
                    r vsim bad ELE [r vrandmember bad]
                    r debug vcheck bad
                }
                assert_error "ERR Bad data format" {
                    r restore bad 0 [payload [string range $good 0 $i-1]] REPLACE
                }
            }
        }
    }

    test {an element longer than a number can say is searched for by its direction} {
        # The norms of f32's a and int8's a, made as large as a float can be.
        foreach {key at} {f32 247 int8 218} {
            binary scan [binary format H* [lindex [dict get $redis_dumps $key] 1]] cu* bytes
            lset bytes $at 0x7e
            r restore bad 0 [payload [binary format c* [lrange $bytes 0 end-10]]] REPLACE
            assert_equal a [lindex [r vsim bad ELE a] 0]
            assert_equal OK [r debug vcheck bad]
            r vrecall bad
        }
    }

    test {COPY} {
        r flushall
        make_set set 50
        r set text hello EX 100
        assert_equal {int 0} [typed copy missing a]
        assert_equal {int 1} [typed copy set a]
        assert_equal {int 0} [typed copy text a]
        assert_equal [digest set] [digest a]
        assert_equal {int 1} [typed copy text a REPLACE]
        assert_equal hello [r get a]
        assert {[r ttl a] > 90}
        assert_equal {int 1} [typed copy set set DB 3]
        assert_equal {int 0} [typed copy set set DB 3]
        r vrem set e1
        r select 3
        assert_equal 50 [r vcard set]
        r select 0
        assert_equal 49 [r vcard set]
        assert_error "ERR source and destination objects are the same" {r copy set set}
        assert_error "ERR source and destination objects are the same" {r copy set set DB 0 REPLACE}
        assert_error "ERR DB index is out of range" {r copy set a DB 16}
        assert_error "ERR DB index is out of range" {r copy set a DB -1}
        assert_error "ERR value is not an integer or out of range" {r copy set a DB x}
        assert_error "ERR syntax error" {r copy set a DB}
        assert_error "ERR syntax error" {r copy set a FOO}
    }

    test {an empty set that stays is dumped and copied} {
        r vcreate made DIM 5 METRIC L2 FP16 INDEX FLAT
        r restore again 0 [r dump made]
        r copy again third
        assert_equal 5 [r vdim third]
        assert_equal l2 [dict get [r vinfo third] metric]
        assert_equal 0 [r vcard third]
        assert_equal 1 [r exists third]
    }

    test {a set with a graph keeps it} {
        r vcreate g DIM 8 INDEX HNSW M 8
        for {set i 0} {$i < 3000} {incr i} {
            r vadd g FP32 [fp32 [random_vector 8]] e$i
        }
        wait_for_none {[dict get [r vinfo g] tail]}
        r restore h 0 [r dump g]
        assert_equal [digest g] [digest h]
        foreach field {max-level index hnsw-m size} {
            assert_equal [dict get [r vinfo g] $field] [dict get [r vinfo h] $field] $field
        }
        for {set i 0} {$i < 3000} {incr i 50} {
            assert_equal [r vlinks g e$i] [r vlinks h e$i]
            set query [list FP32 [fp32 [random_vector 8]] EF 20]
            assert_equal [r vsim g {*}$query] [r vsim h {*}$query]
        }
        assert_equal 0 [dict get [r vinfo h] tail]
        r debug vcheck h
        for {set i 0} {$i < 3000} {incr i 2} { r vrem h e$i }
        r debug vcheck h
        r restore h 0 [r dump h] REPLACE
        r debug vcheck h
        assert_equal 1500 [r vcard h]
    }

    test {a large value is read while others are served} {
        r flushall
        for {set i 0} {$i < 10} {incr i} {
            set names {}
            set numbers {}
            for {set j 0} {$j < 2000} {incr j} {
                lappend names e[expr {$i * 2000 + $j}]
                for {set k 0} {$k < 16} {incr k} { lappend numbers [expr {rand() - 0.5}] }
            }
            r vmadd big 2000 FP32 [fp32 $numbers] {*}$names NOQUANT
        }
        set dump [r dump big]
        set before [digest big]
        set other [client]
        set served 0
        $other send restore copy 0 $dump
        $other raw ""
        for {set i 0} {$i < 50} {incr i} { r ping; r vadd big FP32 [fp32 [random_vector 16]] new$i NOQUANT }
        assert_equal OK [$other read]
        assert_equal $before [digest copy]
        # Its database is emptied meanwhile, or its key is taken, or it goes.
        $other send restore late 0 $dump
        $other raw ""
        r flushall
        assert_equal OK [$other read]
        assert_equal {20000 late} [list [r vcard late] [r keys *]]
        $other send restore taken 0 $dump
        $other raw ""
        r set taken x
        set code [catch {$other read} reply]
        assert {[r type taken] in {string vectorset}}
        $other send copy late copied
        $other raw ""
        r vrem late e1
        assert_equal 1 [$other read]
        assert {[r vcard copied] >= 19999}
        for {set i 0} {$i < 5} {incr i} {
            set gone [client]
            $gone send restore gone$i 0 $dump
            $gone raw ""
            $gone close
        }
        r debug vcheck late
        assert_equal OK [r flushall]
        $other close
    }

    test {a large value is written while others write to it} {
        foreach index {FLAT HNSW} {
            r flushall
            r vcreate big DIM 16 NOQUANT INDEX $index
            for {set i 0} {$i < 5} {incr i} {
                set names {}
                set numbers {}
                for {set j 0} {$j < 2000} {incr j} {
                    lappend names e[expr {$i * 2000 + $j}]
                    for {set k 0} {$k < 16} {incr k} { lappend numbers [expr {rand() - 0.5}] }
                }
                r vmadd big 2000 FP32 [fp32 $numbers] {*}$names
            }
            # Builders are at work, if there is a graph.
            set other [client]
            set later [client]
            $other send dump big
            $other raw ""
            $later send copy big copied
            $later raw ""
            for {set i 0} {$i < 200} {incr i} {
                r vadd big FP32 [fp32 [random_vector 16]] new$i
                if {$i % 3 == 0} { r vrem big e$i }
                if {$i % 5 == 0} { r vsetattr big new$i "{\"n\":$i}" }
            }
            r restore late 0 [$other read]
            assert_equal 1 [$later read]
            foreach key {late copied} {
                r debug vcheck $key
                # What is missing went before what is new came: it is of one instant.
                set n [r vcard $key]
                set new 0
                while {[r vismember $key new$new]} { incr new }
                set gone 0
                while {$gone < 200 && ![r vismember $key e$gone]} { incr gone 3 }
                set expected [expr {10000 + $new - $gone / 3}]
                assert {$n == $expected} "$n of $expected, $new new"
                assert {$gone in [list [expr {($new + 2) / 3 * 3}] [expr {$new / 3 * 3}]]} "$new new, $gone gone"
            }
            # All at once it is the same.
            if {$index ne "FLAT"} {
                wait_for_none {[dict get [r vinfo big] tail]}
                wait_for {[dict get [r vinfo big] index-job] eq "none"}
            }
            r multi
            r dump big
            set at_once [lindex [r exec] 0]
            assert {[r dump big] eq $at_once} "in turns it is another"
            foreach what {{del big} {flushall} {rename big gone}} {
                $other send dump big
                $other raw ""
                r {*}$what
                set dump [$other read]
                r flushall
                if {$dump ne ""} {
                    r restore big 0 $dump
                } else {
                    r restore big 0 $at_once
                }
                r debug vcheck big
            }
            for {set i 0} {$i < 5} {incr i} {
                set leaver [client]
                $leaver send [lindex {dump copy} [expr {$i % 2}]] big
                $leaver raw ""
                $leaver close
            }
            r vadd big FP32 [fp32 [random_vector 16]] last
            assert_equal OK [r flushall]
            $other close
            $later close
        }
    }

    test {a file that Redis 8 wrote has all its sets} {
        set data [file join [file dirname [info script]] .. .. data]
        file copy -force $data/redis-8.0.6-vectorsets.rdb [srv dir]/dump.rdb
        assert_equal OK [r debug reload nosave]
        assert_equal c833f8faa2416a823e61e646d02f64c9dd04896a [r debug digest]
        assert_equal 4102444800000 [r pexpiretime f32]
        assert_equal 40 [r vcard many:Q8]
        r debug reload
        assert_equal c833f8faa2416a823e61e646d02f64c9dd04896a [r debug digest]
    }

    # What Redis answered to VLINKS, by a sum: elements, levels from the top, names sorted.
    proc links_sum {key} {
        set lines {}
        for {set i 0} {$i < 300} {incr i} {
            set links [r vlinks $key e$i]
            if {$links eq ""} continue
            lappend lines "e$i [join [lmap level $links {join [lsort $level]}] /]"
        }
        return [zlib crc32 [join $lines \n]]
    }

    test {a graph that Redis 8 built is kept, and nothing is linked} {
        set data [file join [file dirname [info script]] .. .. data]
        file copy -force $data/redis-8.0.6-graphs.rdb [srv dir]/dump.rdb
        assert_equal OK [r debug reload nosave]
        set sets {graph:q8 250 4 313554005 graph:f32 130 4 4245017899 graph:bin 140 3 761537711
                  graph:m4 195 3 1144466579}
        set check {
            assert_equal ed3b7b965b74da8b1913fffc10474aeda247eebc [r debug digest]
            foreach {key n level sum} $sets {
                set about [r vinfo $key]
                assert_equal [list hnsw auto $n 0 0 $level] [lmap f {index index-asked index-nodes
                    tail pending-index max-level} {dict get $about $f}]
                assert_equal "the set came with its graph" [dict get $about index-why]
                assert_equal $sum [links_sum $key] $key
                assert_equal OK [r debug vcheck $key]
            }
        }
        eval $check
        # In our own form, too; and by COPY, DUMP and RESTORE.
        assert_equal OK [r debug reload]
        eval $check
        foreach {key n level sum} $sets {
            set dump [r dump $key]
            r restore $key 0 $dump replace
            assert_equal $dump [r dump $key] "$key: dumped again"
            r copy $key other:$key
            r rename other:$key $key
        }
        eval $check
        # It is a graph like any other.
        for {set i 0} {$i < 300} {incr i} {
            r vadd graph:q8 fp32 [fp32 [random_vector 6]] more$i m [dict get [r vinfo graph:q8] hnsw-m]
            r vrem graph:q8 e$i
        }
        wait_for_none {[dict get [r vinfo graph:q8] tail]}
        assert_equal OK [r debug vcheck graph:q8]
        assert_equal more7 [lindex [r vsim graph:q8 ele more7] 0]
        # One that is asked for is built, with levels of its own.
        r vtrain graph:m4 HNSW
        assert {[links_sum graph:m4] != 1144466579}
        assert_equal {hnsw hnsw} [lmap f {index index-asked} {dict get [r vinfo graph:m4] $f}]
    }
}
