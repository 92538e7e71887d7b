# Times to live: setting them, asking for them, and what happens in time.

# One reply with its type.
proc typed {args} {
    r send {*}$args
    return [r typed]
}

proc make_vset {key} {
    r del $key
    r vadd $key VALUES 2 1 2 x
}

# Waits until a time to live of so many milliseconds is over, without touching
# any other key.
proc wait_past {ms} {
    r set probe v PX $ms
    wait_for {[r exists probe] == 0}
}

# Commands that are sent in one go, so that little time passes between them.
proc at_once {args} {
    foreach command $args { r send {*}$command }
    return [lmap command $args { r read }]
}

set int_error "ERR value is not an integer or out of range"
set far 9223372036854775807

start_server {} {
    test {EXPIRE and its kin set a time, TTL and its kin tell it} {
        set now [clock seconds]
        r set k v
        assert_equal {int -1} [typed ttl k]
        assert_equal {int -1} [typed pttl k]
        assert_equal {int -1} [typed expiretime k]
        assert_equal {int -1} [typed pexpiretime k]
        assert_equal {int 1} [typed expire k 100]
        assert {[r ttl k] > 90 && [r ttl k] <= 100}
        assert {[r pttl k] > 90000 && [r pttl k] <= 100000}
        assert_equal {int 1} [typed pexpire k 50000]
        assert {[r ttl k] > 40 && [r ttl k] <= 50}
        assert_equal {int 1} [typed expireat k [expr {$now + 5000}]]
        assert_equal [expr {$now + 5000}] [r expiretime k]
        assert_equal [expr {($now + 5000) * 1000}] [r pexpiretime k]
        assert_equal {int 1} [typed pexpireat k [expr {($now + 7000) * 1000 + 499}]]
        assert_equal [expr {$now + 7000}] [r expiretime k]
        assert_equal [expr {($now + 7000) * 1000 + 499}] [r pexpiretime k]
        r pexpireat k [expr {($now + 7000) * 1000 + 500}]
        assert_equal [expr {$now + 7001}] [r expiretime k]
    }

    test {without a key there is no time} {
        foreach command {expire pexpire expireat pexpireat} {
            assert_equal {int 0} [typed $command missing 100]
        }
        foreach command {ttl pttl expiretime pexpiretime} {
            assert_equal {int -2} [typed $command missing]
        }
        assert_equal {int 0} [typed persist missing]
    }

    test {vector sets expire too} {
        make_vset v
        assert_equal 1 [r expire v 100]
        assert {[r ttl v] > 90}
        assert_equal 1 [r persist v]
        assert_equal 1 [r pexpire v 1]
        wait_for {[r exists v] == 0}
        assert_equal {null {}} [typed vemb v x]
    }

    test {PERSIST removes a time} {
        r set k v EX 100
        assert_equal {int 1} [typed persist k]
        assert_equal -1 [r ttl k]
        assert_equal {int 0} [typed persist k]
    }

    test {a time that is not after now deletes the key} {
        foreach command {
            {expire k 0} {expire k -1} {pexpire k 0} {pexpire k -100} {expireat k 1} {pexpireat k 1}
            {expireat k 0} {expireat k -5} {pexpire k -9223372036854775808} {pexpireat k -1}
            {expire k -9223372036854775}
        } {
            r set k v
            assert_equal {int 1} [typed {*}$command] $command
            assert_equal 0 [r dbsize] $command
        }
    }

    test {a time out of range is refused} {
        r set k v
        foreach {command time} {
            expire 9223372036854775807 expire 9223372036854776 expire -9223372036854776
            expire 9223372036854775
            pexpire 9223372036854775807 expireat 9223372036854776 expireat -9223372036854776
        } {
            assert_error "ERR invalid expire time in '$command' command" {r $command k $time}
            assert_error "ERR invalid expire time in '$command' command" {r $command missing $time}
        }
        foreach time {"" x 1.5 " 1" 01 9223372036854775808} {
            foreach command {expire pexpire expireat pexpireat} {
                assert_error $int_error {r $command missing $time}
            }
        }
        assert_equal -1 [r ttl k]
        assert_equal 1 [r pexpireat k $far]
        assert_equal $far [r pexpiretime k]
        assert_equal 9223372036854776 [r expiretime k]
        assert_equal 1 [r expireat k 9223372036854775]
    }

    test {NX, XX, GT and LT look at the time there is} {
        foreach {has time options want} {
            0 100 NX 1      100 200 NX 0     0 100 XX 0     100 200 XX 1
            0 100 GT 0      100 200 GT 1     100 50 GT 0    100 100 GT 0
            0 100 LT 1      100 200 LT 0     100 50 LT 1    100 100 LT 0
            100 200 {XX GT} 1  0 200 {XX GT} 0  100 50 {LT XX} 1  0 50 {LT XX} 0
            100 200 {nx} 0  100 200 {xX xx} 1
        } {
            r set k v
            set base [expr {[clock seconds] + 1000}]
            if {$has} { r expireat k [expr {$base + $has}] }
            assert_equal $want [r expireat k [expr {$base + $time}] {*}$options] "$has $time $options"
            set left [expr {$want ? $base + $time : $has ? $base + $has : -1}]
            assert_equal $left [r expiretime k]
        }
        r set k v
        assert_equal 0 [r expire k -1 XX]
        assert_equal 1 [r exists k]
        assert_equal 1 [r expire k -1 LT]
        assert_equal 0 [r exists k]
    }

    test {conditions are checked before the time, the time before the key} {
        foreach command {expire pexpire expireat pexpireat} {
            foreach options {{NX XX} {XX NX} {NX GT} {LT NX} {NX XX GT LT}} {
                assert_error "ERR NX and XX, GT or LT options at the same time are not compatible" \
                    {r $command missing x {*}$options}
            }
            assert_error "ERR GT and LT options at the same time are not compatible" \
                {r $command missing x GT LT}
            assert_error "ERR GT and LT options at the same time are not compatible" \
                {r $command missing x XX LT GT}
            assert_error "ERR Unsupported option foo" {r $command missing x NX XX foo}
            assert_error "ERR Unsupported option " {r $command missing 10 ""}
            assert_error $int_error {r $command missing x NX}
            assert_error "ERR wrong number of arguments for '$command' command" {r $command k}
        }
    }
}

