# Against Redis 8, where there is one: random vector-set commands to both, replies
# compared; then what Redis wrote, as a snapshot, a log and payloads, is loaded here
# and the digests compared. REDIS8= names its command, or `none`; otherwise it is
# looked for as utils/bench/run does. OPS= makes more of it.

namespace eval differential {
    variable ops [expr {[info exists ::env(OPS)] ? $::env(OPS) : 1500}]
    variable root ""  ;# of the file system that the other server sees
    variable shapes {
        q8 {12 {Q8}} f32 {12 {NOQUANT}} bin {70 {BIN}} m4 {5 {Q8 M 4}} one {1 {NOQUANT}}
        red {20 {Q8 REDUCE 7}} redbin {20 {BIN REDUCE 9}} redf {9 {NOQUANT REDUCE 9}}
    }
    variable graphs {
        g:q8 12 {Q8} g:f32 12 {NOQUANT M 6} g:bin 70 {BIN M 8} g:m6 5 {Q8 M 6} g:wide 4 {Q8 M 40}
        g:red 20 {Q8 M 5 REDUCE 7}
    }
}

# The command of a Redis 8, or nothing.
proc differential::peer {} {
    variable root
    if {[info exists ::env(REDIS8)]} {
        return [expr {$::env(REDIS8) eq "none" ? "" : $::env(REDIS8)}]
    }
    if {![catch {exec redis-server --version} version] &&
        [regexp {v=(\d+)} $version - major] && $major >= 8} { return redis-server }
    set cache [expr {[info exists ::env(XDG_CACHE_HOME)] ? $::env(XDG_CACHE_HOME) : "~/.cache"}]
    set sid [file normalize $cache/vectra/peers/sid]
    if {[file executable $sid/usr/bin/redis-server] && [exec id -u] == 0} {
        set root $sid
        return [list chroot $sid redis-server]
    }
    return ""
}

proc differential::start {command} {
    variable root
    set dir /tmp/vectra-differential-[pid]
    file mkdir $root$dir
    for {set try 0} {$try < 5} {incr try} {
        set port [harness::free_port]
        set pid [exec {*}$command --port $port --dir $dir --save {} --daemonize no \
                     --appendonly yes --enable-debug-command local > $root$dir/log 2>@1 &]
        set end [expr {[clock milliseconds] + $::harness::patience_ms}]
        while {[clock milliseconds] < $end && [harness::alive $pid]} {
            if {![catch {resp::connect $port} c]} {
                return [dict create pid $pid dir $root$dir connection $c]
            }
            after 10
        }
        catch {exec kill -9 $pid}
    }
    error "Redis does not start: [harness::log_of $root$dir/log]"
}

proc differential::pick {list} { return [lindex $list [expr {int(rand() * [llength $list])}]] }

# A reply or its error.
proc differential::reply {c words} {
    return [expr {[catch {$c {*}$words} got] ? "error: $got" : $got}]
}

# The next command.
proc differential::command {} {
    variable shapes
    set key [pick [dict keys $shapes]]
    lassign [dict get $shapes $key] dim options
    if {rand() < 0.02} { incr dim } ;# wrong
    set element [pick {a b c 1 -7 {} 123456789012 "x y" \u00e9}][expr {int(rand() * 40)}]
    set vector [expr {rand() < 0.03 ? [lrepeat $dim 0] : [random_vector $dim]}]
    set reduce [expr {[set at [lsearch $options REDUCE]] < 0 ? {} : [lrange $options $at $at+1]}]
    set after [expr {$at < 0 ? $options : [lreplace $options $at $at+1]}]
    set attribute [pick {{{"a":1}} {{"b":[1,2]}} {not json} {} {"\u00e9"}}]
    switch [pick {add add add add add rem attr get raw emb card dim member top del ttl rename links}] {
        add {
            set words [list vadd $key {*}$reduce]
            if {rand() < 0.5} {
                lappend words fp32 [fp32 $vector]
            } else {
                lappend words values $dim {*}$vector
            }
            lappend words $element {*}$after
            if {rand() < 0.3 && $attribute ne ""} { lappend words setattr $attribute }
            return $words
        }
        rem { return [list vrem $key $element] }
        attr { return [list vsetattr $key $element $attribute] }
        get { return [list vgetattr $key $element] }
        raw { return [list vemb $key $element raw] }
        emb { return [list vemb $key $element] }
        card { return [list vcard $key] }
        dim { return [list vdim $key] }
        member { return [list vismember $key $element] }
        top { return [list vsim $key fp32 [fp32 $vector] withscores count 5 truth] }
        del { return [expr {rand() < 0.1 ? [list del $key] : [list exists $key]}] }
        ttl { return [list pexpireat $key 9999999999999] }
        rename { return [expr {rand() < 0.2 ? [list renamenx $key other] : [list type $key]}] }
        links { return [list vadd $key values 2 x 1 $element] }
    }
}

