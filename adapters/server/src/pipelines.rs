//! Connects SQL, decoders and sources: makes sources and extractors from pipelines' definitions. [`CONNECTORS`] is the
//! registry of the kinds of sources.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::message::SourceFailure;
use kernel::source::{Source, Sources};
use kernel::{Error, SourceKind, SqlState};
use tidemark_decode::Extractor;
use tidemark_engine::{ExtractorSpec, PipelineFactory};
use tidemark_kafka::{AllowedBrokers, KafkaOptions, KafkaSource};
use tidemark_pipeline_sql::{Credential, KafkaAddress, SourceSpec, parse_pipeline};
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
        match self.with_connector(definition_sql, |connector, connection| (connector.check)(self, connection))
        {
            Ok(()) => Ok(()),
            Err(SourceFailure::Permanent(error) | SourceFailure::Transient(error)) => Err(error),
            Err(SourceFailure::Lost { .. }) => unreachable!("nothing was read"),
        }
    }

    /// Hands a definition's connection to the connector of its kind. Its errors name the pipeline.
    fn with_connector<T>(
        &self,
        definition_sql: &str,
        run: impl FnOnce(&Connector, Connection) -> Result<T, Error>,
    ) -> Result<T, SourceFailure> {
        let connection = self.connection(definition_sql)?;
        let connector = CONNECTORS.iter().find(|connector| connector.kind == connection.source.kind);
        let name = connection.pipeline.clone();
        run(connector.expect("every kind of source has a connector"), connection).map_err(|error| {
            SourceFailure::Permanent(error.map_message(|why| format!("pipeline \"{name}\": {why}")))
        })
    }

    /// What a definition's source connects with. Secrets are read now, from their places; a missing one may exist later.
    fn connection(&self, definition_sql: &str) -> Result<Connection, SourceFailure> {
        let pipeline = parse_pipeline(definition_sql).map_err(SourceFailure::Permanent)?;
        let mut settings = pipeline.source.config.clone();
        settings.extend(resolve(&pipeline, &self.secrets).map_err(SourceFailure::Transient)?);
        let elsewhere =
            |credential: &Credential| matches!(credential, Credential::File(_) | Credential::Env(_));
        let secrets_may_change = pipeline.source.credentials.values().any(elsewhere);
        Ok(Connection { pipeline: pipeline.name, source: pipeline.source, settings, secrets_may_change })
    }
}

/// What a source connects with.
struct Connection {
    /// Name of the pipeline, for error texts.
    pipeline: String,
    source: SourceSpec,
    /// CONFIG and CREDENTIALS, with the values of secrets.
    settings: BTreeMap<String, String>,
    /// A secret is in a file or a variable, where it may change.
    secrets_may_change: bool,
}

type MadeSource = Result<Arc<dyn Source>, Error>;

/// How sources of one kind are made.
struct Connector {
    kind: SourceKind,
    /// Whether settings and place are allowed.
    check: fn(&Pipelines, Connection) -> Result<(), Error>,
    /// Makes a source. It connects at its first call.
    connect: fn(&Pipelines, Connection) -> MadeSource,
}

/// The registry of the kinds of sources. A new kind adds a row here, and one to [`tidemark_pipeline_sql::KINDS`].
const CONNECTORS: &[Connector] = &[Connector {
    kind: SourceKind::Kafka,
    check: |pipelines, connection| kafka_options(pipelines, connection).map(drop),
    connect: |pipelines, connection| Ok(KafkaSource::new(kafka_options(pipelines, connection)?)?),
}];

fn kafka_options(pipelines: &Pipelines, connection: Connection) -> Result<KafkaOptions, Error> {
    let address = KafkaAddress::parse(&connection.source.address)
        .map_err(|message| Error::new(SqlState::INVALID_PARAMETER_VALUE, message))?;
    address.brokers.iter().try_for_each(|broker| pipelines.allowed_brokers.check(broker))?;
    let mut options = KafkaOptions::new(&address.brokers.join(","), &address.topic, connection.settings)?;
    options.allowed_brokers = pipelines.allowed_brokers.clone();
    options.secrets_may_change = connection.secrets_may_change;
    Ok(options)
}

impl Sources for Pipelines {
    fn source(&self, definition_sql: &str) -> Result<Arc<dyn Source>, SourceFailure> {
        self.with_connector(definition_sql, |connector, connection| (connector.connect)(self, connection))
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
    use super::*;

    fn pipelines(allowed: AllowedBrokers) -> Pipelines {
        Pipelines::new(Secrets::in_memory(), allowed).unwrap()
    }

    fn options(pipelines: &Pipelines, sql: &str) -> KafkaOptions {
        kafka_options(pipelines, pipelines.connection(sql).unwrap()).unwrap()
    }

    #[test]
    fn every_kind_of_source_has_its_rows() {
        for kind in SourceKind::ALL {
            assert_eq!(CONNECTORS.iter().filter(|connector| connector.kind == kind).count(), 1, "{kind:?}");
            assert_eq!(tidemark_pipeline_sql::SourceSyntax::of(kind).kind, kind);
        }
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
            let options = options(&pipelines, &sql);
            assert_eq!(options.settings["sasl.password"], password);
            assert!(options.secrets_may_change);
        }
        // A value that an older version stored in clear is read.
        let sql = definition(r#"{"sasl.password": "old"}"#);
        let options = options(&pipelines, &sql);
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
