//! Tests that need more than an ordinary user has.

use crate::cache::note;

/// Whether this process is root. A test that needs to be returns when it is not: that has been said then.
///
/// ```no_run
/// if !standpipe_testkit::has_root() {
///     return;
/// }
/// ```
///
/// # Panics
/// When it is not and `STANDPIPE_REQUIRE_ALL` is `1`, as in CI, where every test has to run.
pub fn has_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        let required = std::env::var_os("STANDPIPE_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "needs root, and STANDPIPE_REQUIRE_ALL=1 wants every test to run");
        note("not run: needs root");
    }
    root
}
