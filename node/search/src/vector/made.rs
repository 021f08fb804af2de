//! Vectors for tests and benchmarks: clustered as texts are, and the same for the same seed.

/// `count` unit vectors around `clusters` centres, one after another. The centres depend on `dimension` alone, so that
/// other seeds give queries for the same collection.
#[must_use]
pub fn clustered(count: usize, dimension: usize, clusters: usize, seed: u64) -> Vec<f32> {
    let mut numbers = Numbers(dimension as u64);
    let centres = (0..clusters.max(1))
        .map(|_| numbers.direction(dimension))
        .collect::<Vec<_>>();
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9).wrapping_add(1));
    let mut vectors = Vec::with_capacity(count * dimension);
    for _ in 0..count {
        let nth = numbers.draw() as usize % centres.len();
        let centre = centres.get(nth).map(Vec::as_slice).unwrap_or_default();
        let noise = numbers.direction(dimension);
        let mixed: Vec<f32> = centre.iter().zip(&noise).map(|(x, y)| x + y).collect();
        vectors.extend(normalised(&mixed));
    }
    vectors
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between 0 and 1.
    pub fn fraction(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A direction that no other is preferred to: normal deviates (Box and Muller, 1958), normalised.
    pub fn direction(&mut self, dimension: usize) -> Vec<f32> {
        let normal = |numbers: &mut Self| {
            let (u, v) = (numbers.fraction().max(1e-12), numbers.fraction());
            ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
        };
        let drawn: Vec<f32> = (0..dimension).map(|_| normal(self)).collect();
        normalised(&drawn)
    }
}

fn normalised(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector
        .iter()
        .map(|x| x / length.max(f32::MIN_POSITIVE))
        .collect()
}
