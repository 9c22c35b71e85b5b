//! Who rings when: the day's first-time inbound calls.
//!
//! Decides arrival times, numbers, skills and patience; what becomes of a caller is the floor's business. The shape is
//! a hospital's: a morning peak from 9:30 to 12, a second one from 16 to 18, little at night.

use chrono::Timelike;

use crate::dice::Dice;
use crate::scenario::{Scenario, Second};

/// Slot in which calls are spread evenly.
const SLOT: Second = 900;

/// Someone wants to ring.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) at: Second,
    pub(crate) caller: String,
    pub(crate) did: String,
    /// Index into the scenario's skills.
    pub(crate) skill: Option<usize>,
}

/// Relative load of a quarter of an hour, by minutes since local midnight.
const fn load(minute: u32) -> u64 {
    match minute {
        0..360 => 8,
        360..480 => 40,
        480..540 => 70,
        540..570 => 110,
        570..720 => 180,
        720..780 => 110,
        780..840 => 80,
        840..960 => 100,
        960..1080 => 150,
        1080..1200 => 70,
        _ => 25,
    }
}

/// The day's first-time callers in order of arrival.
pub(crate) fn arrivals(scenario: &Scenario) -> Vec<Arrival> {
    let mut dice = Dice::new(scenario.seed, &scenario.workspace, "demand");
    let slots = scenario.closes_at() / SLOT;
    let total = u64::from(scenario.calls_per_hour) * u64::from(scenario.hours);
    if scenario.dids.is_empty() || total == 0 {
        return Vec::new();
    }
    let load_of = |slot: u32| {
        let local = scenario.local(slot * SLOT);
        load(local.hour() * 60 + local.minute())
    };
    let whole: u64 = (0..slots).map(load_of).sum();
    let (mut before, mut times) = (0, Vec::new());
    for slot in 0..slots {
        let after = before + load_of(slot);
        // Rounding of the running sum, not of each slot, so that the day's total is exact.
        let calls = total * after / whole - total * before / whole;
        times.extend((0..calls).map(|_| slot * SLOT + dice.below(SLOT)));
        before = after;
    }
    times.sort_unstable();
    // Somebody always waits for the lines to open: a day that is played must not begin with silence.
    if let Some(first) = times.first_mut() {
        *first = (*first).min(dice.between(20, 60));
    }

    let weights: Vec<u32> = scenario.skills.iter().map(|skill| skill.weight).collect();
    let mut known: Vec<String> = Vec::new();
    times
        .into_iter()
        .map(|at| {
            let caller = if !known.is_empty() && dice.chance(180) {
                dice.pick(&known).clone()
            } else {
                let number = format!("91{}{:09}", dice.between(6, 9), dice.below(1_000_000_000));
                known.push(number.clone());
                number
            };
            let skill = (!weights.is_empty()).then(|| dice.weighted(&weights));
            Arrival { at, caller, did: dice.pick(&scenario.dids).clone(), skill }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_has_exactly_the_calls_asked_for_and_peaks_before_noon() {
        let scenario = Scenario::sample(3, "ramaiah");
        let calls = arrivals(&scenario);
        assert_eq!(calls.len(), 900);
        let between = |from: u32, to: u32| calls.iter().filter(|call| (from..to).contains(&call.at)).count();
        // 10-11 against 13-14, the quiet hour.
        assert!(between(7_200, 10_800) > 3 * between(18_000, 21_600) / 2);
        assert!(calls.iter().all(|call| call.caller.len() == 12 && call.caller.starts_with("91")));
        assert!(calls[0].at <= 60);
    }
}
