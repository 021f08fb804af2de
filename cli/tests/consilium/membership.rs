//! How members come and go.

use std::fs;

use consilium_link::{Credentials, Fingerprint, Identity, wall_clock};
use consilium_protocol::message::{
    Certificate, Invitation, Member, MemberState, Request, Response,
};
use consilium_protocol::token::EnrolmentToken;
use consilium_protocol::{Digest, Refusal, RefusalCode, Role};

use crate::world::{Consortium, LIFETIME_MS};

impl Consortium {
    fn token(&self, role: Role, name: &str) -> EnrolmentToken {
        EnrolmentToken::new(
            role,
            name.parse().unwrap(),
            [7; 32],
            self.authority.fingerprint().0,
        )
    }

    /// A certificate for whoever asks, in this name.
    fn certificate(&self, request: &[u8], role: Role, name: &str) -> Response {
        let identity = Identity::new(role, name.parse().unwrap());
        let leaf = self
            .authority
            .issue(request, &identity, LIFETIME_MS, wall_clock())
            .unwrap();
        Response::Certificate(Certificate {
            chain: vec![leaf],
            ca: self.authority.anchor().der().to_vec(),
        })
    }
}

#[tokio::test]
async fn an_invited_researcher_makes_a_key_at_home_and_becomes_a_member() {
    let mut consortium = Consortium::new();
    let token = consortium.token(Role::Researcher, "ada");
    let file = consortium.path("invitation.txt");
    fs::write(&file, format!("{}\n", token.expose())).unwrap();
    let home = consortium.path("ada");
    let line = format!(
        "enrol --token-file {} --coordinator {}",
        file.display(),
        consortium.address()
    );
    let typed = consortium.types(&home, &format!("{line} --format json"));

    let connection = consortium.accept().await;
    let (request, stream) = crate::world::hear(&connection).await;
    let Request::Enrol {
        token: heard,
        certificate_request,
    } = request
    else {
        panic!("{request:?}");
    };
    assert_eq!(heard, token.expose());
    let certificate = consortium.certificate(&certificate_request, Role::Researcher, "ada");
    crate::world::say_last(stream, certificate).await;
    connection.closed().await;

    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 0, "{typed:?}");
    assert_eq!(typed.envelope()["data"]["role"], "researcher");
    let credentials = Credentials::load(&home).unwrap();
    assert_eq!(credentials.identity().to_string(), "researcher ada");

    // The new member's own command line works, and the home is not overwritten.
    let list = consortium.types(&home, "run list");
    consortium.answers(|_| Response::Runs(Vec::new())).await;
    assert_eq!(list.await.unwrap().exit, 0);
    let again = consortium.types(&home, &line).await.unwrap();
    assert_eq!(again.exit, 1);
    assert!(
        again.err.contains("holds a member already"),
        "{}",
        again.err
    );
}

#[tokio::test]
async fn a_used_token_is_refused_and_the_key_serves_the_next() {
    let mut consortium = Consortium::new();
    let token = consortium.token(Role::Officer, "grace").expose();
    let home = consortium.path("grace");
    let line = format!(
        "enrol --token {token} --coordinator {}",
        consortium.address()
    );
    let typed = consortium.types(&home, &line);
    consortium
        .answers(|_| {
            Response::Refusal(Refusal::new(
                RefusalCode::BadToken,
                "the token was used",
                "ask for another",
            ))
        })
        .await;
    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 2);
    assert_eq!(
        typed.err,
        "error: refused: the token was used\nhelp: ask for another\n"
    );

    let key = fs::read(home.join("identity.key")).unwrap();
    let typed = consortium.types(&home, &line);
    let connection = consortium.accept().await;
    let (request, stream) = crate::world::hear(&connection).await;
    let Request::Enrol {
        certificate_request,
        ..
    } = request
    else {
        panic!()
    };
    let certificate = consortium.certificate(&certificate_request, Role::Officer, "grace");
    crate::world::say_last(stream, certificate).await;
    assert_eq!(typed.await.unwrap().exit, 0);
    assert_eq!(fs::read(home.join("identity.key")).unwrap(), key);
}

#[tokio::test]
async fn a_certificate_in_another_name_is_not_kept() {
    let mut consortium = Consortium::new();
    let token = consortium.token(Role::Researcher, "ada").expose();
    let home = consortium.path("ada");
    let line = format!(
        "enrol --token {token} --coordinator {} --format json",
        consortium.address()
    );
    let typed = consortium.types(&home, &line);
    let connection = consortium.accept().await;
    let (request, stream) = crate::world::hear(&connection).await;
    let Request::Enrol {
        certificate_request,
        ..
    } = request
    else {
        panic!()
    };
    let certificate = consortium.certificate(&certificate_request, Role::Admin, "ada");
    crate::world::say_last(stream, certificate).await;
    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 2);
    assert_eq!(
        typed.envelope()["error"]["code"],
        "untrustworthy-coordinator"
    );
    assert!(!home.join("identity.crt").exists());
}

