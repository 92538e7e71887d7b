# The connection's own commands: PING, ECHO, SELECT, AUTH, HELLO, RESET, QUIT,
# CLIENT; and what a client may do before it has authenticated.

# The fields of one line of CLIENT LIST as a dict.
proc client_fields {line} {
    set fields {}
    foreach field [split [string trim $line]] {
        dict set fields {*}[split_once $field =]
    }
    return $fields
}

proc split_once {text by} {
    set at [string first $by $text]
    return [list [string range $text 0 $at-1] [string range $text $at+1 end]]
}

proc client_info {connection} {
    return [client_fields [$connection client info]]
}

# The ids of all clients, oldest first.
proc client_ids {} {
    set ids {}
    foreach line [split [string trim [r client list]] \n] {
        lappend ids [dict get [client_fields $line] id]
    }
    return [lsort -integer $ids]
}

start_server {} {
    test {PING answers PONG or what it is given} {
        assert_equal {status PONG} [r send ping; r typed]
        assert_equal {bulk hello} [r send ping hello; r typed]
        assert_error {ERR wrong number of arguments for 'ping' command} {r ping a b}
    }

    test {ECHO is binary safe} {
        set all ""
        for {set i 0} {$i < 256} {incr i} { append all [format %c $i] }
        assert_equal $all [r echo $all]
        assert_equal "" [r echo ""]
        assert_error {ERR wrong number of arguments for 'echo' command} {r echo}
    }

    test {SELECT changes the database of this client alone} {
        set other [client]
        assert_equal OK [r select 3]
        r set where three
        assert_equal "" [$other get where]
        $other select 3
        assert_equal three [$other get where]
        r select 0
        assert_equal "" [r get where]
        $other flushall
        $other close
    }

    test {SELECT refuses what is no database, and stays where it was} {
        r select 2
        assert_error {ERR value is not an integer or out of range} {r select x}
        assert_error {ERR DB index is out of range} {r select 16}
        assert_error {ERR DB index is out of range} {r select -1}
        assert_error {ERR value is out of range, value must between*} {r select 99999999999}
        assert_equal 2 [dict get [client_info r] db]
        r select 0
    }

    test {CLIENT ID is unique and only grows} {
        set first [r client id]
        set other [client]
        assert {[$other client id] > $first}
        assert_equal $first [r client id]
        $other close
    }

    test {CLIENT SETNAME and GETNAME} {
        assert_equal "" [r client getname]
        assert_equal OK [r client setname some-name]
        assert_equal some-name [r client getname]
        foreach bad {"a b" "a\nb" "\x01" "\xc3\xa9"} {
            assert_error {ERR Client names cannot contain spaces, newlines or special characters.} \
                {r client setname $bad}
        }
        assert_equal some-name [r client getname]
        assert_equal OK [r client setname ""]
        assert_equal {null {}} [r send client getname; r typed]
    }

    test {CLIENT SETINFO keeps the library's name and version, in any case} {
        assert_equal OK [r client setinfo LIB-NAME some-lib]
        assert_equal OK [r client setinfo lib-ver 1.2.3]
        set info [client_info r]
        assert_equal some-lib [dict get $info lib-name]
        assert_equal 1.2.3 [dict get $info lib-ver]
        assert_error {ERR LIB-NAME cannot contain spaces, newlines or special characters.} \
            {r client setinfo LIB-NAME "a b"}
        assert_error {ERR Unrecognized option 'nosuch'} {r client setinfo nosuch x}
        assert_equal OK [r client setinfo lib-name ""]
        assert_equal "" [dict get [client_info r] lib-name]
    }

    test {unknown subcommands are errors that do not close the connection} {
        assert_error {ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.} \
            {r client MAINT_NOTIFICATIONS ON moving-endpoint-type external-ip}
        assert_error {ERR wrong number of arguments for 'client' command} {r client}
        assert_error {ERR wrong number of arguments for 'client|setname' command} \
            {r client setname}
        assert_equal PONG [r ping]
    }

    test {CLIENT INFO has Redis's fields in their order} {
        set fields {}
        foreach field [split [string trim [r client info]]] {
            lappend fields [lindex [split_once $field =] 0]
        }
        assert_equal [list {*}{id addr laddr fd name age idle flags db sub psub ssub multi watch
            qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir
            resp lib-name lib-ver io-thread}] $fields
    }

    test {CLIENT LIST counts unread replies once} {
        set lazy [client]
        set id [$lazy client id]
        r set big [string repeat x 4000000]
        for {set i 0} {$i < 12} {incr i} { $lazy send get big }
        flush [$lazy channel]
        wait_for {
            [dict get [client_fields [r client list id $id]] omem] > 20000000
        } {replies that nobody reads}
        set info [client_fields [r client list id $id]]
        assert {[dict get $info tot-mem] > [dict get $info omem]} $info
        # A buffer that grows has room to spare, less than half as much again.
        assert {[dict get $info tot-mem] < 1.5 * [dict get $info omem]} $info
        $lazy close
        r del big
    }

    test {CLIENT INFO tells the truth about this client} {
        r client setname looked-at
        r select 5
        set info [client_info r]
        assert_equal [r client id] [dict get $info id]
        assert_match 127.0.0.1:* [dict get $info addr]
        assert_equal 127.0.0.1:[srv port] [dict get $info laddr]
        assert_equal looked-at [dict get $info name]
        assert_equal 5 [dict get $info db]
        assert_equal N [dict get $info flags]
        assert_equal -1 [dict get $info multi]
        assert_equal client|info [dict get $info cmd]
        assert_equal default [dict get $info user]
        assert_equal 2 [dict get $info resp]
        assert {[dict get $info tot-mem] > 0}
        r select 0
        r client setname ""
    }

    test {CLIENT LIST shows transactions, watched keys and monitors} {
        set c [client]
        set id [$c client id]
        $c watch a b
        $c multi
        $c set a 1
        $c set b 2
        set info [client_fields [r client list id $id]]
        assert_equal x [dict get $info flags]
        assert_equal 2 [dict get $info multi]
        assert_equal 2 [dict get $info watch]
        assert {[dict get $info multi-mem] > 0}
        assert_equal set [dict get $info cmd]
        r set a 1
        assert_equal xd [dict get [client_fields [r client list id $id]] flags]
        $c discard
        assert_equal 0 [dict get [client_fields [r client list id $id]] watch]
        $c monitor
        assert_equal O [dict get [client_fields [r client list id $id]] flags]
        $c close
        r del a
    }

    test {CLIENT LIST filters by type and by ids, in the order asked for} {
        set a [client]
        set b [client]
        set ida [$a client id]
        set idb [$b client id]
        set lines [split [string trim [r client list id $idb 999999 $ida $idb]] \n]
        assert_equal "$idb $ida $idb" \
            [lmap line $lines {dict get [client_fields $line] id}]
        assert_equal 3 [llength [split [string trim [r client list type normal]] \n]]
        assert_equal "" [r client list type pubsub]
        assert_equal "" [r client list type replica]
        assert_equal "" [r client list type master]
        assert_error {ERR Unknown client type 'nosuch'} {r client list type nosuch}
        assert_error {ERR Invalid client ID} {r client list id 1 x}
        assert_error {ERR syntax error} {r client list id}
        assert_error {ERR syntax error} {r client list nosuch}
        $a close
        $b close
    }

    test {CLIENT KILL by address closes that connection} {
        set c [client]
        set addr [dict get [client_info $c] addr]
        assert_equal OK [r client kill $addr]
        assert_equal 1 [$c eof]
        $c close
        assert_error {ERR No such client} {r client kill $addr}
        assert_error {ERR No such client} {r client kill ""}
    }

    test {CLIENT KILL of oneself replies first} {
        set c [client]
        set addr [dict get [client_info $c] addr]
        assert_equal OK [$c client kill $addr]
        assert_equal 1 [$c eof]
        $c close
        set c [client]
        assert_equal 1 [$c client kill id [$c client id] skipme no]
        assert_equal 1 [$c eof]
        $c close
    }

    test {CLIENT KILL spares who asks unless told otherwise} {
        set c [client]
        assert_equal 0 [r client kill id [r client id]]
        assert_equal 1 [r client kill type normal]
        assert_equal 1 [$c eof]
        $c close
        assert_equal PONG [r ping]
    }

    test {CLIENT KILL filters must all hold} {
        set a [client]
        set b [client]
        set addr [dict get [client_info $a] addr]
        assert_equal 0 [r client kill addr $addr id [$b client id]]
        assert_equal 0 [r client kill id [$a client id] maxage 100000]
        assert_equal 0 [r client kill id [$a client id] type pubsub]
        assert_equal 0 [r client kill id [$a client id] laddr 127.0.0.1:1]
        assert_equal 1 [r client kill id [$a client id] addr $addr user default \
            type normal laddr 127.0.0.1:[srv port]]
        assert_equal 1 [$a eof]
        assert_equal PONG [$b ping]
        $a close
        $b close
    }

    test {CLIENT KILL refuses what it does not understand} {
        assert_error {ERR client-id should be greater than 0} {r client kill id 0}
        assert_error {ERR client-id should be greater than 0} {r client kill id x}
        assert_error {ERR Unknown client type 'nosuch'} {r client kill type nosuch}
        assert_error {ERR No such user 'nobody'} {r client kill user nobody}
        assert_error {ERR maxage is not an integer or out of range} {r client kill maxage x}
        assert_error {ERR maxage should be greater than 0} {r client kill maxage 0}
        assert_error {ERR syntax error} {r client kill id 1 skipme}
        assert_error {ERR syntax error} {r client kill id 1 skipme maybe}
        assert_error {ERR syntax error} {r client kill nosuch 1}
    }

    test {CLIENT KILL of a client whose search is under way does no harm} {
        for {set i 0} {$i < 200} {incr i} { r vadd set values 2 $i 1 e$i }
        for {set round 0} {$round < 20} {incr round} {
            set c [client]
            set id [$c client id]
            for {set i 0} {$i < 50} {incr i} { $c send vsim set values 2 1 $i }
            flush [$c channel]
            r client kill id $id
            $c close
        }
        assert_equal 200 [r vcard set]
        r flushall
    }

    test {QUIT replies OK, after the replies before it, and closes} {
        set c [client]
        $c send set k v
        $c send get k
        $c send quit
        $c send set k w
        assert_equal OK [$c read]
        assert_equal v [$c read]
        assert_equal OK [$c read]
        assert_equal 1 [$c eof]
        assert_equal v [r get k]
        $c close
        r vadd s values 2 1 0 e
        set c [client]
        for {set i 0} {$i < 100} {incr i} { $c send vsim s values 2 1 0 }
        $c send quit
        for {set i 0} {$i < 100} {incr i} { assert_equal e [$c read] }
        assert_equal OK [$c read]
        assert_equal 1 [$c eof]
        $c close
        r flushall
    }

    test {RESET makes a connection new again} {
        set c [client]
        $c hello 3
        $c client setname a-name
        $c client setinfo lib-name a-lib
        $c select 4
        $c watch k
        $c multi
        $c set k v
        assert_equal RESET [$c reset]
        set info [client_info $c]
        assert_equal {N 0 -1 0 2} [lmap f {flags db multi watch resp} {dict get $info $f}]
        assert_equal "" [dict get $info name]
        assert_equal a-lib [dict get $info lib-name]
        assert_error {ERR EXEC without MULTI} {$c exec}
        $c close
    }

    test {RESET ends MONITOR} {
        set c [client]
        $c monitor
        $c send reset
        assert_equal RESET [$c read]
        r ping
        assert_equal PONG [$c ping]
        $c close
    }
}

