//! Installs the servers and clients that the tests use, and says how long each took. The tests would do so themselves,
//! but then a first run looks as if it hung.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use standpipe_testkit::cache::{cache_dir, sweep_run_dirs};
use standpipe_testkit::{clients, servers};

#[expect(clippy::print_stdout, reason = "a command's answer")]
fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let things: Vec<_> = clients::all().into_iter().chain(servers::all()).collect();
    for name in &wanted {
        ensure!(
            things.iter().any(|(known, _)| known == name),
            "there is no {name:?} among {:?}",
            names(&things)
        );
    }
    sweep_run_dirs()?;
    let began = Instant::now();
    for (name, install) in &things {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            let started = Instant::now();
            install().with_context(|| format!("install {name}"))?;
            println!("{name}: {:.1} s", started.elapsed().as_secs_f64());
        }
    }
    println!("servers and clients: {:.1} s, in {}", began.elapsed().as_secs_f64(), cache_dir()?.display());
    Ok(())
}

fn names<T>(things: &[(&'static str, T)]) -> Vec<&'static str> {
    things.iter().map(|(name, _)| *name).collect()
}
