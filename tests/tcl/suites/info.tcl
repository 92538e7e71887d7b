# INFO: sections, fields, and that the numbers are true.

# The sections of a reply, in order.
proc sections {text} {
    set names {}
    foreach line [split $text \n] {
        if {[regexp {^# (\S+)} $line - name]} { lappend names $name }
    }
    return $names
}

start_server {} {
    test {INFO has the default sections in order, all of them with everything} {
        set default {Server Clients Memory Persistence Stats Vectors Replication CPU Modules
            Errorstats Cluster Keyspace}
        assert_equal [join $default] [sections [r info]]
        assert_equal [join $default] [sections [r info default]]
        set all [linsert [join $default] 9 Commandstats]
        assert_equal $all [sections [r info all]]
        assert_equal $all [sections [r info everything]]
    }

    test {INFO takes sections of any case, each once, and ignores unknown ones} {
        assert_equal {Server Memory} [sections [r info MEMORY server nosuch Server]]
        assert_equal {} [r info nosuch]
        assert_equal "# Cluster\r\ncluster_enabled:0\r\n" [r info cluster]
    }

    test {every line of INFO is a comment, blank, or a field, and no field is there twice} {
        set seen {}
        foreach line [split [string map {\r\n \n} [r info everything]] \n] {
            if {$line eq "" || [string match "# *" $line]} continue
            assert {[regexp {^[a-zA-Z0-9_|-]+:} $line field]} $line
            assert {$field ni $seen} $line
            lappend seen $field
        }
        assert {[llength $seen] > 140}
    }

    test {INFO server tells about the process} {
        assert_equal 8.0.6 [info_field redis_version]
        assert_match *.*.* [info_field vectra_version]
        assert_equal [srv pid] [info_field process_id]
        assert_equal [srv port] [info_field tcp_port]
        assert_equal standalone [info_field redis_mode]
        assert {[regexp {^[0-9a-f]{40}$} [info_field run_id]]}
        assert {[regexp {^[0-9a-f]{40}$} [info_field master_replid]]}
        assert_equal [file normalize [srv dir]/vectra.conf] [info_field config_file]
        assert_equal [file normalize $harness::binary] [info_field executable]
        assert {abs([info_field server_time_usec] / 1000000 - [clock seconds]) < 60}
    }

    test {INFO says what monitoring wants to hear about what does not exist} {
        foreach {field value} {
            role master connected_slaves 0 loading 0 aof_enabled 0 rdb_bgsave_in_progress 0
            cluster_enabled 0 evicted_keys 0 blocked_clients 0 master_repl_offset 0
            rdb_last_bgsave_status ok maxmemory_policy noeviction
        } {
            assert_equal $value [info_field $field] $field
        }
    }

    test {INFO keyspace and vectors count keys and elements} {
        assert_equal "# Keyspace\r\n" [r info keyspace]
        for {set i 0} {$i < 50} {incr i} { r vadd a values 3 $i 1 2 e$i }
        r vadd b values 2 1 1 x
        assert_equal keys=2,expires=0,avg_ttl=0,subexpiry=0 [info_field db0]
        assert_equal {2 51} [list [info_field vector_sets] [info_field vectors]]
        assert_equal 51 [info_field rdb_changes_since_last_save]
    }

    test {searches are counted by where they ran} {
        set earlier [expr {[info_field searches_inline] + [info_field searches_on_workers]}]
        set scored [info_field search_rows_scored]
        r vsim a ele e1
        r vsim a values 3 1 2 3
        assert_equal [expr {$earlier + 2}] \
            [expr {[info_field searches_inline] + [info_field searches_on_workers]}]
        assert_equal [expr {$scored + 100}] [info_field search_rows_scored]
        assert_equal 0 [info_field searches_under_way]
    }

    test {commands are counted with their failures and refusals} {
        r config resetstat
        r ping
        r ping
        catch {r ping a b}
        catch {r vcard}
        assert_match {calls=3,usec=*,usec_per_call=*,rejected_calls=0,failed_calls=1} \
            [info_field cmdstat_ping]
        assert_match {calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0} \
            [info_field cmdstat_VCARD]
    }

    test {errors are counted by their code, and RESETSTAT forgets it all} {
        r config resetstat
        catch {r nosuch}
        catch {r vadd a values 2 1 1 x}
        catch {r vsim a ele nobody}
        assert_equal count=3 [info_field errorstat_ERR]
        assert_equal 3 [info_field total_error_replies]
        r config resetstat
        assert_equal {} [info_field errorstat_ERR]
        assert_equal 0 [info_field total_error_replies]
        assert {[info_field total_commands_processed] <= 4}
    }

    test {bytes and connections are counted} {
        set in [info_field total_net_input_bytes]
        set out [info_field total_net_output_bytes]
        set n [info_field total_connections_received]
        set c [client]
        $c ping [string repeat x 10000]
        assert {[info_field total_net_input_bytes] > $in + 10000}
        assert {[info_field total_net_output_bytes] > $out + 10000}
        assert_equal [expr {$n + 1}] [info_field total_connections_received]
        assert_equal 2 [info_field connected_clients]
        $c close
        wait_for {[info_field connected_clients] == 1}
    }

    test {reads, writes and clients that watch are counted} {
        lassign [list [info_field total_reads_processed] \
                     [info_field total_writes_processed]] reads writes
        set c [client]
        $c watch a b
        $c watch c
        assert_equal {1 3} [list [info_field watching_clients] [info_field total_watched_keys]]
        $c unwatch
        assert_equal {0 0} [list [info_field watching_clients] [info_field total_watched_keys]]
        $c watch a
        $c close
        wait_for {[info_field watching_clients] == 0}
        assert {[info_field total_reads_processed] >= $reads + 4}
        assert {[info_field total_writes_processed] >= $writes + 4}
    }

    test {refused passwords are counted} {
        r config resetstat
        catch {r auth default nonsense}
        r config set requirepass secret
        set c [client]
        catch {$c auth wrong}
        catch {$c hello 3 auth nobody secret}
        $c auth secret
        $c close
        r config set requirepass ""
        assert_equal 2 [info_field acl_access_denied_auth]
        r config resetstat
        assert_equal 0 [info_field acl_access_denied_auth]
    }

    proc pings {n} {
        for {set i 0} {$i < $n} {incr i} { r send ping }
        for {set i 0} {$i < $n} {incr i} { assert_equal PONG [r read] }
        return 1
    }

    test {rates follow what happens and fall again} {
        wait_for {[pings 50] && [info_field instantaneous_ops_per_sec] > 10}
        assert {[info_field instantaneous_input_kbps] > 0}
        assert {[info_field instantaneous_output_kbps] > 0}
        wait_for {[after 250] eq "" && [info_field instantaneous_ops_per_sec] < 10}
    }

    test {used_memory follows the data and the peak stays} {
        set earlier [info_field used_memory]
        set v [string repeat [fp32 {1 2 3 4}] 250]
        for {set i 0} {$i < 2000} {incr i} { r send vadd big fp32 $v e$i noquant }
        for {set i 0} {$i < 2000} {incr i} { r read }
        set full [info_field used_memory]
        assert {$full > $earlier + 2000 * 4000}
        assert {[info_field used_memory_rss] > $full / 2}
        assert {[info_field used_memory_dataset] > 2000 * 4000}
        assert {[info_field used_memory_peak] >= $full}
        r flushall
        wait_for {[info_field used_memory] < $earlier + 1000000}
        wait_for {[info_field lazyfree_pending_objects] == 0}
        assert {[info_field used_memory_peak] >= $full}
        assert_equal {0 0} [list [info_field vector_sets] [info_field vectors]]
    }

    test {memory of clients is added up} {
        wait_for {[info_field mem_clients_normal] > 0}
    }

    test {INFO is a verbatim string in RESP3} {
        r hello 3
        r send info server
        lassign [r typed] type text
        assert_equal verbatim $type
        assert_match "# Server*" $text
        r hello 2
    }

    test {expiry is counted and shown} {
        r config resetstat
        r vadd gone values 2 1 2 e
        r vadd stays values 2 1 2 e
        r expire stays 1000
        assert {[regexp {^keys=2,expires=1,avg_ttl=(1000000|9\d{5}),subexpiry=0$} [info_field db0]]}
        r pexpire gone 1
        wait_for {[info_field expired_keys] == 1}
        assert_equal {} [r keys gone]
    }
}
