//! The commands: read a program, run or explain its statements in order, print what they give.

use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::time::Instant;

use gristmill::{Error, Result, Session, Statement};

use crate::args::{Command, Options};
use crate::interrupt::Interrupt;
use crate::output::{Failure, printer};
use crate::{report, setup};

/// A program and the name it has in errors.
struct Program {
    name: String,
    text: String,
}

/// Runs a command; the exit code says how it ended.
pub fn execute(command: Command) -> u8 {
    let (program, outcome) = match command {
        Command::Run { program, options } => with_program(&program, |text| run(text, &options)),
        Command::Query { sql, options } => {
            let program = Program { name: "query".to_string(), text: sql };
            let outcome = run(&program.text, &options);
            (program, outcome)
        }
        Command::Explain { program, json, options } => {
            with_program(&program, |text| explain(text, json, &options))
        }
    };
    match outcome {
        Ok(()) | Err(Failure::ClosedPipe) => report::code::SUCCESS,
        Err(Failure::Error(error)) => {
            eprint!("{}", report::render(&error, &program.name, &program.text));
            report::exit_code(&error)
        }
    }
}

type Outcome = std::result::Result<(), Failure>;

fn with_program(path: &Path, act: impl FnOnce(&str) -> Outcome) -> (Program, Outcome) {
    let name = if path == Path::new("-") {
        "standard input".to_string()
    } else {
        path.display().to_string()
    };
    match read(path) {
        Ok(text) => {
            let outcome = act(&text);
            (Program { name, text }, outcome)
        }
        Err(error) => (Program { name, text: String::new() }, Err(error.into())),
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.map_err(|e| Error::io("read", path, e))?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::input(format!("{}: byte {at} is not valid UTF-8", path.display()))
    })
}

fn run(text: &str, options: &Options) -> Outcome {
    let session = setup::session(options)?;
    let outcome = run_statements(text, &session, options);
    if options.metrics {
        eprint!("{}", report::metrics(session.engine().memory()));
    }
    outcome
}

fn run_statements(text: &str, session: &Session, options: &Options) -> Outcome {
    let interrupt = Interrupt::install()?;
    for (number, statement) in session.script(text)?.iter().enumerate() {
        let start = Instant::now();
        print_result(session, statement, options, &interrupt)?;
        if options.timing {
            eprintln!("timing: {} {:.6}", number + 1, start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

fn print_result(
    session: &Session,
    statement: &Statement,
    options: &Options,
    interrupt: &Interrupt,
) -> Outcome {
    let result = session.execute_with(statement, interrupt.next_query())?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut printer = printer(options.format, result.schema().clone());
    for batch in result {
        printer.batch(&batch?, &mut out)?;
    }
    printer.finish(&mut out)?;
    out.flush()?;
    Ok(())
}

fn explain(text: &str, json: bool, options: &Options) -> Outcome {
    let session = setup::session(options)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for statement in &session.script(text)? {
        let plan = if json { session.plan_json(statement)? } else { session.explain(statement)? };
        writeln!(out, "{}", plan.trim_end())?;
    }
    out.flush()?;
    Ok(())
}
