//! Tells the linker that the library stays in memory.

fn main() {
    // Whether `dlclose` unloads a library that has used thread-local storage is glibc's to decide, and differs from
    // run to run. A library that always stays has one behaviour: initialised again in the same image.
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
}
