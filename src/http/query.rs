//! Parses queries and bodies so that an error names the parameter that is wrong.

use super::problem::Problem;
use actix_web::dev::Payload;
use actix_web::web;
use actix_web::{FromRequest, HttpRequest};
use serde::de::DeserializeOwned;
use std::future::{Ready, ready};

/// A parsed query. Its errors name the wrong parameter.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse(request.query_string()).map(Query).map_err(Problem::invalid))
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, String> {
    let read = |query: &str| {
        web::Query::<T>::from_query(query).map(web::Query::into_inner).map_err(
            |error| match error {
                actix_web::error::QueryPayloadError::Deserialize(error) => error.to_string(),
                error => error.to_string(),
            },
        )
    };
    read(query).map_err(|error| {
        let pairs: Vec<&str> = query.split('&').collect();
        let name = culprit(&error, pairs.len(), |from| read(&pairs[from..].join("&")).err());
        match name.and_then(|at| pairs[at].split('=').next()) {
            Some(name) => format!("{name} {}", plain(&error)),
            None => error,
        }
    })
}

/// Finds the part that an error comes from: the last one without which there is no error, or
/// another. `without` parses the parts behind an index. Errors that name the part themselves do not
/// need this.
pub(super) fn culprit(
    error: &str,
    parts: usize,
    without: impl Fn(usize) -> Option<String>,
) -> Option<usize> {
    let tells = ["unknown field", "missing field", "duplicate field"];
    if tells.iter().any(|tells| error.starts_with(tells)) {
        return None;
    }
    (1..=parts).find(|&from| without(from).as_deref() != Some(error)).map(|from| from - 1)
}

/// Rewords the errors of serde's parsers so that they say what is allowed.
fn plain(error: &str) -> String {
    match error {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "must be a whole number, at least 0".into()
        }
        "number too large to fit in target type" => "is too large a number".into(),
        "provided string was not `true` or `false`" => "must be true or false".into(),
        error => format!("is not what it must be: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct All {
        #[allow(dead_code)]
        word: Option<String>,
        #[allow(dead_code)]
        number: Option<u32>,
        #[allow(dead_code)]
        other: Option<u64>,
        #[serde(default)]
        #[allow(dead_code)]
        flag: bool,
    }

    #[test]
    fn the_wrong_one_is_named() {
        for (query, said) in [
            ("word=x&number=a&flag=true", "number must be a whole number"),
            ("number=-1", "number must be"),
            ("number=", "number must be"),
            ("number=5000000000&word=x", "number is too large"),
            ("flag=1&number=1", "flag must be true or false"),
            ("number=x&other=y", "must be a whole number"),
            ("nobody=1&number=2", "unknown field `nobody`"),
            ("number=1&number=2", "duplicate field `number`"),
        ] {
            let refused = parse::<All>(query).unwrap_err();
            assert!(refused.contains(said), "{query}: {refused}");
        }
        let both = parse::<All>("number=x&other=y").unwrap_err();
        assert!(both.starts_with("number ") || both.starts_with("other "), "{both}");
        assert!(parse::<All>("").is_ok() && parse::<All>("word=x&number=1").is_ok());
    }
}
