//! Resolves the credentials of a definition to the settings that open a source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use kernel::schema::Catalog;
use kernel::{Error, Result, SqlState};
use tidemark_pipeline_sql::{CreatePipeline, Credential, parse_pipeline};

use crate::{SECRET_BYTES_MAX, Secrets};

/// The settings of CREDENTIALS with their values, read now, because files and the environment may change at any time.
pub fn resolve(pipeline: &CreatePipeline, secrets: &Secrets) -> Result<BTreeMap<String, String>> {
    let value = |(property, credential): (&String, &Credential)| {
        let read = match credential {
            Credential::Clear(value) => Ok(value.clone()),
            Credential::File(path) => of_file(Path::new(path)),
            Credential::Env(name) => of_environment(name),
            Credential::Kept(name) => kept(secrets, name),
        };
        let value = read.map_err(|error| {
            error.map_message(|why| {
                format!("CREDENTIALS of pipeline \"{}\": \"{property}\" {why}", pipeline.name)
            })
        })?;
        Ok((property.clone(), value))
    };
    pipeline.source.credentials.iter().map(value).collect()
}

fn kept(secrets: &Secrets, name: &str) -> Result<String> {
    secrets.get(name)?.ok_or_else(|| {
        let message =
            "is missing in the file of secrets in the data directory; set it again: ALTER PIPELINE … SET CREDENTIALS";
        Error::new(SqlState::UNDEFINED_OBJECT, message)
    })
}

fn of_environment(name: &str) -> Result<String> {
    match std::env::var(name) {
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => {
            let message = format!("names the variable {name}, which is missing in the server's environment");
            Err(Error::new(SqlState::UNDEFINED_OBJECT, message))
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            let message = format!("names the variable {name}, whose value is not UTF-8");
            Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message))
        }
    }
}

/// A file's text without the line end that editors and `echo` append.
fn of_file(path: &Path) -> Result<String> {
    let unreadable = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SqlState::UNDEFINED_FILE,
            io::ErrorKind::PermissionDenied => SqlState::INSUFFICIENT_PRIVILEGE,
            _ => SqlState::IO_ERROR,
        };
        Error::new(kind, format!("names the file {}, which cannot be read: {error}", path.display()))
    };
    let wrong = |why: &str| {
        let message = format!("names the file {}, which {why}", path.display());
        Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message))
    };
    // Reading other kinds of files may block. A link to a file is allowed; mounted secrets are links.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return wrong("is no ordinary file");
    }
    let mut bytes = Vec::new();
    let most = SECRET_BYTES_MAX as u64 + 2;
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(unreadable)?;
    let Ok(text) = String::from_utf8(bytes) else { return wrong("is not UTF-8") };
    let value = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    match value {
        "" => wrong("is empty"),
        value if value.len() > SECRET_BYTES_MAX => wrong("is longer than 64 KiB"),
        value if value.contains('\0') => wrong("has a byte of zero"),
        value => Ok(value.to_owned()),
    }
}

/// Names of the stored secrets that a catalog's pipelines use. None if a definition cannot be read: then the set is
/// unknown.
pub fn used(catalog: &Catalog) -> Option<BTreeSet<String>> {
    let mut used = BTreeSet::new();
    for pipeline in catalog.pipelines.values() {
        let definition = parse_pipeline(&pipeline.definition_sql).ok()?;
        used.extend(definition.source.kept_secrets().map(str::to_owned));
    }
    Some(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(credentials: &str) -> CreatePipeline {
        let sql = format!(
            "create pipeline p as load data kafka 'h/t' credentials '{credentials}' into table t format json (a <- a)"
        );
        parse_pipeline(&sql).unwrap()
    }

    #[test]
    fn a_secret_in_a_file_is_read_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let p = pipeline(&format!(r#"{{"sasl.password": {{"file": "{}"}}}}"#, path.display()));
        let resolved = || resolve(&p, &Secrets::in_memory());

        let missing = resolved().unwrap_err();
        assert_eq!(missing.sqlstate, SqlState::UNDEFINED_FILE);
        for named in ["\"p\"", "\"sasl.password\"", path.to_str().unwrap()] {
            assert!(missing.message.contains(named), "{missing}");
        }
        for (text, value) in [("first\n", "first"), ("second\r\n", "second"), (" third \n\n", " third \n")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(resolved().unwrap()["sasl.password"], value);
        }
        let long = "x".repeat(SECRET_BYTES_MAX + 1);
        for (bytes, why) in
            [(&b"\xff"[..], "UTF-8"), (b"\n", "empty"), (b"a\0", "zero"), (long.as_bytes(), "64 KiB")]
        {
            std::fs::write(&path, bytes).unwrap();
            let error = resolved().unwrap_err();
            assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER_VALUE);
            assert!(error.message.contains(why), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(resolved().unwrap_err().message.contains("no ordinary file"));
    }

    #[test]
    fn a_secret_is_read_from_the_environment_and_from_what_is_kept() {
        let secrets = Secrets::in_memory();
        let name = secrets.keep(&["hidden".into()]).unwrap().pop().unwrap();
        let p = pipeline(&format!(r#"{{"a": {{"env": "PATH"}}, "b": {{"kept": "{name}"}}, "c": "old"}}"#));
        let resolved = resolve(&p, &secrets).unwrap();
        assert_eq!(resolved["a"], std::env::var("PATH").unwrap());
        assert_eq!((resolved["b"].as_str(), resolved["c"].as_str()), ("hidden", "old"));
        for (credentials, named) in [
            (r#"{"a": {"env": "NO_SUCH_VARIABLE"}}"#, "NO_SUCH_VARIABLE"),
            (r#"{"a": {"kept": "0"}}"#, "is missing"),
        ] {
            let error = resolve(&pipeline(credentials), &secrets).unwrap_err();
            assert_eq!(error.sqlstate, SqlState::UNDEFINED_OBJECT);
            assert!(error.message.contains(named) && error.message.contains("\"a\""), "{error}");
        }
    }
}
