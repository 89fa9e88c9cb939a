use std::{sync::Arc, time::Duration};

use hickory_resolver::proto::rr::Name;
use towerkit_core::ConfigError;
use towerkit_discovery::{Address, InstanceSender, Source};

use crate::{
    DnsResolver,
    refresh::{Question, Refresher, run},
};

/// The SRV records or the addresses of a name, as a source of instances.
///
/// See the [crate](crate) for how names are looked up and refreshed.
#[derive(Debug, Clone)]
pub struct Dns {
    question: Question,
    resolver: Option<DnsResolver>,
    max_interval: Duration,
}

impl Dns {
    /// Makes a source of the SRV records of a name such as `_addsvc._tcp.example.org`.
    ///
    /// # Errors
    ///
    /// Returns an error if `name` is not the name of a domain.
    pub fn srv(name: &str) -> Result<Self, ConfigError> {
        let (name, _) = check_name(name, 1)?;
        Ok(Self::new(Question::Service(name)))
    }

    /// Makes a source of the addresses of a host: each is an instance with this port.
    ///
    /// # Errors
    ///
    /// Returns an error if `name` is not the name of a host, or if `port` is 0. An IP address is no name: use
    /// [`StaticInstances`](towerkit_discovery::StaticInstances) for it.
    pub fn host(name: &str, port: u16) -> Result<Self, ConfigError> {
        let (name, port) = check_name(name, port)?;
        Ok(Self::new(Question::Host(name, port)))
    }

    /// Sets the resolver. Default: one of its own, with the name servers of the system.
    #[must_use]
    pub fn resolver(mut self, resolver: &DnsResolver) -> Self {
        self.resolver = Some(resolver.clone());
        self
    }

    /// Sets the longest time between two refreshes, however long the TTL is. Default: 30 seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if `interval` is shorter than a second or longer than a day.
    pub fn max_interval(mut self, interval: Duration) -> Result<Self, ConfigError> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        self.max_interval =
            ConfigError::check_range("max_interval", interval, Duration::from_secs(1)..=DAY)?;
        Ok(self)
    }

    fn new(question: Question) -> Self {
        Self {
            question,
            resolver: None,
            max_interval: Duration::from_secs(30),
        }
    }
}

impl Source for Dns {
    async fn run(self, sender: InstanceSender) {
        let resolver = self.resolver.unwrap_or_else(DnsResolver::system);
        let refresher = Refresher::new(self.question, Arc::new(resolver));
        run(refresher, self.max_interval, sender).await;
    }
}

fn check_name(name: &str, port: u16) -> Result<(Name, u16), ConfigError> {
    let invalid = || {
        let shown: String = name.chars().take(64).collect();
        ConfigError::new("name", shown, "a domain name such as example.org")
    };
    // The same rules as for the addresses of instances.
    match Address::new(name, port) {
        Ok(Address::Name(name, port)) => {
            let mut name = Name::from_ascii(&*name).map_err(|_| invalid())?;
            name.set_fqdn(true);
            Ok((name, port))
        }
        Err(error) if error.setting() == "port" => Err(error),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_domain_has_is_refused() {
        for name in [
            "",
            ".",
            "a b",
            "user@host",
            "10.0.0.1",
            "::1",
            "a..b",
            "-a",
            "a/b",
            "ä.org",
        ] {
            let error = Dns::srv(name).unwrap_err();
            assert_eq!(error.setting(), "name", "{name}");
            assert!(Dns::host(name, 80).is_err(), "{name}");
        }
        assert_eq!(Dns::host("example.org", 0).unwrap_err().setting(), "port");
        for name in ["_addsvc._tcp.example.org", "Example.org.", "addsvc"] {
            assert!(Dns::srv(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_interval_below_a_second_is_refused() {
        let dns = || Dns::srv("example.org").unwrap();
        assert!(dns().max_interval(Duration::from_millis(999)).is_err());
        assert!(dns().max_interval(Duration::from_secs(86_401)).is_err());
        assert!(dns().max_interval(Duration::from_secs(1)).is_ok());
    }
}
