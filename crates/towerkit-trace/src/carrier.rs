use towerkit_core::Call;

/// Where the context of a trace travels: the fields of a request, or the headers of a message.
pub trait Carrier {
    /// Visits every value of a field, in order.
    fn for_each_value<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&'a [u8]));

    /// Sets a field, in place of all its values.
    fn set(&mut self, name: &'static str, value: &str);

    /// Takes all values of a field away.
    fn remove(&mut self, name: &'static str);
}

impl<Req> Carrier for Call<'_, Req> {
    #[inline(always)]
    fn for_each_value<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&'a [u8])) {
        self.header_values(name, visit);
    }

    #[inline(always)]
    fn set(&mut self, name: &'static str, value: &str) {
        self.set_header(name, value);
    }

    fn remove(&mut self, name: &'static str) {
        self.remove_header(name);
    }
}
