//! The front end's errors as ours: who must act, where, and what was probably meant.

use std::borrow::Cow;

use arrow::error::ArrowError;
use datafusion_common::{Column, DataFusionError, SchemaError, Span};
use gristmill_engine::{Error, Position};

use super::argument_counts::{said_of_count, takes};
use super::type_names::{with_type_names, with_types_spelled_out};

/// A place in the program text.
pub(super) fn at(line: u64, column: u64) -> Position {
    Position { file: None, line, column }
}

/// Where a span begins.
pub(super) fn start_of(span: &Span) -> Position {
    at(span.start.line, span.start.column)
}

/// Turns an error of the front end into ours. `statement` is where the statement begins, for errors
/// that say nothing better; a position with line 0 means "nowhere".
pub(crate) fn to_error(error: &DataFusionError, statement: &Position) -> Error {
    convert(error, None, statement)
}

fn convert(error: &DataFusionError, place: Option<Position>, statement: &Position) -> Error {
    let input = |message: String| input(message, place.clone(), statement);
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let span = diagnostic.span.as_ref().map(start_of);
            convert(inner, place.or(span), statement)
        }
        DataFusionError::Context(_, inner) => convert(inner, place, statement),
        DataFusionError::Shared(inner) => convert(inner, place, statement),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => convert(first, place, statement),
            None => Error::internal("the front end failed without an error"),
        },
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(own) => with_place(own.clone(), place, statement),
            None => input(inner.to_string()),
        },
        DataFusionError::SQL(parser, _) => input(parser.to_string()),
        DataFusionError::NotImplemented(what) if what.contains("in sqltorel: Lambda(") => {
            input("a lambda is an argument of list_transform or list_filter".to_string())
        }
        DataFusionError::NotImplemented(what) if what.starts_with("Unnest should be") => {
            let place = "in the SELECT list or in FROM, not inside of an aggregate or a condition";
            input(format!("unnest stands {place}; unnest in a subquery and read its column"))
        }
        DataFusionError::NotImplemented(what) => {
            input(format!("not supported: {}", with_type_names(&without_tree(what))))
        }
        DataFusionError::Plan(message)
        | DataFusionError::Internal(message)
        | DataFusionError::Execution(message)
            if said_of_call(message).is_some() =>
        {
            input(said_of_call(message).unwrap_or_default())
        }
        DataFusionError::Plan(message)
        | DataFusionError::Configuration(message)
        | DataFusionError::Execution(message)
        | DataFusionError::ResourcesExhausted(message) => input(of_front_end(message)),
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let span = field.spans.first().map(|span| start_of(&span));
                let message = column_not_found(field, valid_fields);
                self::input(message, place.or(span), statement)
            }
            other => input(other.to_string()),
        },
        DataFusionError::ArrowError(arrow, _) => match of_arrow(arrow) {
            Error::Input { message, .. } => input(with_type_names(&message)),
            other => other,
        },
        DataFusionError::Internal(message) => match said_of_types(message) {
            Some(said) => input(said),
            None => Error::internal(message.clone()),
        },
        other => Error::internal(other.to_string()),
    }
}

/// What the front end says, with types by their names in SQL. Names of columns stay as they are.
fn of_front_end(message: &str) -> String {
    if message.contains("unique expression names") {
        return message.to_string();
    }
    let said = &*without_tree(without_ways(message));
    if let Some(column) = ungrouped(said) {
        return format!(
            "the column {column} is neither in GROUP BY nor in an aggregate; add it to GROUP BY, \
             or take one of its values with any_value({column})"
        );
    }
    said_of_operands(said).unwrap_or_else(|| with_type_names(said).replace(".\n", "; "))
}

/// The column that has no single value in a group, by its own name.
fn ungrouped(said: &str) -> Option<&str> {
    let (column, rest) = said.split_once("olumn \"")?.1.split_once('"')?;
    let column = column.rsplit('.').next()?;
    rest.contains("must appear in the GROUP BY clause").then_some(column)
}

/// What is said of a call whose arguments are too many, too few or of other types.
fn said_of_call(message: &str) -> Option<String> {
    said_of_count(message).or_else(|| said_of_argument(message))
}

