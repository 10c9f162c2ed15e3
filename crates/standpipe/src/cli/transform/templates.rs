//! The functions to start from: the examples of `examples/transforms/`, under another name and each by itself.

use clap::ValueEnum;

/// The languages that there are templates in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// Rust, as a component or as a command.
    Rust,
    /// Go, as a command.
    Go,
    /// AssemblyScript, as a command.
    #[value(name = "assemblyscript")]
    AssemblyScript,
    /// JavaScript, as a component.
    #[value(name = "javascript")]
    JavaScript,
    /// Python, as a component.
    Python,
}

impl Lang {
    /// The interface that there is a template for; the faster one of two.
    pub(super) fn interface(self) -> Interface {
        match self {
            Self::Rust | Self::JavaScript | Self::Python => Interface::Component,
            Self::Go | Self::AssemblyScript => Interface::Command,
        }
    }
}

/// The interfaces of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Interface {
    /// A WebAssembly component: the faster one.
    Component,
    /// A WASI program with the Lambda contract.
    Command,
}

/// A function to start from.
pub(super) struct Template {
    /// What it does, in a few words.
    pub(super) what: &'static str,
    /// What the example is called, in its files' names and in their text.
    example: &'static str,
    /// The file's path and its text.
    files: Vec<(&'static str, String)>,
    /// What installs its toolchain's part for WebAssembly.
    pub(super) once: &'static str,
    /// The example's build command, and the file that it makes.
    build: &'static str,
    makes: &'static str,
    /// A line of the configuration: what it has to be told.
    pub(super) config: Option<&'static str>,
}

macro_rules! example {
    ($path:literal) => {
        include_str!(concat!("../../../../../examples/transforms/", $path))
    };
}

const WORKSPACE: &str = example!("rust/Cargo.toml");
const CSV_COLUMNS: &str = "config: { COLUMNS: \"name,city\" }";
/// An interpreter takes its time.
const INTERPRETED: &str = "deadline: 30s";

impl Template {
    /// The template in a language, where the interface can be had in it.
    pub(super) fn of(lang: Lang, interface: Interface) -> Option<Self> {
        Some(match (lang, interface) {
            (Lang::Rust, Interface::Component) => rust_component(),
            (Lang::Rust, Interface::Command) => rust_command(),
            (Lang::Go, Interface::Command) => go(),
            (Lang::AssemblyScript, Interface::Command) => assembly_script(),
            (Lang::JavaScript, Interface::Component) => javascript(),
            (Lang::Python, Interface::Component) => python(),
            (Lang::Go | Lang::AssemblyScript, Interface::Component)
            | (Lang::JavaScript | Lang::Python, Interface::Command) => return None,
        })
    }

    fn named(&self, text: &str, name: &str) -> String {
        text.replace(self.example, name)
    }

    /// The files under the function's own name.
    pub(super) fn files(&self, name: &str) -> impl Iterator<Item = (String, String)> {
        self.files.iter().map(move |(path, text)| (self.named(path, name), self.named(text, name)))
    }

    /// The command that builds it in its folder.
    pub(super) fn build(&self, name: &str) -> String {
        self.named(self.build, name)
    }

