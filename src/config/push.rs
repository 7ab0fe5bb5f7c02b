//! The push services that browsers may name.

use actix_http::Uri;
use std::net::IpAddr;

/// Those of Chrome, Firefox, Safari and Edge. A name that begins with `*.` is of all names below it.
const KNOWN: [&str; 5] = [
    "fcm.googleapis.com",
    "jmt17.google.com",
    "*.push.services.mozilla.com",
    "*.push.apple.com",
    "*.notify.windows.com",
];

/// The push services to which the server sends: those of the browsers, and those of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushServices(Vec<String>);

impl PushServices {
    /// `more` are origins, such as `https://push.example.org:8443`; over `http:` only loopback.
    ///
    /// # Errors
    /// The entry that is none.
    pub fn new(more: Vec<String>) -> Result<PushServices, String> {
        match more.iter().find(|origin| !is_service(origin)) {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(PushServices(more)),
        }
    }

    /// The origin of the push service that an address belongs to.
    ///
    /// # Errors
    /// It belongs to none that is known. The address is not repeated.
    pub fn service_of(&self, endpoint: &str) -> Result<String, String> {
        let no_address = || "endpoint must be an address of a push service".to_owned();
        let uri: Uri = endpoint.parse().map_err(|_| no_address())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(no_address());
        };
        let (host, authority) = (authority.host().to_lowercase(), authority.as_str());
        if authority.contains('@') {
            return Err(no_address());
        }
        let origin = format!("{scheme}://{}", authority.to_lowercase());
        let is_known = scheme == "https"
            && uri.port_u16().is_none_or(|port| port == 443)
            && KNOWN.iter().any(|known| match known.strip_prefix('*') {
                Some(below) => host.ends_with(below),
                None => host == *known,
            });
        if is_known {
            return Ok(format!("https://{host}"));
        }
        match self.0.contains(&origin) {
            true => Ok(origin),
            false => {
                Err("endpoint must belong to a push service that the server knows; the setting \
                          push_services names further ones"
                    .to_owned())
            }
        }
    }
}

fn is_service(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback =
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let is_origin = origin == format!("{scheme}://{}", authority.as_str().to_lowercase());
    is_origin
        && !authority.as_str().contains('@')
        && (scheme == "https" || scheme == "http" && is_loopback)
}

/// Whether push services may be told this as whom to ask about us.
pub(super) fn is_contact(text: &str) -> bool {
    let has_rest = |scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty());
    (has_rest("mailto:") || has_rest("https://"))
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_push_services_are_sent_to() {
        let none = PushServices::default();
        for (good, origin) in [
            ("https://fcm.googleapis.com/fcm/send/x", "https://fcm.googleapis.com"),
            ("https://FCM.googleapis.com:443/x", "https://fcm.googleapis.com"),
            (
                "https://updates.push.services.mozilla.com/wpush/v2/x",
                "https://updates.push.services.mozilla.com",
            ),
            ("https://web.push.apple.com/x?y", "https://web.push.apple.com"),
            ("https://db5p.notify.windows.com/w/?token=x", "https://db5p.notify.windows.com"),
        ] {
            assert_eq!(none.service_of(good), Ok(origin.to_owned()));
        }
        for bad in [
            "",
            "/x",
            "http://fcm.googleapis.com/x",
            "https://fcm.googleapis.com:22/x",
            "https://fcm.googleapis.com@10.0.0.1/x",
            "https://a:b@fcm.googleapis.com/x",
            "https://fcm.googleapis.com.evil.example/x",
            "https://evilpush.apple.com/x",
            "https://push.apple.com.evil.example/x",
            "https://127.0.0.1/x",
            "http://127.0.0.1:7829/api/v1/sessions",
            "https://[::1]/x",
            "https://169.254.169.254/latest/meta-data",
            "https://2130706433/x",
            "https://localhost/x",
            "https://intranet/x",
            "ftp://fcm.googleapis.com/x",
        ] {
            assert!(none.service_of(bad).is_err(), "{bad}");
        }
        let own = "https://push.example.org:8443";
        let some = PushServices::new(vec![own.into(), "http://127.0.0.1:9".into()]).unwrap();
        assert_eq!(some.service_of("https://push.example.org:8443/x"), Ok(own.into()));
        for bad in
            ["https://push.example.org/x", "http://push.example.org:8443/x", "http://127.0.0.1:90/"]
        {
            assert!(some.service_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_name_origins() {
        for bad in [
            "",
            "example.org",
            "http://example.org",
            "https://a/",
            "https://a/b",
            "https://A",
            "https://u@a",
        ] {
            assert!(PushServices::new(vec![bad.into()]).is_err(), "{bad}");
        }
        for (text, good) in [
            ("mailto:me@example.org", true),
            ("https://example.org/who", true),
            ("mailto:", false),
            ("me", false),
            ("mailto:a b", false),
        ] {
            assert_eq!(is_contact(text), good, "{text}");
        }
    }
}
