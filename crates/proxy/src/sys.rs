//! What only the C library can do. Each function says why its call is sound.

#![expect(unsafe_code, reason = "functions of the C library")]

/// Gives freed memory back to the machine, wherever it lies.
///
/// The call takes no pointer and touches nothing that is in use.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back_memory() {
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // It says whether there was anything to give back, which changes nothing.
    let _ = malloc_trim(0);
}

/// Other C libraries give back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back_memory() {}
