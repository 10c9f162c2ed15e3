//! WASI 0.2 for components, as far as compilers make their components import it: an environment, standard streams, and
//! the clocks and the chance of [`State`]. Of the filesystem there are the types and no directory; what is called and
//! not here ends the call. Interfaces that could reach anything (sockets, HTTP) are not given at all.
//!
//! It is given by name and with values rather than with types, so that all versions 0.2.x and all subsets fit.

use standpipe_model::Secret;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceAny, Val};
use wasmtime::{Result, StoreContextMut, bail, format_err};

use super::state::State;

/// The interfaces that a component may import.
const INTERFACES: [&str; 20] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Which stream, where a guest has one.
const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;
/// What may be written at once.
const WRITE_BYTES_MAX: u64 = 4096;
/// What chance gives at once.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

type Guest<'a> = StoreContextMut<'a, State>;
type Call = fn(&mut Guest<'_>, &[Val]) -> Result<Option<Val>>;

/// Whether an interface, as a component names it with its version, is one of WASI that is given.
pub(super) fn gives(interface: &str) -> bool {
    interface
        .split_once('@')
        .is_some_and(|(name, version)| version.starts_with("0.2.") && INTERFACES.contains(&name))
}

/// Gives a component what it imports of WASI.
pub(super) fn link(linker: &mut Linker<State>, component: &Component) -> Result<()> {
    for (name, item) in component.component_type().imports(component.engine()) {
        let (ComponentItem::ComponentInstance(instance), true) = (item.ty, gives(name)) else { continue };
        let mut given = linker.instance(name)?;
        let interface = name.split('@').next().unwrap_or_default();
        for (function, _) in instance.exports(component.engine()) {
            if let Some(call) = call(interface, function) {
                define(&mut given, function, call)?;
            }
        }
    }
    linker.define_unknown_imports_as_traps(component)
}

fn define(given: &mut LinkerInstance<'_, State>, function: &str, call: Call) -> Result<()> {
    given.func_new(function, move |mut guest, _, arguments, results| {
        let value = call(&mut guest, arguments)?;
        for argument in arguments {
            // What was lent has to be given back.
            if let Val::Resource(resource) = argument {
                resource.resource_drop(&mut guest)?;
            }
        }
        if let (Some(result), Some(value)) = (results.first_mut(), value) {
            *result = value;
        }
        Ok(())
    })
}

fn call(interface: &str, function: &str) -> Option<Call> {
    Some(match (interface, function) {
        ("wasi:cli/environment", "get-environment") => |guest, _| {
            let config = &guest.data().function.config;
            let pair = |(name, value): (&String, &Secret)| {
                Val::Tuple(vec![Val::String(name.clone()), Val::String(value.expose().to_owned())])
            };
            some(Val::List(config.iter().map(pair).collect()))
        },
        ("wasi:cli/environment", "get-arguments") | ("wasi:filesystem/preopens", "get-directories") => {
            |_, _| some(Val::List(Vec::new()))
        }
        ("wasi:cli/environment", "initial-cwd") => |_, _| some(Val::Option(None)),
        ("wasi:cli/exit", _) => |_, _| bail!("it exited"),
        ("wasi:cli/stdin", "get-stdin") => |guest, _| stream(guest, STDIN),
        ("wasi:cli/stdout", "get-stdout") => |guest, _| stream(guest, STDOUT),
        ("wasi:cli/stderr", "get-stderr") => |guest, _| stream(guest, STDERR),
        (_, "get-terminal-stdin" | "get-terminal-stdout" | "get-terminal-stderr") => {
            |_, _| some(Val::Option(None))
        }
        ("wasi:io/streams", function) => return streams(function),
        // Whatever is waited for has come.
        ("wasi:io/poll", "[method]pollable.block") => |_, _| Ok(None),
        ("wasi:io/poll", "[method]pollable.ready") => |_, _| some(Val::Bool(true)),
        ("wasi:clocks/wall-clock", "now") => |guest, _| some(datetime(guest.data().wall_ns())),
        ("wasi:clocks/wall-clock", "resolution") => |_, _| some(datetime(1)),
        ("wasi:clocks/monotonic-clock", "now") => |guest, _| some(Val::U64(guest.data_mut().monotonic_ns())),
        ("wasi:clocks/monotonic-clock", "resolution") => |_, _| some(Val::U64(1)),
        ("wasi:clocks/monotonic-clock", "subscribe-duration") => |guest, arguments| {
            let now = guest.data_mut().monotonic_ns();
            guest.data_mut().pass(now.saturating_add(number(arguments)?));
            stream(guest, STDIN)
        },
        ("wasi:clocks/monotonic-clock", "subscribe-instant") => |guest, arguments| {
            guest.data_mut().pass(number(arguments)?);
            stream(guest, STDIN)
        },
        ("wasi:random/random", "get-random-bytes")
        | ("wasi:random/insecure", "get-insecure-random-bytes") => |guest, arguments| {
            let len = number(arguments)?;
            if len > RANDOM_BYTES_MAX {
                bail!("it asked for {len} random bytes, at most {RANDOM_BYTES_MAX} are given at once");
            }
            some(Val::List((0..len).map(|_| Val::U8(guest.data_mut().random().to_le_bytes()[0])).collect()))
        },
        ("wasi:random/random", "get-random-u64") | ("wasi:random/insecure", "get-insecure-random-u64") => {
            |guest, _| some(Val::U64(guest.data_mut().random()))
        }
        ("wasi:random/insecure-seed", _) => |guest, _| {
            let state = guest.data_mut();
            some(Val::Tuple(vec![Val::U64(state.random()), Val::U64(state.random())]))
        },
        _ => return None,
    })
}

fn streams(function: &str) -> Option<Call> {
    Some(match function {
        "[method]output-stream.check-write" => |_, _| ok(Some(Val::U64(WRITE_BYTES_MAX))),
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => write,
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => |_, _| ok(None),
        "[method]output-stream.subscribe" | "[method]input-stream.subscribe" => {
            |guest, _| stream(guest, STDIN)
        }
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            |_, _| some(Val::Result(Err(Some(Box::new(Val::Variant("closed".to_owned(), None))))))
        }
        _ => return None,
    })
}

