//! Retries that are safe by default, with a budget.

mod bank;
mod budget;
mod invalid;
mod sync;

pub use budget::{Budget, BudgetSnapshot};
pub use invalid::InvalidBudget;
