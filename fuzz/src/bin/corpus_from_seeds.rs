//! Writes runs of the seeded generator as input of the target `scenario`, to begin a corpus with: bytes that decide what the seed
//! decided.
//!
//!     cargo run --manifest-path fuzz/Cargo.toml --bin corpus_from_seeds -- fuzz/corpus/scenario 3

use std::path::PathBuf;

use sim::fuzz::bytes_of_seed;
use sim::swarm::Profile;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(count)) = (arguments.next(), arguments.next()) else {
        panic!("the folder of the corpus and the number of seeds of each profile are missing")
    };
    let (folder, count): (PathBuf, u64) = (folder.into(), count.parse().expect("a number of seeds"));
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    for &profile in Profile::ALL {
        for seed in 0..count {
            let file = folder.join(format!("{profile:?}-{seed}").to_lowercase());
            std::fs::write(file, bytes_of_seed(profile, seed)).expect("it can be written");
        }
    }
}
