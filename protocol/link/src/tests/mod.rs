//! A small consortium on loopback, and what it must withstand.

mod hostile_callers;
mod hostile_streams;
mod identity;
mod masks;
mod meeting;

use std::net::{Ipv4Addr, SocketAddr};

use consilium_protocol::{Millis, Role};

use crate::{
    CertificateAuthority, Connection, Credentials, Dialer, Identity, LinkLimits, Listener,
    MemberKey, wall_clock as now,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// One consortium's authority, and members at will.
struct Consortium {
    authority: CertificateAuthority,
}

impl Consortium {
    fn new() -> Self {
        let authority = CertificateAuthority::create("Cardiology", now()).unwrap();
        Self { authority }
    }

    fn member(&self, role: Role, name: &str) -> Credentials {
        self.member_at(role, name, now())
    }

    /// A member whose certificate was issued at `at`, for one day.
    fn member_at(&self, role: Role, name: &str, at: Millis) -> Credentials {
        let key = MemberKey::generate().unwrap();
        let request = key.certificate_request().unwrap();
        let identity = Identity::new(role, name.parse().unwrap());
        let certificate = self
            .authority
            .issue(&request, &identity, DAY_MS, at)
            .unwrap();
        Credentials::new(key, &certificate, self.authority.anchor().clone()).unwrap()
    }

    fn listener(&self, limits: LinkLimits) -> (Listener, String) {
        let credentials = self.member(Role::Coordinator, "hub");
        let listener = Listener::bind(loopback(), &credentials, limits).unwrap();
        let address = listener.local_address().unwrap().to_string();
        (listener, address)
    }

    /// A site's end and the coordinator's end of one connection, and the listener that
    /// must live as long.
    async fn connected(&self, limits: LinkLimits) -> (Connection, Connection, Listener) {
        let (mut listener, address) = self.listener(limits.clone());
        let dialer = Dialer::member(self.member(Role::Site, "cleveland"), limits);
        let (site, hub) = tokio::join!(dialer.dial(&address), listener.accept());
        (site.unwrap(), hub.unwrap(), listener)
    }
}
