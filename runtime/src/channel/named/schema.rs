//! Schema: what a type looks like on the wire, as a number that two programs compare before they exchange values.
//!
//! The number is taken from what the type's `Deserialize` asks for: numbers and their widths, names of structs, fields and
//! variants, their order, lengths of tuples. It is the same for two builds of the same source, and for two copies of a type
//! in two programs: paths of modules and crates do not count. What is asked for only after a value was looked at and
//! refused (a text that must parse, say) is not seen, nor is a change of meaning.

use gorun_worker::codec::{self, Portable};
use serde::de::value::Error;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// How often a type is gone through, so that each variant of its enums is seen.
const PASSES_MAX: usize = 256;
/// Questions of a type that are listened to: more than any that is written by hand asks.
const STEPS_MAX: usize = 20_000;
/// A struct inside itself is followed so deep.
const NESTED_MAX: usize = 3;
/// Nothing else is followed deeper than this.
const DEPTH_MAX: usize = 128;

/// The schema of `T`; `version` is what the user adds.
pub(super) fn of<T: Portable>(version: &str) -> u64 {
    let mut trace = Trace::default();
    trace.say("gorun schema 1");
    trace.say(version);
    trace.say(if codec::is_copied_whole::<T>() { "whole" } else { "encoded" });
    for _ in 0..PASSES_MAX {
        trace.say("pass");
        trace.structs.clear();
        trace.depth = 0;
        if T::deserialize(Probe(&mut trace)).is_err() {
            trace.say("refused");
        }
        if trace.steps >= STEPS_MAX || trace.enums.iter().all(|((_, variants), seen)| *seen >= variants.len())
        {
            break;
        }
    }
    trace.hash.digest()
}

