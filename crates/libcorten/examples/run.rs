//! Runs a bundle and exits as its process did: `run BUNDLE [ID]`.

use std::process::ExitCode;

use libcorten::{Bundle, CreateOptions, Result, Runtime};

fn run(directory: &str, id: &str) -> Result<i32> {
    let bundle = Bundle::open(directory)?;
    let container = Runtime::new("/run/corten").run(id, &bundle, &CreateOptions::default())?;
    let exit = container.wait()?;
    container.delete(false)?;
    Ok(exit.code())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| ".".to_owned());
    let id = arguments.next().unwrap_or_else(|| "example".to_owned());
    match run(&directory, &id) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(255)),
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a program, not the library")]
            {
                eprintln!("{}", error.chain());
            }
            ExitCode::FAILURE
        }
    }
}
