//! Users of this machine by name.

use std::io;

use supervisor::Identity;

/// Why a name is no user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is none of that name or number.
    #[error("there is no user `{0}`")]
    Unknown(String),
    /// The list of users could not be read.
    #[error("cannot read /etc/passwd")]
    Unreadable(#[source] io::Error),
}

/// Finds a user of `/etc/passwd` by name or number.
///
/// # Errors
///
/// [`UserError::Unknown`] if there is none.
pub fn user(name: &str) -> Result<Identity, UserError> {
    let users = std::fs::read_to_string("/etc/passwd").map_err(UserError::Unreadable)?;
    find(&users, name).ok_or_else(|| UserError::Unknown(name.to_owned()))
}

fn find(users: &str, wanted: &str) -> Option<Identity> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid, gid) = (fields.first()?, fields.get(2)?, fields.get(3)?);
        let identity = Identity {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        };
        (*name == wanted || *uid == wanted).then_some(identity)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1001:1002::/srv:/bin/false\n";

    #[test]
    fn a_user_is_found_by_name_or_number() {
        let app = Some(Identity {
            uid: 1001,
            gid: 1002,
        });
        assert_eq!((find(USERS, "app"), find(USERS, "1001")), (app, app));
        for name in ["", "broken", "ap", "1002", "x"] {
            assert_eq!(find(USERS, name), None, "{name}");
        }
    }

    #[test]
    fn root_is_known_everywhere() {
        assert_eq!(user("root").unwrap(), Identity { uid: 0, gid: 0 });
        assert!(matches!(user("no such user"), Err(UserError::Unknown(_))));
    }
}
