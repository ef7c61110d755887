//! What commands on bits of strings reply, logged and replayed.

#[path = "shared/node.rs"]
mod node;

use node::{Node, check, check_on};

#[test]
fn bits_are_set_counted_and_found() {
    check(
        "SETBIT b 7 1 => :0
        SETBIT b 7 1 => :1
        SETBIT b 9 0 => :0
        STRLEN b => :2
        GETBIT b 7 => :1
        GETBIT b 100 => :0
        GETBIT none 0 => :0
        SETBIT b -1 1 => -ERR bit offset is not an integer or out of range
        SETBIT b 9000000 1 => -ERR bit offset is not an integer or out of range
        SETBIT b 0 2 => -ERR bit is not an integer or out of range
        SET s foobar => OK
        BITCOUNT s => :26
        BITCOUNT s 0 0 => :4
        BITCOUNT s 1 1 BYTE => :6
        BITCOUNT s 5 30 BIT => :17
        BITCOUNT s 7 7 BIT => :0
        BITCOUNT s -2 -3 => :0
        BITCOUNT s 0 => :26
        BITCOUNT none 0 x => -ERR value is not an integer or out of range
        BITCOUNT s 0 1 WORD => -ERR syntax error
        BITCOUNT none 0 => :0
        BITPOS s 1 => :1
        BITPOS s 0 => :0
        BITPOS s 1 2 => :17
        BITPOS s 1 7 15 BIT => :9
        BITPOS s 0 7 7 BIT => :7
        BITPOS s 2 => -ERR The bit argument must be 1 or 0.
        BITPOS none 1 => :-1
        BITPOS none 0 => :0
        SETBIT one 0 1 => :0
        BITOP NOT ones one => :1
        BITOP XOR ones ones one => :1
        BITPOS ones 0 => :8
        BITPOS ones 0 0 -1 => :-1
        BITOP AND to s one => :6
        GETBIT to 0 => :0
        BITOP OR to s none => :6
        BITOP XOR to to => :6
        GET to => foobar
        BITOP NOT to s one => -ERR BITOP NOT must be called with a single source key.
        BITOP NAND to s one => -ERR syntax error
        BITOP AND to none none2 => :0
        EXISTS to => :0
        RPUSH l a => :1
        BITOP AND to l => -WRONGTYPE Operation against a key holding the wrong kind of value
        SETBIT l 0 1 => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn numbers_of_any_width_stand_at_any_bit() {
    check(
        "BITFIELD f INCRBY i5 100 1 GET u4 0 => [:1 :0]
        STRLEN f => :14
        BITFIELD g SET u8 #1 255 GET u8 8 => [:0 :255]
        BITFIELD g INCRBY u8 8 1 => [:0]
        BITFIELD g OVERFLOW SAT INCRBY u8 8 300 INCRBY u8 8 -400 => [:255 :0]
        BITFIELD g OVERFLOW FAIL INCRBY i8 0 127 INCRBY i8 0 1 => [:127 nil]
        BITFIELD g SET i8 0 -1 SET u8 0 -2 GET i8 0 => [:127 :255 :-2]
        BITFIELD g SET i64 3 -9223372036854775808 INCRBY i64 3 -1 => \
         [:-1152921504606846976 :9223372036854775807]
        BITFIELD_RO g GET u1 3 GET i64 3 => [:0 :9223372036854775807]
        BITFIELD_RO g SET u8 0 1 => -ERR BITFIELD_RO only supports the GET subcommand
        BITFIELD none GET u8 0 => [:0]
        EXISTS none => :0
        BITFIELD none OVERFLOW FAIL SET u1 8 2 => [nil]
        STRLEN none => :2
        BITFIELD g GET u64 0 => -ERR Invalid bitfield type. Use something like i16 u8. Note that \
         u64 is not supported but i64 is.
        BITFIELD g GET u8 -1 => -ERR bit offset is not an integer or out of range
        BITFIELD g OVERFLOW NEVER => -ERR Invalid OVERFLOW type specified
        BITFIELD g GET u8 => -ERR syntax error
        BITFIELD g SET u8 0 x => -ERR value is not an integer or out of range",
    );
}

#[test]
fn bits_of_large_strings_change_in_place() {
    let mut node = Node::new();
    node.run(&format!("SET t {}", "x".repeat(20_000)));
    check_on(
        &mut node,
        "EXPIRE t 100 => :1
        SETBIT t 100000 1 => :0
        BITCOUNT t => :80001
        BITFIELD t SET u8 #19999 0 => [:120]
        BITPOS t 0 159980 -1 BIT => :159981
        BITOP XOR zeros t t => :20000
        SETBIT zeros 159000 1 => :0
        BITPOS zeros 1 => :159000
        BITPOS zeros 1 -100 => :-1
        STRLEN t => :20000
        TTL t => :100
        BITOP NOT t t => :20000
        TTL t => :-1",
    );
}
