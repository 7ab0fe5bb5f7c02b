use super::*;

fn agent(name: &str) -> Arc<Agent> {
    Agents::default().of(&[name.to_owned()]).expect(name)
}

fn says(program: &str, text: &str) -> Option<(AttentionState, Option<String>)> {
    agent(program).read(text).map(|says| (says.state, says.message))
}

#[test]
fn the_shipped_rules_can_be_used() {
    let shipped = shipped().unwrap();
    assert_eq!(shipped.keys().collect::<Vec<_>>(), ["aider", "claude", "codex", "gemini"]);
}

#[test]
fn screens_of_agents_are_understood() {
    use AttentionState::*;
    let question = "╭────╮\n│ Bash command │\n│   rm -rf build │\n│ Do you want to proceed? │\n\
                    │ ❯ 1. Yes │\n│   2. No, and tell Claude what to do differently (esc) │\n╰────╯";
    assert_eq!(says("claude", question), Some((Blocked, Some("Do you want to proceed?".into()))));
    let works =
        "● Reading\n✻ Thinking… (12s · esc to interrupt)\n╭──╮\n│ >  │\n╰──╯\n  ? for shortcuts";
    assert_eq!(says("claude", works), Some((Working, None)));
    assert_eq!(
        says("claude", "● Done.\n╭──╮\n│ > x │\n╰──╯\n  ? for shortcuts"),
        Some((Idle, None))
    );
    assert_eq!(says("claude", "nothing of it"), None);
    let question = "Would you like to run the following command?\n\n  $ rm x\n\n› 1. Yes, proceed (y)\n  \
                    2. No\n\n  Press enter to confirm or esc to cancel";
    let asked = "Would you like to run the following command?";
    assert_eq!(says("codex", question), Some((Blocked, Some(asked.into()))));
    assert_eq!(says("codex", "• Working (3s • esc to interrupt)\n\n› ask"), Some((Working, None)));
    assert_eq!(says("codex", "• Done\n\n› Ask Codex to do anything"), Some((Idle, None)));
    let question = "│ Allow execution of: 'rm'? │\n│ ● 1. Yes, allow once │\n⠏ Waiting for user confirmation...";
    let asked = "Allow execution of: 'rm'?";
    assert_eq!(says("gemini", question), Some((Blocked, Some(asked.into()))));
    assert_eq!(says("gemini", "⠏ Thinking (esc to cancel, 3s)\n│ > x │"), Some((Working, None)));
    assert_eq!(says("gemini", "│ >   Type your message or @path/to/file │"), Some((Idle, None)));
    let question = "Run shell command? (Y)es/(N)o/(D)on't ask again [Yes]:";
    assert_eq!(says("aider", question), Some((Blocked, Some("Run shell command?".into()))));
    assert_eq!(says("aider", "Tokens: 2k\narchitect> fix"), Some((Idle, None)));
}

#[test]
fn only_the_last_lines_count() {
    let old = format!("Do you want to proceed?\n❯ 1. Yes\n{}│ > │", "line\n".repeat(LINES));
    assert_eq!(says("claude", &old), Some((AttentionState::Idle, None)));
}

#[test]
fn notifications_that_ask_are_told_from_others() {
    let claude = agent("claude");
    let asks = "Claude needs your permission to use Bash";
    assert_eq!(claude.notification(asks), Some(AttentionState::Blocked));
    assert_eq!(claude.notification("Claude is waiting for your input"), None);
}

#[test]
fn rules_of_the_settings_replace_and_add_and_are_refused_with_the_reason() {
    let parse = |text: &str| -> Result<Agents, (String, String)> {
        let tables: Shipped = toml::from_str(text).unwrap();
        Agents::new(tables.agent)
    };
    let own =
        "[agent.claude]\nprograms = ['cl']\n[[agent.claude.rule]]\nstate='working'\nwhen=['x']\n";
    let agents = parse(own).unwrap();
    assert!(agents.of(&["claude".into()]).is_none() && agents.of(&["aider".into()]).is_some());
    assert_eq!(agents.of(&["cl".into()]).unwrap().name(), "claude");
    assert!(agents != Agents::default() && agents == parse(own).unwrap());
    for (text, key, why) in [
        ("[agent.a]\nprograms = []", "agent.a.programs", "names"),
        ("[agent.a]\nprograms = ['a']\nlines = 0", "agent.a.lines", "1 to 200"),
        ("[agent.a]\nprograms = ['a']\nstart = '('", "agent.a.start", "unclosed"),
        ("[agent.a]\nprograms=['a']\nrule=[{state='idle',when=[]}]", "agent.a.rule", "empty"),
        ("[agent.a]\nprograms=['a']\nrule=[{state='idle',when=['(']}]", "agent.a.rule", "number 1"),
        (
            "[agent.a]\nprograms=['a']\nrule=[{state='idle',when=['x'],message='x'}]",
            "agent.a.rule",
            "(?<message>",
        ),
        (
            "[agent.a]\nprograms=['a']\nnotification=[{state='idle',when=['']}]",
            "agent.a.notification",
            "1 to",
        ),
    ] {
        let (found, problem) = parse(text).unwrap_err();
        assert!(found == key && problem.contains(why), "{text}: {found}: {problem}");
    }
}

