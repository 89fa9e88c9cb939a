use std::{error::Error, fmt, future::Future, sync::Arc};

use hickory_resolver::{
    net::NetError,
    proto::rr::{Name, RData, Record, RecordType},
};

/// The number of aliases that lead to a name.
const MAX_ALIASES: usize = 8;

/// One query to a name server.
pub(crate) trait Lookup: Send + Sync + 'static {
    fn query(
        &self,
        name: &Name,
        record_type: RecordType,
    ) -> impl Future<Output = Result<Answer, LookupError>> + Send;
}

/// The answer of a name server, which may have no records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) answers: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
    /// How many seconds it holds that there are no records.
    pub(crate) negative_ttl: Option<u32>,
    /// Whether the name to which the aliases lead has no records: it is not to be asked for.
    pub(crate) is_final: bool,
}

/// The records of a name, behind its aliases.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    pub(crate) records: Vec<RData>,
    pub(crate) additionals: Vec<Record>,
    /// How many seconds the answer holds; `None` if the name server does not say.
    pub(crate) ttl: Option<u32>,
    /// The number of queries that were made.
    pub(crate) queries: u32,
}

/// Why a lookup has no answer.
#[derive(Debug, Clone)]
pub(crate) enum LookupError {
    /// The name server failed or did not answer.
    Failed(Arc<NetError>),
    /// The name server does not know, and names others.
    Referral,
    /// There are more than 8 aliases, or they lead in a circle.
    TooManyAliases,
    /// All SRV records lack a valid port or target.
    NoValidRecord,
}

impl LookupError {
    /// Adds the name that was looked up.
    pub(crate) fn of(self, name: &Name, record_type: RecordType) -> NamedError {
        NamedError {
            name: name.clone(),
            record_type,
            source: self,
        }
    }
}

impl From<NetError> for LookupError {
    fn from(error: NetError) -> Self {
        Self::Failed(Arc::new(error))
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Referral => f.write_str("the name server refers to others"),
            Self::TooManyAliases => write!(f, "more than {MAX_ALIASES} aliases, or a circle"),
            Self::NoValidRecord => f.write_str("no record has a valid port and target"),
        }
    }
}

impl Error for LookupError {}

/// A lookup that failed, with its name.
#[derive(Debug, Clone)]
pub(crate) struct NamedError {
    name: Name,
    record_type: RecordType,
    source: LookupError,
}

impl fmt::Display for NamedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            record_type,
            source,
        } = self;
        write!(f, "lookup of {record_type} {name} failed: {source}")
    }
}

impl Error for NamedError {}

/// Looks up the records of a name, and follows its aliases.
pub(crate) async fn look_up(
    lookup: &impl Lookup,
    name: &Name,
    record_type: RecordType,
) -> Result<Records, LookupError> {
    let mut found = Records::default();
    let mut current = name.clone();
    let mut aliases = 0;
    loop {
        let answer = lookup.query(&current, record_type).await?;
        found.queries += 1;
        let asked = current.clone();
        loop {
            let of_current = |record: &&Record| record.name == current;
            let records = answer.answers.iter().filter(of_current);
            for record in records.filter(|record| record.record_type() == record_type) {
                found.limit_ttl(record.ttl);
                found.records.push(record.data.clone());
            }
            if !found.records.is_empty() {
                found.additionals = answer.additionals;
                return Ok(found);
            }
            let alias =
                answer
                    .answers
                    .iter()
                    .filter(of_current)
                    .find_map(|record| match &record.data {
                        RData::CNAME(target) => Some((target.0.clone(), record.ttl)),
                        _ => None,
                    });
            let Some((target, ttl)) = alias else { break };
            aliases += 1;
            if aliases > MAX_ALIASES {
                return Err(LookupError::TooManyAliases);
            }
            found.limit_ttl(ttl);
            current = target;
        }
        // An alias whose target was not part of the answer.
        if current == asked || answer.is_final {
            if let Some(ttl) = answer.negative_ttl {
                found.limit_ttl(ttl);
            }
            return Ok(found);
        }
    }
}

impl Records {
    fn limit_ttl(&mut self, ttl: u32) {
        self.ttl = Some(self.ttl.map_or(ttl, |least| least.min(ttl)));
    }
}