/// What is said of a function or an operator that takes no values of these types.
fn said_of_operands(said: &str) -> Option<String> {
    if let Some(rest) = said.strip_prefix("Function '") {
        let (name, rest) = rest.split_once('\'')?;
        let (wanted, found) = rest.split_once(" but received ")?;
        let wanted = wanted.trim_end_matches(',').rsplit(' ').next()?;
        let found = match found.split_once(" (DataType: ") {
            Some((_, found)) => found.split(").").next()?,
            None => found,
        };
        let found = found.trim_end_matches('.');
        let wanted = match wanted {
            "Numeric" => "numbers",
            "String" => "texts",
            other => other,
        };
        let found = if found == "String" { "VARCHAR" } else { found };
        return Some(format!("{name} takes {wanted}, not {}", with_type_names(found)));
    }
    if let Some(rest) = said.strip_prefix("Failed to coerce arguments to satisfy a call to '") {
        let (name, rest) = rest.split_once('\'')?;
        let (_, types) = rest.split_once("coercion from ")?;
        let (types, _) = types.split_once(" to the signature")?;
        let types = with_type_names(types);
        return Some(match takes(name) {
            Some(takes) => format!("{name} takes {takes}, not {types}"),
            None => format!("{name} takes no {types}"),
        });
    }
    let operation = said
        .strip_prefix("Cannot get result type for temporal operation ")
        .and_then(|rest| rest.split(": ").next())
        .or_else(|| {
            let rest = said.strip_prefix("Cannot coerce arithmetic expression ")?;
            rest.strip_suffix(" to valid types")
        })?;
    Some(format!("there is no {}; cast an operand", with_type_names(operation)))
}

/// A message without a syntax tree as the parser's authors see it.
fn without_tree(message: &str) -> Cow<'_, str> {
    let marks = ["Ident {", "Ident(", "ObjectName(", "Span(", "span: "];
    if !marks.iter().any(|mark| message.contains(mark)) {
        return Cow::Borrowed(message);
    }
    if let Some((_, tree)) = message.split_once("Unsupported ast node in sqltorel: ") {
        let kind = tree.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        return Cow::Owned(format!("{} in expressions", kind.to_uppercase()));
    }
    let tree = message.find(['(', '{']).unwrap_or(message.len());
    let said = &message[..tree];
    let said = said.rsplit_once(' ').map_or(said, |(said, _)| said);
    Cow::Owned(said.trim_end_matches([':', ' ', ',']).to_string())
}

/// A message without the ways that it took through the front end.
fn without_ways(message: &str) -> &str {
    let message = message.split_once(". No function matches").map_or(message, |(said, _)| said);
    let found = message.split_once("user-defined coercion failed with: ").map(|(_, found)| found);
    let found = found.map(|f| f.trim_start_matches("Error during planning: "));
    found.map_or(message, |f| f.trim_start_matches("External error: "))
}

/// What an error that is called internal says of types that do not meet, which are the program's.
fn said_of_types(message: &str) -> Option<String> {
    let types = message.strip_prefix("Failed to coerce types ")?;
    let types = types.strip_suffix(" in BETWEEN expression")?;
    let types = with_type_names(types);
    Some(format!("BETWEEN compares values of one kind, not {types}; cast one of them"))
}

/// What a function takes in place of its argument, when no signature of it takes that.
fn said_of_argument(message: &str) -> Option<String> {
    let (before, said) = message.split_once("' failed to match any signature")?;
    let (_, name) = before.rsplit_once("Function '")?;
    let (_, found) = said.split_once(", but received ")?;
    let found = found.split(['(', '.']).next()?.trim();
    let found = match found {
        "String" => "VARCHAR".to_string(),
        other => with_type_names(other).to_uppercase(),
    };
    let mut taken: Vec<&str> = Vec::new();
    for part in said.split(" requires ").skip(1) {
        let kind = match part.split([',', '(']).next()? {
            "Decimal" | "Int64" | "UInt64" | "Float64" | "Numeric" | "Integer" => "numbers",
            "Duration" => "differences of timestamps",
            "String" => "texts",
            "Date" => "dates",
            "Time" => "times",
            "Timestamp" => "timestamps",
            "Float32" => continue,
            // Nothing computes with those.
            "Interval" => continue,
            other => other,
        };
        if !taken.contains(&kind) {
            taken.push(kind);
        }
    }
    Some(format!("{name} takes {}, not {found}", taken.join(" or ")))
}

