//! What the safe API costs and gains, measured in one process each; see the package `bench`.

use crate::Result;
use crate::shell::{cargo, command, run, target};

/// `cargo xtask bench-safe`.
pub(crate) fn run_all() -> Result {
    run(cargo().args(["build", "--release", "-p", "vixdisklib-bench"]))?;
    let built = target().join("release");
    let program = built.join("bench_safe");
    run(command(&program).arg("call"))?;
    for mode in ["late", "inline"] {
        run(command(&program)
            .arg("depth")
            .arg(built.join("libslow_library.so"))
            .env("SLOW_LIBRARY", mode))?;
    }
    Ok(())
}
