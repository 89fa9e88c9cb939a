use towerkit_trace::Carrier;

/// A carrier that is a list of fields.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    /// Fields whose values are what HTTP lets through; `None` if it lets one through less than whole.
    pub(crate) fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Option<Self> {
        let is_field = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
        let pairs = pairs.into_iter();
        pairs
            .map(|(name, value)| {
                let is_whole = value.iter().all(is_field);
                is_whole.then(|| (name.to_owned(), value.to_vec()))
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    /// The text of the only value, without the blanks around it.
    pub(crate) fn only(&self, name: &str) -> Option<String> {
        let values = self.0.iter().filter(|(found, _)| found == name);
        let is_only = values.count() == 1;
        is_only.then(|| self.first(name)).flatten()
    }

    /// The text of the first value, without the blanks around it.
    pub(crate) fn first(&self, name: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(found, _)| found == name)?;
        let text = String::from_utf8_lossy(value);
        Some(text.trim_matches([' ', '\t']).to_owned())
    }
}

impl Carrier for Fields {
    fn for_each_value<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&'a [u8])) {
        let values = self.0.iter().filter(|(found, _)| found == name);
        values.for_each(|(_, value)| visit(value));
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.remove(name);
        self.0.push((name.to_owned(), value.as_bytes().to_vec()));
    }

    fn remove(&mut self, name: &'static str) {
        self.0.retain(|(found, _)| found != name);
    }
}
