//! Dot products, the inner loop of everything here.
//!
//! The code is portable and safe: the compiler vectorises it. Exact products add in one fixed order and never fuse a
//! multiplication with an addition: every machine gets the same bits, and a federated ranking equals the central one.

use super::fast::{self, Kernel};

/// Partial sums of an exact product. Eight AVX registers of four bytes' width hide the latency of an addition.
const LANES: usize = 32;

/// What a processor fetches at once; on others than x86-64 and most of ARM a guess that costs little.
const CACHE_LINE_BYTES: usize = 64;

/// The exact similarity of two unit vectors.
#[must_use]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    fast::run(Exact { a, b })
}

/// About the product of a vector and one of codes, before the scale. Where it rounds is not fixed for ever.
#[must_use]
pub(super) fn dot_with_codes(a: &[f32], b: &[i8]) -> f32 {
    fast::run(Mixed { a, b })
}

/// The product of two vectors of codes. Lies within ±67 million for [`super::limits::DIMENSION_MAX`] coordinates.
#[must_use]
pub(super) fn dot_codes(a: &[i8], b: &[i8]) -> i32 {
    fast::run(Codes { a, b })
}

/// The products of `query` with the rows `nodes` of `codes`, in their order, in the place of what `products` held.
/// All rows are asked for before the first is multiplied. A processor looks some 500 instructions ahead, which is three
/// rows of products but all of the requests; one row after another costs more than twice as much where they are not in
/// the cache.
pub(super) fn dot_codes_of(query: &[i8], codes: &[i8], nodes: &[u32], products: &mut Vec<i32>) {
    products.clear();
    products.resize(nodes.len(), i32::MIN);
    fast::run(Gather {
        query,
        codes,
        nodes,
        products,
    });
}

/// The products of `query` with every row of `codes`, in the place of what `products` held.
pub(super) fn dot_codes_all(query: &[i8], codes: &[i8], products: &mut Vec<i32>) {
    products.clear();
    products.resize(codes.len() / query.len().max(1), i32::MIN);
    fast::run(Stream {
        query,
        codes,
        products,
    });
}

struct Exact<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

struct Mixed<'a> {
    a: &'a [f32],
    b: &'a [i8],
}

struct Codes<'a> {
    a: &'a [i8],
    b: &'a [i8],
}

struct Gather<'a> {
    query: &'a [i8],
    codes: &'a [i8],
    nodes: &'a [u32],
    products: &'a mut [i32],
}

struct Stream<'a> {
    query: &'a [i8],
    codes: &'a [i8],
    products: &'a mut [i32],
}

impl Kernel for Exact<'_> {
    type Output = f32;

    #[inline(always)]
    fn call(self) -> f32 {
        let (a, b) = (self.a.chunks_exact(LANES), self.b.chunks_exact(LANES));
        let rest: f32 = a
            .remainder()
            .iter()
            .zip(b.remainder())
            .map(|(x, y)| x * y)
            .sum();
        let mut sums = [0f32; LANES];
        for (a, b) in a.zip(b) {
            for ((sum, x), y) in sums.iter_mut().zip(a).zip(b) {
                *sum += x * y;
            }
        }
        let mut sum = rest;
        for lane in sums {
            sum += lane;
        }
        sum
    }
}

impl Kernel for Mixed<'_> {
    type Output = f32;

    #[inline(always)]
    fn call(self) -> f32 {
        let (a, b) = (self.a.chunks_exact(LANES), self.b.chunks_exact(LANES));
        let mut sum: f32 = a
            .remainder()
            .iter()
            .zip(b.remainder())
            .map(|(x, y)| x * f32::from(*y))
            .sum();
        let mut sums = [0f32; LANES];
        for (a, b) in a.zip(b) {
            for ((sum, x), y) in sums.iter_mut().zip(a).zip(b) {
                *sum += x * f32::from(*y);
            }
        }
        for lane in sums {
            sum += lane;
        }
        sum
    }
}

impl Kernel for Codes<'_> {
    type Output = i32;

    #[inline(always)]
    fn call(self) -> i32 {
        product(self.a, self.b)
    }
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        std::hint::black_box(asked_for(self.codes, self.query.len(), self.nodes));
        for (product_of, node) in self.products.iter_mut().zip(self.nodes) {
            if let Some(row) = row_of(self.codes, self.query.len(), *node) {
                *product_of = product(self.query, row);
            }
        }
    }
}

/// Reads a byte of each line of the rows. What comes of it is of no use; the lines are on their way.
#[inline(always)]
fn asked_for(codes: &[i8], width: usize, nodes: &[u32]) -> i8 {
    let mut read = 0;
    for node in nodes {
        if let Some(row) = row_of(codes, width, *node) {
            for line in row.chunks(CACHE_LINE_BYTES) {
                read ^= line.first().copied().unwrap_or(0);
            }
        }
    }
    read
}

#[inline(always)]
fn row_of(codes: &[i8], width: usize, node: u32) -> Option<&[i8]> {
    let start = (node as usize).wrapping_mul(width);
    codes.get(start..start.wrapping_add(width))
}

impl Kernel for Stream<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let rows = self.codes.chunks_exact(self.query.len().max(1));
        for (product_of, row) in self.products.iter_mut().zip(rows) {
            *product_of = product(self.query, row);
        }
    }
}

/// A loop and no chain of iterators: what is not inlined here would be compiled without the vector instructions.
#[inline(always)]
fn product(a: &[i8], b: &[i8]) -> i32 {
    let mut sum = 0i32;
    for (x, y) in a.iter().zip(b) {
        // `wrapping_add` because a check for overflow would keep the loop from being vectorised, and none can happen.
        sum = sum.wrapping_add(i32::from(*x) * i32::from(*y));
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn products_of_codes_are_the_sums_of_the_products(
            rows in (1usize..200).prop_flat_map(|width| {
                prop::collection::vec(prop::collection::vec(any::<i8>(), width), 4)
            }),
        ) {
            let naive = |a: &[i8], b: &[i8]| a.iter().zip(b).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum::<i32>();
            let (query, codes) = (&rows[0], rows[1..].concat());
            let expected: Vec<i32> = rows[1..].iter().map(|row| naive(query, row)).collect();
            let (mut all, mut some) = (Vec::new(), Vec::new());
            dot_codes_all(query, &codes, &mut all);
            dot_codes_of(query, &codes, &[2, 0, 9], &mut some);
            prop_assert_eq!(&all, &expected);
            prop_assert_eq!(some, vec![expected[2], expected[0], i32::MIN]);
            prop_assert_eq!(dot_codes(query, &rows[1]), expected[0]);
        }

        /// A ranking must not depend on the hospital's processor.
        #[test]
        fn the_exact_product_is_the_same_with_and_without_vector_instructions(
            pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..500),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            prop_assert_eq!(dot(&a, &b).to_bits(), Exact { a: &a, b: &b }.call().to_bits());
        }
    }
}