    /// The file that this makes, in its folder.
    pub(super) fn makes(&self, name: &str) -> String {
        // The library of a package whose name has a hyphen is called with an underscore.
        let name = if self.makes.contains("wasip2") { &name.replace('-', "_") } else { name };
        self.makes.replace("{}", name)
    }
}

fn rust_component() -> Template {
    let mut files = rust(example!("rust/csv-to-json/Cargo.toml"));
    let path_to_wit = "../../../../crates/transform/wit";
    let lib = example!("rust/csv-to-json/src/lib.rs").replace(path_to_wit, "wit");
    files.extend([
        ("src/lib.rs", lib),
        ("src/line.rs", example!("rust/csv-to-json/src/line.rs").to_owned()),
        wit(),
    ]);
    Template {
        what: "lines of CSV to JSON objects, as a component",
        example: "csv-to-json",
        files,
        once: "rustup target add wasm32-wasip2",
        build: "cargo build --release --target wasm32-wasip2",
        makes: "target/wasm32-wasip2/release/{}.wasm",
        config: Some(CSV_COLUMNS),
    }
}

fn rust_command() -> Template {
    let mut files = rust(example!("rust/redact-lambda/Cargo.toml"));
    files.push(("src/main.rs", example!("rust/redact-lambda/src/main.rs").to_owned()));
    Template {
        what: "mail addresses hidden by a handler as for Lambda, as a command",
        example: "redact-lambda",
        files,
        once: "rustup target add wasm32-wasip1",
        build: "cargo build --release --target wasm32-wasip1",
        makes: "target/wasm32-wasip1/release/{}.wasm",
        config: None,
    }
}

fn go() -> Template {
    Template {
        what: "lines of CSV to JSON objects, as a command",
        example: "csv-to-json",
        files: vec![
            (".gitignore", "*.wasm\n".to_owned()),
            ("go.mod", example!("go/csv-to-json/go.mod").to_owned()),
            ("main.go", example!("go/csv-to-json/main.go").to_owned()),
        ],
        once: "",
        build: "GOOS=wasip1 GOARCH=wasm go build -o csv-to-json.wasm",
        makes: "{}.wasm",
        config: Some(CSV_COLUMNS),
    }
}

fn assembly_script() -> Template {
    let package = example!("assemblyscript/mask-cards/package.json");
    let lock = example!("assemblyscript/mask-cards/package-lock.json");
    Template {
        what: "numbers of payment cards hidden, as a command",
        example: "mask-cards",
        files: vec![
            (".gitignore", "/build/\nnode_modules/\n".to_owned()),
            ("package.json", package.to_owned()),
            ("package-lock.json", lock.to_owned()),
            ("mask-cards.ts", example!("assemblyscript/mask-cards/mask-cards.ts").to_owned()),
        ],
        once: "npm ci",
        build: "npm run build",
        makes: "build/{}.wasm",
        config: None,
    }
}

fn javascript() -> Template {
    let file = |path: &'static str, text: &str| (path, text.to_owned());
    Template {
        what: "events of an app made flat, as a component",
        example: "clean-events",
        files: vec![
            file(".gitignore", "/build/\nnode_modules/\n"),
            file("package.json", example!("javascript/clean-events/package.json")),
            file("package-lock.json", example!("javascript/clean-events/package-lock.json")),
            file("build.js", example!("javascript/clean-events/build.js")),
            file("clean-events.js", example!("javascript/clean-events/clean-events.js")),
            wit(),
        ],
        once: "npm ci",
        build: "npm run build",
        makes: "build/{}.wasm",
        config: Some(INTERPRETED),
    }
}

fn python() -> Template {
    Template {
        what: "lines of an access log to JSON objects, as a component",
        example: "parse-logs",
        files: vec![
            (".gitignore", "/.venv/\n*.wasm\n".to_owned()),
            ("requirements.txt", example!("python/parse-logs/requirements.txt").to_owned()),
            ("app.py", example!("python/parse-logs/app.py").to_owned()),
            wit(),
        ],
        once: "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
        build: ".venv/bin/componentize-py -d wit -w transform componentize --stub-wasi app -o parse-logs.wasm",
        makes: "{}.wasm",
        config: Some(INTERPRETED),
    }
}

/// The world, for toolchains that read it.
fn wit() -> (&'static str, String) {
    ("wit/standpipe.wit", include_str!("../../../../transform/wit/standpipe.wit").to_owned())
}

/// What all in Rust have.
fn rust(member: &str) -> Vec<(&'static str, String)> {
    vec![
        (".gitignore", "/target/\n".to_owned()),
        (".cargo/config.toml", example!("rust/.cargo/config.toml").to_owned()),
        ("Cargo.lock", lock()),
        ("Cargo.toml", manifest(member)),
    ]
}

/// A member of the examples' workspace as a workspace of its own, wherever it lies.
fn manifest(member: &str) -> String {
    let line = |line: &str| match line.strip_suffix(".workspace = true") {
        // The licence is whose function it is to choose.
        Some("license") => String::new(),
        Some(key) => {
            let inherited =
                WORKSPACE.lines().find(|line| line.split_once(" = ").is_some_and(|(k, _)| k == key));
            inherited.expect("the workspace has what its members inherit").to_owned() + "\n"
        }
        None => format!("{line}\n"),
    };
    let member: String = member.lines().map(line).collect();
    let profile = WORKSPACE.find("[profile.release]").expect("the workspace has a profile");
    format!("{member}\n{}\n[workspace]\n", &WORKSPACE[profile..])
}

/// The versions that the examples are tested with, without the examples themselves.
fn lock() -> String {
    const ENTRY: &str = "[[package]]\n";
    let mut entries = example!("rust/Cargo.lock").split(ENTRY);
    let head = entries.next().unwrap_or_default().to_owned();
    let foreign = entries.filter(|entry| entry.contains("\nsource = "));
    foreign.fold(head, |lock, entry| lock + ENTRY + entry)
}
