//! The links between the vectors of a segment.

use prefetch_index::prefetch_index;

use super::kernel::CACHE_LINE_BYTES;
use super::pages::Pages;

/// Links of a cache line.
const LINE_LINKS: usize = CACHE_LINE_BYTES / size_of::<u32>();

/// Lists of links, one a node, in one piece of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Links {
    /// Where each node's list begins, and at the end where the last one ends.
    starts: Pages<u32>,
    targets: Pages<u32>,
}

/// One layer above the lowest. Its nodes are numbered by their order of insertion, not as rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upper {
    pub(super) links: Links,
}

/// A hierarchical navigable small world (Malkov and Yashunin, 2018).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Graph {
    /// The lowest layer, which holds every row but the twins.
    pub(super) links: Links,
    /// Layers above, the highest first. A layer's nodes are the first so many of `members`.
    pub(super) uppers: Vec<Upper>,
    /// Rows by order of insertion, as many as the largest upper layer has, at least one. A walk begins at the first.
    pub(super) members: Vec<u32>,
    /// Rows that a walk to their own place does not find, ascending. They are looked at by every search.
    pub(super) orphans: Vec<u32>,
    /// Rows of the same codes as one in the graph, each after it: (the one in the graph, its twin), ascending.
    pub(super) twins: Vec<(u32, u32)>,
}

impl Links {
    /// From lists in order.
    pub(super) fn new<L: IntoIterator<Item = u32>>(lists: impl Iterator<Item = L>) -> Self {
        let (mut starts, mut targets) = (vec![0], Vec::new());
        for list in lists {
            targets.extend(list);
            starts.push(targets.len() as u32);
        }
        let (starts, targets) = (starts.into(), targets.into());
        Self { starts, targets }
    }

    /// From parts that were read: `None` unless every list lies within the targets and every target below `nodes`.
    pub(super) fn from_parts(starts: Vec<u32>, targets: Vec<u32>, nodes: usize) -> Option<Self> {
        let in_order = starts.first() == Some(&0) && starts.is_sorted();
        let ends = starts.last().copied() == u32::try_from(targets.len()).ok();
        let inside = targets.iter().all(|target| (*target as usize) < nodes);
        (in_order && ends && inside).then(|| Self {
            starts: starts.into(),
            targets: targets.into(),
        })
    }

    #[inline]
    pub(super) fn of(&self, node: u32) -> &[u32] {
        let node = node as usize;
        match self.starts.get(node..node + 2) {
            Some([from, to]) => self
                .targets
                .get(*from as usize..*to as usize)
                .unwrap_or_default(),
            _ => &[],
        }
    }

    /// Asks for a list that will be walked soon.
    #[inline]
    pub(super) fn ask_for(&self, node: u32) {
        let node = node as usize;
        if let Some([from, to]) = self.starts.get(node..node + 2) {
            for at in (*from..*to).step_by(LINE_LINKS) {
                prefetch_index(&*self.targets, at as usize);
            }
        }
    }

    pub(super) fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn parts(&self) -> (&[u32], &[u32]) {
        (&self.starts, &self.targets)
    }
}

impl Graph {
    /// The twins of a row in the graph.
    #[inline]
    pub(super) fn twins_of(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let from = match self.twins.is_empty() {
            true => 0,
            false => self.twins.partition_point(|(first, _)| *first < node),
        };
        let rest = self.twins.get(from..).unwrap_or_default();
        rest.iter()
            .take_while(move |(first, _)| *first == node)
            .map(|(_, twin)| *twin)
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let lists = self
            .uppers
            .iter()
            .map(|upper| &upper.links)
            .chain([&self.links]);
        let links: usize = lists
            .map(|links| links.starts.len() + links.targets.len())
            .sum();
        4 * (links + self.members.len() + self.orphans.len() + 2 * self.twins.len())
    }
}
