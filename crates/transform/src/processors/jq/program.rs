//! A jq program: compiled once, run for each document.
//!
//! jq 1.6 as jaq understands it. What would make a run depend on more than its input is refused when the program is
//! compiled: the clock, the environment, other inputs, time zones, and what writes or ends the process.

use std::collections::BTreeSet;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::load::{Arena, File, Lexer, Loader, Parser};
use jaq_core::path::{Part, Path};
use jaq_core::{Compiler, Ctx, Filter, Vars, ops, unwrap_valr};
use jaq_json::Val;

use super::budget::{Budget, Stop, on_stack};
use super::functions::{Bounded, MADE, OWN, PLUS, ROOM, Run, TIMES, functions};

/// The longest program. It nests less deeply than it is long, and so fits the stack of its thread.
const PROGRAM_BYTES_MAX: usize = 16 << 10;
/// The most outputs that a program has for one document.
const OUTPUTS_MAX: usize = 10_000;
/// The longest text of an error, which may quote a document.
const ERROR_BYTES_MAX: usize = 200;

/// What has no place in a program.
const REFUSED: [&str; 19] = [
    "now",
    "localtime",
    "strflocaltime",
    "env",
    "$ENV",
    "$__loc__",
    "$__prog_args",
    "input",
    "inputs",
    "input_filename",
    "input_line_number",
    "debug",
    "stderr",
    "halt",
    "halt_error",
    "get_search_list",
    "modulemeta",
    "debug_empty",
    "stderr_empty",
];

/// What takes as long as a number of the record says, within a step: Bessel functions of any order.
const SLOW: [&str; 2] = ["jn", "yn"];

/// Why a text is no program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoProgram {
    #[error("is longer than {PROGRAM_BYTES_MAX} bytes")]
    Long,
    #[error("uses `{0}`, which is not available: the same record has to give the same result")]
    Refused(String),
    #[error("is no jq: {0}")]
    Syntax(String),
    #[error("uses {kind} `{name}`, which does not exist")]
    Undefined { kind: &'static str, name: String },
}

/// Why a run came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Error(String),
    #[error("the program has more than {OUTPUTS_MAX} outputs")]
    Outputs,
    #[error(transparent)]
    Stop(#[from] Stop),
}

/// A compiled program.
pub(crate) struct Program {
    code: String,
    filter: Filter<Bounded>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Program").field(&self.code).finish()
    }
}

impl Program {
    /// Compiles a program.
    pub(crate) fn new(code: &str) -> Result<Self, NoProgram> {
        if code.len() > PROGRAM_BYTES_MAX {
            return Err(NoProgram::Long);
        }
        let filter = on_stack(|| compile(code))?;
        Ok(Self { code: code.to_owned(), filter })
    }

    /// The keys of the object that it makes, if it is one object whose keys are written down.
    pub(crate) fn object_keys(&self) -> Option<BTreeSet<String>> {
        on_stack(|| match parse(&self.code) {
            Ok(Term::Obj(entries)) => entries.into_iter().map(|(key, _)| literal(key)).collect(),
            _ => None,
        })
    }

    /// Runs it, and hands each output on. To be called on a thread of [`on_stack`].
    pub(crate) fn run(
        &self,
        input: Val,
        input_bytes: usize,
        mut output: impl FnMut(Val) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        Budget::run(input_bytes, |budget| {
            let run = Run { table: &self.filter.lut, budget };
            let outputs = self.filter.id.run((Ctx::<Bounded>::new(run, Vars::new([])), input));
            for (number, value) in outputs.map(unwrap_valr).enumerate() {
                if number == OUTPUTS_MAX {
                    return Err(Fault::Outputs);
                }
                output(value.map_err(|error| Fault::Error(text_of(&error)))?)?;
            }
            Ok(())
        })?
    }
}

