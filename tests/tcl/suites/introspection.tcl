# COMMAND, HELP, DEBUG, MEMORY, SLOWLOG, MONITOR, ROLE, TIME, SHUTDOWN's errors,
# and the commands about whole databases.

# One entry of COMMAND INFO.
proc entry {command} {
    return [lindex [r command info $command] 0]
}

start_server {enable-debug-command yes} {
    test {COMMAND COUNT counts the entries of COMMAND} {
        set all [r command]
        assert_equal [llength $all] [r command count]
        assert_equal $all [r command info]
        foreach one $all {
            assert_equal 10 [llength $one]
            assert {![string match *|* [lindex $one 0]]}
        }
    }

    test {COMMAND INFO tells what clients need to route and to retry} {
        lassign [entry get] called arity flags first last step categories tips keys subs
        assert_equal {get 2 {readonly fast} 1 1 1} [list $called $arity $flags $first $last $step]
        assert_equal {@read @string @fast} $categories
        set spec [lindex $keys 0]
        assert_equal {RO access} [dict get $spec flags]
        assert_equal {type index spec {index 1}} [dict get $spec begin_search]
        assert_equal {type range spec {lastkey 0 keystep 1 limit 0}} [dict get $spec find_keys]
        assert_equal {} $subs
    }

    test {COMMAND INFO of keys that repeat} {
        lassign [entry MSET] called arity flags first last step
        assert_equal {mset -3 1 -1 2} [list $called $arity $first $last $step]
        assert_equal {lastkey -1 keystep 2 limit 0} [lindex [entry mset] 8 0 5 3]
        assert_equal {1 2} [lrange [entry rename] 3 4]
    }

    test {COMMAND INFO of vector commands: a module's, with real arities} {
        foreach {called arity flag} {VADD -5 write VSIM -4 readonly VREM 3 write VCARD 2 readonly
            VEMB -3 readonly VISMEMBER 3 readonly VMADD -6 write VSEARCH -4 readonly} {
            set one [entry $called]
            assert_equal [list $called $arity 1 1 1] \
                [list [lindex $one 0] [lindex $one 1] {*}[lrange $one 3 5]]
            assert {$flag in [lindex $one 2] && "module" in [lindex $one 2]}
            assert {"@vectorset" in [lindex $one 6]}
        }
    }

    test {COMMAND INFO of a container holds its subcommands} {
        set client [entry client]
        assert_equal {client -2} [lrange $client 0 1]
        set subs [lmap sub [lindex $client 9] {lindex $sub 0}]
        foreach sub {client|id client|list client|kill client|help} { assert {$sub in $subs} }
        assert_equal {client|list -2} [lrange [entry CLIENT|LIST] 0 1]
        assert {"@dangerous" in [lindex [entry client|list] 6]}
    }

    test {COMMAND INFO answers null for what there is not} {
        r send command info nosuch get client|nosuch
        lassign [lindex [r typed] 1] first second third
        assert_equal {null {}} $first
        assert_equal array [lindex $second 0]
        assert_equal {null {}} $third
    }

    test {COMMAND INFO in RESP3 has sets and maps} {
        r hello 3
        r send command info get
        set one [lindex [r typed] 1 0 1]
        assert_equal {set set set set} [lmap i {2 6 7 8} {lindex $one $i 0}]
        assert_equal map [lindex $one 8 1 0 0]
        assert_equal {status readonly} [lindex $one 2 1 0]
        r hello 2
    }

    test {COMMAND LIST, whole and filtered} {
        set all [r command list]
        foreach one {get VADD client client|list config|set} { assert {$one in $all} $one }
        assert_equal [lsort -unique $all] [lsort $all]
        set vectors [r command list filterby module vectorset]
        foreach one $vectors { assert_match V* $one }
        assert {"VSIM" in $vectors && "VSEARCH" in $vectors}
        assert_equal {discard exec multi unwatch watch} \
            [lsort [r command list filterby aclcat transaction]]
        assert_equal $vectors [r command list FILTERBY ACLCAT vectorset]
        assert_equal {client|list} [r command list filterby pattern cl*|li*]
        assert_equal {get getdel getex getrange getset} [lsort [r command list filterby pattern get*]]
        assert_equal {} [r command list filterby module nosuch]
        assert_equal {} [r command list filterby aclcat nosuch]
        foreach bad {{filterby} {filterby nosuch x} {nosuch} {filterby module vectorset x}} {
            assert_error {ERR syntax error} {r command list {*}$bad}
        }
    }

    test {COMMAND GETKEYS finds keys} {
        assert_equal a [r command getkeys get a]
        assert_equal {a c} [r command getkeys mset a 1 c 2]
        assert_equal {a b c} [r command getkeys DEL a b c]
        assert_equal {a b} [r command getkeys rename a b]
        assert_equal s [r command getkeys vsim s values 2 1 0 count 5]
        assert_equal s [r command getkeys vadd s values 2 1 0 e setattr {}]
        assert_equal k [r command getkeys memory usage k]
        assert_equal k [r command getkeys object encoding k]
        assert_equal a [r command getkeys migrate h 1 a 0 10]
        assert_equal {a b} [r command getkeys migrate h 1 "" 0 10 COPY KEYS a b]
        assert_equal {a b} \
            [r command getkeys migrate h 1 "" 0 10 AUTH KEYS KEYS a b]
        assert_equal a [r command getkeys migrate h 1 "" 0 10 AUTH2 KEYS KEYS KEYS a]
        assert_error {ERR Invalid arguments specified for command} \
            {r command getkeys migrate h 1 x 0 10 KEYS a b}
        assert_equal {{b {RW access delete}}} \
            [r command getkeysandflags migrate h 1 "" 0 10 KEYS b]
        assert_error {ERR Invalid command specified} {r command getkeys nosuch a}
        assert_error {ERR Invalid command specified} {r command getkeys client nosuch}
        assert_error {ERR The command has no key arguments} {r command getkeys ping}
        assert_error {ERR The command has no key arguments} {r command getkeys client id}
        assert_error {ERR Invalid number of arguments specified for command} \
            {r command getkeys get}
    }

    test {COMMAND GETKEYSANDFLAGS tells what is done to them} {
        assert_equal {{k {RO access}}} [r command getkeysandflags get k]
        assert_equal {{a {OW update}} {b {OW update}}} \
            [r command getkeysandflags mset a 1 b 2]
        assert_equal {{s {RW update insert}}} \
            [r command getkeysandflags vadd s values 1 1 e]
        assert_equal {{a {RW access delete}} {b {OW update}}} \
            [r command getkeysandflags rename a b]
        assert_equal {{k {OW update}}} [r command getkeysandflags set k v ex 10]
        assert_equal {{k {RW access update}}} [r command getkeysandflags set k v nx get]
    }

    test {COMMAND INFO of keys that are used in two ways, or as other arguments say} {
        lassign [lindex [entry rename] 8] from to
        assert_equal {RW access delete} [dict get $from flags]
        assert_equal {OW update} [dict get $to flags]
        assert_equal {type index spec {index 2}} [dict get $to begin_search]
        set spec [lindex [entry set] 8 0]
        assert_equal {RW access update variable_flags} [dict get $spec flags]
        assert_match {*`GET`*} [dict get $spec notes]
    }

    test {COMMAND INFO has tips for proxies and the flag of what a script must not hold up} {
        assert_equal {request_policy:multi_shard response_policy:agg_sum} [lindex [entry del] 7]
        assert_equal {request_policy:all_shards nondeterministic_output_order} \
            [lindex [entry keys] 7]
        assert_equal nondeterministic_output [lindex [entry object|encoding] 7]
        foreach called {auth hello quit reset multi discard watch unwatch shutdown} {
            assert {"allow_busy" in [lindex [entry $called] 2]} $called
        }
    }

    test {COMMAND DOCS tells what is deprecated and which key is which} {
        set docs [dict get [r command docs setex] setex]
        assert_equal {deprecated 2.6.12 {`SET` with the `EX` argument}} [lmap field \
            {doc_flags deprecated_since replaced_by} { dict get $docs $field }]
        assert {![dict exists [dict get [r command docs set] set] doc_flags]}
        set arguments [dict get [dict get [r command docs rename] rename] arguments]
        assert_equal {0 1} [lmap argument $arguments { dict get $argument key_spec_index }]
    }

    test {every command of COMMAND has its documentation} {
        set docs [r command docs]
        assert_equal [lmap one [r command] {lindex $one 0}] [dict keys $docs]
        dict for {called doc} $docs {
            foreach field {summary since group complexity} {
                assert {[dict get $doc $field] ne ""} "$called $field"
            }
        }
        foreach called {VADD VSIM VSEARCH} {
            assert_equal vectorset [dict get $docs $called module]
            assert_equal module [dict get $docs $called group]
        }
        assert {"client|kill" in [dict keys [dict get $docs client subcommands]]}
    }

    test {COMMAND DOCS of some commands; those there are not are left out} {
        assert_equal {get client|id} [dict keys [r command docs GET nosuch client|id]]
        assert_equal {} [r command docs nosuch]
    }

    test {COMMAND DOCS describes arguments as trees} {
        set arguments [dict get [dict get [r command docs set] set] arguments]
        assert_equal {name key type key display_text key key_spec_index 0} [lindex $arguments 0]
        assert_equal {name value type string display_text value} [lindex $arguments 1]
        assert_equal {name get type pure-token display_text get token GET flags optional} \
            [lindex $arguments 3]
        set expiry [lindex $arguments 4]
        assert_equal oneof [dict get $expiry type]
        assert_equal optional [dict get $expiry flags]
        assert_equal {name seconds type integer display_text seconds token EX} \
            [lindex [dict get $expiry arguments] 0]
        set data [lindex [dict get [dict get [r command docs mset] mset] arguments] 0]
        assert_equal block [dict get $data type]
        assert_equal multiple [dict get $data flags]
        assert_equal {key value} [lmap one [dict get $data arguments] {dict get $one name}]
    }

    test {COMMAND DOCS of VSIM has its options} {
        set arguments [dict get [dict get [r command docs vsim] VSIM] arguments]
        set tokens {}
        foreach one $arguments { if {[dict exists $one token]} { lappend tokens [dict get $one token] } }
        foreach token {COUNT EF EPSILON FILTER FILTER-EF WITHSCORES WITHATTRIBS TRUTH NOTHREAD} {
            assert {$token in $tokens} $token
        }
        set query [lindex $arguments 1]
        assert_equal oneof [dict get $query type]
        assert_equal VALUES [dict get [lindex [dict get $query arguments] end] token]
        assert_equal block [dict get [lindex [dict get $query arguments] end] type]
    }

    test {every container has a HELP that lists its subcommands} {
        foreach one [r command] {
            if {![llength [lindex $one 9]]} continue
            set called [lindex $one 0]
            set lines [r $called help]
            assert_match "[string toupper $called] <subcommand> *. Subcommands are:" [lindex $lines 0]
            foreach sub [lindex $one 9] {
                set word [string toupper [lindex [split [lindex $sub 0] |] 1]]
                assert {[lsearch -glob $lines "$word*"] > 0} "$called $word"
            }
            assert_match {HELP*} [lindex $lines end-1]
            assert_match {    *} [lindex $lines end]
            assert_error "ERR *wrong number of arguments for '*help'*" \
                {r $called help x}
        }
    }

    test {DEBUG and SLOWLOG name what they do not understand as it was sent} {
        set error "ERR unknown subcommand or wrong number of arguments for"
        foreach words {{Foo} {Sleep} {digest x}} {
            assert_error "$error '[lindex $words 0]'. Try DEBUG HELP." \
                {r debug {*}$words}
        }
        assert_error "$error 'Get'. Try SLOWLOG HELP." {r slowlog Get 1 2}
    }

    test {COMMAND INFO has flags in the order of Redis} {
        assert_equal {admin noscript loading stale no_multi allow_busy} \
            [lindex [r command info shutdown] 0 2]
    }

    test {commands that are not there, and containers alone} {
        assert_error {ERR unknown subcommand 'nosuch'. Try COMMAND HELP.} {r command nosuch}
        assert_error {ERR wrong number of arguments for 'memory' command} {r memory}
        assert_error {ERR wrong number of arguments for 'command|count' command} {r command count x}
    }
}

