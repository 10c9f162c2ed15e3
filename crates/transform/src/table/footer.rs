//! The footer of a Parquet file, looked through before the reader of Parquet sees it: that one takes memory for as many
//! things as the footer says there are, and calls itself as deep as the footer says they lie in each other. Where there
//! are not that many bytes, or they lie too deep, the process would end.
//!
//! # Invariants
//! What this accepts, the reader reads in the same way: what either knows has the type that both take it for, and fields
//! come in their order, once each. So each list has the things that it says it has.

/// The most bytes of a footer. What becomes of it in memory is some tens of times as much.
const FOOTER_BYTES_MAX: usize = 16 << 20;
/// The most things of a list, such as columns or row groups (of which the reader takes no more than 32,767).
const LIST_MAX: usize = 1 << 16;
/// How deep things lie in each other, and columns.
const DEPTH_MAX: usize = 64;
/// The most bytes of the full names of all columns, each with the names of all that it is in.
const PATH_BYTES_MAX: usize = 64 << 20;

/// What is wrong with a footer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum FooterError {
    /// It does not end as Parquet does.
    #[error("it does not end as Parquet does")]
    NoFooter,
    /// It has more bytes, or things in a list, than is taken.
    #[error("its footer is larger than is taken")]
    TooLarge,
    /// It is cut off.
    #[error("its footer ends too early")]
    CutOff,
    /// Things lie in each other too deep.
    #[error("its footer has more than {DEPTH_MAX} levels")]
    TooDeep,
    /// A field is not what Parquet has there.
    #[error("its footer has a field that Parquet does not have there")]
    Field,
    /// The columns do not come to a tree.
    #[error("the columns in its footer are no tree")]
    Schema,
}

/// What is written for a thing in Thrift's compact protocol.
enum Wire {
    Bool,
    Byte,
    Int,
    Double,
    Binary,
    List(&'static Wire),
    Struct(&'static [(i16, Wire)]),
    /// The columns, as a list; of each, its name and how many are in it.
    Columns,
    Name,
    Children,
}

use Wire::{Binary, Bool, Byte, Children, Columns, Double, Int, List, Name, Struct};

const NOTHING: Wire = Struct(&[]);
const UNIT: Wire = Struct(&[(1, NOTHING), (2, NOTHING), (3, NOTHING)]);
const TIME: Wire = Struct(&[(1, Bool), (2, UNIT)]);
const LOGICAL_TYPE: Wire = Struct(&[
    (1, NOTHING),
    (2, NOTHING),
    (3, NOTHING),
    (4, NOTHING),
    (5, Struct(&[(1, Int), (2, Int)])),
    (6, NOTHING),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (11, NOTHING),
    (12, NOTHING),
    (13, NOTHING),
    (14, NOTHING),
    (15, NOTHING),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Binary)])),
    (18, Struct(&[(1, Binary), (2, Int)])),
]);
const COLUMN: &[(i16, Wire)] = &[
    (1, Int),
    (2, Int),
    (3, Int),
    (4, Name),
    (5, Children),
    (6, Int),
    (7, Int),
    (8, Int),
    (9, Int),
    (10, LOGICAL_TYPE),
];
const KEY_VALUE: Wire = Struct(&[(1, Binary), (2, Binary)]);
const STATISTICS: Wire =
    Struct(&[(1, Binary), (2, Binary), (3, Int), (4, Int), (5, Binary), (6, Binary), (7, Bool), (8, Bool)]);
const BOX: Wire = Struct(&[
    (1, Double),
    (2, Double),
    (3, Double),
    (4, Double),
    (5, Double),
    (6, Double),
    (7, Double),
    (8, Double),
]);
const META_DATA: Wire = Struct(&[
    (1, Int),
    (2, List(&Int)),
    (3, List(&Binary)),
    (4, Int),
    (5, Int),
    (6, Int),
    (7, Int),
    (8, List(&KEY_VALUE)),
    (9, Int),
    (10, Int),
    (11, Int),
    (12, STATISTICS),
    (13, List(&Struct(&[(1, Int), (2, Int), (3, Int)]))),
    (14, Int),
    (15, Int),
    (16, Struct(&[(1, Int), (2, List(&Int)), (3, List(&Int))])),
    (17, Struct(&[(1, BOX), (2, List(&Int))])),
]);
const CHUNK: Wire = Struct(&[(1, Binary), (2, Int), (3, META_DATA), (4, Int), (5, Int), (6, Int), (7, Int)]);
const ROW_GROUP: Wire = Struct(&[
    (1, List(&CHUNK)),
    (2, Int),
    (3, Int),
    (4, List(&Struct(&[(1, Int), (2, Bool), (3, Bool)]))),
    (5, Int),
    (6, Int),
    (7, Int),
]);
const FILE: Wire = Struct(&[
    (1, Int),
    (2, Columns),
    (3, Int),
    (4, List(&ROW_GROUP)),
    (5, List(&KEY_VALUE)),
    (6, Binary),
    (7, List(&Struct(&[(1, NOTHING), (2, NOTHING)]))),
]);

