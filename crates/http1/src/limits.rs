//! The limits of the codec. Constants, so that memory and work per message are bounded.

/// Most bytes of a head, its empty line included.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most header fields in one head or trailer section.
pub const HEADERS_MAX: usize = 100;
/// Most header fields that `Connection` may name in one head.
pub const CONNECTION_OPTIONS_MAX: usize = 32;
/// Most bytes of a request target.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of a method's name.
pub const METHOD_BYTES_MAX: usize = 32;
/// Most bytes of a request line or status line: the longest target, method and version.
pub const FIRST_LINE_BYTES_MAX: usize = TARGET_BYTES_MAX + METHOD_BYTES_MAX + 16;
/// Longest message body that can be declared, so that no peer's signed counter overflows.
pub const BODY_BYTES_MAX: u64 = i64::MAX as u64;
/// Most hexadecimal digits of a chunk's size.
pub const CHUNK_DIGITS_MAX: u8 = 16;
/// Most bytes of one chunk's extensions.
pub const CHUNK_EXTENSION_BYTES_MAX: u32 = 256;
/// Most bytes of all chunk extensions of one body.
pub const CHUNK_EXTENSIONS_BYTES_MAX: u32 = 16 * 1024;
/// Most bytes of a trailer section.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Most interim (1xx) responses before the final one.
pub const INTERIM_RESPONSES_MAX: u8 = 8;
/// Most bytes of an unread request body that are read and thrown away to keep a connection.
pub const DISCARD_BYTES_MAX: u64 = 64 * 1024;
/// Longest idle time, in milliseconds, of a reused connection that a request which may not
/// be repeated is sent on.
pub const UNREPEATABLE_IDLE_MS_MAX: u64 = 1_000;