fn some(value: Val) -> Result<Option<Val>> {
    Ok(Some(value))
}

fn ok(value: Option<Val>) -> Result<Option<Val>> {
    some(Val::Result(Ok(value.map(Box::new))))
}

/// A handle for any resource of WASI: all are of one kind here, and only which stream it is matters.
fn stream(guest: &mut Guest<'_>, which: u32) -> Result<Option<Val>> {
    some(Val::Resource(ResourceAny::try_from_resource(Resource::<()>::new_own(which), guest)?))
}

/// A component's standard output has no use of its own: it is logged as the standard error is.
fn write(guest: &mut Guest<'_>, arguments: &[Val]) -> Result<Option<Val>> {
    let [_, Val::List(bytes)] = arguments else { bail!("a write without bytes") };
    let byte = |value: &Val| match value {
        Val::U8(byte) => Ok(*byte),
        _ => Err(format_err!("a write of what is no byte")),
    };
    let bytes = bytes.iter().map(byte).collect::<Result<Vec<u8>>>()?;
    guest.data_mut().complain(&bytes);
    ok(None)
}

fn number(arguments: &[Val]) -> Result<u64> {
    match arguments {
        [Val::U64(number)] => Ok(*number),
        _ => bail!("a number was expected"),
    }
}

fn datetime(ns: u64) -> Val {
    let nanoseconds = u32::try_from(ns % 1_000_000_000).unwrap_or(0);
    let field = |name: &str, value| (name.to_owned(), value);
    Val::Record(vec![
        field("seconds", Val::U64(ns / 1_000_000_000)),
        field("nanoseconds", Val::U32(nanoseconds)),
    ])
}
