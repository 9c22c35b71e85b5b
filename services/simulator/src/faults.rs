//! How the provider garbles the telling: which deliveries are lost, late, repeated, out of order or oddly written.
//!
//! Works on drafts (what is told when), before bytes exist, and never on the truth. Every kind of fault has its own
//! stream of draws, so changing one rate leaves the others where they were. Which of these the real provider commits is
//! not known (ozonetel.md, section 6): each is one that integrators' code guards against.

use std::collections::{BTreeMap, BTreeSet};

use crate::dice::Dice;
use crate::scenario::Scenario;
use crate::truth::{AgentAction, CallAction, EventKind, TrueEvent, Truth};

/// A kind of failing; the fields of [`Faults`](crate::Faults), one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The same bytes again.
    ExactRepeat,
    /// The same event again under a new envelope time.
    RestampedRepeat,
    /// Minutes late.
    Late,
    /// Changed places with a neighbour.
    Swapped,
    /// A callback that never comes.
    LostCallback,
    /// A Disconnect that never comes.
    LostDisconnect,
    /// A call that never ends: neither Disconnect nor callback.
    GhostCall,
    /// A logout that never comes.
    LostLogout,
    /// Other letter case.
    MixedCase,
    /// An action that nobody documented.
    UnknownAction,
    /// Empty values written otherwise.
    BlankVariant,
    /// Hindi text.
    Hindi,
    /// Several in one array.
    Batch,
}

impl FaultKind {
    /// A short name for summaries, `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExactRepeat => "exact_repeat",
            Self::RestampedRepeat => "restamped_repeat",
            Self::Late => "late",
            Self::Swapped => "swapped",
            Self::LostCallback => "lost_callback",
            Self::LostDisconnect => "lost_disconnect",
            Self::GhostCall => "ghost_call",
            Self::LostLogout => "lost_logout",
            Self::MixedCase => "mixed_case",
            Self::UnknownAction => "unknown_action",
            Self::BlankVariant => "blank_variant",
            Self::Hindi => "hindi",
            Self::Batch => "batch",
        }
    }
}

/// How one event is written; drawn here, carried out by `wire`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dress {
    /// Which other letter case, if any.
    pub(crate) case: Option<u32>,
    /// Which way of writing empty values, if not the usual one.
    pub(crate) blanks: Option<u32>,
    pub(crate) hindi: bool,
}

/// A delivery before its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// When it is sent, milliseconds since the start.
    pub(crate) at: u64,
    /// The envelope time it carries; differs from `at` only in an exact repeat.
    pub(crate) stamped_at: u64,
    pub(crate) told: Vec<(TrueEvent, Dress)>,
    pub(crate) as_array: bool,
    pub(crate) faults: Vec<FaultKind>,
}

impl Draft {
    pub(crate) fn new(at: u64, event: TrueEvent) -> Self {
        Self { at, stamped_at: at, told: vec![(event, Dress::default())], as_array: false, faults: Vec::new() }
    }

    fn is_callback(&self) -> bool {
        matches!(self.told.first(), Some((event, _)) if event.kind == EventKind::Summary)
    }

    fn send_at(&mut self, at: u64) {
        (self.at, self.stamped_at) = (at, at);
    }

    fn shares_key_with(&self, other: &Self) -> bool {
        let mut keys = self.told.iter().filter_map(|(event, _)| event.key());
        keys.any(|key| other.told.iter().any(|(event, _)| event.key() == Some(key)))
    }
}

/// The telling after all faults.
pub(crate) struct Told {
    pub(crate) drafts: Vec<Draft>,
    pub(crate) withheld: BTreeSet<u64>,
    pub(crate) counts: BTreeMap<FaultKind, u64>,
}

/// Applies the scenario's faults to a faithful telling, which must be in order of sending.
pub(crate) fn strike(scenario: &Scenario, truth: &Truth, drafts: Vec<Draft>) -> Told {
    let mut striker = Striker { scenario, counts: BTreeMap::new() };
    let (mut drafts, withheld) = striker.lose(truth, drafts);
    striker.dress(&mut drafts);
    let drafts = striker.add_unknown_actions(drafts);
    let mut drafts = striker.batch(drafts);
    striker.swap(&mut drafts);
    striker.delay(&mut drafts);
    striker.repeat(&mut drafts);
    drafts.sort_by_key(|draft| draft.at);
    Told { drafts, withheld, counts: striker.counts }
}

