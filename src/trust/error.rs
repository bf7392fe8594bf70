//! Why role metadata, or a file that it signs, was not trusted.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::metadata::{BelowThreshold, MetadataError, RoleName};
use crate::text::quoted;

/// Why something was not trusted. The call that returned it changed nothing.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The bytes are not metadata of this role. `source()` says what is wrong with them.
    #[error("{role}: not valid metadata")]
    Malformed {
        /// The role that was asked for.
        role: RoleName,
        /// What is wrong, and where.
        source: MetadataError,
    },

    /// Too few of the role's keys signed: an arbitrary software attack, or a root that does not belong to this repository
    /// [TUF 5.2, 5.3.4, 5.4.2, 5.5.3, 5.6.3].
    #[error("{role}: {below}")]
    Threshold {
        /// The role whose file it is.
        role: RoleName,
        /// How many signed, and how many should have.
        below: BelowThreshold,
    },

    /// A version is lower than one already trusted: a rollback attack, or a lagging mirror [TUF 5.4.3, 5.5.5].
    #[error("{role}: {what} went back from {trusted} to {found}")]
    Rollback {
        /// The role whose file shows it.
        role: RoleName,
        /// Which version in it.
        what: String,
        /// The version that was trusted before.
        trusted: u64,
        /// The version that the file has.
        found: u64,
    },

    /// The snapshot no longer lists a role that the trusted one listed: a rollback attack by removal [TUF 5.5.5].
    #[error("snapshot: {} is no longer listed", quoted(.file))]
    RoleRemoved {
        /// The name of the role's file.
        file: String,
        /// The version of it that was trusted before.
        trusted: u64,
    },

    /// The snapshot does not list a delegated role, so no version of it is current [TUF 5.6.4].
    #[error("{role}: not listed in the snapshot")]
    NotInSnapshot {
        /// The role.
        role: RoleName,
    },

    /// A version is not the one that is due: a mix-and-match attack, or a repository in the middle of an update [TUF 5.3.5, 5.5.4, 5.6.4].
    #[error("{role}: version is {found}, {by} says {expected}")]
    Version {
        /// The role whose file it is.
        role: RoleName,
        /// The role that says which version is due.
        by: &'static str,
        /// The version that is due.
        expected: u64,
        /// The version that the file has.
        found: u64,
    },

    /// The file is expired: a freeze attack, or a repository that is no longer kept [TUF 5.3.10, 5.4.4, 5.5.6, 5.6.5].
    #[error("{role}: expired at {}, the time is {}", shown(.expires), shown(.now))]
    Expired {
        /// The role whose file it is.
        role: RoleName,
        /// From when on it is expired.
        expires: DateTime<Utc>,
        /// The update start time.
        now: DateTime<Utc>,
    },

    /// A file has not the length that its signer lists: mix-and-match, or an endless data attack [TUF 5.5.2, 5.6.2, 5.7.2].
    #[error("{file}: length is {found} bytes, {expected} are listed", file = quoted(.file))]
    Length {
        /// The role or target path.
        file: String,
        /// The listed length in bytes.
        expected: u64,
        /// The length in bytes; if the file goes on after the listed length, one more than that.
        found: u64,
    },

    /// A file has not the hash that its signer lists: mix-and-match, or arbitrary software [TUF 5.5.2, 5.6.2, 5.7.2].
    #[error("{file}: {algorithm} is {found}, {expected} is listed", file = quoted(.file))]
    Hash {
        /// The role or target path.
        file: String,
        /// The algorithm, as metadata names it.
        algorithm: &'static str,
        /// The listed hash in hex.
        expected: String,
        /// The file's hash in hex.
        found: String,
    },

    /// A file is listed with hashes of unknown algorithms only, so nothing binds its bytes.
    #[error("{}: no hash of a known algorithm (sha256, sha512) is listed", quoted(.file))]
    NoKnownHash {
        /// The role or target path.
        file: String,
    },

    /// A file goes on after the most that is accepted of it: an endless data attack [TUF 5.3.3, 5.4.1, 5.5.1, 5.6.1, 5.7.1].
    #[error("{}: longer than {limit} bytes, the most that is accepted", quoted(.file))]
    TooLarge {
        /// The file's name in the repository.
        file: String,
        /// The limit in bytes.
        limit: u64,
    },

    /// The root before this one has the last version there is.
    #[error("root: version {} has no successor", u64::MAX)]
    LastRoot,
}

