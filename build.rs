//! Bundles the page in `web/` with esbuild and writes `assets.rs`, the table of what the
//! server embeds. Without Node the server still builds; it then serves a page that says
//! how to get the real one. A source that cargo has fetched is not built without it, unless
//! STAYD_SKIP_WEB=1 says so.

// A build script speaks to cargo through its standard output.
#![allow(clippy::print_stdout)]

use flate2::Compression;
use flate2::write::GzEncoder;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

/// What the page is made of, under `web/`.
const SOURCES: [&str; 7] =
    ["src", "static", "index.html", "favicon.svg", "package.json", "package-lock.json", ".npmrc"];

/// One entry of the table: path, content type, file.
type Asset = (String, &'static str, PathBuf);

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let web = root.join("web");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=STAYD_SKIP_WEB");
    for source in SOURCES {
        println!("cargo::rerun-if-changed=web/{source}");
    }

    let assets = if env::var_os("STAYD_SKIP_WEB").is_some_and(|value| value == "1") {
        vec![fallback(&out, "it was left out: STAYD_SKIP_WEB=1 was set")?]
    } else {
        match bundle(&web, &out.join("page")) {
            Ok(assets) => assets,
            Err(why) if is_fetched(&root) => return Err(refusal(&why).into()),
            Err(why) => {
                println!("cargo::warning=the web page was not built: {why}");
                println!(
                    "cargo::warning=the server works without it; for the page, build again with \
                     Node.js 20 or newer, npm and (the first time) a network"
                );
                // Never there, so that the next build tries again.
                println!("cargo::rerun-if-changed={}", out.join("page/never").display());
                vec![fallback(&out, &why)?]
            }
        }
    };
    Ok(fs::write(out.join("assets.rs"), table(&assets, &out)?)?)
}

/// Whether cargo has fetched the source, as for `cargo install --git`. It shows no warnings then, so
/// that whoever installs would learn of the missing page from the browser.
fn is_fetched(root: &Path) -> bool {
    let root = root.to_string_lossy();
    root.contains("/git/checkouts/") || root.contains("/registry/src/")
}

fn refusal(why: &str) -> String {
    format!(
        "the web page was not built: {why}. Install Node.js 20 or newer with npm and try again; or \
         set STAYD_SKIP_WEB=1 to install a stayd that works without the page"
    )
}

/// Bundles the page into `out`.
fn bundle(web: &Path, out: &Path) -> Result<Vec<Asset>, String> {
    install(web)?;
    let said = |what: &str, error: io::Error| format!("{what}: {error}");
    if out.exists() {
        fs::remove_dir_all(out).map_err(|e| said("old page", e))?;
    }
    let outdir = format!("--outdir={}", out.display());
    npm(web, &["run", "build", "--", "--log-level=warning", &outdir])?;

    let mut assets = Vec::new();
    let mut html = fs::read_to_string(web.join("index.html")).map_err(|e| said("index.html", e))?;
    for entry in fs::read_dir(out).map_err(|e| said("bundle", e))? {
        let file = entry.map_err(|e| said("bundle", e))?.path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let path = format!("/assets/{name}");
        let (slot, content_type) = match file.extension().and_then(|ext| ext.to_str()) {
            Some("js") => ("{{script}}", "text/javascript; charset=utf-8"),
            Some("css") => ("{{style}}", "text/css; charset=utf-8"),
            _ => return Err(format!("esbuild wrote an unexpected file, {name}")),
        };
        // The others are parts that the script loads when it needs them.
        if name.starts_with("app-") {
            // Relative to the page, which a proxy may show below a path.
            html = html.replace(slot, path.trim_start_matches('/'));
        }
        assets.push((path, content_type, file));
    }
    if html.contains("{{") {
        return Err("esbuild wrote no script or no style sheet".to_owned());
    }
    let index = out.join("index.html");
    fs::write(&index, html).map_err(|e| said("index.html", e))?;
    assets.push(("/".to_owned(), "text/html; charset=utf-8", index));
    assets.push(("/favicon.svg".to_owned(), "image/svg+xml", web.join("favicon.svg")));
    for entry in fs::read_dir(web.join("static")).map_err(|e| said("web/static", e))? {
        let file = entry.map_err(|e| said("web/static", e))?.path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let content_type = match file.extension().and_then(|ext| ext.to_str()) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("png") => "image/png",
            Some("webmanifest") => "application/manifest+json",
            _ => return Err(format!("web/static has a file of an unknown kind, {name}")),
        };
        assets.push((format!("/{name}"), content_type, file));
    }
    assets.sort();
    Ok(assets)
}

