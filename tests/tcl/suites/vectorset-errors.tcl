# Vector sets: every error, its text, and which of several comes first.

start_server {} {
    set invalid "ERR invalid vector specification"
    set wrongtype "WRONGTYPE Operation against a key holding the wrong kind of value"
    r set string x
    r vadd plain VALUES 2 3 4 a NOQUANT
    r vadd q8 VALUES 2 3 4 a
    r vadd m32 VALUES 2 3 4 a M 32
    r vadd projected REDUCE 2 VALUES 4 1 2 3 4 a
    set before [r debug digest]

    # Commands that must fail with one error, on each key of a list; an empty
    # word stands for the key.
    proc fails {error key args} {
        foreach command $args {
            assert_error [string map {\[ \\[ * \\*} $error] {
                r [lindex $command 0] $key {*}[lrange $command 1 end]
            }
        }
    }

    # ---- arity ---------------------------------------------------------------

    test "A wrong number of arguments names the command in upper case" {
        foreach {command wrong} {
            vadd {0 1 2 3} vrem {0 1 3 4} vsim {0 1 2} vcard {0 2} vdim {0 2} vemb {0 1}
            vlinks {0 1 4 5} vinfo {0 2} vsetattr {0 1 2 4} vgetattr {0 1 3}
            vrandmember {0 3} vismember {0 1 3} vrange {0 1 2 5}
        } {
            foreach n $wrong {
                assert_error "ERR wrong number of arguments for '[string toupper $command]' command" {
                    r $command {*}[lrepeat $n string]
                }
            }
        }
    }

    test "VADD with a vector and no element is an arity error" {
        set arity "ERR wrong number of arguments for 'VADD' command"
        fails $arity new {VADD VALUES 2 1 2} {VADD REDUCE 1 VALUES 2 1 2}
        assert_error $arity {r vadd new REDUCE 1 FP32 [fp32 {1 2}]}
    }

    test "VLINKS with another word than WITHSCORES is an arity error, before the key" {
        set arity "ERR wrong number of arguments for 'VLINKS' command"
        foreach key {plain string none} {
            fails $arity $key {VLINKS a SCORES} {VLINKS a {}} {VLINKS a WITHSCORES WITHSCORES}
        }
    }

    # ---- VADD ----------------------------------------------------------------

    test "VADD refuses what is no vector, before it looks at anything else" {
        foreach key {new string plain} {
            fails $invalid $key {VADD FP64 x a BAD} {VADD VALUES 0 a BAD} {VADD VALUES -1 1 a} \
                {VADD VALUES 3 1 2 a} {VADD VALUES 9223372036854775807 1 a} \
                {VADD VALUES 65537 1 2 3 a} {VADD VALUES x 1 2 a} {VADD VALUES {} 1 2 a} \
                {VADD VALUES 01 1 a b} {VADD VALUES +1 1 a b} {VADD VALUES 1.0 1 a b} \
                {VADD VALUES 2 1 a BAD} {VADD FP32 {} a b} {VADD ELE a b c} {VADD {} x a b} \
                {VADD REDUCE 0 VALUES 2 1 2 a} {VADD REDUCE -1 VALUES 2 1 2 a} \
                {VADD REDUCE x VALUES 2 1 2 a} {VADD REDUCE 3 VALUES 2 1 2 a} \
                {VADD REDUCE 9223372036854775807 VALUES 2 1 2 a} \
                {VADD REDUCE 1 REDUCE 1 VALUES 2 1 2 a}
        }
    }

    test "VADD refuses blobs that are no whole number of components" {
        foreach bytes {1 2 3 5 7 4001 262148} {
            fails $invalid new [list VADD FP32 [string repeat x $bytes] a]
        }
        foreach bytes {1 3 131074} {
            fails $invalid new [list VADD FP16 [string repeat x $bytes] a] \
                [list VADD BF16 [string repeat x $bytes] a]
        }
    }

    test "VADD refuses numbers that are none, or too large, or too small" {
        foreach number {{} x 1x 0x {1 } { 1} nan NaN -nan nan(1) 1e400 -1e400 1e-400 1,5 --1 1_0
                        inf Infinity -inf 1e39 infinit} {
            fails $invalid new [list VADD VALUES 2 1 $number a]
            fails $invalid plain [list VADD VALUES 2 1 $number a NOQUANT] [list VSIM VALUES 2 1 $number]
        }
    }

    test "NaN and infinity in a blob are refused and leave everything as it was" {
        foreach bits {7fc00000 ffc00000 7f800000 ff800000 7f800001} {
            set blob [fp32 1][binary format i 0x$bits]
            fails $invalid new [list VADD FP32 $blob a]
            fails $invalid plain [list VADD FP32 $blob a NOQUANT] [list VADD FP32 $blob b NOQUANT] \
                [list VSIM FP32 $blob]
            fails $invalid q8 [list VADD FP32 $blob a] [list VSIM FP32 $blob]
        }
        # It is what is looked at last.
        fails $wrongtype string {VADD VALUES 2 1 inf a}
        fails "ERR invalid EF" new {VADD VALUES 2 1 inf a EF x}
        fails "ERR Vector dimension mismatch - got 3 but set has 2" plain \
            {VADD VALUES 3 1 inf 3 a NOQUANT} {VSIM VALUES 3 1 inf 3}
        fails "ERR invalid COUNT" plain {VSIM VALUES 2 1 inf COUNT x}
        foreach bits {007c 00fc 017c 007e} {
            fails $invalid plain [list VADD FP16 [binary format H* 0042$bits] b NOQUANT] \
                [list VSIM FP16 [binary format H* 0042$bits]]
        }
    }

    test "VADD refuses options it does not know or that lack their value" {
        foreach key {new string plain} {
            foreach word {BAD {} EF M SETATTR FP32 REDUCE WITHSCORES {CAS } NOQUANT8} {
                fails "ERR invalid option after element" $key [list VADD VALUES 2 1 2 a $word] \
                    [list VADD VALUES 2 1 2 a CAS $word]
            }
            fails "ERR invalid option after element" $key {VADD VALUES 2 1 2 a REDUCE 1}
        }
    }

    test "VADD's EF is 1 to 1000000 and its M 4 to 4096" {
        foreach key {new string} {
            foreach n {0 -1 1000001 x {} 1.5 +1 { 1} 01 9223372036854775808} {
                fails "ERR invalid EF" $key [list VADD VALUES 2 1 2 a EF $n BAD]
            }
            foreach n {0 3 -4 4097 x {} 4.0 +4 04} {
                fails "ERR invalid M" $key [list VADD VALUES 2 1 2 a M $n BAD]
            }
            # From left to right.
            fails "ERR invalid EF" $key {VADD VALUES 2 1 2 a EF x M x}
            fails "ERR invalid M" $key {VADD VALUES 2 1 2 a M x EF x}
            fails "ERR invalid option after element" $key {VADD VALUES 2 1 2 a BAD M x EF x}
        }
        foreach {option value} {EF 1 EF 1000000 M 4 M 4096} {
            assert_equal 1 [r vadd limits VALUES 2 1 2 a $option $value]
            r del limits
        }
    }

    test "VADD compares precision, then M, then dimension with the set" {
        foreach key {q8 m32} {
            fails "ERR asked quantization mismatch with existing vector set" $key \
                {VADD VALUES 3 1 2 3 b NOQUANT M 8} {VADD VALUES 2 1 2 a BIN}
        }
        fails "ERR asked quantization mismatch with existing vector set" plain \
            {VADD VALUES 2 1 2 b Q8} {VADD VALUES 2 1 2 b NOQUANT BIN}
        fails "ERR asked M value mismatch with existing vector set" m32 \
            {VADD VALUES 3 1 2 3 b M 8} {VADD VALUES 2 1 2 b M 16}
        fails "ERR asked M value mismatch with existing vector set" q8 {VADD VALUES 2 1 2 b M 32}
        fails "ERR Vector dimension mismatch - got 3 but set has 2" q8 {VADD VALUES 3 1 2 3 a} \
            {VADD REDUCE 2 VALUES 3 1 2 3 a}
        fails "ERR Vector dimension mismatch - got 1 but set has 2" q8 {VADD VALUES 1 1 a}
    }

    test "VADD compares a projection with the set's" {
        fails "ERR cannot add projection to existing set without projection" q8 \
            {VADD REDUCE 1 VALUES 2 1 2 a} {VADD REDUCE 2 VALUES 2 1 2 a}
        fails "ERR Vector dimension mismatch - got 4 but set has 2" projected \
            {VADD REDUCE 3 VALUES 4 1 2 3 4 b} {VADD REDUCE 1 VALUES 4 1 2 3 4 b}
        fails "ERR Vector dimension mismatch - got 2 but set has 2" projected \
            {VADD VALUES 2 1 2 b}
        fails "ERR Input dimension mismatch for projection - got 3 but projection expects 4" \
            projected {VADD REDUCE 2 VALUES 3 1 2 3 b}
    }

    # ---- VSIM ----------------------------------------------------------------

    test "VSIM names an element that is not there and refuses what is no vector" {
        fails "ERR element not found in set" plain {VSIM ELE none COUNT x} {VSIM ele none}
        fails $invalid plain {VSIM FP64 x COUNT x} {VSIM {} x} {VSIM VALUES 0 COUNT 1} \
            {VSIM VALUES 3 1 2} {VSIM VALUES x 1 2} {VSIM FP32 xxx} {VSIM FP32 {}} \
            {VSIM REDUCE 2 VALUES 4 1 2 3 4} {VSIM COUNT 1}
    }

    test "VSIM compares the dimension before it reads options" {
        fails "ERR Vector dimension mismatch - got 3 but set has 2" plain \
            {VSIM VALUES 3 1 2 3 COUNT x} {VSIM VALUES 3 1 2 3 BAD}
        fails "ERR Vector dimension mismatch - got 1 but set has 2" plain {VSIM FP32 xxxx}
        fails "ERR Input dimension mismatch for projection - got 3 but projection expects 4" \
            projected {VSIM VALUES 3 1 2 3 COUNT x}
    }

    test "VSIM's options are checked from left to right" {
        foreach n {0 -1 x {} 1.5 +1 01 9223372036854775808} {
            fails "ERR invalid COUNT" plain [list VSIM ELE a COUNT $n BAD]
            fails "ERR invalid EF" plain [list VSIM ELE a EF $n COUNT x]
            fails "ERR invalid FILTER-EF" plain [list VSIM ELE a FILTER-EF $n EPSILON 0]
        }
        fails "ERR invalid EF" plain {VSIM ELE a EF 1000001}
        foreach n {0 -1 -0 x {} {1 } nan -inf 1e400 1e-400} {
            fails "ERR invalid EPSILON" plain [list VSIM ELE a EPSILON $n FILTER (]
        }
        fails "ERR syntax error in FILTER expression near: (" plain {VSIM ELE a FILTER ( COUNT x}
        foreach word {BAD {} COUNT EF EPSILON FILTER FILTER-EF RAW WITHSCORE SETATTR} {
            fails "ERR syntax error in VSIM command" plain [list VSIM ELE a $word] \
                [list VSIM ELE a WITHSCORES $word]
        }
    }

    # ---- the others ----------------------------------------------------------

    test "VEMB checks its options before the key" {
        foreach key {plain string none} {
            fails "ERR invalid option" $key {VEMB a BAD} {VEMB a RAW BAD} {VEMB a {}} {VEMB a RAWX}
        }
    }

    test "VRANDMEMBER's count is an integer, checked before the key" {
        foreach key {plain string none} {
            foreach count {x {} 1.5 -0 +1 01 { 1} 9223372036854775808} {
                fails "ERR COUNT value is not an integer" $key [list VRANDMEMBER $count]
            }
        }
    }

    test "VDIM of a missing key is an error" {
        fails "ERR key does not exist" none {VDIM}
    }

    test "Every command refuses a key of another type" {
        fails $wrongtype string {VADD VALUES 2 1 2 a} {VADD REDUCE 1 VALUES 2 1 2 a NOQUANT} \
            {VREM a} {VSIM ELE a} {VSIM VALUES 2 1 2 COUNT x} {VSIM bad words} {VCARD} {VDIM} \
            {VEMB a} {VEMB a RAW} {VLINKS a} {VLINKS a WITHSCORES} {VINFO} {VSETATTR a x} \
            {VGETATTR a} {VRANDMEMBER} {VRANDMEMBER 5} {VRANDMEMBER -5} {VISMEMBER a} {VRANGE - +}
    }

    test "Commands of strings refuse a vector set" {
        fails $wrongtype plain GET {APPEND x} INCR STRLEN {GETRANGE 0 1} {SETRANGE 0 x} GETDEL \
            {GETSET x} {INCRBYFLOAT 1}
        assert_equal {{} x} [r mget plain string]
    }

    test "No error has changed anything" {
        assert_equal $before [r debug digest]
        assert_equal 5 [r dbsize]
        assert_equal 0 [r exists new]
    }

    test "An error shows a line end as a blank, and leaves out those behind" {
        foreach {expression shown} [list "(\n.a" "( .a" "(.a\n" "(.a" "(\r\n" "("] {
            fails "ERR syntax error in FILTER expression near: $shown" plain \
                [list VSIM ELE a FILTER $expression]
        }
    }
}

start_server {} {
    test "VADD is refused past maxmemory; what gives memory back is not" {
        r vadd k VALUES 2 1 2 a
        r vadd k VALUES 2 1 2 b SETATTR long
        r config set maxmemory 1
        set oom "OOM command not allowed when used memory > 'maxmemory'."
        assert_error $oom {r vadd k VALUES 2 1 2 c}
        assert_error $oom {r vadd new any words at all}
        assert_error "ERR wrong number of arguments *" {r vadd new}
        assert_equal 1 [r vrem k a]
        assert_equal b [r vsim k ELE b]
        assert_equal 1 [r vsetattr k b tiny]
        assert_error $oom {r vsetattr k b longer}
        assert_equal 1 [r vsetattr k b {}]
        assert_equal 0 [r vsetattr k none longer]
        r config set maxmemory 0
        assert_equal 1 [r vadd k VALUES 2 1 2 c]
    }
}
