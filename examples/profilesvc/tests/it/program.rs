//! The program: the lines of the documentation, and its end.
#![cfg(unix)]

use towerkit_programs::Service;

#[test]
fn the_program_serves_profiles_until_a_signal() {
    let service = Service::start(env!("CARGO_BIN_EXE_profilesvc"), &[]);
    let mut client = service.client();
    let posted = client.post("/profiles/", r#"{"id":"1234","name":"Go Kit"}"#);
    assert_eq!((posted.status, &*posted.body), (200, "{}"));
    let got = client.get("/profiles/1234");
    assert_eq!(got.body, r#"{"profile":{"id":"1234","name":"Go Kit"}}"#);
    assert_eq!(client.get("/profiles/1").status, 404);
    let metrics = client.get("/metrics").body;
    assert!(
        metrics.contains(r#"http_route="/profiles/{id}""#),
        "{metrics}"
    );
    service.signal("TERM");
    assert_eq!(service.end().status.code(), Some(0));
}
