//! Parts of a text that are replaced, or kept as they are.

use super::Class;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    /// `None` for what stays.
    pub(super) class: Option<Class>,
    pub(super) becomes: String,
}

/// Of spans in order of preference those that overlap no span preferred to them, by place. Of two spans from one source
/// that start together the order given decides.
pub(super) fn apart(spans: Vec<Span>, text_bytes: usize) -> Vec<Span> {
    let mut taken = vec![false; text_bytes];
    let mut kept: Vec<Span> = Vec::new();
    for span in spans {
        let Some(place) = taken.get_mut(span.start..span.end) else {
            continue;
        };
        if !place.is_empty() && place.iter().all(|is_taken| !is_taken) {
            place.fill(true);
            kept.push(span);
        }
    }
    kept.sort_by_key(|span| span.start);
    kept
}
