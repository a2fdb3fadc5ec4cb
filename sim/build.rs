//! Compiles what stands between the simulation and the C library's file calls (`disk/calls.c`).

fn main() {
    println!("cargo:rerun-if-changed=disk/calls.c");
    let objects = cc::Build::new().file("disk/calls.c").warnings(true).opt_level(2).compile_intermediates();
    // Into every program of this package, and before the C library: its calls are then these.
    for object in objects {
        println!("cargo:rustc-link-arg={}", object.display());
    }
}
