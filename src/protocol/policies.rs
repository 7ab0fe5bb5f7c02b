//! The policies that a session's creator sets, spelled alike in settings, rows and JSON.

use crate::lifecycle::UnknownWord;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Decides which client's size the terminal has, among the clients that may type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizePolicy {
    /// The size of the client that last typed, attached or was resized.
    #[default]
    Latest,
    /// The fewest columns and the fewest rows of all clients: every client sees everything.
    Smallest,
    /// No client's size: administrators set it.
    Fixed,
}

/// The extent of a session's recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recording {
    /// Nothing is recorded.
    #[default]
    Off,
    /// The output and the sizes are recorded.
    Output,
    /// Input is recorded as well, passwords included.
    All,
}

/// The rights of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The client may read and write.
    #[default]
    Rw,
    /// The client may only read.
    Ro,
}

/// Implements the spelling in rows for an enum without data.
macro_rules! words {
    ($name:ident, $what:literal, $($word:literal => $variant:ident),+) => {
        impl $name {
            /// The word in rows, settings and JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(UnknownWord::new($what, text)),
                }
            }
        }
    };
}

words!(SizePolicy, "size policy", "latest" => Latest, "smallest" => Smallest, "fixed" => Fixed);
words!(Mode, "mode", "rw" => Rw, "ro" => Ro);
words!(Recording, "recording", "off" => Off, "output" => Output, "all" => All);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::RestartPolicy;

    #[test]
    fn rows_and_json_spell_alike() {
        fn alike<T: Serialize + FromStr<Err = UnknownWord>>(values: &[T], word: fn(&T) -> &str) {
            for value in values {
                let word = word(value);
                assert_eq!(serde_json::to_value(value).unwrap(), word);
                let read = word.parse::<T>().unwrap();
                assert_eq!(serde_json::to_value(read).unwrap(), word);
            }
            assert!("LATEST".parse::<T>().is_err());
        }
        alike(&[SizePolicy::Latest, SizePolicy::Smallest, SizePolicy::Fixed], |w| w.as_str());
        alike(&RestartPolicy::ALL, |word| word.as_str());
        alike(&[Recording::Off, Recording::Output, Recording::All], |word| word.as_str());
    }
}
