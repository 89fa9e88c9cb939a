//! A carrier that is a list of fields.

use towerkit_trace::Carrier;

#[derive(Debug, Default)]
pub(crate) struct Message(pub(crate) Vec<(String, Vec<u8>)>);

impl Message {
    pub(crate) fn of(fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter();
        Self(
            fields
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
        )
    }

    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(found, _)| found == name);
        let value = values
            .next()
            .map(|(_, value)| str::from_utf8(value).unwrap());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }
}

impl Carrier for Message {
    fn for_each_value<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&'a [u8])) {
        for (_, value) in self.0.iter().filter(|(found, _)| found == name) {
            visit(value);
        }
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.remove(name);
        self.0.push((name.to_owned(), value.as_bytes().to_vec()));
    }

    fn remove(&mut self, name: &'static str) {
        self.0.retain(|(found, _)| found != name);
    }
}
