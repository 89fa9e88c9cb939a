//! Wrong uses of towerkit: `ui/` holds them, each with the message that tells what to add.
