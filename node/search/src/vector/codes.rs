//! Vectors in short: one byte a coordinate. Candidates are found by them.
//!
//! How far each row lies from what its codes say is kept, and so it is known how far a product by codes can lie from
//! the exact one. Who looks at every row that could be among the best loses nothing by the codes.

use prefetch_index::prefetch_index;

use super::fast::{self, Kernel, Products};
use super::kernel;
use super::pages::Pages;
use super::top::Scored;

/// Allowance for what floating-point additions lose, for products of unit vectors of at most 4,096 coordinates.
const ROUNDING: f32 = 1e-4;

/// Rows in ascending order of their ids; node `n` is the `n`-th of them.
#[derive(Default)]
pub(super) struct Codes {
    dimension: usize,
    ids: Vec<u32>,
    /// `dimension` codes a row; a coordinate is about its code times the row's scale.
    codes: Pages<i8>,
    fits: Vec<Fit>,
    /// The codes of the row that is being added.
    added: Vec<i8>,
}

/// How a row and its codes belong together.
#[derive(Debug, Clone, Copy)]
struct Fit {
    scale: f32,
    /// Euclidean length of the row less its codes times the scale.
    residual: f32,
}

/// A query in both forms.
pub(super) struct Query<'a> {
    exact: &'a [f32],
    codes: Vec<i8>,
    fit: Fit,
}

impl<'a> Query<'a> {
    pub(super) fn new(exact: &'a [f32]) -> Self {
        let mut codes = Vec::new();
        let fit = quantise(exact, &mut codes);
        Self { exact, codes, fit }
    }

    pub(super) fn exact(&self) -> &[f32] {
        self.exact
    }

    /// What its codes say.
    pub(super) fn coordinates(&self) -> impl Iterator<Item = f32> {
        coordinates(&self.codes, self.fit.scale)
    }
}

impl Codes {
    /// For `rows` rows of `dimension` coordinates.
    pub(super) fn with_capacity(dimension: usize, rows: usize) -> Self {
        Self {
            dimension,
            ids: Vec::with_capacity(rows),
            codes: Pages::with_capacity(rows * dimension),
            fits: Vec::with_capacity(rows),
            added: Vec::with_capacity(dimension),
        }
    }

    /// From ascending row ids and as many vectors, one after another.
    #[cfg(test)]
    pub(super) fn of(dimension: usize, ids: &[u32], exact: &[f32]) -> Self {
        let mut codes = Self::with_capacity(dimension, ids.len());
        for (id, row) in ids.iter().zip(exact.chunks_exact(dimension)) {
            codes.push(*id, row);
        }
        codes
    }

    /// Adds a row after the last.
    pub(super) fn push(&mut self, id: u32, exact: &[f32]) {
        self.ids.push(id);
        self.fits.push(quantise(exact, &mut self.added));
        self.codes.extend_from_slice(&self.added);
    }

    /// Adds a row of other codes after the last.
    pub(super) fn push_from(&mut self, other: &Self, node: u32) {
        self.ids.push(other.id(node));
        self.codes.extend_from_slice(other.row(node));
        self.fits.push(other.fit(node));
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    #[inline]
    pub(super) fn id(&self, node: u32) -> u32 {
        self.ids.get(node as usize).copied().unwrap_or(u32::MAX)
    }

    pub(super) fn first_and_last(&self) -> Option<(u32, u32)> {
        Some((*self.ids.first()?, *self.ids.last()?))
    }

    #[inline]
    pub(super) fn row(&self, node: u32) -> &[i8] {
        let start = node as usize * self.dimension;
        self.codes
            .get(start..start + self.dimension)
            .unwrap_or_default()
    }

    /// Asks for a row that will be looked at soon.
    #[inline(always)]
    pub(super) fn ask_for(&self, node: u32) {
        kernel::ask_for(&self.codes, self.dimension, node);
        prefetch_index(&self.fits, node as usize);
    }

    #[inline]
    pub(super) fn scale(&self, node: u32) -> f32 {
        self.fit(node).scale
    }

    #[inline]
    fn fit(&self, node: u32) -> Fit {
        const NONE: Fit = Fit {
            scale: 0.0,
            residual: 0.0,
        };
        self.fits.get(node as usize).copied().unwrap_or(NONE)
    }

    /// What the codes of a row say.
    pub(super) fn coordinates(&self, node: u32) -> impl Iterator<Item = f32> {
        coordinates(self.row(node), self.scale(node))
    }

    /// The mean of all rows, by what their codes say.
    pub(super) fn mean(&self) -> Vec<f32> {
        let mut sums = vec![0f64; self.dimension];
        for node in 0..self.len() as u32 {
            for (sum, x) in sums.iter_mut().zip(self.coordinates(node)) {
                *sum += f64::from(x);
            }
        }
        let count = self.len().max(1) as f64;
        sums.into_iter().map(|sum| (sum / count) as f32).collect()
    }

    /// How similar two rows are, by their codes.
    #[inline]
    pub(super) fn similarity(&self, a: u32, b: u32) -> f32 {
        let product = kernel::dot_codes(self.row(a), self.row(b));
        product as f32 * (self.scale(a) * self.scale(b))
    }

    /// A row as a query of its own neighbourhood. It has codes and no exact form.
    pub(super) fn as_query(&self, node: u32) -> Query<'static> {
        Query {
            exact: &[],
            codes: self.row(node).to_vec(),
            fit: self.fit(node),
        }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        4 * self.ids.len() + self.codes.len() + size_of::<Fit>() * self.fits.len()
    }

