//! A service that is closed while people work on it.

use serde::{Deserialize, Serialize};

/// What a service answers while it is closed, and who may look inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// When clients are told to come back, in seconds.
    pub retry_after_seconds: u32,
    /// What is shown; `None`: one sentence.
    pub page: Option<Page>,
    /// Who is let in.
    pub pass: Option<Pass>,
}

/// What is shown instead of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Its media type.
    pub content_type: String,
    /// Its text.
    pub body: String,
}

/// Requests with this header are let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// The header's name in lower case.
    pub header: String,
    /// The secret whose newest value the header must have.
    pub secret: String,
}

/// What is wrong with a maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MaintenanceError {
    /// Nobody should be told to wait for ever.
    #[error("clients can be told to come back after 1 s to 1 day")]
    RetryAfter,
    /// The page is empty or too large.
    #[error("a maintenance page has 1 to {} bytes", Page::BYTES_MAX)]
    PageBytes,
    /// The page's media type cannot be sent.
    #[error("a media type is like `text/html; charset=utf-8`")]
    ContentType,
    /// The header's name cannot be sent.
    #[error("a header's name has letters, digits and hyphens")]
    Header,
}

impl Page {
    /// The most bytes of a page.
    pub const BYTES_MAX: usize = 64 * 1024;
}

impl Maintenance {
    /// Makes sure that every part is within its bounds.
    ///
    /// # Errors
    ///
    /// [`MaintenanceError`] for the first part that is not.
    pub fn check(&self) -> Result<(), MaintenanceError> {
        if !(1..=86_400).contains(&self.retry_after_seconds) {
            return Err(MaintenanceError::RetryAfter);
        }
        if let Some(page) = &self.page {
            if !(1..=Page::BYTES_MAX).contains(&page.body.len()) {
                return Err(MaintenanceError::PageBytes);
            }
            let is_sendable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
            let media = &page.content_type;
            if !media.contains('/') || media.len() > 128 || !media.bytes().all(is_sendable) {
                return Err(MaintenanceError::ContentType);
            }
        }
        if let Some(pass) = &self.pass {
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            let name = &pass.header;
            if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
                return Err(MaintenanceError::Header);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> Maintenance {
        Maintenance {
            retry_after_seconds: 60,
            page: Some(Page {
                content_type: "text/html; charset=utf-8".to_owned(),
                body: "<p>soon".to_owned(),
            }),
            pass: Some(Pass {
                header: "x-staff".to_owned(),
                secret: "STAFF".to_owned(),
            }),
        }
    }

    #[test]
    fn every_part_has_its_bounds() {
        assert_eq!(closed().check(), Ok(()));
        let broken = |break_it: fn(&mut Maintenance)| {
            let mut closed = closed();
            break_it(&mut closed);
            closed.check().unwrap_err()
        };
        assert_eq!(
            broken(|closed| closed.retry_after_seconds = 0),
            MaintenanceError::RetryAfter
        );
        assert_eq!(
            broken(|closed| closed.page.iter_mut().for_each(|page| page.body.clear())),
            MaintenanceError::PageBytes
        );
        assert_eq!(
            broken(|closed| {
                let too_much = "x".repeat(Page::BYTES_MAX + 1);
                closed
                    .page
                    .iter_mut()
                    .for_each(|page| page.body = too_much.clone());
            }),
            MaintenanceError::PageBytes
        );
        assert_eq!(
            broken(|closed| {
                let pages = closed.page.iter_mut();
                pages.for_each(|page| page.content_type = "a/b\r\nx: y".to_owned());
            }),
            MaintenanceError::ContentType
        );
        assert_eq!(
            broken(|closed| {
                let passes = closed.pass.iter_mut();
                passes.for_each(|pass| pass.header = "X Y".to_owned());
            }),
            MaintenanceError::Header
        );
    }
}
