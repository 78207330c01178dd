//! Field values that have a grammar of their own, one type each: read from text, printed so that they read back.

mod amounts;
mod array;
mod devices;
mod notify;
pub(crate) mod places;
mod words;

pub use amounts::{Cores, DiskSize, Factor, MemorySize, NodeCount, Share, Span};
pub use array::{ArrayIndices, ArrayText};
pub use devices::{DeviceText, Devices, LongDevice};
pub use notify::{MomentText, RecipientText};
pub use places::{ImageText, PortText, UserText, VolumeText};
pub use words::{PriorityText, RetryCause, SignalText, Text};

/// Why a text is not a value of its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not an amount.
    #[error(transparent)]
    Amount(#[from] pond_core::units::AmountError),
    /// Not of the field's form.
    #[error("`{text}` is not {what}; write {example}")]
    Form {
        /// What was read.
        text: String,
        /// What the field holds.
        what: &'static str,
        /// How to write it.
        example: &'static str,
    },
    /// A range that ends before it starts.
    #[error("`{text}` ends below its start; write the smaller first, as in {example}")]
    Backwards {
        /// What was read.
        text: String,
        /// How to write it.
        example: &'static str,
    },
    /// More than anybody has.
    #[error("{what} of {text} is more than any machine has; the most is {most}")]
    TooLarge {
        /// Which amount.
        what: &'static str,
        /// What was read.
        text: String,
        /// The bound.
        most: String,
    },
    /// Nothing of something that is needed.
    #[error("{what} cannot be 0; leave the field out for the default")]
    Zero {
        /// Which amount.
        what: &'static str,
    },
    /// Named volumes.
    #[error(
        "`{name}` is a named volume, and the storage pool is not built yet in this version; \
         give a folder of the machine: /absolute/folder:/inside"
    )]
    NamedVolume {
        /// The name.
        name: String,
    },
    /// A path that leads upwards or is not absolute.
    #[error("path `{path}` {why}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A text that is longer than is taken.
    #[error("{what} is longer than {most} bytes")]
    TooLong {
        /// What.
        what: &'static str,
        /// The bound.
        most: usize,
    },
}

impl ValueError {
    pub(crate) fn form(text: &str, what: &'static str, example: &'static str) -> Self {
        Self::Form { text: crate::read::short(text), what, example }
    }
}

/// Serde and schema of a type that is read from one scalar through `FromStr` and printed through `Display`.
macro_rules! text_value {
    ($name:ident, $what:literal, [$($json:literal),+], [$($example:expr),+]) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_newtype_struct(
                    crate::read::decode::RAW,
                    crate::values::TextVisitor::<Self>($what, std::marker::PhantomData),
                )
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": [$($json),+], "description": $what, "examples": [$($example),+] })
            }
        }
    };
}
pub(crate) use text_value;

/// Reads a scalar of any kind as text and parses it.
pub(crate) struct TextVisitor<T>(pub(crate) &'static str, pub(crate) std::marker::PhantomData<T>);

impl<'de, T> serde::de::Visitor<'de> for TextVisitor<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<T, E> {
        self.visit_str(if value { "true" } else { "false" })
    }
    fn visit_newtype_struct<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}
