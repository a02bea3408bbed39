//! A program text as statements, each with its place and a bound on its depth.
//!
//! The text is split on the tokens' semicolons, and a statement keeps its tokens, which are flat,
//! rather than its syntax tree, whose depth only a prepared stack can take (see `stack`). The
//! whole text is checked for syntax before its first statement runs.

use datafusion_sql::parser::{DFParser, DFParserBuilder, Statement as Body};
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use gristmill_engine::{Error, Position, Result};

use super::diagnose::{at, locate_message, to_error};
use super::dialect::Ours;
use super::digits::join_digits;
use super::explain::{Explain, cut_explain};
use super::from_first::write_selects;
use super::grouping_items;
use super::operators;
use super::placeholders::{fill_syntax, fill_tokens};
use super::plain_names;
use super::stack::with_stack_for;
use super::statement_set::{begins_set, ends_set};
use super::syntax;
use super::texts::join_texts;
use super::type_tokens::name_structures;
use super::unsupported;
use super::written_options::write_options;
use super::written_types::name_stamps;
use crate::parameters::Parameters;

/// Expressions deeper than this are refused: the binder's time grows with the square of the depth.
const DEPTH_MAX: usize = 800;

/// Chains of AND, OR, UNION and `||` longer than this, in words and signs, are refused.
const CHAIN_MAX: usize = 100_000;

/// Nested parentheses, and NOTs in front of them, that the parser follows. What nests deeper never
/// gets to it: behind a NOT it tries again what was too deep, twice at every level.
pub(super) const NESTING_MAX: usize = 320;

/// Levels that one JOIN may cost. What stands in its ON is not below the ON of the next.
const LEVELS_PER_JOIN: usize = 4;

/// Levels that one pair of parentheses may cost, compared with one operator: the parser follows
/// them through all ranks of operators, and little of them is left in the tree.
const LEVELS_PER_PARENTHESIS: Depth = Depth { parsed: 16, balanced: 2 };

/// One statement of a program.
#[derive(Debug, Clone)]
pub struct Statement {
    tokens: Vec<TokenWithSpan>,
    position: Position,
    depth: Depth,
    /// The statements of a set; of that, `tokens` has what stands before them.
    members: Vec<Statement>,
}

/// A statement's syntax tree, and what was taken off its tokens before it was parsed.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) explain: Option<Explain>,
    /// SUMMARIZE stands in front.
    pub(crate) summarize: bool,
    /// CREATE EXTERNAL TABLE has WITH HEADER ROW.
    pub(crate) header_row: bool,
    pub(crate) body: Body,
}

/// Upper bounds of how deep a statement's trees are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Depth {
    /// As parsed.
    pub(crate) parsed: usize,
    /// With long chains of AND and OR balanced.
    pub(crate) balanced: usize,
}

/// Splits a program into its statements; comments and empty statements are left out.
///
/// # Errors
/// `Input` with its place for the first thing that is not SQL.
pub fn statements(text: &str) -> Result<Vec<Statement>> {
    // Editors put a mark in front that says how the text is encoded.
    let tokens = tokens_of(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    let mut parts = tokens
        .split(|token| token.token == Token::SemiColon)
        .map(<[TokenWithSpan]>::to_vec)
        .filter(|tokens| !tokens.is_empty());
    let mut statements = Vec::new();
    while let Some(tokens) = parts.next() {
        statements.push(match begins_set(&tokens)? {
            Some(head) => Statement::set(tokens, head, &mut parts)?,
            None => Statement::single(tokens)?,
        });
    }
    Ok(statements)
}

/// The words and signs of a text, without comments.
///
/// # Errors
/// `Input` with its place for the first thing that is neither.
pub(super) fn tokens_of(text: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&Ours, text).tokenize_with_location().map_err(|e| {
        let position = at(e.location.line, e.location.column);
        Error::input_at(format!("syntax error: {}", e.message.trim()), position)
    })?;
    let tokens = join_texts(join_digits(tokens)?)?.into_iter().filter(|token| !is_space(token));
    Ok(tokens.map(plain_names::without_keyword).collect())
}

