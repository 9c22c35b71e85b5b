//! Missed calls, batch by batch: what people do about them, and whose they are.

use helix_postgres::Snapshot;
use helix_schemas::{decision::Decision, fact::CallParty};
use sqlx::Executor as _;

use crate::story::{TOPIC, World, answered, decided, ended, inbound, missed_call, outbound, rang, workspace};

/// Who holds a missed call, after rows and roots were compared with the fold.
async fn holder(world: &World, call: &str) -> Option<String> {
    world.agrees_with_the_fold().await;
    let stored = Snapshot::take(&world.pool, TOPIC, None).await.unwrap();
    let rows = &stored.rows[&workspace("ramaiah")].missed_calls;
    rows.iter().find(|row| row.call.as_str() == call).unwrap().claimed_by.clone()
}

#[tokio::test]
async fn a_release_in_a_batch_of_its_own_frees_the_call() {
    for caller in ["919000000001", "Anonymous"] {
        let mut world = World::new().await;
        let wish = |seconds, decision| decided(seconds, decision, None, Some("m"), None);
        world.tell(missed_call(0, "m", caller)).await;
        world.tell([wish(40, Decision::MissedCallClaimed)]).await;
        assert_eq!(holder(&world, "m").await.as_deref(), Some("supervisor"));
        world.tell([wish(50, Decision::MissedCallReleased)]).await;
        assert_eq!(holder(&world, "m").await, None);
        world.tell([wish(60, Decision::MissedCallClaimed)]).await;
        assert_eq!(holder(&world, "m").await.as_deref(), Some("supervisor"));
        // One that comes late, and lies before the claim, changes nothing.
        world.tell([wish(55, Decision::MissedCallReleased)]).await;
        assert_eq!(holder(&world, "m").await.as_deref(), Some("supervisor"));
        world.tell([wish(70, Decision::MissedCallWaived)]).await;
        assert_eq!(holder(&world, "m").await, None);
    }
}

#[tokio::test]
async fn one_callers_calls_are_linked_however_the_number_is_written_and_in_whatever_batch() {
    let mut world = World::new().await;
    world.tell(missed_call(0, "m", "9876543210")).await;
    world.tell(missed_call(60, "n", "+91 98765 43210")).await;
    world.agrees_with_the_fold().await;
    let back = || CallParty { caller: Some("09876543210".into()), ..outbound() };
    world.tell([rang(100, "back", None, back()), answered(110, "back", None, back())]).await;
    world.agrees_with_the_fold().await;
    let stored = world.snapshot().await;
    for row in &stored.rows[&workspace("ramaiah")].missed_calls {
        assert_eq!(row.closing.as_ref().unwrap().by, "back");
    }
    // Another number, later: those of the first are open again.
    let other = || CallParty { caller: Some("9000000009".into()), ..outbound() };
    world.tell([ended(130, "back", None, other())]).await;
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn who_withholds_the_number_is_linked_to_nobody() {
    let mut world = World::new().await;
    world.tell(missed_call(0, "m", "Anonymous")).await;
    let anonymous = || CallParty { caller: Some("Anonymous".into()), ..inbound() };
    world.tell([rang(60, "n", None, anonymous()), answered(70, "n", None, anonymous())]).await;
    world.agrees_with_the_fold().await;
    let stored = world.snapshot().await;
    assert!(stored.rows[&workspace("ramaiah")].missed_calls[0].closing.is_none());
}

#[tokio::test]
async fn callers_are_found_by_an_index_of_the_key() {
    let world = World::new().await;
    let mut connection = world.pool.acquire().await.unwrap();
    connection.execute("set enable_seqscan = off").await.unwrap();
    for table in ["calls", "missed_calls"] {
        let asked =
            format!("explain select * from {table} where workspace_id = 'ramaiah' and caller_key = '919876543210'");
        let plan: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(asked)).fetch_all(&mut *connection).await.unwrap();
        assert!(plan.iter().any(|line| line.contains(&format!("{table}_by_caller"))), "{plan:?}");
    }
}
