use std::{fmt, sync::Arc};

use towerkit_discovery::{Instance, LeaseStatus, RegistryError};
use zookeeper_client::{Client, CreateMode, Error as ClientError};

use crate::{
    connection::{Connected, Connection, limit},
    error::{Kind, RequestError},
};

/// How often a node is made anew that others make and remove at the same time.
const ATTEMPTS: usize = 5;

/// A registration in ZooKeeper: an ephemeral node, and the session that it lives in.
pub struct ZooKeeperLease {
    /// Keeps the session alive until the node is moved to another.
    session: Connected,
    node: Node,
    /// The transaction that made the node, by which it is told from a later registration.
    created: i64,
}

/// The node of an instance.
struct Node {
    directory: Arc<str>,
    path: String,
    data: Vec<u8>,
}

/// Makes the node of an instance, in place of one that an earlier session has made.
pub(crate) async fn register(
    connection: &Connection,
    directory: &Arc<str>,
    instance: &Instance,
) -> Result<ZooKeeperLease, RegistryError> {
    let node = Node {
        directory: directory.clone(),
        path: format!("{directory}/{}", instance.address),
        data: instance.to_json(),
    };
    let session = connection.session().await?;
    let created = create(connection, &session, &node).await?;
    Ok(ZooKeeperLease {
        session,
        node,
        created,
    })
}

/// Looks if the node is there; makes it again in a new session if its session is lost.
pub(crate) async fn renew(
    connection: &Connection,
    lease: &mut ZooKeeperLease,
) -> Result<LeaseStatus, RegistryError> {
    let stat = async {
        lease.session.reconnected().await?;
        limit("exists", lease.session.client.check_stat(&lease.node.path)).await
    };
    match stat.await {
        Ok(Some(_)) => return Ok(LeaseStatus::Renewed),
        Ok(None) => return Ok(LeaseStatus::Lost),
        Err(error) if error.is_of_session() => connection.give_up(&lease.session).await,
        Err(error) => return Err(error.into()),
    }
    let session = connection.session().await?;
    lease.created = create(connection, &session, &lease.node).await?;
    lease.session = session;
    Ok(LeaseStatus::Renewed)
}

/// Removes the node, unless a later registration has made it.
pub(crate) async fn deregister(
    connection: &Connection,
    lease: &ZooKeeperLease,
) -> Result<(), RegistryError> {
    let session = match lease.session.reconnected().await {
        Ok(()) => lease.session.clone(),
        Err(_) => connection.session().await?,
    };
    let path = &lease.node.path;
    let stat = limit("exists", session.client.check_stat(path)).await?;
    if stat.is_some_and(|stat| stat.czxid == lease.created) {
        match limit("delete", session.client.delete(path, None)).await {
            Err(error) if error.client_error() != Some(&ClientError::NoNode) => {
                return Err(error.into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes a node, and returns the transaction that made it. Gives up the session if that is why it fails.
async fn create(
    connection: &Connection,
    session: &Connected,
    node: &Node,
) -> Result<i64, RequestError> {
    let result = try_create(connection, &session.client, node).await;
    if let Err(error) = &result
        && error.is_of_session()
    {
        connection.give_up(session).await;
    }
    result
}

async fn try_create(
    connection: &Connection,
    client: &Client,
    node: &Node,
) -> Result<i64, RequestError> {
    let Node {
        directory,
        path,
        data,
    } = node;
    let options = connection.create_options(CreateMode::Ephemeral);
    let mut last = ClientError::NodeExists;
    for _ in 0..ATTEMPTS {
        let error = match limit("create", client.create(path, data, &options)).await {
            Ok((stat, _)) => return Ok(stat.czxid),
            Err(error) => error,
        };
        match error.client_error() {
            Some(ClientError::NoNode) => {
                let options = connection.create_options(CreateMode::Persistent);
                limit("create", client.mkdir(directory, &options)).await?;
            }
            Some(ClientError::NodeExists) => {
                // In one transaction, so that the instance is not missing in between.
                let mut writer = client.new_multi_writer();
                let prepared = writer
                    .add_delete(path, None)
                    .and_then(|()| writer.add_create(path, data, &options));
                prepared.map_err(|error| RequestError::new("create", Kind::Client(error)))?;
                match limit("create", writer.commit()).await {
                    Ok(_) => {
                        // The answer does not have the number of the transaction.
                        let stat = limit("exists", client.check_stat(path)).await?;
                        return Ok(stat.map_or(0, |stat| stat.czxid));
                    }
                    Err(error) if error.client_error() == Some(&ClientError::NoNode) => {
                        last = ClientError::NoNode;
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => return Err(error),
        }
    }
    Err(RequestError::new("create", Kind::Client(last)))
}

impl fmt::Debug for ZooKeeperLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooKeeperLease")
            .field("path", &self.node.path)
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}
