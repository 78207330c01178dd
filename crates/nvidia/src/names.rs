//! Every name of the two libraries, and an entry for each.
//!
//! An entry jumps to where [`SLOTS`](crate::link::SLOTS) points. Until the library behind is open that is
//! [`first`], which opens it; it finds the number of the name in a register that no argument uses.
//!
//! The lists come from the headers of CUDA 11.8, 12.9 and 13.5, from the names that NVIDIA's runtime library asks
//! for, and one that `nvidia-smi` does; `tests/names.rs` fails when a header has one that they lack.

#![expect(non_upper_case_globals, reason = "the names are NVIDIA's")]

use crate::link::{SLOTS, bind};
use std::arch::naked_asm;

macro_rules! entries {
    ($($name:ident)*) => {
        $(
            /// Leads to the function of this name.
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            pub unsafe extern "C" fn $name() {
                naked_asm!(
                    "mov r11d, {at}",
                    "jmp qword ptr [rip + {slots} + {offset}]",
                    at = const at::$name,
                    offset = const at::$name * 8,
                    slots = sym SLOTS,
                )
            }
        )*
    };
}

include!(concat!(env!("OUT_DIR"), "/names.rs"));

/// Opens the library behind a name and goes on to its function, with all arguments as they were.
///
/// # Safety
/// Reached from an entry alone.
#[unsafe(naked)]
pub unsafe extern "C" fn first() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "sub rsp, 64",
        "movsd [rsp], xmm0",
        "movsd [rsp + 8], xmm1",
        "movsd [rsp + 16], xmm2",
        "movsd [rsp + 24], xmm3",
        "movsd [rsp + 32], xmm4",
        "movsd [rsp + 40], xmm5",
        "movsd [rsp + 48], xmm6",
        "movsd [rsp + 56], xmm7",
        "mov edi, r11d",
        "call {bind}",
        "mov r11, rax",
        "movsd xmm0, [rsp]",
        "movsd xmm1, [rsp + 8]",
        "movsd xmm2, [rsp + 16]",
        "movsd xmm3, [rsp + 24]",
        "movsd xmm4, [rsp + 32]",
        "movsd xmm5, [rsp + 40]",
        "movsd xmm6, [rsp + 48]",
        "movsd xmm7, [rsp + 56]",
        "add rsp, 64",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "pop rbp",
        "jmp r11",
        bind = sym bind,
    )
}
