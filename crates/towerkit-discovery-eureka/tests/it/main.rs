//! Eureka, by a local implementation of its REST interface.
