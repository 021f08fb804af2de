//! Vectors in one bit a coordinate, by which a walk passes over most of what it meets.
//!
//! RaBitQ (Gao and Long, 2024, section 3): a row less the centre of all rows is turned by a fixed rotation, and of each
//! coordinate only the sign is kept. With three numbers more its product with a query is estimated without bias, and
//! how far the estimate strays is known. A walk scores by codes only what the estimate leaves a chance to be among its
//! best. A sketch of 384 coordinates is one cache line where a row of codes is six. Nothing of it is stored: it is made
//! from the codes when a segment is opened.

use prefetch_index::prefetch_index;

use super::codes::{Codes, Query};
use super::fast::{self, Kernel, Products};
use super::kernel::CACHE_LINE_BYTES;
use super::pages::Pages;
use super::rotation::Rotation;

/// How many standard deviations above the estimate a row may still be. With 2 a walk scores two in five rows that it
/// meets by codes, with 1 one in three and finds the same, with 0 one in four and finds less (docs/decisions/0013).
const DEVIATIONS: f32 = 1.0;

/// Bits of a query's coordinate: the paper's choice, its section 3.3.
const PLANES: usize = 4;

const LEVELS: u8 = (1 << PLANES) - 1;

/// Words of a cache line.
const LINE_WORDS: usize = CACHE_LINE_BYTES / size_of::<u64>();

/// Words of a [`Correction`], behind the bits of a row.
const CORRECTION_WORDS: usize = 2;

type Line = [u64; LINE_WORDS];

/// Sketches of rows, by node.
#[derive(Default)]
pub(super) struct Sketches {
    dimension: usize,
    rotation: Rotation,
    /// The mean of all rows, turned.
    centre: Vec<f32>,
    /// [`lines_of`] lines a row.
    lines: Pages<Line>,
}

/// A query as sketches are compared with it.
#[derive(Default)]
pub(super) struct Asked {
    /// For each word of a sketch the bits of 64 coordinates' levels, the lowest first.
    planes: Vec<[u64; PLANES]>,
    /// Half of the difference between two levels.
    half_step: f32,
    with_centre: f32,
    /// [`DEVIATIONS`] times the query's distance from the centre.
    doubt: f32,
}

/// What is kept of a row beside its signs.
#[derive(Clone, Copy)]
struct Correction {
    /// By which the product of the signs with a query is multiplied.
    scale: f32,
    /// The product of the row with the centre, beyond the centre's own.
    offset: f32,
    /// Standard deviation of the estimate for a query one away from the centre.
    spread: f32,
}

impl Correction {
    #[inline(always)]
    fn to_words(self) -> [u64; CORRECTION_WORDS] {
        let (scale, offset) = (self.scale.to_bits(), self.offset.to_bits());
        [
            u64::from(scale) | u64::from(offset) << 32,
            u64::from(self.spread.to_bits()),
        ]
    }

    #[inline(always)]
    fn of_words([both, spread]: [u64; CORRECTION_WORDS]) -> Self {
        Self {
            scale: f32::from_bits(both as u32),
            offset: f32::from_bits((both >> 32) as u32),
            spread: f32::from_bits(spread as u32),
        }
    }
}

fn words_of(dimension: usize) -> usize {
    dimension.div_ceil(u64::BITS as usize)
}

fn lines_of(dimension: usize) -> usize {
    (words_of(dimension) + CORRECTION_WORDS).div_ceil(LINE_WORDS)
}

impl Sketches {
    /// Of all rows of `codes`.
    pub(super) fn of(codes: &Codes) -> Self {
        let dimension = codes.dimension();
        let mut sketches = Self {
            dimension,
            rotation: Rotation::new(dimension),
            centre: codes.mean(),
            lines: Pages::with_capacity(codes.len() * lines_of(dimension)),
        };
        sketches.rotation.turn(&mut sketches.centre);
        let mut row = Vec::with_capacity(dimension);
        let mut words = Vec::new();
        for node in 0..codes.len() as u32 {
            row.clear();
            row.extend(codes.coordinates(node));
            sketches.rotation.turn(&mut row);
            sketch(&row, &sketches.centre, &mut words);
            sketches.lines.extend_from_slice(words.as_chunks().0);
        }
        sketches
    }

    pub(super) fn asked(&self, query: &Query<'_>) -> Asked {
        let mut turned: Vec<f32> = query.coordinates().collect();
        self.rotation.turn(&mut turned);
        fast::run(Ask {
            turned,
            centre: &self.centre,
        })
    }

