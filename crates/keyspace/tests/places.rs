//! What commands on places reply, logged and replayed.

#[path = "shared/node.rs"]
mod node;

use node::{Node, check, check_on};

const SICILY: &str = "GEOADD s 13.361389 38.115556 palermo 15.087269 37.502669 catania => :2";

#[test]
fn places_are_added_and_told() {
    let mut node = Node::new();
    check_on(&mut node, SICILY);
    check_on(
        &mut node,
        "GEOADD s NX 1 1 palermo 13.583333 37.316667 agrigento => :1
        GEOADD s XX CH 1 1 none => :0
        GEOADD s 181 1 a => -ERR invalid longitude,latitude pair 181.000000,1.000000
        GEOADD s 1 1 a 2 => -ERR syntax error
        GEOADD s NX XX 1 1 a => -ERR syntax error
        GEOADD s x 1 a => -ERR value is not a valid float
        ZSCORE s palermo => 3479099956230698
        GEOPOS s palermo none => [[13.36138933897018433 38.11555639549629859] nil]
        GEOPOS s => []
        GEOPOS none a => [nil]
        GEOHASH s palermo catania none => [sqc8b49rny0 sqdtr74hyu0 nil]
        GEODIST s palermo catania => 166274.1516
        GEODIST s palermo catania km => 166.2742
        GEODIST s palermo catania MI => 103.3182
        GEODIST s palermo none => nil
        GEODIST none a b => nil
        GEODIST s palermo catania x => -ERR unsupported unit provided. please use M, KM, FT, MI
        GEODIST s palermo catania m m => -ERR syntax error",
    );
}

#[test]
fn places_near_others_are_found() {
    let mut node = Node::new();
    check_on(&mut node, SICILY);
    check_on(
        &mut node,
        "GEORADIUS s 15 37 200 km ASC => [catania palermo]
        GEORADIUS s 15 37 200 km WITHDIST DESC => [[palermo 190.4424] [catania 56.4413]]
        GEORADIUS s 15 37 200 km COUNT 1 WITHHASH => [[catania :3479447370796909]]
        GEORADIUS s 15 37 1 km => []
        GEORADIUS s 15 37 -1 km => -ERR radius cannot be negative
        GEORADIUS s 15 37 x km => -ERR need numeric radius
        GEORADIUS s 15 37 1 km ANY => -ERR the ANY argument requires COUNT argument
        GEORADIUS s 15 37 1 km COUNT 0 => -ERR COUNT must be > 0
        GEORADIUS_RO s 15 37 1 km STORE {s}2 => -ERR syntax error
        GEORADIUSBYMEMBER s palermo 200 km ASC => [palermo catania]
        GEORADIUSBYMEMBER s none 200 km => -ERR could not decode requested zset member
        GEORADIUSBYMEMBER none a 200 km => []
        GEORADIUS s 15 37 200 km STORE {s}2 => :2
        ZRANGE {s}2 0 -1 => [palermo catania]
        GEORADIUS s 15 37 200 km STOREDIST {s}2 => :2
        ZRANGE {s}2 0 -1 => [catania palermo]
        GEORADIUS s 15 37 9 km STORE {s}2 WITHDIST => -ERR STORE option in GEORADIUS is not \
         compatible with WITHDIST, WITHHASH and WITHCOORD options
        GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHCOORD => [[catania \
         [15.08726745843887329 37.50266842333162032]] [palermo \
         [13.36138933897018433 38.11555639549629859]]]
        GEOSEARCH s FROMMEMBER catania BYRADIUS 1 m => [catania]
        GEOSEARCH s FROMMEMBER catania ASC COUNT 1 => -ERR exactly one of BYRADIUS and BYBOX can \
         be specified for GEOSEARCH
        GEOSEARCH s BYRADIUS 1 m ASC COUNT 1 => -ERR exactly one of FROMMEMBER or FROMLONLAT can \
         be specified for GEOSEARCH
        GEOSEARCHSTORE {s}2 s FROMLONLAT 15 37 BYRADIUS 100 km STOREDIST => :1
        ZRANGE {s}2 0 -1 => [catania]
        GEOSEARCHSTORE {s}2 none FROMLONLAT 15 37 BYRADIUS 100 km => :0
        EXISTS {s}2 => :0
        SET t v => OK
        GEOSEARCH t FROMLONLAT 15 37 BYRADIUS 1 m => -WRONGTYPE Operation against a key holding \
         the wrong kind of value",
    );
}

#[test]
fn a_command_that_stores_names_two_keys() {
    check(
        "GEOADD {a}1 1 1 x => :1
        GEOSEARCHSTORE {a}2 {a}1 FROMMEMBER x BYRADIUS 1 m => :1
        GEOPOS {a}2 x => [[0.99999994039535522 0.99999945914297683]]",
    );
    let command = cairn_keyspace::command::lookup(b"GEORADIUS").expect("a command");
    let line = "GEORADIUS k 1 1 1 m ASC STORE a STOREDIST b";
    let args: cairn_resp::ArgsBuf = line.split(' ').collect();
    let keys: Vec<_> = command.keys_of(args.as_args()).collect();
    assert_eq!(keys, [b"k", b"b"]);
}
