//! `exp` and `pow`, so that the library does not need libm.so.6.
//!
//! The resolver of names averages round trips with `exp`, and a scheduler that the plugin never starts uses `pow`. Both
//! would be looked up in the C library's libm when Orthanc loads the plugin. They are defined here instead, hidden, by
//! forwarding to the `libm` crate. Assembly names them, because a Rust function with such a name would be exported.
#![expect(
    unsafe_code,
    reason = "defining a symbol of the C library is unsafe, and has to be done in the cdylib itself"
)]

use std::arch::global_asm;

extern "C" fn exp(x: f64) -> f64 {
    libm::exp(x)
}

extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

// SAFETY: the symbols have the signatures and the meaning that C99 (section 7.12.6.1 and 7.12.7.4) gives them, and
// forward to functions of the same calling convention with all registers as they were.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".hidden exp", ".globl exp", ".type exp, @function", "exp: jmp {exp}",
    ".hidden pow", ".globl pow", ".type pow, @function", "pow: jmp {pow}",
    exp = sym exp,
    pow = sym pow,
);

// SAFETY: as above.
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".hidden exp", ".globl exp", ".type exp, %function", "exp: b {exp}",
    ".hidden pow", ".globl pow", ".type pow, %function", "pow: b {pow}",
    exp = sym exp,
    pow = sym pow,
);
