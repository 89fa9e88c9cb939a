//! Memory of calls that are over, for calls to come, so that in the long run nothing is allocated.

use std::cell::RefCell;

use crate::observer::More;

/// As much is kept by each thread.
const MOST: usize = 64;

thread_local! {
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    static SPARE: RefCell<Vec<Box<More>>> = const { RefCell::new(Vec::new()) };
}

/// Puts something into memory of an earlier call, if there is any.
pub(crate) fn boxed(more: More) -> Box<More> {
    // At the end of a thread there is none.
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
    match spare.ok().flatten() {
        Some(mut spare) => {
            *spare = more;
            spare
        }
        None => Box::new(more),
    }
}

/// Keeps memory for a later call; what is in it must be of no use to anybody any more.
pub(crate) fn give_back(more: Box<More>) {
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MOST {
            spare.push(more);
        }
    });
}
