//! A set of patients by number, and its bytes.
//!
//! Patients are numbered densely from 0 as a site meets them. In memory a set is one bit a patient. Its bytes are cut
//! into containers of 65,536 patients, each written as whichever is shortest: runs, single numbers, or bits (8 KiB);
//! Chambi et al. 2016, "Better bitmap performance with Roaring bitmaps", section 2.

use std::fmt;

/// Patients of one data set: a set of all of them is at most 1 MiB.
pub const PATIENTS_MAX: u32 = 1 << 23;

const WORD_BITS: u32 = u64::BITS;
/// Patients of one container.
const CONTAINER: u32 = 1 << 16;
const CONTAINER_WORDS: usize = (CONTAINER / WORD_BITS) as usize;
const CONTAINERS_MAX: u32 = PATIENTS_MAX / CONTAINER;
/// The first byte; changes whenever older bytes cannot be read any more.
const FORMAT: u8 = 1;
const RUNS: u8 = 1;
const NUMBERS: u8 = 2;
const BITS: u8 = 3;

/// A set of patients by number.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Cohort {
    /// Bit `n % 64` of word `n / 64`; the last word is never zero.
    words: Vec<u64>,
}

/// Those in a cohort among 64 patients whose numbers follow each other.
#[derive(Clone, Copy)]
pub(super) struct Block(u64);

impl Block {
    pub(super) const PATIENTS: usize = WORD_BITS as usize;

    /// All of them.
    pub(super) fn is_full(self) -> bool {
        self.0 == u64::MAX
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their places in the block, ascending.
    pub(super) fn places(self) -> impl Iterator<Item = usize> {
        let mut bits = self.0;
        std::iter::from_fn(move || {
            let bit = (bits != 0).then(|| bits.trailing_zeros())?;
            bits &= bits - 1;
            Some(bit as usize)
        })
    }
}

/// Bytes that are no cohort, or a number that is no patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CohortError {
    #[error("patient number {0} is above the limit of {PATIENTS_MAX} patients in a data set")]
    TooMany(u32),
    #[error("the cohort is of format {0}, which this build does not know; update it")]
    OtherFormat(u8),
    #[error("the bytes of a cohort end too early")]
    Truncated,
    #[error(
        "the bytes are no cohort: something is out of order, empty or not as it would be written"
    )]
    Malformed,
}

impl Cohort {
    /// The patients `0..count`.
    ///
    /// # Errors
    /// More than [`PATIENTS_MAX`].
    pub fn first(count: u32) -> Result<Self, CohortError> {
        if count > PATIENTS_MAX {
            return Err(CohortError::TooMany(count));
        }
        let mut words = vec![u64::MAX; (count / WORD_BITS) as usize];
        if !count.is_multiple_of(WORD_BITS) {
            words.push((1 << (count % WORD_BITS)) - 1);
        }
        Ok(Self { words })
    }

    /// The set of these patients, in any order.
    ///
    /// # Errors
    /// A number of [`PATIENTS_MAX`] or more.
    pub fn of(patients: impl IntoIterator<Item = u32>) -> Result<Self, CohortError> {
        let mut cohort = Self::default();
        for patient in patients {
            cohort.insert(patient)?;
        }
        Ok(cohort)
    }

    /// Takes one more patient in.
    ///
    /// # Errors
    /// A number of [`PATIENTS_MAX`] or more.
    pub fn insert(&mut self, patient: u32) -> Result<(), CohortError> {
        if patient >= PATIENTS_MAX {
            return Err(CohortError::TooMany(patient));
        }
        let (word, bit) = place(patient);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(bits) = self.words.get_mut(word) {
            *bits |= bit;
        }
        Ok(())
    }

