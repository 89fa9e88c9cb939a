use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use serde_json::Value;
use tokio::{task::spawn_blocking, time::sleep};
use towerkit_core::{BoxError, ConfigError};

use crate::{Address, AddressPolicy, Instance, InstanceSender, Source};

/// The maximum size of a file in bytes.
const MAX_SIZE: u64 = 8 * 1024 * 1024;
/// The time between two looks at the file, by default.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// A file that changed so short a time ago may change again without another time of modification.
const RECENT: Duration = Duration::from_secs(3);

/// A source that reads the instances from a file, and again when it changes.
///
/// The file is a list in JSON of addresses, or of objects, in which only the address is required:
///
/// ```json
/// ["10.0.0.7:80", {"address": "10.0.0.8:80", "weight": 3, "zone": "eu-1a", "version": "1.2", "tags": {"canary": "yes"}}]
/// ```
///
/// Or it is text with an address on each line, in which empty lines and those that begin with `#` are skipped. It may have up to 8
/// MiB. Any address is allowed, because the operator has written it.
///
/// Replace the file by renaming another one to its name, so that it is never seen half written. A file that is missing, empty or
/// invalid is an error, and the last instances stay in use. A list without instances is `[]`.
///
/// ```
/// use towerkit_discovery::{Discovery, FileInstances};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let path = std::env::temp_dir().join(format!("towerkit-instances-{}", std::process::id()));
/// std::fs::write(&path, "10.0.0.7:80\n10.0.0.8:80\n")?;
/// let discovery = Discovery::spawn(FileInstances::new(&path));
/// assert_eq!(discovery.ready().await.instances.len(), 2);
/// # std::fs::remove_file(path)?; Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct FileInstances {
    path: PathBuf,
    interval: Duration,
}

impl FileInstances {
    /// Makes a source of the instances in this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            interval: DEFAULT_INTERVAL,
        }
    }

    /// Sets the time between two looks at the file. Default: 1 second.
    ///
    /// # Errors
    ///
    /// Returns an error if `interval` is zero or longer than 365 days.
    pub fn interval(mut self, interval: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("interval", interval)?;
        self.interval = interval;
        Ok(self)
    }
}

impl Source for FileInstances {
    /// Allows any address.
    fn address_policy(&self) -> AddressPolicy {
        AddressPolicy::Any
    }

    async fn run(self, sender: InstanceSender) {
        let path: Arc<Path> = self.path.into();
        let mut seen = None;
        loop {
            let path = path.clone();
            let read = spawn_blocking(move || {
                let content = read_if_changed(&path, &mut seen);
                let instances =
                    content.and_then(|content| content.as_deref().map(parse).transpose());
                let named = |error| format!("{}: {error}", path.display());
                (seen, instances.map_err(named))
            });
            // The one error says that the runtime ends.
            let Ok((now_seen, instances)) = read.await else {
                return;
            };
            seen = now_seen;
            match instances {
                Ok(Some(instances)) => sender.set(instances),
                Ok(None) => {}
                Err(error) => sender.fail(error),
            }
            sleep(self.interval).await;
        }
    }
}

/// The time of the last modification of a file, and its size, by which a change is told.
type Version = (Option<SystemTime>, u64);

/// Returns the content if it may have changed since it was `seen`.
fn read_if_changed(path: &Path, seen: &mut Option<Version>) -> Result<Option<Vec<u8>>, BoxError> {
    let last = seen.take();
    // A pipe would block.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err("it is not a file".into());
    }
    let mut file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    let modified = metadata.modified().ok();
    let version = (modified, metadata.len());
    let is_recent = |at: SystemTime| !at.elapsed().is_ok_and(|age| age > RECENT);
    if last == Some(version) && !modified.is_none_or(is_recent) {
        *seen = last;
        return Ok(None);
    }
    let mut content = Vec::new();
    let length = file.by_ref().take(MAX_SIZE + 1).read_to_end(&mut content)?;
    if length as u64 > MAX_SIZE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 8 MiB").into());
    }
    *seen = Some(version);
    Ok(Some(content))
}

/// An instance in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    address: String,
    #[serde(default = "default_weight")]
    weight: u32,
    zone: Option<String>,
    version: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

const fn default_weight() -> u32 {
    1
}

fn parse(content: &[u8]) -> Result<Vec<Instance>, BoxError> {
    let text = str::from_utf8(content)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    let first_line = text
        .lines()
        .next()
        .ok_or("it is empty; [] is a list without instances")?;
    // `[::1]:80` is the one line of text with the beginning of a list.
    if text.starts_with('[') && first_line.trim().parse::<Address>().is_err() {
        let entries: Vec<Value> = serde_json::from_str(text)?;
        let entries = entries.into_iter().enumerate();
        return entries
            .map(|(index, entry)| {
                read_entry(entry).map_err(|error| format!("entry {}: {error}", index + 1).into())
            })
            .collect();
    }
    let lines = text.lines().map(str::trim).enumerate();
    let addresses = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    addresses
        .map(|(index, line)| match line.parse::<Address>() {
            Ok(address) => Ok(address.into()),
            Err(error) => Err(format!("line {}: {error}", index + 1).into()),
        })
        .collect()
}

fn read_entry(entry: Value) -> Result<Instance, BoxError> {
    let entry = match entry {
        Value::String(address) => return Ok(Instance::new(address.parse()?)),
        entry => Entry::deserialize(entry)?,
    };
    let mut instance = Instance::new(entry.address.parse()?);
    instance.weight = entry.weight;
    instance.zone = entry.zone.map(Arc::from);
    instance.version = entry.version.map(Arc::from);
    instance.tags = Arc::new(entry.tags);
    Ok(instance)
}
