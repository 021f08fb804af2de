//! Takes the graph out of instant-distance.
//!
//! Its fields are private and its search can neither filter nor change its breadth, so the links are read through the
//! only way out that it has: its serde form. This serializer writes no bytes; it collects the link numbers of
//! `Hnsw { ef_search, points, zero: Vec<[u32; 64]>, layers: Vec<Vec<[u32; 32]>> }` and refuses anything else.

use std::fmt;

use instant_distance::{Hnsw, Point};
use serde::ser::{self, Impossible, Serialize, Serializer};

/// Links of a node in the lowest layer, unused ones at the end.
pub(super) const ZERO_LINKS: usize = 64;
/// Links of a node in each layer above.
pub(super) const UPPER_LINKS: usize = 32;
/// What stands for no link.
pub(super) const NO_LINK: u32 = u32::MAX;

/// The links by order of insertion.
#[derive(Debug, Default)]
pub(super) struct Lifted {
    /// [`ZERO_LINKS`] a node.
    pub(super) zero: Vec<u32>,
    /// [`UPPER_LINKS`] a node; the lowest of these layers first.
    pub(super) uppers: Vec<Vec<u32>>,
}

/// The links of a graph that instant-distance built; `None` when its serde form is not the one of version 0.6.1.
pub(super) fn lift<P: Point + Serialize>(hnsw: &Hnsw<P>) -> Option<Lifted> {
    let mut lifted = Lifted::default();
    let lift = Lift {
        into: &mut lifted,
        place: Place::Graph,
    };
    hnsw.serialize(lift).ok()?;
    let whole = lifted.zero.len() % ZERO_LINKS == 0
        && lifted
            .uppers
            .iter()
            .all(|layer| layer.len() % UPPER_LINKS == 0);
    whole.then_some(lifted)
}

/// Which part of the graph is being given.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Graph,
    /// The points and the breadth of its search, which we have or do not want.
    Skip,
    Zero,
    Layers,
    Layer,
}

struct Lift<'a> {
    into: &'a mut Lifted,
    place: Place,
}

/// Something came that version 0.6.1 does not have.
#[derive(Debug)]
struct Unexpected;

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the serde form of instant-distance 0.6.1")
    }
}

impl std::error::Error for Unexpected {}

impl ser::Error for Unexpected {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Lift<'_> {
    fn element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Unexpected> {
        let place = match self.place {
            Place::Layers => {
                self.into.uppers.push(Vec::new());
                Place::Layer
            }
            place => place,
        };
        value.serialize(Lift {
            into: self.into,
            place,
        })
    }
}

impl ser::SerializeStruct for Lift<'_> {
    type Ok = ();
    type Error = Unexpected;

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Unexpected> {
        let place = match key {
            "zero" => Place::Zero,
            "layers" => Place::Layers,
            "points" | "ef_search" => Place::Skip,
            _ => return Err(Unexpected),
        };
        value.serialize(Lift {
            into: self.into,
            place,
        })
    }

    fn end(self) -> Result<(), Unexpected> {
        Ok(())
    }
}

impl ser::SerializeSeq for Lift<'_> {
    type Ok = ();
    type Error = Unexpected;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Unexpected> {
        self.element(value)
    }

    fn end(self) -> Result<(), Unexpected> {
        Ok(())
    }
}

impl ser::SerializeTuple for Lift<'_> {
    type Ok = ();
    type Error = Unexpected;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Unexpected> {
        self.element(value)
    }

    fn end(self) -> Result<(), Unexpected> {
        Ok(())
    }
}

macro_rules! unexpected {
    ($($name:ident($($argument:ty),*) -> $output:ty;)*) => {
        $(fn $name(self, $(_: $argument),*) -> Result<$output, Unexpected> {
            Err(Unexpected)
        })*
    };
}

impl Serializer for Lift<'_> {
    type Ok = ();
    type Error = Unexpected;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeStruct = Self;
    type SerializeTupleStruct = Impossible<(), Unexpected>;
    type SerializeTupleVariant = Impossible<(), Unexpected>;
    type SerializeMap = Impossible<(), Unexpected>;
    type SerializeStructVariant = Impossible<(), Unexpected>;

    fn serialize_u32(self, link: u32) -> Result<(), Unexpected> {
        match self.place {
            Place::Zero => self.into.zero.push(link),
            Place::Layer => self.into.uppers.last_mut().ok_or(Unexpected)?.push(link),
            Place::Graph | Place::Layers | Place::Skip => return Err(Unexpected),
        }
        Ok(())
    }

    /// The breadth of its own search: a `usize` comes as a `u64`.
    fn serialize_u64(self, _: u64) -> Result<(), Unexpected> {
        (self.place == Place::Skip).then_some(()).ok_or(Unexpected)
    }

    /// A point, which its type gives as nothing.
    fn serialize_unit(self) -> Result<(), Unexpected> {
        (self.place == Place::Skip).then_some(()).ok_or(Unexpected)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unexpected> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Unexpected> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Unexpected> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unexpected> {
        (self.place == Place::Graph)
            .then_some(self)
            .ok_or(Unexpected)
    }

    unexpected! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }

    fn serialize_some<T: ?Sized + Serialize>(self, _: &T) -> Result<(), Unexpected> {
        Err(Unexpected)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Unexpected> {
        Err(Unexpected)
    }
}
