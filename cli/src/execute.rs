//! The commands: read a program, run, check or explain its statements in order, print what they
//! give.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use clap::CommandFactory;
use gristmill::{Error, Parameters, Result, Running, Session, Statement};

use crate::args::{Cli, Command, Options};
use crate::interrupt::Interrupt;
use crate::output::{Destination, Failure, Format, Screen, printer};
use crate::program::Program;
use crate::progress::{self, Bar};
use crate::{report, setup};

type Outcome = std::result::Result<(), Failure>;

/// Runs a command; the exit code says how it ended.
pub fn execute(command: Command) -> u8 {
    match command {
        Command::Run { program, options } => {
            with(Program::at(&program), |program| run(program, &options))
        }
        Command::Query { sql, options } => {
            with(Program::given(&sql), |program| run(program, &options))
        }
        Command::Check { program, options } => {
            with(Program::at(&program), |program| check(program, &options))
        }
        Command::Explain { program, json, analyze, options } => {
            with(Program::at(&program), |program| match analyze {
                true => explain_analyze(program, json, &options),
                false => explain(program, json, &options),
            })
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gristmill", &mut text);
            ended(print(&text), None)
        }
        Command::Man => {
            let mut text = Vec::new();
            let made = clap_mangen::Man::new(Cli::command()).render(&mut text);
            ended(made.map_err(Failure::from).and_then(|()| print(&text)), None)
        }
    }
}

fn with((program, read): (Program, Result<()>), act: impl FnOnce(&Program) -> Outcome) -> u8 {
    let outcome = read.map_err(Failure::from).and_then(|()| act(&program));
    ended(outcome, Some(&program))
}

fn ended(outcome: Outcome, program: Option<&Program>) -> u8 {
    match outcome {
        Ok(()) | Err(Failure::ClosedPipe) => report::code::SUCCESS,
        Err(Failure::Error(error)) => {
            let (name, text) = program.map_or(("", ""), |p| (p.name.as_str(), p.text.as_str()));
            eprint!("{}", report::render(&error, name, text));
            report::exit_code(&error)
        }
    }
}

fn print(text: &[u8]) -> Outcome {
    io::stdout().lock().write_all(text)?;
    Ok(())
}

fn run(program: &Program, options: &Options) -> Outcome {
    let session = setup::session(options)?;
    let outcome = run_statements(&program.text, &session, options);
    if options.metrics {
        eprint!("{}", report::metrics(session.engine().memory()));
    }
    outcome
}

fn run_statements(text: &str, session: &Session, options: &Options) -> Outcome {
    let interrupt = Interrupt::install()?;
    let parameters = setup::parameters(options);
    let statements = session.script(text)?;
    check_ending(options)?;
    check_results(&statements, options)?;
    let mut out = Destination::open(options.output_file())?;
    for (number, statement) in statements.iter().enumerate() {
        let start = Instant::now();
        progress::shown(options.progress, session, |bar| {
            let cancel = interrupt.next_query();
            let result = match options.output_file() {
                Some(file) => session.execute_for(file, statement, &parameters, cancel)?,
                None => session.execute_with(statement, &parameters, cancel)?,
            };
            print_result(result, statement, options, (&mut out, bar))
        })
        .map_err(|failure: Failure| failure.at(statement.position()))?;
        out.end_result()?;
        if options.timing {
            eprintln!("timing: {} {:.6}", number + 1, start.elapsed().as_secs_f64());
        }
    }
    out.finish()
}

fn print_result(
    result: Running,
    statement: &Statement,
    options: &Options,
    (out, bar): (&mut Destination, &Bar),
) -> Outcome {
    let format = format_of(options);
    if !statement.gives_rows() {
        return print_count(result, format, (out, bar));
    }
    let screen = match options.output_file() {
        Some(_) => None,
        None => Screen::of_stdout(options.rows),
    };
    // What is printed on a terminal would be mixed with the bar.
    let is_seen = options.output_file().is_none() && io::stdout().is_terminal();
    let mut printer = printer(format, result.schema().clone(), screen);
    for batch in result {
        let batch = batch?;
        if is_seen {
            bar.end();
        }
        printer.batch(&batch, out)?;
    }
    bar.end();
    printer.finish(out)
}

