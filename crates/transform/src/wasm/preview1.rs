//! WASI preview 1 for commands, as far as a transformation needs it: standard streams, arguments, environment, and the
//! clocks and the chance of [`State`]. There are no files and no network: what asks for them is told that they are not
//! supported (`ENOSYS`), and there is nothing that could be opened.
//!
//! <https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md>

use wasmtime::{
    Caller, Extern, ExternType, FuncType, Linker, Memory, Module, Result, Val, ValType, bail, format_err,
};

use super::state::State;

/// The module that the functions are imported from.
const NAME: &str = "wasi_snapshot_preview1";

const SUCCESS: i32 = 0;
const EBADF: i32 = 8;
const EINVAL: i32 = 28;
const ENOSYS: i32 = 52;
const ESPIPE: i32 = 70;

const STDIN: i32 = 0;
const STDOUT: i32 = 1;
const STDERR: i32 = 2;
const CLOCK_REALTIME: i32 = 0;
const CHARACTER_DEVICE: u8 = 2;
const RIGHT_READ: u64 = 1 << 1;
const RIGHT_WRITE: u64 = 1 << 6;
const EVENT_BYTES: usize = 32;
const SUBSCRIPTION_BYTES: usize = 48;
/// Vectors in one call, as Linux has it.
const IOV_MAX: i32 = 1024;
/// What is taken of a write to the standard error; the rest is for the next one. No deadline ends the host's own work.
const STDERR_BYTES_MAX: usize = 16 << 10;

/// A command has called `exit`.
#[derive(Debug, thiserror::Error)]
#[error("it exited with the status {0}")]
pub(super) struct Exit(pub(super) i32);

type Guest<'a> = Caller<'a, State>;

/// Gives a module what it imports.
///
/// # Errors
/// The name of an import that no function is given.
pub(super) fn link(linker: &mut Linker<State>, module: &Module) -> Result<Result<(), String>> {
    // A module may import the same twice.
    linker.allow_shadowing(true);
    for import in module.imports() {
        match (import.module(), import.name(), import.ty()) {
            ("env", "abort", _) | (NAME, "proc_exit", _) => {}
            // Files, sockets: there is none of them.
            (NAME, name, ExternType::Func(ty)) if answers_errno(&ty) => {
                linker.func_new(NAME, name, ty, |_, _, results| {
                    results[0] = Val::I32(ENOSYS);
                    Ok(())
                })?;
            }
            (module, name, _) => return Ok(Err(format!("{module}.{name}"))),
        }
    }
    define(linker)?;
    Ok(Ok(()))
}

fn answers_errno(ty: &FuncType) -> bool {
    ty.results().len() == 1 && ty.results().all(|ty| matches!(ty, ValType::I32))
}

fn define(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap("env", "abort", |_: i32, _: i32, line: i32, column: i32| -> Result<()> {
        bail!("it aborted at line {line}, column {column}")
    })?;
    linker.func_wrap(NAME, "args_sizes_get", |mut guest: Guest<'_>, count: i32, bytes: i32| {
        sizes(&mut guest, arguments, count, bytes)
    })?;
    linker.func_wrap(NAME, "args_get", |mut guest: Guest<'_>, at: i32, buffer: i32| {
        strings(&mut guest, arguments, at, buffer)
    })?;
    linker.func_wrap(NAME, "environ_sizes_get", |mut guest: Guest<'_>, count: i32, bytes: i32| {
        sizes(&mut guest, environment, count, bytes)
    })?;
    linker.func_wrap(NAME, "environ_get", |mut guest: Guest<'_>, at: i32, buffer: i32| {
        strings(&mut guest, environment, at, buffer)
    })?;
    linker.func_wrap(NAME, "proc_exit", |status: i32| -> Result<()> { Err(Exit(status).into()) })?;
    linker.func_wrap(NAME, "sched_yield", || SUCCESS)?;
    define_streams(linker)?;
    define_clocks(linker)
}