#[tokio::test]
async fn an_invitation_says_everything_that_the_other_side_needs() {
    let mut consortium = Consortium::new();
    let root = consortium.home(Role::Admin, "root");
    let token = consortium.token(Role::Site, "cleveland").expose();
    let invitation = Invitation {
        token: token.clone(),
        expires_at_ms: 1_795_526_776_000,
    };
    for format in ["text", "json"] {
        let line = format!("invite --site cleveland --lifetime 2h --format {format}");
        let typed = consortium.types(&root, &line);
        let invitation = invitation.clone();
        consortium
            .answers(|request| {
                let Request::Invite(invite) = request else {
                    panic!("{request:?}")
                };
                assert_eq!((invite.role, invite.lifetime_s), (Role::Site, 7200));
                Response::Invitation(invitation)
            })
            .await;
        let typed = typed.await.unwrap();
        assert_eq!(typed.exit, 0, "{typed:?}");
        for told in [
            token.clone(),
            consortium.authority.fingerprint().to_string(),
            "2026-11-24 13:26:16 UTC".to_owned(),
            format!("--coordinator {}", consortium.address()),
        ] {
            assert!(typed.out.contains(&told), "{told}: {}", typed.out);
        }
    }
}

#[tokio::test]
async fn a_token_for_another_consortium_is_not_passed_on() {
    let mut consortium = Consortium::new();
    let root = consortium.home(Role::Admin, "root");
    let typed = consortium.types(&root, "invite --site cleveland");
    let elsewhere = EnrolmentToken::new(
        Role::Site,
        "cleveland".parse().unwrap(),
        [7; 32],
        Fingerprint::of(b"another").0,
    );
    let token = elsewhere.expose();
    consortium
        .answers(|_| {
            Response::Invitation(Invitation {
                token,
                expires_at_ms: 1,
            })
        })
        .await;
    let typed = typed.await.unwrap();
    assert_eq!((typed.exit, typed.out.as_str()), (2, ""));
    assert!(
        !typed.err.contains(&Digest([7; 32]).to_string()),
        "a token is a secret"
    );
}

#[tokio::test]
async fn members_are_listed_and_evicted() {
    let mut consortium = Consortium::new();
    let root = consortium.home(Role::Admin, "root");
    let typed = consortium.types(&root, "members");
    let member = |name: &str, state, connected| Member {
        role: Role::Site,
        name: name.parse().unwrap(),
        state,
        connected,
        certificate_expires_at_ms: 0,
    };
    let members = vec![
        member("cleveland", MemberState::Enrolled, true),
        member("va", MemberState::Invited, false),
    ];
    consortium.answers(|_| Response::Members(members)).await;
    assert_eq!(
        typed.await.unwrap().out,
        "role  name       state     connected  certificate ends\n\
         site  cleveland  enrolled  yes        -\n\
         site  va         invited   no         -\n"
    );

    let typed = consortium.types(&root, "evict ada --role researcher --reason moved");
    consortium
        .answers(|request| {
            let wanted = Request::Evict {
                role: Role::Researcher,
                name: "ada".parse().unwrap(),
                reason: "moved".into(),
            };
            assert_eq!(request, wanted);
            Response::Done
        })
        .await;
    assert_eq!(
        typed.await.unwrap().out,
        "researcher `ada` is no member any more\n"
    );
}

#[tokio::test]
async fn a_renewed_certificate_takes_the_place_of_the_old() {
    let mut consortium = Consortium::new();
    let home = consortium.home(Role::Researcher, "ada");
    let before = Credentials::load(&home).unwrap().fingerprint();
    let typed = consortium.types(&home, "renew");
    let connection = consortium.accept().await;
    let (request, stream) = crate::world::hear(&connection).await;
    let Request::Renew {
        certificate_request,
    } = request
    else {
        panic!("{request:?}")
    };
    let certificate = consortium.certificate(&certificate_request, Role::Researcher, "ada");
    crate::world::say_last(stream, certificate).await;
    let typed = typed.await.unwrap();
    assert_eq!(typed.exit, 0, "{typed:?}");
    assert_ne!(Credentials::load(&home).unwrap().fingerprint(), before);
}
