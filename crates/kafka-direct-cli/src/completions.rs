//! `completions`: prints the completion script of a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    cli::{Cli, CompletionsArgs},
    exit::Failure,
    output,
};

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kafka-direct", &mut script);
    if args.shell == Shell::Bash {
        // clap_complete 4.6 takes the dash of the name for a subcommand in half of the script, so that
        // nothing is completed after a subcommand.
        let text = String::from_utf8_lossy(&script);
        script = text.replace("kafka__subcmd__direct", "kafka__direct").into_bytes();
    }
    if args.shell == Shell::Fish {
        // It completes nothing after `help`, since that word itself counts as the command to help with.
        let text = String::from_utf8_lossy(&script);
        let of_help = "using_subcommand help; and not __fish_seen_subcommand_from";
        let lines = text.lines().map(|line| {
            let is_of_help = line.contains(of_help);
            if is_of_help { line.replacen(" help\" -f", "\" -f", 1) } else { line.to_owned() }
        });
        script = lines.flat_map(|line| [line, "\n".to_owned()]).collect::<String>().into_bytes();
    }
    output::block(&script)
}
