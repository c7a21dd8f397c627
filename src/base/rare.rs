//! [`Rare`]: state that most values of a type never have.

use std::ops::{Deref, DerefMut};

/// A value that takes only a pointer until it is first changed.
#[derive(Debug)]
pub struct Rare<T>(Option<Box<T>>);

/// A type with a constant for the value that was never changed.
pub trait Blank: Default + 'static {
    /// The value that was never changed.
    const BLANK: &'static Self;
}

impl<T> Rare<T> {
    /// Creates a value that was never changed.
    pub const fn new() -> Self {
        Self(None)
    }
}

impl<T: Blank> Rare<T> {
    /// Returns the value for modification if it was changed before.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// Resets the value to one that was never changed.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Blank> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::BLANK)
    }
}

impl<T: Blank> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Blank for Vec<u8> {
        const BLANK: &'static Self = &Self::new();
    }

    #[test]
    fn it_is_blank_until_it_is_changed() {
        let mut rare = Rare::<Vec<u8>>::default();
        assert!(rare.is_empty() && rare.get_mut().is_none());
        rare.push(7);
        assert_eq!((&**rare, rare.0.is_some()), (&[7][..], true));
        assert_eq!(rare.get_mut(), Some(&mut vec![7]));
        rare.clear();
        assert!(rare.is_empty() && rare.get_mut().is_none());
    }
}
