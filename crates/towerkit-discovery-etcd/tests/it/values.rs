use std::time::Duration;

use towerkit_discovery::{Discovery, Registrar};
use towerkit_discovery_etcd::Etcd;

use crate::server::{addresses, etcd, instance, raw, start, until, until_addresses};

#[test]
fn endpoints_services_and_times_that_make_no_sense_are_refused() {
    assert!(Etcd::new::<&str>([]).is_err());
    for endpoint in [
        "",
        "127.0.0.1:2379",
        "ftp://a",
        "http://",
        "http://a/b",
        "http://a b",
    ] {
        assert!(Etcd::new([endpoint]).is_err(), "{endpoint}");
    }
    let etcd = Etcd::new(["http://127.0.0.1:2379", "http://[::1]:2379/"]).unwrap();
    for service in ["", "a/b"] {
        assert!(etcd.service(service).is_err(), "{service}");
    }
    let service = || etcd.service("addsvc").unwrap();
    for ttl in [0, 999, 1500, 86_401_000] {
        assert!(service().ttl(Duration::from_millis(ttl)).is_err(), "{ttl}");
    }
    assert!(service().ttl(Duration::from_secs(1)).is_ok());
}

/// SD-16
#[test]
fn no_password_is_shown() {
    let etcd = Etcd::new(["http://127.0.0.1:2379"])
        .unwrap()
        .user("ann", "canary");
    let shown = format!("{etcd:?} {:?}", etcd.service("addsvc").unwrap());
    assert!(!shown.contains("canary"), "{shown}");
    let error = Etcd::new(["http://ann:canary@127.0.0.1:2379"]).unwrap_err();
    assert!(!error.to_string().contains("canary"), "{error}");
}

/// SD-12, go-kit GK-E3-1: values of other programs, and values that are no instances.
#[tokio::test]
#[ignore = "needs etcd"]
async fn values_of_others_are_read_and_hostile_ones_are_skipped() {
    let server = start("etcd").await;
    let mut raw = raw(&server).await;
    raw.put("/services/addsvc/1.2.3.4:8080", "http://1.2.3.4:8080", None)
        .await
        .unwrap();
    raw.put("/services/addsvc/a", "garbage", None)
        .await
        .unwrap();
    raw.put("/services/addsvc/b", vec![0xff; 100], None)
        .await
        .unwrap();
    raw.put("/services/addsvc2/c", "1.2.3.5:80", None)
        .await
        .unwrap();
    let discovery = Discovery::spawn(etcd(&server).service("addsvc").unwrap());
    assert_eq!(addresses(&discovery.ready().await), ["1.2.3.4:8080"]);
    raw.put(
        "/services/addsvc/d",
        "{\"address\": \"1.2.3.6:80\", \"weight\": 2}",
        None,
    )
    .await
    .unwrap();
    raw.put("/services/addsvc/e", "[".repeat(100_000), None)
        .await
        .unwrap();
    raw.put("/services/addsvc0", "1.2.3.7:80", None)
        .await
        .unwrap();
    until_addresses(&discovery, &["1.2.3.4:8080", "1.2.3.6:80"]).await;
    raw.put("/services/addsvc/d", "garbage", None)
        .await
        .unwrap();
    until_addresses(&discovery, &["1.2.3.4:8080"]).await;
}

/// SD-12
#[tokio::test]
#[ignore = "needs etcd"]
async fn twelve_thousand_keys_and_long_values_are_read_up_to_the_capacity() {
    let server = start("etcd").await;
    let mut raw = raw(&server).await;
    // 80 MB in all: more than a message may have.
    for number in 0..80 {
        let tag = "x".repeat(1_000_000);
        let value = format!("{{\"address\":\"10.1.0.{number}:80\",\"tags\":{{\"a\":\"{tag}\"}}}}");
        raw.put(format!("/services/long/{number}"), value, None)
            .await
            .unwrap();
    }
    let long = Discovery::spawn(etcd(&server).service("long").unwrap());
    let snapshot = long.ready().await;
    assert_eq!(snapshot.instances.len(), 80);
    assert!(
        snapshot
            .instances
            .iter()
            .all(|instance| instance.tags.is_empty())
    );

    for chunk in (0..12_000).collect::<Vec<u32>>().chunks(100) {
        let puts: Vec<_> = chunk
            .iter()
            .map(|number| {
                let key = format!("/services/many/{number:05}");
                let value = format!("10.{}.{}.1:80", number / 250, number % 250);
                etcd_client::TxnOp::put(key, value, None)
            })
            .collect();
        raw.txn(etcd_client::Txn::new().and_then(puts))
            .await
            .unwrap();
    }
    let many = Discovery::spawn(etcd(&server).service("many").unwrap());
    assert_eq!(many.ready().await.instances.len(), 10_000);
    // Of those over the capacity some move up when others go.
    let options = etcd_client::DeleteOptions::new().with_range("/services/many/05000");
    raw.delete("/services/many/00000", Some(options))
        .await
        .unwrap();
    until(&many, |snapshot| snapshot.instances.len() == 7_000).await;
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_registration_is_a_key_with_a_lease_and_json() {
    let server = start("etcd").await;
    let mut raw = raw(&server).await;
    let etcd = etcd(&server).prefix("/shop/");
    let registration = Registrar::new(
        etcd.service("addsvc").unwrap(),
        instance("10.0.0.7:80").weight(3),
    )
    .spawn();
    registration.registered().await;
    let found = raw.get("/shop/addsvc/10.0.0.7:80", None).await.unwrap();
    assert_eq!(
        found.kvs()[0].value(),
        br#"{"address":"10.0.0.7:80","weight":3}"#
    );
    let lease = raw
        .lease_time_to_live(found.kvs()[0].lease(), None)
        .await
        .unwrap();
    assert_eq!(lease.granted_ttl(), 15);
    registration.stop(Duration::from_secs(5)).await;
    assert_eq!(
        raw.get("/shop/addsvc/10.0.0.7:80", None)
            .await
            .unwrap()
            .count(),
        0
    );
}
