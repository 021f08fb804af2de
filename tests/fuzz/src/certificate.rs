//! Certificate requests, certificates and signatures, as strangers and members send them.

use consilium_link::{
    CertificateAuthority, Credentials, Fingerprint, Identity, IdentityError, MemberKey,
    TrustAnchor, certificate_expires_at, certificate_issued_at, verify_run_file,
};
use consilium_protocol::{Millis, Role};

use crate::Target;
use crate::draw::{Draw, edited};

/// 2026-01-01, in the middle of what the authority below issues.
const NOW: Millis = Millis(1_767_225_600_000);
const LIFETIME_MS: u64 = 90 * 86_400_000;
const RUN_FILE: &[u8] = b"name = \"heart-disease\"\n";

/// A consortium with one member, made anew by each process: no key lies in the repository.
struct World {
    authority: CertificateAuthority,
    member: Credentials,
    request: Vec<u8>,
    signature: Vec<u8>,
}

thread_local! {
    static WORLD: Result<World, IdentityError> = World::new();
}

/// The room for the fuzzer.
pub const TARGET: Target = Target {
    name: "certificate",
    holds,
    memory_bytes_max: 1 << 20,
    memory_per_byte_max: 16,
};

/// The first byte says what the rest is: bytes from nowhere, or edits of a request, a certificate or a signed run file.
/// Only what the authority or the member signed is believed, and then it says what they said.
pub fn holds(bytes: &[u8]) {
    WORLD.with(|world| {
        assert!(
            world.is_ok(),
            "no consortium to begin with: {:?}",
            world.as_ref().err()
        );
        let Ok(world) = world else { return };
        let mut draw = Draw(bytes);
        match draw.byte() % 4 {
            0 => world.strangers_bytes(draw.0),
            1 => world.edited_request(&mut draw),
            2 => world.edited_certificate(&mut draw),
            _ => world.edited_run_file(&mut draw),
        }
    });
}

impl World {
    fn new() -> Result<Self, IdentityError> {
        let authority = CertificateAuthority::create("Heart Consortium", NOW)?;
        let key = MemberKey::generate()?;
        let request = key.certificate_request()?;
        let name = "ada".parse().map_err(|_| IdentityError::NoIdentity)?;
        let ada = Identity::new(Role::Researcher, name);
        let certificate = authority.issue(&request, &ada, LIFETIME_MS, NOW)?;
        let member = Credentials::new(key, &certificate, authority.anchor().clone())?;
        Ok(Self {
            signature: member.sign_run_file(RUN_FILE)?,
            authority,
            member,
            request,
        })
    }

    fn strangers_bytes(&self, der: &[u8]) {
        if let Ok(identity) = Identity::of_certificate(der) {
            assert!(identity.to_uri().starts_with("consilium:"));
        }
        let moments = (certificate_issued_at(der), certificate_expires_at(der));
        assert_eq!(moments.0.is_ok(), moments.1.is_ok());
        if let Ok(anchor) = TrustAnchor::from_der(der) {
            assert_eq!(anchor.der(), der);
            assert_eq!(anchor.fingerprint(), Fingerprint::of(der));
        }
        let believed = self.authority.anchor().identify(der, NOW);
        assert!(believed.is_err(), "a stranger is believed: {believed:?}");
        self.is_issued_as_said(der);
    }

    fn edited_request(&self, edits: &mut Draw<'_>) {
        let request = edited(&self.request, edits);
        if let Some(certificate) = self.is_issued_as_said(&request) {
            // Only the member's own key can have signed it.
            let renewed = self.member.renewed(&certificate, NOW);
            assert!(renewed.is_ok(), "{:?}", renewed.err());
        } else {
            assert_ne!(request, self.request, "an honest request is refused");
        }
    }

    /// A certificate names whom the authority named, whatever the request says.
    fn is_issued_as_said(&self, request: &[u8]) -> Option<Vec<u8>> {
        let ada = self.member.identity();
        let issued = self.authority.issue(request, ada, LIFETIME_MS, NOW);
        let certificate = issued.ok()?;
        let anchor = self.authority.anchor();
        assert_eq!(anchor.identify(&certificate, NOW).as_ref().ok(), Some(ada));
        let ends = certificate_expires_at(&certificate).ok();
        assert_eq!(ends, Some(NOW.plus_ms(LIFETIME_MS)));
        Some(certificate)
    }

    fn edited_certificate(&self, edits: &mut Draw<'_>) {
        let certificate = edited(self.member.certificate(), edits);
        let believed = self.authority.anchor().identify(&certificate, NOW);
        match believed {
            Ok(identity) => assert_eq!(identity, *self.member.identity()),
            Err(error) => assert_ne!(certificate, self.member.certificate(), "{error}"),
        }
    }

    fn edited_run_file(&self, draw: &mut Draw<'_>) {
        let mut part = |original: &[u8]| {
            let count = usize::from(draw.byte() % 4) * 3;
            edited(original, &mut Draw(draw.bytes(count)))
        };
        let text = part(RUN_FILE);
        let signature = part(&self.signature);
        let certificate = part(self.member.certificate());
        let roles = [Role::Researcher];
        let anchor = self.authority.anchor();
        let verified = verify_run_file(&text, &signature, &certificate, &roles, anchor, NOW);
        match verified {
            Ok(identity) => {
                assert_eq!(text, RUN_FILE, "a text that nobody signed is believed");
                assert_eq!(identity, *self.member.identity());
            }
            Err(error) => assert!(
                text != RUN_FILE
                    || signature != self.signature
                    || certificate != self.member.certificate(),
                "what the member signed is not believed: {error}"
            ),
        }
    }
}
