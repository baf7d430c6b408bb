//! The identity of a model file: a hash that distinguishes models without reading gigabytes.

/// Places in the file that are sampled.
const SAMPLES: u64 = 64;
/// Bytes of each sample.
const SAMPLE_BYTES: u64 = 64 * 1024;

/// Hashes what identifies a model file: its header (up to and with the tensor table), its size, and samples
/// of 64 KiB at 64 places spread evenly from the file's first byte to its last. Lower-case hexadecimal.
///
/// At most 4 MiB beside the header are read, so the page cache is not filled. Models that differ only
/// between the samples have the same hash. `header_length` beyond the end counts as the end.
pub fn identity_hash(file: &[u8], header_length: usize) -> String {
    let size = file.len() as u64;
    let header = file.get(..header_length).unwrap_or(file);
    let mut hasher = blake3::Hasher::new();
    // The lengths keep the parts apart: bytes cannot move from one into the next unnoticed.
    hasher.update(b"slmscope model identity 1\0");
    hasher.update(&size.to_le_bytes());
    hasher.update(&(header.len() as u64).to_le_bytes());
    hasher.update(header);
    let last_start = size.saturating_sub(SAMPLE_BYTES);
    for sample in 0..SAMPLES {
        // In 128 bits, because the product of a size and 63 may leave 64.
        let start = (u128::from(last_start) * u128::from(sample) / u128::from(SAMPLES - 1)) as usize;
        let end = (start + SAMPLE_BYTES as usize).min(file.len());
        hasher.update(&file[start..end]);
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_size_and_both_ends_decide() {
        let file = vec![7_u8; 300_000];
        let hash = identity_hash(&file, 100);
        assert_eq!(hash.len(), 64);
        assert_eq!(hash, identity_hash(&file.clone(), 100));
        assert_ne!(hash, identity_hash(&file, 101));
        assert_ne!(hash, identity_hash(&file[1..], 100));
        for index in [0, file.len() - 1] {
            let mut other = file.clone();
            other[index] ^= 1;
            assert_ne!(hash, identity_hash(&other, 100), "byte {index}");
        }
    }

    #[test]
    fn small_files_are_hashed_whole() {
        let file: Vec<u8> = (0..1000_u32).map(|n| n as u8).collect();
        let hash = identity_hash(&file, 0);
        for index in 0..file.len() {
            let mut other = file.clone();
            other[index] ^= 0x80;
            assert_ne!(hash, identity_hash(&other, 0));
        }
        assert_eq!(identity_hash(&file, usize::MAX), identity_hash(&file, file.len()));
        assert_eq!(identity_hash(&[], 0).len(), 64);
    }
}
