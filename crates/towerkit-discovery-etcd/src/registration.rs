use std::time::Duration;

use etcd_client::{GetOptions, PutOptions};
use towerkit_discovery::{Instance, LeaseStatus, RegistryError};

use crate::{connection::Connection, error::RequestError};

/// A registration in etcd: a key that is attached to a lease.
#[derive(Debug)]
pub struct EtcdLease {
    id: i64,
    key: String,
}

/// Registers an instance under a new lease. The key of an earlier registration is moved to it.
pub(crate) async fn register(
    connection: &Connection,
    key: String,
    instance: &Instance,
    ttl: Duration,
) -> Result<EtcdLease, RegistryError> {
    let seconds = ttl.as_secs() as i64;
    let grant =
        |mut client: etcd_client::Client| async move { client.lease_grant(seconds, None).await };
    let id = connection.request("grant of a lease", grant).await?.id();
    let value = instance.to_json();
    let put = |mut client: etcd_client::Client| {
        let key = key.clone();
        async move {
            let options = PutOptions::new().with_lease(id);
            client.put(key, value, Some(options)).await
        }
    };
    connection.request("put", put).await?;
    Ok(EtcdLease { id, key })
}

/// Keeps the lease alive, and looks if the key is still there.
pub(crate) async fn renew(
    connection: &Connection,
    lease: &EtcdLease,
) -> Result<LeaseStatus, RegistryError> {
    let id = lease.id;
    let keep_alive =
        |mut client: etcd_client::Client| async move { client.lease_keep_alive(id).await };
    if is_lost(connection.request("renewal of a lease", keep_alive).await)? {
        return Ok(LeaseStatus::Lost);
    }
    let get = |mut client: etcd_client::Client| {
        let key = lease.key.clone();
        async move {
            let options = GetOptions::new().with_count_only();
            client.get(key, Some(options)).await
        }
    };
    let found = connection.request("get", get).await?;
    Ok(match found.count() {
        0 => LeaseStatus::Lost,
        _ => LeaseStatus::Renewed,
    })
}

/// Ends the lease, and with it the key, unless a later registration has moved it to its own.
pub(crate) async fn deregister(
    connection: &Connection,
    lease: &EtcdLease,
) -> Result<(), RegistryError> {
    let id = lease.id;
    let revoke = |mut client: etcd_client::Client| async move { client.lease_revoke(id).await };
    is_lost(connection.request("end of a lease", revoke).await)?;
    Ok(())
}

fn is_lost<T>(result: Result<T, RequestError>) -> Result<bool, RequestError> {
    match result {
        Ok(_) => Ok(false),
        Err(error) if error.is_lease_lost() => Ok(true),
        Err(error) => Err(error),
    }
}
