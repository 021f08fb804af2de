//! Dot products, the inner loop of everything here.
//!
//! The code is safe: the compiler vectorises it, or `fast.rs` says how a processor does it best. Exact products add in
//! one fixed order and never fuse a multiplication with an addition: every machine gets the same bits, and a federated
//! ranking equals the central one.

use prefetch_index::prefetch_index;

use super::fast::{self, Kernel, Products};

/// Partial sums of an exact product. Eight AVX registers of four bytes' width hide the latency of an addition.
const LANES: usize = 32;

/// What a processor fetches at once; on others than x86-64 and most of ARM a guess that costs little.
pub(super) const CACHE_LINE_BYTES: usize = 64;

/// Rows that are asked for while one is multiplied. They lie anywhere in memory, and to wait for each takes longer than
/// to multiply it.
const ROWS_AHEAD: usize = 8;

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
    fn call(self, _: impl Products) -> f32 {
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
    fn call(self, _: impl Products) -> f32 {
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
    fn call(self, by: impl Products) -> i32 {
        by.product(self.a, self.b)
    }
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self, by: impl Products) {
        let width = self.query.len();
        let mut coming = self.nodes.iter();
        for node in coming.by_ref().take(ROWS_AHEAD) {
            ask_for(self.codes, width, *node);
        }
        for (product_of, node) in self.products.iter_mut().zip(self.nodes) {
            if let Some(coming) = coming.next() {
                ask_for(self.codes, width, *coming);
            }
            if let Some(row) = row_of(self.codes, width, *node) {
                *product_of = by.product(self.query, row);
            }
        }
    }
}

/// Asks for the row of `node`, which will be multiplied soon.
#[inline(always)]
pub(super) fn ask_for(codes: &[i8], width: usize, node: u32) {
    let start = (node as usize).wrapping_mul(width);
    for line in 0..width.div_ceil(CACHE_LINE_BYTES) {
        prefetch_index(codes, start.wrapping_add(line * CACHE_LINE_BYTES));
    }
}

#[inline(always)]
fn row_of(codes: &[i8], width: usize, node: u32) -> Option<&[i8]> {
    let start = (node as usize).wrapping_mul(width);
    codes.get(start..start.wrapping_add(width))
}

impl Kernel for Stream<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self, by: impl Products) {
        let rows = self.codes.chunks_exact(self.query.len().max(1));
        for (product_of, row) in self.products.iter_mut().zip(rows) {
            *product_of = by.product(self.query, row);
        }
    }
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
            prop_assert_eq!(dot(&a, &b).to_bits(), Exact { a: &a, b: &b }.call(fast::Portable).to_bits());
        }
    }
}
