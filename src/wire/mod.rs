//! Packets, frames, commands and events as values, and their encoding.

mod body;
pub mod codes;
pub mod command;
mod delivery;
pub mod event;
pub mod frame;
mod ids;
pub mod packet;
mod parameters;
pub mod property;
pub mod result;
mod settings;
mod stream_kind;

pub use body::Body;
pub use codes::{CloseCode, DeleteReason, ErrorCode, LeaveReason, RejectCode};
pub use command::{Command, CommandError, Reply, Request};
pub use delivery::Delivery;
pub use event::{ServerMessage, SessionEvent, Snapshot, UserEvent};
pub use packet::{Direction, SealedHeader};
pub use parameters::{MAX_RECEIVED_DATAGRAM_BYTES, TransportParameters};
pub use property::{
    Property, PropertyChange, PropertyChanges, PropertyKey, PropertyOp, PropertyOps, PropertyValue, WriteRule,
};
pub use result::{CommandResult, Value};
pub use settings::{Admission, IdleTtl, InviteTtl, MaxMembers, Note, OnOwnerLeave, Reason, Settings};
pub use stream_kind::StreamKind;

#[cfg(test)]
mod bounds;

#[cfg(test)]
pub(crate) mod tests {
    //! Helpers shared by the tests of all codecs.

    use bytes::Bytes;
    use proptest::prelude::*;

    use crate::base::Wire;

    /// Checks that the bytes, if they are accepted at all, are the encoding of the value read.
    pub(crate) fn check_canonical<T: Wire>(bytes: Vec<u8>) -> Result<(), TestCaseError> {
        let bytes = Bytes::from(bytes);
        if let Ok(value) = T::from_bytes(bytes.clone()) {
            prop_assert_eq!(value.to_bytes(), bytes);
        }
        Ok(())
    }
}
