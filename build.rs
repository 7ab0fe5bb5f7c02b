//! Embeds a page that says that there is none.

use std::{env, fs, path::Path};

fn main() {
    let assets = "pub(crate) static ASSETS: &[(&str, &str, &[u8])] = \
        &[(\"/\", \"text/html; charset=utf-8\", b\"<!doctype html><title>stayd</title>\")];";
    let directory = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&directory).join("assets.rs"), assets).expect("OUT_DIR is writable");
}