struct Striker<'a> {
    scenario: &'a Scenario,
    counts: BTreeMap<FaultKind, u64>,
}

/// One kind's stream and rate.
struct Chance {
    dice: Dice,
    per_mille: u16,
}

impl Chance {
    fn strikes(&mut self) -> bool {
        self.dice.chance(u32::from(self.per_mille))
    }
}

impl Striker<'_> {
    fn chance(&self, kind: FaultKind, per_mille: u16) -> Chance {
        let dice = Dice::new(self.scenario.seed, &self.scenario.workspace, &format!("fault {}", kind.name()));
        Chance { dice, per_mille }
    }

    fn count(&mut self, kind: FaultKind) {
        *self.counts.entry(kind).or_insert(0) += 1;
    }

    fn mark(&mut self, draft: &mut Draft, kind: FaultKind) {
        draft.faults.push(kind);
        self.count(kind);
    }

    fn lose(&mut self, truth: &Truth, drafts: Vec<Draft>) -> (Vec<Draft>, BTreeSet<u64>) {
        let rates = &self.scenario.faults;
        let mut callback = self.chance(FaultKind::LostCallback, rates.lost_callback);
        let mut disconnect = self.chance(FaultKind::LostDisconnect, rates.lost_disconnect);
        let mut logout = self.chance(FaultKind::LostLogout, rates.lost_logout);
        let mut ghost = self.chance(FaultKind::GhostCall, rates.ghost_call);
        let ghosts: Vec<bool> = truth.calls.iter().map(|_| ghost.strikes()).collect();
        let mut withheld = BTreeSet::new();
        let mut kept = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let lost = draft.told.first().and_then(|(event, _)| {
                let is_ghost = event.call_index.is_some_and(|call| ghosts[call]);
                match event.kind {
                    EventKind::Summary if is_ghost => Some(FaultKind::GhostCall),
                    EventKind::Call { action: CallAction::Disconnect, .. } if is_ghost => Some(FaultKind::GhostCall),
                    EventKind::Summary => callback.strikes().then_some(FaultKind::LostCallback),
                    EventKind::Call { action: CallAction::Disconnect, .. } => {
                        disconnect.strikes().then_some(FaultKind::LostDisconnect)
                    }
                    EventKind::Agent { action: AgentAction::Logout, .. } => {
                        logout.strikes().then_some(FaultKind::LostLogout)
                    }
                    EventKind::Agent { .. } | EventKind::Call { .. } | EventKind::Noise { .. } => None,
                }
            });
            match lost {
                Some(kind) => {
                    self.count(kind);
                    withheld.extend(draft.told.iter().map(|(event, _)| event.seq));
                }
                None => kept.push(draft),
            }
        }
        (kept, withheld)
    }

    fn dress(&mut self, drafts: &mut [Draft]) {
        let rates = &self.scenario.faults;
        let mut case = self.chance(FaultKind::MixedCase, rates.mixed_case);
        let mut blanks = self.chance(FaultKind::BlankVariant, rates.blank_variants);
        let mut hindi = self.chance(FaultKind::Hindi, rates.hindi);
        for draft in drafts {
            let callback = draft.is_callback();
            if !callback && case.strikes() {
                draft.told[0].1.case = Some(case.dice.below(4));
                self.mark(draft, FaultKind::MixedCase);
            }
            let has_blanks = !matches!(draft.told[0].0.kind, EventKind::Agent { .. });
            if has_blanks && blanks.strikes() {
                draft.told[0].1.blanks = Some(blanks.dice.below(5));
                self.mark(draft, FaultKind::BlankVariant);
            }
            if callback && hindi.strikes() {
                draft.told[0].1.hindi = true;
                self.mark(draft, FaultKind::Hindi);
            }
        }
    }

    fn add_unknown_actions(&mut self, drafts: Vec<Draft>) -> Vec<Draft> {
        let mut unknown = self.chance(FaultKind::UnknownAction, self.scenario.faults.unknown_action);
        let mut all = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let event = &draft.told[0].0;
            let words: &[&'static str] = match event.kind {
                EventKind::Agent { .. } => &["changeMode", "RONA", "Supervisor_Barge"],
                EventKind::Call { .. } => &["Hold", "Unhold", "Conference"],
                EventKind::Summary | EventKind::Noise { .. } => &[],
            };
            if !words.is_empty() && unknown.strikes() {
                let word = unknown.dice.pick(words);
                let mut noise = Draft::new(draft.at, TrueEvent { kind: EventKind::Noise { word }, ..event.clone() });
                self.mark(&mut noise, FaultKind::UnknownAction);
                all.push(noise);
            }
            all.push(draft);
        }
        all
    }

    fn batch(&mut self, drafts: Vec<Draft>) -> Vec<Draft> {
        let mut chance = self.chance(FaultKind::Batch, self.scenario.faults.batch);
        let mut all: Vec<Draft> = Vec::with_capacity(drafts.len());
        let mut coming = drafts.into_iter().peekable();
        while let Some(mut draft) = coming.next() {
            if chance.strikes() {
                draft.as_array = true;
                let most = if draft.is_callback() { 1 } else { chance.dice.between(2, 5) as usize };
                let opened_at = draft.at;
                while draft.told.len() < most {
                    let near = |next: &Draft| !next.is_callback() && next.at < opened_at + 5_000;
                    let Some(next) = coming.next_if(near) else { break };
                    draft.send_at(next.at);
                    draft.told.extend(next.told);
                    draft.faults.extend(next.faults);
                }
                self.mark(&mut draft, FaultKind::Batch);
            }
            all.push(draft);
        }
        all
    }

    fn swap(&mut self, drafts: &mut [Draft]) {
        let mut chance = self.chance(FaultKind::Swapped, self.scenario.faults.swapped);
        let mut place = 0;
        while place < drafts.len() {
            if chance.strikes() {
                let next = drafts[place + 1..].iter().take(200).position(|other| other.shares_key_with(&drafts[place]));
                if let Some(offset) = next {
                    let other = place + 1 + offset;
                    let (early, late) = (drafts[place].at, drafts[other].at);
                    // Places as well as times: two of the same millisecond are told in the order they stand in.
                    drafts.swap(place, other);
                    drafts[place].send_at(early);
                    drafts[other].send_at(late);
                    for swapped in [place, other] {
                        drafts[swapped].faults.push(FaultKind::Swapped);
                    }
                    self.count(FaultKind::Swapped);
                    if offset == 0 {
                        place += 1; // not the same two once more, which would put them right again
                    }
                }
            }
            place += 1;
        }
    }

    fn delay(&mut self, drafts: &mut [Draft]) {
        let mut chance = self.chance(FaultKind::Late, self.scenario.faults.late);
        for draft in drafts {
            if chance.strikes() {
                let delay = chance.dice.between(60_000, 600_000);
                draft.send_at(draft.at + u64::from(delay));
                self.mark(draft, FaultKind::Late);
            }
        }
    }

    fn repeat(&mut self, drafts: &mut Vec<Draft>) {
        let rates = &self.scenario.faults;
        let mut exact = self.chance(FaultKind::ExactRepeat, rates.exact_repeat);
        let mut restamped = self.chance(FaultKind::RestampedRepeat, rates.restamped_repeat);
        let mut again = Vec::new();
        for draft in drafts.iter() {
            if exact.strikes() {
                let mut copy = draft.clone();
                copy.at += u64::from(exact.dice.between(100, 30_000));
                self.mark(&mut copy, FaultKind::ExactRepeat);
                again.push(copy);
            }
            // A callback carries no send time: told again it would be an exact repeat.
            if !draft.is_callback() && restamped.strikes() {
                let mut copy = draft.clone();
                copy.send_at(draft.at + u64::from(restamped.dice.between(1_000, 300_000)));
                self.mark(&mut copy, FaultKind::RestampedRepeat);
                again.push(copy);
            }
        }
        drafts.append(&mut again);
    }
}