/// What a statement without rows did: for people how many rows it wrote, for programs nothing.
fn print_count(result: Running, format: Format, (out, bar): (&mut Destination, &Bar)) -> Outcome {
    for batch in result {
        let batch = batch?;
        bar.end();
        let column = batch.columns().first().and_then(|c| c.as_primitive_opt::<Int64Type>());
        let counts = column.iter().flat_map(|counts| counts.values().iter());
        for count in counts.filter(|_| format == Format::Table) {
            writeln!(out, "({count} {} written)", if *count == 1 { "row" } else { "rows" })?;
        }
    }
    Ok(())
}

fn format_of(options: &Options) -> Format {
    let by_ending = || options.output_file().and_then(Format::of_path);
    options.format.or_else(by_ending).unwrap_or(Format::Table)
}

/// A file whose name says no format gets the one that is asked for.
fn check_ending(options: &Options) -> Result<()> {
    match options.output_file() {
        // Devices and pipes have no endings.
        Some(file) if file.exists() && !file.is_file() => Ok(()),
        Some(file) if options.format.is_none() && Format::of_path(file).is_none() => {
            let file = file.display();
            Err(Error::input(format!(
                "the ending of '{file}' names no format; add --format, or end it with .txt, .csv, \
                 .tsv, .json, .ndjson, .md, .arrow or .parquet"
            )))
        }
        _ => Ok(()),
    }
}

/// Formats of bytes are not for terminals. They and files of most others hold the result of one
/// statement; a pipe may take several one after the other.
fn check_results(statements: &[Statement], options: &Options) -> Result<()> {
    let format = format_of(options);
    let file = options.output_file();
    if format.is_binary() && file.is_none() && io::stdout().is_terminal() {
        let message = "the result would be bytes on a terminal; add `--output FILE`";
        return Err(Error::input(message));
    }
    let results = statements.iter().filter(|statement| statement.gives_rows()).count();
    match format.of_one_result() {
        Some(name) if results == 0 && (format.is_binary() || file.is_some()) => Err(Error::input(
            format!("a file of {name} holds the result of one statement, and none here gives one"),
        )),
        Some(name) if results > 1 && (format.is_binary() || file.is_some()) => {
            Err(Error::input(format!(
                "a file of {name} holds the result of one statement, here are {results} results; \
                 use COPY … TO for each"
            )))
        }
        _ => Ok(()),
    }
}

fn check(program: &Program, options: &Options) -> Outcome {
    let session = setup::session(options)?;
    let parameters = setup::parameters(options);
    let statements = session.script(&program.text)?;
    let mut rehearsal = session.rehearsal();
    statements.iter().try_for_each(|statement| rehearsal.plan(statement, &parameters))?;
    let count = statements.len();
    let what = if count == 1 { "statement is" } else { "statements are" };
    print(format!("{}: {count} {what} fine\n", program.name).as_bytes())
}

fn explain(program: &Program, json: bool, options: &Options) -> Outcome {
    let session = setup::session(options)?;
    let parameters: Parameters = setup::parameters(options);
    let mut out = Destination::open(options.output_file())?;
    let mut rehearsal = session.rehearsal();
    for statement in &session.script(&program.text)? {
        let outline = rehearsal.outline(statement, &parameters, json)?;
        let text = if json { outline.json } else { outline.text };
        writeln!(out, "{}", text.trim_end())?;
    }
    out.finish()
}

fn explain_analyze(program: &Program, json: bool, options: &Options) -> Outcome {
    let session = setup::session(options)?;
    let interrupt = Interrupt::install()?;
    let parameters = setup::parameters(options);
    let mut out = Destination::open(options.output_file())?;
    for statement in &session.script(&program.text)? {
        let text = progress::shown(options.progress, &session, |_| {
            session.analyze(statement, &parameters, json, interrupt.next_query())
        })
        .map_err(|error| Failure::from(error).at(statement.position()))?;
        writeln!(out, "{}", text.trim_end())?;
    }
    out.finish()
}