    /// Asks for the lines of a row that will be looked at soon.
    #[inline]
    pub(super) fn ask_for(&self, node: u32) {
        let width = lines_of(self.dimension);
        for line in 0..width {
            prefetch_index(&*self.lines, (node as usize).wrapping_mul(width) + line);
        }
    }

    /// Those of `nodes` that may be more similar to the query than `bar`, in the place of what `kept` held.
    #[inline]
    pub(super) fn sift(
        &self,
        codes: &Codes,
        asked: &Asked,
        nodes: &[u32],
        bar: f32,
        kept: &mut Vec<u32>,
    ) {
        kept.clear();
        fast::run(Sift {
            sketches: self,
            codes,
            asked,
            nodes,
            bar,
            kept,
        });
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Line>() * self.lines.len()
    }
}

/// Puts a turned query into the form that sketches are compared with.
struct Ask<'a> {
    turned: Vec<f32>,
    centre: &'a [f32],
}

impl Kernel for Ask<'_> {
    type Output = Asked;

    #[inline(always)]
    fn call(mut self, _: impl Products) -> Asked {
        let (mut with_centre, mut largest, mut squares) = (0f32, 0f32, 0f32);
        for (x, centre) in self.turned.iter_mut().zip(self.centre) {
            with_centre += *x * centre;
            *x -= centre;
            largest = largest.max(x.abs());
            squares += *x * *x;
        }
        let step = 2.0 * largest.max(f32::MIN_POSITIVE) / f32::from(LEVELS);
        let mut asked = Asked {
            planes: Vec::with_capacity(words_of(self.turned.len())),
            half_step: step / 2.0,
            with_centre,
            doubt: squares.sqrt() * DEVIATIONS,
        };
        let per_step = 1.0 / step;
        for turned in self.turned.chunks(u64::BITS as usize) {
            let mut planes = [0; PLANES];
            for (at, x) in turned.iter().enumerate() {
                // Added to 2²³, a number below 2²² is rounded to the nearest integer and lies in the lowest bits.
                let level = ((x + largest) * per_step + 8_388_608.0).to_bits();
                for (bit, plane) in planes.iter_mut().enumerate() {
                    *plane |= u64::from(level >> bit & 1) << at;
                }
            }
            asked.planes.push(planes);
        }
        asked
    }
}

/// The words of a turned row's lines. With d = row − centre and a = Σ|dᵢ| / (‖d‖ √D), the cosine between d and its
/// signs s: ⟨d, q⟩ is about ⟨s, q⟩ ‖d‖² / Σ|dᵢ|, give or take ‖d‖ ‖q‖ √(1 − a²) / (a √(D − 1)), the standard
/// deviation.
fn sketch(row: &[f32], centre: &[f32], words: &mut Vec<u64>) {
    let dimension = row.len() as f32;
    let (mut sum, mut squares, mut offset) = (0f32, 0f32, 0f32);
    words.clear();
    let chunks = row.chunks(u64::BITS as usize);
    for (row, centre) in chunks.zip(centre.chunks(u64::BITS as usize)) {
        let mut word = 0;
        for (at, (x, centre)) in row.iter().zip(centre).enumerate() {
            let d = x - centre;
            sum += d.abs();
            squares += d * d;
            offset += d * centre;
            word |= u64::from(d > 0.0) << at;
        }
        words.push(word);
    }
    let cosine = (sum / (squares * dimension).sqrt()).min(1.0);
    let is_centre = sum <= 0.0;
    let correction = Correction {
        scale: if is_centre { 0.0 } else { squares / sum },
        offset,
        spread: match is_centre {
            true => 0.0,
            false => {
                (squares * (1.0 - cosine * cosine) / (dimension - 1.0).max(1.0)).sqrt() / cosine
            }
        },
    };
    words.extend(correction.to_words());
    words.resize(lines_of(row.len()) * LINE_WORDS, 0);
}

struct Sift<'a> {
    sketches: &'a Sketches,
    codes: &'a Codes,
    asked: &'a Asked,
    nodes: &'a [u32],
    bar: f32,
    kept: &'a mut Vec<u32>,
}

impl Kernel for Sift<'_> {
    type Output = ();

    /// The widths of the encoders in use, compiled each for itself, and any other.
    #[inline(always)]
    fn call(self, _: impl Products) {
        match self.asked.planes.len() {
            4 => self.of_words::<4>(),
            6 => self.of_words::<6>(),
            12 => self.of_words::<12>(),
            16 => self.of_words::<16>(),
            _ => self.of_any(),
        }
    }
}

