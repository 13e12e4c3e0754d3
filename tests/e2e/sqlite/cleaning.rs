//! Artifacts that nobody refers to, in a file whose runs were long ago.

use crate::support::{Place, fits};

#[test]
fn what_no_run_names_is_taken_away_and_nothing_else() {
    let place = Place::new();
    place.run(&["run", "--", "sh", "-c", "seq 100000"]).expect(0);
    let clean = |args: &[&str]| place.run(&[&["artifacts", "clean", "--json"], args].concat()).expect(0).json();
    let young = clean(&[]);
    assert_eq!((&young["unnamed"], &young["young"]), (&0.into(), &young["artifacts"]), "{young}");
    // Everything is old now, and one artifact more is there than any event names.
    let stranded = "INSERT INTO artifacts VALUES (printf('%064d', 7), x'00112233')";
    place.store.connection().execute_batch(&format!("UPDATE artifact_puts SET put_at = 0; {stranded};")).unwrap();
    let found = clean(&["--dry-run"]);
    assert_eq!((&found["unnamed"], &found["unnamed_bytes"], &found["removed"]), (&1.into(), &4.into(), &0.into()));
    let done = clean(&["--older-than", "7d"]);
    fits(&place, "artifacts-clean", &[young, found, done.clone()]);
    assert_eq!((&done["unnamed"], &done["removed"], &done["young"]), (&1.into(), &1.into(), &0.into()), "{done}");
    assert!(place.run(&["artifacts", "clean"]).expect(0).out().contains("none that no event names"));
    place.verify();
    let id = place.executions()[0]["id"].as_str().unwrap().to_owned();
    place.run(&["executions", "retry", &id]).expect(0);
    for text in ["59m", "soon", "0d"] {
        assert!(place.run(&["artifacts", "clean", "--older-than", text]).expect(2).err().contains("older-than"));
    }
}

#[test]
fn a_file_of_an_older_program_is_cleaned_as_well() {
    let place = Place::new();
    place.run(&["run", "--", "true"]).expect(0);
    let stranded = "INSERT INTO artifacts VALUES (printf('%064d', 7), x'00')";
    place.store.connection().execute_batch(&format!("DROP TABLE artifact_puts; {stranded};")).unwrap();
    let done = place.run(&["artifacts", "clean", "--json"]).expect(0).json();
    assert_eq!((&done["unnamed"], &done["removed"], &done["young"]), (&1.into(), &1.into(), &0.into()), "{done}");
    place.verify();
}
