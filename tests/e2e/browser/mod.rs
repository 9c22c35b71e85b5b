//! The web monitor in headless Chromium, over the whole stack: what people who sign in see, and what they are told when
//! something is wrong.

mod agents;
mod day;
mod driver;
mod ghosts;
mod hospital;
mod line;
mod looks;
mod sign_in;
mod worklist;

pub(crate) use agents::{
    a_state_dated_in_years_to_come_says_so_and_stops_no_other_time,
    the_agents_are_one_stop_of_the_tab_key_and_arrow_keys_lead_among_them,
};
pub(crate) use day::a_day_with_kills_ends_with_the_folded_logs_board_on_the_page;
pub(crate) use ghosts::what_the_provider_never_said_is_presumed_until_the_truth_comes;
pub(crate) use line::{
    a_cut_network_loses_nothing_and_the_page_says_so, a_silent_projector_makes_the_page_stale_and_it_recovers,
    the_monitor_moves_while_calls_come_and_go,
};
pub(crate) use looks::every_part_of_the_page_is_accessible_in_both_themes;
pub(crate) use sign_in::each_role_signs_in_and_sees_its_part;
pub(crate) use worklist::of_two_supervisors_at_once_one_has_the_missed_call;
