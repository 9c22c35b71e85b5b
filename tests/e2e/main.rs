//! End to end over real components: one stack, started by `helix up` on free ports, for all tests, one after the other.
//!
//! Run by `make test`, or alone: `cargo build -p helix && cargo test -p helix-tests`. A filter may follow `--`.

mod boards;
mod browser;
mod contract;
mod corpus;
mod forward;
mod odd;
mod openapi;
mod proof;
mod redrive;
mod spool;
mod tenancy;
mod tls;

use std::sync::Arc;

use helix_tests::stack::Stack;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

type Outcome = anyhow::Result<()>;

/// A test by the name of its function.
macro_rules! tests {
    ($stack:ident, $runtime:ident, $($module:ident :: $name:ident),+ $(,)?) => {
        vec![$({
            let (stack, runtime) = ($stack.clone(), $runtime.clone());
            Trial::test(concat!(stringify!($module), "::", stringify!($name)), move || {
                let outcome: Outcome = runtime.block_on($module::$name(&stack));
                outcome.map_err(|error| Failed::from(format!("{error:#}")))
            })
        }),+]
    };
}

fn main() {
    let mut arguments = Arguments::from_args();
    // One stack, and some tests kill parts of it.
    arguments.test_threads = Some(1);
    if arguments.list {
        libtest_mimic::run(&arguments, Vec::new()).exit();
    }
    let started = Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let stack = runtime.block_on(Stack::start())?;
        Ok((Arc::new(runtime), Arc::new(stack)))
    });
    let (runtime, stack) = match started {
        Ok(started) => started,
        Err(error) => {
            eprintln!("{error:#}");
            std::process::exit(1);
        }
    };
    let trials = tests!(
        stack,
        runtime,
        contract::dev_env_has_every_name_of_the_contract,
        contract::health_and_probes_answer_without_a_key,
        contract::a_wrong_key_is_401_and_the_bytes_are_kept,
        contract::an_unknown_workspace_is_404_and_a_large_body_413,
        contract::the_directory_registers_refuses_releases_and_beats,
        contract::the_gateway_serves_its_hosts_and_nothing_else,
        corpus::every_core_body_gets_the_contracts_status,
        corpus::an_inbound_call_is_on_every_screen_within_a_second,
        corpus::release_and_idle_of_one_second_are_one_ready_interval,
        corpus::ids_beyond_two_to_the_53_survive_everywhere,
        corpus::the_callback_outranks_the_events_and_its_secret_is_nowhere,
        corpus::an_unknown_action_is_a_fact_of_kind_unknown,
        tenancy::a_token_of_another_workspace_is_refused,
        tenancy::the_database_shows_a_role_only_its_workspace,
        tls::the_brokers_are_believed_by_their_certificate_and_name_alone,
        redrive::two_instances_have_one_directory,
        redrive::liveness_is_a_key_that_expires_and_never_decides_where_a_fact_goes,
        redrive::unrouted_events_are_redriven_by_themselves_in_order,
        redrive::a_refused_body_can_be_looked_at_and_redriven,
        redrive::the_verbs_of_what_was_set_aside_end_with_the_codes_of_the_contract,
        forward::events_reach_older_sidecars_in_order_through_a_crash_and_a_receiver_that_hangs,
        browser::the_monitor_moves_while_calls_come_and_go,
        browser::each_role_signs_in_and_sees_its_part,
        browser::a_cut_network_loses_nothing_and_the_page_says_so,
        browser::a_silent_projector_makes_the_page_stale_and_it_recovers,
        browser::of_two_supervisors_at_once_one_has_the_missed_call,
        browser::every_part_of_the_page_is_accessible_in_both_themes,
        browser::what_the_provider_never_said_is_presumed_until_the_truth_comes,
        browser::a_state_dated_in_years_to_come_says_so_and_stops_no_other_time,
        browser::the_agents_are_one_stop_of_the_tab_key_and_arrow_keys_lead_among_them,
        browser::a_day_with_kills_ends_with_the_folded_logs_board_on_the_page,
        proof::kills_in_the_middle_of_a_day_leave_the_rows_of_an_undisturbed_run,
        proof::postgres_and_clickhouse_agree_on_every_shared_number,
        proof::the_live_board_is_the_folded_log,
        proof::a_changed_row_is_found_and_a_rebuild_mends_it,
        proof::clickhouses_facts_are_rebuilt_under_traffic_exchanged_and_brought_back,
        proof::a_paused_projection_rests_and_goes_on,
        proof::clickhouses_projection_rests_and_goes_on_too,
        boards::a_board_rests_is_rebuilt_beside_exchanged_and_brought_back_while_facts_flow,
        proof::an_export_can_be_checked_by_its_manifest,
        openapi::the_document_of_the_ingest_is_true,
        odd::every_odd_delivery_is_answered_and_accounted_for,
        spool::a_frozen_broker_and_a_killed_ingest_lose_nothing_and_keep_the_order,
        spool::a_full_disk_is_503_until_the_log_is_back_and_nothing_taken_is_lost,
        proof::a_poison_fact_parks_its_key_and_nothing_else,
    );
    let conclusion = libtest_mimic::run(&arguments, trials);
    stack.stop(!conclusion.has_failed());
    conclusion.exit();
}