impl TrustError {
    /// A stable code for reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "metadata-malformed",
            Self::Threshold { .. } => "metadata-threshold",
            Self::Rollback { .. } => "metadata-rollback",
            Self::RoleRemoved { .. } | Self::NotInSnapshot { .. } => "metadata-role-removed",
            Self::Version { .. } | Self::LastRoot => "metadata-version",
            Self::Expired { .. } => "metadata-expired",
            Self::Length { .. } => "signed-length-mismatch",
            Self::Hash { .. } => "signed-hash-mismatch",
            Self::NoKnownHash { .. } => "signed-hash-unknown",
            Self::TooLarge { .. } => "metadata-too-large",
        }
    }

    /// What should have been there, where that can be said in a few words.
    #[must_use]
    pub fn expected(&self) -> Option<String> {
        match self {
            Self::Malformed { .. } | Self::LastRoot | Self::NotInSnapshot { .. } => None,
            Self::Threshold { below, .. } => Some(format!("{} signatures", below.threshold)),
            Self::Rollback { trusted, .. } => Some(format!("version {trusted} or later")),
            Self::RoleRemoved { trusted, .. } => Some(format!("version {trusted} or later")),
            Self::Version { expected, .. } => Some(format!("version {expected}")),
            Self::Expired { now, .. } => Some(format!("an expiry after {}", shown(now))),
            Self::Length { expected, .. } => Some(format!("{expected} bytes")),
            Self::Hash { algorithm, expected, .. } => Some(format!("{algorithm}:{expected}")),
            Self::NoKnownHash { .. } => Some("sha256 or sha512".to_owned()),
            Self::TooLarge { limit, .. } => Some(format!("at most {limit} bytes")),
        }
    }

    /// What was there instead.
    #[must_use]
    pub fn found(&self) -> Option<String> {
        match self {
            Self::Malformed { source, .. } => Some(source.to_string()),
            Self::Threshold { below, .. } => Some(format!("{} valid signatures", below.valid)),
            Self::Rollback { found, .. } | Self::Version { found, .. } => Some(format!("version {found}")),
            Self::RoleRemoved { .. } | Self::NotInSnapshot { .. } => Some("not listed".to_owned()),
            Self::Expired { expires, .. } => Some(shown(expires)),
            Self::Length { found, .. } => Some(format!("{found} bytes")),
            Self::Hash { algorithm, found, .. } => Some(format!("{algorithm}:{found}")),
            Self::NoKnownHash { .. } | Self::LastRoot | Self::TooLarge { .. } => None,
        }
    }

    /// The role or target path that it is about.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Malformed { role, .. }
            | Self::Threshold { role, .. }
            | Self::Rollback { role, .. }
            | Self::Version { role, .. }
            | Self::NotInSnapshot { role }
            | Self::Expired { role, .. } => role.to_string(),
            Self::RoleRemoved { .. } => RoleName::Snapshot.to_string(),
            Self::LastRoot => RoleName::Root.to_string(),
            Self::Length { file, .. }
            | Self::Hash { file, .. }
            | Self::NoKnownHash { file }
            | Self::TooLarge { file, .. } => file.clone(),
        }
    }
}