start_server {enable-debug-command yes} {
    test {DBSIZE, FLUSHDB and FLUSHALL} {
        r set a 1
        r select 1
        r set b 1
        r set c 1
        assert_equal 2 [r dbsize]
        assert_equal OK [r flushdb]
        assert_equal 0 [r dbsize]
        r select 0
        assert_equal 1 [r dbsize]
        r select 1
        r set b 1
        assert_equal OK [r flushall]
        assert_equal 0 [r dbsize]
        r select 0
        assert_equal 0 [r dbsize]
        foreach command {flushdb flushall} {
            assert_equal OK [r $command ASYNC]
            assert_equal OK [r $command sync]
            assert_error {ERR syntax error} {r $command nosuch}
            assert_error {ERR syntax error} {r $command sync async}
        }
    }

    test {every key removed counts as a change, and SWAPDB as one} {
        r config resetstat
        set changes [info_field rdb_changes_since_last_save]
        r mset a 1 b 2 c 3
        incr changes [expr {[info_field rdb_changes_since_last_save] - $changes}]
        r swapdb 0 1
        assert_equal [incr changes] [info_field rdb_changes_since_last_save]
        r flushdb
        assert_equal $changes [info_field rdb_changes_since_last_save]
        r flushall
        assert_equal [incr changes 3] [info_field rdb_changes_since_last_save]
    }

    test {SWAPDB exchanges databases for every client} {
        set c [client]
        $c select 1
        r set a zero
        r vadd s values 2 1 0 e
        $c set a one
        assert_equal OK [r swapdb 0 1]
        assert_equal one [r get a]
        assert_equal zero [$c get a]
        assert_equal e [$c vsim s values 2 1 0]
        assert_equal OK [r swapdb 1 1]
        assert_equal zero [$c get a]
        assert_error {ERR invalid first DB index} {r swapdb x 1}
        assert_error {ERR invalid second DB index} {r swapdb 0 x}
        assert_error {ERR DB index is out of range} {r swapdb 0 16}
        assert_error {ERR DB index is out of range} {r swapdb -1 0}
        $c close
        r flushall
    }

    test {FLUSHALL while searches are under way} {
        set c [client]
        for {set round 0} {$round < 10} {incr round} {
            for {set i 0} {$i < 300} {incr i} { r send vadd s values 2 $i 1 e$i }
            for {set i 0} {$i < 300} {incr i} { r read }
            for {set i 0} {$i < 50} {incr i} { $c send vsim s values 2 $i 1 count 3 }
            flush [$c channel]
            r flushall
            for {set i 0} {$i < 50} {incr i} { assert {[llength [$c read]] in {0 3}} }
        }
        $c close
        assert_equal 0 [r dbsize]
    }

    test {TIME is the clock's} {
        lassign [r time] seconds micros
        assert {abs($seconds - [clock seconds]) <= 2}
        assert {$micros >= 0 && $micros < 1000000}
        assert_equal {bulk bulk} [lmap one [lindex [r send time; r typed] 1] {lindex $one 0}]
    }

    test {ROLE is master without replicas} {
        assert_equal {master 0 {}} [r role]
        assert_error {ERR wrong number of arguments for 'role' command} {r role x}
    }

    test {SHUTDOWN refuses what makes no sense, and goes on} {
        assert_error {ERR syntax error} {r shutdown nosuch}
        assert_error {ERR syntax error} {r shutdown save nosave}
        assert_error {ERR syntax error} {r shutdown abort now}
        assert_error {ERR No shutdown in progress.} {r shutdown abort}
        assert_equal PONG [r ping]
    }

    test {MEMORY USAGE follows what a key holds} {
        assert_equal "" [r memory usage nokey]
        r set a 1
        r set b [string repeat x 1000]
        set small [r memory usage a]
        assert {$small > 0 && $small < 200}
        assert {[r memory usage b] >= 1000 + $small - 100}
        r vadd s values 2 1 0 e
        set plain_set [r memory usage s]
        r vsetattr s e "{\"a\":\"[string repeat x 500]\"}"
        assert {[r memory usage s] >= $plain_set + 500}
        for {set i 0} {$i < 1000} {incr i} { r vadd s values 2 $i 1 e$i }
        assert {[r memory usage s samples 0] > $plain_set + 10000}
        assert_error {ERR syntax error} {r memory usage s samples}
        assert_error {ERR syntax error} {r memory usage s samples -1}
        assert_error {ERR syntax error} {r memory usage s nosuch 1}
        assert_error {ERR value is not an integer or out of range} {r memory usage s samples x}
        assert_equal OK [r memory purge]
        r flushall
    }
}

