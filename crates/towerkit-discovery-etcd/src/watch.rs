use std::{collections::BTreeMap, time::Duration};

use etcd_client::{
    Client, EventType, GetOptions, ResponseHeader, WatchOptions, WatchResponse, WatchStream,
};
use tokio::time::timeout;
use towerkit_discovery::{Instance, InstanceSender, InstanceSet, Pacer};

use crate::{
    connection::{Connection, TIMEOUT, limit},
    error::{Kind, RequestError},
};

/// After this time without an event etcd is asked for a sign of life on the watch.
const QUIET: Duration = Duration::from_secs(2);
/// The number of keys that are read by one request.
const PAGE: i64 = 500;
/// The maximum length of one message: many times the size that etcd allows for a request by default.
const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// Reads and watches the keys under a prefix, for ever.
pub(crate) async fn run(connection: &Connection, prefix: &str, sender: &InstanceSender) {
    let mut pacer = Pacer::new();
    loop {
        pacer.wait().await;
        let Err(error) = sync(connection, prefix, sender, &mut pacer).await else {
            continue;
        };
        pacer.failed();
        sender.fail(error);
    }
}

/// Reads the keys and follows their changes until that fails, or until the keys are to be read again.
async fn sync(
    connection: &Connection,
    prefix: &str,
    sender: &InstanceSender,
    pacer: &mut Pacer,
) -> Result<(), RequestError> {
    let connected = connection.client().await?;
    let result = async {
        let mut keys = read(&connected.client, prefix).await?;
        sender.set(keys.instances());
        pacer.succeeded();
        follow(&connected.client, prefix, &mut keys, sender).await
    }
    .await;
    if let Err(error) = &result
        && error.is_of_connection()
    {
        connection.broken(&connected).await;
    }
    result
}

/// The keys of a service at a revision.
struct Keys {
    revision: i64,
    entries: BTreeMap<Vec<u8>, Option<Instance>>,
    /// Whether there are more keys than are kept.
    has_more: bool,
}

impl Keys {
    fn instances(&self) -> impl Iterator<Item = Instance> {
        self.entries.values().flatten().cloned()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        if self.entries.len() >= InstanceSet::CAPACITY && !self.entries.contains_key(key) {
            self.has_more = true;
            return;
        }
        self.entries
            .insert(key.to_vec(), Instance::from_json(value));
    }
}

/// Reads all keys, page by page, as they are at the revision of the first page.
async fn read(client: &Client, prefix: &str) -> Result<Keys, RequestError> {
    let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
    let mut keys = Keys {
        revision: 0,
        entries: BTreeMap::new(),
        has_more: false,
    };
    let mut limit_keys = PAGE;
    let mut from = prefix.as_bytes().to_vec();
    loop {
        let options = GetOptions::new()
            .with_range(end_of(prefix))
            .with_limit(limit_keys)
            .with_revision(keys.revision);
        let page = match limit("range", kv.get(from.clone(), Some(options))).await {
            Ok(page) => page,
            // Some values are very long: fewer of them at a time.
            Err(error) if error.is_too_long() && limit_keys > 1 => {
                limit_keys = (limit_keys / 8).max(1);
                continue;
            }
            Err(error) => return Err(error),
        };
        if keys.revision == 0 {
            keys.revision = page.header().map_or(0, ResponseHeader::revision);
        }
        for pair in page.kvs() {
            keys.put(pair.key(), pair.value());
        }
        let Some(last) = page.kvs().last().filter(|_| page.more() && !keys.has_more) else {
            return Ok(keys);
        };
        from = last.key().to_vec();
        from.push(0);
    }
}

/// Follows the changes after the revision of `keys`.
async fn follow(
    client: &Client,
    prefix: &str,
    keys: &mut Keys,
    sender: &InstanceSender,
) -> Result<(), RequestError> {
    let options = WatchOptions::new()
        .with_range(end_of(prefix))
        .with_start_revision(keys.revision + 1)
        .with_fragment();
    let mut watch = client.watch_client().max_decoding_message_size(MAX_MESSAGE);
    let mut stream = limit("watch", watch.watch(prefix, Some(options))).await?;
    loop {
        let response = match timeout(QUIET, stream.message()).await {
            Ok(response) => {
                response.map_err(|error| RequestError::new("watch", Kind::Client(error)))?
            }
            Err(_) => progress(&mut stream).await?,
        };
        let Some(response) = response else {
            return Err(ended("the stream has ended"));
        };
        if response.canceled() {
            let reason = match (response.compact_revision(), response.cancel_reason()) {
                (0, "") => "canceled",
                (0, reason) => reason,
                // The keys are read again, which is no failure.
                (..) => return Ok(()),
            };
            return Err(ended(reason));
        }
        if response.events().is_empty() {
            continue;
        }
        for event in response.events() {
            let Some(pair) = event.kv() else { continue };
            match event.event_type() {
                EventType::Put => keys.put(pair.key(), pair.value()),
                EventType::Delete => {
                    keys.entries.remove(pair.key());
                }
            }
        }
        if keys.has_more && keys.entries.len() < InstanceSet::CAPACITY {
            return Ok(());
        }
        sender.set(keys.instances());
    }
}

/// Asks for a sign of life on the watch.
async fn progress(stream: &mut WatchStream) -> Result<Option<WatchResponse>, RequestError> {
    let answer = async {
        stream.request_progress().await?;
        stream.message().await
    };
    match timeout(TIMEOUT, answer).await {
        Ok(response) => response.map_err(|error| RequestError::new("watch", Kind::Client(error))),
        Err(_) => Err(RequestError::new("watch", Kind::TimedOut(TIMEOUT))),
    }
}

fn ended(reason: &str) -> RequestError {
    RequestError::new("watch", Kind::Ended(reason.to_owned()))
}

/// Returns the first key after those with the prefix, which ends in a slash.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
