//! Macros for bounded values: numbers in a range and texts of bounded length. Whether read or created, a
//! value is always legal.

/// Declares a number within `min..=max`, a varint on the wire.
macro_rules! bounded_number {
    ($(#[$doc:meta])* $name:ident($int:ty), $what:literal, $min:literal..=$max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name($int);

        impl $name {
            #[doc = concat!("Smallest ", $what, ".")]
            pub const MIN: Self = Self($min);
            #[doc = concat!("Largest ", $what, ".")]
            pub const MAX: Self = Self($max);

            /// Checks the range of a number and wraps it.
            ///
            /// # Errors
            /// [`OutOfBounds::Range`](crate::base::OutOfBounds::Range).
            pub fn new(value: $int) -> Result<Self, $crate::base::OutOfBounds> {
                if ($min..=$max).contains(&value) {
                    Ok(Self(value))
                } else {
                    Err($crate::base::OutOfBounds::Range {
                        what: $what,
                        value: u64::from(value),
                        min: $min,
                        max: $max,
                    })
                }
            }

            /// Returns the number.
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl $crate::base::Wire for $name {
            fn read(reader: &mut $crate::base::Reader) -> Result<Self, $crate::base::DecodeError> {
                Ok(Self(reader.varint_in($what, $min, $max)?))
            }

            fn write(&self, writer: &mut $crate::base::Writer) {
                writer.varint(u64::from(self.0));
            }
        }
    };
}

/// Declares a UTF-8 text of `min..=max` bytes, length-prefixed on the wire and cheap to clone.
macro_rules! bounded_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $min:literal..=$max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            #[doc = concat!("Longest ", $what, ", in bytes.")]
            pub const MAX_BYTES: usize = $max;

            /// Checks the length of a text and wraps it.
            ///
            /// # Errors
            /// [`OutOfBounds::Length`](crate::base::OutOfBounds::Length).
            pub fn new(text: &str) -> Result<Self, $crate::base::OutOfBounds> {
                $crate::base::OutOfBounds::check_length($what, text.len(), $min, $max)?;
                Ok(Self(text.into()))
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// A map by this type is searched with a `&str`: both are compared and hashed alike.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::base::OutOfBounds;

            fn try_from(text: String) -> Result<Self, $crate::base::OutOfBounds> {
                Self::new(&text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::base::OutOfBounds;

            fn from_str(text: &str) -> Result<Self, $crate::base::OutOfBounds> {
                Self::new(text)
            }
        }

        impl $crate::base::Wire for $name {
            fn read(reader: &mut $crate::base::Reader) -> Result<Self, $crate::base::DecodeError> {
                Ok(Self(reader.text($what, $min, $max)?.into()))
            }

            fn write(&self, writer: &mut $crate::base::Writer) {
                writer.prefixed(self.0.as_bytes());
            }
        }
    };
}

pub(crate) use {bounded_number, bounded_text};
