# MULTI, EXEC, DISCARD, WATCH, UNWATCH: what is queued, what aborts, what a
# watched key notices, and searches inside a transaction.

# Runs commands in a transaction and returns EXEC's reply as {type value}.
proc transaction {c args} {
    $c multi
    foreach command $args { $c {*}$command }
    $c send exec
    return [$c typed]
}

# EXEC's reply is the one it gives when a watched key has changed.
proc is_aborted {reply} {
    return [expr {$reply eq {nullarray {}}}]
}

# Watches `keys`, runs the commands as another client, and tells whether EXEC
# then aborts.
proc aborts_after {keys args} {
    set c [client]
    $c watch {*}$keys
    foreach command $args { r {*}$command }
    set reply [transaction $c {ping}]
    $c close
    if {[is_aborted $reply]} { return 1 }
    assert_equal {array {{status PONG}}} $reply
    return 0
}

start_server {enable-debug-command no} {
    test {MULTI queues and EXEC runs in order} {
        assert_equal OK [r multi]
        assert_equal QUEUED [r set a 1]
        assert_equal QUEUED [r incr a]
        assert_equal QUEUED [r get a]
        assert_equal {OK 2 2} [r exec]
        assert_equal {} [r multi; r exec]
        r del a
    }

    test {nobody sees a transaction before EXEC} {
        set c [client]
        $c multi
        $c set a 1
        assert_equal "" [r get a]
        $c exec
        assert_equal 1 [r get a]
        $c close
        r del a
    }

    test {DISCARD forgets the queue} {
        r multi
        r set a 1
        assert_equal OK [r discard]
        assert_equal "" [r get a]
        assert_error {ERR EXEC without MULTI} {r exec}
    }

    test {an EXEC with arguments ends the transaction, as in Redis} {
        set error "EXECABORT Transaction discarded because of:*'exec' command"
        r watch a
        r multi
        r set a 1
        assert_error $error {r exec now}
        assert_error {ERR EXEC without MULTI} {r exec}
        assert_equal "" [r get a]
        assert_error $error {r exec now}
    }

    test {EXEC and DISCARD need a MULTI} {
        assert_error {ERR EXEC without MULTI} {r exec}
        assert_error {ERR DISCARD without MULTI} {r discard}
    }

    test {MULTI and WATCH inside MULTI are errors that abort nothing} {
        r multi
        assert_error {ERR MULTI calls can not be nested} {r multi}
        assert_error {ERR WATCH inside MULTI is not allowed} {r watch a}
        assert_equal QUEUED [r ping]
        assert_equal PONG [r exec]
    }

    test {a command that cannot be queued aborts the transaction} {
        foreach {bad error} {
            {nosuch a} {ERR unknown command 'nosuch'*}
            {get} {ERR wrong number of arguments for 'get' command}
            {get a b} {ERR wrong number of arguments for 'get' command}
            {client nosuch} {ERR unknown subcommand 'nosuch'*}
            {vcard} {ERR wrong number of arguments for 'VCARD' command}
            {vadd a b} {ERR wrong number of arguments for 'VADD' command}
            {shutdown nosave} {ERR Command not allowed inside a transaction}
            {debug sleep 0} {ERR DEBUG command not allowed*}
        } {
            r multi
            assert_equal QUEUED [r set a 1]
            assert_error $error {r {*}$bad}
            assert_equal QUEUED [r set a 2]
            assert_error {EXECABORT Transaction discarded because of previous errors.} {r exec}
            assert_equal "" [r get a]
            assert_error {ERR EXEC without MULTI} {r exec}
        }
    }

    test {a command that fails when it runs does not stop the others} {
        r set text words
        assert_equal {OK {ERR(ERR value is not an integer or out of range)} OK} \
            [r multi; r set a 1; r incr text; r set b 2; r exec]
        assert_equal {1 2} [r mget a b]
        r vadd set values 2 1 0 e
        set reply [transaction r {get set} {vcard text} {vcard set}]
        assert_equal {array {{error {WRONGTYPE *}} {error {WRONGTYPE *}} {int 1}}} \
            [regsub -all {WRONGTYPE [^\}]*} $reply {WRONGTYPE *}]
        r flushall
    }

    test {arguments are kept as they were, binary and long} {
        set all ""
        for {set i 0} {$i < 256} {incr i} { append all [format %c $i] }
        r multi
        r set $all [string repeat $all 100]
        for {set i 0} {$i < 100} {incr i} { r echo $i$all }
        set reply [r exec]
        assert_equal OK [lindex $reply 0]
        assert_equal 42$all [lindex $reply 43]
        assert_equal [string repeat $all 100] [r get $all]
        r flushall
    }

    test {SELECT in a transaction holds afterwards} {
        r multi
        r select 3
        r set a three
        r exec
        assert_equal three [r get a]
        r select 0
        assert_equal "" [r get a]
        r flushall
    }

    test {HELLO in a transaction changes the replies after it} {
        set c [client]
        assert_equal {null {}} [lindex [transaction $c {get nokey} {hello 3} {get nokey}] 1 0]
        $c raw "GET nokey\r\n"
        assert_equal "_\r\n" [$c rawread 3]
        $c close
    }

    test {QUIT and RESET leave a transaction at once} {
        set c [client]
        $c multi
        $c set a 1
        assert_equal RESET [$c reset]
        assert_error {ERR EXEC without MULTI} {$c exec}
        $c multi
        $c set a 1
        assert_equal OK [$c quit]
        assert_equal 1 [$c eof]
        assert_equal "" [r get a]
        $c close
    }

    test {a client that goes in the middle of a transaction leaves nothing} {
        for {set i 0} {$i < 20} {incr i} {
            set c [client]
            $c watch a b c
            $c multi
            $c set a 1
            $c close
        }
        assert_equal "" [r get a]
        r set a 2
        r del a
    }

    test {a transaction of ten thousand commands} {
        r multi
        for {set i 0} {$i < 10000} {incr i} { r send incr n }
        for {set i 0} {$i < 10000} {incr i} { r read }
        assert_equal 10000 [lindex [r exec] end]
        r del n
    }
}

