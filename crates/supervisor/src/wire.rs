//! The byte layout of messages: little-endian integers and counted bytes.
//!
//! Reading checks every length against what is left, so that no message can
//! make the reader allocate more than the message is long, or panic.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What makes bytes unreadable as a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The message ended inside a field.
    #[error("the message ends inside a field")]
    Short,
    /// Bytes followed the last field.
    #[error("{0} bytes follow the last field")]
    Trailing(usize),
    /// A tag or value that the layout does not know.
    #[error("unknown value {value} for {field}")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// What stood there.
        value: u64,
    },
    /// Text that is not UTF-8 or not of the allowed form.
    #[error("malformed text in {0}")]
    Text(&'static str),
}

/// A value with a fixed layout in a message.
pub(crate) trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(from: &mut Reader<'_>) -> Result<Self, WireError>;

    /// The whole value as bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// Reads a value that must fill `bytes` exactly.
    fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader { rest: bytes };
        let value = Self::get(&mut from)?;
        match from.rest.len() {
            0 => Ok(value),
            left => Err(WireError::Trailing(left)),
        }
    }
}

/// What is left of a message.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.rest.split_at_checked(count).ok_or(WireError::Short)?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, tail) = self.rest.split_first_chunk().ok_or(WireError::Short)?;
        self.rest = tail;
        Ok(*head)
    }

    fn counted(&mut self) -> Result<&'a [u8], WireError> {
        let count = u32::get(self)?;
        self.take(count as usize)
    }
}

macro_rules! integers {
    ($($kind:ty),*) => {$(
        impl Wire for $kind {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(from: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok(Self::from_le_bytes(from.array()?))
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, i32);

/// Implements [`Wire`] for a struct as its fields in the order given.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::wire::Wire::put(&self.$field, out);)*
            }
            fn get(from: &mut $crate::wire::Reader<'_>) -> Result<Self, $crate::wire::WireError> {
                Ok(Self { $($field: $crate::wire::Wire::get(from)?,)* })
            }
        }
    };
}
pub(crate) use wire_struct;

/// Implements [`Wire`] for an enum without fields as one byte.
macro_rules! wire_tag {
    ($name:ident { $($variant:ident = $tag:literal),* $(,)? }) => {
        impl $crate::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                out.push(match self { $(Self::$variant => $tag,)* });
            }
            fn get(from: &mut $crate::wire::Reader<'_>) -> Result<Self, $crate::wire::WireError> {
                match <u8 as $crate::wire::Wire>::get(from)? {
                    $($tag => Ok(Self::$variant),)*
                    other => Err($crate::wire::WireError::Unknown {
                        field: stringify!($name),
                        value: u64::from(other),
                    }),
                }
            }
        }
    };
}
pub(crate) use wire_tag;

/// Implements [`Wire`] for an enum as a tag byte and the variant's fields.
macro_rules! wire_enum {
    ($name:ident { $($tag:literal = $variant:ident $({ $($field:ident),* })? $(( $inner:ident ))?),* $(,)? }) => {
        impl $crate::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(( $inner ))? => {
                        out.push($tag);
                        $($($crate::wire::Wire::put($field, out);)*)?
                        $($crate::wire::Wire::put($inner, out);)?
                    })*
                }
            }
            fn get(from: &mut $crate::wire::Reader<'_>) -> Result<Self, $crate::wire::WireError> {
                match <u8 as $crate::wire::Wire>::get(from)? {
                    $($tag => {
                        $($(let $field = $crate::wire::Wire::get(from)?;)*)?
                        $(let $inner = $crate::wire::Wire::get(from)?;)?
                        Ok(Self::$variant $({ $($field),* })? $(( $inner ))?)
                    })*
                    other => Err($crate::wire::WireError::Unknown {
                        field: stringify!($name),
                        value: u64::from(other),
                    }),
                }
            }
        }
    };
}
pub(crate) use wire_enum;

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match u8::get(from)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(WireError::Unknown {
                field: "bool",
                value: u64::from(other),
            }),
        }
    }
}

fn put_counted(bytes: &[u8], out: &mut Vec<u8>) {
    let count = u32::try_from(bytes.len()).expect("fields are far below 4 GiB");
    count.put(out);
    out.extend_from_slice(bytes);
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_counted(self.as_bytes(), out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let bytes = from.counted()?;
        Ok(std::str::from_utf8(bytes)
            .map_err(|_| WireError::Text("string"))?
            .to_owned())
    }
}

impl Wire for PathBuf {
    fn put(&self, out: &mut Vec<u8>) {
        put_counted(self.as_os_str().as_bytes(), out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self::from(OsString::from_vec(from.counted()?.to_vec())))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.len()).expect("lists are far below 2^32");
        count.put(out);
        for item in self {
            item.put(out);
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let count = u32::get(from)? as usize;
        // Every element takes at least one byte, so a count above that is a lie.
        if count > from.rest.len() {
            return Err(WireError::Short);
        }
        (0..count).map(|_| T::get(from)).collect()
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(if bool::get(from)? {
            Some(T::get(from)?)
        } else {
            None
        })
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok((A::get(from)?, B::get(from)?))
    }
}

impl Wire for SocketAddr {
    fn put(&self, out: &mut Vec<u8>) {
        match self.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        self.port().put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let ip = match u8::get(from)? {
            4 => IpAddr::V4(Ipv4Addr::from(from.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(from.array::<16>()?)),
            other => {
                return Err(WireError::Unknown {
                    field: "address",
                    value: u64::from(other),
                });
            }
        };
        Ok(Self::new(ip, u16::get(from)?))
    }
}

#[cfg(test)]
mod tests;
