//! Metadata arrays, borrowed from the file. Elements are read where they stand: no alignment is
//! assumed, nothing is copied.

use core::marker::PhantomData;

use super::cursor::Cursor;
use super::error::{ParseError, Reason};
use super::skips::Skips;
use super::value::{Text, Value, ValueType};

/// An array of a metadata value. Its elements are scalars or strings, all of one type.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> {
    element_type: ValueType,
    len: usize,
    /// Of the first element, in the file.
    offset: usize,
    /// The elements as they stand in the file.
    bytes: &'a [u8],
}

/// The elements of a scalar array as numbers; see [`Array::elements`].
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a, T> {
    bytes: &'a [u8],
    element: PhantomData<T>,
}

/// The strings of an array in order; see [`Array::strings`].
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    /// What is left of the array's bytes.
    bytes: &'a [u8],
    /// Of the next string's length field, in the file.
    offset: usize,
    left: usize,
}

/// A type of array elements that have a fixed size.
pub trait Element: Copy + sealed::Sealed {
    /// The type's name in a file.
    const VALUE_TYPE: ValueType;
}

impl<'a> Array<'a> {
    /// Reads type, count and elements. A string array is walked once, unless its end is `known`.
    pub(super) fn read(cursor: &mut Cursor<'a>, known: &Skips) -> Result<Self, ParseError> {
        let here = *cursor;
        let id = cursor.u32()?;
        let element_type = ValueType::from_id(id).ok_or(here.error(Reason::ValueType(id)))?;
        if element_type == ValueType::Array {
            return Err(here.error(Reason::NestedArray));
        }
        let here = *cursor;
        let count = cursor.u64()?;
        // A string takes at least its length field.
        let size = element_type.size().unwrap_or(8) as u64;
        let error = here.error(Reason::Count { count, left: cursor.left() });
        let len = usize::try_from(count).map_err(|_| error)?;
        let least = count.checked_mul(size).filter(|&n| n <= cursor.left()).ok_or(error)?;
        let offset = cursor.offset();
        let bytes = if element_type == ValueType::Str {
            let mut end = *cursor;
            match known.end_of(offset) {
                Some(known) => end = end.moved_to(known),
                None => skip_strings(&mut end, len)?,
            }
            cursor.take(end.offset().saturating_sub(offset) as u64)?
        } else {
            cursor.take(least)?
        };
        if element_type == ValueType::Bool
            && let Some(at) = bytes.iter().position(|&byte| byte > 1)
        {
            let byte = bytes.get(at).copied().unwrap_or_default();
            return Err(ParseError::new(Reason::Bool(byte), offset.saturating_add(at)));
        }
        Ok(Array { element_type, len, offset, bytes })
    }

    /// The type of every element: a scalar or `Str`, never `Array`.
    pub fn element_type(&self) -> ValueType {
        self.element_type
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements as they stand in the file: little-endian scalars, or strings each after its
    /// length as u64.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where [`bytes`](Self::bytes) begins, from the start of the file. Fits a u32.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Element `index` of a scalar array. `None` past the end, and for strings, which cannot be
    /// reached by index without a walk: see [`strings`](Self::strings).
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        let size = self.element_type.size()?;
        let bytes = self.bytes.get(index.checked_mul(size)?..)?;
        let mut cursor = Cursor::new(bytes, 0);
        Value::read(&mut cursor, self.element_type, &Skips::default()).ok()
    }

    /// Every element in order, scalar or string.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let array = *self;
        let mut strings = self.strings();
        (0..self.len).map_while(move |index| match &mut strings {
            Some(strings) => strings.next().map(Value::Str),
            None => array.get(index),
        })
    }

    /// The elements as numbers, if they are of the type `T` exactly: `array.elements::<f32>()`.
    pub fn elements<T: Element>(&self) -> Option<Elements<'a, T>> {
        (self.element_type == T::VALUE_TYPE)
            .then_some(Elements { bytes: self.bytes, element: PhantomData })
    }

    /// The strings, if it is an array of strings.
    pub fn strings(&self) -> Option<Strings<'a>> {
        (self.element_type == ValueType::Str).then_some(Strings {
            bytes: self.bytes,
            offset: self.offset,
            left: self.len,
        })
    }
}

/// Equal bytes of one type, wherever they stand. (So NaN equals itself, unlike in a scalar.)
impl PartialEq for Array<'_> {
    fn eq(&self, other: &Self) -> bool {
        let Array { element_type, len, bytes, offset: _ } = *self;
        (element_type, len, bytes) == (other.element_type, other.len, other.bytes)
    }
}

/// Moves past `count` strings. The hot loop of opening a model: one dependent load a string.
fn skip_strings(cursor: &mut Cursor<'_>, count: usize) -> Result<(), ParseError> {
    for _ in 0..count {
        cursor.string()?;
    }
    Ok(())
}

impl<T: Element> Elements<'_, T> {
    /// None.
    pub const EMPTY: Self = Elements { bytes: &[], element: PhantomData };

    /// Elements.
    pub fn len(&self) -> usize {
        self.bytes.len().checked_div(size_of::<T::Bytes>()).unwrap_or(0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Element `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<T> {
        let size = size_of::<T::Bytes>();
        let start = index.checked_mul(size)?;
        let bytes = self.bytes.get(start..start.checked_add(size)?)?;
        T::Bytes::try_from(bytes).ok().map(T::from_le)
    }
}

impl<'a, T: Element> Elements<'a, T> {
    /// All in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + use<'a, T> {
        let elements = *self;
        let chunks = elements.bytes.chunks_exact(size_of::<T::Bytes>());
        chunks.map(|chunk| T::from_le(T::Bytes::try_from(chunk).unwrap_or_default()))
    }
}

impl<'a> Strings<'a> {
    /// Where the next string's record begins in the file: its length as u64, then its text. Fits
    /// a u32; [`Gguf::string_at`](super::Gguf::string_at) gives the string back.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = Text<'a>;

    #[inline]
    fn next(&mut self) -> Option<Text<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (len, rest) = self.bytes.split_first_chunk()?;
        let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
        let (text, rest) = rest.split_at_checked(len)?;
        self.bytes = rest;
        self.offset = self.offset.saturating_add(len).saturating_add(8);
        Some(Text::from(text))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Strings<'_> {}

mod sealed {
    /// How an element is made from its bytes.
    pub trait Sealed {
        type Bytes: for<'a> TryFrom<&'a [u8]> + Default + AsRef<[u8]>;
        fn from_le(bytes: Self::Bytes) -> Self;
        #[cfg_attr(not(feature = "alloc"), allow(dead_code))]
        fn to_le(self) -> Self::Bytes;
    }
}

macro_rules! elements {
    ($($type:ty => $variant:ident),*) => {$(
        impl Element for $type {
            const VALUE_TYPE: ValueType = ValueType::$variant;
        }
        impl sealed::Sealed for $type {
            type Bytes = [u8; size_of::<$type>()];
            #[inline]
            fn from_le(bytes: Self::Bytes) -> Self { <$type>::from_le_bytes(bytes) }
            #[inline]
            fn to_le(self) -> Self::Bytes { self.to_le_bytes() }
        }
    )*};
}
impl Element for bool {
    const VALUE_TYPE: ValueType = ValueType::Bool;
}
impl sealed::Sealed for bool {
    type Bytes = [u8; 1];
    fn from_le([byte]: [u8; 1]) -> Self {
        byte == 1
    }
    fn to_le(self) -> [u8; 1] {
        [self.into()]
    }
}

elements!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32,
    u64 => U64, i64 => I64, f64 => F64);