impl Statement {
    /// A statement whose tokens were put together, and may have no places.
    ///
    /// # Errors
    /// `Input` when it nests too deeply.
    pub(super) fn of_tokens(tokens: Vec<TokenWithSpan>) -> Result<Statement> {
        let depth = depth_bound(&tokens)?;
        Ok(Statement { tokens, position: Position::default(), depth, members: Vec::new() })
    }

    /// One statement, whose syntax is checked.
    fn single(tokens: Vec<TokenWithSpan>) -> Result<Statement> {
        let depth = depth_bound(&tokens)?;
        let statement = Statement { position: place_of(&tokens), tokens, depth, members: vec![] };
        with_stack_for(depth, || statement.parse(None).map(drop))?;
        Ok(statement)
    }

    /// The statements up to END as one. Before the first of them stand `head` tokens.
    fn set(
        mut tokens: Vec<TokenWithSpan>,
        head: usize,
        parts: &mut impl Iterator<Item = Vec<TokenWithSpan>>,
    ) -> Result<Statement> {
        let position = place_of(&tokens);
        let first = tokens.split_off(head);
        let mut parts = std::iter::once(first).filter(|first| !first.is_empty()).chain(parts);
        let mut members: Vec<Statement> = Vec::new();
        let mut depth = Depth::default();
        loop {
            let Some(part) = parts.next() else {
                let message = "syntax error: the statement set that begins here has no END";
                return Err(Error::input_at(message, position));
            };
            if ends_set(&part) {
                break;
            }
            let member = Statement::single(part)?;
            depth.parsed = depth.parsed.max(member.depth.parsed);
            depth.balanced = depth.balanced.max(member.depth.balanced);
            members.push(member);
        }
        if members.is_empty() {
            return Err(Error::input_at("a statement set without statements", position));
        }
        Ok(Statement { tokens, position, depth, members })
    }

    /// The statements of a set; of any other statement, none.
    pub(crate) fn members(&self) -> &[Statement] {
        &self.members
    }

    /// The EXPLAIN in front of a set.
    pub(crate) fn explain_of_set(&self) -> Result<Option<Explain>> {
        cut_explain(&mut self.tokens.clone())
    }

    /// Where it begins.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Its first word, in capitals.
    pub fn first_word(&self) -> String {
        self.tokens.first().map(|t| t.token.to_string().to_uppercase()).unwrap_or_default()
    }

    /// Whether it asks for rows; others change something, and count the rows that they write.
    pub fn gives_rows(&self) -> bool {
        let changing = ["COPY", "CREATE", "DROP", "EXECUTE", "INSERT", "RESET", "SET"];
        !changing.contains(&self.first_word().as_str())
    }

