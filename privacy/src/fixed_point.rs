//! Whole numbers of small units, so that sums do not depend on their order; rounding is always against the spender.

/// Pico-nats in a nat.
pub(crate) const PICO: f64 = 1e12;
/// Parts of a probability in one: δ is kept in 1e-18.
pub(crate) const ATTO: f64 = 1e18;

/// A computed bound in nats, in pico-nats and never below it; what is no number of nats is infinite (`u64::MAX`).
pub(crate) fn pico_up(nats: f64) -> u64 {
    units_up(nats, PICO)
}

/// A computed bound in `units`, never below it.
pub(crate) fn units_up(bound: f64, units: f64) -> u64 {
    if bound == 0.0 {
        return 0;
    }
    // The product may have been rounded down, by less than the distance to the next number.
    whole((bound * units).next_up().ceil())
}

/// A declared figure in `units`: the whole number it was meant to be (0.1 is not exactly 0.1), else the next above.
/// Noise is scaled to the whole number, so nothing is lost by meaning it.
pub(crate) fn nearest_up(declared: f64, units: f64) -> u64 {
    let exact = declared * units;
    let nearest = exact.round();
    if (exact - nearest).abs() <= exact * 4.0 * f64::EPSILON {
        whole(nearest)
    } else {
        whole(exact.ceil())
    }
}

/// A computed allowance in pico-nats, never above it; less by one, for the rounding in its computation.
pub(crate) fn pico_down(nats: f64) -> u64 {
    let floor = (nats * PICO).next_down().floor() - 1.0;
    if floor >= 1.0 { whole(floor) } else { 0 }
}

/// Pico-nats to nats, never below.
pub(crate) fn nats_up(pico: u64) -> f64 {
    match pico {
        0 => 0.0,
        u64::MAX => f64::INFINITY,
        pico => (pico as f64 / PICO).next_up(),
    }
}

fn whole(rounded: f64) -> u64 {
    // `as` would make nothing of a NaN or a negative number: the one wrong direction.
    if rounded >= 0.0 && rounded < u64::MAX as f64 {
        rounded as u64
    } else {
        u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_figures_are_the_whole_numbers_they_were_meant_to_be() {
        for tenths in 1..=100_u64 {
            let declared = tenths as f64 / 10.0;
            assert_eq!(nearest_up(declared, PICO), tenths * 100_000_000_000);
        }
        assert_eq!(nearest_up(1.5e-12, PICO), 2);
        assert_eq!(nearest_up(1e-5, ATTO), 10_000_000_000_000);
    }

    #[test]
    fn computed_figures_are_never_below() {
        assert_eq!(pico_up(0.0), 0);
        assert_eq!(pico_up(1e-30), 1);
        assert!(pico_up(0.1) > 100_000_000_000 - 1);
        for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(pico_up(wrong), u64::MAX, "{wrong}");
        }
        assert!(nats_up(123_456_789) >= 123_456_789e-12);
    }
}
