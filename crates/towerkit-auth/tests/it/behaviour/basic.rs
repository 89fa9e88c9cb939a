//! Basic authentication, and its password file.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    task::{Context, Waker},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use towerkit_auth::{BasicAuth, PasswordFile, VerifyPassword};
use towerkit_core::Clock;
use towerkit_http::{ClientAddress, PeerAddress};

use super::*;

const BASIC: &str = r#"Basic realm="shop", charset="UTF-8""#;

fn basic(user: &str, password: &str) -> Request<()> {
    let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
    get("/", &[("authorization", &format!("Basic {encoded}"))])
}

fn from(mut request: Request<()>, client: [u8; 4]) -> Request<()> {
    let peer = SocketAddr::from((IpAddr::from(client), 443));
    request.extensions_mut().insert(PeerAddress(peer));
    request
}

fn users() -> PasswordFile {
    let lines = [
        format!("ann:{}:clerk, admin", hash_of("open: sesame")),
        format!("# comment\n\nbob:{}", bcrypt::hash("swordfish", 4).unwrap()),
        format!("zoë:{}\r", hash_of("über")),
    ];
    PasswordFile::parse(&lines.join("\n")).unwrap()
}

fn shop(users: impl VerifyPassword) -> (Arc<BasicAuth>, AuthLayer) {
    let basic = Arc::new(BasicAuth::new("shop", users).unwrap());
    (basic.clone(), AuthLayer::new(basic))
}

async fn status(layer: &AuthLayer, request: Request<()>) -> u16 {
    send(layer, request).await.status.as_u16()
}

/// GK-BA-1, GK-BA-2
#[tokio::test]
async fn go_kits_cases() {
    let one =
        PasswordFile::parse(&format!("requiredUser:{}", hash_of("requiredPassword"))).unwrap();
    let (_, layer) = shop(one);
    let wrong = [
        get("/", &[]),
        get("/", &[("authorization", "42")]),
        get("/", &[("authorization", "")]),
        get("/", &[("authorization", "Basic")]),
        get("/", &[("authorization", "Basic ")]),
        basic("wrongUser", "requiredPassword"),
        basic("requiredUser", "wrongPassword"),
    ];
    for request in wrong {
        let answer = send(&layer, request).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.challenges, [BASIC]);
    }
    let answer = send(&layer, basic("requiredUser", "requiredPassword")).await;
    assert_eq!(
        (answer.status, &*answer.body),
        (StatusCode::OK, "requiredUser")
    );
}

/// AB-02
#[tokio::test]
async fn users_of_either_hash_are_admitted_with_any_case_of_the_scheme() {
    let (_, layer) = shop(users());
    for (user, password) in [
        ("ann", "open: sesame"),
        ("bob", "swordfish"),
        ("zoë", "über"),
    ] {
        assert_eq!(send(&layer, basic(user, password)).await.body, user);
        for wrong in ["", "open", "Swordfish", "open: sesame "] {
            assert_eq!(status(&layer, basic(user, wrong)).await, 401);
        }
    }
    for scheme in ["basic", "BASIC", "bAsIc", "Basic  "] {
        let value = format!("{scheme} YW5uOm9wZW46IHNlc2FtZQ==");
        assert_eq!(
            status(&layer, get("/", &[("authorization", &value)])).await,
            200
        );
    }
}

/// AB-02, AB-04
#[tokio::test]
async fn malformed_credentials_get_401_with_one_challenge_and_no_hash() {
    let (basic, layer) = shop(users());
    let long = "A".repeat(1 << 20);
    for bad in [
        "!!!",
        "QTo",
        "QR==",
        "YW5u",
        "YW5uOm8A",
        "YW5u Om8=",
        "YW5uOm9wZW46IHNlc2FtZQ",
        "YW5uOv8=",
        &long,
    ] {
        let value = format!("Basic {bad}");
        let answer = send(&layer, get("/", &[("authorization", &value)])).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{bad:.40}");
        assert_eq!(answer.challenges, [BASIC]);
    }
    assert_eq!(basic.snapshot().verified, 0);
    assert_eq!(layer.handle().snapshot().invalid, 9);
}

#[tokio::test]
async fn roles_are_the_third_field() {
    let needs_admin = Permissions::new().role(OperationSet::exact("/"), "admin");
    let (_, layer) = shop(users());
    let layer = layer.authorize(needs_admin);
    assert_eq!(status(&layer, basic("ann", "open: sesame")).await, 200);
    assert_eq!(status(&layer, basic("bob", "swordfish")).await, 403);
}

