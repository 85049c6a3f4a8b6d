//! Where SQL, decoders and Kafka meet: sources and extractors out of pipelines' definitions.

use std::sync::Arc;

use kernel::Error;
use kernel::source::{Source, Sources};
use tidemark_decode::Extractor;
use tidemark_engine::{ExtractorSpec, PipelineFactory};
use tidemark_kafka::{KafkaOptions, KafkaSource};
use tidemark_pipeline_sql::parse_pipeline;
use tidemark_sql::transform::PipelinePlanner;

pub(crate) struct Pipelines {
    planner: PipelinePlanner,
}

impl Pipelines {
    pub(crate) fn new() -> Result<Pipelines, String> {
        let planner = PipelinePlanner::new().map_err(|error| error.to_string())?;
        Ok(Pipelines { planner })
    }
}

impl Sources for Pipelines {
    fn source(&self, definition_sql: &str) -> Result<Arc<dyn Source>, Error> {
        let kafka = parse_pipeline(definition_sql)?.source;
        let mut settings = kafka.config;
        settings.extend(kafka.credentials);
        let options = KafkaOptions::new(&kafka.brokers.join(","), &kafka.topic, settings)?;
        Ok(KafkaSource::new(options)?)
    }
}

impl PipelineFactory for Pipelines {
    fn extractor(&self, spec: ExtractorSpec) -> Result<Extractor, Error> {
        let ExtractorSpec { pipeline, table, shard_count, epoch, partition, start } = spec;
        let (plan, transform) = self.planner.extract_plan(&pipeline.definition_sql, &table, shard_count)?;
        Extractor::new(plan, transform, pipeline.id, epoch, pipeline.run, partition, start)
    }
}
