//! Endpoints: one operation as a tower service.
