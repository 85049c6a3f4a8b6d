//! Sources that are dropped before they are opened, and partitions that end before their cursors.

use super::*;

fn reading_of(latest: [i64; 2]) -> SourceMetadata {
    SourceMetadata::kafka(&Identity::new(&TOPIC), (0..).zip(latest.map(|latest| (0, latest))))
}

/// START and DROP wait in the queue together: both are carried out before the host gets an effect of either.
#[test]
fn a_source_is_opened_with_its_definitions_although_its_pipeline_was_dropped_meanwhile() {
    let mut host = Host::new();
    host.define(1, create_table("t", false));
    host.define(2, create_pipeline(pipeline("p", "t", OnDuplicate::Reject)));
    host.kernel.hold(true);
    let start = Definition::StartPipeline { name: "p".into(), if_not_running: false };
    host.request(3, Request::Define(start));
    host.request(4, Request::Define(Definition::DropPipeline { name: "p".into(), if_exists: false }));
    host.kernel.hold(false);
    host.seen.clear();
    host.feed(Input::Tick);
    assert!(!host.kernel.tip().pipelines.contains_key(&PipelineId(1)), "the pipeline is dropped already");
    let of_source = host.seen.iter().filter_map(|effect| match effect {
        Effect::SourceOpen { definition, table, .. } => Some((definition.name.clone(), table.name.clone())),
        Effect::SourceClose { .. } => Some(("closed".into(), "".into())),
        _ => None,
    });
    assert_eq!(
        of_source.collect::<Vec<_>>(),
        [("p".into(), "t".into()), ("closed".to_string(), "".to_string())]
    );
}

/// A pipeline at offset 10 of both of its partitions, with answers that name these ends.
fn read_ends(ends: &[[i64; 2]]) -> (Host, Vec<Event>) {
    let mut host = Host::new();
    host.define(1, create_table("t", false));
    host.define(2, create_pipeline(pipeline("p", "t", OnDuplicate::Reject)));
    let offsets =
        Offsets::At([0, 1].map(|partition| (SplitName::kafka(partition), Position::kafka(10, -1))).into());
    host.define(3, Definition::SetOffsets { name: "p".into(), offsets });
    host.define(4, Definition::StartPipeline { name: "p".into(), if_not_running: false });
    let mut told = vec![];
    for latest in ends {
        let epoch = host.epoch();
        host.feed(Input::SourceOpened { pipeline: PipelineId(1), epoch, metadata: reading_of(*latest) });
        told.extend(host.seen.drain(..).filter_map(|effect| match effect {
            Effect::Event(event) => Some(event),
            _ => None,
        }));
        host.now_us += Pacing::default().retry_us_max;
        host.feed(Input::Tick);
        host.sync();
    }
    (host, told)
}

#[test]
fn partitions_that_end_too_early_in_turns_are_no_loss() {
    let (host, told) = read_ends(&[[5, 20], [5, 20], [5, 20], [5, 20], [5, 20], [20, 5], [20, 5], [20, 20]]);
    assert_eq!(host.state(), PipelineState::Running);
    assert!(told.iter().all(|event| matches!(event, Event::SourceRetried { .. })), "{told:?}");
}

#[test]
fn a_loss_is_told_of_the_partition_that_ends_too_early_each_time() {
    let (host, told) = read_ends(&[[5, 20], [5, 20], [5, 20], [5, 20], [5, 20], [5, 5]]);
    let PipelineState::Failed(error) = host.state() else { panic!("the pipeline continues: {told:?}") };
    assert!(error.message.starts_with("partition 0 ends at 5, before the next message 10"), "{error}");
}

/// Metadata of partition 0, which ends at 10 for good, and of partition 1.
fn finished_metadata() -> SourceMetadata {
    let mut metadata = reading_of([10, 1000]);
    metadata.splits.get_mut(&SplitName::kafka(0)).expect("partition 0").finished = true;
    metadata
}

#[test]
fn a_split_is_finished_by_the_batch_that_reaches_its_end_and_is_not_fetched_again() {
    let mut host = Host::new();
    host.define(1, create_table("t", false));
    host.define(2, create_pipeline(pipeline("p", "t", OnDuplicate::Reject)));
    host.define(3, Definition::StartPipeline { name: "p".into(), if_not_running: false });
    let id = PipelineId(1);
    let opened = |host: &mut Host| {
        let epoch = host.epoch();
        host.feed(Input::SourceOpened { pipeline: id, epoch, metadata: finished_metadata() });
        host.sync();
    };
    let verified = |host: &mut Host| {
        let asked = host.seen.iter().rev().find_map(|effect| match effect {
            Effect::SourceVerify { epoch, token, .. } => Some((*epoch, *token)),
            _ => None,
        });
        let (epoch, token) = asked.expect("metadata was requested");
        host.feed(Input::SourceVerified { pipeline: id, epoch, token, metadata: finished_metadata() });
        host.sync();
    };
    let finished =
        |host: &Host| host.kernel.published().catalog.cursors[&id].get(SplitId(0)).unwrap().finished;
    opened(&mut host);
    for (from, to) in [(0, 4), (4, 10)] {
        assert!(!finished(&host), "messages are missing");
        host.extracted(host.epoch(), from, to);
        verified(&mut host);
    }
    assert!(finished(&host));

    // A source that goes on after the end contradicts itself: it is opened again, and the split is left out.
    let epoch = host.epoch();
    host.seen.clear();
    host.extracted(epoch, 10, 11);
    assert!(host.epoch() > epoch);
    opened(&mut host);
    let starts: Vec<SplitId> = host
        .seen
        .iter()
        .filter_map(|effect| match effect {
            Effect::Fetch { starts, .. } => Some(starts.iter().map(|start| start.split)),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(starts, [SplitId(1)]);
    assert_eq!(host.cursor(), 10);

    // SET OFFSETS begins anew.
    host.define(4, Definition::StopPipeline { name: "p".into(), if_running: false });
    let offsets = Offsets::At([(SplitName::kafka(0), Position::kafka(0, -1))].into());
    host.define(5, Definition::SetOffsets { name: "p".into(), offsets });
    assert!(!finished(&host));
}
