//! The index of one site's passages by words.
//!
//! tantivy keeps, for each word, which passages have it and how often; the scoring is ours. Its own has fixed k1 and b,
//! and adds a passage's parts up in an order that depends on the index, so that near-ties would fall one way at a site
//! and another in a central index. Here each passage's parts are added in one order, by weight and then by word.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Mutex, PoisonError};

use tantivy::directory::RamDirectory;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::indexer::NoMergePolicy;
use tantivy::postings::Postings;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{
    DocSet, Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, SegmentReader,
    TERMINATED, TantivyDocument, Term,
};

use super::background::BACKGROUND;
use super::limits::{
    QUESTION_BYTES_MAX, QUESTION_WORDS_MAX, SEGMENTS_MAX, WRITER_BYTES, WRITER_THREADS,
};
use super::words::{analyzer, words};
use super::{Hit, LexicalError};
use crate::vector::{K_MAX, ROW_ID_END, RowId, RowSet};

/// How soon a word's repetitions stop counting, and how much a long passage is held back; chosen on MedQuAD's answers,
/// see node/search/README.md.
const K1: f64 = 0.9;
const B: f64 = 0.4;
/// How often a title's words count: a passage with a title is one text, the title so often and the body once
/// (Robertson, Zaragoza, Taylor, CIKM 2004).
const TITLE_TIMES: usize = 3;

/// Passages by their words, in memory.
pub struct LexicalIndex {
    index: Index,
    reader: IndexReader,
    row: Field,
    text: Field,
    writing: Mutex<Writing>,
}

struct Writing {
    writer: IndexWriter,
    /// Rows that a search can find.
    present: RowSet,
    /// An earlier change failed half way and could not be undone.
    is_broken: bool,
}

impl LexicalIndex {
    /// An empty index.
    ///
    /// # Errors
    /// Threads could not be started.
    pub fn new() -> Result<Self, LexicalError> {
        let mut schema = Schema::builder();
        let row = schema.add_u64_field("row", INDEXED | FAST);
        let counted = TextFieldIndexing::default()
            .set_tokenizer("words")
            .set_index_option(IndexRecordOption::WithFreqs)
            .set_fieldnorms(true);
        let text =
            schema.add_text_field("text", TextOptions::default().set_indexing_options(counted));
        let index = Index::create(
            RamDirectory::create(),
            schema.build(),
            IndexSettings::default(),
        )?;
        index.tokenizers().register("words", analyzer());
        let writer: IndexWriter = index.writer_with_num_threads(WRITER_THREADS, WRITER_BYTES)?;
        // Joining parts is done within `apply`, where it is waited for.
        writer.set_merge_policy(Box::new(NoMergePolicy));
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        Ok(Self {
            index,
            reader,
            row,
            text,
            writing: Mutex::new(Writing {
                writer,
                present: RowSet::new(),
                is_broken: false,
            }),
        })
    }

    /// Rows that a search can find.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reader.searcher().num_docs() as usize
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes rows out, then puts rows in, each with a title and a body; a row that is in already is replaced. The next
    /// search sees all of it, or, after an error, nothing.
    ///
    /// # Errors
    /// A row beyond what an index holds; a failure of the engine.
    pub fn apply(
        &self,
        added: &[(RowId, &str, &str)],
        erased: &[RowId],
    ) -> Result<(), LexicalError> {
        if let Some((row, ..)) = added.iter().find(|(row, ..)| row.0 >= ROW_ID_END) {
            return Err(LexicalError::RowOutOfRange { row: row.0 });
        }
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if writing.is_broken {
            return Err(LexicalError::BrokeOff);
        }
        match self.write(&mut writing, added, erased) {
            Ok(present) => writing.present = present,
            Err(error) => {
                writing.is_broken = writing.writer.rollback().is_err();
                return Err(error);
            }
        }
        self.join_small(&mut writing)?;
        Ok(self.reader.reload()?)
    }

    fn write(
        &self,
        writing: &mut Writing,
        added: &[(RowId, &str, &str)],
        erased: &[RowId],
    ) -> Result<RowSet, LexicalError> {
        let mut present = writing.present.clone();
        let delete = |row: RowId| {
            writing
                .writer
                .delete_term(Term::from_field_u64(self.row, u64::from(row.0)))
        };
        for row in erased {
            if present.remove(*row) {
                delete(*row);
            }
        }
        for (row, title, body) in added {
            if !present.insert(*row) {
                delete(*row);
            }
            let mut document = TantivyDocument::new();
            document.add_u64(self.row, u64::from(row.0));
            document.add_text(self.text, titled(title, body));
            writing.writer.add_document(document)?;
        }
        writing.writer.commit()?;
        Ok(present)
    }