/// What Arrow found while constants were folded is mostly the program's.
fn of_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::division_by_zero(),
        ArrowError::ArithmeticOverflow(message)
        | ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::InvalidArgumentError(message) => Error::input(message),
        other => Error::internal(other.to_string()),
    }
}

fn input(message: String, place: Option<Position>, statement: &Position) -> Error {
    let position = place.or_else(|| (statement.line > 0).then(|| statement.clone()));
    Error::Input { message, position }
}

/// An error at run time with the names that SQL has for types. It may be that of a program's own
/// function.
pub(crate) fn in_sql(error: Error) -> Error {
    match error {
        Error::Input { message, position } => {
            Error::Input { message: with_types_spelled_out(&message), position }
        }
        other => other,
    }
}

/// Gives an error of ours a place if it has none.
pub(crate) fn with_place(error: Error, place: Option<Position>, statement: &Position) -> Error {
    match error {
        Error::Input { message, position: None } => input(message, place, statement),
        other => other,
    }
}

fn column_not_found(field: &Column, valid: &[Column]) -> String {
    let name = field.quoted_flat_name();
    let wanted = if field.relation.is_some() { field.flat_name() } else { field.name.clone() };
    let by_name = valid.iter().map(|column| Column::from_name(&column.name).quoted_flat_name());
    let by_table = valid.iter().map(Column::quoted_flat_name);
    let candidates: Vec<String> = by_name.chain(by_table).collect();
    let mut message = format!("there is no column {name}");
    if let Some(near) = nearest(&wanted, candidates.iter().map(String::as_str)) {
        message.push_str(&format!("; did you mean {near}?"));
    } else if valid.is_empty() {
        message.push_str("; no columns are in scope here");
    } else {
        let shown: Vec<&str> = valid.iter().take(12).map(|c| c.name.as_str()).collect();
        let more = if valid.len() > shown.len() { ", …" } else { "" };
        message.push_str(&format!("; the columns are {}{more}", shown.join(", ")));
    }
    message
}

/// Cuts the parser's ` at Line: 2, Column: 14` off a message.
pub(super) fn locate_message(message: &str) -> (String, Option<Position>) {
    let Some(begin) = message.rfind(" at Line: ") else { return (message.to_string(), None) };
    let tail = &message[begin + " at Line: ".len()..];
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    };
    let column = tail.split("Column: ").nth(1).and_then(number);
    match (number(tail), column) {
        (Some(line), Some(column)) => {
            let text = message[..begin].trim_end_matches([')', ' ']).to_string();
            (text, Some(at(line, column)))
        }
        _ => (message.to_string(), None),
    }
}

/// The candidate most like `name`, when one is like it at all.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let limit = (wanted.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edits(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names_are_near() {
        let names = ["lineitem", "orders", "part", "partsupp"];
        assert_eq!(nearest("linitem", names), Some("lineitem"));
        assert_eq!(nearest("Ordres", names), Some("orders"));
        assert_eq!(nearest("customer", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(edits("abc", "abc"), 0);
        assert_eq!(edits("", "abc"), 3);
    }

    #[test]
    fn what_functions_of_a_program_say_stays_as_it_is() {
        for said in ["Binary data is bad", "the Date is no Duration", "Null"] {
            assert_eq!(in_sql(Error::input(said)).to_string(), Error::input(said).to_string());
        }
        let said = in_sql(Error::input("no Int64")).to_string();
        assert_eq!(said, Error::input("no BIGINT").to_string());
    }

    #[test]
    fn syntax_trees_are_cut_off_messages() {
        let cases = [
            (
                "Dot access not supported for non-string expr: Function(Function { name: \
                 ObjectName([Identifier(Ident { value",
                "Dot access not supported for non-string expr",
            ),
            (
                "Unsupported ast node in sqltorel: Collate { expr: Value(ValueWithSpan { span: ",
                "COLLATE in expressions",
            ),
            ("no such (thing)", "no such (thing)"),
        ];
        for (said, wanted) in cases {
            assert_eq!(without_tree(said), wanted);
        }
    }

    #[test]
    fn places_are_cut_off_messages() {
        let (text, place) = locate_message("Expected: x, found: y at Line: 12, Column: 7");
        assert_eq!((text.as_str(), place), ("Expected: x, found: y", Some(at(12, 7))));
        assert_eq!(locate_message("nothing at Line: x").1, None);
    }
}