/// Looks through the footer of a file.
pub(super) fn check(file: &[u8]) -> Result<(), FooterError> {
    let (rest, end) = file.split_last_chunk::<8>().ok_or(FooterError::NoFooter)?;
    let (length, magic) = end.split_at(4);
    if magic != b"PAR1" {
        return Err(FooterError::NoFooter);
    }
    let length = u32::from_le_bytes(length.try_into().map_err(|_| FooterError::NoFooter)?) as usize;
    if length > FOOTER_BYTES_MAX {
        return Err(FooterError::TooLarge);
    }
    let from = rest.len().checked_sub(length).ok_or(FooterError::CutOff)?;
    let mut walk = Walk { left: &rest[from..], columns: Vec::new() };
    walk.walk(12, Some(&FILE), DEPTH_MAX)?;
    check_columns(&walk.columns)
}

/// The columns are a tree of few levels, so that all their full names together are not much.
fn check_columns(columns: &[(usize, usize)]) -> Result<(), FooterError> {
    // Of each group that is open: how many are still to come in it, and the bytes of its full name.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut left = PATH_BYTES_MAX;
    for (at, (name, children)) in columns.iter().enumerate() {
        let path = open.last().map_or(0, |(_, path)| *path) + name + 1;
        left = left.checked_sub(path).ok_or(FooterError::TooLarge)?;
        if let Some((to_come, _)) = open.last_mut() {
            *to_come -= 1;
        }
        if *children > columns.len() - at - 1 {
            return Err(FooterError::Schema);
        }
        open.push((*children, path));
        if open.len() > DEPTH_MAX {
            return Err(FooterError::TooDeep);
        }
        while open.pop_if(|(to_come, _)| *to_come == 0).is_some() {}
    }
    Ok(())
}

struct Walk<'a> {
    left: &'a [u8],
    /// Of each column, in their order: the bytes of its name, and how many are in it.
    columns: Vec<(usize, usize)>,
}

