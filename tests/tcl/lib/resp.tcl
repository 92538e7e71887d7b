# A RESP2/RESP3 client. Replies become Tcl values: arrays lists, maps flat
# lists, nulls the empty string, booleans 1 and 0. An error reply is a Tcl error
# with its text. `resp::typed` keeps the types for tests that look at them.

namespace eval resp {
    variable next 0
}

# Connects; returns the name of a client command:
#   $c CMD ARG...        sends and reads one reply
#   $c send CMD ARG...   only sends        $c read   reads one reply
#   $c raw BYTES         sends bytes       $c typed  reads {type value}
#   $c rawread N         reads N bytes     $c eof    waits for the end: 1 if so
#   $c close             $c channel
proc resp::connect {port {host 127.0.0.1}} {
    variable next
    if {[string match /* $host]} {
        error "unix sockets are tested through redis-cli"
    }
    set chan [socket $host $port]
    fconfigure $chan -translation binary -buffering full -blocking 1
    set name ::resp::client[incr next]
    interp alias {} $name {} ::resp::dispatch $chan $name
    return $name
}

proc resp::dispatch {chan name verb args} {
    switch -- $verb {
        send { resp::write $chan $args }
        read { flush $chan; return [resp::plain [resp::parse $chan]] }
        typed { flush $chan; return [resp::parse $chan] }
        raw { puts -nonewline $chan [lindex $args 0]; flush $chan }
        rawread { flush $chan; return [::read $chan [lindex $args 0]] }
        eof { flush $chan; return [expr {[::read $chan 1] eq "" && [::eof $chan]}] }
        channel { return $chan }
        close { catch {::close $chan}; rename $name {} }
        default {
            resp::write $chan [linsert $args 0 $verb]
            flush $chan
            return [resp::plain [resp::parse $chan]]
        }
    }
}

proc resp::write {chan words} {
    set out "*[llength $words]\r\n"
    foreach w $words {
        # Text goes out as UTF-8; bytes stay what they are.
        if {![string is ascii $w] && [regexp {[^\u0000-\u00ff]} $w]} {
            set w [encoding convertto utf-8 $w]
        }
        append out "\$[string length $w]\r\n$w\r\n"
    }
    puts -nonewline $chan $out
}

proc resp::line {chan} {
    if {[gets $chan line] < 0} {
        error "connection closed"
    }
    return [string trimright $line \r]
}

# One reply as {type value}; aggregates hold such pairs.
proc resp::parse {chan} {
    set line [resp::line $chan]
    set rest [string range $line 1 end]
    switch -- [string index $line 0] {
        + { return [list status $rest] }
        - { return [list error $rest] }
        : { return [list int $rest] }
        , { return [list double $rest] }
        # { return [list bool [expr {$rest eq "t"}]] }
        ( { return [list bignum $rest] }
        _ { return [list null {}] }
        $ - = {
            if {$rest == -1} { return [list null {}] }
            set body [::read $chan $rest]
            ::read $chan 2
            if {[string index $line 0] eq "="} {
                return [list verbatim [string range $body 4 end]]
            }
            return [list bulk $body]
        }
        * - ~ - > {
            if {$rest == -1} { return [list nullarray {}] }
            set items {}
            for {set i 0} {$i < $rest} {incr i} { lappend items [resp::parse $chan] }
            return [list [string map {* array ~ set > push} [string index $line 0]] $items]
        }
        % {
            set items {}
            for {set i 0} {$i < 2 * $rest} {incr i} { lappend items [resp::parse $chan] }
            return [list map $items]
        }
    }
    error "not a reply: $line"
}

proc resp::plain {reply} {
    lassign $reply type value
    switch -- $type {
        error { return -code error -errorcode RESP $value }
        array - set - push - map {
            set out {}
            foreach item $value {
                if {[catch {resp::plain $item} v]} { set v "ERR($v)" }
                lappend out $v
            }
            return $out
        }
    }
    return $value
}
