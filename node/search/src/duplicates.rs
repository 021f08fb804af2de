//! Texts that nearly equal an earlier one, found without comparing all with all.
//!
//! MinHash (Broder, "On the resemblance and containment of documents", 1997) over runs of [`SHINGLE_WORDS`] words, and
//! banding (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", §3.4): texts that agree in all hashes of a band
//! are compared. The same texts in the same order give the same answers everywhere.

use std::collections::HashMap;

use aws_lc_rs::digest;

/// Words in a run. Shorter runs are shared by texts that have nothing in common but a form's phrases.
const SHINGLE_WORDS: usize = 4;
/// Hashes of a text. The similarity that they show has a standard error of 0.03 at 0.9.
const HASHES: usize = 128;
/// How surely a pair that is just similar enough must be compared.
const FOUND_AT_LEAST: f64 = 0.99;
/// Texts that are remembered, at about 600 bytes each. Later ones are still compared with these.
pub const TEXTS_MAX: usize = 1 << 20;

/// Tells of each text whether an earlier one nearly equals it.
pub struct NearDuplicates {
    similarity: f64,
    band_hashes: usize,
    texts_max: usize,
    /// Texts whose words are the same, by 16 bytes of SHA-256: nobody can make a text that hides another.
    equal: HashMap<[u8; 16], u32>,
    /// The first text of each band.
    bands: HashMap<u32, u32>,
    kept: Vec<Kept>,
}

struct Kept {
    id: u32,
    /// The low byte of each hash (b-bit minwise hashing, Li and König, WWW 2010).
    signature: [u8; HASHES],
}

impl NearDuplicates {
    /// `similarity` is the share of runs of words (Jaccard) from which on two texts are nearly equal: 0.5 to 1; what
    /// lies outside is brought within.
    #[must_use]
    pub fn new(similarity: f64) -> Self {
        Self::remembering(similarity, TEXTS_MAX)
    }

    fn remembering(similarity: f64, texts_max: usize) -> Self {
        let similarity = if similarity.is_nan() {
            1.0
        } else {
            similarity.clamp(0.5, 1.0)
        };
        Self {
            similarity,
            band_hashes: band_hashes(similarity),
            texts_max,
            equal: HashMap::new(),
            bands: HashMap::new(),
            kept: Vec::new(),
        }
    }

    /// The id of an earlier text that this one nearly equals. If there is none, the text is remembered as `id`. Case
    /// and punctuation do not count; a text without words equals nothing.
    pub fn seen(&mut self, text: &str, id: u32) -> Option<u32> {
        let words = words(text);
        if words.is_empty() {
            return None;
        }
        let name = name(&words);
        if let Some(earlier) = self.equal.get(&name) {
            return Some(*earlier);
        }
        let hashes = hashes(&words);
        let signature = hashes.map(|hash| hash as u8);
        let bands: Vec<u32> = hashes
            .chunks(self.band_hashes)
            .enumerate()
            .map(|(at, band)| band_key(at, band))
            .collect();
        let earlier = bands
            .iter()
            .filter_map(|band| self.kept.get(*self.bands.get(band)? as usize))
            .find(|kept| alike(&kept.signature, &signature) >= self.similarity);
        if let Some(earlier) = earlier {
            return Some(earlier.id);
        }
        if self.kept.len() < self.texts_max {
            for band in bands {
                self.bands.entry(band).or_insert(self.kept.len() as u32);
            }
            self.equal.insert(name, id);
            self.kept.push(Kept { id, signature });
        }
        None
    }
}

/// The most hashes a band may have so that a pair of this similarity still shares a band almost surely. Longer bands
/// bring fewer pairs to compare.
fn band_hashes(similarity: f64) -> usize {
    [16, 8, 4, 2]
        .into_iter()
        .find(|hashes| {
            let bands = (HASHES / hashes) as i32;
            1.0 - (1.0 - similarity.powi(*hashes as i32)).powi(bands) >= FOUND_AT_LEAST
        })
        .unwrap_or(1)
}

/// The share of equal hashes, less what equal low bytes show by chance.
fn alike(a: &[u8; HASHES], b: &[u8; HASHES]) -> f64 {
    let equal = a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / HASHES as f64;
    let by_chance = 1.0 / 256.0;
    (equal - by_chance) / (1.0 - by_chance)
}

