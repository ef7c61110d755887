//! HyperLogLogs: about how many different elements were added, in a string of at most 12 KiB.
//!
//! The bytes are those of Redis, so that a string may be read there and set here and the other way
//! round: a head of 16 bytes with the last estimate, then 16,384 registers, each with the longest
//! run of zeros that was seen. Dense, a register takes six bits; sparse, runs of equal registers
//! take one or two bytes.

/// Bytes of the head.
pub const HEAD_BYTES: usize = 16;
const MAGIC: &[u8; 4] = b"HYLL";
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

const INDEX_BITS: u32 = 14;
/// How many registers there are.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// The highest value of a register is one more.
const ZEROS_MAX: usize = 64 - INDEX_BITS as usize;
const REGISTER_BITS: usize = 6;
const DENSE_BYTES: usize = HEAD_BYTES + REGISTERS * REGISTER_BITS / 8;
/// A sparse one that would take more becomes dense.
const SPARSE_BYTES_MAX: usize = 3000;

/// The highest value, and the longest run, that a sparse run of values can say.
const RUN_VALUE_MAX: u8 = 32;
const RUN_LEN_MAX: usize = 4;
/// The longest run of zeros in one byte.
const ZEROS_LEN_MAX: usize = 64;

/// Bytes that look like a HyperLogLog and are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// A HyperLogLog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HyperLogLog {
    bytes: Vec<u8>,
}

/// The registers of several, one byte each.
pub struct Merged {
    registers: Vec<u8>,
    /// Whether one of them was dense.
    dense: bool,
}

impl Default for HyperLogLog {
    /// One to which nothing was added: sparse, and known to be empty.
    fn default() -> Self {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4] = SPARSE;
        push_zeros(&mut bytes, REGISTERS);
        Self { bytes }
    }
}

/// A run of equal registers.
struct Run {
    value: u8,
    len: usize,
    /// How many bytes say it.
    width: usize,
}

fn run_at(runs: &[u8]) -> Option<Run> {
    let first = *runs.first()?;
    let low = usize::from(first & 63);
    Some(match first >> 6 {
        0 => Run { value: 0, len: low + 1, width: 1 },
        1 => Run { value: 0, len: (low << 8 | usize::from(*runs.get(1)?)) + 1, width: 2 },
        _ => Run { value: (first >> 2 & 31) + 1, len: usize::from(first & 3) + 1, width: 1 },
    })
}

fn push_zeros(out: &mut Vec<u8>, len: usize) {
    match len {
        0 => {}
        1..=ZEROS_LEN_MAX => out.push(len as u8 - 1),
        _ => out.extend([64 | ((len - 1) >> 8) as u8, (len - 1) as u8]),
    }
}

fn run_of_values(value: u8, len: usize) -> u8 {
    128 | (value - 1) << 2 | (len as u8 - 1)
}

fn push_run(out: &mut Vec<u8>, value: u8, len: usize) {
    match (value, len) {
        (0, _) => push_zeros(out, len),
        (_, 0) => {}
        _ => out.push(run_of_values(value, len)),
    }
}