    /// The words that say what it is, at most two, in capitals: `SHOW TABLES`.
    pub(crate) fn kind(&self) -> String {
        let words = self.tokens.iter().take(2).map_while(|t| match &t.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
            _ => None,
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// How deep its syntax tree may be.
    pub(crate) fn depth(&self) -> Depth {
        self.depth
    }

    /// The names and paths in it, quotes left off.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        let members = self.members.iter().flat_map(|member| &member.tokens);
        self.tokens.iter().chain(members).filter_map(|token| match &token.token {
            Token::Word(word) => Some(word.value.as_str()),
            _ => None,
        })
    }

    /// The query behind the AS of a CREATE VIEW.
    pub(crate) fn query_of_view(&self) -> Option<Statement> {
        let mut open = 0usize;
        let is_as = |token: &TokenWithSpan| {
            match &token.token {
                Token::LParen => open += 1,
                Token::RParen => open = open.saturating_sub(1),
                _ => {}
            }
            open == 0 && matches!(&token.token, Token::Word(w) if w.keyword == Keyword::AS)
        };
        let at_as = self.tokens.iter().position(is_as)?;
        let tokens = self.tokens.get(at_as + 1..)?.to_vec();
        let first = tokens.first()?.span.start;
        let position = at(first.line, first.column);
        Some(Statement { tokens, position, depth: self.depth, members: Vec::new() })
    }

    /// The syntax tree, for a stack that is deep enough. Without values for the parameters it is
    /// good for a look at the syntax.
    pub(crate) fn parse(&self, parameters: Option<&Parameters>) -> Result<Parsed> {
        let mut tokens = self.tokens.clone();
        let explain = cut_explain(&mut tokens)?;
        let summarize = syntax::cut_summarize(&mut tokens);
        // Before parameters: the FROM of a comparison has no path behind it.
        syntax::name_comparisons(&mut tokens);
        write_selects(&mut tokens);
        grouping_items::enclose(&mut tokens);
        name_stamps(&mut tokens);
        name_structures(&mut tokens);
        operators::cut_needless(&mut tokens);
        fill_tokens(&mut tokens, parameters)?;
        write_options(&mut tokens);
        let header_row = syntax::cut_header_row(&mut tokens);
        let end = self.tokens.last().map_or(Location::empty(), |t| t.span.end);
        tokens.push(TokenWithSpan::at(Token::EOF, end, end));
        let builder =
            DFParserBuilder::new(tokens).with_dialect(&Ours).with_recursion_limit(NESTING_MAX);
        let mut parser = builder.build().map_err(|e| to_error(&e, &self.position))?;
        let parsed = parser.parse_statement().map_err(|e| syntax_error(e, end))?;
        expect_end(&parser)?;
        // In this order: only rewritten trees are shallow enough to be walked.
        let mut body = syntax::rewrite(parsed);
        unsupported::refuse(&body, &self.position)?;
        if let Some(parameters) = parameters {
            fill_syntax(&mut body, parameters);
        }
        Ok(Parsed { explain, summarize, header_row, body })
    }
}

/// A parser's error; what it says about the end of the text stands behind the last token.
pub(super) fn syntax_error(error: datafusion_common::DataFusionError, end: Location) -> Error {
    match to_error(&error, &Position::default()) {
        Error::Input { message, position } => {
            let known = position.filter(|p| p.line > 0);
            let (message, place) = locate_message(&message);
            let message = message.trim_start_matches("sql parser error: ");
            let place = known.or(place).unwrap_or_else(|| at(end.line, end.column));
            if message.to_uppercase().ends_with("FOUND: EXCLUDE") {
                return Error::input_at("not supported: EXCLUDE in a window", place);
            }
            // The parser knows but one way to write these.
            let message = match message.starts_with("Expected: MATCH_CONDITION") {
                true => "not supported: ASOF JOIN".to_string(),
                false => format!("syntax error: {message}"),
            };
            Error::input_at(message, place)
        }
        other => other,
    }
}

fn expect_end(parser: &DFParser<'_>) -> Result<()> {
    let next = parser.parser.peek_token_ref();
    if next.token == Token::EOF {
        return Ok(());
    }
    let position = at(next.span.start.line, next.span.start.column);
    Err(Error::input_at(
        format!("syntax error: Expected: end of statement or ;, found: {}", next.token),
        position,
    ))
}

fn place_of(tokens: &[TokenWithSpan]) -> Position {
    let start = tokens.first().map_or(Location::empty(), |first| first.span.start);
    at(start.line, start.column)
}

fn is_space(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_) | Token::EOF)
}

