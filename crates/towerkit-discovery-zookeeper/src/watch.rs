use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use towerkit_discovery::{Instance, InstanceSender, InstanceSet, Pacer};
use zookeeper_client::{
    AddWatchMode, Client, Error as ClientError, EventType, MultiReadResult, PersistentWatcher,
};

use crate::{
    connection::{Connected, Connection, limit},
    error::{Kind, RequestError},
};

/// The number of nodes that are read by one request. Each has up to a megabyte.
const BATCH: usize = 16;

/// Reads and watches the nodes of a service, for ever.
pub(crate) async fn run(connection: &Connection, path: &str, sender: &InstanceSender) {
    let mut pacer = Pacer::new();
    loop {
        pacer.wait().await;
        let Err(error) = sync(connection, path, sender, &mut pacer).await else {
            continue;
        };
        pacer.failed();
        sender.fail(error);
    }
}

/// Reads the nodes and follows their changes until that fails, or until they are to be read again.
async fn sync(
    connection: &Connection,
    path: &str,
    sender: &InstanceSender,
    pacer: &mut Pacer,
) -> Result<(), RequestError> {
    let session = connection.session().await?;
    let result = follow(&session, path, sender, pacer).await;
    if let Err(error) = &result
        && error.is_of_session()
    {
        connection.give_up(&session).await;
    }
    result
}

async fn follow(
    session: &Connected,
    path: &str,
    sender: &InstanceSender,
    pacer: &mut Pacer,
) -> Result<(), RequestError> {
    let client = &session.client;
    session.reconnected().await?;
    // Before the nodes are read, so that no change is missed.
    let watch = client.watch(path, AddWatchMode::PersistentRecursive);
    let mut watcher = limit("watch", watch).await?;
    // A server may be behind that of an earlier session.
    limit("sync", client.sync(path)).await?;
    let children = match limit("list", client.list_children(path)).await {
        Ok(children) => children,
        Err(error) if error.client_error() == Some(&ClientError::NoNode) => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut nodes = Nodes::default();
    nodes.read(client, path, children).await?;
    sender.set(nodes.instances());
    pacer.succeeded();
    loop {
        let changes = next_changes(&mut watcher, session, path).await?;
        let Some(changes) = changes else {
            return Ok(());
        };
        nodes.read(client, path, changes).await?;
        if nodes.has_more && nodes.entries.len() < InstanceSet::CAPACITY {
            return Ok(());
        }
        sender.set(nodes.instances());
    }
}

/// Returns the names of the nodes that have changed; `None` if changes may be lost.
async fn next_changes(
    watcher: &mut PersistentWatcher,
    session: &Connected,
    path: &str,
) -> Result<Option<BTreeSet<String>>, RequestError> {
    let mut changes = BTreeSet::new();
    let mut event = watcher.changed().await;
    loop {
        if event.event_type == EventType::Session {
            session.reconnected().await?;
            return Ok(None);
        }
        let child = event.path.strip_prefix(path);
        if let Some(child) = child.and_then(|path| path.strip_prefix('/'))
            && !child.contains('/')
        {
            changes.insert(child.to_owned());
        }
        // All events that are there already, such as those of one transaction.
        match watcher.changed().now_or_never() {
            Some(next) => event = next,
            None => return Ok(Some(changes)),
        }
    }
}

/// The nodes of a service.
#[derive(Default)]
struct Nodes {
    entries: BTreeMap<String, Option<Instance>>,
    /// Whether there are more nodes than are kept.
    has_more: bool,
}

impl Nodes {
    fn instances(&self) -> impl Iterator<Item = Instance> {
        self.entries.values().flatten().cloned()
    }

    /// Reads some nodes, and removes those of them that are gone.
    async fn read(
        &mut self,
        client: &Client,
        path: &str,
        names: impl IntoIterator<Item = String>,
    ) -> Result<(), RequestError> {
        let mut kept = Vec::new();
        for name in names {
            let is_full = self.entries.len() + kept.len() >= InstanceSet::CAPACITY;
            if is_full && !self.entries.contains_key(&name) {
                self.has_more = true;
            } else {
                kept.push(name);
            }
        }
        for batch in kept.chunks(BATCH) {
            let mut reader = client.new_multi_reader();
            for name in batch {
                let added = reader.add_get_data(&format!("{path}/{name}"));
                added.map_err(|error| RequestError::new("read", Kind::Client(error)))?;
            }
            let results = limit("read", reader.commit()).await?;
            for (name, result) in batch.iter().zip(results) {
                match result {
                    MultiReadResult::Data { data, .. } => {
                        self.entries
                            .insert(name.clone(), Instance::from_json(&data));
                    }
                    MultiReadResult::Error {
                        err: ClientError::NoNode,
                    } => {
                        self.entries.remove(name);
                    }
                    MultiReadResult::Error { err } => {
                        return Err(RequestError::new("read", Kind::Client(err)));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
