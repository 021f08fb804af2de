use std::fs;

use consilium_protocol::{Millis, Role};
use proptest::prelude::*;

use super::{Consortium, DAY_MS, now};
use crate::{
    BACKDATED_MS, CertificateAuthority, Credentials, Fingerprint, Identity, IdentityError,
    MemberKey, TrustAnchor, certificate_expires_at, certificate_key, verify_run_file,
};

const RUN: &[u8] = b"name = \"heart\"\nrounds = 15\n";
const WHO_MAY_RUN: &[Role] = &[Role::Researcher, Role::Admin];

fn site(name: &str) -> Identity {
    Identity::new(Role::Site, name.parse().unwrap())
}

#[test]
fn a_certificate_names_whom_the_authority_decided_whatever_the_request_asks() {
    let consortium = Consortium::new();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut asks = rcgen::CertificateParams::new(vec!["coordinator.consilium".into()]).unwrap();
    asks.distinguished_name
        .push(rcgen::DnType::CommonName, "hub");
    asks.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let uri = "consilium:coordinator:hub".try_into().unwrap();
    asks.subject_alt_names.push(rcgen::SanType::URI(uri));
    let request = asks.serialize_request(&key).unwrap();

    let certificate = consortium
        .authority
        .issue(request.der(), &site("cleveland"), DAY_MS, now())
        .unwrap();

    assert_eq!(
        Identity::of_certificate(&certificate).unwrap(),
        site("cleveland")
    );
    assert!(matches!(
        TrustAnchor::from_der(&certificate),
        Err(IdentityError::NotAnAuthority)
    ));
    let text = String::from_utf8_lossy(&certificate);
    assert!(
        !text.contains("hub") && !text.contains("coordinator"),
        "nothing of the request stays"
    );
}

#[test]
fn a_request_that_is_not_its_keys_own_is_refused() {
    let consortium = Consortium::new();
    let issue = |request: &[u8]| {
        consortium
            .authority
            .issue(request, &site("cleveland"), DAY_MS, now())
            .unwrap_err()
    };
    let request = MemberKey::generate()
        .unwrap()
        .certificate_request()
        .unwrap();

    let mut tampered = request.clone();
    *tampered.last_mut().unwrap() ^= 1;
    assert!(matches!(issue(&tampered), IdentityError::RequestTampered));

    // Another key put in place of the one that signed.
    let other = MemberKey::generate().unwrap();
    let own = MemberKey::generate().unwrap();
    let mut swapped = own.certificate_request().unwrap();
    let at = swapped
        .windows(32)
        .position(|window| window == own.public_key_bytes())
        .unwrap();
    swapped[at..at + 32].copy_from_slice(other.public_key_bytes());
    assert!(matches!(issue(&swapped), IdentityError::RequestTampered));

    let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let request = rcgen::CertificateParams::default()
        .serialize_request(&p256)
        .unwrap();
    assert!(matches!(
        issue(request.der()),
        IdentityError::RequestKeyKind
    ));

    for garbage in [&b""[..], b"garbage", &[0x30; 100_000]] {
        assert!(matches!(issue(garbage), IdentityError::NotARequest));
    }
}

#[test]
fn credentials_read_back_and_a_key_is_never_overwritten() {
    let consortium = Consortium::new();
    let folder = tempfile::tempdir().unwrap();
    let credentials = consortium.member(Role::Site, "cleveland");
    credentials.save(folder.path()).unwrap();
    credentials.save(folder.path()).unwrap();

    let read = Credentials::load(folder.path()).unwrap();
    assert_eq!(read.identity(), &site("cleveland"));
    assert_eq!(read.fingerprint(), credentials.fingerprint());
    assert_eq!(
        read.anchor().fingerprint(),
        consortium.authority.fingerprint()
    );
    assert_eq!(
        read.sign_run_file(RUN).unwrap(),
        credentials.sign_run_file(RUN).unwrap()
    );

    let other = consortium.member(Role::Site, "hungarian");
    assert!(matches!(
        other.save(folder.path()),
        Err(IdentityError::Exists { .. })
    ));
    assert_eq!(
        Credentials::load(folder.path()).unwrap().identity(),
        &site("cleveland")
    );
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_refused_with_its_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let credentials = Consortium::new().member(Role::Site, "cleveland");
    credentials.save(folder.path()).unwrap();
    let key = folder.path().join("identity.key");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&key), 0o600);

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = Credentials::load(folder.path()).unwrap_err();
    assert!(matches!(
        error,
        IdentityError::KeyFileOpen { mode: 0o644, .. }
    ));
    assert!(
        error
            .to_string()
            .contains(&format!("chmod 600 {}", key.display()))
    );
}

