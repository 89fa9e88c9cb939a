//! Bare axum against the full stack of stringsvc over loopback: requests a second, of which only those with status 200 count.

use towerkit_benches::loopback;

fn main() -> std::io::Result<()> {
    println!("{}", loopback()?);
    Ok(())
}
