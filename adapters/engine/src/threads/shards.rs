//! The shard threads. Each owns some of the shards; nothing in a shard is shared.

use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use kernel::message::ShardCommand;
use kernel::schema::CatalogChange;
use kernel::snapshot::ShardView;
use kernel::{Error, Input, Result, Sequence, Shard, ShardId, SqlState};

use crate::ports::inbox::Message;
use crate::ports::spawn;

/// Commands that may wait for one thread. Live there are few, because the kernel stages one record at a time; in
/// recovery this bounds how far reading the log runs ahead of applying it.
const COMMANDS_MAX: usize = 64;

enum Command {
    /// Recovery: a record's changes and one shard's outcomes.
    Replay { shard: ShardId, sequence: Sequence, changes: Arc<[CatalogChange]>, outcomes: Vec<Bytes> },
    /// Recovery is over: send the first views.
    Recovered(Sender<(ShardId, Arc<ShardView>)>),
    /// Live.
    Live(ShardId, ShardCommand),
}

/// All shards of a database on their threads.
pub(crate) struct Shards {
    count: u16,
    threads: Vec<(SyncSender<Command>, JoinHandle<()>)>,
    corrupt: Arc<OnceLock<Error>>,
}

impl Shards {
    /// Empty shards. Shard s is on thread s modulo the number of threads.
    pub(crate) fn start(count: u16, threads_max: usize, inbox: Sender<Message>) -> Shards {
        let corrupt = Arc::new(OnceLock::new());
        let threads = (0..threads_max.clamp(1, count as usize))
            .map(|thread| {
                let (commands, waiting) = sync_channel(COMMANDS_MAX);
                let owned = (0..count).skip(thread).step_by(threads_max.clamp(1, count as usize));
                let shards = owned.map(|id| (ShardId(id), Shard::new(ShardId(id), count))).collect();
                let thread_inbox = inbox.clone();
                let state = ShardThread { shards, inbox: inbox.clone(), corrupt: corrupt.clone() };
                let handle = spawn::spawn_guarded(
                    &format!("shards-{thread}"),
                    move || state.run(waiting),
                    move |panic| Message::broken_invariant(&thread_inbox, panic),
                );
                (commands, handle)
            })
            .collect();
        Shards { count, threads, corrupt }
    }

    /// Hands a record's outcomes to the shards. Their errors are returned here or by [`recovered`](Self::recovered).
    pub(crate) fn replay(
        &self,
        sequence: Sequence,
        changes: Vec<CatalogChange>,
        outcomes: Vec<Vec<Bytes>>,
    ) -> Result<()> {
        let changes: Arc<[CatalogChange]> = changes.into();
        for (shard, outcomes) in (0..self.count).map(ShardId).zip(outcomes) {
            let nothing = outcomes.is_empty();
            if nothing && changes.is_empty() {
                continue;
            }
            self.send(shard, Command::Replay { shard, sequence, changes: changes.clone(), outcomes });
        }
        self.corrupt.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Everything was replayed: the first views, by shard.
    pub(crate) fn recovered(&self) -> Result<Vec<Arc<ShardView>>> {
        let (sender, views) = std::sync::mpsc::channel();
        for (commands, _) in &self.threads {
            let _ = commands.send(Command::Recovered(sender.clone()));
        }
        drop(sender);
        let mut views: Vec<_> = views.into_iter().collect();
        if let Some(error) = self.corrupt.get() {
            return Err(error.clone());
        }
        views.sort_by_key(|(shard, _)| *shard);
        if views.len() != self.count as usize {
            return Err(Error::new(SqlState::INTERNAL_ERROR, "a shard thread ended during recovery"));
        }
        Ok(views.into_iter().map(|(_, view)| view).collect())
    }

    /// Hands a command to its shard; the answer goes to the coordinator's inbox.
    pub(crate) fn command(&self, shard: ShardId, command: ShardCommand) {
        self.send(shard, Command::Live(shard, command));
    }

    fn send(&self, shard: ShardId, command: Command) {
        let (commands, _) = &self.threads[shard.0 as usize % self.threads.len()];
        // A thread that has ended has reported why through the inbox.
        let _ = commands.send(command);
    }

    /// Ends the threads.
    pub(crate) fn stop(self) {
        for (commands, thread) in self.threads {
            drop(commands);
            let _ = thread.join();
        }
    }
}

struct ShardThread {
    shards: Vec<(ShardId, Shard)>,
    inbox: Sender<Message>,
    corrupt: Arc<OnceLock<Error>>,
}

impl ShardThread {
    fn run(mut self, commands: Receiver<Command>) {
        for command in commands {
            match command {
                Command::Replay { shard, sequence, changes, outcomes } => {
                    // After the first error the database is refused; later ones are ignored.
                    if self.corrupt.get().is_none()
                        && let Err(error) = self.shard(shard).replay(sequence, &changes, &outcomes)
                    {
                        let _ = self.corrupt.set(error);
                    }
                }
                Command::Recovered(views) => {
                    for (id, shard) in &mut self.shards {
                        let _ = views.send((*id, shard.recovered()));
                    }
                }
                Command::Live(shard, command) => {
                    let reply = self.shard(shard).handle(command);
                    let _ = self.inbox.send(Message::Input(Input::Shard { shard, reply }));
                }
            }
        }
    }

    fn shard(&mut self, id: ShardId) -> &mut Shard {
        let shard = self.shards.iter_mut().find(|(owned, _)| *owned == id);
        &mut shard.expect("commands go to the thread that owns the shard").1
    }
}