/// Which register an element counts in, and the value it has there at least.
fn register_of(element: &[u8]) -> (usize, u8) {
    let hash = hash(element);
    let index = hash as usize & (REGISTERS - 1);
    let rest = hash >> INDEX_BITS | 1 << ZEROS_MAX;
    (index, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash2 in its variant of 64 bits, with the seed of Redis.
fn hash(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut state = 0xadc8_3b19 ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut mixed = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        mixed = (mixed ^ mixed >> SHIFT).wrapping_mul(FACTOR);
        state = (state ^ mixed).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        state = (state ^ tail).wrapping_mul(FACTOR);
    }
    state = (state ^ state >> SHIFT).wrapping_mul(FACTOR);
    state ^ state >> SHIFT
}

impl HyperLogLog {
    /// One from the bytes of a string; none if they have not its form. Whether its runs are whole
    /// shows only when they are read.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let fits = match bytes.get(4) {
            Some(&DENSE) => bytes.len() == DENSE_BYTES,
            Some(&SPARSE) => bytes.len() >= HEAD_BYTES,
            _ => false,
        };
        (fits && bytes.starts_with(MAGIC)).then(|| Self { bytes: bytes.to_vec() })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn is_dense(&self) -> bool {
        self.bytes[4] == DENSE
    }

    /// The last estimate, if nothing has changed since.
    pub fn known_count(&self) -> Option<u64> {
        let bytes = self.bytes[8..HEAD_BYTES].try_into().expect("a head has so many");
        let count = u64::from_le_bytes(bytes);
        (count >> 63 == 0).then_some(count)
    }

    /// Keeps an estimate.
    pub fn keep_count(&mut self, count: u64) {
        self.bytes[8..HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
    }

    /// Says that the last estimate holds no more.
    pub fn forget_count(&mut self) {
        self.bytes[HEAD_BYTES - 1] |= 128;
    }

    /// Adds an element; whether that changed anything.
    pub fn add(&mut self, element: &[u8]) -> Result<bool, Corrupt> {
        let (index, value) = register_of(element);
        self.raise(index, value)
    }

    /// Makes a register at least as high as `value`; whether it was lower.
    fn raise(&mut self, index: usize, value: u8) -> Result<bool, Corrupt> {
        if !self.is_dense() {
            return self.raise_sparse(index, value);
        }
        let lower = self.dense_register(index) < value;
        if lower {
            self.set_dense_register(index, value);
        }
        Ok(lower)
    }

    fn dense_register(&self, index: usize) -> u8 {
        let (byte, shift) = (HEAD_BYTES + index * REGISTER_BITS / 8, index * REGISTER_BITS % 8);
        let high = self.bytes.get(byte + 1).copied().unwrap_or(0);
        (u16::from_le_bytes([self.bytes[byte], high]) >> shift) as u8 & 63
    }

    fn set_dense_register(&mut self, index: usize, value: u8) {
        let (byte, shift) = (HEAD_BYTES + index * REGISTER_BITS / 8, index * REGISTER_BITS % 8);
        let (mask, value) = (63_u16 << shift, u16::from(value) << shift);
        self.bytes[byte] = self.bytes[byte] & !mask as u8 | value as u8;
        if mask >> 8 != 0 {
            let high = &mut self.bytes[byte + 1];
            *high = *high & !(mask >> 8) as u8 | (value >> 8) as u8;
        }
    }

    /// Visits runs of equal registers: the first one, the value, the length.
    fn each_run(&self, mut visit: impl FnMut(usize, u8, usize)) -> Result<(), Corrupt> {
        if self.is_dense() {
            (0..REGISTERS).for_each(|index| visit(index, self.dense_register(index), 1));
            return Ok(());
        }
        let (mut at, mut index) = (HEAD_BYTES, 0);
        while at < self.bytes.len() {
            let run = run_at(&self.bytes[at..]).ok_or(Corrupt)?;
            if index + run.len > REGISTERS {
                return Err(Corrupt);
            }
            visit(index, run.value, run.len);
            (at, index) = (at + run.width, index + run.len);
        }
        if index == REGISTERS { Ok(()) } else { Err(Corrupt) }
    }

    fn make_dense(&mut self) -> Result<(), Corrupt> {
        if self.is_dense() {
            return Ok(());
        }
        let mut dense = Self { bytes: vec![0; DENSE_BYTES] };
        dense.bytes[..HEAD_BYTES].copy_from_slice(&self.bytes[..HEAD_BYTES]);
        dense.bytes[4] = DENSE;
        self.each_run(|index, value, len| {
            if value > 0 {
                (index..index + len).for_each(|index| dense.set_dense_register(index, value));
            }
        })?;
        *self = dense;
        Ok(())
    }

    fn raise_dense(&mut self, index: usize, value: u8) -> Result<bool, Corrupt> {
        self.make_dense()?;
        self.set_dense_register(index, value);
        Ok(true)
    }

    /// The run that holds a register: where its bytes begin, where those of the one before it do,
    /// and its first register.
    fn run_of(&self, index: usize) -> Result<(usize, Option<usize>, usize, Run), Corrupt> {
        let (mut at, mut before, mut first) = (HEAD_BYTES, None, 0);
        loop {
            let run = run_at(&self.bytes[at..]).ok_or(Corrupt)?;
            if index < first + run.len {
                return Ok((at, before, first, run));
            }
            before = Some(at);
            (at, first) = (at + run.width, first + run.len);
        }
    }

    fn raise_sparse(&mut self, index: usize, value: u8) -> Result<bool, Corrupt> {
        if value > RUN_VALUE_MAX {
            return self.raise_dense(index, value);
        }
        let (at, before, first, run) = self.run_of(index)?;
        if run.value >= value {
            return Ok(false);
        }
        let mut runs = Vec::with_capacity(5);
        push_run(&mut runs, run.value, index - first);
        push_run(&mut runs, value, 1);
        push_run(&mut runs, run.value, first + run.len - 1 - index);
        let len = self.bytes.len() + runs.len() - run.width;
        if runs.len() > run.width && len > SPARSE_BYTES_MAX {
            return self.raise_dense(index, value);
        }
        self.bytes.splice(at..at + run.width, runs);
        self.join_runs(before.unwrap_or(HEAD_BYTES));
        self.forget_count();
        Ok(true)
    }

    /// Joins runs of one value near a place that was changed.
    fn join_runs(&mut self, mut at: usize) {
        /// What was changed is not further away than so many steps.
        const STEPS: usize = 5;
        for _ in 0..STEPS {
            let Some(run) = self.bytes.get(at..).and_then(run_at) else { return };
            let next = self.bytes.get(at + run.width..).and_then(run_at);
            match next {
                Some(next)
                    if run.value > 0
                        && next.value == run.value
                        && run.len + next.len <= RUN_LEN_MAX =>
                {
                    self.bytes[at] = run_of_values(run.value, run.len + next.len);
                    self.bytes.remove(at + 1);
                }
                _ => at += run.width,
            }
        }
    }

    /// An estimate of how many different elements were added.
    pub fn count(&self) -> Result<u64, Corrupt> {
        let mut histogram = [0; 64];
        self.each_run(|_, value, len| histogram[usize::from(value)] += len)?;
        Ok(estimate(&histogram))
    }

    /// Makes it hold what has been merged, too.
    pub fn take(&mut self, merged: &Merged) -> Result<(), Corrupt> {
        if merged.dense {
            self.make_dense()?;
        }
        for (index, value) in merged.registers.iter().enumerate() {
            if *value > 0 {
                self.raise(index, *value)?;
            }
        }
        self.forget_count();
        Ok(())
    }
}

impl Default for Merged {
    fn default() -> Self {
        Self { registers: vec![0; REGISTERS], dense: false }
    }
}

impl Merged {
    /// Adds the elements of another one.
    pub fn add(&mut self, other: &HyperLogLog) -> Result<(), Corrupt> {
        self.dense |= other.is_dense();
        other.each_run(|index, value, len| {
            let registers = &mut self.registers[index..index + len];
            registers.iter_mut().for_each(|register| *register = value.max(*register));
        })
    }

    /// An estimate of how many different elements all of them have.
    pub fn count(&self) -> u64 {
        let mut histogram = [0; 64];
        self.registers.iter().for_each(|value| histogram[usize::from(*value)] += 1);
        estimate(&histogram)
    }
}

/// The estimator of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches",
/// of how many registers have each value.
fn estimate(histogram: &[usize; 64]) -> u64 {
    /// 1 / (2 ln 2)
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    let registers = REGISTERS as f64;
    let full = histogram[ZEROS_MAX + 1] as f64;
    let mut sum = registers * tau((registers - full) / registers);
    for value in (1..=ZEROS_MAX).rev() {
        sum = (sum + histogram[value] as f64) * 0.5;
    }
    sum += registers * sigma(histogram[0] as f64 / registers);
    (ALPHA * registers * registers / sum).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * power;
        power += power;
        if sum == before {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut power, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        power *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * power;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_near_the_truth_in_both_forms() {
        let mut counter = HyperLogLog::default();
        for number in 0..100_000_u32 {
            counter.add(format!("element {number}").as_bytes()).unwrap();
            if matches!(number, 99 | 999 | 9_999 | 99_999) {
                let (truth, count) = (f64::from(number + 1), counter.count().unwrap() as f64);
                assert!((count / truth - 1.0).abs() < 0.03, "{count} for {truth}");
            }
        }
        assert!(counter.is_dense());
    }

    #[test]
    fn both_forms_have_the_same_registers() {
        let (mut sparse, mut dense) = (HyperLogLog::default(), HyperLogLog::default());
        dense.make_dense().unwrap();
        for number in 0..700_u32 {
            let name = number.to_le_bytes();
            assert_eq!(sparse.add(&name), dense.add(&name));
        }
        assert!(!sparse.is_dense());
        assert_eq!(sparse.count(), dense.count());
        sparse.make_dense().unwrap();
        assert_eq!(sparse.bytes[HEAD_BYTES..], dense.bytes[HEAD_BYTES..]);
    }

    #[test]
    fn a_merge_has_all_elements() {
        let (mut a, mut b) = (HyperLogLog::default(), HyperLogLog::default());
        let mut both = HyperLogLog::default();
        for number in 0..500_u32 {
            let one = if number % 3 == 0 { &mut a } else { &mut b };
            one.add(&number.to_le_bytes()).unwrap();
            both.add(&number.to_le_bytes()).unwrap();
        }
        let mut merged = Merged::default();
        merged.add(&a).unwrap();
        merged.add(&b).unwrap();
        assert_eq!(merged.count(), both.count().unwrap());
        a.take(&merged).unwrap();
        assert_eq!(a.count(), both.count());
    }

    #[test]
    fn wrong_bytes_are_found() {
        assert_eq!(HyperLogLog::from_bytes(b"HYLL"), None);
        assert_eq!(HyperLogLog::from_bytes(&[b"HYLL\0".as_slice(), &[0; 11]].concat()), None);
        let good = HyperLogLog::default().bytes;
        for len in HEAD_BYTES..good.len() {
            let cut = HyperLogLog::from_bytes(&good[..len]).unwrap();
            assert_eq!(cut.count(), Err(Corrupt), "{len} bytes");
            assert_eq!(cut.clone().add(b"x"), Err(Corrupt));
        }
    }
}