start_server {} {
    test {HELLO without arguments describes the server in the protocol in use} {
        set c [client]
        set hello [$c hello]
        assert_equal {server version proto id mode role modules} \
            [dict keys $hello]
        assert_equal redis [dict get $hello server]
        assert_equal 8.0.6 [dict get $hello version]
        assert_equal 2 [dict get $hello proto]
        assert_equal [$c client id] [dict get $hello id]
        assert_equal standalone [dict get $hello mode]
        assert_equal master [dict get $hello role]
        assert_equal {name vectorset ver 1 path {} args {}} [lindex [dict get $hello modules] 0]
        $c close
    }

    test {HELLO 3 answers a map and changes the replies after it} {
        set c [client]
        assert_equal {null {}} [$c send get nokey; $c typed]
        $c raw "*1\r\n\$5\r\nHELLO\r\n"
        assert_equal array [lindex [$c typed] 0]
        $c send hello 3
        assert_equal map [lindex [$c typed] 0]
        $c raw "GET nokey\r\n"
        assert_equal "_\r\n" [$c rawread 3]
        $c send hello 2
        assert_equal array [lindex [$c typed] 0]
        $c raw "GET nokey\r\n"
        assert_equal "\$-1\r\n" [$c rawread 5]
        $c close
    }

    test {HELLO with a pipeline of searches around it: each in its own protocol} {
        r vadd set values 2 1 0 a
        set c [client]
        for {set round 0} {$round < 20} {incr round} {
            $c send vsim set values 2 1 0 withscores
            $c send hello 3
            $c send vsim set values 2 1 0 withscores
            $c send hello 2
            $c send vsim set values 2 1 0 withscores
            assert_equal {array map map array array} \
                [lmap i {1 2 3 4 5} {lindex [$c typed] 0}]
        }
        $c close
        r del set
    }

    test {HELLO refuses unknown versions and options, changing nothing} {
        assert_error {NOPROTO unsupported protocol version} {r hello 4}
        assert_error {NOPROTO unsupported protocol version} {r hello 1}
        assert_error {ERR Protocol version is not an integer or out of range} {r hello x}
        assert_error {ERR Syntax error in HELLO option 'nosuch'} {r hello 3 nosuch}
        assert_error {ERR Syntax error in HELLO option 'auth'} {r hello 3 auth default}
        assert_error {ERR Syntax error in HELLO option 'setname'} {r hello 3 setname}
        assert_error {ERR Client names cannot contain*} {r hello 3 setname "a b"}
        assert_error {WRONGPASS *} {r hello 3 auth nobody x setname n}
        assert_equal 2 [dict get [client_info r] resp]
        assert_equal "" [r client getname]
    }

    test {HELLO SETNAME and AUTH} {
        r hello 3 setname abc auth default anything
        assert_equal abc [r client getname]
        r hello 2 SetName ""
        assert_equal "" [r client getname]
    }

    test {AUTH without a password configured} {
        assert_error {ERR AUTH <password> called without any password configured*} {r auth x}
        assert_equal OK [r auth default x]
        assert_error {WRONGPASS invalid username-password pair or user is disabled.} {r auth me x}
        assert_error {ERR syntax error} {r auth a b c}
    }
}

