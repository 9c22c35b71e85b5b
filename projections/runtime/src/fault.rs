//! Points at which a test can make a projector die, freeze or forget. Nothing is armed outside of tests, and then passing a
//! point costs one load.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A record has been polled and is held.
    AfterPoll,
    /// A batch has been decoded; nothing is written of it.
    AfterDecode,
    /// Some rows of the batch are written, not all.
    MidBatch,
    /// Everything of the batch is written; the commit has not been asked for.
    AfterWrite,
    /// The commit has happened; the engine has not heard of it.
    AfterCommit,
    /// Partitions were assigned and are being acquired.
    InRebalance,
    /// Partitions were revoked, or the instance leaves, and what is held is being applied.
    InDrain,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 7] = [
        Self::AfterPoll,
        Self::AfterDecode,
        Self::MidBatch,
        Self::AfterWrite,
        Self::AfterCommit,
        Self::InRebalance,
        Self::InDrain,
    ];

    /// The word of a command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AfterPoll => "after-poll",
            Self::AfterDecode => "after-decode",
            Self::MidBatch => "mid-batch",
            Self::AfterWrite => "after-write",
            Self::AfterCommit => "after-commit",
            Self::InRebalance => "in-rebalance",
            Self::InDrain => "in-drain",
        }
    }
}

struct Armed {
    point: Point,
    left: AtomicU64,
    action: fn(),
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Lets the process do `action` the `nth` time (from 1) that it passes `point`. Once a process; a second call changes nothing.
pub fn arm(point: Point, nth: u64, action: fn()) {
    let _kept = ARMED.set(Armed { point, left: AtomicU64::new(nth.max(1)), action });
}

/// Passes a point.
pub fn pass(point: Point) {
    let Some(armed) = ARMED.get() else { return };
    if armed.point == point && armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        (armed.action)();
    }
}