    /// Whether this patient is in it.
    #[must_use]
    pub fn contains(&self, patient: u32) -> bool {
        let (word, bit) = place(patient);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// How many patients.
    #[must_use]
    pub fn len(&self) -> u64 {
        let ones = self.words.iter().map(|bits| u64::from(bits.count_ones()));
        ones.sum()
    }

    /// The number after the greatest; 0 where there is none.
    pub(super) fn end(&self) -> u32 {
        let last = self.words.last().copied().unwrap_or(0);
        // At most PATIENTS_MAX.
        let words = u32::try_from(self.words.len()).unwrap_or(0);
        words * WORD_BITS - last.leading_zeros().min(words * WORD_BITS)
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.words).flat_map(|(word, bits)| {
            let mut bits = *bits;
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros())?;
                bits &= bits - 1;
                Some(word * WORD_BITS + bit)
            })
        })
    }

    /// Keeps those that `keeps` says.
    pub fn retain(&mut self, mut keeps: impl FnMut(u32) -> bool) {
        self.retain_blocks(|_, _| false, &mut keeps);
    }

    /// As [`Cohort::retain`], of 64 patients at once where `keeps_all` says so of a block and those of it who are in.
    pub(super) fn retain_blocks(
        &mut self,
        mut keeps_all: impl FnMut(usize, Block) -> bool,
        mut keeps: impl FnMut(u32) -> bool,
    ) {
        for (word, bits) in (0..).zip(&mut self.words) {
            if keeps_all(word as usize, Block(*bits)) {
                continue;
            }
            let mut rest = *bits;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                if !keeps(word * WORD_BITS + bit) {
                    *bits &= !(1 << bit);
                }
            }
        }
        self.trim();
    }

    /// The patients by blocks of [`Block::PATIENTS`], from the first block on.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.words.iter().map(|bits| Block(*bits))
    }

    /// Its bytes: the same set always has the same.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        for (index, words) in (0_u16..).zip(self.words.chunks(CONTAINER_WORDS)) {
            let runs = runs_of(words);
            let count: u32 = words.iter().map(|bits| bits.count_ones()).sum();
            if count == 0 {
                continue;
            }
            bytes.extend(index.to_le_bytes());
            // Lengths are written less one, so that 65,536 fits; bits have a fixed length.
            let as_runs = 4 * runs.len();
            let as_numbers = 2 * count as usize;
            match as_runs.min(as_numbers).min(8 * CONTAINER_WORDS) {
                least if least == as_runs => {
                    bytes.push(RUNS);
                    bytes.extend(less_one(runs.len() as u64));
                    for (first, last) in runs {
                        bytes.extend(first.to_le_bytes());
                        bytes.extend(last.to_le_bytes());
                    }
                }
                least if least == as_numbers => {
                    bytes.push(NUMBERS);
                    bytes.extend(less_one(u64::from(count)));
                    let numbers = runs.iter().flat_map(|(first, last)| *first..=*last);
                    numbers.for_each(|number| bytes.extend(number.to_le_bytes()));
                }
                _ => {
                    bytes.push(BITS);
                    let padding = std::iter::repeat_n(&0, CONTAINER_WORDS - words.len());
                    for word in words.iter().chain(padding) {
                        bytes.extend(word.to_le_bytes());
                    }
                }
            }
        }
        bytes
    }

    /// The set of these bytes. They may come from anywhere: what is allocated is bounded by [`PATIENTS_MAX`].
    ///
    /// # Errors
    /// They are no cohort, or not written as [`Cohort::to_bytes`] writes it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CohortError> {
        let (&format, mut rest) = bytes.split_first().ok_or(CohortError::Truncated)?;
        if format != FORMAT {
            return Err(CohortError::OtherFormat(format));
        }
        let mut cohort = Self::default();
        while !rest.is_empty() {
            let index = u16::from_le_bytes(take(&mut rest)?);
            let before = cohort.words.len().div_ceil(CONTAINER_WORDS);
            if u32::from(index) >= CONTAINERS_MAX || usize::from(index) < before {
                return Err(CohortError::Malformed);
            }
            cohort.words.resize(usize::from(index) * CONTAINER_WORDS, 0);
            let [kind] = take(&mut rest)?;
            let container = match kind {
                RUNS => read_runs(&mut rest),
                NUMBERS => read_numbers(&mut rest),
                BITS => read_bits(&mut rest),
                _ => return Err(CohortError::Malformed),
            }?;
            cohort.words.extend(container);
            cohort.trim();
            if cohort.words.len() <= usize::from(index) * CONTAINER_WORDS {
                return Err(CohortError::Malformed);
            }
        }
        // One set, one text: what a digest is taken of cannot be written in two ways.
        match cohort.to_bytes() == bytes {
            true => Ok(cohort),
            false => Err(CohortError::Malformed),
        }
    }

    fn trim(&mut self) {
        let used = self.words.iter().rposition(|bits| *bits != 0);
        self.words.truncate(used.map_or(0, |last| last + 1));
    }
}