start_server {enable-debug-command yes} {
    test {DEBUG DIGEST is all zero without keys, and equal for equal data} {
        assert_equal [string repeat 0 40] [r debug digest]
        r mset a 1 b 2
        r vadd s values 2 1 0 e
        set digest [r debug digest]
        assert {[regexp {^[0-9a-f]{40}$} $digest]}
        assert {$digest ne [string repeat 0 40]}
        assert_equal $digest [r debug digest]
        r set c 3
        assert {[r debug digest] ne $digest}
        r del c
        assert_equal $digest [r debug digest]
        r swapdb 0 1
        assert {[r debug digest] ne $digest}
        r flushall
        assert_equal [string repeat 0 40] [r debug digest]
    }

    test {DEBUG DIGEST-VALUE leaves the key's name out} {
        r set a hello
        r set b hello
        assert_equal {} [r debug digest-value]
        lassign [r debug digest-value a b nokey] a b none
        assert_equal 36b23a1456b2dce2c3ed252c456761301dba8060 $a
        assert_equal $a $b
        assert_equal [string repeat 0 40] $none
        r expire b 1000
        assert {[r debug digest-value b] ne $b}
        r flushall
    }

    test {digests of vector sets are those of Redis} {
        foreach {precision digest} {
            NOQUANT 4c5fa54b9abf93e6913463c9dabda01e9ade100d
            Q8 23150055431ca161790a8864386eae368a775e55
            BIN f4f12d9e95982afdf0f6f0b0be99d9d5d1332995
        } {
            r vadd s values 2 1 0 a $precision
            r vadd s values 2 0 1 b $precision setattr "{\"y\":1980}"
            assert_equal $digest [r debug digest-value s]
            r del s
            r vadd s values 2 0 1 b $precision
            r vadd s values 2 7 7 c $precision
            r vadd s values 2 1 0 a $precision
            r vrem s c
            r vsetattr s b "{\"y\":1980}"
            assert_equal $digest [r debug digest-value s] "in another order"
            r del s
        }
    }

    test {digests of large sets leave others time, and hold still while written to} {
        set numbers {}
        set elements {}
        for {set i 0} {$i < 40000} {incr i} {
            lappend numbers [expr {$i % 7}] [expr {$i % 11 + 1}]
            lappend elements e$i
        }
        foreach key {s t} { r vmadd $key 40000 FP32 [fp32 $numbers] {*}$elements }
        set digest [r debug digest-value s]
        assert_equal $digest [r debug digest-value t]
        set c [client]
        set between 0
        for {set round 0} {$round < 5} {incr round} {
            $c send debug digest-value s
            flush [$c channel]
            fconfigure [$c channel] -blocking 0
            set got ""
            while {$got eq ""} {
                r vadd s values 2 1 1 other
                r vrem s other
                r vsetattr s e$between "{\"a\":$between}"
                r vsetattr s e$between ""
                incr between
                set got [read [$c channel]]
            }
            fconfigure [$c channel] -blocking 1
            assert_match "*1*+????????????????????????????????????????*" $got
        }
        assert {$between > 5}
        assert_equal $digest [r debug digest-value s]
        $c send debug digest
        r del s t
        assert_equal 40 [string length [$c read]]
        $c send debug digest-value s
        $c close
        r flushall
    }

    test {digests inside a transaction are of one moment} {
        r set a 1
        r multi
        r debug digest
        r set a 2
        r debug digest
        r set a 1
        r debug digest
        lassign [r exec] first - second - third
        assert_equal $first $third
        assert {$first ne $second}
        r flushall
    }

    test {DEBUG OBJECT describes a value in one line} {
        r set a 1
        assert_match {Value at:0x* refcount:1 encoding:int serializedlength:1 lru:* lru_seconds_idle:0} \
            [r debug object a]
        r set a [string repeat x 100]
        assert_match {* encoding:raw serializedlength:100 *} [r debug object a]
        r vadd s values 2 1 0 e
        assert_match {* encoding:raw *} [r debug object s]
        assert_error {ERR no such key} {r debug object nokey}
        r flushall
    }

    test {DEBUG SLEEP takes decimals and holds up everybody} {
        set c [client]
        set at [clock milliseconds]
        r send debug sleep 0.05
        flush [r channel]
        r read
        assert {[clock milliseconds] - $at >= 50}
        assert_equal PONG [$c ping]
        assert_equal OK [r debug sleep 0]
        assert_error {ERR value is not a valid float} {r debug sleep x}
        $c close
    }

    test {DEBUG SET-ACTIVE-EXPIRE stops keys from expiring unseen} {
        assert_equal OK [r debug set-active-expire 0]
        for {set i 0} {$i < 10} {incr i} { r set k$i v px 1 }
        r debug sleep 0.01
        r debug sleep 0.3
        assert_equal 10 [r dbsize]
        assert_equal "" [r get k0]
        assert_equal 9 [r dbsize]
        assert_equal OK [r debug set-active-expire 1]
        wait_for {[r dbsize] == 0}
    }
}

