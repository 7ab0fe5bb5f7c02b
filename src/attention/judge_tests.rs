use super::*;
use AttentionState::{Blocked, Done, Idle, Unknown, Working};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn report(state: AttentionState, message: &str) -> Report {
    Report { state, message: Some(message.to_owned()), ..Report::default() }
}

fn looked(state: AttentionState, message: Option<&str>) -> Looked {
    let says = Says { state, message: message.map(str::to_owned) };
    Looked { agent: Some("claude".into()), says: Some(says), ..Looked::default() }
}

/// Looks twice, as is done where the first look finds something else.
fn sees(judge: &mut Judge, state: AttentionState, message: Option<&str>, second: i64) {
    if judge.looked(looked(state, message), at(second)) {
        assert!(!judge.looked(looked(state, message), at(second)));
    }
}

fn state(judge: &Judge) -> (AttentionState, Option<&str>, i64) {
    let Attention { state, message, since, .. } = judge.present();
    (*state, message.as_deref(), (*since - at(0)).num_seconds())
}

#[test]
fn a_report_counts_more_than_signs_and_these_more_than_rules() {
    let mut judge = Judge::new(Attention::unknown(at(0)), Kept::default());
    assert_eq!(state(&judge), (Unknown, None, 0));
    sees(&mut judge, Working, None, 1);
    assert_eq!(state(&judge), (Working, None, 1));
    judge.notified("come here", None, at(2));
    assert_eq!(state(&judge), (Done, Some("come here"), 2));
    judge.report(report(Blocked, "May I?"), at(3)).unwrap();
    assert_eq!(state(&judge), (Blocked, Some("May I?"), 3));
    judge.notified("again", None, at(4));
    sees(&mut judge, Idle, None, 5);
    assert_eq!(state(&judge), (Blocked, Some("May I?"), 3));
    assert_eq!(judge.present().source, Some(AttentionSource::Report));
    // A report of "unknown" leaves the decision to the others.
    judge.report(report(Unknown, ""), at(9)).unwrap();
    assert_eq!(state(&judge).0, Done);
}

#[test]
fn an_older_report_changes_nothing() {
    let mut judge = Judge::default();
    let numbered = |state, seq| Report { seq: Some(seq), ..report(state, "x") };
    judge.report(numbered(Working, 7), at(1)).unwrap();
    assert_eq!(judge.report(numbered(Blocked, 7), at(2)), Err(Older { last: 7 }));
    assert_eq!(state(&judge).0, Working);
    judge.report(report(Done, "no number"), at(3)).unwrap();
    assert!(judge.report(numbered(Blocked, 6), at(4)).is_err());
    let mut next = Judge::new(judge.present().clone(), judge.kept());
    assert!(next.report(numbered(Blocked, 7), at(5)).is_err(), "a later server knows, too");
}

#[test]
fn a_report_that_says_less_than_the_last_one_changes_nothing() {
    let mut judge = Judge::default();
    let silent = |state| Report { message: None, ..report(state, "") };
    judge.report(report(Blocked, "May I?"), at(1)).unwrap();
    judge.report(silent(Blocked), at(2)).unwrap();
    assert_eq!(state(&judge), (Blocked, Some("May I?"), 1));
    judge.report(report(Done, "all of it"), at(3)).unwrap();
    judge.report(silent(Idle), at(4)).unwrap();
    assert_eq!(state(&judge), (Done, Some("all of it"), 3));
    // A reminder of what has just been answered, and one of what has not.
    judge.report(report(Blocked, "And this?"), at(3)).unwrap();
    judge.typed(at(4));
    judge.report(silent(Blocked), at(4)).unwrap();
    assert_eq!(state(&judge), (Working, None, 4));
    judge.report(silent(Blocked), at(9)).unwrap();
    assert_eq!(state(&judge), (Blocked, None, 9));
    judge.report(report(Done, "all of it"), at(3)).unwrap();
    // Once somebody has seen that, it is news.
    judge.typed(at(5));
    judge.report(silent(Idle), at(6)).unwrap();
    assert_eq!(state(&judge).0, Idle);
    judge.report(report(Working, ""), at(7)).unwrap();
    judge.report(silent(Idle), at(8)).unwrap();
    assert_eq!(state(&judge), (Idle, None, 8), "an interrupted program has done nothing");
}

