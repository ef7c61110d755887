//! The table against a model, under streams of random changes.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// A small generator: the tests need spread, not strength.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % bound
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

/// The expiry and the bytes of a value.
type Stored = (Option<u64>, Vec<u8>);

fn put(table: &mut Table<String>, hasher: &Hasher, key: &[u8], value: &Stored) {
    let hash = hasher.hash(key);
    match table.find(hash, key) {
        None => {
            table.insert(hasher, hash, key, Payload::Bytes(&value.1), value.0);
        }
        Some(place) => {
            table.set_bytes(place, &value.1, value.0);
        }
    }
}

fn check(table: &Table<String>, hasher: &Hasher, model: &BTreeMap<Vec<u8>, Stored>) {
    assert_eq!(table.len(), model.len());
    for (key, (expiry, value)) in model {
        let place = table.find(hasher.hash(key), key).expect("the key is there");
        let entry = table.entry(place);
        assert_eq!((entry.key(), entry.bytes(), entry.expiry()), (&key[..], &value[..], *expiry));
    }
    let seen: BTreeSet<Vec<u8>> = table.iter().map(|entry| entry.key().to_vec()).collect();
    assert_eq!(seen.len(), model.len());
    let mut expiring = 0;
    table.scan_expiring(0, usize::MAX, |_| expiring += 1);
    assert_eq!(expiring, model.values().filter(|(expiry, _)| expiry.is_some()).count());
}

#[test]
fn random_changes_leave_what_the_model_has() {
    let hasher = Hasher::new(11);
    for (seed, keys, steps) in [(1, 6, 500), (2, 60, 3000), (3, 900, 9000), (4, 9000, 40_000)] {
        let mut dice = Dice(seed);
        let mut table = Table::<String>::default();
        let mut model = BTreeMap::<Vec<u8>, Stored>::new();
        for step in 0..steps {
            let key = key(dice.below(keys));
            let place = table.find(hasher.hash(&key), &key);
            match (dice.below(if step < steps / 2 { 10 } else { 5 }), place) {
                (0..=2, Some(place)) => {
                    table.remove(place);
                    model.remove(&key);
                }
                (3, Some(place)) => {
                    let expiry = (dice.below(2) == 0).then(|| dice.below(1000));
                    table.set_expiry(place, expiry);
                    model.get_mut(&key).expect("as in the table").0 = expiry;
                }
                (4, Some(place)) => {
                    let len = dice.below(200) as usize;
                    table.resize_bytes(place, len);
                    model.get_mut(&key).expect("as in the table").1.resize(len, 0);
                }
                _ => {
                    let expiry = (dice.below(3) == 0).then(|| dice.below(1000));
                    let value = vec![dice.below(256) as u8; dice.below(150) as usize];
                    put(&mut table, &hasher, &key, &(expiry, value.clone()));
                    model.insert(key, (expiry, value));
                }
            }
        }
        check(&table, &hasher, &model);
        for key in model.keys() {
            let place = table.find(hasher.hash(key), key).expect("the key is there");
            table.remove(place);
        }
        assert_eq!((table.len(), table.memory_bytes()), (0, 0));
    }
}

#[test]
fn a_scan_meets_every_key_that_stays() {
    let hasher = Hasher::new(5);
    for seed in 0..4 {
        let mut dice = Dice(seed);
        let mut table = Table::<String>::default();
        let stay: Vec<_> = (0..500).map(key).collect();
        stay.iter().for_each(|key| put(&mut table, &hasher, key, &(None, b"v".to_vec())));
        let mut met = BTreeSet::new();
        let mut from = Some(0);
        let mut next = 1000;
        while let Some(position) = from {
            from = table.scan(position, 10, |entry| {
                met.insert(entry.key().to_vec());
            });
            // Others come and go, so that the table grows through several sizes and splits.
            for _ in 0..200 {
                let key = key(1000 + dice.below(20_000));
                match table.find(hasher.hash(&key), &key) {
                    Some(place) => drop(table.remove(place)),
                    None => put(&mut table, &hasher, &key, &(None, vec![0; 3])),
                }
                next += 1;
            }
            assert!(next < 1_000_000, "the scan ends");
        }
        assert!(stay.iter().all(|key| met.contains(key)), "seed {seed}");
    }
}

#[test]
fn a_scan_at_rest_meets_every_key_once() {
    let hasher = Hasher::new(6);
    let mut table = Table::<String>::default();
    (0..5000).for_each(|n| put(&mut table, &hasher, &key(n), &(None, vec![1])));
    let mut met = Vec::new();
    let mut from = Some(0);
    while let Some(position) = from {
        from = table.scan(position, 7, |entry| met.push(entry.key().to_vec()));
    }
    let unique: BTreeSet<_> = met.iter().cloned().collect();
    assert_eq!((met.len(), unique.len()), (5000, 5000));
}

#[test]
fn objects_come_back_to_their_owner() {
    let hasher = Hasher::new(1);
    let mut table = Table::<String>::default();
    let hash = hasher.hash(b"k");
    let object = Box::new("first".to_owned());
    let place = table.insert(&hasher, hash, b"k", Payload::Object(object), None);
    table.object_mut(place).expect("an object").push_str(" one");
    table.set_expiry(place, Some(7));
    let old = table.set_object(place, Box::new("second".to_owned()), None);
    assert_eq!(old.as_deref().map(String::as_str), Some("first one"));
    let old = table.set_bytes(place, b"bytes", Some(3));
    assert_eq!(old.as_deref().map(String::as_str), Some("second"));
    assert_eq!(table.entry(place).bytes(), b"bytes");
    assert!(table.remove(place).is_none());
}

#[test]
fn long_keys_are_kept_whole() {
    let hasher = Hasher::new(1);
    let mut table = Table::<String>::default();
    for len in [65_534, 65_535, 65_536, 200_000] {
        let key = vec![b'k'; len];
        put(&mut table, &hasher, &key, &(None, b"v".to_vec()));
        let place = table.find(hasher.hash(&key), &key).expect("the key is there");
        table.set_expiry(place, Some(9));
        assert_eq!(table.entry(place).key(), key);
        assert_eq!((table.entry(place).bytes(), table.entry(place).expiry()), (&b"v"[..], Some(9)));
    }
}

#[test]
fn room_that_was_reserved_is_used_or_given_back() {
    let hasher = Hasher::new(11);
    for (reserved, keys) in [(0, 9), (300, 310), (300, 40), (300, 0), (5000, 2000), (896, 896)] {
        let (mut table, mut grown) = (Table::<String>::default(), Table::default());
        let mut model = BTreeMap::new();
        table.reserve(reserved);
        let row = table.root.bytes();
        for number in 0..keys {
            let (key, value) = (key(number), (None, vec![1; 9]));
            put(&mut table, &hasher, &key, &value);
            put(&mut grown, &hasher, &key, &value);
            model.insert(key, value);
        }
        let same = keys * 17 / 16 < reserved as u64 && reserved < 900;
        assert!(!same || table.root.bytes() == row, "it did not grow");
        table.trim();
        check(&table, &hasher, &model);
        let (bytes, least) = (table.memory_bytes(), grown.memory_bytes());
        assert!(bytes <= least + least / 4, "{reserved} for {keys}: {bytes} and {least}");
    }
}
