//! The behaviour while the API server fails: the last set serves on, it is asked at most twice a second, and it is listed anew within
//! two seconds after it is well again.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use towerkit_discovery::Discovery;

use crate::api_server::{ApiServer, Fault, assert_paced, error, instances_within, status, within};

const RESYNC: Duration = Duration::from_secs(2);

/// Starts a discovery whose watch has begun.
async fn watching(server: &ApiServer) -> Discovery {
    let discovery = server.discovery();
    within(Duration::from_secs(1), || server.open_watches() == 1).await;
    sleep(Duration::from_secs(2)).await;
    server.take_requests();
    discovery
}

/// Makes the server fail for a minute, changes the slice meanwhile, and returns the error of that time.
async fn outage(fault: Fault) -> String {
    let server = ApiServer::with(&["10.0.0.1"]);
    let discovery = watching(&server).await;
    server.set_fault(fault);
    server.abort_watches();
    sleep(Duration::from_secs(60)).await;
    instances_within(Duration::ZERO, &discovery, &["10.0.0.1:80"]).await;
    assert_eq!(status(&discovery), "stale");
    let error = error(&discovery);
    server.put("a", &["10.0.0.2"]);
    server.set_fault(Fault::Healthy);
    instances_within(RESYNC, &discovery, &["10.0.0.2:80"]).await;
    within(RESYNC, || server.open_watches() == 1).await;
    let requests = server.take_requests();
    assert!(requests.len() >= 4, "{requests:?}");
    assert_paced(&requests);
    error
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_errors_is_asked_at_most_twice_a_second() {
    // SD-01
    for (status, text) in [
        (500, "{}"),
        (503, "<html>"),
        (429, ""),
        (
            504,
            r#"{"kind": "Status", "code": 504, "message": "canary"}"#,
        ),
        (302, ""),
        (400, "canary"),
    ] {
        let expected = format!("the API server answered {status} to a list of endpointslices");
        assert_eq!(outage(Fault::Status(status, text)).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_list_is_an_error() {
    // SD-12
    let deep = format!(r#"{{"metadata": {}"#, "[".repeat(10_000));
    for list in [
        &b""[..],
        b"null",
        b"[]",
        b"{}",
        b"<html>canary</html>",
        b"\xff\xfe{}",
        br#"{"metadata": {}, "items": [7]}"#,
        br#"{"metadata": {"resourceVersion": "7"}, "items": [{"met"#,
        deep.as_bytes(),
    ] {
        let error = outage(Fault::List(Bytes::copy_from_slice(list))).await;
        assert_eq!(error, "the answer to a list of endpointslices is not valid");
    }
    // A list without a version cannot be watched.
    let error = outage(Fault::List(Bytes::from_static(
        br#"{"metadata": {}, "items": []}"#,
    )))
    .await;
    assert_eq!(
        error,
        "the answer to a watch of endpointslices is not valid"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_an_end_is_an_error() {
    // SD-12
    let server = ApiServer::with(&["10.0.0.1"]);
    server.set_fault(Fault::List(vec![b' '; 65 << 20].into()));
    let discovery = server.discovery();
    within(Duration::from_secs(1), || status(&discovery) == "stale").await;
    assert_eq!(
        error(&discovery),
        "the answer of the API server is too large"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up_after_half_a_minute() {
    let server = ApiServer::with(&["10.0.0.1"]);
    let discovery = watching(&server).await;
    server.set_fault(Fault::Silent);
    server.abort_watches();
    let start = Instant::now();
    within(Duration::from_secs(40), || status(&discovery) == "stale").await;
    assert!(start.elapsed() >= Duration::from_secs(30));
    assert_eq!(error(&discovery), "the API server did not answer in time");
    instances_within(Duration::ZERO, &discovery, &["10.0.0.1:80"]).await;
    sleep(Duration::from_secs(60)).await;
    server.put("a", &["10.0.0.2"]);
    server.set_fault(Fault::Healthy);
    // A request that hangs in a client without sockets never ends.
    instances_within(Duration::from_secs(33), &discovery, &["10.0.0.2:80"]).await;
}

#[tokio::test(start_paused = true)]
async fn missing_rights_are_named_and_asked_for_ever_more_rarely() {
    let server = ApiServer::with(&["10.0.0.1"]);
    server.set_fault(Fault::Status(
        403,
        r#"{"kind": "Status", "message": "canary"}"#,
    ));
    let discovery = server.discovery();
    within(Duration::from_secs(1), || status(&discovery) == "stale").await;
    let expected = "forbidden (403): the account needs a role in the namespace shop with the verb list on the resource \
                    endpointslices of the group discovery.k8s.io";
    assert_eq!(error(&discovery), expected);
    sleep(Duration::from_secs(300)).await;
    let requests = server.take_requests();
    assert!((12..=30).contains(&requests.len()), "{}", requests.len());
    assert_paced(&requests);
    // Rights that are granted are noticed within half a minute.
    server.set_fault(Fault::Healthy);
    instances_within(Duration::from_secs(30), &discovery, &["10.0.0.1:80"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_to_watch_is_named_and_lists_are_used_meanwhile() {
    let server = ApiServer::with(&["10.0.0.1"]);
    server.set_fault(Fault::WatchStatus(403, ""));
    let discovery = server.discovery();
    instances_within(Duration::from_secs(1), &discovery, &["10.0.0.1:80"]).await;
    within(Duration::from_secs(1), || status(&discovery) == "stale").await;
    assert!(error(&discovery).contains("the verb watch"));
    server.put("a", &["10.0.0.2"]);
    instances_within(Duration::from_secs(31), &discovery, &["10.0.0.2:80"]).await;
    assert_paced(&server.requests());
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_are_an_error() {
    let server = ApiServer::with(&["10.0.0.1"]);
    server.set_token("other");
    let discovery = server.discovery();
    within(Duration::from_secs(1), || status(&discovery) == "stale").await;
    let expected = "unauthorized (401): the API server does not accept the credentials";
    assert_eq!(error(&discovery), expected);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_at_once_is_begun_at_most_twice_a_second() {
    // SD-02
    for line in [
        "",
        "garbage\n",
        "{\"type\": \"ADDED\", \"object\": {\"metad",
        "{\"type\": \"ERROR\", \"object\": {\"kind\": \"Status\", \"code\": 410}}\n",
        "{\"type\": \"ERROR\", \"object\": {\"kind\": \"Status\", \"code\": 500, \"message\": \"canary\"}}\n",
        "{\"type\": \"ADDED\", \"object\": {\"metadata\": {\"name\": \"x\"}}}\n",
    ] {
        let server = ApiServer::with(&["10.0.0.1"]);
        let discovery = watching(&server).await;
        server.set_fault(Fault::WatchLine(line));
        server.abort_watches();
        sleep(Duration::from_secs(60)).await;
        server.put("a", &["10.0.0.2"]);
        // Each round lists.
        instances_within(RESYNC, &discovery, &["10.0.0.2:80"]).await;
        let requests = server.take_requests();
        assert!(requests.len() > 30, "{line}: {}", requests.len());
        assert_paced(&requests);
        assert!(!error(&discovery).contains("canary"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_read_leads_to_a_list() {
    // SD-08: kube's watcher goes on after it, and misses the change.
    for garbage in [
        "garbage\n",
        "{\"type\": \"MODIFIED\", \"object\": 7}\n",
        "{\"type\": \"UNKNOWN\", \"object\": {\"metadata\": {}}}\n",
        "\u{0}\n",
    ] {
        let server = ApiServer::with(&["10.0.0.1"]);
        let discovery = watching(&server).await;
        server.corrupt_next_event(garbage);
        server.put("a", &["10.0.0.2"]);
        instances_within(RESYNC, &discovery, &["10.0.0.2:80"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_silent_for_90_seconds_leads_to_a_list() {
    // SD-08
    let server = ApiServer::with(&["10.0.0.1"]);
    let discovery = watching(&server).await;
    server.silence_watches();
    server.put("a", &["10.0.0.2"]);
    sleep(Duration::from_secs(80)).await;
    instances_within(Duration::ZERO, &discovery, &["10.0.0.1:80"]).await;
    instances_within(Duration::from_secs(12), &discovery, &["10.0.0.2:80"]).await;
    let requests = server.requests();
    assert_eq!(requests.iter().filter(|seen| !seen.is_watch()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_gone_leads_to_a_list() {
    // SD-08
    let server = ApiServer::with(&["10.0.0.1"]);
    let discovery = watching(&server).await;
    // As an event.
    server.put("a", &["10.0.0.2"]);
    server.silence_watches();
    server.put("a", &["10.0.0.3"]);
    server.compact();
    sleep(Duration::from_secs(89)).await;
    instances_within(RESYNC, &discovery, &["10.0.0.3:80"]).await;
    // As a status of the watch.
    server.set_fault(Fault::WatchStatus(410, ""));
    server.end_watches();
    sleep(Duration::from_secs(10)).await;
    server.put("a", &["10.0.0.4"]);
    instances_within(RESYNC, &discovery, &["10.0.0.4:80"]).await;
    assert_eq!(status(&discovery), "current");
    server.set_fault(Fault::Healthy);
    within(RESYNC, || server.open_watches() == 1).await;
    assert_paced(&server.requests());
}

#[tokio::test(start_paused = true)]
async fn a_regular_renewal_from_a_version_that_is_gone_leads_to_a_list() {
    let server = ApiServer::with(&["10.0.0.1"]);
    let discovery = watching(&server).await;
    for _ in 0..4 {
        sleep(Duration::from_secs(72)).await;
        server.bookmark();
    }
    server.put("a", &["10.0.0.2"]);
    instances_within(Duration::from_millis(10), &discovery, &["10.0.0.2:80"]).await;
    server.end_watches();
    server.put("a", &["10.0.0.3"]);
    server.compact();
    instances_within(RESYNC, &discovery, &["10.0.0.3:80"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_without_its_data_and_versions_is_listed() {
    // SD-02: a watch from a version of the future gets no events.
    let server = ApiServer::with(&["10.0.0.1"]);
    let discovery = watching(&server).await;
    server.wipe();
    instances_within(RESYNC, &discovery, &[]).await;
    server.put("a", &["10.0.0.2"]);
    instances_within(RESYNC, &discovery, &["10.0.0.2:80"]).await;
    assert_eq!(status(&discovery), "current");
}

#[tokio::test(start_paused = true)]
async fn half_a_line_at_the_end_of_a_watch_is_no_event_and_no_change_is_missed() {
    let server = ApiServer::with(&["10.0.0.1"]);
    let discovery = watching(&server).await;
    for round in 2..10 {
        server.send_to_watches("{\"type\": \"MODIFIED\", \"object\": {\"metadata\": {\"na");
        if round % 2 == 0 {
            server.end_watches();
        } else {
            server.abort_watches();
        }
        let address = format!("10.0.0.{round}");
        server.put("a", &[&address]);
        instances_within(RESYNC, &discovery, &[&format!("{address}:80")]).await;
        within(RESYNC, || server.open_watches() == 1).await;
    }
    assert_eq!(status(&discovery), "current");
}
