//! One way to run a model, so that all of them are bounded alike.

/// Runs `model` over all interleavings with at most three preemptions (or `LOOM_MAX_PREEMPTIONS`): enough for
/// every known bug of these protocols, and done in seconds.
pub(crate) fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(model);
}
