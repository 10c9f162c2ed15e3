//! `standpipe transform new`: a function to start from.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use super::super::print;
use super::templates::{Interface, Lang, Template};

/// Arguments of `transform new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// What the function is called: small letters, digits, `-` and `_`.
    #[arg(value_parser = name)]
    pub name: String,
    /// The language.
    #[arg(long)]
    pub lang: Lang,
    /// The interface; a component where the language can make one.
    #[arg(long)]
    pub interface: Option<Interface>,
    /// The folder to write, which must be empty or not be there yet; the name by default.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// Takes a name that Cargo, Go and npm take too, and the configuration.
fn name(name: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    match begins && name.len() <= 64 && name.bytes().all(fits) {
        true => Ok(name.to_owned()),
        false => Err("1 to 64 small letters, digits, - and _, the first of which is a letter".to_owned()),
    }
}

pub(super) fn run(args: &NewArgs) -> anyhow::Result<ExitCode> {
    let (name, lang) = (&args.name, args.lang);
    let interface = args.interface.unwrap_or(lang.interface());
    let Some(template) = Template::of(lang, interface) else {
        bail!("what is written in {lang:?} is a {:?}; both can be had in Rust only", lang.interface());
    };
    let dir = args.dir.clone().unwrap_or_else(|| name.into());
    write(&template, name, &dir)?;
    let dir = dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?;
    print(&told(&template, name, &dir))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the files; none that is there is written over.
fn write(template: &Template, name: &str, dir: &Path) -> anyhow::Result<()> {
    let there = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("cannot write to {}", dir.display())),
    };
    if there {
        bail!("{} is there already and not empty", dir.display());
    }
    for (path, text) in template.files(name) {
        let path = dir.join(path);
        let folder = path.parent().expect("a file is in a folder");
        fs::create_dir_all(folder)
            .and_then(|()| fs::File::create_new(&path))
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// How it is built and configured.
fn told(template: &Template, name: &str, dir: &Path) -> String {
    let (what, shown, build, makes) =
        (template.what, dir.display(), template.build(name), dir.join(template.makes(name)));
    let once = match template.once {
        "" => String::new(),
        once => format!("    {once}   # once\n"),
    };
    let config = template.config.map(|config| format!("    {config}\n")).unwrap_or_default();
    format!(
        "{name}: {what}\n\nBuild it:\n\n    cd '{shown}'\n{once}    {build}\n\nConfigure it, and have a stream call it:\n\n\
         functions:\n  {name}:\n    path: {}\n{config}\nstreams:\n  - name: …\n    processors:\n      - wasm: {name}\n",
        serde_json::Value::from(makes.display().to_string()),
    )
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn names_fit_all_toolchains() {
        for good in ["a", "clean", "csv-to-json", "x_9", &"a".repeat(64)] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        for bad in ["", "9a", "-a", "_a", "A", "a b", "a/b", "..", "ä", &"a".repeat(65)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_language_has_a_template_and_what_cannot_be_had_is_refused() {
        for lang in Lang::value_variants() {
            assert!(Template::of(*lang, lang.interface()).is_some());
        }
        let dir = tempfile::tempdir().unwrap();
        let args = NewArgs {
            name: "f".to_owned(),
            lang: Lang::Go,
            interface: Some(Interface::Component),
            dir: Some(dir.path().join("f")),
        };
        assert!(run(&args).unwrap_err().to_string().contains("in Rust only"));
        assert!(!dir.path().join("f").exists());
    }

    #[test]
    fn nothing_that_is_there_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let mine = dir.path().join("mine");
        fs::write(&mine, "mine").unwrap();
        let args = NewArgs {
            name: "f".to_owned(),
            lang: Lang::Go,
            interface: None,
            dir: Some(dir.path().to_owned()),
        };
        assert!(run(&args).unwrap_err().to_string().ends_with("is there already and not empty"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::remove_file(mine).unwrap();
        run(&args).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