#[test]
fn an_answer_ends_what_was_asked() {
    // Without rules the answer is all that is known.
    let mut judge = Judge::default();
    judge.report(report(Blocked, "May I?"), at(1)).unwrap();
    judge.typed(at(2));
    assert_eq!(state(&judge), (Working, None, 2));
    judge.report(report(Done, "all of it"), at(3)).unwrap();
    judge.typed(at(4));
    assert_eq!(state(&judge), (Idle, None, 4));
    // With rules the screen tells whether it was an answer.
    sees(&mut judge, Blocked, Some("May I?"), 5);
    judge.report(report(Blocked, "May I, please?"), at(6)).unwrap();
    judge.typed(at(7));
    assert_eq!(state(&judge).0, Blocked);
    sees(&mut judge, Working, None, 8);
    assert_eq!(state(&judge), (Working, None, 8));
    // The next report knows better.
    judge.report(report(Blocked, "And this?"), at(9)).unwrap();
    sees(&mut judge, Working, None, 10);
    assert_eq!(state(&judge), (Blocked, Some("And this?"), 9));
}

#[test]
fn what_rules_said_before_a_report_is_not_believed_after_an_answer() {
    let mut judge = Judge::default();
    sees(&mut judge, Working, None, 1);
    judge.report(report(Done, "all of it"), at(2)).unwrap();
    // The screen was not looked at since.
    judge.typed(at(3));
    assert_eq!(state(&judge), (Idle, None, 3));
    assert!(judge.looked(looked(Idle, None), at(4)));
    assert!(!judge.looked(looked(Idle, None), at(5)));
    assert_eq!(state(&judge), (Idle, None, 3), "it was done, and somebody has typed since");
    sees(&mut judge, Working, None, 5);
    assert_eq!(state(&judge).0, Working);
}

#[test]
fn a_report_that_was_made_before_somebody_typed_knows_nothing_of_that() {
    let mut judge = Judge::default();
    let aged = |state, s| Report { age: TimeDelta::seconds(s), ..report(state, "x") };
    judge.typed(at(10));
    judge.report(aged(Done, 2), at(11)).unwrap();
    assert_eq!(state(&judge), (Idle, None, 10));
    judge.report(aged(Done, 0), at(12)).unwrap();
    assert_eq!(state(&judge).0, Done);
    // An interruption that the screen shows, and a hook from before it.
    sees(&mut judge, Working, None, 13);
    judge.typed(at(20));
    judge.report(aged(Working, 2), at(21)).unwrap();
    sees(&mut judge, Idle, None, 22);
    assert_eq!(state(&judge).0, Done);
}

#[test]
fn what_has_reported_does_not_work_because_its_command_runs() {
    let mut judge = Judge::default();
    judge.marked(&Event::CommandStart { command: Some("agent".into()) }, at(1));
    judge.report(report(Idle, ""), at(2)).unwrap();
    judge.report(report(Unknown, ""), at(3)).unwrap();
    assert_eq!(state(&judge).0, Unknown);
    judge.marked(&Event::CommandEnd { exit: Some(0) }, at(4));
    assert_eq!(state(&judge), (Idle, Some("done: agent"), 4));
}

#[test]
fn a_report_ends_with_its_program() {
    let program = ProcessId { pid: 7, start_time: 1, boot_id: "b".into() };
    let gone = || Looked { report_over: true, ..Looked::default() };
    for (reported, left) in [(Working, Unknown), (Blocked, Unknown), (Done, Done), (Idle, Idle)] {
        let mut judge = Judge::default();
        let report = Report { program: Some(program.clone()), ..report(reported, "x") };
        judge.report(report, at(1)).unwrap();
        assert_eq!(judge.report_program(), Some(&program));
        judge.looked(gone(), at(2));
        assert_eq!((judge.present().state, judge.report_program()), (left, None));
        judge.marked(&Event::Prompt, at(3));
        judge.marked(&Event::CommandStart { command: Some("make".into()) }, at(4));
        assert_eq!(state(&judge), (Working, Some("make"), 4));
    }
}