#[test]
fn a_broken_file_is_an_error_that_names_the_line_and_no_secret() {
    let hash = hash_of("secret");
    for (text, line) in [
        ("ann".to_owned(), 1),
        ("ann:secret".to_owned(), 1),
        (format!("#\n:{hash}"), 2),
        ("ann:$apr1$secret$HqJZimcKQFAMYayBlzkrA/".to_owned(), 1),
        ("ann:{SHA}secret=".to_owned(), 1),
        (format!("ann:{hash}\nbob:{hash}\nann:{hash}"), 3),
        (format!("ann:{hash}$x:\n"), 1),
    ] {
        let error = PasswordFile::parse(&text).unwrap_err();
        assert_eq!(error.value(), format!("\"line {line}\""), "{text}");
        assert!(!error.to_string().contains("secret") && !error.to_string().contains(&hash));
    }
    assert!(PasswordFile::open("/nonexistent/users").is_err());
}

/// A verifier that counts, and for which every password is `right`.
#[derive(Default)]
struct Counting {
    calls: AtomicU64,
    users: Mutex<Vec<String>>,
}

impl VerifyPassword for Counting {
    fn verify(&self, user: &str, password: &str) -> Result<Principal, AuthError> {
        self.calls.fetch_add(1, Relaxed);
        self.users.lock().unwrap().push(user.to_owned());
        match password {
            "right" => Ok(Principal::new(user, Proof::Password)),
            "down" => Err(AuthError::unavailable("no database")),
            "panic" => panic!("verifier"),
            _ => Err(AuthError::invalid("wrong")),
        }
    }
}

#[tokio::test]
async fn results_are_cached_for_their_time() {
    let (clock, clock_control) = Clock::manual();
    let counting = Arc::new(Counting::default());
    let basic_auth = BasicAuth::new("shop", counting.clone())
        .unwrap()
        .clock(clock);
    let layer = AuthLayer::new(basic_auth);
    let verified = || counting.calls.swap(0, Relaxed);
    for _ in 0..5 {
        assert_eq!(status(&layer, basic("ann", "right")).await, 200);
        assert_eq!(status(&layer, basic("ann", "wrong")).await, 401);
    }
    assert_eq!(verified(), 2);
    clock_control.advance(Duration::from_secs(10));
    assert_eq!(status(&layer, basic("ann", "right")).await, 200);
    assert_eq!(status(&layer, basic("ann", "wrong")).await, 401);
    assert_eq!(verified(), 1);
    clock_control.advance(Duration::from_secs(50));
    assert_eq!(status(&layer, basic("ann", "right")).await, 200);
    assert_eq!(verified(), 1);
    // The split between user and password counts.
    assert_eq!(status(&layer, basic("ann:r", "ight")).await, 401);
    assert_eq!(verified(), 1);
}

#[tokio::test]
async fn failures_of_the_verifier_are_not_cached() {
    let counting = Arc::new(Counting::default());
    let (_, layer) = shop(counting.clone());
    for password in ["down", "panic"] {
        for _ in 0..3 {
            assert_eq!(status(&layer, basic("ann", password)).await, 503);
        }
    }
    assert_eq!(counting.calls.load(Relaxed), 6);
    assert_eq!(status(&layer, basic("ann", "right")).await, 200);
}

#[tokio::test]
async fn a_cache_of_no_time_is_off() {
    let counting = Arc::new(Counting::default());
    let basic_auth = BasicAuth::new("shop", counting.clone()).unwrap();
    let layer = AuthLayer::new(basic_auth.cache(Duration::ZERO, Duration::ZERO));
    for _ in 0..3 {
        assert_eq!(status(&layer, basic("ann", "right")).await, 200);
        assert_eq!(status(&layer, basic("ann", "wrong")).await, 401);
    }
    assert_eq!(counting.calls.load(Relaxed), 6);
}

#[tokio::test]
async fn equal_credentials_that_wait_together_are_verified_once() {
    let counting = Arc::new(Counting::default());
    let (_, layer) = shop(counting.clone());
    let calls = (0..20).map(|_| status(&layer, basic("ann", "right")));
    for status in futures(calls).await {
        assert_eq!(status, 200);
    }
    assert_eq!(counting.calls.load(Relaxed), 1);
}

/// Runs futures concurrently on this task.
async fn futures<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    std::future::poll_fn(|cx| {
        let mut is_ready = true;
        for (future, result) in &mut running {
            if result.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(value) => *result = Some(value),
                    Poll::Pending => is_ready = false,
                }
            }
        }
        if is_ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    running
        .into_iter()
        .map(|(_, result)| result.unwrap())
        .collect()
}

/// A verifier that does one password for each token of the test, and records the users in order.
struct ByHand {
    tokens: Mutex<mpsc::Receiver<()>>,
    running: AtomicU64,
    max_running: AtomicU64,
    users: Mutex<Vec<String>>,
}

