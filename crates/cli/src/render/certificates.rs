//! How long certificates last, as text.

use std::fmt::Write;

use control::api::{CertificateView, FactLevel};

/// Those that something is to be done about, else when the first one ends.
pub(super) fn text(all: &[CertificateView], out: &mut String) {
    let lasting = all.iter().all(|one| one.level == FactLevel::Good);
    for one in all {
        let _ = match one.level {
            FactLevel::Bad => write!(out, "\nERROR: certificate {one}"),
            FactLevel::Warning => write!(out, "\nwarning: certificate {one}"),
            FactLevel::Good => continue,
        };
    }
    if let Some(first) = all.first().filter(|_| lasting) {
        let _ = write!(out, "\ncertificate {first}");
        if all.len() > 1 {
            let _ = write!(out, ", {} more later", all.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(file: &str, days: i64, level: FactLevel) -> CertificateView {
        CertificateView {
            file: file.to_owned(),
            names: vec!["a.test".to_owned(), "b.test".to_owned()],
            ends: Some("2026-01-01T00:00:00.000Z".to_owned()),
            days_left: Some(days),
            level,
            trouble: None,
        }
    }

    fn shown(all: &[CertificateView]) -> String {
        let mut out = String::new();
        text(all, &mut out);
        out
    }

    #[test]
    fn what_needs_nobody_is_one_line() {
        assert_eq!(shown(&[]), "");
        let good = [
            one("/a.pem", 20, FactLevel::Good),
            one("/b.pem", 80, FactLevel::Good),
        ];
        let line = "\ncertificate /a.pem (a.test, b.test) ends in 20 days, 1 more later";
        assert_eq!(shown(&good), line);
    }

    #[test]
    fn what_ends_has_ended_or_cannot_be_read_is_told_one_by_one() {
        let unreadable = CertificateView {
            days_left: None,
            trouble: Some("/c.key cannot be read".to_owned()),
            ..one("/c.pem", 0, FactLevel::Bad)
        };
        let all = [
            unreadable,
            one("/a.pem", -3, FactLevel::Bad),
            one("/b.pem", 1, FactLevel::Warning),
            one("/d.pem", 80, FactLevel::Good),
        ];
        let lines = "\nERROR: certificate /c.key cannot be read\
                     \nERROR: certificate /a.pem (a.test, b.test) has ended\
                     \nwarning: certificate /b.pem (a.test, b.test) ends in 1 day";
        assert_eq!(shown(&all), lines);
    }
}
