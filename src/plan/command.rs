//! Reads command lines: a list of templates, or a shell line without any.

use testledger_schemas::plan::CommandLine;
use testledger_schemas::plan::document::CommandDocument;

use super::names::Known;
use super::reader::Reader;
use super::template;
use super::tree::Path;

/// A command line: a list of templates, or a shell line without any.
pub fn read(reader: &mut Reader<'_>, path: &Path<'_>, document: &CommandDocument, known: Known<'_>) -> CommandLine {
    match document {
        CommandDocument::Argv(argv) => {
            for (index, argument) in argv.iter().enumerate() {
                reader.template(&path.index(index), argument, known);
            }
            if argv.first().is_some_and(String::is_empty) {
                reader.wrong(
                    &path.index(0),
                    "the program has no name",
                    "write the program first: `[program, argument]`",
                );
            }
            CommandLine::Argv(argv.clone())
        }
        CommandDocument::Shell(line) => {
            reader.plain(path, line);
            if template::is_template(line) {
                let message = "a template inside a shell line would be pasted into code";
                reader.wrong(path, message, format!("write it as a list: `run: {}`", as_argv(line)));
            }
            if line.trim().is_empty() {
                reader.wrong(path, "this shell line is empty", "write a command");
            }
            CommandLine::Shell(line.clone())
        }
    }
}

/// The list form of a shell line: by words where nothing in it is the shell's, else through `sh -c` with arguments.
fn as_argv(line: &str) -> String {
    const SHELLS_OWN: [char; 17] =
        ['|', '&', ';', '<', '>', '$', '`', '"', '\'', '\\', '*', '?', '[', '~', '!', '(', '\n'];
    let outside: String = template_free(line);
    if line.len() > 200 || outside.contains(SHELLS_OWN) {
        return "[sh, -c, 'command \"$1\"', sh, \"{{ name }}\"]` with the template as an argument, or put it into `env"
            .to_owned();
    }
    let words = words_around_templates(line);
    let quoted: Vec<String> = words
        .iter()
        .map(|word| if template::is_template(word) { format!("\"{word}\"") } else { word.clone() })
        .collect();
    format!("[{}]", quoted.join(", "))
}

/// The line with every template taken out.
fn template_free(line: &str) -> String {
    let mut outside = String::new();
    let mut rest = line;
    while let Some(start) = rest.find("{{") {
        outside.push_str(&rest[..start]);
        rest = rest[start..].find("}}").map_or("", |end| &rest[start + end + 2..]);
    }
    outside + rest
}

/// Splits at blanks that are not within a template.
fn words_around_templates(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut depth = 0_usize;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('{', Some('{')) => depth += 1,
            ('}', Some('}')) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c.is_whitespace() && depth == 0 {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_line_has_its_list_form() {
        assert_eq!(as_argv("./greet.sh {{ token }} -v"), r#"[./greet.sh, "{{ token }}", -v]"#);
        assert!(as_argv("cat {{ a }} | wc").starts_with("[sh, -c,"));
    }
}