#[test]
fn what_was_done_is_told_until_somebody_types() {
    let mut judge = Judge::default();
    sees(&mut judge, Idle, None, 1);
    assert_eq!(state(&judge).0, Idle, "it has not worked yet");
    sees(&mut judge, Working, None, 2);
    sees(&mut judge, Idle, None, 3);
    assert_eq!(state(&judge), (Done, None, 3));
    sees(&mut judge, Idle, None, 4);
    assert_eq!(state(&judge), (Done, None, 3));
    judge.typed(at(5));
    assert_eq!(state(&judge), (Idle, None, 5));
}

#[test]
fn one_look_is_not_believed_and_another_question_is_news() {
    let mut judge = Judge::default();
    sees(&mut judge, Working, None, 1);
    assert!(judge.looked(looked(Blocked, Some("A?")), at(2)));
    assert!(!judge.looked(looked(Working, None), at(3)));
    assert!(judge.looked(looked(Blocked, Some("A?")), at(4)), "the first look is forgotten");
    assert!(!judge.looked(looked(Blocked, Some("A?")), at(5)));
    assert_eq!(state(&judge), (Blocked, Some("A?"), 5));
    sees(&mut judge, Blocked, Some("B?"), 6);
    assert_eq!(state(&judge), (Blocked, Some("B?"), 6));
    // Another program, of which nothing is known.
    judge.looked(Looked::default(), at(7));
    assert_eq!(state(&judge), (Unknown, None, 7));
}

#[test]
fn a_notification_counts_until_the_program_goes_on() {
    let mut judge = Judge::default();
    sees(&mut judge, Working, None, 1);
    judge.notified("ready", None, at(2));
    sees(&mut judge, Idle, None, 3);
    assert_eq!(state(&judge), (Done, Some("ready"), 2), "its screen changes at the same moment");
    sees(&mut judge, Working, None, 9);
    assert_eq!(state(&judge), (Working, None, 9));
    judge.notified("ready", None, at(10));
    judge.typed(at(11));
    assert_eq!(state(&judge).0, Working);
}

#[test]
fn a_shell_marks_its_commands_and_long_ones_have_done_something() {
    let mut judge = Judge::default();
    let run = |judge: &mut Judge, from, to, exit| {
        judge.marked(&Event::Prompt, at(from));
        judge.marked(&Event::CommandStart { command: Some("make".into()) }, at(from));
        assert_eq!(state(judge), (Working, Some("make"), from));
        judge.marked(&Event::CommandEnd { exit }, at(to));
        judge.marked(&Event::Prompt, at(to));
    };
    run(&mut judge, 1, 5, Some(0));
    assert_eq!(state(&judge), (Idle, Some("done: make"), 5));
    run(&mut judge, 10, 20, Some(2));
    assert_eq!(state(&judge), (Done, Some("exited 2: make"), 20));
    judge.typed(at(21));
    assert_eq!(state(&judge).0, Idle);
    // A shell's mark says of a program that has rules only that it runs.
    judge.marked(&Event::CommandStart { command: Some("claude".into()) }, at(30));
    assert_eq!(state(&judge).0, Working);
    sees(&mut judge, Blocked, Some("May I?"), 31);
    assert_eq!(state(&judge), (Blocked, Some("May I?"), 31));
    // It leaves a moment before its shell says so: it does not work meanwhile.
    judge.looked(Looked::default(), at(40));
    assert_eq!(state(&judge).0, Unknown);
    judge.marked(&Event::CommandEnd { exit: Some(0) }, at(40));
    assert_eq!(state(&judge), (Done, Some("done: claude"), 40));
}

