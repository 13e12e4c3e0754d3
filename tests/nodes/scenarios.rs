//! The scenarios of `mongo_history`, short.

use std::time::Duration;

use libtest_mimic::Trial;

use crate::mongo_history::dropped::{self, Loss};
use crate::mongo_history::failover::{self, Blow};
use crate::mongo_history::garbage::{self, When};
use crate::mongo_history::unknown::{self, End};
use crate::mongo_history::{Found, clocks, killed, overrun};
use crate::trial;

/// When the blows fall.
const SEED: u64 = 20_261_126;

pub fn trials() -> Vec<Trial> {
    let mut trials = histories();
    trials.extend(blows());
    trials.extend([
        trial("dropped::commits_that_are_restored_go_on_where_they_were", async {
            dropped::and_restored(Loss::Dropped, 1).await.assert_sound();
        }),
        trial("dropped::commits_that_are_renamed_back_go_on_where_they_were", async {
            dropped::and_restored(Loss::Renamed, 1).await.assert_sound();
        }),
        trial("unknown::an_outcome_is_told_once_a_majority_follows_again", async {
            unknown::and_then(End::Confirmed, 1).await.assert_sound();
        }),
        trial("unknown::an_outcome_that_was_rolled_back_leaves_the_key_to_the_next", async {
            unknown::and_then(End::RolledBack, 1).await.assert_sound();
        }),
        trial("clocks::an_hour_off_changes_nothing", async {
            clocks::an_hour_off(60).await.assert_sound();
        }),
        trial("garbage::is_passed_over_in_the_change_stream", async {
            garbage::among_commits(When::AtOnce).await;
        }),
        trial("garbage::is_passed_over_in_a_backfill", async {
            garbage::among_commits(When::Later).await;
        }),
    ]);
    trials
}

fn histories() -> Vec<Trial> {
    vec![
        trial("history::lost_while_nobody_sequenced", async {
            let found = overrun::while_nobody_sequenced(3_000).await;
            found.assert_sound();
            assert!(found.whole.backfill_pages >= 3_000 / 256, "{}", found.whole.backfill_pages);
            assert!(found.whole.closing_pages >= 1);
        }),
        trial("history::lost_after_a_writer_was_killed", async {
            overrun::after_a_writer_was_killed(300, 2).await.assert_sound();
        }),
        trial("history::kept_while_a_handle_is_open", async {
            let found = overrun::while_a_handle_was_open(2).await;
            found.assert_sound();
            assert_eq!((found.whole.backfill_pages, found.whole.closing_pages), (0, 0));
        }),
        trial("history::lost_while_nobody_was_there", async {
            let found = overrun::while_nobody_was_there(1).await;
            found.assert_sound();
            assert_eq!(found.whole.backfill_pages, 0, "nothing was without its place");
            assert!(found.whole.closing_pages >= 1, "an empty page says where to go on");
        }),
        trial("history::a_backfill_that_is_killed_at_every_page", async {
            let found: Found = killed::at_every_page(12).await;
            found.assert_sound();
            assert!(found.times >= 6, "it was killed with its backfill open {} times only", found.times);
        }),
    ]
}

fn blows() -> Vec<Trial> {
    let blow = |name: &str, blows: Vec<Blow>| {
        trial(name, async move {
            println!("seed {SEED}");
            failover::under_appends(&blows, SEED).await.assert_sound();
        })
    };
    vec![
        blow("blows::the_primary_steps_down", vec![Blow::StepDown; 3]),
        blow("blows::the_primary_is_killed", vec![Blow::Kill]),
        blow("blows::the_primary_stops", vec![Blow::FreezePrimary(Duration::from_secs(12))]),
        blow("blows::the_secondaries_stop", vec![Blow::FreezeSecondaries(Duration::from_secs(12))]),
    ]
}
