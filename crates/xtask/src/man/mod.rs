//! `cargo xtask man`: the man pages, of the definition of the command line and of the texts in `pages.rs`.

mod pages;

// The definition alone, without the library: the task needs no libseccomp. Here nobody reads what it parses.
#[allow(dead_code, reason = "the fields are read by the binary")]
#[path = "../../../../runtime-bin/src/arguments.rs"]
mod arguments;

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::Result;
pub(crate) use arguments::Arguments;
use pages::{COMMANDS, Page, RUNTIME};

/// A page: the name of its file, and its text.
pub(crate) type File = (String, Vec<u8>);

/// Writes the pages into a directory.
pub(crate) fn run(directory: &Path) -> Result {
    std::fs::create_dir_all(directory)?;
    for (name, text) in pages()? {
        std::fs::write(directory.join(name), text)?;
    }
    println!("wrote {}", directory.join("corten*.8").display());
    Ok(())
}

/// Makes the pages: `corten.8`, and one for each command.
pub(crate) fn pages() -> Result<Vec<File>> {
    let runtime = Arguments::command().disable_help_subcommand(true);
    let mut runtime = runtime.subcommand_value_name("COMMAND").subcommand_help_heading("COMMANDS");
    runtime.build();
    let mut files = vec![page(runtime.clone(), &RUNTIME)?];
    for command in runtime.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        let page_of = COMMANDS.iter().find(|page| page.command == name);
        files.push(page(command.clone(), page_of.ok_or(format!("man/pages.rs: no page for {name:?}"))?)?);
    }
    Ok(files)
}

fn page(command: Command, page: &Page) -> Result<File> {
    let title = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let man = Man::new(command.long_about(page.text.join("\n\n")))
        .title(title.to_uppercase())
        .section("8")
        .source(concat!("Corten ", env!("CARGO_PKG_VERSION")))
        .manual("Corten");
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut rest = Roff::default();
    definitions(&mut rest, "EXIT STATUS", page.exit_status);
    definitions(&mut rest, "ENVIRONMENT", page.environment);
    definitions(&mut rest, "FILES", page.files);
    examples(&mut rest, page.examples);
    see_also(&mut rest, page);
    rest.to_writer(&mut text)?;
    Ok((format!("{title}.8"), text))
}

/// A section of terms and what they mean.
fn definitions(roff: &mut Roff, heading: &str, terms: &[(&str, &str)]) {
    if terms.is_empty() {
        return;
    }
    roff.control("SH", [heading]);
    for (term, meaning) in terms {
        roff.control("TP", []).text([bold(*term)]).text([roman(*meaning)]);
    }
}

/// A section of command lines and what they do.
fn examples(roff: &mut Roff, examples: &[(&str, &str)]) {
    if examples.is_empty() {
        return;
    }
    roff.control("SH", ["EXAMPLES"]);
    for (meaning, lines) in examples {
        roff.control("PP", []).text([roman(*meaning)]);
        roff.control("PP", []).control("RS", ["4"]).control("nf", []);
        for line in lines.lines() {
            roff.text([bold(line)]);
        }
        roff.control("fi", []).control("RE", []);
    }
}

fn see_also(roff: &mut Roff, page: &Page) {
    let own = if page.command.is_empty() { None } else { Some("corten(8)") };
    let names: Vec<&str> = own.into_iter().chain(page.see_also.iter().copied()).collect();
    roff.control("SH", ["SEE ALSO"]).text([roman(names.join(", "))]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.starts_with(&["corten.8", "corten-checkpoint.8", "corten-completion.8"]), "{names:?}");
        assert!(names.contains(&"corten-update.8"), "{names:?}");
    }

    #[test]
    fn every_flag_is_explained() {
        let mut runtime = Arguments::command();
        runtime.build();
        for command in std::iter::once(&runtime).chain(runtime.get_subcommands()) {
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(
                    argument.get_help().is_some(),
                    "corten {}: {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
    }

    #[test]
    fn pages_named_in_others_are_there() {
        let pages = pages().unwrap();
        for page in std::iter::once(&RUNTIME).chain(COMMANDS.iter()) {
            // Texts may be there before their command.
            let is_there = |name: &str| pages.iter().any(|(file, _)| file == &format!("{name}.8"));
            if !page.command.is_empty() && !is_there(&format!("corten-{}", page.command)) {
                continue;
            }
            for other in page.see_also.iter().filter_map(|other| other.strip_suffix("(8)")) {
                let is_ours = other.starts_with("corten");
                let has_text = COMMANDS.iter().any(|page| format!("corten-{}", page.command) == other);
                assert!(!is_ours || is_there(other) || has_text, "{:?} names {other}", page.command);
            }
        }
    }

    #[test]
    fn a_page_in_full() {
        let (_, text) = pages().unwrap().into_iter().find(|(name, _)| name == "corten-kill.8").unwrap();
        let text = String::from_utf8(text).unwrap();
        insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }
}
