use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// Memory that is written to: each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    /// Takes what has been written since the last time.
    ///
    /// # Panics
    ///
    /// If that is not UTF-8.
    #[must_use]
    pub fn take(&self) -> String {
        let written = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8(written).expect("lines are UTF-8")
    }
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        page.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
