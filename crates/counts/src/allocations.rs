//! Counts what is allocated. The linker leads every call of the allocator through here (`--wrap`, see `build.rs`), those of
//! librdkafka too.
//!
//! A global allocator of this program's own would be the usual way, and can't be had: the services have jemalloc as theirs, a program
//! has one, and what is counted here is to be what they run. A reallocation counts as one allocation of its new size. It costs the
//! counted code some instructions a call, always the same.
#![allow(unsafe_code, reason = "calls of C's allocator pass through; nothing is done with what is passed but counting")]

use std::ffi::{c_int, c_void};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Allocations and their bytes since the program began.
pub fn so_far() -> (u64, u64) {
    (CALLS.load(Relaxed), BYTES.load(Relaxed))
}

/// Counts, then calls what was meant.
macro_rules! wrap {
    ($($wrap:ident = $real:ident($($name:ident: $ty:ty),*) of $bytes:expr;)*) => {
        unsafe extern "C" {
            $(fn $real($($name: $ty),*) -> *mut c_void;)*
        }
        $(
            /// # Safety
            /// That of the function that it stands for.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $wrap($($name: $ty),*) -> *mut c_void {
                CALLS.fetch_add(1, Relaxed);
                BYTES.fetch_add($bytes as u64, Relaxed);
                // SAFETY: the caller has promised of these what the function wants.
                unsafe { $real($($name),*) }
            }
        )*
    };
}

wrap! {
    __wrap_malloc = __real_malloc(size: usize) of size;
    __wrap_calloc = __real_calloc(count: usize, size: usize) of count.wrapping_mul(size);
    __wrap_realloc = __real_realloc(block: *mut c_void, size: usize) of size;
    __wrap_mallocx = __real_mallocx(size: usize, flags: c_int) of size;
    __wrap_rallocx = __real_rallocx(block: *mut c_void, size: usize, flags: c_int) of size;
}
