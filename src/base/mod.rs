//! Basic types: identifiers, time, bytes. Depends on no other module of the crate.

pub(crate) mod bounded;
pub mod bounds;
pub mod bucket;
pub mod codec;
pub mod counter;
pub mod ecn;
pub mod generations;
pub mod ids;
pub mod number;
pub mod prefetch;
pub mod rare;
pub mod route;
pub mod short;
pub mod span;
pub mod sync;
pub mod time;
pub mod vec_map;

pub use bounds::OutOfBounds;
pub use bucket::TokenBucket;
pub use codec::{DecodeError, Reader, VARINT_MAX, Wire, Writer};
pub use counter::{Counter, Metric, MetricKind};
pub use ecn::Ecn;
pub use generations::Generations;
pub use ids::{
    ConnectionId, EventNumber, IdMap, IdSet, InviteId, LoginNumber, MemberId, RequestId, Revision, SessionId,
    SessionKind, Slot, StreamId, UserId, WorkerId,
};
pub use number::{PacketNumber, Truncated};
pub use prefetch::{prefetch, prefetch_end};
pub use rare::{Blank, Rare};
pub use route::{Envelope, Host, Route};
pub use short::ShortBytes;
pub use span::Span;
pub use time::{Now, Timestamp, UnixTime};
pub use vec_map::VecMap;
