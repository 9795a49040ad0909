//! The rules that no other tool checks; a rule that nothing checks decays.

mod manifest;
mod source;

/// Checks every rule and lists every breach.
pub(crate) fn check() -> Result<(), String> {
    let mut breaches = manifest::check()?;
    breaches.extend(source::check()?);
    if breaches.is_empty() {
        eprintln!("tidy: every rule holds");
        return Ok(());
    }
    for breach in &breaches {
        eprintln!("tidy: {breach}");
    }
    Err(format!("{} rules are broken", breaches.len()))
}