/// Says how many, never who.
impl fmt::Debug for Cohort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cohort").finish_non_exhaustive()
    }
}

fn place(patient: u32) -> (usize, u64) {
    ((patient / WORD_BITS) as usize, 1 << (patient % WORD_BITS))
}

/// The runs of ones in a container: first and last.
fn runs_of(words: &[u64]) -> Vec<(u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for (word, bits) in (0_u32..).zip(words) {
        let mut bits = *bits;
        while bits != 0 {
            let from = bits.trailing_zeros();
            let length = (bits >> from).trailing_ones();
            bits &= u64::MAX.checked_shl(from + length).unwrap_or(0);
            // A container has 65,536 patients.
            let number = |bit| u16::try_from(word * WORD_BITS + bit).unwrap_or(u16::MAX);
            let (first, last) = (number(from), number(from + length - 1));
            match runs.last_mut() {
                Some((_, before)) if before.checked_add(1) == Some(first) => *before = last,
                _ => runs.push((first, last)),
            }
        }
    }
    runs
}

fn less_one(count: u64) -> [u8; 2] {
    u16::try_from(count.saturating_sub(1))
        .unwrap_or(u16::MAX)
        .to_le_bytes()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], CohortError> {
    let (head, tail) = rest.split_first_chunk().ok_or(CohortError::Truncated)?;
    *rest = tail;
    Ok(*head)
}

fn read_runs(rest: &mut &[u8]) -> Result<Vec<u64>, CohortError> {
    let count = u32::from(u16::from_le_bytes(take(rest)?)) + 1;
    let mut words = vec![0; CONTAINER_WORDS];
    let mut before = None;
    for _ in 0..count {
        let first = u16::from_le_bytes(take(rest)?);
        let last = u16::from_le_bytes(take(rest)?);
        // Ascending, so that no patient is set twice: a few bytes must not be hours of work.
        if before.is_some_and(|before| first <= before) {
            return Err(CohortError::Malformed);
        }
        before = Some(last);
        for number in first..=last {
            set(&mut words, number);
        }
    }
    Ok(words)
}

fn read_numbers(rest: &mut &[u8]) -> Result<Vec<u64>, CohortError> {
    let count = u32::from(u16::from_le_bytes(take(rest)?)) + 1;
    let mut words = vec![0; CONTAINER_WORDS];
    for _ in 0..count {
        set(&mut words, u16::from_le_bytes(take(rest)?));
    }
    Ok(words)
}

fn read_bits(rest: &mut &[u8]) -> Result<Vec<u64>, CohortError> {
    let mut words = Vec::with_capacity(CONTAINER_WORDS);
    for _ in 0..CONTAINER_WORDS {
        words.push(u64::from_le_bytes(take(rest)?));
    }
    Ok(words)
}

fn set(words: &mut [u64], number: u16) {
    let (word, bit) = place(u32::from(number));
    if let Some(bits) = words.get_mut(word) {
        *bits |= bit;
    }
}