fn compile(code: &str) -> Result<Filter<Bounded>, NoProgram> {
    let mut main = parse(code)?;
    let mut refused = None;
    walk(&mut main, &mut |term| {
        if let Term::Call(name, _) | Term::Var(name) = term
            && REFUSED.contains(name)
        {
            refused.get_or_insert_with(|| NoProgram::Refused((*name).to_owned()));
        }
    });
    if let Some(refused) = refused {
        return Err(refused);
    }
    let builtins = jaq_core::load::parse(include_str!("builtins.jq"), |parser| parser.defs());
    let mut defs: Vec<Def<&str>> = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .filter(|def| def.name != "tostring" && !REFUSED.contains(&def.name))
        .chain(builtins.expect("a test runs the built-in definitions"))
        .collect();
    defs.push(Def { name: "standpipe_main", args: Vec::new(), body: main });
    for def in &mut defs {
        walk(&mut def.body, &mut bound);
    }
    let arena = Arena::default();
    let modules = Loader::new(defs)
        .load(&arena, File { code: "standpipe_main", path: () })
        .map_err(|_| NoProgram::Syntax("it cannot be loaded".to_owned()))?;
    let natives = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .filter(|(name, ..)| !OWN.contains(name) && !REFUSED.contains(name) && !SLOW.contains(name))
        .map(|(name, arguments, native)| (checked(name), arguments, native))
        .chain(functions());
    Compiler::default().with_funs(natives).compile(modules).map_err(undefined)
}

/// What functions of jaq are called that `builtins.jq` calls under their names: they take times of any size, and come to
/// anything with those that are too large.
fn checked(name: &'static str) -> &'static str {
    match name {
        "strftime" => "standpipe_strftime",
        "gmtime" => "standpipe_gmtime",
        name => name,
    }
}

fn undefined(errors: jaq_core::compile::Errors<&str, ()>) -> NoProgram {
    let first = errors.into_iter().flat_map(|(_, errors)| errors).next();
    first.map_or_else(
        || NoProgram::Syntax("it cannot be compiled".to_owned()),
        |(name, what)| NoProgram::Undefined { kind: what.as_str(), name: name.to_owned() },
    )
}

/// The text of a string without values in it.
fn literal(term: Term<&str>) -> Option<String> {
    let Term::Str(None, parts) = term else { return None };
    let part = |part: StrPart<&str, Term<&str>>| match part {
        StrPart::Str(text) => Some(text.to_owned()),
        StrPart::Char(char) => Some(char.to_string()),
        StrPart::Term(_) => None,
    };
    parts.into_iter().map(part).collect()
}

fn parse(code: &str) -> Result<Term<&str>, NoProgram> {
    let near = |rest: &str| rest.chars().take(20).collect::<String>();
    let tokens = Lexer::new(code).lex().map_err(|errors| {
        let first = errors.first().map(|(expected, found)| (expected.as_str(), near(found)));
        let (expected, found) = first.unwrap_or_default();
        NoProgram::Syntax(format!("expected {expected} at `{found}`"))
    })?;
    Parser::new(&tokens).parse(|parser| parser.term()).map_err(|errors| {
        let first = errors.first();
        let expected = first.map_or("something else", |(expected, _)| expected.as_str());
        let found = first.and_then(|(_, found)| *found).map_or("the end".to_owned(), |token| near(token.0));
        NoProgram::Syntax(format!("expected {expected} at `{found}`"))
    })
}

/// Makes a term one of jq 1.6, and a bounded one.
///
/// Puts bounded functions in the place of what jaq has its own terms for: sums and products, and values within strings;
/// and has the values that are made looked at.
fn bound(term: &mut Term<&str>) {
    if let Term::BinOp(
        left,
        BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt,
        _,
    ) = term
    {
        walk(left, &mut making_room);
    }
    in_own_place(term);
}

fn in_own_place(term: &mut Term<&str>) {
    const OPERAND: &str = "$standpipe_operand";
    match term {
        Term::Str(None, parts) => {
            for part in parts {
                if let StrPart::Term(value) = part {
                    *value = piped(std::mem::take(value), "tostring");
                }
            }
        }
        Term::BinOp(left, BinaryOp::Math(op), right) => {
            if let Some(name) = own(op) {
                *term = Term::Call(name, vec![std::mem::take(left), std::mem::take(right)]);
            }
        }
        Term::BinOp(left, BinaryOp::UpdateMath(op), right) => {
            if let Some(name) = own(op) {
                let call = Term::Call(name, vec![Term::Id, Term::Var(OPERAND)]);
                let update = Term::BinOp(std::mem::take(left), BinaryOp::Update, Box::new(call));
                let operand = BinaryOp::Pipe(Some(Pattern::Var(OPERAND)));
                *term = Term::BinOp(std::mem::take(right), operand, Box::new(piped(update, MADE)));
            }
        }
        Term::Arr(Some(_)) | Term::Obj(_) | Term::BinOp(_, BinaryOp::Assign | BinaryOp::Update, _) => {
            *term = piped(std::mem::take(term), MADE);
        }
        Term::Call("group_by", _) => *term = piped(std::mem::take(term), MADE),
        _ => {}
    }
}

/// Has the keys of an updated path made room for. A key that depends on the path's input stays as it is.
fn making_room(term: &mut Term<&str>) {
    let constant = |key: &Term<&str>| match key {
        Term::Str(None, parts) => !parts.iter().any(|part| matches!(part, StrPart::Term(_))),
        Term::Num(_) | Term::Var(_) => true,
        _ => false,
    };
    let Term::Path(inner, path) = term else { return };
    if !path.0.iter().all(|(part, _)| !matches!(part, Part::Index(key) if !constant(key))) {
        return;
    }
    let mut whole = std::mem::take(&mut **inner);
    for (part, optional) in std::mem::take(&mut path.0) {
        if let Part::Index(key) = &part {
            let room = Term::Call(ROOM, vec![key.clone()]);
            whole = Term::BinOp(Box::new(whole), BinaryOp::Pipe(None), Box::new(room));
        }
        whole = Term::Path(Box::new(whole), Path(vec![(part, optional)]));
    }
    *term = whole;
}

/// The function that takes the place of an operator.
fn own(op: &ops::Math) -> Option<&'static str> {
    match op {
        ops::Math::Add => Some(PLUS),
        ops::Math::Mul => Some(TIMES),
        _ => None,
    }
}