fn shown(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::json;

    #[test]
    fn an_error_says_code_subject_expected_and_found() {
        let at = |time: &str| time.parse::<DateTime<Utc>>().unwrap();
        let (role, team) = (RoleName::Timestamp, RoleName::Delegated("team".to_owned()));
        let (file, hash) = ("a/b".to_owned(), |digit: &str| digit.repeat(64));
        let below = BelowThreshold { threshold: 2, valid: 1, known: 3 };
        let source = MetadataError::Json(json::Error::Nul);
        let some = |text: &str| Some(text.to_owned());
        // The error, its code, what it is about, what was expected and found, and what is shown.
        let rows = [
            (
                TrustError::Malformed { role: role.clone(), source },
                ("metadata-malformed", "timestamp", None, some("a string holds NUL")),
                "timestamp: not valid metadata",
            ),
            (
                TrustError::Threshold { role: team.clone(), below },
                ("metadata-threshold", "team", some("2 signatures"), some("1 valid signatures")),
                "team: signed by 1 of the 3 known keys, the threshold is 2",
            ),
            (
                TrustError::Rollback { role: role.clone(), what: "version".to_owned(), trusted: 7, found: 6 },
                ("metadata-rollback", "timestamp", some("version 7 or later"), some("version 6")),
                "timestamp: version went back from 7 to 6",
            ),
            (
                TrustError::RoleRemoved { file: "team.json".to_owned(), trusted: 7 },
                ("metadata-role-removed", "snapshot", some("version 7 or later"), some("not listed")),
                "snapshot: \"team.json\" is no longer listed",
            ),
            (
                TrustError::NotInSnapshot { role: team },
                ("metadata-role-removed", "team", None, some("not listed")),
                "team: not listed in the snapshot",
            ),
            (
                TrustError::Version { role: role.clone(), by: "snapshot", expected: 7, found: 8 },
                ("metadata-version", "timestamp", some("version 7"), some("version 8")),
                "timestamp: version is 8, snapshot says 7",
            ),
            (
                TrustError::Expired { role, expires: at("2030-01-01T00:00:00Z"), now: at("2030-01-01T00:00:00.5Z") },
                (
                    "metadata-expired",
                    "timestamp",
                    some("an expiry after 2030-01-01T00:00:00.500Z"),
                    some("2030-01-01T00:00:00Z"),
                ),
                "timestamp: expired at 2030-01-01T00:00:00Z, the time is 2030-01-01T00:00:00.500Z",
            ),
            (
                TrustError::Length { file: file.clone(), expected: 7, found: 8 },
                ("signed-length-mismatch", "a/b", some("7 bytes"), some("8 bytes")),
                "\"a/b\": length is 8 bytes, 7 are listed",
            ),
            (
                TrustError::Hash { file: file.clone(), algorithm: "sha256", expected: hash("0"), found: hash("1") },
                (
                    "signed-hash-mismatch",
                    "a/b",
                    Some(format!("sha256:{}", hash("0"))),
                    Some(format!("sha256:{}", hash("1"))),
                ),
                &format!("\"a/b\": sha256 is {}, {} is listed", hash("1"), hash("0")),
            ),
            (
                TrustError::NoKnownHash { file: file.clone() },
                ("signed-hash-unknown", "a/b", some("sha256 or sha512"), None),
                "\"a/b\": no hash of a known algorithm (sha256, sha512) is listed",
            ),
            (
                TrustError::TooLarge { file, limit: 7 },
                ("metadata-too-large", "a/b", some("at most 7 bytes"), None),
                "\"a/b\": longer than 7 bytes, the most that is accepted",
            ),
            (
                TrustError::LastRoot,
                ("metadata-version", "root", None, None),
                "root: version 18446744073709551615 has no successor",
            ),
        ];
        for (error, (code, subject, expected, found), shown) in rows {
            assert_eq!(error.to_string(), shown);
            assert_eq!((error.code(), error.subject().as_str()), (code, subject), "{shown}");
            assert_eq!((error.expected(), error.found()), (expected, found), "{shown}");
        }
    }
}
