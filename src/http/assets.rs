//! The page, as build.rs has embedded it.

use actix_web::http::header::{self, AcceptEncoding, Encoding, EntityTag, IfNoneMatch};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use std::collections::HashMap;
use std::sync::LazyLock;
use uuid::Uuid;

/// Path, content type, content, and the content compressed (gzip) where that is smaller.
type Embedded = (&'static str, &'static str, &'static [u8], Option<&'static [u8]>);

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Pages load only what comes from this server, and text never becomes script or markup. xterm.js
/// sets inline styles; the icon with a dot is a `data:` address. The one trusted type is the address of
/// the service worker, which the page makes of a constant. The decoder of pictures is WebAssembly, which is
/// allowed beside, unlike JavaScript that is made of text.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; \
    manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types service-worker";

/// Files below here carry a hash of their content in their names.
const HASHED: &str = "/assets/";

/// Browsers request this path whether or not there is an icon.
const FAVICON: &str = "/favicon.ico";

static BY_PATH: LazyLock<HashMap<&str, Asset>> = LazyLock::new(|| {
    let asset =
        |&(path, content_type, body, packed)| (path, Asset::new(path, content_type, body, packed));
    ASSETS.iter().map(asset).collect()
});

/// Whether this path is the page itself, which needs no token.
pub(super) fn is_public(path: &str) -> bool {
    path == FAVICON || BY_PATH.contains_key(path)
}

/// Serves every embedded file at its path.
pub fn configure(app: &mut ServiceConfig) {
    for &path in BY_PATH.keys() {
        app.service(web::resource(path).get(serve));
    }
}

async fn serve(request: HttpRequest) -> HttpResponse {
    // A condition that cannot be parsed is ignored.
    let seen = request.get_header().unwrap_or(IfNoneMatch::Items(Vec::new()));
    match BY_PATH.get(request.path()) {
        Some(asset) => asset.respond(&seen, takes_gzip(&request)),
        None => HttpResponse::NotFound().finish(),
    }
}

fn takes_gzip(request: &HttpRequest) -> bool {
    let both = [Encoding::gzip(), Encoding::identity()];
    // Without the header any encoding is allowed, but such a client may not know gzip.
    let accepted = request.get_header::<AcceptEncoding>();
    accepted.and_then(|accepted| accepted.negotiate(both.iter())) == Some(Encoding::gzip())
}

struct Asset {
    content_type: &'static str,
    body: &'static [u8],
    /// The content compressed (gzip).
    packed: Option<&'static [u8]>,
    tag: EntityTag,
    is_hashed: bool,
}

impl Asset {
    fn new(
        path: &str,
        content_type: &'static str,
        body: &'static [u8],
        packed: Option<&'static [u8]>,
    ) -> Asset {
        // A weak tag: the compressed and the plain content share it.
        let tag = EntityTag::new_weak(Uuid::new_v5(&Uuid::NAMESPACE_URL, body).to_string());
        Asset { content_type, body, packed, tag, is_hashed: path.starts_with(HASHED) }
    }

    fn respond(&self, seen: &IfNoneMatch, takes_gzip: bool) -> HttpResponse {
        let is_seen = match seen {
            IfNoneMatch::Any => true,
            // Weak comparison (RFC 9110, section 13.1.2).
            IfNoneMatch::Items(tags) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
        };
        let mut response = if is_seen { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        let cache = if self.is_hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
        response
            .insert_header((header::ETAG, self.tag.to_string()))
            .insert_header((header::VARY, "Accept-Encoding"))
            .insert_header((header::CACHE_CONTROL, cache));
        if self.content_type.starts_with("text/html") {
            response.insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY));
        }
        if is_seen {
            return response.finish();
        }
        response.content_type(self.content_type);
        match self.packed {
            Some(packed) if takes_gzip => {
                response.insert_header((header::CONTENT_ENCODING, "gzip")).body(packed)
            }
            _ => response.body(self.body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(response: &HttpResponse, name: header::HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn hashed_names_are_kept_for_ever() {
        let script = Asset::new("/assets/app-1a2b.js", "text/javascript", b"1", Some(b"z"));
        let response = script.respond(&IfNoneMatch::Items(vec![]), false);
        assert_eq!(response.status(), 200);
        assert!(header(&response, header::CACHE_CONTROL).contains("immutable"));
        assert_eq!(header(&response, header::CONTENT_TYPE), "text/javascript");
        assert_eq!(header(&response, header::CONTENT_SECURITY_POLICY), "");
        assert_eq!(header(&response, header::CONTENT_ENCODING), "");
        let packed = script.respond(&IfNoneMatch::Items(vec![]), true);
        assert_eq!(header(&packed, header::CONTENT_ENCODING), "gzip");
        assert_eq!(header(&packed, header::VARY), "Accept-Encoding");
    }

    #[test]
    fn what_is_compressed_is_for_those_who_take_it() {
        let takes = |accepted: &str| {
            let request = actix_web::test::TestRequest::default();
            takes_gzip(
                &request.insert_header((header::ACCEPT_ENCODING, accepted)).to_http_request(),
            )
        };
        assert!(takes("gzip, deflate, br, zstd"));
        assert!(takes("identity;q=0.5, gzip"));
        assert!(!takes("br") && !takes("identity") && !takes("gzip;q=0"));
        assert!(!takes_gzip(&actix_web::test::TestRequest::default().to_http_request()));
    }

    #[test]
    fn the_page_is_asked_for_again_and_sent_once() {
        let page = Asset::new("/", "text/html; charset=utf-8", b"<p>1", None);
        let fresh = page.respond(&IfNoneMatch::Items(vec![]), true);
        assert_eq!(header(&fresh, header::CACHE_CONTROL), "no-cache");
        assert!(header(&fresh, header::CONTENT_SECURITY_POLICY).contains("default-src 'none'"));
        let tag: EntityTag = header(&fresh, header::ETAG).parse().unwrap();
        let again = page.respond(&IfNoneMatch::Items(vec![tag.clone()]), true);
        assert_eq!(again.status(), 304);
        assert_eq!(header(&again, header::ETAG), tag.to_string());
        let weak = EntityTag::new_strong(tag.tag().to_owned());
        assert_eq!(page.respond(&IfNoneMatch::Items(vec![weak]), true).status(), 304);
        let changed = Asset::new("/", "text/html; charset=utf-8", b"<p>2", None);
        assert_eq!(changed.respond(&IfNoneMatch::Items(vec![tag]), true).status(), 200);
    }
}