fn define_streams(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(NAME, "fd_read", fd_read)?;
    linker.func_wrap(NAME, "fd_write", fd_write)?;
    linker.func_wrap(NAME, "fd_close", |fd: i32| standard(fd, SUCCESS))?;
    linker.func_wrap(NAME, "fd_fdstat_set_flags", |fd: i32, _: i32| standard(fd, SUCCESS))?;
    linker.func_wrap(NAME, "fd_seek", |fd: i32, _: i64, _: i32, _: i32| standard(fd, ESPIPE))?;
    // There are no directories.
    linker.func_wrap(NAME, "fd_prestat_get", |_: i32, _: i32| EBADF)?;
    linker.func_wrap(NAME, "fd_prestat_dir_name", |_: i32, _: i32, _: i32| EBADF)?;
    linker.func_wrap(NAME, "fd_fdstat_get", |mut guest: Guest<'_>, fd: i32, at: i32| -> Result<i32> {
        let mut stat = [0; 24];
        stat[0] = CHARACTER_DEVICE;
        stat[8..16].copy_from_slice(&(RIGHT_READ | RIGHT_WRITE).to_le_bytes());
        if standard(fd, SUCCESS) == SUCCESS {
            put(&mut guest, at, &stat)?;
        }
        Ok(standard(fd, SUCCESS))
    })?;
    Ok(())
}

fn define_clocks(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(NAME, "clock_res_get", |mut guest: Guest<'_>, _: i32, at: i32| -> Result<i32> {
        put(&mut guest, at, &1_u64.to_le_bytes())?;
        Ok(SUCCESS)
    })?;
    linker.func_wrap(
        NAME,
        "clock_time_get",
        |mut guest: Guest<'_>, clock: i32, _: i64, at: i32| -> Result<i32> {
            let state = guest.data_mut();
            let now = if clock == CLOCK_REALTIME { state.wall_ns() } else { state.monotonic_ns() };
            put(&mut guest, at, &now.to_le_bytes())?;
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(NAME, "random_get", |mut guest: Guest<'_>, at: i32, len: i32| -> Result<i32> {
        let (memory, state) = memory(&mut guest)?;
        for chunk in range(memory, at, len)?.chunks_mut(8) {
            chunk.copy_from_slice(&state.random().to_le_bytes()[..chunk.len()]);
        }
        Ok(SUCCESS)
    })?;
    linker.func_wrap(NAME, "poll_oneoff", poll_oneoff)?;
    Ok(())
}

fn standard(fd: i32, answer: i32) -> i32 {
    if (STDIN..=STDERR).contains(&fd) { answer } else { EBADF }
}

fn arguments(state: &State) -> Vec<String> {
    vec![state.function.name.clone()]
}

fn environment(state: &State) -> Vec<String> {
    state.function.config.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect()
}

fn sizes(guest: &mut Guest<'_>, of: fn(&State) -> Vec<String>, count: i32, bytes: i32) -> Result<i32> {
    let strings = of(guest.data());
    put(guest, count, &u32::try_from(strings.len())?.to_le_bytes())?;
    let len: usize = strings.iter().map(|string| string.len() + 1).sum();
    put(guest, bytes, &u32::try_from(len)?.to_le_bytes())?;
    Ok(SUCCESS)
}

fn strings(guest: &mut Guest<'_>, of: fn(&State) -> Vec<String>, at: i32, buffer: i32) -> Result<i32> {
    let (mut at, mut buffer) = (at, buffer);
    for string in of(guest.data()) {
        put(guest, at, &buffer.to_le_bytes())?;
        put(guest, buffer, string.as_bytes())?;
        put(guest, buffer.wrapping_add(i32::try_from(string.len())?), &[0])?;
        at = at.wrapping_add(4);
        buffer = buffer.wrapping_add(i32::try_from(string.len() + 1)?);
    }
    Ok(SUCCESS)
}

