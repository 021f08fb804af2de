//! What the link carries beside bare quinn, between the same two processes, in one run.
//!
//! `cargo bench --profile dev -p consilium-link` prints a table: each size with bare quinn
//! as it comes, bare quinn with the link's settings, and the link itself (messages, each
//! chunk hashed by the sender and checked by the receiver). All three do mutual TLS 1.3
//! with the same keys and the same library. `-- tune` compares settings of bare quinn:
//! it is how the link's were chosen.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first surprise"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_link::{
    CertificateAuthority, Chunk, CloseCode, Credentials, Dialer, Identity, LinkLimits, Listener,
    MemberKey, limits, wall_clock,
};
use consilium_protocol::limits::CHUNK_BYTES_MAX;
use consilium_protocol::{Role, wire};
use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig, MtuDiscoveryConfig, TokioRuntime, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const MEGABYTES: [usize; 3] = [1, 40, 400];

/// Runs of each row; the best counts, since other programs only ever slow one down.
const REPEATS: usize = 3;

/// A way of carrying bytes, as both processes must agree on it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Carrier {
    Link,
    Bare(Settings),
}

/// Bare quinn's settings; zero leaves quinn's own.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Settings {
    udp_payload_bytes: u16,
    batches: bool,
    bbr: bool,
    window_bytes: u32,
    socket_buffer_bytes: usize,
}

const AS_IT_COMES: Settings = Settings {
    udp_payload_bytes: 0,
    batches: true,
    bbr: false,
    window_bytes: 0,
    socket_buffer_bytes: 0,
};

const LIKE_THE_LINK: Settings = Settings {
    udp_payload_bytes: limits::UDP_PAYLOAD_BYTES_MAX,
    batches: true,
    bbr: false,
    window_bytes: limits::STREAM_WINDOW_BYTES,
    socket_buffer_bytes: limits::SOCKET_BUFFER_BYTES,
};

