use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use hickory_resolver::proto::{
    op::{Message, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, SRV},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// A name server of the test, over UDP and TCP, whose answers the test writes.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

/// Writes the answer to a query.
pub(crate) type Respond = dyn Fn(&Query, Transport) -> Reply + Send + Sync;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

pub(crate) enum Reply {
    Records(Vec<Record>),
    /// Records, and additional records.
    With(Vec<Record>, Vec<Record>),
    Code(ResponseCode),
    Truncated,
    Garbage,
    Silence,
}

struct State {
    respond: Mutex<Arc<Respond>>,
    queries: Mutex<Vec<(Query, Transport)>>,
}

impl NameServer {
    pub(crate) async fn start(
        respond: impl Fn(&Query, Transport) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(State {
            respond: Mutex::new(Arc::new(respond)),
            queries: Mutex::default(),
        });
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, state.clone()));
        tasks.spawn(serve_tcp(tcp, state.clone()));
        Self {
            address,
            state,
            _tasks: tasks,
        }
    }

    /// Replaces the answers.
    pub(crate) fn respond(
        &self,
        respond: impl Fn(&Query, Transport) -> Reply + Send + Sync + 'static,
    ) {
        let mut current = self
            .state
            .respond
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(respond);
    }

    /// Returns the queries since the last call.
    pub(crate) fn take_queries(&self) -> Vec<(Query, Transport)> {
        let mut queries = self
            .state
            .queries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut queries)
    }
}

impl State {
    fn answer(&self, request: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let request = Message::from_vec(request).unwrap();
        let query = request.queries[0].clone();
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries.push((query.clone(), transport));
        drop(queries);
        let respond = self
            .respond
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut response = Message::response(request.id, request.op_code);
        response.add_query(query.clone());
        match respond(&query, transport) {
            Reply::Records(records) => {
                response.add_answers(records);
            }
            Reply::With(records, additionals) => {
                response.add_answers(records);
                response.add_additionals(additionals);
            }
            Reply::Code(code) => response.metadata.response_code = code,
            Reply::Truncated => response.metadata.truncation = true,
            Reply::Garbage => return Some(vec![0xff; 40]),
            Reply::Silence => return None,
        }
        Some(response.to_vec().unwrap())
    }
}

async fn serve_udp(socket: UdpSocket, state: Arc<State>) {
    let mut buffer = [0; 4096];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
        if let Some(answer) = state.answer(&buffer[..length], Transport::Udp) {
            socket.send_to(&answer, peer).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve_connection(stream, state.clone()));
    }
}

async fn serve_connection(mut stream: TcpStream, state: Arc<State>) {
    while let Ok(length) = stream.read_u16().await {
        let mut request = vec![0; length.into()];
        stream.read_exact(&mut request).await.unwrap();
        if let Some(answer) = state.answer(&request, Transport::Tcp) {
            stream.write_u16(answer.len() as u16).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    }
}

pub(crate) fn name(name: &str) -> Name {
    Name::from_ascii(name).unwrap()
}

pub(crate) fn a(of: &str, ttl: u32, ip: [u8; 4]) -> Record {
    Record::from_rdata(name(of), ttl, RData::A(A(ip.into())))
}

pub(crate) fn aaaa(of: &str, ttl: u32, ip: [u16; 8]) -> Record {
    Record::from_rdata(name(of), ttl, RData::AAAA(AAAA(ip.into())))
}

pub(crate) fn cname(of: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(of), ttl, RData::CNAME(CNAME(name(target))))
}

pub(crate) fn srv(
    of: &str,
    ttl: u32,
    (priority, weight, port): (u16, u16, u16),
    target: &str,
) -> Record {
    let data = SRV::new(priority, weight, port, name(target));
    Record::from_rdata(name(of), ttl, RData::SRV(data))
}

/// Answers with those of the records that have the name and the type of the query.
pub(crate) fn of(
    records: Vec<Record>,
) -> impl Fn(&Query, Transport) -> Reply + Send + Sync + 'static {
    move |query, _| {
        let is_asked = |record: &&Record| {
            record.name == *query.name()
                && (record.record_type() == query.query_type()
                    || record.record_type() == RecordType::CNAME)
        };
        let records: Vec<_> = records.iter().filter(is_asked).cloned().collect();
        Reply::Records(records)
    }
}
