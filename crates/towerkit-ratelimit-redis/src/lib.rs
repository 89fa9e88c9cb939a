//! The quota of towerkit-ratelimit shared by many processes, on Redis.