fn piped<'s>(term: Term<&'s str>, into: &'s str) -> Term<&'s str> {
    Term::BinOp(Box::new(term), BinaryOp::Pipe(None), Box::new(Term::Call(into, Vec::new())))
}

/// Visits all terms of a term, the inner ones first.
fn walk<'s>(term: &mut Term<&'s str>, visit: &mut dyn FnMut(&mut Term<&'s str>)) {
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Arr(None) | Term::Break(_) | Term::Var(_) => {}
        Term::Str(_, parts) => {
            for part in parts {
                if let StrPart::Term(term) = part {
                    walk(term, visit);
                }
            }
        }
        Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => walk(inner, visit),
        Term::Obj(entries) => {
            for (key, value) in entries {
                walk(key, visit);
                value.iter_mut().for_each(|value| walk(value, visit));
            }
        }
        Term::BinOp(left, op, right) => {
            walk(left, visit);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                walk_pattern(pattern, visit);
            }
            walk(right, visit);
        }
        Term::Fold(_, of, pattern, terms) => {
            walk(of, visit);
            walk_pattern(pattern, visit);
            terms.iter_mut().for_each(|term| walk(term, visit));
        }
        Term::TryCatch(inner, catch) => {
            walk(inner, visit);
            catch.iter_mut().for_each(|term| walk(term, visit));
        }
        Term::IfThenElse(branches, otherwise) => {
            for (condition, then) in branches {
                walk(condition, visit);
                walk(then, visit);
            }
            otherwise.iter_mut().for_each(|term| walk(term, visit));
        }
        Term::Def(defs, inner) => {
            defs.iter_mut().for_each(|def| walk(&mut def.body, visit));
            walk(inner, visit);
        }
        Term::Call(_, arguments) => arguments.iter_mut().for_each(|term| walk(term, visit)),
        Term::Path(inner, path) => {
            walk(inner, visit);
            for (part, _) in &mut path.0 {
                match part {
                    Part::Index(index) => walk(index, visit),
                    Part::Range(from, to) => from.iter_mut().chain(to).for_each(|term| walk(term, visit)),
                }
            }
        }
    }
    visit(term);
}

fn walk_pattern<'s>(pattern: &mut Pattern<&'s str>, visit: &mut dyn FnMut(&mut Term<&'s str>)) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(patterns) => patterns.iter_mut().for_each(|pattern| walk_pattern(pattern, visit)),
        Pattern::Obj(entries) => {
            for (key, pattern) in entries {
                walk(key, visit);
                walk_pattern(pattern, visit);
            }
        }
    }
}

/// What an error says: its value, without quotes where that is a string.
fn text_of(error: &jaq_json::Error) -> String {
    let text = shortened(error);
    serde_json::from_str(&text).unwrap_or(text)
}

/// The beginning of a text that may be of any length.
fn shortened(text: &impl std::fmt::Display) -> String {
    use std::fmt::Write;
    struct Short(String);
    impl Write for Short {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let room = ERROR_BYTES_MAX.saturating_sub(self.0.len());
            self.0.push_str(&text[..text.floor_char_boundary(room)]);
            if text.len() > room { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let mut short = Short(String::new());
    if write!(short, "{text}").is_err() {
        short.0.push('…');
    }
    short.0
}
