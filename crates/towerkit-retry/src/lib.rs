//! Retries that are safe by default, with a budget.