#[test]
fn a_folder_with_a_damaged_file_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let consortium = Consortium::new();
    consortium
        .member(Role::Site, "cleveland")
        .save(folder.path())
        .unwrap();
    for file in ["identity.key", "identity.crt", "consortium-ca.crt"] {
        let path = folder.path().join(file);
        let whole = fs::read(&path).unwrap();
        for damaged in [&b""[..], b"not a pem file", &whole[..whole.len() / 2]] {
            fs::write(&path, damaged).unwrap();
            let error = Credentials::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
        }
        fs::write(&path, whole).unwrap();
    }
    // Another member's certificate beside this member's key.
    let other = tempfile::tempdir().unwrap();
    consortium
        .member(Role::Site, "hungarian")
        .save(other.path())
        .unwrap();
    fs::copy(
        other.path().join("identity.crt"),
        folder.path().join("identity.crt"),
    )
    .unwrap();
    assert!(matches!(
        Credentials::load(folder.path()),
        Err(IdentityError::OtherKey)
    ));
}

#[test]
fn the_authority_reads_back_and_goes_on_issuing() {
    let folder = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::create("Cardiology", now()).unwrap();
    authority.save(folder.path()).unwrap();
    assert!(matches!(
        authority.save(folder.path()),
        Err(IdentityError::Exists { .. })
    ));

    let read = CertificateAuthority::load(folder.path()).unwrap();
    assert_eq!(read.fingerprint(), authority.fingerprint());
    let request = MemberKey::generate()
        .unwrap()
        .certificate_request()
        .unwrap();
    let issued = read
        .issue(&request, &site("cleveland"), DAY_MS, now())
        .unwrap();
    assert_eq!(
        authority.anchor().identify(&issued, now()).unwrap(),
        site("cleveland")
    );

    for name in ["", "a\nb", &"x".repeat(65)] {
        assert!(matches!(
            CertificateAuthority::create(name, now()),
            Err(IdentityError::ConsortiumName)
        ));
    }
}

#[test]
fn a_certificate_is_valid_from_five_minutes_ago_until_its_lifetime_ends() {
    let consortium = Consortium::new();
    // Certificates count whole seconds.
    let issued = Millis(1_700_000_000_000);
    let certificate = consortium.member_at(Role::Site, "cleveland", issued);
    let identify = |at| {
        consortium
            .authority
            .anchor()
            .identify(certificate.certificate(), at)
    };

    assert_eq!(certificate.expires_at(), issued.plus_ms(DAY_MS));
    assert!(identify(Millis(issued.0 - BACKDATED_MS)).is_ok());
    assert!(matches!(
        identify(Millis(issued.0 - BACKDATED_MS - 1000)),
        Err(IdentityError::NotYetValid)
    ));
    assert!(identify(issued.plus_ms(DAY_MS)).is_ok());
    assert!(matches!(
        identify(issued.plus_ms(DAY_MS + 1000)),
        Err(IdentityError::Expired)
    ));
}

#[test]
fn a_renewed_certificate_keeps_key_and_name() {
    let consortium = Consortium::new();
    let credentials = consortium.member(Role::Site, "cleveland");
    let request = credentials.certificate_request().unwrap();
    let issue = |identity: &Identity| {
        consortium
            .authority
            .issue(&request, identity, 30 * DAY_MS, now())
            .unwrap()
    };
    let renewed = credentials
        .renewed(&issue(&site("cleveland")), now())
        .unwrap();
    assert!(renewed.expires_at() > credentials.expires_at());
    assert_eq!(
        certificate_expires_at(renewed.certificate()).unwrap(),
        renewed.expires_at()
    );

    assert!(
        credentials
            .renewed(&issue(&site("hungarian")), now())
            .is_err()
    );
    let other = consortium.member(Role::Site, "cleveland");
    assert!(matches!(
        credentials.renewed(other.certificate(), now()),
        Err(IdentityError::OtherKey)
    ));
    let foreign = Consortium::new().member(Role::Site, "cleveland");
    assert!(matches!(
        credentials.renewed(foreign.certificate(), now()),
        Err(IdentityError::Foreign)
    ));
}