/// Installs the locked packages if `node_modules` is not of this lock file.
fn install(web: &Path) -> Result<(), String> {
    let lock = web.join("package-lock.json");
    let wanted = fs::read(&lock).map_err(|e| format!("web/package-lock.json: {e}"))?;
    // A debug and a release build may come here at once: the second waits, then finds it done.
    let guard = File::open(&lock).and_then(|file| file.lock().map(|()| file));
    let _guard = guard.map_err(|e| format!("locking web/package-lock.json: {e}"))?;
    let stamp = web.join("node_modules/.stayd-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    npm(web, &["ci", "--ignore-scripts", "--no-audit", "--no-fund"])?;
    fs::write(&stamp, wanted).map_err(|e| format!("web/node_modules: {e}"))
}

/// Runs npm in `web/`; an error says what failed, in one line.
fn npm(web: &Path, args: &[&str]) -> Result<(), String> {
    let words: Vec<_> = args.iter().take_while(|arg| **arg != "--").copied().collect();
    let what = format!("`npm {}`", words.join(" "));
    let output = Command::new("npm").args(args).current_dir(web).output().map_err(|e| {
        if e.kind() == io::ErrorKind::NotFound {
            "npm was not found (Node.js is not installed, or not on PATH)".to_owned()
        } else {
            format!("{what} could not be started: {e}")
        }
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| is_news(line)).take(3).collect();
    Err(format!("{what} in web/ failed ({}): {}", output.status, lines.join(" / ")))
}

/// Whether a line of npm's says something about the failure.
fn is_news(line: &str) -> bool {
    !line.is_empty() && !line.starts_with("npm warn") && !line.starts_with("npm notice")
}

/// The page in place of the page.
fn fallback(out: &Path, why: &str) -> io::Result<Asset> {
    let why = why.replace('&', "&amp;").replace('<', "&lt;");
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>stayd</title>\n\
         <h1>The page was not built</h1>\n\
         <p>This stayd runs, but it was built without its web page: {why}.</p>\n\
         <p>To get it, build again with <code>cargo build --release</code>, with Node.js 20 or \
         newer and npm installed and without <code>STAYD_SKIP_WEB</code>.</p>\n\
         <p>Everything else works: <code>stayd run</code>, <code>stayd attach</code> and \
         <code>stayd ls</code> in a terminal, and the HTTP interface.</p>\n</html>\n"
    );
    let file = out.join("fallback.html");
    fs::write(&file, html)?;
    Ok(("/".to_owned(), "text/html; charset=utf-8", file))
}

/// The table, as Rust; beside each file stands what it is compressed, where that is less.
fn table(assets: &[Asset], out: &Path) -> io::Result<String> {
    let mut text = String::from("static ASSETS: &[Embedded] = &[\n");
    for (number, (path, content_type, file)) in assets.iter().enumerate() {
        let plain = fs::read(file)?;
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(&plain)?;
        let packed = packer.finish()?;
        let packed = if packed.len() < plain.len() {
            let place = out.join(format!("{number}.gz"));
            fs::write(&place, packed)?;
            format!("Some(include_bytes!({place:?}))")
        } else {
            "None".to_owned()
        };
        // Writing to a String does not fail.
        let _ =
            writeln!(text, "    ({path:?}, {content_type:?}, include_bytes!({file:?}), {packed}),");
    }
    text.push_str("];\n");
    Ok(text)
}
