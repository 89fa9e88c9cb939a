//! The behaviour of a service of Kubernetes as its users see it, in the order of the docs.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use towerkit_discovery::{Discovery, DiscoveryOptions};
use towerkit_discovery_kubernetes::Kubernetes;

use crate::api_server::{ApiServer, Fault, assert_paced, error, instances_within, status, within};

const SOON: Duration = Duration::from_millis(10);

#[tokio::test(start_paused = true)]
async fn instances_are_listed_and_each_change_follows_at_once() {
    let server = ApiServer::with(&["10.0.0.1", "10.0.0.2"]);
    let discovery = server.discovery();
    assert_eq!(discovery.ready().await.instances.len(), 2);
    within(Duration::from_secs(1), || server.open_watches() == 1).await;
    server.put("a", &["10.0.0.2"]);
    instances_within(SOON, &discovery, &["10.0.0.2:80"]).await;
    server.put("b", &["10.0.0.3", "10.0.0.2"]);
    instances_within(SOON, &discovery, &["10.0.0.2:80", "10.0.0.3:80"]).await;
    server.delete("a");
    server.delete("b");
    instances_within(SOON, &discovery, &[]).await;
    assert_eq!(status(&discovery), "current");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_between_list_and_watch_is_not_missed() {
    let server = ApiServer::with(&["10.0.0.1"]);
    let discovery = server.discovery();
    discovery.ready().await;
    server.put("a", &["10.0.0.2"]);
    instances_within(Duration::from_secs(1), &discovery, &["10.0.0.2:80"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_without_slices_has_no_instances_and_no_error() {
    // SD-09
    let server = ApiServer::default();
    let discovery = server.discovery();
    assert!(discovery.ready().await.instances.is_empty());
    assert_eq!(status(&discovery), "current");
}

#[tokio::test(start_paused = true)]
async fn a_large_service_is_listed_in_pages() {
    let server = ApiServer::default();
    for n in 0..250 {
        server.put(&format!("s{n}"), &[&format!("10.0.1.{n}")]);
    }
    let discovery = server.discovery();
    assert_eq!(discovery.ready().await.instances.len(), 250);
    let requests = server.requests();
    assert_eq!(requests.iter().filter(|seen| !seen.is_watch()).count(), 3);
    assert_paced(&requests);
}

#[tokio::test(start_paused = true)]
async fn several_services_share_one_client() {
    let server = ApiServer::with(&["10.0.0.1"]);
    server.put_of("other", "o", &json!([{"addresses": ["10.0.0.9"]}]));
    let kubernetes = server.kubernetes();
    let add = Discovery::spawn(kubernetes.service("shop", "addsvc").unwrap());
    let other = Discovery::spawn(kubernetes.service("shop", "other").unwrap().port("http"));
    drop(kubernetes);
    instances_within(SOON, &add, &["10.0.0.1:80"]).await;
    instances_within(SOON, &other, &["10.0.0.9:80"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_port_is_an_error_that_keeps_the_last_set() {
    let server = ApiServer::with(&["10.0.0.1"]);
    let source = server.kubernetes().service("shop", "addsvc").unwrap();
    let discovery = Discovery::spawn(source.port("grpc"));
    within(SOON, || status(&discovery) == "stale").await;
    let expected = r#"the service has no TCP port "grpc", but: http"#;
    assert_eq!(error(&discovery), expected);
}

#[tokio::test(start_paused = true)]
async fn local_addresses_are_refused_unless_in_development() {
    // SD-13
    let server = ApiServer::with(&["127.0.0.1", "169.254.169.254", "10.0.0.1"]);
    let discovery = server.discovery();
    assert_eq!(discovery.ready().await.instances.len(), 1);
    let source = server.kubernetes().service("shop", "addsvc").unwrap();
    let discovery = DiscoveryOptions::new().development().spawn(source);
    assert_eq!(discovery.ready().await.instances.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_keep_a_quiet_watch_open_to_its_end_and_it_is_renewed_without_a_list() {
    let server = ApiServer::with(&["10.0.0.1"]);
    let discovery = server.discovery();
    within(Duration::from_secs(1), || server.open_watches() == 1).await;
    server.take_requests();
    for _ in 0..4 {
        sleep(Duration::from_secs(60)).await;
        server.bookmark();
    }
    sleep(Duration::from_secs(49)).await;
    assert!(server.take_requests().is_empty());
    // The server ends a watch at the time that was asked for.
    server.end_watches();
    within(Duration::from_secs(1), || server.open_watches() == 1).await;
    let requests = server.take_requests();
    assert!(
        requests.len() == 1 && requests[0].is_watch(),
        "{requests:?}"
    );
    assert_eq!(status(&discovery), "current");
}

#[tokio::test(start_paused = true)]
async fn an_old_server_is_asked_for_v1beta1_and_after_its_upgrade_for_v1() {
    let server = ApiServer::with(&["10.0.0.1"]);
    server.set_versions(&["v1beta1"]);
    let discovery = server.discovery();
    instances_within(Duration::from_secs(1), &discovery, &["10.0.0.1:80"]).await;
    within(Duration::from_secs(1), || server.open_watches() == 1).await;
    server.set_versions(&["v1"]);
    server.put("a", &["10.0.0.2"]);
    server.end_watches();
    instances_within(Duration::from_secs(2), &discovery, &["10.0.0.2:80"]).await;
    assert_eq!(status(&discovery), "current");
    server.set_versions(&[]);
    server.end_watches();
    within(Duration::from_secs(2), || status(&discovery) == "stale").await;
    let expected = "the API server has no endpointslices in discovery.k8s.io/v1 or v1beta1";
    assert_eq!(error(&discovery), expected);
    assert_paced(&server.requests()[1..]);
}

#[tokio::test(start_paused = true)]
async fn the_last_reader_ends_the_watch_and_its_tasks() {
    let server = ApiServer::with(&["10.0.0.1"]);
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    for step in 0..40 {
        let discovery = server.discovery();
        // Dropped before, within and after each request.
        sleep(Duration::from_millis(step * 25)).await;
        server.set_fault(if step % 3 == 1 {
            Fault::Silent
        } else {
            Fault::Healthy
        });
        drop(discovery);
        within(Duration::from_secs(1), || tasks() == before).await;
        assert_eq!(server.open_watches(), 0);
    }
}

#[tokio::test]
async fn a_name_that_is_no_label_is_refused() {
    let kubernetes = ApiServer::default().kubernetes();
    for name in [
        "", "A", "a/b", "..", "-a", "a-", "a,b", "a=b", "ä", "a\r\nb",
    ] {
        let error = kubernetes.service("shop", name).unwrap_err().to_string();
        assert!(error.starts_with("invalid service"), "{error}");
        let error = kubernetes.service(name, "addsvc").unwrap_err().to_string();
        assert!(error.starts_with("invalid namespace"), "{error}");
    }
    assert!(kubernetes.service("shop", &"a".repeat(64)).is_err());
}

#[tokio::test]
async fn a_process_outside_of_a_pod_is_told_so() {
    let error = Kubernetes::in_cluster().unwrap_err().to_string();
    assert!(error.starts_with("the process is in no pod"), "{error}");
}
