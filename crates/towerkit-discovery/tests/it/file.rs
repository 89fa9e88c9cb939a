//! A file of instances.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use tokio::time::{sleep, timeout};
use towerkit_discovery::{Discovery, DiscoverySnapshot, FileInstances};

/// A file that is deleted in the end.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "towerkit-file-{}-{}",
            process::id(),
            COUNT.fetch_add(1, Relaxed)
        );
        Self(std::env::temp_dir().join(name))
    }

    fn replace(&self, content: impl AsRef<[u8]>) {
        let new = self.0.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, &self.0).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_dir(&self.0);
    }
}

fn watch(path: &Path) -> Discovery {
    let source = FileInstances::new(path).interval(Duration::from_millis(5));
    Discovery::spawn(source.unwrap())
}

async fn wait_for(
    discovery: &Discovery,
    is_met: impl Fn(&DiscoverySnapshot) -> bool,
) -> DiscoverySnapshot {
    let mut discovery = discovery.clone();
    let wait = async {
        while !is_met(&discovery.current()) {
            discovery.changed().await;
        }
    };
    let met = timeout(Duration::from_secs(20), wait).await;
    assert!(met.is_ok(), "{:?}", discovery.current());
    discovery.current()
}

async fn addresses(discovery: &Discovery, expected: &[&str]) {
    wait_for(discovery, |snapshot| {
        let addresses = snapshot
            .instances
            .iter()
            .map(|instance| instance.address.to_string());
        snapshot.status.as_str() == "current" && addresses.eq(expected.iter().copied())
    })
    .await;
}

async fn error(discovery: &Discovery) -> String {
    let snapshot = wait_for(discovery, |snapshot| snapshot.status.as_str() == "stale").await;
    snapshot.status.error().unwrap().to_string()
}

#[tokio::test]
async fn both_formats_are_read_and_each_change_is_seen() {
    let file = File::new();
    file.replace("# the first\n10.0.0.7:80\n\n  [::1]:81 \r\n");
    let discovery = watch(&file.0);
    addresses(&discovery, &["10.0.0.7:80", "[::1]:81"]).await;
    file.replace(r#"["10.0.0.8:80", {"address": "a:1", "weight": 3, "zone": "z", "version": "1", "tags": {"k": "v"}}]"#);
    addresses(&discovery, &["10.0.0.8:80", "a:1"]).await;
    let instance = &discovery.current().instances[1];
    assert_eq!(
        (
            instance.weight,
            instance.zone.as_deref(),
            instance.version.as_deref()
        ),
        (3, Some("z"), Some("1"))
    );
    assert_eq!(instance.tags["k"], "v");
    file.replace("[2001:db8::1]:80");
    addresses(&discovery, &["[2001:db8::1]:80"]).await;
    file.replace("[]");
    addresses(&discovery, &[]).await;
    // Changes of the same size, faster than the clock of the file system.
    let modified = SystemTime::now();
    for round in 0..50 {
        let text = format!("10.0.0.{}:80", 10 + round);
        fs::write(&file.0, &text).unwrap();
        let options = fs::File::options().write(true).open(&file.0);
        options.unwrap().set_modified(modified).unwrap();
        addresses(&discovery, &[&text]).await;
    }
}

#[tokio::test]
async fn a_broken_file_is_an_error_and_the_last_instances_stay() {
    let file = File::new();
    let deep = "[".repeat(10_000);
    let large = "10.0.0.7:80\n".repeat(800_000);
    let broken: [(&[u8], &str); 12] = [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"<html>", "line 1: invalid address"),
        (b"10.0.0.7:80\n10.0.0.8:0", "line 2: invalid port 0"),
        (b"10.0.0.7:80\nuser@host:80", "line 2: invalid host"),
        (b"\xff\xfe", "invalid utf-8"),
        (br#"["10.0.0.7:80""#, "EOF"),
        (br#"["10.0.0.7:80", 7]"#, "entry 2: invalid type"),
        (
            br#"[{"address": "a:1", "wieght": 1}]"#,
            "entry 1: unknown field `wieght`",
        ),
        (
            br#"[{"address": "a:1", "weight": -1}]"#,
            "entry 1: invalid value",
        ),
        (deep.as_bytes(), "recursion limit"),
        (large.as_bytes(), "more than 8 MiB"),
    ];
    file.replace("10.0.0.7:80");
    let discovery = watch(&file.0);
    for (content, expected) in broken {
        addresses(&discovery, &["10.0.0.7:80"]).await;
        file.replace(content);
        let error = error(&discovery).await;
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("towerkit-file"), "{error}");
        assert_eq!(discovery.current().instances.len(), 1);
        file.replace("10.0.0.7:80");
    }
}

#[tokio::test]
async fn a_file_that_is_missing_or_a_folder_is_an_error_until_it_is_there() {
    let file = File::new();
    let discovery = watch(&file.0);
    assert!(error(&discovery).await.contains("No such file"));
    fs::create_dir(&file.0).unwrap();
    sleep(Duration::from_millis(50)).await;
    fs::remove_dir(&file.0).unwrap();
    file.replace("10.0.0.7:80");
    addresses(&discovery, &["10.0.0.7:80"]).await;
    fs::remove_file(&file.0).unwrap();
    error(&discovery).await;
    assert_eq!(discovery.current().instances.len(), 1);
}
