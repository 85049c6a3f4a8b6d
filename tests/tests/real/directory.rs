//! The data directory: one server at a time, and only directories of this program.

use tests::scratch::Scratch;
use tests::server::refused_to_serve;

use crate::load;

#[test]
fn a_second_server_on_one_data_directory_is_refused_and_the_first_goes_on() {
    let mut world = load::world("two-servers");
    world.server.run("CREATE TABLE t (a BIGINT)");
    world.server.run("INSERT INTO t VALUES (1)");
    let (status, said) = refused_to_serve(world.scratch.path());
    assert!(!status.success());
    assert!(said.contains(&world.server.pid().to_string()), "the other process is named: {said}");
    assert_eq!(world.server.number("SELECT count(*) FROM t"), 1);
    // A killed server leaves nothing that blocks the next one.
    world.server.kill();
    world.server.restart();
    assert_eq!(world.server.number("SELECT count(*) FROM t"), 1);
}

#[test]
fn a_directory_that_is_not_ours_is_refused_and_left_as_it_is() {
    let scratch = Scratch::new("not-ours");
    let data = scratch.path().join("data");
    std::fs::create_dir(&data).expect("the scratch directory is ours");
    let file = data.join("thesis.txt");
    std::fs::write(&file, "years of work").expect("the directory was just made");
    let (status, said) = refused_to_serve(scratch.path());
    assert!(!status.success());
    assert!(said.contains(&data.display().to_string()), "the directory is named: {said}");
    assert_eq!(std::fs::read_to_string(&file).expect("the file is still there"), "years of work");
    assert_eq!(std::fs::read_dir(&data).expect("the directory is still there").count(), 1);
}