# ---- in time -------------------------------------------------------------------

start_server {} {
    test {an expired key is gone for every command} {
        foreach command {
            {get k} {mget k} {strlen k} {getrange k 0 -1} {exists k} {ttl k} {type k} {getdel k}
            {getex k} {persist k} {expire k 10} {touch k} {del k} {unlink k} {object encoding k}
            {setrange k 0 ""} {vcard k} {vdim k}
        } {
            catch {r {*}[lreplace $command [lsearch $command k] [lsearch $command k] missing]} want
            r set k v PX 1
            wait_past 2
            catch {r {*}$command} got
            assert_equal $want $got $command
        }
    }

    test {writing to an expired key starts afresh} {
        foreach {command value} {
            {set k new} new      {setnx k new} new     {append k new} new   {incr k} 1
            {incrbyfloat k 2} 2  {setrange k 1 x} "\x00x" {getset k new} new {mset k new} new
            {msetnx k new} new   {set k new NX} new    {set k new KEEPTTL} new
        } {
            r set k 41 PX 1
            wait_past 2
            catch {r {*}$command}
            assert_equal [subst $value] [r get k] $command
            assert_equal -1 [r ttl k] $command
        }
        r set k 41 PX 1
        wait_past 2
        assert_equal {null {}} [typed set k new XX]
        assert_equal {null {}} [typed set k new GET]
        r set a v
        r set k 41 PX 1
        wait_past 2
        assert_equal {int 1} [typed renamenx a k]
        assert_error "ERR no such key" {r rename a k}
        make_vset k
        r pexpire k 1
        wait_past 2
        assert_equal 1 [r append k x]
    }

    test {expired keys go by themselves} {
        r flushall
        for {set i 0} {$i < 2000} {incr i} { r send set key:$i v PX [expr {1 + $i % 50}] }
        for {set i 0} {$i < 2000} {incr i} { r read }
        r set stays v
        r set later v EX 1000
        make_vset v
        r pexpire v 10
        wait_for {[r dbsize] == 2}
        assert_equal {later stays} [lsort [r keys *]]
    }

    test {expired keys of another database go by themselves} {
        r select 11
        for {set i 0} {$i < 100} {incr i} { r set key:$i v PX 1 }
        wait_for {[r dbsize] == 0}
        r select 0
    }

    test {RENAME and MOVE take a short time along} {
        r flushall
        assert_equal {OK OK} [at_once {set a v PX 200} {rename a b}]
        wait_for {[r exists b] == 0}
        assert_equal {OK 1} [at_once {set a v PX 200} {move a 5}]
        r select 5
        wait_for {[r exists a] == 0}
        r select 0
    }
}

start_server {enable-debug-command yes} {
    test {without the background an expired key stays until it is looked up} {
        r debug set-active-expire 0
        r flushall
        r set k v PX 1
        r set other v PX 1
        wait_past 2
        assert_equal 2 [r dbsize]
        assert_equal {null {}} [typed get k]
        assert_equal 1 [r dbsize]
        assert_equal {int 0} [typed del other]
        assert_equal 0 [r dbsize]
        r set k v PX 1
        wait_past 2
        assert_equal {} [r keys *]
        r set k v PX 1
        wait_past 2
        assert_equal {0 {}} [r scan 0 COUNT 100]
        r debug set-active-expire 1
    }

    test {a watched key that expires stops the transaction} {
        foreach active {0 1} {
            r debug set-active-expire $active
            assert_equal {OK OK} [at_once {set k v PX 200} {watch k}]
            wait_past 202
            r multi
            r ping
            assert_equal {null {}} [list null [r exec]]
        }
        r debug set-active-expire 1
    }

    test {a key that had expired before WATCH does not stop the transaction} {
        r debug set-active-expire 0
        r set k v PX 1
        wait_past 2
        r watch k
        r multi
        r ping
        assert_equal PONG [r exec]
        r debug set-active-expire 1
    }

    test {RANDOMKEY never replies an expired key} {
        r flushall
        r debug set-active-expire 0
        for {set i 0} {$i < 100} {incr i} { r set key:$i v PX 1 }
        r set stays v
        wait_past 2
        for {set i 0} {$i < 20} {incr i} { assert_equal stays [r randomkey] }
        r del stays
        assert_equal {null {}} [typed randomkey]
        r debug set-active-expire 1
    }
}

start_server {} {
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

    test {WATCH is broken by times that are set or removed} {
        foreach {setup command stops} {
            {set k v} {expire k 100} 1           {set k v} {expire k 0} 1
            {set k v} {expire k 100 XX} 0        {set k v} {persist k} 0
            {set k v EX 100} {persist k} 1       {set k v EX 100} {ttl k} 0
            {set k v EX 100} {expire k 100 NX} 0 {del k} {expire k 100} 0
            {set k v} {expire k x} 0             {set k v EX 100} {expire k 100} 1
        } {
            r {*}$setup
            assert_equal $stops [stopped_by {*}$command] "$setup; $command"
        }
    }

    test {times in a transaction} {
        r set k v
        r multi
        r expire k 100
        r ttl k
        r persist k
        r ttl k
        r expire k -1
        r exists k
        assert_equal {1 100 1 -1 1 0} [r exec]
    }
}
