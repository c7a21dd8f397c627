//! [`OutOfBounds`]: the error of values that a field does not allow.

/// Reason why a value is not legal in its field, whether a caller or a peer chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutOfBounds {
    /// A number is outside the range of its field.
    #[error("{what} is {value}, allowed is {min} to {max}")]
    Range {
        /// The field.
        what: &'static str,
        /// The number.
        value: u64,
        /// Smallest allowed value.
        min: u64,
        /// Largest allowed value.
        max: u64,
    },
    /// A text or byte string is shorter or longer than its field allows.
    #[error("{what} of {bytes} bytes, allowed are {min} to {max}")]
    Length {
        /// The field.
        what: &'static str,
        /// Its length in bytes.
        bytes: u64,
        /// Smallest length allowed.
        min: u64,
        /// Largest length allowed.
        max: u64,
    },
    /// An entry appears twice where it may appear once.
    #[error("one of the {what} is there twice")]
    Repeated {
        /// The list.
        what: &'static str,
    },
}

impl OutOfBounds {
    /// Checks that a count is within `min..=max`.
    ///
    /// # Errors
    /// [`OutOfBounds::Range`].
    pub fn check_count(what: &'static str, count: usize, min: usize, max: usize) -> Result<(), Self> {
        if (min..=max).contains(&count) {
            return Ok(());
        }
        let [value, min, max] = [count, min, max].map(|number| number as u64);
        Err(Self::Range { what, value, min, max })
    }

    /// Checks that a length in bytes is within `min..=max`.
    ///
    /// # Errors
    /// [`OutOfBounds::Length`].
    pub fn check_length(what: &'static str, bytes: usize, min: usize, max: usize) -> Result<(), Self> {
        if (min..=max).contains(&bytes) {
            return Ok(());
        }
        let [bytes, min, max] = [bytes, min, max].map(|number| number as u64);
        Err(Self::Length { what, bytes, min, max })
    }
}
