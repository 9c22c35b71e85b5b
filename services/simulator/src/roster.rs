//! Who is at work when: shifts and planned breaks, before any call rings.
//!
//! A plan, not what happens: a break that falls into a call is taken after it, a shift ends after the last wrap-up.

use crate::dice::Dice;
use crate::scenario::{Scenario, Second};
use crate::truth::AgentAction;

/// A planned break.
#[derive(Debug, Clone)]
pub(crate) struct Break {
    pub(crate) at: Second,
    pub(crate) lasts: Second,
    pub(crate) reason: &'static str,
    /// `pause` or `AUX`: which of the two is "the break" is not known of the provider.
    pub(crate) action: AgentAction,
}

/// One agent's planned day.
#[derive(Debug, Clone)]
pub(crate) struct Shift {
    pub(crate) from: Second,
    pub(crate) until: Second,
    pub(crate) breaks: Vec<Break>,
}

const SHORT_REASONS: [&str; 4] = ["Washroom", "Briefing", "Personal", "Training"];

/// Every agent's shift, in the scenario's order.
pub(crate) fn shifts(scenario: &Scenario) -> Vec<Shift> {
    let mut dice = Dice::new(scenario.seed, &scenario.workspace, "roster");
    (0..scenario.agents.len()).map(|position| shift(&mut dice, scenario.closes_at(), position)).collect()
}

fn shift(dice: &mut Dice, day: Second, position: usize) -> Shift {
    // Every third agent comes late and closes up; the others open and leave earlier.
    let closes_up = position % 3 == 2;
    let spread = (day / 40).min(200);
    let from = match (position, closes_up) {
        (0, _) => dice.between(1, 8),
        (_, false) => dice.between(5, 5 + spread),
        (_, true) => day * 15 / 100 + dice.below(spread + 1),
    };
    let planned = if closes_up || position == 0 { day } else { day * 88 / 100 + dice.below(spread + 1) };
    let until = if dice.chance(150) {
        planned + dice.between(600, 2_400) // overtime
    } else if dice.chance(40) {
        from + (planned.saturating_sub(from)) * dice.between(55, 90) / 100 // half a day
    } else {
        planned
    };
    let until = until.max(from + 60);
    Shift { from, until, breaks: breaks(dice, from, until) }
}

fn breaks(dice: &mut Dice, from: Second, until: Second) -> Vec<Break> {
    let length = until - from;
    let mut planned = Vec::new();
    let mut plan = |dice: &mut Dice, share: (u32, u32), minutes: (u32, u32), reason| {
        planned.push(Break {
            at: from + (u64::from(length) * u64::from(dice.between(share.0, share.1)) / 100) as Second,
            lasts: dice.between(minutes.0 * 60, minutes.1 * 60),
            reason,
            action: if dice.chance(700) { AgentAction::Pause } else { AgentAction::Aux },
        });
    };
    if length >= 3 * 3600 {
        plan(dice, (18, 32), (8, 14), "Tea Break");
        plan(dice, (42, 62), (25, 45), "Lunch Break");
        plan(dice, (70, 85), (8, 14), "Tea Break");
    }
    for _ in 0..length / 5_400 {
        let reason = *dice.pick(&SHORT_REASONS);
        plan(dice, (3, 97), (2, 6), reason);
    }
    planned.sort_by_key(|pause| pause.at);
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_there_from_the_first_seconds_to_the_end() {
        let scenario = Scenario::sample(11, "global");
        let shifts = shifts(&scenario);
        assert!(shifts.iter().any(|shift| shift.from <= 8));
        assert!(shifts.iter().any(|shift| shift.until >= scenario.closes_at()));
        assert!(shifts.iter().all(|shift| shift.from < shift.until));
        assert!(shifts.iter().all(|shift| shift.breaks.iter().any(|pause| pause.reason == "Lunch Break")));
    }
}
