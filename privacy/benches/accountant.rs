//! How long it takes to price a training of 10,000 steps, to find its noise, and to draw noise.
//!
//! `cargo bench --profile dev -p consilium-privacy`; about ten seconds. Medians over turns, with the least and the
//! most.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::io::{self, Write};
use std::time::Instant;

use consilium_privacy::accountant::{self, sigma_for};
use consilium_privacy::mechanism::{Contribution, gaussian_vector, noisy_count};
use consilium_privacy::{Account, Budget, Cost};

/// As many as a small model has parameters.
const DRAWS: usize = 1000;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut out = io::stdout().lock();
    let budget = Budget::new(3.0, 1e-5)?;

    line(
        &mut out,
        "price 10,000 equal steps, and fit them",
        50,
        || {
            let cost = Cost::subsampled_gaussian(0.01, 1.1, 10_000)?;
            Ok(f64::from(Account::default().fits(&budget, &cost)))
        },
    )?;
    line(
        &mut out,
        "add up 10,000 priced steps, one by one",
        50,
        || {
            let step = Cost::subsampled_gaussian(0.01, 1.1, 1)?;
            let mut account = Account::default();
            (0..10_000).for_each(|_| account.add(&step));
            Ok(account.epsilon(1e-5))
        },
    )?;
    line(
        &mut out,
        "the same over orders 2..=256, 512, 1024",
        20,
        || {
            let at = |order| {
                let step = accountant::rdp_subsampled_gaussian(0.01, 1.1, order);
                (order, step * 10_000.0)
            };
            Ok(accountant::epsilon((2..=256).chain([512, 1024]).map(at), 1e-5).0)
        },
    )?;
    line(&mut out, "find the noise for 10,000 steps", 20, || {
        Ok(sigma_for(&budget, 0.01, 10_000)?)
    })?;
    let price = Cost::pure(0.1)?;
    line(&mut out, "one noisy count", 200, || {
        Ok(noisy_count(100, Contribution::ONCE, &price)?.0 as f64)
    })?;

    let zeros = vec![0; DRAWS];
    for (name, sigma) in [("5", 5.0), ("2^10", 1024.0), ("2^20", 1_048_576.0)] {
        let name = format!("{DRAWS} discrete Gaussian draws at sigma {name}");
        line(&mut out, &name, 60, || {
            let (noisy, _) = gaussian_vector(&zeros, 1.0, sigma)?;
            Ok(noisy.first().copied().unwrap_or(0) as f64)
        })?;
    }
    Ok(())
}

fn line(
    out: &mut impl Write,
    name: &str,
    turns: usize,
    mut work: impl FnMut() -> Outcome<f64>,
) -> Outcome<()> {
    let mut times_us = Vec::with_capacity(turns);
    for _ in 0..turns {
        let started = Instant::now();
        std::hint::black_box(work()?);
        times_us.push(started.elapsed().as_secs_f64() * 1e6);
    }
    times_us.sort_by(f64::total_cmp);
    let at = |place: usize| times_us.get(place).copied().unwrap_or(f64::NAN);
    let (least, median, most) = (at(0), at(turns / 2), at(turns - 1));
    writeln!(
        out,
        "{name:<44} {median:>10.1} µs ({least:.1} to {most:.1})"
    )?;
    Ok(())
}
