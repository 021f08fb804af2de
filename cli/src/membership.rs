//! How members come, stay and go: enrol, renew, invite, evict, members.

use consilium_link::{CloseCode, Credentials, Dialer, Fingerprint, LinkLimits, wall_clock};
use consilium_protocol::Role;
use consilium_protocol::message::{Invite, Request, Response};
use consilium_protocol::token::EnrolmentToken;
use serde_json::json;

use crate::arguments::{self, TokenSource};
use crate::ending::{CliError, NoAnswer};
use crate::home::{Home, read_small, small_text};
use crate::moment;
use crate::output::{Answer, table};
use crate::session::{Session, hear};

/// Makes a member of whoever holds the token.
pub(crate) async fn enrol(home: &Home, enrol: &arguments::Enrol) -> Result<Answer, NoAnswer> {
    let token: EnrolmentToken = token_text(&enrol.token)?.parse().map_err(CliError::from)?;
    let key = home.prepare(&enrol.coordinator)?;
    let authority = Fingerprint(token.authority);
    let dialer = Dialer::stranger(authority, LinkLimits::default());
    let (connection, anchor) = dialer.dial_and_learn(&enrol.coordinator).await?;
    let request = Request::Enrol {
        token: token.expose(),
        certificate_request: key.certificate_request()?,
    };
    let answered = async { hear(connection.ask(request).await?.receive().await?) }.await;
    connection.close_and_tell(CloseCode::Done, "").await;
    let Response::Certificate(certificate) = answered? else {
        return Err(CliError::Unexpected { asked: "enrol" }.into());
    };
    let leaf = certificate
        .chain
        .first()
        .map(Vec::as_slice)
        .unwrap_or_default();
    // Believed only if the authority of the invitation says so.
    let identity = anchor.identify(leaf, wall_clock())?;
    if (identity.role, &identity.name) != (token.role, &token.name) {
        let what = "a certificate for somebody else than the invitation names";
        return Err(CliError::Untrustworthy { what }.into());
    }
    let credentials = Credentials::new(key, leaf, anchor)?;
    credentials.save(home.folder())?;

    let expires = moment::utc(credentials.expires_at().0);
    let folder = home.folder().display();
    Ok(Answer {
        data: json!({
            "role": identity.role,
            "name": identity.name,
            "home": home.folder(),
            "coordinator": enrol.coordinator,
            "authority_fingerprint": authority.to_string(),
            "certificate_expires_at": expires,
            "certificate_expires_at_ms": credentials.expires_at().0,
        }),
        text: format!(
            "{identity} is a member now; key and certificate are in `{folder}`\n\
             the certificate ends on {expires}; before that: consilium renew\n"
        ),
    })
}

/// The token, from wherever it is.
fn token_text(source: &TokenSource) -> Result<String, CliError> {
    let from_stdin = || {
        small_text(std::io::stdin().lock()).map_err(|source| CliError::NotRead {
            path: "standard input".into(),
            source,
        })
    };
    match (&source.token_file, &source.token) {
        (Some(path), _) if path.as_os_str() == "-" => from_stdin(),
        (Some(path), _) => read_small(path),
        (None, Some(token)) if token == "-" => from_stdin(),
        (None, token) => Ok(token.clone().unwrap_or_default()),
    }
}

/// The next certificate for the same key. The old one stays good until it ends.
pub(crate) async fn renew(home: &Home) -> Result<Answer, NoAnswer> {
    let (credentials, _) = home.open()?;
    let certificate_request = credentials.certificate_request()?;
    let Response::Certificate(certificate) = Session::ask_once(
        home,
        Request::Renew {
            certificate_request,
        },
    )
    .await?
    else {
        return Err(CliError::Unexpected { asked: "renew" }.into());
    };
    let leaf = certificate
        .chain
        .first()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let renewed = credentials.renewed(leaf, wall_clock())?;
    renewed.save(home.folder())?;
    let expires = moment::utc(renewed.expires_at().0);
    Ok(Answer {
        data: json!({
            "role": renewed.identity().role,
            "name": renewed.identity().name,
            "certificate_expires_at": expires,
            "certificate_expires_at_ms": renewed.expires_at().0,
        }),
        text: format!(
            "{} has a new certificate; it ends on {expires}\n",
            renewed.identity()
        ),
    })
}

/// A one-time token, and what to do with it.
pub(crate) async fn invite(home: &Home, invite: &arguments::Invite) -> Result<Answer, NoAnswer> {
    let Some((role, name)) = invite.whom.role_and_name() else {
        return Err(CliError::Unexpected { asked: "invite" }.into());
    };
    let request = Invite {
        role,
        name: name.clone(),
        lifetime_s: invite.lifetime.as_secs(),
    };
    let Response::Invitation(invitation) =
        Session::ask_once(home, Request::Invite(request)).await?
    else {
        return Err(CliError::Unexpected { asked: "invite" }.into());
    };
    let (credentials, address) = home.open()?;
    let authority = credentials.anchor().fingerprint();
    let token: EnrolmentToken = invitation.token.parse().map_err(CliError::from)?;
    if Fingerprint(token.authority) != authority || (token.role, &token.name) != (role, &name) {
        let what = "a token for another consortium or member than was asked for";
        return Err(CliError::Untrustworthy { what }.into());
    }

    let next = match role {
        Role::Site => format!(
            "consilium-node init --folder FOLDER --token-file invitation.txt --coordinator {address}"
        ),
        _ => format!("consilium enrol --token-file invitation.txt --coordinator {address}"),
    };
    let ends = moment::utc(invitation.expires_at_ms);
    let text = format!(
        "an invitation for {role} `{name}`, good once, until {ends}\n\
         \n\
         token:        {}\n\
         consortium:   {authority}\n\
         \n\
         Pass the token on as a secret, and let the other side compare the consortium's\n\
         fingerprint with you by voice. Then, there, with the token in invitation.txt:\n  \
         {next}\n",
        token.expose()
    );
    Ok(Answer {
        data: json!({
            "role": role,
            "name": name,
            "token": token.expose(),
            "expires_at": ends,
            "expires_at_ms": invitation.expires_at_ms,
            "authority_fingerprint": authority.to_string(),
            "next": next,
        }),
        text,
    })
}

/// Takes a member out.
pub(crate) async fn evict(home: &Home, evict: &arguments::Evict) -> Result<Answer, NoAnswer> {
    let request = Request::Evict {
        role: evict.role,
        name: evict.name.clone(),
        reason: evict.reason.clone(),
    };
    let Response::Done = Session::ask_once(home, request).await? else {
        return Err(CliError::Unexpected { asked: "evict" }.into());
    };
    Ok(Answer {
        data: json!({ "role": evict.role, "name": evict.name, "evicted": true }),
        text: format!("{} `{}` is no member any more\n", evict.role, evict.name),
    })
}

/// Everybody.
pub(crate) async fn members(home: &Home) -> Result<Answer, NoAnswer> {
    let Response::Members(members) = Session::ask_once(home, Request::ListMembers).await? else {
        return Err(CliError::Unexpected { asked: "members" }.into());
    };
    let rows: Vec<[String; 5]> = members
        .iter()
        .map(|member| {
            let state = json!(member.state);
            [
                member.role.to_string(),
                member.name.to_string(),
                state.as_str().unwrap_or_default().to_owned(),
                if member.connected { "yes" } else { "no" }.to_owned(),
                moment::utc_or_dash(member.certificate_expires_at_ms),
            ]
        })
        .collect();
    Ok(Answer {
        data: json!({ "members": members }),
        text: table(
            ["role", "name", "state", "connected", "certificate ends"],
            &rows,
        ),
    })
}