struct Figures {
    seconds: f64,
    udp_bytes: u64,
    packets_lost: u64,
    udp_payload_bytes: u16,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(at) = arguments.iter().position(|argument| argument == "serve") {
        let [folder, carrier] = arguments.get(at + 1..at + 3).unwrap() else {
            return;
        };
        runtime.block_on(serve(Path::new(folder), Carrier::from_argument(carrier)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    enrol_both(folder.path());
    if arguments.iter().any(|argument| argument == "tune") {
        runtime.block_on(tune(folder.path()));
    } else {
        runtime.block_on(compare(folder.path()));
    }
}

async fn compare(folder: &Path) {
    let rows = [
        ("bare quinn, as it comes", Carrier::Bare(AS_IT_COMES)),
        (
            "bare quinn, the link's settings",
            Carrier::Bare(LIKE_THE_LINK),
        ),
        ("consilium-link", Carrier::Link),
    ];
    println!("loopback, two processes, mutual TLS 1.3, best of {REPEATS}");
    for megabytes in MEGABYTES {
        println!(
            "\n{megabytes} MB{:27} {:>9} {:>9} {:>12}",
            "", "MB/s", "of bare", "UDP/payload"
        );
        let mut bare = None;
        for (name, carrier) in rows {
            let figures = best(folder, carrier, megabytes).await;
            let speed = megabytes as f64 / figures.seconds;
            let of_bare = speed / *bare.get_or_insert(speed);
            let over = figures.udp_bytes as f64 / (megabytes * 1_000_000) as f64;
            println!("  {name:32} {speed:9.0} {of_bare:8.2}x {over:12.4}");
        }
    }
}

async fn tune(folder: &Path) {
    println!(
        "{:<60} {:>7} {:>6} {:>6}",
        "bare quinn, 400 MB", "MB/s", "lost", "MTU"
    );
    let payloads = [
        (1452, true),
        (4000, true),
        (6500, true),
        (8972, false),
        (16_384, false),
        (65_000, false),
    ];
    for (udp_payload_bytes, batches) in payloads {
        for bbr in [false, true] {
            for socket_buffer_bytes in [0, limits::SOCKET_BUFFER_BYTES] {
                let settings = Settings {
                    udp_payload_bytes,
                    batches,
                    bbr,
                    window_bytes: limits::STREAM_WINDOW_BYTES,
                    socket_buffer_bytes,
                };
                show(folder, settings).await;
            }
        }
    }
    for window_bytes in [0, 1 << 20, 4 << 20, 16 << 20] {
        show(
            folder,
            Settings {
                window_bytes,
                ..LIKE_THE_LINK
            },
        )
        .await;
    }
}

async fn show(folder: &Path, settings: Settings) {
    let figures = best(folder, Carrier::Bare(settings), 400).await;
    let Settings {
        udp_payload_bytes,
        batches,
        bbr,
        window_bytes,
        socket_buffer_bytes,
    } = settings;
    let name = format!(
        "payload {udp_payload_bytes:5} batches {batches:5} {} window {:5} K buffer {} M",
        if bbr { "bbr  " } else { "cubic" },
        window_bytes >> 10,
        socket_buffer_bytes >> 20
    );
    println!(
        "{name:<60} {:7.0} {:6} {:6}",
        400.0 / figures.seconds,
        figures.packets_lost,
        figures.udp_payload_bytes
    );
}

async fn best(folder: &Path, carrier: Carrier, megabytes: usize) -> Figures {
    let mut best: Option<Figures> = None;
    for _ in 0..REPEATS {
        let (mut server, address) = spawn_server(folder, carrier);
        let figures = match carrier {
            Carrier::Link => send_by_link(folder, address, megabytes).await,
            Carrier::Bare(settings) => send_bare(folder, settings, address, megabytes).await,
        };
        server.wait().unwrap();
        if best
            .as_ref()
            .is_none_or(|best| figures.seconds < best.seconds)
        {
            best = Some(figures);
        }
    }
    best.unwrap()
}

// ---- the two processes ----

fn spawn_server(folder: &Path, carrier: Carrier) -> (Child, SocketAddr) {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .arg(folder)
        .arg(carrier.to_argument())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (server, line.trim().parse().unwrap())
}

async fn serve(folder: &Path, carrier: Carrier) {
    match carrier {
        Carrier::Link => receive_by_link(folder).await,
        Carrier::Bare(settings) => receive_bare(folder, settings).await,
    }
}

fn announce(address: SocketAddr) {
    println!("{address}");
    std::io::stdout().flush().unwrap();
}

impl Carrier {
    fn to_argument(self) -> String {
        match self {
            Self::Link => "link".to_owned(),
            Self::Bare(s) => format!(
                "{},{},{},{},{}",
                s.udp_payload_bytes, s.batches, s.bbr, s.window_bytes, s.socket_buffer_bytes
            ),
        }
    }

    fn from_argument(text: &str) -> Self {
        if text == "link" {
            return Self::Link;
        }
        let mut parts = text.split(',');
        let mut next = || parts.next().unwrap();
        Self::Bare(Settings {
            udp_payload_bytes: next().parse().unwrap(),
            batches: next().parse().unwrap(),
            bbr: next().parse().unwrap(),
            window_bytes: next().parse().unwrap(),
            socket_buffer_bytes: next().parse().unwrap(),
        })
    }
}

/// The payload, chunk by chunk: the same memory again and again, as in a broadcast.
fn payload(megabytes: usize) -> impl Iterator<Item = Bytes> {
    let chunk = Bytes::from(vec![0x5a; CHUNK_BYTES_MAX]);
    let mut left = megabytes * 1_000_000;
    std::iter::from_fn(move || {
        let bytes = left.min(CHUNK_BYTES_MAX);
        left -= bytes;
        (bytes > 0).then(|| chunk.slice(..bytes))
    })
}

// ---- the link ----

async fn send_by_link(folder: &Path, address: SocketAddr, megabytes: usize) -> Figures {
    let credentials = Credentials::load(&folder.join("site")).unwrap();
    let dialer = Dialer::member(credentials, LinkLimits::default());
    let connection = dialer.dial(&address.to_string()).await.unwrap();
    let begun = tokio::time::Instant::now();
    let mut stream = connection.open_request().await.unwrap();
    let state_bytes = megabytes as u64 * 1_000_000;
    stream
        .send(&wire::Train {
            state_bytes,
            ..Default::default()
        })
        .await
        .unwrap();
    for body in payload(megabytes) {
        stream.send_chunk(&Chunk::new(body).unwrap()).await.unwrap();
    }
    stream.finish().unwrap();
    stream.receive::<wire::Done>().await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let stats = connection.stats();
    connection.close_and_tell(CloseCode::Done, "").await;
    Figures {
        seconds,
        udp_bytes: stats.udp_sent_bytes,
        packets_lost: stats.packets_lost,
        udp_payload_bytes: stats.udp_payload_bytes,
    }
}

async fn receive_by_link(folder: &Path) {
    let credentials = Credentials::load(&folder.join("hub")).unwrap();
    let here = (Ipv4Addr::LOCALHOST, 0).into();
    let mut listener = Listener::bind(here, &credentials, LinkLimits::default()).unwrap();
    announce(listener.local_address().unwrap());
    let connection = listener.accept().await.unwrap();
    connection.set_windows(limits::CONNECTION_WINDOW_BYTES);
    let mut stream = connection.accept_request().await.unwrap();
    let mut left = stream.receive::<wire::Train>().await.unwrap().state_bytes;
    while left > 0 {
        let body = stream.receive_chunk(CHUNK_BYTES_MAX).await.unwrap();
        left -= body.len() as u64;
    }
    stream.send(&wire::Done::default()).await.unwrap();
    stream.finish().unwrap();
    connection.closed().await;
}

// ---- bare quinn ----

async fn send_bare(
    folder: &Path,
    settings: Settings,
    address: SocketAddr,
    megabytes: usize,
) -> Figures {
    let (chain, key, roots) = tls_of(&folder.join("site"));
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(settings.transport());
    let endpoint = settings.endpoint(None);
    let connecting = endpoint
        .connect_with(config, address, "coordinator.consilium")
        .unwrap();
    let connection = connecting.await.unwrap();
    let begun = tokio::time::Instant::now();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    for body in payload(megabytes) {
        send.write_chunk(body).await.unwrap();
    }
    send.finish().unwrap();
    receive.read_to_end(1).await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let stats = connection.stats();
    connection.close(VarInt::from_u32(0), b"");
    endpoint.wait_idle().await;
    Figures {
        seconds,
        udp_bytes: stats.udp_tx.bytes,
        packets_lost: stats.path.lost_packets,
        udp_payload_bytes: stats.path.current_mtu,
    }
}

async fn receive_bare(folder: &Path, settings: Settings) {
    let (chain, key, roots) = tls_of(&folder.join("hub"));
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let tls = Arc::new(QuicServerConfig::try_from(tls).unwrap());
    let mut config = quinn::ServerConfig::with_crypto(tls);
    config.transport_config(settings.transport());
    let endpoint = settings.endpoint(Some(config));
    announce(endpoint.local_addr().unwrap());
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    let (mut send, mut receive) = connection.accept_bi().await.unwrap();
    while receive
        .read_chunk(CHUNK_BYTES_MAX, true)
        .await
        .unwrap()
        .is_some()
    {}
    send.write_all(b"!").await.unwrap();
    send.finish().unwrap();
    connection.closed().await;
}

impl Settings {
    fn transport(self) -> Arc<TransportConfig> {
        let mut config = TransportConfig::default();
        if self == AS_IT_COMES {
            return Arc::new(config);
        }
        let mut mtu = MtuDiscoveryConfig::default();
        mtu.upper_bound(self.udp_payload_bytes);
        let initial_window =
            limits::INITIAL_WINDOW_BYTES.max(4 * u64::from(self.udp_payload_bytes));
        let congestion: Arc<dyn ControllerFactory + Send + Sync> = if self.bbr {
            let mut bbr = BbrConfig::default();
            bbr.initial_window(initial_window);
            Arc::new(bbr)
        } else {
            let mut cubic = CubicConfig::default();
            cubic.initial_window(initial_window);
            Arc::new(cubic)
        };
        config
            .mtu_discovery_config(Some(mtu))
            .enable_segmentation_offload(self.batches)
            .congestion_controller_factory(congestion)
            .keep_alive_interval(Some(Duration::from_millis(limits::KEEP_ALIVE_MS)));
        if self.window_bytes > 0 {
            config
                .stream_receive_window(VarInt::from_u32(self.window_bytes))
                .receive_window(VarInt::from_u32(self.window_bytes * 2))
                .send_window(u64::from(self.window_bytes) * 2);
        }
        Arc::new(config)
    }

    fn endpoint(self, server: Option<quinn::ServerConfig>) -> Endpoint {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if self.socket_buffer_bytes > 0 {
            let state = quinn::udp::UdpSocketState::new((&socket).into()).unwrap();
            state
                .set_recv_buffer_size((&socket).into(), self.socket_buffer_bytes)
                .unwrap();
            state
                .set_send_buffer_size((&socket).into(), self.socket_buffer_bytes)
                .unwrap();
        }
        let mut config = EndpointConfig::default();
        if self.udp_payload_bytes > 0 {
            config.max_udp_payload_size(self.udp_payload_bytes).unwrap();
        }
        Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).unwrap()
    }
}

// ---- one consortium for all of them ----

fn enrol_both(folder: &Path) {
    let now = wall_clock();
    let authority = CertificateAuthority::create("throughput", now).unwrap();
    for (role, name) in [(Role::Coordinator, "hub"), (Role::Site, "site")] {
        let key = MemberKey::generate().unwrap();
        let request = key.certificate_request().unwrap();
        let identity = Identity::new(role, name.parse().unwrap());
        let certificate = authority
            .issue(&request, &identity, 86_400_000, now)
            .unwrap();
        let credentials = Credentials::new(key, &certificate, authority.anchor().clone()).unwrap();
        credentials.save(&folder.join(name)).unwrap();
    }
}

type Tls = (
    Vec<CertificateDer<'static>>,
    PrivateKeyDer<'static>,
    Arc<RootCertStore>,
);

fn tls_of(folder: &Path) -> Tls {
    let certificate = CertificateDer::from_pem_file(folder.join("identity.crt")).unwrap();
    let authority = CertificateDer::from_pem_file(folder.join("consortium-ca.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("identity.key")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    (vec![certificate, authority], key, Arc::new(roots))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
