//! Bare axum against the full stack of stringsvc over loopback: requests a second, of which only those with status 200 count.

use towerkit_benches::{Pairs, Served, Server, serve_if_told};

fn main() {
    serve_if_told();
    println!("| stringsvc over loopback | bare axum, requests/s | with the stack | share |");
    println!("|---|---:|---:|---:|");
    for (served, name) in [
        (Served::Silent, "log off"),
        (Served::Logging, "log to /dev/null"),
    ] {
        let bare = Server::start(&mut Served::Bare.command()).expect("bare axum starts");
        let full = Server::start(&mut served.command()).expect("stringsvc starts");
        let pairs = Pairs::measure(&bare, &full).expect("both answer");
        let (bare, full, share) = (pairs.bare(), pairs.full(), pairs.share());
        println!("| {name} | {bare:.0} | {full:.0} | {share:.3} |");
    }
}
