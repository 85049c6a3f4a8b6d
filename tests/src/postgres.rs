//! A real PostgreSQL 15: fetched from Maven Central, started on a free loopback port, stopped by its process id, also when the
//! test process dies; or the one that `TIDEMARK_POSTGRES` names. It refuses to run as root, so root starts it as `nobody`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};

use crate::kafka::tail;
use crate::scratch::{free_port, unique};

/// Names the PostgreSQL to use instead of one of our own: a connection string of a user who may create databases.
const POSTGRES_ENV: &str = "TIDEMARK_POSTGRES";

/// Answers of another major version may differ.
const MAJOR: &str = "15";

/// The number of `nobody`, who must have a name in the password file and no rights.
const NOBODY: &str = "65534";

/// Starts the server and waits for its own standard input to end, which happens when the test process ends, however it
/// ends. Then it stops the server by its process id, at once, and removes its directory.
const KEEPER: &str = r#"
trap '' INT TERM HUP
dir=$1; shift
"$@" </dev/null >>"$dir/postgres.log" 2>&1 &
pid=$!
echo "$pid"
read -r order
kill -QUIT "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
rm -rf "$dir"
"#;

/// A PostgreSQL 15: one of our own, or one that runs already.
#[derive(Debug)]
pub struct Postgres {
    config: Config,
    keeper: Option<Child>,
}

impl Postgres {
    /// The one that `TIDEMARK_POSTGRES` names, or a new one of our own.
    pub fn start() -> Postgres {
        let named = std::env::var(POSTGRES_ENV).unwrap_or_default();
        let postgres = if named.is_empty() {
            Postgres::start_own()
        } else {
            let config =
                named.parse().unwrap_or_else(|e| panic!("{POSTGRES_ENV} is no connection string: {e}"));
            Postgres { config, keeper: None }
        };
        let row =
            postgres.connect().query_one("SHOW server_version", &[]).expect("PostgreSQL knows its version");
        let version: String = row.get(0);
        assert!(
            version.split('.').next() == Some(MAJOR),
            "PostgreSQL {MAJOR} is what we compare with, not {version}"
        );
        postgres
    }

    /// How to connect.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A connection.
    pub fn connect(&self) -> Client {
        self.config.connect(NoTls).unwrap_or_else(|e| panic!("cannot connect to PostgreSQL: {e}"))
    }

    /// A new database with the defaults that answers are compared under: UTC, ISO dates, byte order of texts.
    pub fn database(&self, name: &str) -> Config {
        self.drop_database(name);
        let create = format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
        );
        self.connect()
            .batch_execute(&create)
            .unwrap_or_else(|e| panic!("{create}: {}", crate::server::said(&e)));
        for setting in [
            "timezone = 'UTC'",
            "datestyle = 'ISO, MDY'",
            "intervalstyle = 'postgres'",
            "extra_float_digits = 1",
        ] {
            let alter = format!("ALTER DATABASE {name} SET {setting}");
            self.connect()
                .batch_execute(&alter)
                .unwrap_or_else(|e| panic!("{alter}: {}", crate::server::said(&e)));
        }
        let mut config = self.config.clone();
        config.dbname(name);
        config
    }

    /// Drops a database and ends its sessions.
    pub fn drop_database(&self, name: &str) {
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        self.connect().batch_execute(&drop).unwrap_or_else(|e| panic!("{drop}: {}", crate::server::said(&e)));
    }

    fn start_own() -> Postgres {
        for _ in 0..3 {
            // A port may be taken between its choice and its use: then others are tried.
            if let Some(postgres) = Postgres::try_start() {
                return postgres;
            }
        }
        panic!("PostgreSQL did not start; its log is above");
    }

    fn try_start() -> Option<Postgres> {
        let dir = std::env::temp_dir().join(unique("tidemark-postgres"));
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot make {}: {e}", dir.display()));
        let root = run("id", &["-u".as_ref()]).stdout == b"0\n";
        let program = if root { hand_over(&dir) } else { fetched() };
        let data = dir.join("data");
        let initdb = command(root, &program.join("bin/initdb"))
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--pgdata",
            ])
            .arg(&data)
            .current_dir(&dir)
            .output()
            .unwrap_or_else(|e| panic!("cannot run initdb: {e}"));
        assert!(initdb.status.success(), "initdb failed:\n{}", String::from_utf8_lossy(&initdb.stderr));

        let port = free_port();
        let server = command(root, &program.join("bin/postgres"));
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(&dir)
            .arg(server.get_program())
            .args(server.get_args())
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"])
            .args(["-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "shared_buffers=16MB"])
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start sh: {e}"));
        let mut pid = String::new();
        let output = keeper.stdout.take().expect("the keeper's output is a pipe");
        BufReader::new(output).read_line(&mut pid).expect("the keeper says the process id");
        eprintln!("PostgreSQL at 127.0.0.1:{port}, process {}", pid.trim());

        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user("postgres").dbname("postgres");
        config.connect_timeout(Duration::from_secs(5));
        let postgres = Postgres { config, keeper: Some(keeper) };
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            if postgres.config.connect(NoTls).is_ok() {
                return Some(postgres);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("no answer. The log of PostgreSQL ends:\n{}", tail(&dir.join("postgres.log")));
        None
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

/// The fetched program is in the home of the user who runs the tests, which `nobody` cannot read: a copy is put beside
/// the data.
fn hand_over(dir: &Path) -> PathBuf {
    let program = dir.join("program");
    let copied = run("cp", &["-R".as_ref(), fetched().as_ref(), program.as_ref()]);
    assert!(copied.status.success(), "cannot copy PostgreSQL: {}", String::from_utf8_lossy(&copied.stderr));
    let owned = run("chown", &["-R".as_ref(), NOBODY.as_ref(), dir.as_ref()]);
    assert!(
        owned.status.success(),
        "cannot hand {} over: {}",
        dir.display(),
        String::from_utf8_lossy(&owned.stderr)
    );
    program
}

/// A program of PostgreSQL; as `nobody` if root runs the tests.
fn command(root: bool, program: &Path) -> Command {
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program);
    command
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Output {
    Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("cannot run {program}: {e}"))
}

/// The program, fetched once by `tests/postgres/fetch` into a cache outside of the clone.
fn fetched() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("postgres/fetch");
    let output = Command::new(&script)
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|e| panic!("cannot run {}: {e}", script.display()));
    assert!(
        output.status.success(),
        "{} failed; the tests need Maven, tar and xz, or a PostgreSQL {MAJOR} that {POSTGRES_ENV} names",
        script.display()
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
