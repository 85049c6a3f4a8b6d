//! What API and threads share, and what needs neither: the coordinator's inbox, the published snapshot, the status, the
//! factory of pipelines, settings, clock and trace. Nothing here imports from above.

pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod inbox;
pub(crate) mod pipeline;
pub(crate) mod published;
pub(crate) mod spawn;
pub(crate) mod status;
pub(crate) mod trace;
