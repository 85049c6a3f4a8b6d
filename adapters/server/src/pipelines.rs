//! Connects SQL, decoders and Kafka: makes sources and extractors from pipelines' definitions.

use std::sync::Arc;

use kernel::Error;
use kernel::message::SourceFailure;
use kernel::source::{Source, Sources};
use tidemark_decode::Extractor;
use tidemark_engine::{ExtractorSpec, PipelineFactory};
use tidemark_kafka::{AllowedBrokers, KafkaOptions, KafkaSource};
use tidemark_pipeline_sql::{Credential, parse_pipeline};
use tidemark_secrets::{Secrets, resolve};
use tidemark_sql::transform::PipelinePlanner;

pub(crate) struct Pipelines {
    planner: PipelinePlanner,
    secrets: Secrets,
    allowed_brokers: AllowedBrokers,
}

impl Pipelines {
    pub(crate) fn new(secrets: Secrets, allowed_brokers: AllowedBrokers) -> Result<Pipelines, String> {
        let planner = PipelinePlanner::new().map_err(|error| error.to_string())?;
        Ok(Pipelines { planner, secrets, allowed_brokers })
    }

    /// The database's secrets.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Whether a source can be made of a definition now.
    pub(crate) fn check(&self, definition_sql: &str) -> Result<(), Error> {
        match self.options(definition_sql) {
            Ok(_) => Ok(()),
            Err(SourceFailure::Permanent(error) | SourceFailure::Transient(error)) => Err(error),
            Err(SourceFailure::Lost { .. }) => unreachable!("nothing was read"),
        }
    }

    /// Secrets are read now, from their places; a missing one may exist later.
    fn options(&self, definition_sql: &str) -> Result<KafkaOptions, SourceFailure> {
        let pipeline = parse_pipeline(definition_sql).map_err(SourceFailure::Permanent)?;
        let source = &pipeline.source;
        let permanent = |error: Error| {
            let message = |why: &str| format!("pipeline \"{}\": {why}", pipeline.name);
            SourceFailure::Permanent(error.map_message(message))
        };
        source.brokers.iter().try_for_each(|broker| self.allowed_brokers.check(broker)).map_err(permanent)?;
        let mut settings = source.config.clone();
        settings.extend(resolve(&pipeline, &self.secrets).map_err(SourceFailure::Transient)?);
        let options = KafkaOptions::new(&source.brokers.join(","), &source.topic, settings);
        let mut options = options.map_err(permanent)?;
        options.allowed_brokers = self.allowed_brokers.clone();
        let elsewhere =
            |credential: &Credential| matches!(credential, Credential::File(_) | Credential::Env(_));
        options.secrets_may_change = source.credentials.values().any(elsewhere);
        Ok(options)
    }
}

impl Sources for Pipelines {
    fn source(&self, definition_sql: &str) -> Result<Arc<dyn Source>, SourceFailure> {
        let options = self.options(definition_sql)?;
        Ok(KafkaSource::new(options).map_err(SourceFailure::Permanent)?)
    }
}

impl PipelineFactory for Pipelines {
    fn extractor(&self, spec: ExtractorSpec) -> Result<Extractor, Error> {
        let ExtractorSpec { pipeline, table, shard_count, epoch, split, start } = spec;
        let (plan, transform) = self.planner.extract_plan(&pipeline.definition_sql, &table, shard_count)?;
        Extractor::new(plan, transform, pipeline.id, epoch, pipeline.generation, split, start)
    }

    fn has_secret(&self, definition_sql: &str) -> bool {
        parse_pipeline(definition_sql).is_ok_and(|pipeline| pipeline.source.is_in_clear())
    }
}

#[cfg(test)]
mod tests {
    use kernel::SqlState;

    use super::*;

    fn pipelines(allowed: AllowedBrokers) -> Pipelines {
        Pipelines::new(Secrets::in_memory(), allowed).unwrap()
    }

    fn definition(credentials: &str) -> String {
        format!(
            "create pipeline p as load data kafka 'b1:9092,b2:9092/t' credentials '{credentials}' into table t \
             format json (a <- a)"
        )
    }

    #[test]
    fn a_secret_that_is_not_there_is_tried_again_and_read_anew() {
        let pipelines = pipelines(AllowedBrokers::default());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let sql = definition(&format!(r#"{{"sasl.password": {{"file": "{}"}}}}"#, path.display()));
        let Err(SourceFailure::Transient(error)) = pipelines.source(&sql).map(drop) else {
            panic!("it may come");
        };
        assert_eq!(error.sqlstate, SqlState::UNDEFINED_FILE);
        assert_eq!(pipelines.check(&sql), Err(error));
        for password in ["first", "second"] {
            std::fs::write(&path, password).unwrap();
            let options = pipelines.options(&sql).unwrap();
            assert_eq!(options.settings["sasl.password"], password);
            assert!(options.secrets_may_change);
        }
        // A value that an older version stored in clear is read.
        let sql = definition(r#"{"sasl.password": "old"}"#);
        let options = pipelines.options(&sql).unwrap();
        assert_eq!(options.settings["sasl.password"], "old");
        assert!(!options.secrets_may_change && pipelines.has_secret(&sql));
    }

    #[test]
    fn only_allowed_brokers_make_a_source() {
        let sql = definition("{}");
        pipelines(AllowedBrokers::only(&["b1:9092", "b2"]).unwrap()).check(&sql).unwrap();
        let strict = pipelines(AllowedBrokers::only(&["b1"]).unwrap());
        let Err(SourceFailure::Permanent(error)) = strict.source(&sql).map(drop) else {
            panic!("it will not be allowed later");
        };
        assert_eq!(error.sqlstate, SqlState::INSUFFICIENT_PRIVILEGE);
        for named in ["\"p\"", "b2:9092", "allowed_brokers"] {
            assert!(error.message.contains(named), "{error}");
        }
    }
}
