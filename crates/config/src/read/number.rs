//! Numbers, counts and ports.

use model::{Count, Port};
use toml::de::DeValue;

use crate::form::{decimal, share};

pub(super) fn whole(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

pub(super) fn number(value: &DeValue<'_>, places: u32) -> Option<u64> {
    match value {
        DeValue::Float(float) => decimal(float.as_str(), places),
        value => whole(value)?.checked_mul(10_u64.checked_pow(places)?),
    }
}

pub(super) fn count(value: &DeValue<'_>) -> Option<Count> {
    if let Some(text) = value.as_str() {
        return share(text).ok().map(Count::Part);
    }
    let number = u32::try_from(whole(value)?).ok()?;
    (number <= 1_000).then_some(Count::Absolute(number))
}

pub(super) fn port(value: &DeValue<'_>) -> Option<Port> {
    if value.as_bool() == Some(false) {
        return Some(Port::None);
    }
    let number = u16::try_from(whole(value)?).ok()?;
    (number > 0).then_some(Port::Fixed(number))
}