/// Screens as version 2 of Claude Code has them, beside those that look like them.
#[test]
fn what_was_left_on_the_screen_is_told_from_what_is_shown_now() {
    use AttentionState::*;
    let rule = "─".repeat(20);
    let prompt = format!("{rule}\n❯ \n{rule}\n  ? for shortcuts");
    let dialog = " Bash command\n\n   rm x\n\n Do you want to proceed?\n ❯ 1. Yes\n   2. No\n\n Esc to cancel";
    let spinner = "✢ Cogitating… (0s · ↑ 1 tokens · esc to interrupt)";
    let banner = "Killed\n$ claude\n▗ ▗   ▖ ▖  Claude Code v2.1.29";
    let state = |text: String| says("claude", &text).map(|(state, _)| state);
    assert_eq!(state(format!("❯ 2 + 2?\n\n{spinner}\n\n{prompt}")), Some(Working));
    assert_eq!(state(format!("✽ Compacting…\n\n{prompt}")), Some(Working));
    assert_eq!(
        state(format!("{rule}\n❯ \n{rule}\n  esc to interrupt     Updating")),
        Some(Working)
    );
    assert_eq!(
        state(format!("{rule}\n❯ \n{rule}\n  plan mode on · esc to interrupt")),
        Some(Working)
    );
    assert_eq!(state(format!("❯ remove x\n\n{rule}\n{dialog}")), Some(Blocked));
    assert_eq!(
        state("Choose a style\n\n ❯ 1. Dark mode\n   2. Light mode".to_owned()),
        Some(Blocked)
    );
    // Answered, or of a program that was killed and started again.
    assert_eq!(state(format!("{dialog}\n⏺ Bash(rm x)\n\n{prompt}")), Some(Idle));
    assert_eq!(state(format!("{dialog}\n\n╭──╮\n│ > │\n╰──╯")), Some(Idle));
    assert_eq!(state(format!("{dialog}\n{banner}\n\n{prompt}")), Some(Idle));
    assert_eq!(state(format!("{spinner}\n\n{prompt}\n{banner}\n\n{prompt}")), Some(Idle));
    assert_eq!(
        state(format!("{spinner}\n\n{prompt}\n{banner}\n\n{spinner}\n\n{prompt}")),
        Some(Working)
    );
    assert_eq!(state(format!("{dialog}\n{banner}\n\n❯ x\n\n{rule}\n{dialog}")), Some(Blocked));
    // What answers say.
    let says =
        "⏺ It prints “esc to interrupt” while it works…\n  Press Enter to confirm or Esc to cancel";
    assert_eq!(
        state(format!("{says}\n  Do you want to proceed?\n  1. Yes\n\n{prompt}")),
        Some(Idle)
    );
}

#[test]
fn what_is_typed_into_the_prompt_asks_nothing() {
    let bar = "─".repeat(60);
    for typed in ["2. the second, please", "1. Yes", "1. Do you want this?\n  2. second line"] {
        let screen =
            format!("⏺ Which would you like?\n\n{bar}\n❯ {typed}\n{bar}\n  ? for shortcuts");
        assert_eq!(says("claude", &screen), Some((AttentionState::Idle, None)), "{typed}");
        let works = screen.replace("? for shortcuts", "⏵⏵ accept edits on · esc to interrupt");
        assert_eq!(says("claude", &works), Some((AttentionState::Working, None)), "{typed}");
    }
    let asks = format!(
        "{bar}\n Bash command\n   rm x\n\n Do you want to proceed?\n ❯ 1. Yes\n   2. No\n\n Esc to cancel"
    );
    let asked = Some("Do you want to proceed?".to_owned());
    assert_eq!(says("claude", &asks), Some((AttentionState::Blocked, asked)));
}
