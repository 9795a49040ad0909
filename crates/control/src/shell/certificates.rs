//! The certificates that are shown to others: how long they last, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use model::{CertificateFiles, ProgramTls};
use tls::{Stamp, Trust, Trusts};
use traffic::ServiceTable;

use super::Shell;
use crate::api::{CertificateView, FactLevel};
use crate::clock::{rfc3339, wall_ms};

/// One that ends sooner is worth a warning.
const WARNING_DAYS: i64 = 14;
const DAY_SECONDS: i64 = 86_400;

/// What was read of the files that TLS needs, as long as they do not change.
#[derive(Debug, Default)]
pub(crate) struct TlsFiles {
    /// What programs that speak over TLS must prove to probes.
    pub(super) trusts: Trusts,
    certificates: Mutex<BTreeMap<CertificateFiles, (Stamp, Read)>>,
}

/// What a certificate says of itself, or why it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Read {
    /// The names that it is for, and when it ends, in seconds since 1970.
    Ends(Vec<String>, i64),
    Not(String),
}

impl TlsFiles {
    /// Reads certificates that have changed, and forgets all others.
    fn read(&self, wanted: Vec<CertificateFiles>) -> Vec<(CertificateFiles, Read)> {
        let mut known = self
            .certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.retain(|files, _| wanted.contains(files));
        let read = |files: CertificateFiles| {
            let stamp = Stamp::of(&files);
            let kept = known.get(&files).filter(|(seen, _)| *seen == stamp);
            let read = match kept {
                Some((_, read)) => read.clone(),
                None => match tls::load(&files) {
                    Ok(loaded) => Read::Ends(loaded.names, loaded.expires),
                    Err(error) => Read::Not(crate::chain(&error)),
                },
            };
            known.insert(files.clone(), (stamp, read.clone()));
            (files, read)
        };
        wanted.into_iter().map(read).collect()
    }
}

impl Shell {
    /// The certificates that clients and programs are shown, those that end first in front.
    pub(super) fn certificate_views(&self) -> Vec<CertificateView> {
        let mut wanted = self.table.certificates.clone();
        let sides = self.table.services.iter().flat_map(ServiceTable::sides);
        let shown = sides.filter_map(|side| side.tls.as_ref()?.certificate.clone());
        wanted.extend(shown);
        wanted.sort();
        wanted.dedup();
        let now = wall_ms() / 1_000;
        let read = self.tls.read(wanted).into_iter();
        let mut views: Vec<_> = read
            .map(|(files, read)| view(files.cert, read, now))
            .collect();
        views.sort_by_key(|view| view.days_left);
        views
    }
}

impl Shell {
    /// What keeps the authorities of clients' and programs' certificates from being read.
    pub(super) fn authority_troubles(&self) -> Vec<String> {
        let own = self.table.services.iter();
        let own = own.filter_map(|service| service.https.clients.as_ref());
        let clients = self
            .table
            .clients
            .iter()
            .chain(own)
            .collect::<BTreeSet<_>>();
        let clients = clients
            .into_iter()
            .filter_map(|wanted| tls::Clients::load(wanted).err());
        let sides = self.table.services.iter().flat_map(ServiceTable::sides);
        let wanted: BTreeSet<&ProgramTls> = sides.filter_map(|side| side.tls.as_ref()).collect();
        let programs = wanted.into_iter().filter_map(|tls| Trust::load(tls).err());
        clients
            .chain(programs)
            .map(|error| crate::chain(&error))
            .collect()
    }
}

fn view(file: String, read: Read, now_seconds: i64) -> CertificateView {
    match read {
        Read::Not(trouble) => CertificateView {
            file,
            names: Vec::new(),
            ends: None,
            days_left: None,
            level: FactLevel::Bad,
            trouble: Some(trouble),
        },
        Read::Ends(names, ends) => {
            let days = ends.saturating_sub(now_seconds).div_euclid(DAY_SECONDS);
            CertificateView {
                file,
                names,
                ends: Some(rfc3339(ends.saturating_mul(1_000))),
                days_left: Some(days),
                level: match days {
                    ..0 => FactLevel::Bad,
                    0..WARNING_DAYS => FactLevel::Warning,
                    WARNING_DAYS.. => FactLevel::Good,
                },
                trouble: None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ends: i64) -> (Option<i64>, FactLevel) {
        let now = 1_000 * DAY_SECONDS;
        let read = Read::Ends(vec!["a.test".to_owned()], now + ends);
        let view = view("/a.pem".to_owned(), read, now);
        (view.days_left, view.level)
    }

    #[test]
    fn a_certificate_is_worth_a_warning_before_it_ends_and_bad_from_then_on() {
        assert_eq!(seen(90 * DAY_SECONDS), (Some(90), FactLevel::Good));
        assert_eq!(seen(14 * DAY_SECONDS), (Some(14), FactLevel::Good));
        assert_eq!(seen(14 * DAY_SECONDS - 1), (Some(13), FactLevel::Warning));
        assert_eq!(seen(0), (Some(0), FactLevel::Warning));
        assert_eq!(seen(-1), (Some(-1), FactLevel::Bad));
        let end = view(String::new(), Read::Ends(Vec::new(), 0), 0).ends;
        assert_eq!(end.as_deref(), Some("1970-01-01T00:00:00.000Z"));
    }

    #[test]
    fn one_that_cannot_be_read_says_why_and_is_read_again_once_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let files = CertificateFiles {
            cert: path("cert"),
            key: path("key"),
        };
        let read = TlsFiles::default();
        let looked = || read.read(vec![files.clone()]).remove(0).1;
        assert!(matches!(looked(), Read::Not(why) if why.contains("cannot be read")));
        std::fs::write(&files.cert, "torn").unwrap();
        assert!(matches!(looked(), Read::Not(why) if why.contains("holds no certificate")));
        assert_eq!(read.read(Vec::new()), []);
        assert!(read.certificates.lock().unwrap().is_empty());
    }
}