impl VerifyPassword for ByHand {
    fn verify(&self, user: &str, password: &str) -> Result<Principal, AuthError> {
        let running = self.running.fetch_add(1, Relaxed) + 1;
        self.max_running.fetch_max(running, Relaxed);
        let token = self.tokens.lock().unwrap().recv();
        self.running.fetch_sub(1, Relaxed);
        self.users.lock().unwrap().push(user.to_owned());
        token.map_err(|_| AuthError::unavailable("the test is over"))?;
        match password {
            "right" => Ok(Principal::new(user, Proof::Password)),
            _ => Err(AuthError::invalid("wrong")),
        }
    }
}

fn by_hand() -> (Arc<ByHand>, mpsc::Sender<()>) {
    let (sender, tokens) = mpsc::channel();
    let by_hand = ByHand {
        tokens: Mutex::new(tokens),
        running: AtomicU64::new(0),
        max_running: AtomicU64::new(0),
        users: Mutex::default(),
    };
    (Arc::new(by_hand), sender)
}

/// A flood of wrong passwords takes one thread, and delays a caller by one verification for each client that waits.
#[tokio::test]
async fn a_flood_of_wrong_passwords_takes_one_thread_and_starves_no_caller() {
    let (verifier, tokens) = by_hand();
    let (basic_auth, layer) = shop(Arc::clone(&verifier));
    let spawn = |number: u32| {
        let request = from(basic(&format!("user{number}"), "wrong"), [10, 0, 0, 66]);
        let layer = layer.clone();
        tokio::spawn(async move { status(&layer, request).await })
    };
    let mut flood = vec![spawn(0)];
    let settled = async |verified, waiting| loop {
        let snapshot = basic_auth.snapshot();
        if snapshot.verified == verified && snapshot.waiting == waiting {
            return;
        }
        tokio::task::yield_now().await;
    };
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, settled(1, 0)).await.unwrap();
    flood.extend((1..1_000).map(spawn));
    tokio::time::timeout(limit, settled(1, 256)).await.unwrap();
    let mut valid = Box::pin(status(&layer, from(basic("ann", "right"), [10, 0, 0, 7])));
    // The first poll puts the call into the queue, while the first verification runs.
    assert!(
        valid
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    // The running verification, one more of the flood, and the valid one.
    for _ in 0..3 {
        tokens.send(()).unwrap();
    }
    assert_eq!(valid.await, 200);
    let users = verifier.users.lock().unwrap().clone();
    assert_eq!(users, ["user0", "user1", "ann"]);
    assert_eq!(verifier.max_running.load(Relaxed), 1);
    drop(tokens);
    let mut counts = [0, 0];
    for call in flood {
        match call.await.unwrap() {
            401 => counts[0] += 1,
            503 => counts[1] += 1,
            other => panic!("{other}"),
        }
    }
    // 743 found no place in the queue, and the last of it gave its place to the valid caller.
    assert!(counts[1] >= 743, "{counts:?}");
}

/// A caller whose credentials were valid before waits for two verifications at most, also at the flood's own address.
#[tokio::test]
async fn a_renewal_does_not_wait_behind_the_flood() {
    let (clock, clock_control) = Clock::manual();
    let (verifier, tokens) = by_hand();
    let basic_auth = BasicAuth::new("shop", Arc::clone(&verifier))
        .unwrap()
        .clock(clock);
    let basic_auth = Arc::new(basic_auth);
    let layer = AuthLayer::new(basic_auth.clone());
    tokens.send(()).unwrap();
    assert_eq!(status(&layer, basic("ann", "right")).await, 200);
    clock_control.advance(Duration::from_secs(61));
    let spawn = |user: String, password: &'static str| {
        let layer = layer.clone();
        tokio::spawn(async move { status(&layer, basic(&user, password)).await })
    };
    let flood: Vec<_> = (0..100)
        .map(|n| spawn(format!("user{n}"), "wrong"))
        .collect();
    let waiting = async |count| {
        while basic_auth.snapshot().waiting != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting(99))
        .await
        .unwrap();
    let renewal = spawn("ann".to_owned(), "right");
    tokio::time::timeout(Duration::from_secs(30), waiting(100))
        .await
        .unwrap();
    for _ in 0..3 {
        tokens.send(()).unwrap();
    }
    assert_eq!(renewal.await.unwrap(), 200);
    drop(tokens);
    for call in flood {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_call_is_not_hashed() {
    let (verifier, tokens) = by_hand();
    let (basic_auth, layer) = shop(Arc::clone(&verifier));
    let spawn = |user: &str| {
        let (layer, request) = (layer.clone(), basic(user, "right"));
        tokio::spawn(async move { status(&layer, request).await })
    };
    let first = spawn("first");
    while basic_auth.snapshot().verified == 0 {
        tokio::task::yield_now().await;
    }
    let (dropped, last) = (spawn("dropped"), spawn("last"));
    while basic_auth.snapshot().waiting != 2 {
        tokio::task::yield_now().await;
    }
    dropped.abort();
    assert!(dropped.await.is_err());
    tokens.send(()).unwrap();
    tokens.send(()).unwrap();
    assert_eq!((first.await.unwrap(), last.await.unwrap()), (200, 200));
    assert_eq!(*verifier.users.lock().unwrap(), ["first", "last"]);
}

#[test]
fn without_a_runtime_a_call_is_rejected() {
    let (_, layer) = shop(users());
    let mut send = Box::pin(status(&layer, basic("ann", "open: sesame")));
    let polled = send.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(503));
}