start_server {enable-debug-command no} {
    test {DEBUG is refused unless it is allowed} {
        foreach command {{sleep 0} {digest} {help} {object a} {nosuch}} {
            assert_error {ERR DEBUG command not allowed. If the enable-debug-command option is\
                set to "local", you can run it from a local connection*} {r debug {*}$command}
        }
        assert_error {ERR wrong number of arguments for 'debug' command} {r debug}
    }
}

start_server {enable-debug-command local} {
    test {DEBUG is allowed to local clients when so configured} {
        assert_equal OK [r debug sleep 0]
        assert_error {ERR unknown subcommand or wrong number of arguments for 'nosuch'. Try DEBUG HELP.} {r debug nosuch}
    }
}

start_server {slowlog-log-slower-than 0 enable-debug-command yes} {
    test {SLOWLOG has what was run, newest first} {
        r slowlog reset
        r set a 1
        r get a
        set entries [r slowlog get -1]
        assert_equal {{get a} {set a 1} {slowlog reset}} [lmap one $entries {lindex $one 3}]
        lassign [lindex $entries 0] id at took - addr who
        assert {$id > [lindex $entries 1 0]}
        assert {abs($at - [clock seconds]) <= 2}
        assert {$took >= 0 && $took < 10000000}
        assert_match 127.0.0.1:* $addr
        assert_equal "" $who
        r client setname somebody
        r get a
        assert_equal somebody [lindex [r slowlog get 1] 0 5]
        r client setname ""
    }

    test {SLOWLOG GET gives ten, or as many as asked for} {
        for {set i 0} {$i < 30} {incr i} { r echo $i }
        assert_equal 10 [llength [r slowlog get]]
        assert_equal 3 [llength [r slowlog get 3]]
        assert_equal {} [r slowlog get 0]
        assert {[llength [r slowlog get -1]] > 30}
        assert_error {ERR count should be greater than or equal to -1} {r slowlog get -2}
        assert_error {ERR count should be greater than or equal to -1} {r slowlog get x}
        assert_error {ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP.} \
            {r slowlog get 1 2}
    }

    test {SLOWLOG keeps no more than slowlog-max-len} {
        r config set slowlog-max-len 5
        for {set i 0} {$i < 20} {incr i} { r echo $i }
        assert_equal 5 [r slowlog len]
        assert_equal {slowlog len} [lindex [r slowlog get 1] 0 3]
        r config set slowlog-max-len 2
        r ping
        assert_equal 2 [r slowlog len]
        r config set slowlog-max-len 128
        r slowlog reset
        assert_equal 1 [r slowlog len]
    }

    test {SLOWLOG cuts long arguments and long lists of them} {
        r slowlog reset
        r echo [string repeat x 200]
        assert_equal "[string repeat x 128]... (72 more bytes)" [lindex [r slowlog get 1] 0 3 1]
        r del {*}[lrepeat 100 k]
        set words [lindex [r slowlog get 1] 0 3]
        assert_equal 32 [llength $words]
        assert_equal {... (70 more arguments)} [lindex $words end]
    }

    test {SLOWLOG has searches that ran on other threads, too} {
        for {set i 0} {$i < 50} {incr i} { r vadd s values 2 $i 1 e$i }
        r slowlog reset
        set c [client]
        $c client setname searcher
        $c vsim s values 2 1 1
        $c vsearch s values 2 1 1 k 3
        set entries [lsearch -all -inline -index {3 0} -glob [r slowlog get -1] vs*]
        assert_equal {vsearch vsim} [lmap one $entries {lindex $one 3 0}]
        assert_equal searcher [lindex $entries 0 5]
        # Those whose client is gone have no address.
        $c send vsim s values 2 1 2
        flush [$c channel]
        $c close
        wait_for {[lsearch -index 3 [r slowlog get -1] {vsim s values 2 1 2}] >= 0}
        r flushall
    }

    test {a threshold keeps the quick ones out} {
        r config set slowlog-log-slower-than 200000
        r slowlog reset
        r ping
        r debug sleep 0.3
        assert_equal {{debug sleep 0.3}} [lmap one [r slowlog get] {lindex $one 3}]
        assert {[lindex [r slowlog get] 0 2] >= 300000}
        r config set slowlog-log-slower-than -1
        r slowlog reset
        r debug sleep 0.03
        assert_equal 0 [r slowlog len]
    }
}

