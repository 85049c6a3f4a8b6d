//! Writes runs of the seeded generator as input of the target `scenario`, to begin a corpus with: bytes that decide what the seed
//! decided.
//!
//!     cargo run --manifest-path fuzz/Cargo.toml --bin corpus_from_seeds -- fuzz/corpus/scenario 3

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use sim::decide::{Encoded, FuzzBytes, Seeded};
use sim::fault::FaultSet;
use sim::run::{Plan, run};
use sim::swarm::Profile;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(count)) = (arguments.next(), arguments.next()) else {
        panic!("the folder of the corpus and the number of seeds of each profile are missing")
    };
    let (folder, count): (PathBuf, u64) = (folder.into(), count.parse().expect("a number of seeds"));
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    for (number, &profile) in Profile::ALL.iter().enumerate() {
        let plan = Plan { profile, faults: FaultSet::ALL, bug: None, print: false };
        for seed in 0..count {
            let bytes = Rc::new(RefCell::new(Vec::new()));
            let first = run(Encoded::new(Seeded::new(seed), bytes.clone()), plan);
            let again = run(FuzzBytes::new(&bytes.borrow()), plan);
            assert_eq!(again.hash, first.hash, "the bytes decide what the seed decided");
            let file = [&[number as u8], &bytes.borrow()[..]].concat();
            std::fs::write(folder.join(format!("{profile:?}-{seed}").to_lowercase()), file)
                .expect("it can be written");
        }
    }
}