fn fd_read(mut guest: Guest<'_>, fd: i32, vectors: i32, count: i32, read_at: i32) -> Result<i32> {
    if fd != STDIN || !(0..=IOV_MAX).contains(&count) {
        return Ok(if fd == STDIN { EINVAL } else { EBADF });
    }
    let (memory, state) = memory(&mut guest)?;
    let mut read = 0;
    for (at, len) in vectors_of(memory, vectors, count)? {
        let into = range(memory, at, len)?;
        let rest = &state.input[state.read..];
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        state.read += len;
        read += len;
    }
    put(&mut guest, read_at, &u32::try_from(read)?.to_le_bytes())?;
    Ok(SUCCESS)
}

fn fd_write(mut guest: Guest<'_>, fd: i32, vectors: i32, count: i32, written_at: i32) -> Result<i32> {
    if !matches!(fd, STDOUT | STDERR) || !(0..=IOV_MAX).contains(&count) {
        return Ok(if matches!(fd, STDOUT | STDERR) { EINVAL } else { EBADF });
    }
    let (memory, state) = memory(&mut guest)?;
    let mut written = 0_usize;
    for (at, len) in vectors_of(memory, vectors, count)? {
        let mut bytes = &*range(memory, at, len)?;
        if fd == STDOUT {
            state.answer(bytes)?;
        } else {
            bytes = &bytes[..bytes.len().min(STDERR_BYTES_MAX - written)];
            state.complain(bytes);
        }
        written += bytes.len();
    }
    put(&mut guest, written_at, &u32::try_from(written)?.to_le_bytes())?;
    Ok(SUCCESS)
}

/// All that is waited for has come: standard streams are always ready, and time passes by being waited for.
fn poll_oneoff(
    mut guest: Guest<'_>,
    subscriptions: i32,
    events: i32,
    count: i32,
    count_at: i32,
) -> Result<i32> {
    let (memory, state) = memory(&mut guest)?;
    let count_usize = usize::try_from(count)?;
    if count_usize == 0 {
        return Ok(EINVAL);
    }
    let len = i32::try_from(count_usize.saturating_mul(SUBSCRIPTION_BYTES))?;
    let subscriptions = range(memory, subscriptions, len)?.to_vec();
    let out = range(memory, events, i32::try_from(count_usize * EVENT_BYTES)?)?;
    for (subscription, event) in subscriptions.chunks(SUBSCRIPTION_BYTES).zip(out.chunks_mut(EVENT_BYTES)) {
        event.fill(0);
        event[..8].copy_from_slice(&subscription[..8]);
        event[10] = subscription[8];
        if subscription[8] == 0 {
            let timeout = u64::from_le_bytes(subscription[24..32].try_into()?);
            let absolute = subscription[40] & 1 == 1;
            let now = state.monotonic_ns();
            state.pass(if absolute { timeout } else { now.saturating_add(timeout) });
        }
    }
    put(&mut guest, count_at, &count.to_le_bytes())?;
    Ok(SUCCESS)
}

fn memory<'a>(guest: &'a mut Guest<'_>) -> Result<(&'a mut [u8], &'a mut State)> {
    let memory: Option<Memory> = guest.get_export("memory").and_then(Extern::into_memory);
    Ok(memory.ok_or_else(|| format_err!("it exports no memory"))?.data_and_store_mut(guest))
}

fn range(memory: &mut [u8], at: i32, len: i32) -> Result<&mut [u8]> {
    let (at, len) = (at.cast_unsigned() as usize, len.cast_unsigned() as usize);
    memory.get_mut(at..at + len).ok_or_else(|| format_err!("it gave an address outside of its memory"))
}

fn put(guest: &mut Guest<'_>, at: i32, bytes: &[u8]) -> Result<()> {
    range(memory(guest)?.0, at, i32::try_from(bytes.len())?)?.copy_from_slice(bytes);
    Ok(())
}

/// Addresses and lengths of what is read into, or written from.
fn vectors_of(memory: &mut [u8], at: i32, count: i32) -> Result<Vec<(i32, i32)>> {
    let bytes = range(memory, at, count.saturating_mul(8))?;
    let word = |bytes: &[u8]| bytes.try_into().map(i32::from_le_bytes);
    bytes.chunks_exact(8).map(|pair| Ok((word(&pair[..4])?, word(&pair[4..])?))).collect()
}
