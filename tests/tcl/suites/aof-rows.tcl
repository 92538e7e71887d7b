# What the log holds of vectors: what sets store of them, where that is shorter.
# A set that was read from such a log is the set that wrote it, to the last bit.

proc crash_and_restart {} {
    set server [lindex $::harness::servers end]
    catch {exec kill -9 [dict get $server pid]}
    wait_for {![harness::alive [dict get $server pid]]}
    set server [harness::launch [dict get $server dir]]
    lset ::harness::servers end $server
    interp alias {} r {} [resp::connect [dict get $server port]]
    wait_for {![info_field loading]}
}

# The log, and how often a word stands in it as an argument.
proc the_log {} {
    set text {}
    wait_for {[info_field aof_buffer_length] == 0}
    foreach path [glob [srv dir]/appendonlydir/*.incr.aof] {
        set f [open $path rb]
        append text [read $f]
        close $f
    }
    return $text
}
proc said {word} { return [regexp -all -nocase "\r\n\\$[string length $word]\r\n$word\r\n" [the_log]] }

proc names {n {from 0}} {
    set out {}
    for {set i $from} {$i < $from + $n} {incr i} { lappend out e$i }
    return $out
}

proc blob {n d} {
    set row {}
    for {set i 0} {$i < $n * $d} {incr i} { lappend row [expr {rand() + rand() - 1}] }
    return [fp32 $row]
}

# What a set stores of the vector {3 4}: codes, padding, norm, range, fine part.
proc row_of_3_4 {{codes {95 127}} {norm 5} {range 0.8}} {
    return [binary format ccx2rrcc {*}$codes $norm $range 0 3]
}

start_server {appendonly yes save {""}} {
    set sets {}
    foreach metric {cosine l2 ip l1} {
        foreach type {noquant q8 bin fp16 bf16} { lappend sets $metric $type }
    }
    set d 40
    set queries {}
    for {set i 0} {$i < 10} {incr i} { lappend queries [blob 1 $d] }

    # Distances say what fine parts are; digests do not know of them.
    proc answers {key queries} {
        set out {}
        foreach q $queries { lappend out [r vsearch $key fp32 $q k 20 withdistances] }
        return $out
    }

    test {sets of every precision and metric are read as they were written} {
        foreach {metric type} $sets {
            set key $metric:$type
            r vcreate $key dim $d metric $metric $type
            r vadd $key fp32 [blob 1 $d] e0
            r vadd $key values $d {*}[random_vector $d] e1 setattr {{"n":1}}
            r vadd $key fp16 [string repeat "\x00\x3c\x01\x38" [expr {$d / 2}]] e2
            r vadd $key fp32 [blob 1 $d] e1
            r vadd $key fp32 [string repeat "\0" [expr {4 * $d}]] zero
            r vmadd $key 1200 fp32 [blob 1200 $d] {*}[names 1200 1]
            r vmadd $key 2 fp32 [blob 2 $d] x y attrs {{"n":2}} {{"n":3}}
            r vrem $key e7
            set before($key) [answers $key $queries]
        }
        set digest [r debug digest]
        crash_and_restart
        assert_equal $digest [r debug digest]
        foreach {metric type} $sets {
            set key $metric:$type
            assert_equal $before($key) [answers $key $queries]
            assert_equal {{"n":3}} [r vgetattr $key y]
            assert {[r vgetattr $key e1] eq {{"n":1}}}
        }
    }

    test {vectors are in the log as they are stored, but those of float32 sets} {
        # Five VADD and two VMADD each, these perhaps in slices; rows of float32
        # are longer than vectors.
        set writes {\r\nVM?ADD\r\n\$\d+\r\n(\w+:\w+)\r\n(?:\$\d+\r\n\d+\r\n)?\$\d+\r\n(ROW|FP32|FP16)\r\n}
        array unset seen
        foreach {- key as} [regexp -all -inline -nocase $writes [the_log]] {
            incr seen($key)
            assert_equal [string match *:noquant $key] [expr {[string toupper $as] ne "ROW"}]
        }
        foreach {metric type} $sets { assert {$seen($metric:$type) >= 7} }
        assert_equal [expr {4 + 4}] [said FP16]; # VCREATE says it, too
        assert_match "*ok*" [exec [file dirname $::harness::binary]/vectra-check-aof [srv dir]/appendonlydir]
    }

    test {a set that a vector makes is made by that vector} {
        r flushall
        set n [said ROW]
        r vadd made reduce 10 fp32 [blob 1 $d] a ef 50 m 8
        r vadd made reduce 10 fp32 [blob 1 $d] b m 8 setattr 1
        r vadd made reduce 10 values $d {*}[random_vector $d] c cas m 8
        r vmadd bulk 3 fp32 [blob 3 $d] a b c bin
        r vmadd bulk 3 fp32 [blob 3 $d] c d e bin
        r multi
        r vadd inside fp32 [blob 1 $d] a
        r vadd inside fp32 [blob 1 $d] b
        r exec
        assert_equal 4 [expr {[said ROW] - $n}]
        set digest [r debug digest]
        set info [r vinfo made]
        crash_and_restart
        assert_equal $digest [r debug digest]
        assert_equal [dict get $info projection-input-dim] [dict get [r vinfo made] projection-input-dim]
        assert_equal 5 [r vcard bulk]
    }

    test {what many slices of one VMADD added is all there} {
        set n 40000
        set rows [string repeat [blob 400 64] 100]
        r vmadd sliced 1 fp32 [blob 1 64] first
        set said [said ROW]
        r vmadd sliced $n fp32 $rows {*}[names $n]
        assert {[said ROW] > $said}
        assert_equal [expr {$n + 1}] [r vcard sliced]
        set digest [r debug digest-value sliced]
        crash_and_restart
        assert_equal $digest [r debug digest-value sliced]
    }

    test {lists with codes are read as they were written} {
        r vtrain sliced ivf nlist 32 pq 16
        r vadd sliced fp32 [blob 1 64] e5
        r vmadd sliced 300 fp32 [blob 300 64] {*}[names 300 39900]
        set digest [r debug digest-value sliced]
        crash_and_restart
        assert_equal $digest [r debug digest-value sliced]
        wait_for {[dict get [r vinfo sliced] ivf-phase] eq "idle"}
        assert_equal $digest [r debug digest-value sliced]
        r del sliced
    }
}

start_server {appendonly yes save {""}} {
    test {a row is taken for what it says} {
        r vadd v values 2 3 4 a
        assert_equal 1 [r vadd v row [row_of_3_4] b setattr {{"n":1}}]
        assert_equal 0 [r vadd v ROW [row_of_3_4] b]
        assert_equal 2 [r vmadd v 2 row [row_of_3_4][row_of_3_4 {127 -127}] c d]
        assert_equal [lrange [r vemb v a raw] 1 end] [lrange [r vemb v b raw] 1 end]
        assert_equal [r vemb v a] [r vemb v c]
        assert_equal {{"n":1}} [r vgetattr v b]
        set digest [r debug digest]
        crash_and_restart
        assert_equal $digest [r debug digest]
    }

    test {a row that is none changes nothing} {
        r set s 1
        set digest [r debug digest]
        set good [row_of_3_4]
        foreach bad [list {} $good- [string range $good 1 end] [row_of_3_4 {-128 127}] \
                         [row_of_3_4 {95 127} -1] [row_of_3_4 {95 127} NaN] \
                         [string replace $good 8 11 [binary format cccc 0 0 -128 127]] \
                         [row_of_3_4 {95 127} 5 -0.5]] {
            assert_error "ERR invalid vector specification*" {r vadd v row $bad new}
            assert_error "ERR invalid vector specification*" {r vadd v row $bad a}
            assert_error "ERR invalid vector specification*" {r vmadd v 1 row $bad new}
        }
        assert_error "ERR invalid vector specification*" {r vadd nothere row $good a}
        assert_error "ERR invalid vector specification*" {r vmadd nothere 1 row $good a}
        assert_error "ERR invalid vector specification*" {r vmadd v 3 row $good$good a b c}
        assert_error "WRONGTYPE*" {r vadd s row $good a}
        assert_error "WRONGTYPE*" {r vmadd s 1 row $good a}
        assert_error "ERR*mismatch*" {r vmadd v 1 row $good a bin}
        assert_error "ERR wrong number*" {r vadd v row $good}
        assert_equal $digest [r debug digest]
        crash_and_restart
        assert_equal $digest [r debug digest]
    }

    test {a log of before, with vectors as they came, is read} {
        r vadd v fp32 [fp32 {1 2}] late
        set digest [r debug digest]
        set pid [srv pid]
        set path [lindex [glob [srv dir]/appendonlydir/*.incr.aof] 0]
        exec kill -9 $pid
        wait_for {![harness::alive $pid]}
        set f [open $path wb]
        foreach command [list {SELECT 0} [list VADD v FP32 [fp32 {3 4}] a] \
                             [list VADD v FP32 [fp32 {3 4}] b SETATTR {{"n":1}}] \
                             [list VADD v FP32 [fp32 {3 4}] b] \
                             [list VMADD v 2 FP32 [fp32 {3 4 1 -1}] c d] {SET s 1} \
                             [list VADD v FP32 [fp32 {1 2}] late]] {
            puts -nonewline $f "*[llength $command]\r\n"
            foreach a $command { puts -nonewline $f "\$[string length $a]\r\n$a\r\n" }
        }
        close $f
        set server [harness::launch [srv dir]]
        lset ::harness::servers end $server
        interp alias {} r {} [resp::connect [dict get $server port]]
        wait_for {![info_field loading]}
        assert_equal 5 [r vcard v]
        assert_equal [r vemb v a] [r vemb v c]
    }
}