#[derive(Default)]
struct Trace {
    hash: Xxh3,
    steps: usize,
    depth: usize,
    /// Structs that are being gone through.
    structs: Vec<&'static str>,
    /// How often each enum was met: each time the next variant is gone through.
    enums: BTreeMap<(&'static str, &'static [&'static str]), usize>,
}

impl Trace {
    fn say(&mut self, word: &str) {
        self.steps += 1;
        self.hash.update(&(word.len() as u64).to_le_bytes());
        self.hash.update(word.as_bytes());
    }

    fn step(&mut self, word: &str) -> Result<(), Error> {
        self.say(word);
        if self.steps >= STEPS_MAX || self.depth >= DEPTH_MAX {
            return Err(Error::custom("the type has no end"));
        }
        Ok(())
    }

    /// True inside a struct that holds itself: what can be left out is.
    fn is_deep(&self) -> bool {
        let inner = self.structs.last();
        inner.is_some_and(|inner| self.structs.iter().filter(|name| *name == inner).count() >= NESTED_MAX)
    }
}

/// Answers whatever a type asks for with the smallest thing there is, and notes the question.
struct Probe<'a>(&'a mut Trace);

macro_rules! plain {
    ($($method:ident $visit:ident $value:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.0.step(stringify!($visit))?;
            visitor.$visit($value)
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    // 1 and not 0: there are numbers that are never 0.
    plain! {
        deserialize_bool visit_bool false;
        deserialize_i8 visit_i8 1;
        deserialize_i16 visit_i16 1;
        deserialize_i32 visit_i32 1;
        deserialize_i64 visit_i64 1;
        deserialize_i128 visit_i128 1;
        deserialize_u8 visit_u8 1;
        deserialize_u16 visit_u16 1;
        deserialize_u32 visit_u32 1;
        deserialize_u64 visit_u64 1;
        deserialize_u128 visit_u128 1;
        deserialize_f32 visit_f32 1.0;
        deserialize_f64 visit_f64 1.0;
        deserialize_char visit_char 'a';
        deserialize_str visit_str "a";
        deserialize_string visit_str "a";
        deserialize_bytes visit_bytes &[];
        deserialize_byte_buf visit_bytes &[];
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        self.0.say("any");
        Err(Error::custom("a format that tells types apart is asked for"))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.step("unit")?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.step("option")?;
        if self.0.is_deep() {
            return visitor.visit_none();
        }
        self.0.depth += 1;
        let value = visitor.visit_some(Probe(self.0));
        self.0.depth -= 1;
        value
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.step("unit struct")?;
        self.0.step(name)?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.step("newtype struct")?;
        self.0.step(name)?;
        within(self.0, name, |trace| visitor.visit_newtype_struct(Probe(trace)))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.step("sequence")?;
        let left = usize::from(!self.0.is_deep());
        visitor.visit_seq(Parts { trace: self.0, left })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.step("map")?;
        let left = usize::from(!self.0.is_deep());
        visitor.visit_map(Parts { trace: self.0, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.0.step("tuple")?;
        self.0.step(&length.to_string())?;
        visitor.visit_seq(Parts { trace: self.0, left: length })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.step(name)?;
        within(self.0, name, |trace| Probe(trace).deserialize_tuple(length, visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.step("struct")?;
        self.0.step(name)?;
        for field in fields {
            self.0.step(field)?;
        }
        within(self.0, name, |trace| visitor.visit_seq(Parts { trace, left: fields.len() }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.step("enum")?;
        self.0.step(name)?;
        for variant in variants {
            self.0.step(variant)?;
        }
        let met = self.0.enums.entry((name, variants)).or_default();
        let Some(index) = met.checked_rem(variants.len()) else {
            return Err(Error::custom("an enum without variants has no value"));
        };
        *met += 1;
        visitor.visit_enum(Variant { trace: self.0, index })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

fn within<R>(
    trace: &mut Trace,
    name: &'static str,
    go: impl FnOnce(&mut Trace) -> Result<R, Error>,
) -> Result<R, Error> {
    trace.structs.push(name);
    trace.depth += 1;
    let value = go(trace);
    trace.depth -= 1;
    trace.structs.pop();
    value
}

/// So many elements, entries or fields.
struct Parts<'a> {
    trace: &'a mut Trace,
    left: usize,
}

impl Parts<'_> {
    fn part<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.trace.depth += 1;
        let value = seed.deserialize(Probe(self.trace));
        self.trace.depth -= 1;
        value
    }
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.part(seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.part(seed)
    }
}

struct Variant<'a> {
    trace: &'a mut Trace,
    index: usize,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let index = u32::try_from(self.index).map_err(Error::custom)?;
        self.trace.step(&index.to_string())?;
        let value = seed.deserialize(serde::de::value::U32Deserializer::<Error>::new(index))?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.trace.step("unit")
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        self.trace.step("newtype")?;
        Parts { trace: self.trace, left: 1 }.part(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        Probe(self.trace).deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        for field in fields {
            self.trace.step(field)?;
        }
        visitor.visit_seq(Parts { trace: self.trace, left: fields.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::of;
    use serde::{Deserialize, Serialize};
    use std::collections::{BTreeMap, VecDeque};

    mod one {
        use serde::{Deserialize, Serialize};

        #[derive(Serialize, Deserialize)]
        pub(super) struct Order {
            pub(super) id: u64,
            pub(super) what: Vec<(String, u32)>,
            pub(super) kind: Kind,
        }

        #[derive(Serialize, Deserialize)]
        pub(super) enum Kind {
            Buy,
            Sell { price: f64 },
            Swap(Box<Order>),
        }
    }

    /// Written once more, as another program would have it.
    mod other {
        use serde::{Deserialize, Serialize};

        #[derive(Serialize, Deserialize)]
        pub(super) struct Order {
            pub(super) id: u64,
            pub(super) what: VecDequeOfPairs,
            pub(super) kind: Kind,
        }

        pub(super) type VecDequeOfPairs = std::collections::VecDeque<(String, u32)>;

        #[derive(Serialize, Deserialize)]
        pub(super) enum Kind {
            Buy,
            Sell { price: f64 },
            Swap(Box<Order>),
        }
    }

    mod changed {
        use serde::{Deserialize, Serialize};

        #[derive(Serialize, Deserialize)]
        pub(super) struct Order {
            pub(super) id: u64,
            pub(super) what: Vec<(String, u32)>,
            pub(super) kind: Kind,
        }

        #[derive(Serialize, Deserialize)]
        pub(super) enum Kind {
            Buy,
            /// The one difference.
            Sell {
                price: f32,
            },
            Swap(Box<Order>),
        }
    }

    #[test]
    fn a_type_that_is_written_twice_has_one_schema() {
        assert_eq!(of::<one::Order>(""), of::<other::Order>(""));
        assert_eq!(of::<one::Order>(""), of::<one::Order>(""));
    }

    #[test]
    fn a_difference_deep_inside_is_seen() {
        assert_ne!(of::<one::Order>(""), of::<changed::Order>(""));
        assert_ne!(of::<Vec<one::Kind>>(""), of::<Vec<changed::Kind>>(""));
        assert_ne!(of::<BTreeMap<u8, Option<one::Kind>>>(""), of::<BTreeMap<u8, Option<changed::Kind>>>(""));
    }

    #[test]
    fn different_types_have_different_schemas() {
        #[derive(Serialize, Deserialize)]
        struct Meters(f64);
        #[derive(Serialize, Deserialize)]
        struct Feet(f64);
        let all = [
            of::<u8>(""),
            of::<i8>(""),
            of::<u64>(""),
            of::<f64>(""),
            of::<(u64, u32)>(""),
            of::<(u32, u64)>(""),
            of::<[u64; 3]>(""),
            of::<[u64; 4]>(""),
            of::<String>(""),
            of::<Vec<u8>>(""),
            of::<Vec<u32>>(""),
            // Encoded in another way than `Vec<u32>`, although serde is asked for the same.
            of::<VecDeque<u32>>(""),
            of::<Option<u32>>(""),
            of::<BTreeMap<u32, u32>>(""),
            of::<Meters>(""),
            of::<Feet>(""),
            of::<()>(""),
            of::<u8>("2"),
        ];
        let distinct: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn types_without_end_and_types_that_refuse_have_a_schema() {
        #[derive(Serialize, Deserialize)]
        struct Tree {
            left: Option<Box<Tree>>,
            right: Option<Box<Tree>>,
            leaves: Vec<Tree>,
        }
        #[derive(Serialize, Deserialize)]
        enum Endless {
            More(Box<Endless>),
        }
        let all = [
            of::<Tree>(""),
            of::<Endless>(""),
            of::<std::num::NonZeroU8>(""),
            of::<std::net::IpAddr>(""),
            of::<std::time::Duration>(""),
            of::<serde_json::Value>(""),
        ];
        let distinct: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