fn words(text: &str) -> Vec<String> {
    text.split(|char: char| !char.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn name(words: &[String]) -> [u8; 16] {
    let mut digest = digest::Context::new(&digest::SHA256);
    for word in words {
        digest.update(word.as_bytes());
        digest.update(b" ");
    }
    let mut name = [0; 16];
    name.copy_from_slice(digest.finish().as_ref().get(..16).unwrap_or(&[0; 16]));
    name
}

/// The least value that each of the hash functions takes over the runs of words.
fn hashes(words: &[String]) -> [u32; HASHES] {
    let numbers: Vec<u64> = words.iter().map(|word| number(word)).collect();
    let runs: Vec<u64> = numbers
        .windows(SHINGLE_WORDS.min(numbers.len().max(1)))
        .map(|run| {
            run.iter()
                .fold(0, |sum: u64, word| mixed(sum.rotate_left(17) ^ word))
        })
        .collect();
    std::array::from_fn(|nth| {
        let (shift, factor) = (mixed(2 * nth as u64), mixed(2 * nth as u64 + 1) | 1);
        let hashes = runs
            .iter()
            .map(|run| ((run ^ shift).wrapping_mul(factor) >> 32) as u32);
        // Mixed once more, since the low bits of the smallest of many are not evenly spread.
        mixed(u64::from(hashes.min().unwrap_or(u32::MAX))) as u32
    })
}

fn band_key(at: usize, band: &[u32]) -> u32 {
    let key = band
        .iter()
        .fold(at as u64 + 1, |key, hash| mixed(key ^ u64::from(*hash)));
    (key >> 32) as u32
}

/// FNV-1a, mixed.
fn number(word: &str) -> u64 {
    let bytes = word.bytes().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mixed(bytes)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finishing step of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(STEP);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A text of numbered words that no other number's text shares.
    fn text(seed: u32, words: u32) -> Vec<String> {
        (0..words)
            .map(|at| {
                format!(
                    "w{}",
                    mixed(u64::from(seed) << 32 | u64::from(at)) % 100_000
                )
            })
            .collect()
    }

    fn shared(a: &[String], b: &[String]) -> f64 {
        let runs = |words: &[String]| {
            words
                .windows(SHINGLE_WORDS)
                .map(<[String]>::to_vec)
                .collect::<BTreeSet<_>>()
        };
        let (a, b) = (runs(a), runs(b));
        a.intersection(&b).count() as f64 / a.union(&b).count() as f64
    }

    #[test]
    fn a_note_that_was_copied_with_another_date_is_found() {
        let mut near = NearDuplicates::new(0.8);
        let note = text(1, 200);
        let mut copied = note.clone();
        copied[100] = "tuesday".to_owned();
        assert_eq!(near.seen(&note.join(" "), 10), None);
        assert_eq!(near.seen(&copied.join(" "), 11), Some(10));
        assert_eq!(near.seen(&text(2, 200).join(" "), 12), None);
        assert_eq!(near.seen("", 13), None);
        assert_eq!(near.seen("...", 14), None);
        assert_eq!(near.seen("Asthma.", 15), None);
        assert_eq!(near.seen("asthma", 16), Some(15));
    }

    #[test]
    fn nearly_all_pairs_above_the_bar_are_found_and_nearly_none_below() {
        let (mut found, mut above, mut wrong, mut below) = (0, 0, 0, 0);
        for seed in 0..400 {
            let one = text(seed, 150);
            let mut other = one.clone();
            for change in 0..seed as usize % 20 {
                let at = mixed(u64::from(seed * 100) + change as u64) as usize % other.len();
                other[at] = format!("x{seed}-{change}");
            }
            let similarity = shared(&one, &other);
            let mut near = NearDuplicates::new(0.8);
            near.seen(&one.join(" "), 1);
            let is_found = near.seen(&other.join(" "), 2).is_some();
            // What lies within two standard errors of the bar may go either way.
            if similarity > 0.88 {
                (above, found) = (above + 1, found + usize::from(is_found));
            } else if similarity < 0.72 {
                (below, wrong) = (below + 1, wrong + usize::from(is_found));
            }
        }
        assert!(above > 40 && below > 100, "{above} {below}");
        assert!(found * 100 >= above * 97, "{found} of {above}");
        assert!(wrong * 100 <= below * 3, "{wrong} of {below}");
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut near = NearDuplicates::remembering(0.9, 3);
        for id in 0..50 {
            near.seen(&text(id, 30).join(" "), id);
        }
        assert_eq!(near.kept.len(), 3);
        assert!(near.bands.len() <= 3 * HASHES && near.equal.len() == 3);
        assert_eq!(near.seen(&text(2, 30).join(" "), 99), Some(2));
        assert_eq!(near.seen(&text(3, 30).join(" "), 99), None);
    }

    proptest! {
        #[test]
        fn an_equal_text_is_always_found_and_the_answers_are_the_same_again(
            texts in prop::collection::vec("[a-c ]{0,12}", 0..30),
            similarity in 0.0f64..1.2,
        ) {
            let answers = |texts: &[String]| {
                let mut near = NearDuplicates::new(similarity);
                texts.iter().enumerate().map(|(id, text)| near.seen(text, id as u32)).collect::<Vec<_>>()
            };
            let twice: Vec<String> = texts.iter().chain(&texts).cloned().collect();
            let found = answers(&twice);
            for (at, text) in twice.iter().enumerate() {
                if let Some(earlier) = found[at] {
                    prop_assert!((earlier as usize) < at && found[earlier as usize].is_none());
                } else if at >= texts.len() {
                    prop_assert!(words(text).is_empty());
                }
            }
            prop_assert_eq!(answers(&twice), found);
        }
    }
}
