//! The shapes that hold others: lists, maps, sections, and one or the other.

use super::problem::{Spot, did_you_mean};
use super::reader::{Cursor, ReadSection, Shape, describe, read_section};
use super::schema::Schema;
use super::tree::{Entry, Node, Value};

/// A list; items that are wrong are reported and left out.
pub(super) struct List<S>(pub(super) S);

impl<S: Shape> Shape for List<S> {
    type Out = Vec<S::Out>;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Vec<S::Out>> {
        let Value::List(items) = &at.node.value else {
            return at.refuse(format!("expected a list, found {}", at.node.kind()));
        };
        let read = |(index, item)| self.0.read(&mut at.below(item, &format!("[{index}]")));
        Some(items.iter().enumerate().filter_map(read).collect())
    }

    fn schema(&self) -> Schema {
        Schema::List(Box::new(self.0.schema()))
    }
}

/// A map with keys of the user's own, in the order of writing; a value that is wrong is reported and `None`, so that
/// its name is still known.
pub(super) struct Map<S>(pub(super) S);

/// One entry of a [`Map`]: its name, where its value stands, and the value.
pub(super) type Named<T> = (String, Spot, Option<T>);

impl<S: Shape> Shape for Map<S> {
    type Out = Vec<Named<S::Out>>;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Self::Out> {
        let Value::Map(entries) = &at.node.value else {
            return at.refuse(format!("expected a map, found {}", at.node.kind()));
        };
        let read = |Entry { key, node, .. }: &Entry| {
            let mut below = at.below(node, key);
            (key.clone(), below.spot(), self.0.read(&mut below))
        };
        Some(entries.iter().map(read).collect())
    }

    fn schema(&self) -> Schema {
        Schema::Map(Box::new(self.0.schema()))
    }
}

/// A section, read by a function.
pub(super) struct Sub<T>(pub(super) ReadSection<T>);

impl<T> Shape for Sub<T> {
    type Out = T;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<T> {
        read_section(at, self.0)
    }

    fn schema(&self) -> Schema {
        Schema::Section(describe(self.0))
    }
}

/// A section of one of several kinds, told apart by the key `type`.
pub(super) struct ByType<T: 'static>(pub(super) &'static [(&'static str, ReadSection<T>)]);

impl<T> Shape for ByType<T> {
    type Out = T;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<T> {
        let kinds = || self.0.iter().map(|(kind, _)| *kind);
        let Value::Map(entries) = &at.node.value else {
            return at.refuse(format!("expected a map, found {}", at.node.kind()));
        };
        let listed = kinds().collect::<Vec<_>>().join(", ");
        let Some(entry) = entries.iter().find(|entry| entry.key == "type") else {
            return at.refuse(format!("the key \"type\" is missing: one of {listed}"));
        };
        let mut below = at.below(&entry.node, "type");
        let kind = below.text()?;
        let Some((_, section)) = self.0.iter().find(|(word, _)| *word == kind) else {
            let hint = did_you_mean(&kind, kinds());
            return below.refuse(format!("\"{kind}\" is not one of {listed}{hint}"));
        };
        // The section itself does not know the key that chose it.
        let rest: Vec<Entry> = entries.iter().filter(|entry| entry.key != "type").cloned().collect();
        let node = Node { value: Value::Map(rest), ..*at.node };
        let path = at.path.clone();
        read_section(&mut Cursor { node: &node, path, context: at.context }, *section)
    }

    fn schema(&self) -> Schema {
        let kinds = self.0.iter().map(|(kind, section)| (*kind, describe(*section))).collect();
        Schema::Tagged { tag: "type", kinds }
    }
}

/// A plain value in the first shape, or a map in the second.
pub(super) struct Either<A, B>(pub(super) A, pub(super) B);

impl<T, A: Shape<Out = T>, B: Shape<Out = T>> Shape for Either<A, B> {
    type Out = T;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<T> {
        match at.node.value {
            Value::Map(_) => self.1.read(at),
            _ => self.0.read(at),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Either(Box::new(self.0.schema()), Box::new(self.1.schema()))
    }
}

/// A list, or one item without its brackets, as IAM writes them.
pub(super) struct OneOrMany<S>(pub(super) S);

impl<S: Shape> Shape for OneOrMany<S> {
    type Out = Vec<S::Out>;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Vec<S::Out>> {
        match &at.node.value {
            Value::List(items) if items.is_empty() => at.refuse("the list is empty"),
            Value::List(items) => {
                let read = |(index, item)| self.0.read(&mut at.below(item, &format!("[{index}]")));
                // All of them first, so that each tells what is wrong with it.
                let items: Vec<Option<S::Out>> = items.iter().enumerate().map(read).collect();
                items.into_iter().collect()
            }
            _ => self.0.read(at).map(|item| vec![item]),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Either(Box::new(self.0.schema()), Box::new(Schema::List(Box::new(self.0.schema()))))
    }
}