start_server {} {
    test {WATCH lets EXEC run when nothing has changed} {
        r set a 1
        assert_equal 0 [aborts_after {a b}]
        assert_equal 0 [aborts_after {a b} {get a} {set c 1} {exists b}]
        r flushall
    }

    test {WATCH notices every kind of change} {
        foreach change {{set a 2} {append a x} {del a} {unlink a} {getdel a} {incr a}
            {setrange a 0 9} {expire a 100} {getex a ex 100} {mset b 1 a 2} {rename a c}} {
            r flushall
            r set a 1
            assert_equal 1 [aborts_after a $change] $change
        }
        r flushall
        assert_equal 1 [aborts_after a {set a 1}]
        r flushall
        r set c 1
        assert_equal 1 [aborts_after a {rename c a}]
        r flushall
        r set a 1 ex 100
        assert_equal 1 [aborts_after a {persist a}]
        r flushall
    }

    test {WATCH does not notice what changes nothing} {
        r set a 1
        foreach change {{setnx a 2} {set a 2 nx} {del nokey} {expire nokey 10} {persist a}
            {get a} {renamenx a a} {touch a} {object encoding a} {msetnx a 1 b 2}} {
            assert_equal 0 [aborts_after a $change] $change
        }
        r flushall
    }

    test {WATCH notices vector sets changing} {
        r vadd s values 2 1 0 e setattr "{}"
        foreach change {{vadd s values 2 0 1 new} {vadd s values 2 0 1 e}
            {vsetattr s e "{\"a\":1}"} {vsetattr s e ""} {vrem s new} {vrem s e}} {
            assert_equal 1 [aborts_after s $change] $change
        }
        r vadd s values 2 1 0 e
        # As with Redis, a write of these counts though it finds nothing to do.
        foreach idle {{vrem s nosuch} {vsetattr s nosuch "{}"} {vsetattr s e ""}} {
            assert_equal 1 [aborts_after s $idle] $idle
        }
        foreach read {{vsim s ele e} {vcard s} {vemb s e} {vgetattr s e} {vrandmember s} {vinfo s}} {
            assert_equal 0 [aborts_after s $read] $read
        }
        r flushall
    }

    test {WATCH of a set through the bulk commands} {
        r vmadd s 2 FP32 [fp32 {1 0 0 1}] a b
        assert_equal 1 [aborts_after s [list vmadd s 1 FP32 [fp32 {1 1}] c]]
        assert_equal 1 [aborts_after s {vmrem s c}]
        assert_equal 1 [aborts_after s {vmrem s nosuch}]
        r flushall
    }

    test {a change before WATCH, or of another database, is none} {
        r set a 1
        r set a 2
        assert_equal 0 [aborts_after a {select 1} {set a 1} {select 0}]
        r flushall
    }

    test {WATCH notices changes by the client itself} {
        set c [client]
        $c watch a
        $c set a 1
        assert {[is_aborted [transaction $c {ping}]]}
        assert_equal {array {{status PONG}}} [transaction $c {ping}]
        $c close
        r flushall
    }

    test {UNWATCH, DISCARD and EXEC end watching} {
        set c [client]
        $c watch a
        r set a 1
        assert_equal OK [$c unwatch]
        assert_equal {array {{status PONG}}} [transaction $c {ping}]
        $c watch a
        $c multi
        $c discard
        r set a 2
        assert_equal {array {{status PONG}}} [transaction $c {ping}]
        $c watch a
        transaction $c {ping}
        r set a 3
        assert_equal {array {{status PONG}}} [transaction $c {ping}]
        $c watch a
        $c multi
        catch {$c nosuch}
        catch {$c exec}
        r set a 4
        assert_equal {array {{status PONG}}} [transaction $c {ping}]
        $c close
        r flushall
    }

    test {UNWATCH queued in a transaction comes too late} {
        set c [client]
        $c watch a
        r set a 1
        assert {[is_aborted [transaction $c {unwatch} {ping}]]}
        $c close
        r flushall
    }

    test {errors at queue time win over watched keys} {
        set c [client]
        $c watch a
        r set a 1
        $c multi
        catch {$c nosuch}
        assert_error {EXECABORT *} {$c exec}
        $c close
        r flushall
    }

    # Watches a key that expires soon, but has not yet.
    proc watch_expiring {c} {
        while {1} {
            r set a 1 px 20
            $c watch a
            if {[r exists a]} return
            $c unwatch
        }
    }

    test {WATCH notices a key expiring before EXEC} {
        set c [client]
        watch_expiring $c
        wait_for {[r exists a] == 0}
        assert {[is_aborted [transaction $c {ping}]]}
        watch_expiring $c
        $c multi
        $c ping
        set end [expr {[clock milliseconds] + 30}]
        while {[clock milliseconds] < $end} {}
        $c send exec
        assert {[is_aborted [$c typed]]}
        $c close
    }

    test {WATCH of a key that has expired already is WATCH of no key} {
        r set a 1 px 1
        wait_for {[r exists a] == 0}
        assert_equal 0 [aborts_after a {get a}]
    }

    test {FLUSHALL and FLUSHDB touch the watched keys that are there} {
        r set a 1
        assert_equal 0 [aborts_after nokey flushall]
        r set a 1
        assert_equal 1 [aborts_after a flushall]
        r set a 1
        assert_equal 1 [aborts_after a flushdb]
        r set a 1
        assert_equal 1 [aborts_after {nokey a} {flushall async}]
        r set a 1
        assert_equal 0 [aborts_after a {select 1} flushdb {select 0}]
        r flushall
        r vadd s values 2 1 0 e
        assert_equal 1 [aborts_after s flushall]
    }

    test {SWAPDB touches watched keys that are in either database} {
        r set a 1
        assert_equal 1 [aborts_after a {swapdb 0 1}]
        assert_equal 1 [aborts_after a {swapdb 0 1}]
        assert_equal 0 [aborts_after b {swapdb 0 1}]
        assert_equal 0 [aborts_after a {swapdb 2 3}]
        r flushall
    }

    test {MOVE touches the key where it was and where it goes} {
        r set a 1
        assert_equal 1 [aborts_after a {move a 1}]
        set c [client]
        $c select 1
        $c watch b
        r set b 1
        r move b 1
        assert {[is_aborted [transaction $c {ping}]]}
        $c close
        r flushall
    }

    test {many clients watch one key, one client many keys} {
        set clients {}
        for {set i 0} {$i < 50} {incr i} {
            set c [client]
            $c watch common own$i common
            lappend clients $c
        }
        set many [client]
        for {set i 0} {$i < 500} {incr i} { $many watch key$i }
        r set own7 1
        set states {}
        foreach c $clients { lappend states [is_aborted [transaction $c {ping}]] }
        assert_equal 1 [tcl::mathop::+ {*}$states]
        assert_equal 1 [lindex $states 7]
        foreach c $clients { $c watch common }
        r set common 1
        foreach c $clients { assert {[is_aborted [transaction $c {ping}]]} }
        r set key499 1
        assert {[is_aborted [transaction $many {ping}]]}
        foreach c $clients { $c close }
        $many close
        r flushall
    }
}