    /// About how similar `nodes` are to the query, appended to `scored` in their order.
    #[inline]
    pub(super) fn approximate(
        &self,
        query: &Query<'_>,
        nodes: &[u32],
        products: &mut Vec<i32>,
        scored: &mut Vec<Scored>,
    ) {
        kernel::dot_codes_of(&query.codes, &self.codes, nodes, products);
        scored.extend(
            nodes
                .iter()
                .zip(products.iter())
                .map(|(node, product)| Scored {
                    similarity: *product as f32 * (query.fit.scale * self.scale(*node)),
                    node: *node,
                }),
        );
    }

    /// The products of the query's codes with those of `nodes`, for [`Codes::between`].
    pub(super) fn products_of(&self, query: &Query<'_>, nodes: &[u32], products: &mut Vec<i32>) {
        kernel::dot_codes_of(&query.codes, &self.codes, nodes, products);
    }

    /// The same with as many rows from `first` on as `products` is to have.
    pub(super) fn products_from(
        &self,
        query: &Query<'_>,
        first: usize,
        most: usize,
        products: &mut Vec<i32>,
    ) {
        let end = (first + most).min(self.len()) * self.dimension;
        let rows = self
            .codes
            .get(first * self.dimension..end)
            .unwrap_or_default();
        kernel::dot_codes_all(&query.codes, rows, products);
    }

    /// Between what the exact similarity lies, given the product of the codes: for q ≈ q̂ and x ≈ x̂,
    /// |q·x − q̂·x̂| ≤ |q·(x − x̂)| + |(q − q̂)·x̂| ≤ ‖x − x̂‖ + ‖q − q̂‖ ‖x̂‖, and ‖x̂‖ ≤ 1 + ‖x − x̂‖.
    #[inline]
    pub(super) fn between(&self, query: &Query<'_>, node: u32, product: i32) -> Between {
        self.around(
            query,
            node,
            product as f32 * (query.fit.scale * self.scale(node)),
        )
    }

    /// The same, given what [`Codes::approximate`] said.
    #[inline]
    pub(super) fn around(&self, query: &Query<'_>, node: u32, similarity: f32) -> Between {
        let fit = self.fit(node);
        let doubt = fit.residual + query.fit.residual * (1.0 + fit.residual) + ROUNDING;
        Between::around(similarity, doubt)
    }

    /// The same, narrower and at the price of a product in floats: q is taken as it is, and |q·x − q·x̂| ≤ ‖x − x̂‖.
    #[inline]
    pub(super) fn nearly(&self, query: &Query<'_>, node: u32) -> Between {
        let fit = self.fit(node);
        let product = kernel::dot_with_codes(query.exact, self.row(node));
        Between::around(product * fit.scale, fit.residual + ROUNDING)
    }
}

/// Two numbers that an exact similarity lies between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Between {
    pub(super) least: f32,
    pub(super) most: f32,
}

impl Between {
    fn around(middle: f32, doubt: f32) -> Self {
        Self {
            least: middle - doubt,
            most: middle + doubt,
        }
    }
}

fn coordinates(codes: &[i8], scale: f32) -> impl Iterator<Item = f32> {
    codes.iter().map(move |code| f32::from(*code) * scale)
}

/// Symmetric quantisation to one byte a coordinate, in the place of what `codes` held.
fn quantise(exact: &[f32], codes: &mut Vec<i8>) -> Fit {
    codes.clear();
    codes.resize(exact.len(), 0);
    fast::run(Quantise { exact, codes })
}

struct Quantise<'a> {
    exact: &'a [f32],
    codes: &'a mut [i8],
}

impl Kernel for Quantise<'_> {
    type Output = Fit;

    #[inline(always)]
    fn call(self, _: impl Products) -> Fit {
        let mut largest = 0f32;
        for x in self.exact {
            largest = largest.max(x.abs());
        }
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let mut lost = 0f64;
        for (x, code) in self.exact.iter().zip(self.codes) {
            let nearest = (x / scale).round().clamp(-127.0, 127.0);
            lost += f64::from(x - nearest * scale).powi(2);
            *code = nearest as i8;
        }
        Fit {
            scale,
            residual: lost.sqrt() as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vector::unit::UnitVector;

    proptest! {
        #[test]
        fn the_exact_similarity_lies_between(
            vectors in prop::collection::vec(prop::collection::vec(-1f32..1.0, 7), 2..20),
        ) {
            let units: Vec<UnitVector> = vectors.iter().filter_map(|x| UnitVector::parse(x).ok()).collect();
            let Some((asked, stored)) = units.split_first() else { return Ok(()) };
            let exact: Vec<f32> = stored.iter().flat_map(|unit| unit.coordinates()).copied().collect();
            let nodes: Vec<u32> = (0..stored.len() as u32).collect();
            let codes = Codes::of(7, &nodes, &exact);
            let query = Query::new(asked.coordinates());
            let mut products = Vec::new();
            codes.products_of(&query, &nodes, &mut products);
            for ((node, product), unit) in nodes.into_iter().zip(products).zip(stored) {
                let exact = kernel::dot(asked.coordinates(), unit.coordinates());
                for between in [codes.between(&query, node, product), codes.nearly(&query, node)] {
                    prop_assert!(between.least <= exact && exact <= between.most);
                }
            }
        }
    }
}
