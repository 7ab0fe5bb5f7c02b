//! `stayd`.

use std::path::Path;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let code = match words.as_slice() {
        ["hold", "--state-dir", dir] => stayd::holder::process::main(Path::new(dir)),
        ["__exec", ..] => stayd::holder::exec::main(),
        _ => 2,
    };
    std::process::exit(code);
}