#[test]
fn a_later_server_knows_what_this_one_knew() {
    let mut judge = Judge::default();
    sees(&mut judge, Blocked, Some("May I?"), 1);
    let restored = |judge: &Judge| Judge::new(judge.present().clone(), judge.kept());
    let mut next = restored(&judge);
    assert_eq!(next.present(), judge.present());
    sees(&mut next, Blocked, Some("May I?"), 9);
    assert_eq!(next.present(), judge.present(), "since then, and not since the restart");
    let mut answered = restored(&judge);
    answered.typed(at(3));
    assert_eq!(state(&answered).0, Unknown);
    let mut left = restored(&judge);
    left.looked(Looked::default(), at(4));
    assert_eq!(state(&left).0, Unknown);
    judge.report(report(Blocked, "And this?"), at(5)).unwrap();
    let mut next = restored(&judge);
    sees(&mut next, Working, None, 6);
    assert_eq!(next.present(), judge.present(), "still a report");
}

/// Whatever comes in whatever order, the decision is of those that were said last, and no older than now.
#[test]
fn random_walks_keep_the_order_of_authority() {
    let mut runner = proptest::test_runner::TestRunner::default();
    let steps = proptest::collection::vec((0..7_usize, 0..5_usize), 0..60);
    runner
        .run(&steps, |steps| {
            let mut judge = Judge::new(Attention::unknown(at(0)), Kept::default());
            let (mut second, mut reported) = (0, None);
            for (what, which) in steps {
                second += 1;
                let state = AttentionState::ALL[which];
                match what {
                    0 => {
                        judge.report(report(state, "r"), at(second)).unwrap();
                        let is_less = reported == Some(Done) && state == Idle;
                        let counts = if is_less { Done } else { state };
                        reported = (counts != Unknown).then_some(counts);
                    }
                    1 => judge.notified("n", None, at(second)),
                    2 => judge.marked(&Event::Prompt, at(second)),
                    3 => judge.marked(&Event::CommandStart { command: None }, at(second)),
                    4 => judge.marked(&Event::CommandEnd { exit: None }, at(second)),
                    5 => drop(judge.looked(looked(state, Some("m")), at(second))),
                    _ => {
                        judge.typed(at(second));
                        reported = None;
                        let seen = judge.present();
                        let are_rules =
                            judge.rules.as_ref().is_some_and(|rules| rules.says.is_some());
                        assert!(seen.state != Done && (seen.state != Blocked || are_rules));
                    }
                }
                let Attention { state, since, source, .. } = judge.present();
                if let Some(reported) = reported {
                    assert_eq!((*state, *source), (reported, Some(AttentionSource::Report)));
                }
                assert!(*since <= at(second));
                assert_eq!(source.is_none(), *state == Unknown && judge.verdict().is_none());
                let next = Judge::new(judge.present().clone(), judge.kept());
                assert_eq!(next.present(), judge.present());
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn another_process_of_the_same_program_begins_anew() {
    let mut judge = Judge::default();
    let of = |process, state| Looked { process: Some(process), ..looked(state, None) };
    for looks in [of(7, Blocked), of(7, Blocked), of(8, Idle), of(8, Idle)] {
        judge.looked(looks, at(1));
    }
    assert_eq!(judge.present().state, Idle, "it has not worked");
}

#[test]
fn another_program_has_numbers_of_its_own() {
    let program = |pid| Some(ProcessId { pid, start_time: 1, boot_id: "b".into() });
    let report = |pid, seq| Report { seq: Some(seq), program: program(pid), ..report(Done, "x") };
    let mut judge = Judge::default();
    judge.report(report(7, 100), at(1)).unwrap();
    assert_eq!(judge.report(report(7, 1), at(2)), Err(Older { last: 100 }));
    judge.report(report(8, 1), at(3)).unwrap();
    assert!(judge.report(report(8, 1), at(4)).is_err());
    judge.looked(Looked { report_over: true, ..Looked::default() }, at(5));
    judge.report(Report { seq: Some(1), ..super::tests::report(Done, "y") }, at(6)).unwrap();
}
