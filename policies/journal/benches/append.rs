//! Appends a second and fsyncs for 1, 8 and 64 threads, and how long 100,000 entries take to open.
//!
//! `cargo bench --profile dev -p consilium-journal` (in the folder of `TMPDIR`: a memory file
//! system measures no disk). An fsync's time depends on what else the disk has just done, so the
//! thread counts take turns, in an order that turns too, and the spread is printed. Run it on an idle
//! machine: on a busy one a lone thread mostly waits for a processor after each fsync, and the figures
//! for one thread say more about the machine than about the journal.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use consilium_journal::storage::{Breaking, Disk, Verb};
use consilium_journal::{Journal, JournalError, Limits, read, verify};

const THREADS: [u64; 3] = [1, 8, 64];
const APPENDS_PER_THREAD: u64 = 500;
const TURNS: usize = 9;
const ENTRIES_OPENED: u64 = 100_000;
const PAYLOAD: &[u8] = br#"{"run":"heart-disease","round":14,"site":"cleveland","dataset":"heart/3","released":"update","bytes":112}"#;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// One turn of one thread count.
struct Measured {
    threads: u64,
    appends_per_s: f64,
    appends_per_fsync: f64,
    fsync_ms: f64,
}

fn main() -> Outcome<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "payload {} bytes, {TURNS} turns each: median (least to most)",
        PAYLOAD.len()
    )?;
    let mut measured = Vec::new();
    for turn in 0..TURNS {
        for place in 0..THREADS.len() {
            let next = THREADS.iter().cycle().nth(turn + place);
            measured.push(append(next.copied().unwrap_or(1))?);
        }
    }
    for threads in THREADS {
        let of = |figure: fn(&Measured) -> f64| {
            let mine = measured.iter().filter(|turn| turn.threads == threads);
            spread(mine.map(figure).collect())
        };
        let (rate, least, most) = of(|turn| turn.appends_per_s);
        let (shared, ..) = of(|turn| turn.appends_per_fsync);
        let (fsync_ms, fsync_ms_least, fsync_ms_most) = of(|turn| turn.fsync_ms);
        writeln!(
            out,
            "{threads:>3} threads: {rate:>7.0} appends/s ({least:.0} to {most:.0}), {shared:.1} an fsync, \
             {fsync_ms:.3} ms each ({fsync_ms_least:.3} to {fsync_ms_most:.3})"
        )?;
    }
    open(&mut out)
}

fn append(threads: u64) -> Outcome<Measured> {
    let appends = threads * APPENDS_PER_THREAD;
    let folder = tempfile::tempdir()?;
    let storage = Arc::new(Breaking::new(Arc::new(Disk::for_writing(folder.path())?)));
    let (journal, _) = Journal::open_on(storage.clone(), Limits::default())?;
    let syncs_before = storage.count(Verb::Sync);
    let begun = Instant::now();
    append_from(&journal, threads, appends)?;
    let seconds = begun.elapsed().as_secs_f64();
    let syncs = (storage.count(Verb::Sync) - syncs_before) as f64;
    Ok(Measured {
        threads,
        appends_per_s: appends as f64 / seconds,
        appends_per_fsync: appends as f64 / syncs,
        fsync_ms: seconds * 1e3 / syncs,
    })
}

fn open(out: &mut impl Write) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let (journal, _) = Journal::open(folder.path(), Limits::default())?;
    append_from(&journal, 64, ENTRIES_OPENED)?;
    let head = journal.head();
    drop(journal);
    let begun = Instant::now();
    let (journal, opened) = Journal::open(folder.path(), Limits::default())?;
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(
        out,
        "open   {} entries: {seconds:.3} s, from the page cache",
        opened.entries
    )?;
    drop(journal);
    let begun = Instant::now();
    let entries = read(folder.path())?.try_fold(0_u64, |count, entry| entry.map(|_| count + 1))?;
    writeln!(
        out,
        "read   {entries} entries: {:.3} s",
        begun.elapsed().as_secs_f64()
    )?;
    let begun = Instant::now();
    let verified = verify(folder.path(), Some(head))?;
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(out, "verify {} entries: {seconds:.3} s", verified.entries)?;
    Ok(())
}

fn append_from(journal: &Journal, threads: u64, appends: u64) -> Result<(), JournalError> {
    let each = |share| {
        move || (0..share).try_for_each(|at_ms| journal.append(at_ms, "bench", PAYLOAD).map(drop))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let share = appends / threads + u64::from(thread < appends % threads);
                scope.spawn(each(share))
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or(Err(JournalError::Abandoned)))
    })
}

/// The median, the least and the most.
fn spread(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    let at = |place: usize| figures.get(place).copied().unwrap_or(f64::NAN);
    (
        at(figures.len() / 2),
        at(0),
        at(figures.len().saturating_sub(1)),
    )
}
