//! `standpipe generate-key`: a fresh master key for encryption at rest, in a file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::print;
use crate::clock::OsEntropy;
use crate::keys::generate_file;

/// Arguments of `generate-key`.
#[derive(Debug, Args)]
pub struct GenerateKeyArgs {
    /// The file to write; one that is there is never replaced.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

pub(super) fn run(args: &GenerateKeyArgs) -> anyhow::Result<ExitCode> {
    let shown = args.file.display();
    generate_file(&args.file, &OsEntropy).with_context(|| format!("cannot write {shown}"))?;
    print(&format!("{shown}: keep a copy elsewhere; without it nobody reads what is encrypted\n"))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_its_owners_alone_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let args = GenerateKeyArgs { file: dir.path().join("key") };
        run(&args).unwrap();
        let key = std::fs::read(&args.file).unwrap();
        assert_eq!(std::fs::metadata(&args.file).unwrap().permissions().mode() & 0o777, 0o400);
        assert!(run(&args).unwrap_err().to_string().starts_with("cannot write"));
        assert_eq!(std::fs::read(&args.file).unwrap(), key);
    }
}