impl Sift<'_> {
    #[inline(always)]
    fn of_words<const WORDS: usize>(self) {
        let planes = &self.asked.planes;
        match planes.first_chunk::<WORDS>() {
            Some(planes) => self.by(planes),
            None => self.of_any(),
        }
    }

    #[inline(always)]
    fn of_any(self) {
        let planes = &self.asked.planes;
        self.by(planes);
    }

    /// All lines are asked for before the first is looked at.
    #[inline(always)]
    fn by(self, planes: &[[u64; PLANES]]) {
        let (lines, width) = (&self.sketches.lines, lines_of(self.sketches.dimension));
        let row = |node: u32| {
            let start = (node as usize).wrapping_mul(width);
            lines.get(start..start.wrapping_add(width))
        };
        let whole = f32::from(LEVELS) * self.sketches.dimension as f32;
        for node in self.nodes {
            let Some(words) = row(*node).map(<[Line]>::as_flattened) else {
                continue;
            };
            let differing = differing(words, planes);
            let rest = words
                .get(planes.len()..)
                .and_then(|rest| rest.first_chunk());
            let correction = Correction::of_words(rest.copied().unwrap_or_default());
            let product = (whole - 2.0 * differing as f32) * self.asked.half_step;
            let estimate = product * correction.scale + correction.offset + self.asked.with_centre;
            if estimate + correction.spread * self.asked.doubt > self.bar {
                self.codes.ask_for(*node);
                self.kept.push(*node);
            }
        }
    }
}

/// Bits that differ between a row's signs and each plane, those of a plane twice as heavy as those of the one before:
/// for levels l of LEVELS the product of the signs with 2l − LEVELS is LEVELS · D − 2 · differing.
#[inline(always)]
fn differing(words: &[u64], planes: &[[u64; PLANES]]) -> u32 {
    let mut counts = [0u32; PLANES];
    for (word, planes) in words.iter().zip(planes) {
        for (count, plane) in counts.iter_mut().zip(planes) {
            *count += (word ^ plane).count_ones();
        }
    }
    let mut sum = 0;
    for (bit, count) in counts.into_iter().enumerate() {
        sum += count << bit;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::made::clustered;

    /// Estimates, and what a walk would do with them: the share of rows above the bar that are passed over, and of
    /// those well below that are kept.
    #[test]
    fn what_may_be_above_the_bar_is_kept_and_most_of_the_rest_is_not() {
        for dimension in [24, 256, 384, 500, 768] {
            let (count, nodes) = (500u32, (0..500).collect::<Vec<u32>>());
            let exact = clustered(count as usize + 20, dimension, 10, 1);
            let (asked, stored) = exact.split_at(20 * dimension);
            let codes = Codes::of(dimension, &nodes, stored);
            let sketches = Sketches::of(&codes);
            let (mut above, mut lost, mut below, mut kept_below) = (0, 0, 0, 0);
            let mut kept = Vec::new();
            for asked in asked.chunks(dimension) {
                let dot = |node: u32| -> f32 {
                    let row = &stored[node as usize * dimension..][..dimension];
                    asked.iter().zip(row).map(|(x, y)| x * y).sum()
                };
                let mut products: Vec<f32> = nodes.iter().map(|node| dot(*node)).collect();
                products.sort_unstable_by(|a, b| b.total_cmp(a));
                let bar = products[20];
                let query = Query::new(asked);
                sketches.sift(&codes, &sketches.asked(&query), &nodes, bar, &mut kept);
                for node in &nodes {
                    let is_kept = kept.contains(node);
                    match dot(*node) > bar {
                        true => (above, lost) = (above + 1, lost + u32::from(!is_kept)),
                        false => (below, kept_below) = (below + 1, kept_below + u32::from(is_kept)),
                    }
                }
            }
            assert_eq!(above, 400);
            assert!(lost * 5 < above, "{lost} of {above} lost, {dimension}");
            assert!(
                kept_below * 3 < below,
                "{kept_below} of {below} kept, {dimension}"
            );
        }
    }

    #[test]
    fn the_centre_itself_and_rows_of_one_coordinate_have_sketches() {
        for (dimension, stored) in [(1, vec![1.0, -1.0]), (3, [0.6, 0.0, 0.8].repeat(4))] {
            let nodes: Vec<u32> = (0..(stored.len() / dimension) as u32).collect();
            let codes = Codes::of(dimension, &nodes, &stored);
            let sketches = Sketches::of(&codes);
            let query = Query::new(&stored[..dimension]);
            let mut kept = Vec::new();
            sketches.sift(
                &codes,
                &sketches.asked(&query),
                &nodes,
                f32::NEG_INFINITY,
                &mut kept,
            );
            assert_eq!(kept, nodes);
        }
    }
}
