# FILTER on the wire: the tables of docs/filters.md, error positions, attributes
# that are no clean JSON. The language itself is tested in tests/unit/filter.

# Whether an element with this attribute passes.
proc passes {attribute expression} {
    r vadd one VALUES 1 1 e SETATTR $attribute
    return [llength [r vsim one VALUES 1 1 FILTER $expression]]
}

# Expressions and whether they hold, for one attribute.
proc check_table {attribute table} {
    foreach {expression want} $table {
        assert_equal $want [passes $attribute $expression] "for $expression on $attribute"
    }
}

proc near {shown expression} {
    set code [catch {r vsim one VALUES 1 1 FILTER $expression} got]
    assert_equal [list 1 "ERR syntax error in FILTER expression near: $shown"] [list $code $got] \
        "for $expression"
}

start_server {} {
    set attribute {{"n":5,"s":"5","t":true,"z":null,"arr":[1,"x",true,null],"w":"word"}}

    test "Expressions with known results hold or do not" {
        check_table $attribute {
            {.n == "5"} 1  {.s == 5} 1  {.s > 4} 1  {.t == 1} 1  {!.z} 1  {.z == .z} 1
            {.z != .n} 1  {.arr} 1  {.arr == 0} 1  {1 in .arr} 1  {"x" in .arr} 1
            {.z in .arr} 1  {.n / 0} 1  .n+-1==4 1  {2**3**2 == 512} 1  {.n > 4 > 0} 1
            {.n in [5,]} 1  {.n in[5]} 1  {not5 == 0} 1  {.n==-3} 0
            {.t == "true"} 0  .z 0  {.z == 0} 0  !.missing 0  {.missing or .n == 5} 0
            {.n == 5 or .missing} 0  {"a" < "b"} 0  {.n in []} 0  {.n not in [5]} 0
            {1 < .n < 3} 1  {!.n == 0} 1  {-2**2 == 4} 1  {.n -1 == 4} 1  {.n-1 == 4} 0
            {"b" == 'b'} 1  1 1  0 0  {[1]} 1  {[]} 1  {""} 0  {"x"} 1  {10 % 4 == 2} 1
            {.n && .s} 1  {.n and .z} 0  {.z || .n} 1  {(.n)} 1  {((1))} 1
        }
    }

    test "What Redis 8.0 lacks follows the newer releases" {
        check_table $attribute {
            {.z == null} 1  {null in .arr} 1  {.n == null} 0  null 0  !null 1
            {"or" in .w} 1  {"" in .w} 1  {"ow" in .w} 0  {.w in "a word"} 1
            {!!.n} 1  {not not .n == 1} 1  {!not .z} 0
        }
        check_table "{\"q\":\"say \\\"hi\\\"\",\"b\":\"a\\\\b\",\"l\":\"x\\ny\"}" {
            {.q == "say \"hi\""} 1  {.q == 'say "hi"'} 1  {.b == "a\\b"} 1  {.l == "x\ny"} 1
            {.q in ["x", "say \"hi\""]} 1  {'\'' == "'"} 1
        }
    }

    test "What cannot be read is an error that shows where reading stopped" {
        r vadd one VALUES 1 1 e
        foreach {expression shown} {
            {.a === 1} { 1}  {.a AND 1} { 1}  (.a (.a  {} {}  {.n == +5} {.n == +5}  {.n == 0x5} 5
            {.n == 1e-5} -5  {.n = 5} { 5}  {.n in [,5]} ,5]  {.n in [5 6]} {6]}
            {true in .arr} { in .arr}
            {1 2} {1 2}  () ()  -.n -.n  {- 1 == -1} {- 1 == -1}  {.n in} {.n in}  {== 5} {== 5}
            .n) .n)  {.n #} #  {.n == "x} {.n == "x}
        } {
            if {[catch {near $shown $expression} message]} { lappend wrong $message }
        }
        if {[info exists wrong]} { fail [join $wrong \n] }
    }

    test "An element without attribute never passes" {
        r vadd two VALUES 1 1 with SETATTR {{}}
        r vadd two VALUES 1 1 without
        assert_equal with [r vsim two VALUES 1 1 FILTER 1]
        assert_equal with [r vsim two VALUES 1 1 FILTER {!0}]
        r vsetattr two with {}
        assert_equal {} [r vsim two VALUES 1 1 FILTER 1]
    }

    test "Attributes that are no clean JSON are read as far as they can be" {
        # Braces are written < and >, for Tcl counts them.
        foreach {text expression want} {
            {<"n": 7}           {.n == 7}        1
            {<"n": 7 x}         .n               1
            {<"n":8> junk}      {.n == 8}        1
            {  <"n":8>}         .n               1
            {x<"n":8>}          .n               0
            {[1,2]}             .n               0
            {[1,2]}             1                1
            5                   .n               0
            {no json}           1                1
            {<"o":<"n":1>>}     .n               0
            {<"o":<"n":1>>}     .o               0
            {<"o":<>,"n":1>}    .n               1
            {<"n":1,"n":2>}     {.n == 1}        1
            {<"n":1,"n":2>}     {.n == 2}        0
            {<"n":<>,"n":2>}    .n               0
            {<"a":[[1],2]>}     {2 in .a}        1
            {<"a":[<>,2]>}      {2 in .a}        0
            {<"a-b_c":1>}       .a-b_c           1
            {<"u":"\u0041">}    {.u == "u0041"}  1
            {<"big":1e999>}     {.big > 1e300}   1
            {<"a":[1 2],"n":7>} .n               1
            {<"a":[1 2],"n":7>} .a               0
            {<"s":"open,"n":7>} .n               0
        } {
            set attribute [string map {< \{ > \}} $text]
            assert_equal $want [passes $attribute $expression] "for $expression on $attribute"
        }
    }

    test "A filter and COUNT: the nearest that pass, in order" {
        for {set i 0} {$i < 200} {incr i} {
            r vadd many VALUES 2 1 [expr {$i / 200.0}] e$i NOQUANT \
                SETATTR "{\"i\":$i,\"parity\":\"[expr {$i % 2 ? "odd" : "even"}]\"}"
        }
        assert_equal {e1 e3 e5} [r vsim many VALUES 2 1 0 FILTER {.parity == "odd"} COUNT 3]
        assert_equal {e199 e197} \
            [r vsim many ELE e199 FILTER {.parity in ["odd", "none"]} COUNT 2 FILTER-EF 1 EF 1]
        assert_equal {e10 e20} [r vsim many VALUES 2 1 0 FILTER {.i % 10 == 0 and .i > 5} COUNT 2]
        assert_equal 100 [llength [r vsim many VALUES 2 1 0 FILTER {.parity == "even"} COUNT 500]]
        assert_equal 0 [llength [r vsim many VALUES 2 1 0 FILTER {.parity == "none"}]]
    }

    test "The last of several filters counts, and an error in any is one" {
        assert_equal {e7} [r vsim many VALUES 2 1 0 FILTER {.i == 3} FILTER {.i == 7}]
        assert_error "ERR syntax error in FILTER*" {r vsim many VALUES 2 1 0 FILTER ( FILTER 1}
        assert_error "ERR syntax error in FILTER*" {r vsim many VALUES 2 1 0 FILTER 1 FILTER (}
    }

    test "A filter sees an attribute as it is when the search is sent" {
        set c [client]
        for {set i 0} {$i < 50} {incr i} {
            $c send vsetattr many e3 "{\"round\":$i}"
            $c send vsim many VALUES 2 1 0 FILTER ".round == $i"
            $c send vsim many VALUES 2 1 0 FILTER ".round == [expr {$i + 1}]"
        }
        for {set i 0} {$i < 50} {incr i} {
            assert_equal {1 e3 {}} [list [$c read] [$c read] [$c read]]
        }
        $c close
    }

    test "A very long expression works" {
        set expression [string repeat {.i == 1000 or } 5000]
        append expression {.i == 9}
        assert_equal e9 [r vsim many VALUES 2 1 0 FILTER $expression]
        set nested [string repeat ( 20000].i[string repeat ) 20000]
        assert_equal 10 [llength [r vsim many VALUES 2 1 0 FILTER $nested]]
    }
}