start_server {} {
    test {a search in a transaction sees what the transaction has written} {
        set reply [transaction r {vadd s values 2 1 0 a} {vsim s values 2 1 0} \
            {vadd s values 2 0 1 b} {vsim s values 2 1 0} {vrem s a} {vsim s values 2 1 0} {vcard s}]
        assert_equal {{bulk a}} [lindex $reply 1 1 1]
        assert_equal {{bulk a} {bulk b}} [lindex $reply 1 3 1]
        assert_equal {{bulk b}} [lindex $reply 1 5 1]
        assert_equal {int 1} [lindex $reply 1 6]
        r flushall
    }

    test {searches before, in and after a transaction, in one pipeline} {
        r vadd s values 2 1 0 a
        set c [client]
        for {set round 0} {$round < 50} {incr round} {
            foreach command {{vsim s values 2 1 0} multi {vadd s values 2 1 1 b}
                {vsim s values 2 1 0} {vrem s b} exec {vsim s values 2 1 0}} {
                $c send {*}$command
            }
            assert_equal {a OK QUEUED QUEUED QUEUED} \
                [lmap i {1 2 3 4 5} {$c read}]
            assert_equal {1 {a b} 1} [$c read]
            assert_equal a [$c read]
        }
        $c close
        r flushall
    }

    test {a transaction sees no other client's search or write between its commands} {
        r vadd s values 2 1 0 a
        set c [client]
        for {set round 0} {$round < 50} {incr round} {
            for {set i 0} {$i < 10} {incr i} { $c send vsim s values 2 1 0 }
            $c send vadd s values 2 0 1 x$round
            flush [$c channel]
            set reply [transaction r {vcard s} {vsim s values 2 1 0 count 1000} {vcard s}]
            assert_equal [lindex $reply 1 0] [lindex $reply 1 2]
            assert_equal [lindex $reply 1 0 1] [llength [lindex $reply 1 1 1]]
            for {set i 0} {$i < 11} {incr i} { $c read }
        }
        $c close
        r flushall
    }

    test {bulk commands run to their end inside a transaction} {
        set numbers {}
        set names {}
        for {set i 0} {$i < 3000} {incr i} { lappend numbers 1 $i; lappend names e$i }
        set reply [transaction r [list vmadd s 3000 FP32 [fp32 $numbers] {*}$names] \
            {vcard s} {vrandmember s 3000} [list vmrem s {*}[lrange $names 0 1999]] {vcard s}]
        assert_equal {int 3000} [lindex $reply 1 0]
        assert_equal {int 3000} [lindex $reply 1 1]
        assert_equal 3000 [llength [lindex $reply 1 2 1]]
        assert_equal {int 2000} [lindex $reply 1 3]
        assert_equal {int 1000} [lindex $reply 1 4]
        r flushall
    }

    test {a transaction that would need memory past maxmemory is refused as a whole} {
        r config set maxmemory 1
        assert_equal QUEUED [r multi; r get a]
        assert_error {OOM *} {r set a 1}
        assert_error {EXECABORT *} {r exec}
        r config set maxmemory 0
        r multi
        r set a 1
        set c [client]
        $c config set maxmemory 1
        assert_error {EXECABORT Transaction discarded because of: OOM*} {r exec}
        $c config set maxmemory 0
        $c close
        assert_equal "" [r get a]
    }

    test {the slow log shows the commands of a transaction, not EXEC} {
        r config set slowlog-log-slower-than 0
        r slowlog reset
        r multi
        r set a 1
        r get a
        r exec
        r config set slowlog-log-slower-than 10000
        set seen [lmap entry [r slowlog get -1] {lindex $entry 3 0}]
        assert {"set" in $seen && "get" in $seen && "multi" in $seen}
        assert {"exec" ni $seen}
        r flushall
    }

    test {MONITOR shows a transaction as it runs} {
        set m [client]
        $m monitor
        r multi
        r set a 1
        r client list
        r config get port
        r get a
        r exec
        r ping
        set seen {}
        while {[lindex $seen end] ne "ping"} {
            lappend seen [lindex [split [$m read] \"] 1]
        }
        assert_equal {multi set get exec ping} $seen
        $m close
        r flushall
    }

    test {commands in transactions are counted, those refused as rejected} {
        r config resetstat
        r multi
        catch {r get}
        r get a
        catch {r exec}
        r multi
        r get a
        r exec
        assert_match {calls=1,*rejected_calls=1,failed_calls=0} [info_field cmdstat_get]
        assert_match {calls=2,*failed_calls=1} [info_field cmdstat_exec]
    }
}