start_server {requirepass secret} {
    interp alias {} r {} [client]

    test {without authentication only AUTH, HELLO, QUIT and RESET run} {
        foreach command {{get k} {client id} {command} {multi} {select 1} {config get port}
            {debug sleep 0} {monitor} {vsim k values 1 1} {shutdown nosave}} {
            assert_error {NOAUTH Authentication required.} {r {*}$command}
        }
        assert_error {NOAUTH HELLO must be called with the client already authenticated*} {r hello}
        assert_error {NOAUTH HELLO must be called*} {r hello 3 setname me}
        assert_equal RESET [r reset]
        set c [client]
        assert_equal OK [$c quit]
        $c close
    }

    test {unknown commands and arities are told even before authentication} {
        assert_error {ERR unknown command 'nosuch'*} {r nosuch}
        assert_error {ERR wrong number of arguments for 'get' command} {r get}
    }

    test {wrong passwords and users are refused alike} {
        assert_error {WRONGPASS *} {r auth wrong}
        assert_error {WRONGPASS *} {r auth default wrong}
        assert_error {WRONGPASS *} {r auth other secret}
        assert_error {WRONGPASS *} {r auth default ""}
        assert_error {NOAUTH *} {r ping}
    }

    test {AUTH lets in, and RESET out again} {
        set c [client]
        assert_equal OK [$c auth secret]
        assert_equal PONG [$c ping]
        assert_equal RESET [$c reset]
        assert_error {NOAUTH *} {$c ping}
        assert_equal OK [$c auth default secret]
        assert_equal PONG [$c ping]
        $c close
    }

    test {a wrong password leaves who is in, in} {
        set c [client]
        $c auth secret
        assert_error {WRONGPASS *} {$c auth wrong}
        assert_equal PONG [$c ping]
        $c close
    }

    test {HELLO AUTH lets in and chooses the protocol} {
        set c [client]
        assert_error {WRONGPASS *} {$c hello 3 auth default wrong}
        $c send hello 3 auth default secret setname me
        assert_equal map [lindex [$c typed] 0]
        assert_equal me [$c client getname]
        $c close
    }

    test {before authentication requests are small} {
        set c [client]
        $c raw "*11\r\n"
        assert_error {ERR Protocol error: unauthenticated multibulk length} {$c read}
        assert_equal 1 [$c eof]
        $c close
        set c [client]
        $c raw "*2\r\n\$4\r\nAUTH\r\n\$20000\r\n"
        assert_error {ERR Protocol error: unauthenticated bulk length} {$c read}
        assert_equal 1 [$c eof]
        $c close
        set c [client]
        $c auth secret
        assert_equal [string repeat x 20000] [$c echo [string repeat x 20000]]
        $c close
    }

    test {passwords show neither in MONITOR nor in the slow log} {
        set c [client]
        $c auth secret
        $c config set slowlog-log-slower-than 0
        $c slowlog reset
        set m [client]
        $m auth secret
        $m monitor
        set d [client]
        $d auth secret
        $d auth default secret
        $d hello 2 auth default secret
        catch {$d auth wrong-one}
        $d echo the-end
        set seen ""
        while {![string match *the-end* $seen]} { append seen [$m read] \n }
        append seen [$c slowlog get -1]
        assert {[string match {*(redacted)*} $seen]}
        assert {![string match *secret* $seen]} $seen
        assert {![string match *wrong-one* $seen]} $seen
        $c config set slowlog-log-slower-than 10000
        foreach one {c m d} { [set $one] close }
    }

    test {CONFIG SET shows no password in the slow log, right or wrong, in EXEC or not} {
        set c [client]
        $c auth secret
        $c config set slowlog-log-slower-than 0
        $c slowlog reset
        $c config set maxmemory 0 REQUIREPASS secret
        catch {$c config set requirepass secret maxmemory nonsense}
        catch {$c config set nosuch 1 requirepass secret}
        $c multi
        $c config set requirepass secret
        $c exec
        set entries [lmap e [$c slowlog get -1] {lindex $e 3}]
        assert_equal 4 [llength [lsearch -all -nocase $entries {*requirepass (redacted)*}]]
        assert {{config set maxmemory 0 REQUIREPASS (redacted)} in $entries} $entries
        assert {![string match *secret* $entries]} $entries
        $c config set slowlog-log-slower-than 10000
        $c close
    }

    test {CONFIG SET requirepass holds for new clients and leaves the old ones be} {
        set old [client]
        $old auth secret
        $old config set requirepass other
        assert_equal PONG [$old ping]
        set new [client]
        assert_error {NOAUTH *} {$new ping}
        assert_error {WRONGPASS *} {$new auth secret}
        assert_equal OK [$new auth other]
        $old config set requirepass ""
        set free [client]
        assert_equal PONG [$free ping]
        foreach one {old new free} { [set $one] close }
    }
}