start_server {} {
    # Reads from a monitor up to the line of an ECHO of `mark`.
    proc monitored {m mark} {
        r echo $mark
        set lines {}
        while {![string match "*\"$mark\"*" [set line [$m read]]]} { lappend lines $line }
        return $lines
    }

    test {MONITOR shows time, database, address and words} {
        set m [client]
        assert_equal OK [$m monitor]
        r select 3
        r set "key\r\n" "\"quoted\\\x00\x01\xff\t\a\b"
        set lines [monitored $m end1]
        assert {[regexp {^[0-9]+\.[0-9]{6} \[3 127\.0\.0\.1:[0-9]+\] "select" "3"$} [lindex $lines 0]]}
        assert_equal {"set" "key\r\n" "\"quoted\\\x00\x01\xff\t\a\b"} \
            [lindex [regexp -inline {\] (.*)} [lindex $lines 1]] 1]
        r flushall
        r select 0
        $m close
    }

    test {MONITOR leaves out what administers, shows searches and failures} {
        set m [client]
        $m monitor
        r vadd s values 2 1 0 e
        r vsim s values 2 1 0
        r config get port
        r client list
        r slowlog len
        catch {r incr s}
        catch {r nosuch}
        catch {r get}
        set seen [lmap line [monitored $m end2] {lindex [split $line \"] 1}]
        assert_equal {vadd vsim incr} $seen
        r flushall
        $m close
    }

    test {several monitors, each until it goes} {
        set monitors {}
        for {set i 0} {$i < 5} {incr i} {
            set m [client]
            $m monitor
            assert_equal OK [$m monitor]
            lappend monitors $m
        }
        [lindex $monitors 2] close
        r set a 1
        foreach i {0 1 3 4} {
            assert_match {*"set" "a" "1"} [[lindex $monitors $i] read]
            [lindex $monitors $i] close
        }
        wait_for {![string match "* flags=O *" [r client list]]}
        r set a 2
        r del a
    }

    test {MONITOR in a transaction is refused} {
        r multi
        r monitor
        assert_match {*MONITOR isn't allowed*} [r exec]
    }

    test {a monitor that does not read is closed in the end} {
        set m [client]
        set id [$m client id]
        $m monitor
        set megabyte [string repeat x 1000000]
        for {set i 0} {$i < 120 && [r client list id $id] ne ""} {incr i} { r echo $megabyte }
        assert_equal "" [r client list id $id]
        $m close
        assert_equal PONG [r ping]
    }
}
