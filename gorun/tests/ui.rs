//! What cannot travel is refused by the compiler, in words that name the fix.

#[test]
fn values_that_cannot_travel_are_refused_by_name() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