# Numbers may differ in the last digits of their text, and elements that are as near
# as each other change places.
proc differential::same {words a b} {
    set first [lindex $words 0]
    if {$a eq $b} { return 1 }
    if {$first ni {vsim vemb} || [llength $a] != [llength $b]} { return 0 }
    set i -1
    foreach x $a y $b {
        if {([incr i] % 2 == 0 && $first eq "vsim") || $x eq $y} continue
        if {![string is double -strict $x] || ![string is double -strict $y] ||
            abs($x - $y) > 1e-5} { return 0 }
    }
    return 1
}

proc differential::digests {c} {
    set out [$c debug digest]
    foreach key [lsort [$c keys *]] { lappend out $key [$c debug digest-value $key] }
    return $out
}

# Sets that are large enough for a graph that is worth its pages, of elements that come
# and go. Such graphs lead everywhere; those of clusters may not, and are mended here.
proc differential::grow {c} {
    variable graphs
    foreach {key dim options} $graphs {
        for {set i 0} {$i < 400} {incr i} {
            set reduce [expr {"REDUCE" in $options ? [lrange $options end-1 end] : {}}]
            set after [lrange $options 0 end-[llength $reduce]]
            $c vadd $key {*}$reduce fp32 [fp32 [random_vector $dim]] e$i {*}$after
            if {$i % 5 == 4} { $c vrem $key e[expr {int(rand() * $i)}] }
        }
    }
}

# Layers from the top, without the order in them.
proc differential::links {c} {
    variable graphs
    set out {}
    foreach {key dim options} $graphs {
        dict set about vinfo [$c vinfo $key]
        lappend out $key [dict get $about vinfo max-level]
        for {set i 0} {$i < 400} {incr i} {
            lappend out e$i [lmap layer [$c vlinks $key e$i] {lsort $layer}]
        }
    }
    return $out
}

# Runs the body with `r` connected to a server on what a folder holds.
proc differential::loaded {from name directives body} {
    start_server $directives {
        set server [lindex $::harness::servers end]
        catch {exec kill -9 [dict get $server pid]}
        wait_for {![harness::alive [dict get $server pid]]}
        file delete -force [srv dir]/$name
        file copy $from/$name [srv dir]/$name
        set server [harness::launch [dict get $server dir]]
        lset ::harness::servers end $server
        interp alias {} r {} [resp::connect [dict get $server port]]
        wait_for {![info_field loading]}
        uplevel 1 $body
    }
}

set command [differential::peer]
if {$command eq ""} {
    puts "  SKIPPED: differential, there is no Redis 8 (utils/peers/redis8)"
    return
}
set redis [differential::start $command]
set other [dict get $redis connection]
set dir [dict get $redis dir]

start_server {} {
    test {Redis and Vectra answer the same to commands at random} {
        for {set i 0} {$i < $differential::ops} {incr i} {
            set words [differential::command]
            set theirs [differential::reply $other $words]
            set ours [differential::reply r $words]
            if {![differential::same $words $theirs $ours]} {
                fail "[harness::show $words]: Redis [harness::show $theirs], Vectra\
                      [harness::show $ours]"
            }
        }
        foreach key [$other keys *] {
            assert_equal [$other debug digest-value $key] [r debug digest-value $key] $key
        }
    }

    test {what Redis dumps is restored, graphs and all} {
        differential::grow $other
        set want [differential::digests $other]
        set links [differential::links $other]
        r flushall
        foreach key [$other keys *] {
            set ttl [$other pexpiretime $key]
            r restore $key [expr {max(0, $ttl)}] [$other dump $key] {*}[expr {$ttl > 0 ? "ABSTTL" : {}}]
            assert_equal OK [r debug vcheck $key]
        }
        assert_equal $want [differential::digests r]
        assert_equal $links [differential::links r]
        r debug reload
        assert_equal $links [differential::links r]
    }
}

test {a snapshot and a log that Redis wrote are loaded} {
    set want [differential::digests $other]
    $other save
    set links [differential::links $other]
    differential::loaded $dir dump.rdb {} {
        assert_equal $want [differential::digests r]
        assert_equal $links [differential::links r]
    }
    $other waitaof 1 0 0
    $other bgrewriteaof
    wait_for {[info_field aof_rewrite_in_progress $other] eq "0" &&
              [info_field aof_rewrite_scheduled $other] eq "0"}
    # Behind the base come commands; Redis logs no VADD that replaces a vector.
    for {set i 0} {$i < 50} {incr i} {
        $other vadd late values 3 1 $i 2 e$i setattr "{\"n\":$i}"
        if {$i % 3 == 0} { $other vrem late e[expr {$i / 2}] }
        $other set s$i $i
    }
    $other waitaof 1 0 0
    set want [differential::digests $other]
    differential::loaded $dir appendonlydir {appendonly yes} {
        assert_equal $want [differential::digests r]
    }
}

$other close
exec kill -9 [dict get $redis pid]
wait_for {![harness::alive [dict get $redis pid]]}
file delete -force $dir