#[test]
fn a_signed_run_file_says_who_signed_it() {
    let consortium = Consortium::new();
    let anchor = consortium.authority.anchor();
    let researcher = consortium.member(Role::Researcher, "noor");
    let signature = researcher.sign_run_file(RUN).unwrap();
    let verify = |text: &[u8], signature: &[u8], certificate: &[u8], at| {
        verify_run_file(text, signature, certificate, WHO_MAY_RUN, anchor, at)
    };

    let who = verify(RUN, &signature, researcher.certificate(), now()).unwrap();
    assert_eq!(who, *researcher.identity());

    let tampered = [RUN, b"#"].concat();
    let bad = |verified| assert!(matches!(verified, Err(IdentityError::BadSignature)));
    bad(verify(
        &tampered,
        &signature,
        researcher.certificate(),
        now(),
    ));
    bad(verify(
        RUN,
        &signature[1..],
        researcher.certificate(),
        now(),
    ));
    let mut flipped = signature.clone();
    flipped[10] ^= 1;
    bad(verify(RUN, &flipped, researcher.certificate(), now()));
    let other = consortium.member(Role::Researcher, "ada");
    bad(verify(RUN, &signature, other.certificate(), now()));

    let foreign = Consortium::new().member(Role::Researcher, "noor");
    assert!(matches!(
        verify(
            RUN,
            &foreign.sign_run_file(RUN).unwrap(),
            foreign.certificate(),
            now()
        ),
        Err(IdentityError::Foreign)
    ));
    let node = consortium.member(Role::Site, "cleveland");
    assert!(matches!(
        verify(
            RUN,
            &node.sign_run_file(RUN).unwrap(),
            node.certificate(),
            now()
        ),
        Err(IdentityError::WrongRole { .. })
    ));
    assert!(matches!(
        verify(
            RUN,
            &signature,
            researcher.certificate(),
            now().plus_ms(2 * DAY_MS)
        ),
        Err(IdentityError::Expired)
    ));
}

#[test]
fn a_note_is_signed_and_nothing_else_passes_for_one() {
    let consortium = Consortium::new();
    let site = consortium.member(Role::Site, "cleveland");
    let note = b"consilium/heart/cleveland\n1\n";
    let signature = site.sign_note(note).unwrap();
    let key = certificate_key(site.certificate()).unwrap();
    assert_eq!(site.public_key().unwrap(), key);
    assert!(key.verify_plain(note, &signature));
    assert!(site.sign_note(b"consilium run file v1\0text").is_err());
    assert!(site.sign_note(b"cosignature/v2\ntime 1\n").is_err());
}

#[test]
fn a_signature_over_anything_else_is_none_over_a_run_file() {
    let consortium = Consortium::new();
    let folder = tempfile::tempdir().unwrap();
    let researcher = consortium.member(Role::Researcher, "noor");
    researcher.save(folder.path()).unwrap();
    let key = MemberKey::load(folder.path()).unwrap();
    let bare = key.sign_plain(RUN).unwrap().to_bytes();
    assert!(matches!(
        verify_run_file(
            RUN,
            &bare,
            researcher.certificate(),
            WHO_MAY_RUN,
            consortium.authority.anchor(),
            now()
        ),
        Err(IdentityError::BadSignature)
    ));
}

#[test]
fn nothing_prints_a_key() {
    let consortium = Consortium::new();
    let credentials = consortium.member(Role::Site, "cleveland");
    let folder = tempfile::tempdir().unwrap();
    credentials.save(folder.path()).unwrap();
    let printed = format!("{credentials:?} {:?}", consortium.authority);
    assert!(printed.contains("cleveland"));
    let pem = fs::read_to_string(folder.path().join("identity.key")).unwrap();
    for line in pem.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!printed.contains(line));
    }
    assert!(!printed.to_lowercase().contains("pair"));
}

proptest! {
    #[test]
    fn no_bytes_are_believed_or_bring_anything_down(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Identity::of_certificate(&bytes).is_err());
        prop_assert!(TrustAnchor::from_der(&bytes).is_err());
        prop_assert!(certificate_expires_at(&bytes).is_err());
    }

    #[test]
    fn a_flipped_bit_in_a_certificate_is_never_believed(at in 0..10_000usize, bit in 0..8u8) {
        let consortium = Consortium::new();
        let mut certificate = consortium.member(Role::Site, "cleveland").certificate().to_vec();
        let at = at % certificate.len();
        certificate[at] ^= 1 << bit;
        prop_assert!(consortium.authority.anchor().identify(&certificate, now()).is_err());
    }

    #[test]
    fn no_text_brings_a_fingerprint_down(text in ".{0,200}") {
        let _ = text.parse::<Fingerprint>();
    }
}
