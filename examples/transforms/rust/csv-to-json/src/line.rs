//! Lines of CSV to JSON objects, one by one. It knows nothing of functions, so that it can be tested by itself.

use csv_core::{ReadRecordResult, Reader};

pub struct Lines {
    /// Each as the beginning of a member: `"name":`.
    columns: Vec<String>,
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Lines {
    /// `columns` are names with commas between them.
    pub fn new(columns: &str) -> Self {
        let member = |name: &str| serde_json::Value::from(name).to_string() + ":";
        let columns: Vec<String> = columns.split(',').map(member).collect();
        // One more, to see that there are too many.
        let ends = vec![0; columns.len() + 1];
        Self { columns, reader: Reader::new(), text: Vec::new(), ends }
    }

    /// The object, or nothing if the line is empty.
    ///
    /// # Errors
    /// In words, what is wrong with the line.
    pub fn object_of(&mut self, line: &[u8]) -> Result<Option<Vec<u8>>, String> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let fields = self.read(line)?;
        if fields != self.columns.len() {
            return Err(format!(
                "{} columns are named, and the line has {fields} fields",
                self.columns.len()
            ));
        }
        let mut object = Vec::with_capacity(2 * line.len());
        let mut begin = 0;
        for (column, end) in self.columns.iter().zip(&self.ends) {
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.extend_from_slice(column.as_bytes());
            let field = str::from_utf8(&self.text[begin..*end]).map_err(|error| error.to_string())?;
            serde_json::to_writer(&mut object, field).map_err(|error| error.to_string())?;
            begin = *end;
        }
        object.push(b'}');
        Ok(Some(object))
    }

    /// How many fields the line has; their text is in `text`, up to where `ends` says.
    fn read(&mut self, line: &[u8]) -> Result<usize, String> {
        self.text.resize(line.len(), 0);
        self.reader.reset();
        let (mut result, read, text, mut fields) =
            self.reader.read_record(line, &mut self.text, &mut self.ends);
        if let ReadRecordResult::InputEmpty = result {
            // That there is no more ends the last field.
            let (end, _, _, more) =
                self.reader.read_record(&[], &mut self.text[text..], &mut self.ends[fields..]);
            (result, fields) = (end, fields + more);
        }
        match result {
            ReadRecordResult::Record if line[read..].trim_ascii().is_empty() => Ok(fields),
            _ => Err("it is not one line of CSV, or has more fields than columns are named".to_owned()),
        }
    }
}
