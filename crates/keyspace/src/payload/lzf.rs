//! Texts that Redis has compressed, in the format of LibLZF: runs of bytes as they are, and copies
//! of what came before.

/// A copy of up to 264 bytes takes three.
const RATIO_MAX: usize = 88;

/// The `len` bytes that were compressed; none if `bytes` are not so many.
pub fn decompress(bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    if len / RATIO_MAX > bytes.len() {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = bytes;
    while let Some((control, behind)) = rest.split_first() {
        let control = usize::from(*control);
        if control < 32 {
            let (run, behind) = behind.split_at_checked(control + 1)?;
            out.extend_from_slice(run);
            rest = behind;
        } else {
            let (more, behind) = match control >> 5 {
                7 => behind.split_first().map(|(more, behind)| (usize::from(*more), behind))?,
                _ => (0, behind),
            };
            let (low, behind) = behind.split_first()?;
            let back = (control & 31) << 8 | usize::from(*low);
            let from = out.len().checked_sub(back + 1)?;
            // A copy may run into what it makes.
            (0..(control >> 5) + more + 2).for_each(|at| out.push(out[from + at]));
            rest = behind;
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_copies_make_the_text() {
        let copy = [2, b'a', b'b', b'c', 0x80, 2, 0, b'!'];
        assert_eq!(decompress(&copy, 10).as_deref(), Some(&b"abcabcabc!"[..]));
        assert_eq!(
            decompress(&[0, b'x', 0xe0, 5, 0], 15).as_deref(),
            Some(&b"xxxxxxxxxxxxxxx"[..])
        );
        for (bytes, len) in [(&copy[..], 9), (&copy[..7], 9), (&copy[..5], 9), (&[0x20, 0][..], 3)]
        {
            assert_eq!(decompress(bytes, len), None);
        }
        assert_eq!(decompress(&copy, usize::MAX), None);
    }
}