impl Walk<'_> {
    fn skip(&mut self, bytes: usize) -> Result<(), FooterError> {
        self.left = self.left.get(bytes..).ok_or(FooterError::CutOff)?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, FooterError> {
        let byte = *self.left.first().ok_or(FooterError::CutOff)?;
        self.skip(1)?;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, FooterError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(FooterError::Field)
    }

    fn signed(&mut self) -> Result<i64, FooterError> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn binary(&mut self) -> Result<usize, FooterError> {
        let length = usize::try_from(self.varint()?).map_err(|_| FooterError::CutOff)?;
        self.skip(length)?;
        Ok(length)
    }

    /// Goes over a thing that says to be of the type `wire`, which has to be what is `wanted` there.
    fn walk(&mut self, wire: u8, wanted: Option<&Wire>, depth: usize) -> Result<(), FooterError> {
        let depth = depth.checked_sub(1).ok_or(FooterError::TooDeep)?;
        match (wire, wanted) {
            (1 | 2, Some(Bool) | None) => Ok(()),
            (3, Some(Byte) | None) => self.skip(1),
            (4..=6, Some(Int) | None) => self.varint().map(drop),
            (4..=6, Some(Children)) => {
                let children = usize::try_from(self.signed()?).map_err(|_| FooterError::Schema)?;
                self.columns.last_mut().ok_or(FooterError::Field)?.1 = children;
                Ok(())
            }
            (7, Some(Double) | None) => self.skip(8),
            (8, Some(Binary) | None) => self.binary().map(drop),
            (8, Some(Name)) => {
                let name = self.binary()?;
                self.columns.last_mut().ok_or(FooterError::Field)?.0 = name;
                Ok(())
            }
            (9, Some(Columns)) => self.list(Some(&Struct(COLUMN)), depth, true),
            (9, Some(List(of))) => self.list(Some(of), depth, false),
            (9, None) => self.list(None, depth, false),
            (12, Some(Struct(fields))) => self.fields(fields, depth),
            (12, None) => self.fields(&[], depth),
            _ => Err(FooterError::Field),
        }
    }

    fn list(&mut self, of: Option<&Wire>, depth: usize, is_columns: bool) -> Result<(), FooterError> {
        let head = self.byte()?;
        let (count, wire) = (head >> 4, head & 0xf);
        let count = if count == 15 { self.varint()? } else { u64::from(count) };
        let count = usize::try_from(count).map_err(|_| FooterError::TooLarge)?;
        if count > LIST_MAX {
            return Err(FooterError::TooLarge);
        }
        if count > 0 && wire < 3 {
            // Of the writers, some have a byte for each truth and some have not; Parquet has no such list here.
            return Err(FooterError::Field);
        }
        for _ in 0..count {
            if is_columns {
                self.columns.push((0, 0));
            }
            self.walk(wire, of, depth)?;
        }
        Ok(())
    }

    fn fields(&mut self, known: &[(i16, Wire)], depth: usize) -> Result<(), FooterError> {
        let mut last = 0_i16;
        loop {
            let head = self.byte()?;
            let (delta, wire) = (i16::from(head >> 4), head & 0xf);
            if wire == 0 {
                return Ok(());
            }
            let id = match delta {
                0 => i16::try_from(self.signed()?).ok().filter(|id| *id > last.saturating_add(15)),
                delta => last.checked_add(delta),
            };
            last = id.ok_or(FooterError::Field)?;
            let wanted = known.iter().find(|(id, _)| *id == last).map(|(_, wanted)| wanted);
            self.walk(wire, wanted, depth)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(footer: &[u8]) -> Vec<u8> {
        let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
        [b"PAR1", footer, &length, b"PAR1"].concat()
    }

    /// A footer with one column list, whose columns have these names and so many in them.
    fn columns(of: &[(&str, u8)]) -> Vec<u8> {
        let mut footer = vec![0x29, 0xfc];
        let mut count = of.len();
        while count > 0x7f {
            footer.push(u8::try_from(count & 0x7f).unwrap() | 0x80);
            count >>= 7;
        }
        footer.push(u8::try_from(count).unwrap());
        for (name, children) in of {
            footer.extend([0x48, u8::try_from(name.len()).unwrap()]);
            footer.extend(name.as_bytes());
            footer.extend([0x15, children * 2, 0]);
        }
        footer.push(0);
        file(&footer)
    }

    #[test]
    fn what_says_to_be_more_than_there_is_or_deeper_than_may_be_is_refused() {
        assert_eq!(check(b"PAR1"), Err(FooterError::NoFooter));
        assert_eq!(check(&file(&[])), Err(FooterError::CutOff));
        assert_eq!(check(&[b"PAR1", &[0xff; 3][..], &[0], b"PAR1"].concat()), Err(FooterError::CutOff));
        let many = [0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07];
        assert_eq!(check(&file(&many)), Err(FooterError::TooLarge), "2,147,483,647 columns");
        assert_eq!(check(&file(&[0x29, 0xfc, 0x10, 0])), Err(FooterError::CutOff));
        assert_eq!(check(&file(&[0x28, 0x02, 0, 0, 0])), Err(FooterError::Field), "columns that are bytes");
        assert_eq!(check(&file(&[0x39, 0xf1, 0xff, 0x7f])), Err(FooterError::Field));
        let deep = [[0xac].repeat(100), vec![0; 101]].concat();
        assert_eq!(check(&file(&deep)), Err(FooterError::TooDeep), "of something unknown");
    }

    #[test]
    fn columns_are_a_tree_of_few_levels() {
        assert_eq!(check(&columns(&[("root", 2), ("a", 1), ("b", 0), ("c", 0)])), Ok(()));
        assert_eq!(check(&columns(&[("root", 63), ("a", 0)])), Err(FooterError::Schema));
        let line = |depth: usize| columns(&[vec![("x", 1); depth], vec![("y", 0)]].concat());
        assert_eq!(check(&line(63)), Ok(()));
        assert_eq!(check(&line(64)), Err(FooterError::TooDeep));
    }
}
