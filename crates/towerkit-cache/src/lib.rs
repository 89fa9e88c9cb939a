//! Answers kept for a while, bounded in number and in age.