#[test]
fn a_runtime_that_shuts_down_leaves_no_call_waiting() {
    let (verifier, tokens) = by_hand();
    let (basic_auth, layer) = shop(verifier);
    let first = tokio::runtime::Runtime::new().unwrap();
    let call = first.spawn({
        let layer = layer.clone();
        async move { status(&layer, basic("ann", "right")).await }
    });
    while basic_auth.snapshot().verified == 0 {
        std::thread::yield_now();
    }
    first.shutdown_background();
    tokens.send(()).unwrap();
    tokens.send(()).unwrap();
    let second = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(second.block_on(status(&layer, basic("bob", "right"))), 200);
    assert!(second.block_on(call).is_err() || basic_auth.snapshot().waiting == 0);
}

#[tokio::test]
async fn a_reloaded_file_forgets_earlier_results() {
    let path = std::env::temp_dir().join(format!("towerkit-auth-users-{}", std::process::id()));
    std::fs::write(&path, format!("ann:{}", hash_of("old"))).unwrap();
    let users = PasswordFile::open(&path).unwrap();
    let (basic_auth, layer) = shop(users.clone());
    assert_eq!(status(&layer, basic("ann", "old")).await, 200);
    assert_eq!(status(&layer, basic("ann", "new")).await, 401);
    assert!(!users.reload().unwrap());
    assert_eq!(status(&layer, basic("ann", "old")).await, 200);
    assert_eq!(basic_auth.snapshot().verified, 2);
    std::fs::write(&path, "broken").unwrap();
    assert!(users.reload().is_err());
    assert_eq!(status(&layer, basic("ann", "old")).await, 200);
    std::fs::write(&path, format!("ann:{}", hash_of("new"))).unwrap();
    assert!(users.reload().unwrap());
    assert_eq!(status(&layer, basic("ann", "old")).await, 401);
    assert_eq!(status(&layer, basic("ann", "new")).await, 200);
    std::fs::write(&path, "").unwrap();
    assert!(users.reload().unwrap());
    assert_eq!(status(&layer, basic("ann", "new")).await, 401);
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_file_is_reloaded_in_the_background() {
    let path = std::env::temp_dir().join(format!("towerkit-auth-watch-{}", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let users = PasswordFile::open(&path).unwrap();
    let errors = Arc::new(AtomicU64::new(0));
    let seen = errors.clone();
    let count = move |_| {
        seen.fetch_add(1, Relaxed);
    };
    let watch = tokio::spawn(users.clone().reload_every(Duration::from_secs(5), count));
    std::fs::write(&path, "broken").unwrap();
    while errors.load(Relaxed) == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    std::fs::write(&path, format!("ann:{}", hash_of("new"))).unwrap();
    while users.generation() == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(users.verify("ann", "new").is_ok());
    watch.abort();
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn clients_behind_a_proxy_take_turns() {
    let (verifier, tokens) = by_hand();
    let trusted = ClientAddress::new().trust(["10.0.0.1"]).unwrap();
    let basic_auth = BasicAuth::new("shop", Arc::clone(&verifier))
        .unwrap()
        .client_address(trusted);
    let basic_auth = Arc::new(basic_auth);
    let layer = AuthLayer::new(basic_auth.clone());
    let spawn = |user: &str, client: &str| {
        let mut request = from(basic(user, "right"), [10, 0, 0, 1]);
        request
            .headers_mut()
            .insert("x-forwarded-for", client.parse().unwrap());
        let layer = layer.clone();
        tokio::spawn(async move { status(&layer, request).await })
    };
    let mut calls = vec![spawn("a1", "1.1.1.1")];
    while basic_auth.snapshot().verified == 0 {
        tokio::task::yield_now().await;
    }
    for (waiting, (user, client)) in [("a2", "1.1.1.1"), ("a3", "1.1.1.1"), ("b1", "2.2.2.2")]
        .into_iter()
        .enumerate()
    {
        calls.push(spawn(user, client));
        while basic_auth.snapshot().waiting != waiting + 1 {
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..4 {
        tokens.send(()).unwrap();
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(*verifier.users.lock().unwrap(), ["a1", "a2", "b1", "a3"]);
}
