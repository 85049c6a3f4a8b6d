//! (c) PostgreSQL: a separate cluster on loopback with the default durability and sensible memory settings.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres::{Client, NoTls};
use tempfile::TempDir;

use crate::topic::Topic;
use crate::{Outcome, ask, message, process};

/// A running cluster; stopped when dropped.
pub struct Postgres {
    server: Child,
    port: u16,
    _directory: TempDir,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT asks for a fast shutdown.
        // SAFETY: a signal to a child of ours that was not waited for yet.
        unsafe { libc::kill(self.server.id() as i32, libc::SIGINT) };
        let _ = self.server.wait();
    }
}

impl Postgres {
    /// Makes a cluster and starts it.
    pub fn start() -> Result<Postgres> {
        let bin = binaries()?;
        let directory = tempfile::tempdir()?;
        let data = directory.path().join("data");
        std::fs::create_dir(&data)?;
        let user = unprivileged(directory.path(), &data)?;
        let command = |name: &str| {
            let mut command = Command::new(bin.join(name));
            command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command
        };
        let made = command("initdb").args(["-U", "postgres", "-A", "trust", "-D"]).arg(&data).status()?;
        if !made.success() {
            bail!("initdb failed: {made}");
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = command("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""])
            .args(["-c", "shared_buffers=1GB", "-c", "max_wal_size=16GB", "-c", "checkpoint_timeout=30min"])
            .spawn()?;
        let postgres = Postgres { server, port, _directory: directory };
        let began = Instant::now();
        while postgres.connect().is_err() {
            if began.elapsed() > Duration::from_secs(30) {
                bail!("PostgreSQL does not answer on port {port}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(postgres)
    }

    /// How to connect.
    pub fn connection_string(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    /// A connection.
    pub fn connect(&self) -> Result<Client> {
        Ok(Client::connect(&self.connection_string(), NoTls)?)
    }

    /// Makes the tables of the loader.
    pub fn define(&self, client: &mut Client) -> Result<()> {
        ask::run(
            client,
            &format!(
                "DROP TABLE IF EXISTS payments, offsets; CREATE TABLE payments ({}); \
             CREATE TABLE offsets (source_partition int PRIMARY KEY, next_offset bigint NOT NULL)",
                message::COLUMNS
            ),
        )
    }

    /// The loader as a child process.
    pub fn loader(&self, topic: &Topic, name: &str, messages: u64) -> Result<Child> {
        let messages = messages.to_string();
        let parameters = self.connection_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["load-postgres", topic.brokers(), name, &parameters, &messages]);
        command.spawn().context("start the loader")
    }

    /// Loads the whole topic.
    pub fn load(&self, topic: &Topic, messages: u64) -> Result<Outcome> {
        let mut client = self.connect()?;
        self.define(&mut client)?;
        let broker_before = topic.broker_cpu_seconds()?;
        let cpu_before =
            process::tree_cpu_seconds(self.server.id())? + process::cpu_seconds(std::process::id())?;
        let began = Instant::now();
        let status = self.loader(topic, topic.name(), messages)?.wait()?;
        let seconds = began.elapsed().as_secs_f64();
        if !status.success() {
            bail!("the loader failed: {status}");
        }
        // The loader was waited for, so its CPU is now counted among this process's children.
        let cpu_after =
            process::tree_cpu_seconds(self.server.id())? + process::cpu_seconds(std::process::id())?;
        let counted = ask::number(&mut client, "SELECT count(*) FROM payments")? as u64;
        if counted != messages {
            bail!("PostgreSQL has {counted} of {messages} rows");
        }
        let broker_cpu_seconds = topic.broker_cpu_seconds()? - broker_before;
        Ok(Outcome { seconds, cpu_seconds: cpu_after - cpu_before, broker_cpu_seconds })
    }
}

/// Where PostgreSQL's programs are.
fn binaries() -> Result<PathBuf> {
    let from_config = Command::new("pg_config").arg("--bindir").output().ok().filter(|o| o.status.success());
    let from_config = from_config.map(|o| PathBuf::from(String::from_utf8_lossy(&o.stdout).trim()));
    let usual = [15, 16, 17].map(|v| PathBuf::from(format!("/usr/lib/postgresql/{v}/bin")));
    let found = from_config.into_iter().chain(usual).find(|dir| dir.join("initdb").exists());
    found
        .context("PostgreSQL is not installed (initdb was not found): install it, or pass --without-postgres")
}

/// PostgreSQL refuses to run as root: then the directory is given to the user `postgres`, who runs it.
fn unprivileged(directory: &Path, data: &Path) -> Result<Option<(u32, u32)>> {
    // SAFETY: geteuid cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let line = users
        .lines()
        .find(|l| l.starts_with("postgres:"))
        .context("no user postgres to run PostgreSQL as")?;
    let fields: Vec<&str> = line.split(':').collect();
    let (uid, gid) = (fields[2].parse()?, fields[3].parse()?);
    for path in [directory, data] {
        std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
    }
    Ok(Some((uid, gid)))
}