/// Counts what may nest: every token adds at most one level to those open in its parentheses, a
/// comma ends them, and so do a JOIN and an operator whose chains are balanced. CASE … END is as a
/// pair of parentheses, its branches as what commas part.
pub(super) fn depth_bound(tokens: &[TokenWithSpan]) -> Result<Depth> {
    let mut open: Vec<(Closing, Depth)> = Vec::new();
    let (mut own, mut outer, mut deepest) = (Depth::default(), Depth::default(), Depth::default());
    let (mut nesting, mut joins) = (Nesting::default(), 0);
    for token in tokens {
        nesting.step(&token.token);
        match step(&token.token) {
            Step::Open(closing) => {
                open.push((closing, own));
                outer = outer.plus(own).plus(LEVELS_PER_PARENTHESIS);
                own = Depth::default();
            }
            Step::Close(closing) if open.last().is_some_and(|(c, _)| *c == closing) => {
                if let Some((_, before)) = open.pop() {
                    outer = outer.minus(before).minus(LEVELS_PER_PARENTHESIS);
                    own = before;
                }
            }
            Step::Close(_) => {}
            Step::Next => own = Depth::default(),
            Step::Join => {
                joins += LEVELS_PER_JOIN;
                own = Depth { parsed: joins, balanced: joins };
            }
            Step::Chain => own = Depth { parsed: own.parsed + 1, balanced: 0 },
            Step::Term => own = own.plus(Depth { parsed: 1, balanced: 1 }),
        }
        deepest.parsed = deepest.parsed.max(outer.parsed + own.parsed);
        deepest.balanced = deepest.balanced.max(outer.balanced + own.balanced);
        let exceeded = (deepest.balanced > DEPTH_MAX)
            .then_some(DEPTH_MAX)
            .or((deepest.parsed > CHAIN_MAX).then_some(CHAIN_MAX))
            .or((nesting.levels() >= NESTING_MAX).then_some(NESTING_MAX));
        if let Some(max) = exceeded {
            let place = at(token.span.start.line, token.span.start.column);
            let message = format!(
                "this nests, or chains operators or EXCEPT, to more than {max} levels; split it"
            );
            return Err(Error::input_at(message, place));
        }
    }
    Ok(deepest)
}

impl Depth {
    /// What reading a view adds to the depth of its query.
    pub(crate) const OF_A_VIEW: Depth = Depth { parsed: 32, balanced: 2 };

    /// One below the other.
    pub(crate) fn plus(self, other: Depth) -> Depth {
        Depth { parsed: self.parsed + other.parsed, balanced: self.balanced + other.balanced }
    }

    fn minus(self, other: Depth) -> Depth {
        Depth {
            parsed: self.parsed.saturating_sub(other.parsed),
            balanced: self.balanced.saturating_sub(other.balanced),
        }
    }
}

/// Open parentheses, and the NOTs in front of them.
#[derive(Default)]
struct Nesting {
    /// How many NOTs stand in front of each.
    open: Vec<usize>,
    /// Their sum.
    outer: usize,
    /// NOTs right before the token at hand.
    own: usize,
}

impl Nesting {
    fn step(&mut self, token: &Token) {
        match token {
            Token::LParen => {
                self.open.push(self.own);
                self.outer += self.own;
                self.own = 0;
            }
            Token::RParen => {
                self.outer -= self.open.pop().unwrap_or_default();
                self.own = 0;
            }
            Token::Word(word) if word.keyword == Keyword::NOT => self.own += 1,
            _ => self.own = 0,
        }
    }

    fn levels(&self) -> usize {
        self.open.len() + self.outer + self.own
    }
}

/// What ends something that nests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    Parenthesis,
    End,
}

/// What a token means for the depth.
enum Step {
    Open(Closing),
    Close(Closing),
    /// Parts neighbours: what comes is no deeper than what was.
    Next,
    /// One more input, above those before it.
    Join,
    /// An operator, or UNION, whose chains are balanced.
    Chain,
    Term,
}

