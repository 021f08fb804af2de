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
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use consilium_journal::storage::{Disk, Storage};
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
    /// Of the whole time, in percent: what is left is the journal's own work and waiting for a processor.
    in_fsync_percent: f64,
}

/// A disk that counts its fsyncs and how long they take.
struct Timed {
    disk: Disk,
    syncs: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Storage for Timed {
    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        self.disk.len(name)
    }
    fn read_at(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(name, offset, into)
    }
    fn create(&self, name: &str) -> io::Result<()> {
        self.disk.create(name)
    }
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(name, offset, bytes)
    }
    fn set_len(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.disk.set_len(name, bytes)
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        let begun = Instant::now();
        let synced = self.disk.sync(name);
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(took, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        synced
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }
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
        let (share, ..) = of(|turn| turn.in_fsync_percent);
        writeln!(
            out,
            "{threads:>3} threads: {rate:>7.0} appends/s ({least:.0} to {most:.0}), {shared:.1} an fsync, \
             {fsync_ms:.3} ms each ({fsync_ms_least:.3} to {fsync_ms_most:.3}), {share:.0} % of the time in them"
        )?;
    }
    open(&mut out)
}

fn append(threads: u64) -> Outcome<Measured> {
    let appends = threads * APPENDS_PER_THREAD;
    let folder = tempfile::tempdir()?;
    let storage = Arc::new(Timed {
        disk: Disk::for_writing(folder.path())?,
        syncs: AtomicU64::new(0),
        nanoseconds: AtomicU64::new(0),
    });
    let (journal, _) = Journal::open_on(storage.clone(), Limits::default())?;
    storage.syncs.store(0, Ordering::Relaxed);
    storage.nanoseconds.store(0, Ordering::Relaxed);
    let begun = Instant::now();
    append_from(&journal, threads, appends)?;
    let seconds = begun.elapsed().as_secs_f64();
    let syncs = storage.syncs.load(Ordering::Relaxed) as f64;
    let in_fsync_s = storage.nanoseconds.load(Ordering::Relaxed) as f64 * 1e-9;
    Ok(Measured {
        threads,
        appends_per_s: appends as f64 / seconds,
        appends_per_fsync: appends as f64 / syncs,
        fsync_ms: in_fsync_s * 1e3 / syncs,
        in_fsync_percent: 100.0 * in_fsync_s / seconds,
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
