# Vector sets: adding, reading and removing elements; every reply as it is on
# the wire in RESP2 and RESP3. Searches, filters, errors and what happens to keys
# have suites of their own: vectorset-*.tcl.

# The fields of VINFO as a dictionary.
proc info_of {key} {
    return [r vinfo $key]
}

start_server {} {
    set two [client]
    set three [client]
    $three hello 3

    test "Every vector set made gets the next uid, from 0 on" {
        foreach uid {0 1 2} {
            r vadd u$uid VALUES 1 1 a
            assert_equal $uid [dict get [info_of u$uid] vset-uid]
        }
        r vrem u0 a
        catch {r vadd u0 VALUES 1 1 a BAD}
        catch {r vadd u1 VALUES 2 1 1 a}
        r vadd u0 VALUES 1 1 a
        assert_equal 3 [dict get [info_of u0] vset-uid]
        r flushall
    }

    # ---- VADD ----------------------------------------------------------------

    test "VADD is true for a new element and false for one it replaces" {
        assert_wire :1 $two vadd k VALUES 2 3 4 a NOQUANT
        assert_wire :0 $two vadd k VALUES 2 4 3 a NOQUANT
        assert_wire #t $three vadd k VALUES 2 3 4 b NOQUANT
        assert_wire #f $three vadd k VALUES 2 4 3 b NOQUANT
        assert_equal {4 3} [r vemb k a]
        assert_equal 2 [r vcard k]
    }

    test "VADD takes FP32 blobs and VALUES alike, words in any case" {
        r vadd k FP32 [fp32 {3 4}] fp32 NOQUANT
        r vadd k fp32 [fp32 {3 4}] fp32lower noquant
        r VADD k values 2 3 4 values Noquant
        foreach e {fp32 fp32lower values} {
            assert_equal [r vemb k fp32 RAW] [r vemb k $e RAW]
        }
    }

    test "VADD takes half precision blobs" {
        r vadd k FP16 [binary format H* 00420044] half NOQUANT
        r vadd k BF16 [binary format H* 40408040] bfloat NOQUANT
        assert_equal {3 4} [r vemb k half]
        assert_equal {3 4} [r vemb k bfloat]
        r del k
    }

    test "VADD reads the numbers that strtod reads" {
        set n 0
        foreach {text value} {.5 0.5 5. 5 +5 5 -0 0 1e2 100 0x10 16 1E-2 0.01 00012 12
                              0x1p3 8 -.25 -0.25} {
            assert_equal 1 [r vadd numbers VALUES 2 $text 1000 e[incr n] NOQUANT]
            assert_near $value [lindex [r vemb numbers e$n] 0] 1e-3
        }
        r del numbers
    }

    test "VADD keeps an attribute unless it is given another" {
        r vadd k VALUES 1 1 a SETATTR one
        r vadd k VALUES 1 2 a
        assert_equal one [r vgetattr k a]
        r vadd k VALUES 1 2 a SETATTR two
        assert_equal two [r vgetattr k a]
        r vadd k VALUES 1 2 a SETATTR {}
        assert_wire {$-1} $two vgetattr k a
        assert_equal 0 [dict get [info_of k] attributes-count]
    }

    test "An empty attribute is none on creation, too" {
        r vadd k VALUES 1 2 b SETATTR {}
        assert_wire {$-1} $two vgetattr k b
        assert_equal 0 [dict get [info_of k] attributes-count]
        r del k
    }

    test "VADD takes the last of repeated options" {
        r vadd k VALUES 1 1 a Q8 NOQUANT BIN M 5 M 6 EF 1 EF 2 SETATTR x SETATTR y CAS CAS
        assert_equal {bin 6} [list [dict get [info_of k] quant-type] [dict get [info_of k] hnsw-m]]
        assert_equal y [r vgetattr k a]
        r del k
    }

    test "CAS changes no reply and no content" {
        foreach element {a b a} want {1 1 0} {
            assert_equal $want [r vadd k VALUES 2 1 $want $element CAS SETATTR "{\"n\":$want}"]
        }
        assert_equal 2 [dict get [info_of k] attributes-count]
        assert_equal {{"n":0}} [r vgetattr k a]
        r del k
    }

    test "Names are bytes, the empty one too" {
        foreach name [list {} " " "\0" "a\0b" "\r\n" "\xff\xfe" [string repeat n 70000]] {
            assert_equal 1 [r vadd k VALUES 2 1 2 $name SETATTR $name]
            assert_equal 1 [r vismember k $name]
            assert_equal $name [r vgetattr k $name]
        }
        assert_equal 7 [r vcard k]
        assert_equal 0 [r vismember k a]
        r del k
    }

    test "Options that shape a set are asked for with every element, as in Redis" {
        r vadd f VALUES 2 3 4 a NOQUANT M 5
        r vadd p REDUCE 2 VALUES 4 1 2 3 4 a
        assert_error "ERR asked quantization mismatch with existing vector set" \
            {r vadd f VALUES 2 3 4 b}
        assert_error "ERR asked M value mismatch with existing vector set" \
            {r vadd f VALUES 3 3 4 5 b NOQUANT}
        assert_error "ERR Vector dimension mismatch - got 4 but set has 2" \
            {r vadd p VALUES 4 1 2 3 4 b}
        assert_error "ERR Vector dimension mismatch - got 2 but set has 2" \
            {r vadd p VALUES 2 1 2 b}
        assert_equal {1 1} [list [r vcard f] [r vcard p]]
        assert_equal {1 1} [list [r vadd f VALUES 2 3 4 b NOQUANT M 5] \
            [r vadd p REDUCE 2 VALUES 4 1 2 3 4 b]]
        r del f p
    }

    test "Options that shape a set need not be repeated where VCREATE or VTRAIN shaped it" {
        r vcreate f DIM 2 NOQUANT M 5
        assert_equal 1 [r vadd f VALUES 2 3 4 b]
        assert_equal {3 4} [r vemb f b]
        assert_error "ERR asked quantization mismatch with existing vector set" \
            {r vadd f VALUES 2 3 4 c Q8}
        r vadd p REDUCE 2 VALUES 4 1 2 3 4 a NOQUANT
        r vtrain p HNSW M 8
        assert_equal 1 [r vadd p VALUES 4 1 2 3 4 b]
        assert_equal [r vemb p a RAW] [r vemb p b RAW]
        r del f p
    }

    test "A dimension may be 65536" {
        set blob [string repeat [fp32 {1}] 65536]
        foreach type {NOQUANT Q8 BIN} {
            r vadd k FP32 $blob a $type
            assert_equal 65536 [r vdim k]
            assert_near 1 [lindex [r vsim k FP32 $blob WITHSCORES] 1]
            r del k
        }
    }

    # ---- VCARD, VDIM, VISMEMBER ----------------------------------------------

    test "VCARD and VDIM tell size and dimension" {
        assert_wires :0 :0 vcard k
        r vadd k VALUES 3 1 2 3 a
        r vadd k VALUES 3 1 2 3 b
        assert_wires :2 :2 vcard k
        assert_wires :3 :3 vdim k
        set error {{-ERR key does not exist}}
        assert_wires $error $error vdim none
    }

    test "VISMEMBER tells whether an element is there" {
        assert_wires :1 #t vismember k a
        assert_wires :0 #f vismember k c
        assert_wires :0 #f vismember none a
    }

    # ---- VREM ----------------------------------------------------------------

    test "VREM removes an element, and the key with the last" {
        assert_wires :0 #f vrem k c
        assert_wires :0 #f vrem none a
        assert_wire :1 $two vrem k a
        assert_equal {0 1} [list [r vismember k a] [r vcard k]]
        assert_wire #t $three vrem k b
        assert_equal 0 [r exists k]
        r vadd k VALUES 2 1 2 a
        assert_equal 2 [r vdim k]
        r del k
    }

    # ---- VEMB ----------------------------------------------------------------

    test "VEMB returns the vector as it was given, within the precision" {
        r vadd f VALUES 2 3 4 a NOQUANT
        r vadd q VALUES 2 3 4 a
        r vadd b VALUES 2 3 -4 a BIN
        assert_wires {*2 $1 3 $1 4} {*2 ,3 ,4} vemb f a
        assert_wires {*2 $17 2.992125988006592 $1 4} {*2 ,2.992125988006592 ,4} vemb q a
        assert_wires {*2 $1 1 $2 -1} {*2 ,1 ,-1} vemb b a
    }

    test "VEMB RAW returns precision, bytes, norm and with Q8 the range" {
        set bytes [list {$8} [fp32 {0.6 0.8}]]
        assert_wires [list *3 +f32 {*}$bytes {$1} 5] [list *3 +f32 {*}$bytes ,5] vemb f a RAW
        set bytes [list {$2} [binary format cc 95 127]]
        assert_wires [list *4 +int8 {*}$bytes {$1} 5 {$17} 0.800000011920929] \
            [list *4 +int8 {*}$bytes ,5 ,0.800000011920929] vemb q a raw
        set bytes [list {$8} [binary format w 1]]
        assert_wires [list *3 +bin {*}$bytes {$1} 5] [list *3 +bin {*}$bytes ,5] \
            vemb b a RAW RAW
    }

    test "VEMB RAW of a binary set has whole words of 64 components" {
        foreach dim {1 63 64 65 128 129} {
            set vector {}
            set bits ""
            for {set i 0} {$i < $dim} {incr i} {
                lappend vector [expr {$i % 3 ? 1 : $i % 2 ? 0 : -1}]
                append bits [expr {$i % 3 ? 1 : 0}]
            }
            r vadd bits$dim VALUES $dim {*}$vector a BIN
            set words [expr {($dim + 63) / 64}]
            assert_equal [binary format b[expr {64 * $words}] $bits] \
                [lindex [r vemb bits$dim a RAW] 1]
        }
    }

    test "VEMB of a zero vector is zero, its norm 1 and its range 0" {
        r vadd zf VALUES 2 0 0 a NOQUANT
        r vadd zq VALUES 2 0 0 a
        assert_equal {0 0} [r vemb zf a]
        assert_equal {0 0} [r vemb zq a]
        assert_equal [list f32 [fp32 {0 0}] 1] [r vemb zf a RAW]
        assert_equal [list int8 \0\0 1 0] [r vemb zq a RAW]
    }

    test "VEMB of a missing key or element is null" {
        assert_wires {$-1} _ vemb f none
        assert_wires {$-1} _ vemb none a
        assert_wires {$-1} _ vemb f none RAW
        assert_wires {$-1} _ vemb none a RAW
        r flushall
    }

    test "Q8 keeps every component within a hundredth of the vector's length" {
        foreach dim {1 2 7 64 300} {
            set v [random_vector $dim]
            r vadd q$dim VALUES $dim {*}$v a
            set norm 0.0
            foreach x $v { set norm [expr {$norm + $x * $x}] }
            set norm [expr {sqrt($norm)}]
            foreach x $v y [r vemb q$dim a] {
                assert_near [expr {$x / $norm}] [expr {$y / $norm}] 0.01
            }
        }
        r flushall
    }

    # ---- REDUCE --------------------------------------------------------------

    test "REDUCE projects with signs of popcount(row and column), scaled by 1/sqrt(dim)" {
        foreach {dim reduced} {4 2 7 3 16 16 33 9} {
            set v [random_vector $dim]
            r vadd p REDUCE $reduced VALUES $dim {*}$v a NOQUANT
            set want {}
            for {set i 0} {$i < $reduced} {incr i} {
                set sum 0.0
                for {set j 0} {$j < $dim} {incr j} {
                    set ones [string length [string map {0 {}} [format %b [expr {$i & $j}]]]]
                    set sum [expr {$sum + ($ones % 2 ? -1 : 1) * [lindex $v $j]}]
                }
                lappend want [expr {$sum / sqrt($dim)}]
            }
            foreach x $want y [r vemb p a] { assert_near $x $y 1e-5 }
            assert_equal $reduced [r vdim p]
            assert_equal $dim [dict get [info_of p] projection-input-dim]
            r del p
        }
    }

    test "REDUCE is the same every time, on every server" {
        r vadd p1 REDUCE 2 VALUES 4 1 2 3 4 a NOQUANT
        r vadd p2 REDUCE 2 FP32 [fp32 {1 2 3 4}] b NOQUANT
        assert_equal {5 -1} [r vemb p1 a]
        assert_equal [r vemb p1 a RAW] [r vemb p2 b RAW]
        r vadd q REDUCE 2 VALUES 4 1 2 3 4 a
        r vadd b REDUCE 2 VALUES 4 1 2 3 4 a BIN
        assert_equal [list [binary format cc 127 -25] [binary format w 1]] \
            [list [lindex [r vemb q a RAW] 1] [lindex [r vemb b a RAW] 1]]
    }

    test "A projected set is searched by vectors of both dimensions" {
        foreach {reduced whole} {{5 -1} {1 2 3 4}} {
            set by_whole [r vsim p1 VALUES 4 {*}$whole WITHSCORES]
            set by_reduced [r vsim p1 FP32 [fp32 $reduced] WITHSCORES]
            assert_equal a [lindex $by_whole 0]
            assert_near 1 [lindex $by_whole 1] 1e-6
            assert_near 1 [lindex $by_reduced 1] 1e-6
        }
        r flushall
    }

    # ---- attributes ----------------------------------------------------------

    test "VSETATTR sets, replaces and removes what VGETATTR returns" {
        r vadd k VALUES 1 1 a
        assert_wires {$-1} _ vgetattr k a
        assert_wire :1 $two vsetattr k a {{"x":1}}
        assert_wires {$7 {{"x":1}}} {$7 {{"x":1}}} vgetattr k a
        assert_wire #t $three vsetattr k a "no json \0"
        assert_equal "no json \0" [r vgetattr k a]
        assert_equal 1 [dict get [info_of k] attributes-count]
        assert_wire :1 $two vsetattr k a {}
        assert_wire :1 $two vsetattr k a {}
        assert_wires {$-1} _ vgetattr k a
        assert_equal 0 [dict get [info_of k] attributes-count]
    }

    test "VSETATTR and VGETATTR of what is not there" {
        assert_wires :0 #f vsetattr k none x
        assert_wires :0 #f vsetattr none a x
        assert_wires {$-1} _ vgetattr k none
        assert_wires {$-1} _ vgetattr none a
        assert_equal 0 [r exists none]
    }

    test "An attribute goes with its element" {
        r vsetattr k a x
        r vadd k VALUES 1 1 b
        r vrem k a
        r vadd k VALUES 1 1 a
        assert_wire {$-1} $two vgetattr k a
        assert_equal 0 [dict get [info_of k] attributes-count]
        r flushall
    }

    # ---- VINFO ---------------------------------------------------------------

    test "VINFO begins with Redis's nine fields, in its order" {
        r vadd k VALUES 3 1 2 3 a SETATTR x
        r vadd k VALUES 3 1 2 3 b
        r vadd k VALUES 3 3 2 1 a
        set want {
            {status quant-type} {status int8} {status hnsw-m} {int 16}
            {status vector-dim} {int 3} {status projection-input-dim} {int 0}
            {status size} {int 2} {status max-level} {int 0}
            {status attributes-count} {int 1}
        }
        foreach c [list $two $three] shape {array map} {
            $c send vinfo k
            lassign [$c typed] type fields
            assert_equal $shape $type
            assert_equal [list {*}$want] [lrange $fields 0 13]
            assert_equal {status vset-uid} [lindex $fields 14]
            # A replaced vector counts as a new node.
            assert_equal {{status hnsw-max-node-uid} {int 3}} [lrange $fields 16 17]
        }
    }

    test "VINFO names precision, M and projection as they were given" {
        foreach {option name} {NOQUANT f32 Q8 int8 BIN bin} {
            r vadd k$name REDUCE 2 VALUES 5 1 2 3 4 5 a $option M 7
            set info [info_of k$name]
            assert_equal "$name 7 2 5" [list [dict get $info quant-type] [dict get $info hnsw-m] \
                [dict get $info vector-dim] [dict get $info projection-input-dim]]
        }
    }

    test "VINFO of a missing key is a null array" {
        assert_wires *-1 _ vinfo none
        r flushall
    }

    # ---- VRANDMEMBER ---------------------------------------------------------

    test "VRANDMEMBER without count returns one element or null" {
        assert_wires {$-1} _ vrandmember none
        r vadd k VALUES 1 1 a
        assert_wires {$1 a} {$1 a} vrandmember k
        r vadd k VALUES 1 1 b
        set seen {}
        wait_for {[dict size $seen] == 2 || [dict set seen [r vrandmember k] 1] eq ""}
        assert_equal {a b} [lsort [dict keys $seen]]
    }

    test "VRANDMEMBER with a count" {
        assert_wires *0 *0 vrandmember none 5
        assert_wires *0 *0 vrandmember none -5
        assert_wires *0 *0 vrandmember k 0
        assert_wires *0 *0 vrandmember none 0
        r set string x
        assert_wires *0 *0 vrandmember string 0
        for {set i 0} {$i < 100} {incr i} { r vadd k VALUES 1 $i e$i }
        foreach {count want} {1 1 7 7 50 50 102 102 103 102 9223372036854775807 102} {
            set got [r vrandmember k $count]
            assert_equal $want [llength $got]
            assert_equal $want [llength [lsort -unique $got]]
            foreach e $got { assert_equal 1 [r vismember k $e] }
        }
        foreach count {-1 -50 -500} {
            assert_equal [expr {-$count}] [llength [r vrandmember k $count]]
        }
        # 300 of 102: some must come twice, and nearly all at least once.
        assert {[llength [lsort -unique [r vrandmember k -300]]] > 60}
    }

    test "VRANDMEMBER finds the few that are left of many" {
        for {set i 0} {$i < 100} {incr i} { r vrem k e$i }
        assert_equal {a b} [lsort [r vrandmember k 5]]
        assert_equal {a b} [lsort -unique [r vrandmember k -100]]
        r flushall
    }

    # ---- VLINKS --------------------------------------------------------------

    test "VLINKS answers the nearest others in one layer" {
        r vadd k VALUES 2 1 0 east NOQUANT
        assert_wires {*1 *0} {*1 *0} vlinks k east
        assert_wires {*1 *0} {*1 %0} vlinks k east WITHSCORES
        r vadd k VALUES 2 0 1 north NOQUANT
        r vadd k VALUES 2 -1 0 west NOQUANT
        assert_wires {*1 *2 $5 north $4 west} {*1 *2 $5 north $4 west} vlinks k east
        assert_wires {*1 *4 $5 north $3 0.5 $4 west $1 0} \
            {*1 %2 $5 north ,0.5 $4 west ,0} vlinks k east withscores
        assert_wires {$-1} _ vlinks k none
        assert_wires {$-1} _ vlinks none east
        assert_wires {$-1} _ vlinks none east WITHSCORES
    }

    test "VLINKS has at most 2 M entries" {
        for {set i 0} {$i < 50} {incr i} {
            r vadd m4 VALUES 2 1 $i e$i M 4
            r vadd m16 VALUES 2 1 $i e$i
        }
        assert_equal 8 [llength [lindex [r vlinks m4 e20] 0]]
        assert_equal 32 [llength [lindex [r vlinks m16 e20] 0]]
        assert_equal 16 [llength [lindex [r vlinks m4 e20 WITHSCORES] 0]]
    }

    test "A link's score is that of the two vectors as stored" {
        # The query of a VSIM is normalised and quantised once more; a link is not.
        foreach {e v} {a {1 0 0 0} bb {0.9 0.3 0 0} c {0.5 0.5 0.6 0} d {-1 0.2 0 0.1}} {
            r vadd q VALUES 4 {*}$v $e
        }
        set links [dict create {*}[lindex [r vlinks q c WITHSCORES] 0]]
        foreach {e score} {bb 0.8408619165420532 a 0.7700064778327942 d 0.28837060928344727} {
            assert_near $score [dict get $links $e] 1e-6
            assert_near $score [dict get [lindex [r vlinks q $e WITHSCORES] 0] c] 1e-6
        }
    }
}
