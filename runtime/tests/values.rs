//! Values of every shape come back as they went.

use gorun_runtime::{Task, go_parallel};
use gorun_test_programs::Watchdog;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Line(f64, f64),
    Named { name: String, corners: Vec<(i32, i32)>, inner: Option<Box<Shape>> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    id: u128,
    flag: bool,
    letter: char,
    note: Option<String>,
    shapes: Vec<Shape>,
    ages: HashMap<String, u8>,
    ranks: BTreeMap<i64, Vec<f32>>,
    unit: (),
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Nothing;

/// The value after a journey to a worker and back.
fn travel<T: gorun_worker::codec::Portable>(value: T) -> T {
    Task::with(value, |value: T| value).go().join().expect("the task gives its input back")
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf =
        prop_oneof![Just(Shape::Point), (-1e9..1e9_f64, -1e9..1e9_f64).prop_map(|(a, b)| Shape::Line(a, b))];
    leaf.prop_recursive(3, 8, 1, |inner| {
        (
            "\\PC{0,20}",
            prop::collection::vec(any::<(i32, i32)>(), 0..20),
            prop::option::of(inner.prop_map(Box::new)),
        )
            .prop_map(|(name, corners, inner)| Shape::Named { name, corners, inner })
    })
}

prop_compose! {
    fn record()(
        id in any::<u128>(), flag in any::<bool>(), letter in any::<char>(),
        note in prop::option::of("\\PC{0,60}"),
        shapes in prop::collection::vec(shape(), 0..6),
        ages in prop::collection::hash_map("[a-z]{0,12}", any::<u8>(), 0..20),
        ranks in prop::collection::btree_map(any::<i64>(), prop::collection::vec(-1e6..1e6_f32, 0..30), 0..6),
    ) -> Record {
        Record { id, flag, letter, note, shapes, ages, ranks, unit: () }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_back_equal(record in record()) {
        let _watchdog = Watchdog::start("records_come_back_equal");
        prop_assert_eq!(travel(record.clone()), record);
    }

    #[test]
    fn strings_come_back_equal(text in "\\PC{0,400}") {
        let _watchdog = Watchdog::start("strings_come_back_equal");
        prop_assert_eq!(travel(text.clone()), text);
    }

    #[test]
    fn numbers_come_back_bit_by_bit(bits in prop::collection::vec(any::<u64>(), 0..200)) {
        let _watchdog = Watchdog::start("numbers_come_back_bit_by_bit");
        let floats: Vec<f64> = bits.iter().copied().map(f64::from_bits).collect();
        let back: Vec<u64> = travel(floats).into_iter().map(f64::to_bits).collect();
        prop_assert_eq!(back, bits);
    }

    #[test]
    fn bytes_of_any_length_come_back_equal(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        let _watchdog = Watchdog::start("bytes_of_any_length_come_back_equal");
        prop_assert_eq!(travel(bytes.clone()), bytes);
    }

    #[test]
    fn nested_collections_come_back_equal(texts in prop::collection::vec(prop::collection::vec("\\PC{0,9}", 0..9), 0..9)) {
        let _watchdog = Watchdog::start("nested_collections_come_back_equal");
        prop_assert_eq!(travel(texts.clone()), texts);
    }
}

#[test]
fn units_and_empty_values_come_back() {
    let _watchdog = Watchdog::start("units_and_empty_values_come_back");
    assert_eq!(go_parallel(|| ()).join(), Ok(()));
    assert_eq!(travel(Nothing), Nothing);
    assert_eq!(travel(String::new()), "");
    assert_eq!(travel(Vec::<u8>::new()), []);
    assert_eq!(travel(Vec::<f64>::new()), []);
    assert_eq!(travel(Vec::<String>::new()), Vec::<String>::new());
    assert_eq!(travel(None::<String>), None);
    assert_eq!(travel(Err::<u8, String>("no".to_owned())), Err("no".to_owned()));
}

#[test]
fn results_of_every_size_around_the_inline_one_come_back() {
    let _watchdog = Watchdog::start("results_of_every_size_around_the_inline_one_come_back");
    // 32 bytes lie in the slot, 33 in a block.
    for length in 0..=70_u8 {
        let made: Vec<u8> =
            Task::with(length, |length| (0..length).collect::<Vec<u8>>()).go().join().unwrap();
        assert_eq!(made, (0..length).collect::<Vec<u8>>());
    }
    assert_eq!(go_parallel(|| [7_u64; 4]).join(), Ok([7; 4]));
    assert_eq!(go_parallel(|| ([7_u64; 4], 8_u8)).join(), Ok(([7; 4], 8)));
    assert_eq!(go_parallel(|| "a".repeat(32)).join(), Ok("a".repeat(32)));
    assert_eq!(go_parallel(|| "a".repeat(33)).join(), Ok("a".repeat(33)));
}

#[test]
fn inputs_of_every_size_around_the_inline_one_arrive() {
    let _watchdog = Watchdog::start("inputs_of_every_size_around_the_inline_one_arrive");
    for length in 0..=70_usize {
        let text = "x".repeat(length);
        assert_eq!(Task::with(text, |text: String| text.len()).go().join(), Ok(length));
    }
    let arrived = Task::with(([1_u64; 4], 2_u8), |(words, byte): ([u64; 4], u8)| {
        words.iter().sum::<u64>() + u64::from(byte)
    });
    assert_eq!(arrived.go().join(), Ok(6));
}

#[test]
fn numbers_of_every_width_come_back() {
    let _watchdog = Watchdog::start("numbers_of_every_width_come_back");
    assert_eq!(travel(vec![i8::MIN, 0, i8::MAX]), [i8::MIN, 0, i8::MAX]);
    assert_eq!(travel(vec![u16::MAX; 100]), [u16::MAX; 100]);
    assert_eq!(travel(vec![i32::MIN; 100]), [i32::MIN; 100]);
    assert_eq!(travel(vec![u128::MAX; 100]), [u128::MAX; 100]);
    assert_eq!(travel(vec![f32::MIN_POSITIVE; 100]), [f32::MIN_POSITIVE; 100]);
    assert_eq!(travel((u8::MAX, i128::MIN, f32::NAN.to_bits())), (u8::MAX, i128::MIN, f32::NAN.to_bits()));
}

#[test]
fn thirty_two_mebibytes_come_back_equal() {
    let _watchdog = Watchdog::start("thirty_two_mebibytes_come_back_equal");
    let numbers: Vec<u64> = (0..4 << 20).collect();
    assert!(travel(numbers.clone()) == numbers);
}