    /// Takes erased rows out of memory as well; until then they lie in it, where no search finds them.
    ///
    /// # Errors
    /// A failure of the engine.
    pub fn purge(&self) -> Result<(), LexicalError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        for segment in self.index.searchable_segment_metas()? {
            if segment.has_deletes() {
                writing.writer.merge(&[segment.id()]).wait()?;
            }
        }
        self.reader.reload()?;
        writing.writer.garbage_collect_files().wait()?;
        Ok(())
    }

    /// Joins the smaller half of the parts when there are many, so that a row is rewritten a few times only.
    fn join_small(&self, writing: &mut Writing) -> Result<(), LexicalError> {
        let mut segments = self.index.searchable_segment_metas()?;
        if segments.len() <= SEGMENTS_MAX {
            return Ok(());
        }
        segments.sort_by_key(|segment| segment.num_docs());
        let half: Vec<_> = segments
            .iter()
            .take(segments.len() / 2 + 1)
            .map(|segment| segment.id())
            .collect();
        writing.writer.merge(&half).wait()?;
        Ok(())
    }

    /// The best `k` rows that have a word of the question, best first, equal ones by row; fewer only if fewer have one.
    /// `allowed` are the only rows that may be returned; `None` for all. The question is words and nothing else: it is
    /// in no query language.
    ///
    /// # Errors
    /// A `k` of zero or of more than [`K_MAX`]; a failure of the engine.
    pub fn best(
        &self,
        question: &str,
        k: usize,
        allowed: Option<&RowSet>,
    ) -> Result<Vec<Hit>, LexicalError> {
        if k == 0 || k > K_MAX {
            return Err(LexicalError::KOutOfRange { found: k });
        }
        let terms = terms(question);
        let mut best = Best {
            k,
            heap: BinaryHeap::new(),
        };
        for segment in self.reader.searcher().segment_readers() {
            self.score(segment, &terms, allowed, &mut best)?;
        }
        Ok(best.in_order())
    }

    /// Scores one part of the index, word by word.
    fn score(
        &self,
        segment: &SegmentReader,
        terms: &[(String, f64)],
        allowed: Option<&RowSet>,
        best: &mut Best,
    ) -> Result<(), LexicalError> {
        let postings_of = segment.inverted_index(self.text)?;
        let lengths = segment.get_fieldnorms_reader(self.text)?;
        let holds_back = holds_back();
        let mut scores = vec![0.0; segment.max_doc() as usize];
        for (word, weight) in terms {
            let term = Term::from_field_text(self.text, word);
            let postings = postings_of.read_postings(&term, IndexRecordOption::WithFreqs);
            let Some(mut postings) = postings.map_err(tantivy::TantivyError::from)? else {
                continue;
            };
            let mut document = postings.doc();
            while document != TERMINATED {
                let times = f64::from(postings.term_freq());
                let length = usize::from(lengths.fieldnorm_id(document));
                let held = holds_back.get(length).copied().unwrap_or(K1);
                if let Some(score) = scores.get_mut(document as usize) {
                    *score += weight * (times * (K1 + 1.0) / (times + held));
                }
                document = postings.advance();
            }
        }
        let rows = segment
            .fast_fields()
            .column_first_or_default::<u64>("row")?;
        let alive = segment.alive_bitset();
        for (document, score) in (0..).zip(scores) {
            if score <= 0.0
                || !best.may_take(score)
                || alive.is_some_and(|alive| !alive.is_alive(document))
            {
                continue;
            }
            let row = RowId(rows.get_val(document) as u32);
            if allowed.is_none_or(|allowed| allowed.contains(row)) {
                best.offer(Hit { row, score });
            }
        }
        Ok(())
    }
}

/// The one text that is indexed.
fn titled(title: &str, body: &str) -> String {
    let mut text = String::with_capacity(TITLE_TIMES * (title.len() + 1) + body.len());
    for _ in 0..TITLE_TIMES {
        text.push_str(title);
        text.push('\n');
    }
    text.push_str(body);
    text
}

/// The question's words with their weights, a repeated word weighing so much more, in the one order in which a
/// passage's parts are added up.
fn terms(question: &str) -> Vec<(String, f64)> {
    let mut end = question.len().min(QUESTION_BYTES_MAX);
    while !question.is_char_boundary(end) {
        end -= 1;
    }
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for word in words(question.get(..end).unwrap_or_default()) {
        *times.entry(word).or_default() += 1;
    }
    let mut terms: Vec<(String, f64)> = times
        .into_iter()
        .map(|(word, times)| {
            let weight = BACKGROUND.weight(&word) * f64::from(times);
            (word, weight)
        })
        .collect();
    terms.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    terms.truncate(QUESTION_WORDS_MAX);
    terms
}

/// For each of the 256 lengths that tantivy tells apart, what a word's count is held back by.
fn holds_back() -> [f64; 256] {
    std::array::from_fn(|length| {
        let words = f64::from(FieldNormReader::id_to_fieldnorm(length as u8));
        K1 * (1.0 - B + B * words / BACKGROUND.mean_words())
    })
}

/// The best few hits so far, the worst of them on top.
struct Best {
    k: usize,
    heap: BinaryHeap<Worst>,
}

#[derive(PartialEq)]
struct Worst(Hit);

impl Eq for Worst {}

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .0
            .score
            .total_cmp(&self.0.score)
            .then(self.0.row.cmp(&other.0.row))
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Best {
    /// Whether a hit with this score could be among the best.
    fn may_take(&self, score: f64) -> bool {
        self.heap.len() < self.k || self.heap.peek().is_some_and(|worst| score >= worst.0.score)
    }

    fn offer(&mut self, hit: Hit) {
        self.heap.push(Worst(hit));
        if self.heap.len() > self.k {
            self.heap.pop();
        }
    }

    fn in_order(self) -> Vec<Hit> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|worst| worst.0)
            .collect()
    }
}

#[cfg(test)]
mod tests;
