//! `create`: a new session.

use crate::base::{DecodeError, OutOfBounds, Reader, Wire, Writer};
use crate::wire::property::MAX_PROPERTIES;
use crate::wire::{PropertyKey, PropertyValue, Settings, WriteRule};

/// Creates a session. Spec: CMD-10.
///
/// ```text
/// settings | count varint (0..=256) | initial properties
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Create {
    /// The session's settings, which never change.
    pub settings: Settings,
    /// The properties that the session begins with.
    pub properties: InitialProperties,
}

impl Wire for Create {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { settings: Settings::read(reader)?, properties: InitialProperties::read(reader)? })
    }

    fn write(&self, writer: &mut Writer) {
        self.settings.write(writer);
        self.properties.write(writer);
    }
}

/// A property that a session begins with; its creator is the first member.
///
/// ```text
/// key | value | rule u8
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitialProperty {
    /// Its key.
    pub key: PropertyKey,
    /// Its value.
    pub value: PropertyValue,
    /// Members that may change it.
    pub rule: WriteRule,
}

impl Wire for InitialProperty {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            key: PropertyKey::read(reader)?,
            value: PropertyValue::read(reader)?,
            rule: WriteRule::read(reader)?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        self.key.write(writer);
        self.value.write(writer);
        self.rule.write(writer);
    }
}

/// At most 256 properties, keys strictly increasing by their bytes. Spec: CMD-11.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InitialProperties(Vec<InitialProperty>);

impl InitialProperties {
    /// Their name in errors, by which [`CommandError`](super::CommandError) selects the code.
    pub(super) const WHAT: &'static str = "number of initial properties";

    /// Sorts, checks and wraps a list of properties.
    ///
    /// # Errors
    /// [`OutOfBounds::Range`] when there are more than [`MAX_PROPERTIES`], [`OutOfBounds::Repeated`]
    /// when two have the same key, [`OutOfBounds::Length`] when a value has more than 65,536 bytes.
    pub fn new(mut properties: Vec<InitialProperty>) -> Result<Self, OutOfBounds> {
        properties.iter().try_for_each(|property| property.value.check())?;
        properties.sort_by(|a, b| a.key.cmp(&b.key));
        if !properties.is_sorted_by(|a, b| a.key < b.key) {
            return Err(OutOfBounds::Repeated { what: "initial properties" });
        }
        OutOfBounds::check_count(Self::WHAT, properties.len(), 0, MAX_PROPERTIES)?;
        Ok(Self(properties))
    }

    /// Returns the properties by key.
    pub fn as_slice(&self) -> &[InitialProperty] {
        &self.0
    }

    /// Returns the properties by key and consumes the list.
    pub fn into_vec(self) -> Vec<InitialProperty> {
        self.0
    }
}

impl Wire for InitialProperties {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let properties: Vec<InitialProperty> = reader.list(Self::WHAT, 0, MAX_PROPERTIES)?;
        if properties.is_sorted_by(|a, b| a.key < b.key) {
            Ok(Self(properties))
        } else {
            Err(DecodeError::NotCanonical { what: "order of the initial properties" })
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.list(&self.0);
    }
}