fn step(token: &Token) -> Step {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Step::Open(Closing::Parenthesis),
        Token::RParen | Token::RBracket | Token::RBrace => Step::Close(Closing::Parenthesis),
        Token::Comma => Step::Next,
        Token::StringConcat => Step::Chain,
        Token::Word(word) => match word.keyword {
            Keyword::AND | Keyword::OR | Keyword::UNION => Step::Chain,
            Keyword::JOIN => Step::Join,
            Keyword::CASE => Step::Open(Closing::End),
            Keyword::END => Step::Close(Closing::End),
            // These part the branches of a CASE and stand nowhere else in an expression.
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE => Step::Next,
            _ => Step::Term,
        },
        _ => Step::Term,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        statements(text).expect_err("not SQL").to_string()
    }

    #[test]
    fn marks_of_the_encoding_are_no_part_of_a_text() {
        let all = statements("\u{feff}select 1").expect("one statement");
        assert_eq!((all.len(), all[0].first_word().as_str()), (1, "SELECT"));
    }

    #[test]
    fn statements_have_places() {
        let text = "-- a comment\nselect 1;\n;\n  select ';' -- not; here\n ; /* ; */";
        let found = statements(text).expect("parses");
        let places: Vec<_> =
            found.iter().map(|s| (s.position().line, s.position().column)).collect();
        assert_eq!(places, [(2, 1), (4, 3)]);
        assert!(statements(" \n -- nothing\n;").expect("parses").is_empty());
        assert_eq!(found[0].first_word(), "SELECT");
    }

    #[test]
    fn a_statement_set_is_one_statement() {
        let text = "select 1;\n explain execute statement set begin\n copy t to 'a.csv';; copy u \
                    to 'b.csv'; end; select 2";
        let found = statements(text).expect("parses");
        let members: Vec<usize> = found.iter().map(|s| s.members().len()).collect();
        assert_eq!(members, [0, 2, 0]);
        assert_eq!((found[1].position().line, found[1].members()[0].position().line), (2, 3));
        assert!(found[1].explain_of_set().expect("parses").is_some());
        let errors = [
            ("execute statement set copy t to 'a'", "Expected: BEGIN, found: copy"),
            ("execute statement set", "Expected: BEGIN, found: EOF"),
            ("select 1;\nexecute statement set begin copy t to 'a'", "line 2, column 1: syntax"),
            ("execute statement set begin end", "without statements"),
            ("execute statement set begin\n copy t; end", "line 2"),
        ];
        for (text, expected) in errors {
            assert!(error(text).contains(expected), "{text}\n{}", error(text));
        }
    }

    #[test]
    fn syntax_errors_have_places() {
        let message = error("select 1;\nselect a frm b x");
        assert!(message.starts_with("line 2, column 14: syntax error: Expected"), "{message}");
        let message = error("select\n  'abc");
        assert!(message.starts_with("line 2, column 3: syntax error: Unterm"), "{message}");
        let message = error("select (1 +");
        assert!(message.starts_with("line 1, column 12"), "{message}");
        let message = error("copy t");
        assert!(message.contains("line 1") && message.contains("TO"), "{message}");
    }

    #[test]
    fn deep_texts_parse_or_are_refused() {
        let sum = format!("select {}1", "1+".repeat(350));
        statements(&sum).expect("parses");
        let conditions = format!("select 1 where {}1=1", "a=1 or ".repeat(20_000));
        statements(&conditions).expect("is balanced");
        let nested = format!("select {}1{}", "(".repeat(200), ")".repeat(200));
        statements(&nested).expect("nests");
        let nested = format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000));
        assert!(error(&nested).contains("split it"), "{}", error(&nested));
        for depth in [100, 158, 162, 250] {
            let nested = format!("select {}true{}", "not (".repeat(depth), ")".repeat(depth));
            assert_eq!(statements(&nested).is_ok(), depth < 160, "{depth}");
        }
        for joins in [150, 250] {
            let join = "left join t on a = b + 1 and c like 'd' ";
            let joined = format!("select * from t {}", join.repeat(joins));
            assert_eq!(statements(&joined).is_ok(), joins < 200, "{joins}");
        }
        let endless = format!("select {}1", "1+".repeat(12_000));
        assert!(error(&endless).contains("split it"));
        let branches = format!("select case {} end", "when a=1 then 1 ".repeat(5_000));
        statements(&branches).expect("branches are wide, not deep");
        let wide = format!("select 1 in ({}1)", "1,".repeat(80_000));
        statements(&wide).expect("a list is wide, not deep");
    }
}
