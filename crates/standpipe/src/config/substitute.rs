//! Environment variables inside values: `${NAME}`, `${NAME:-default}`, and `$${` for a literal `${`.

use thiserror::Error;

/// Why a value's variables could not be put in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum SubstituteError {
    /// The variable is not set and has no default.
    #[error("the environment variable {0} is not set; \"${{{0}:-text}}\" would give it a default")]
    Missing(String),
    /// A name that no variable can have.
    #[error("\"{0}\" is not the name of an environment variable")]
    Name(String),
    /// `${` without its `}`.
    #[error("\"${{\" without \"}}\"; write \"$${{\" for a literal \"${{\"")]
    Open,
}

/// Puts variables into `text`. A variable's value is taken as it is and not searched again.
pub(super) fn substitute(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, SubstituteError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let (expression, tail) = after.split_once('}').ok_or(SubstituteError::Open)?;
        let (name, default) = match expression.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (expression, None),
        };
        let first = name.chars().next();
        let good = first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !good {
            return Err(SubstituteError::Name(name.to_owned()));
        }
        // As in a shell, `:-` also stands in for a variable that is empty.
        let value = env(name).filter(|value| default.is_none() || !value.is_empty());
        match value.as_deref().or(default) {
            Some(value) => out.push_str(value),
            None => return Err(SubstituteError::Missing(name.to_owned())),
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_defaults_and_escapes() {
        let env = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        };
        for (text, expect) in [
            ("plain", "plain"),
            ("${A}", "one"),
            ("x${A}y${A}z", "xoneyonez"),
            ("${B:-two}", "two"),
            ("${B:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-three}", "three"),
            ("$${A}", "${A}"),
            ("a$b", "a$b"),
            ("!{timestamp:yyyy}/", "!{timestamp:yyyy}/"),
            ("${NESTED}", "${A}"),
        ] {
            assert_eq!(substitute(text, &env), Ok(expect.to_owned()), "{text}");
        }
        let refuse = |text| substitute(text, &env).unwrap_err().to_string();
        assert_eq!(
            refuse("${B}"),
            "the environment variable B is not set; \"${B:-text}\" would give it a default"
        );
        assert_eq!(refuse("${A B}"), "\"A B\" is not the name of an environment variable");
        assert_eq!(refuse("a${A"), "\"${\" without \"}\"; write \"$${\" for a literal \"${\"");
    }
}
