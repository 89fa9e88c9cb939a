use std::time::Duration;

use clap::Parser;
use flags::RegistryUrl;

/// go-kit's API gateway on towerkit.
#[derive(Debug, Clone, Parser)]
pub struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub addr: String,

    /// Registry of the instances of addsvc over gRPC, such as static:127.0.0.1:8081, file:PATH, dns://HOST:PORT,
    /// consul://HOST:PORT/SERVICE, etcd://HOST:PORT/SERVICE or zk://HOST:PORT/SERVICE.
    #[arg(long, value_name = "URL", default_value = "static:127.0.0.1:8081")]
    pub addsvc: RegistryUrl,

    /// Registry of the instances of stringsvc over HTTP.
    #[arg(long, value_name = "URL", default_value = "static:127.0.0.1:8080")]
    pub stringsvc: RegistryUrl,

    /// Attempts of a call, each at another instance.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub retry_max: u8,

    /// Time of a call with all of its attempts, in milliseconds.
    #[arg(long, default_value = "500", value_parser = millis)]
    pub retry_timeout: Duration,
}

fn millis(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a number of milliseconds, such as 500"),
        Ok(millis) => Ok(Duration::from_millis(millis)),
    }
}
