//! The simulator: crash-and-recover cycles a second in short seeds, seeds a second of the swarm, on one thread in CPU
//! time, and on one and two threads by the wall clock, to show that threads do not block one another. Each run is made
//! once here; `sim run` makes each twice.

use std::ops::Range;
use std::thread;

use criterion::measurement::Measurement;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use sim::decide::Seeded;
use sim::fault::FaultSet;
use sim::run::{Plan, run};
use sim::swarm::Profile;

mod cpu_time;

use cpu_time::CpuTime;

/// The same allocator as the command line.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of one measurement: enough that a few long ones do not dominate.
const SEEDS: Range<u64> = 0..64;

/// The cycles of a run: ends of a process by a crash, by its own halt or during recovery.
fn cycles(seed: u64, profile: Profile) -> u64 {
    let outcome = run(Seeded::new(seed), Plan { profile, faults: FaultSet::ALL, bug: None, print: false });
    assert_eq!(outcome.violation, None, "seed {seed} of {profile:?}");
    let disk = outcome.counts.disk;
    disk.kills + disk.power_cuts
}

fn bench_runs<M: Measurement>(group: &mut BenchmarkGroup<'_, M>) {
    for (profile, name) in [(Profile::Crashes, "short seeds"), (Profile::Swarm, "the swarm")] {
        let survived: u64 = SEEDS.map(|seed| cycles(seed, profile)).sum();
        group.throughput(Throughput::Elements(survived));
        group.bench_function(format!("crash and recover, {name}"), |b| {
            b.iter(|| SEEDS.map(|seed| cycles(seed, profile)).sum::<u64>());
        });
        group.throughput(Throughput::Elements(SEEDS.end - SEEDS.start));
        group.bench_function(format!("seeds, {name}"), |b| {
            b.iter(|| SEEDS.map(|seed| cycles(seed, profile)).sum::<u64>());
        });
    }
}

fn bench_one_thread(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("simulator, CPU time of one thread");
    group.sample_size(10);
    bench_runs(&mut group);
    group.finish();
}

/// Every thread makes the same runs, so that with as many cores as threads the time stays the same.
fn bench_threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("simulator, wall clock");
    group.sample_size(10);
    for threads in [1, 2] {
        group.throughput(Throughput::Elements(threads * (SEEDS.end - SEEDS.start)));
        group.bench_function(format!("short seeds, {threads} threads"), |b| {
            b.iter(|| {
                thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| SEEDS.map(|seed| cycles(seed, Profile::Crashes)).sum::<u64>());
                    }
                })
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = one_thread;
    config = Criterion::default().with_measurement(CpuTime);
    targets = bench_one_thread
}
criterion_group!(threads, bench_threads);
criterion_main!(one_thread, threads);
