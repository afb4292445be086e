use uuid::Uuid;

use super::*;
use crate::agenda::breaker;
use crate::agenda::claims::Claim;

/// An effect that is called by a letter: small ones call `x`, capitals `X`.
pub(super) fn effect(name: char) -> Ready<()> {
    Ready {
        id: Id { name: name.to_string(), key: String::new(), cause: Uuid::from_u128(name.into()) },
        target: if name.is_uppercase() { "X" } else { "x" },
        claim: Claim::default(),
        effect: (),
        idempotency_key: Uuid::nil(),
        correlation: Uuid::nil(),
        traceparent: None,
    }
}

/// Two calls to a target at a time, three claims, three in a line or waiting, seven known. Failures of three different effects open a
/// breaker for a second, and the one probe then decides.
pub(super) fn config() -> Config {
    let breaker = breaker::Config { row: 3, probes: 1, ..breaker::Config::default() };
    Config { bulkhead: 2, held: 3, queue: 3, known: 7, breaker, ..Config::default() }
}

/// Runs a script. Its words, each with the letters of the effects that it is about:
///
/// `ab?` a page shows them, and it is the last · `ab??` there may be more behind it · `>` what may start is claimed and called · `a+`
/// the call ends well · `a-` badly · `a!` with a panic of our own · `a.` gone: settled, not claimed, or nobody knows · `a@2` to be
/// called again after 2 s · `2s` pass · `?` may a page be read?
///
/// Gives what was answered: who is called at each `>`, `again` for a page that is to be read once more, `yes` or `no` at each `?`;
/// then who is where at the end, `line/called/written/waiting`; and after how many seconds it wants to be woken.
fn run(script: &str) -> (String, String, Option<f64>) {
    let mut now = Instant::now();
    let mut schedule = Schedule::new(Arc::new(config()));
    let mut answers = Vec::new();
    for word in script.split_whitespace() {
        let (names, sign) = word.split_at(word.find(|c: char| !c.is_alphabetic()).unwrap());
        let each = || names.chars().map(effect);
        match (names, sign) {
            ("", "?") => answers.push(if schedule.may_look(now) { "yes" } else { "no" }.to_owned()),
            (_, "?" | "??") => {
                let again = schedule.found(now, each().collect(), sign == "??");
                answers.extend(again.then(|| "again".to_owned()));
            }
            (_, ">") => {
                let started: String = schedule.start(now, 10).into_iter().map(|ready| ready.id.name).collect();
                answers.push(if started.is_empty() { "-".to_owned() } else { started });
            }
            (_, ".") => each().for_each(|ready| schedule.gone(&ready.id)),
            (_, "+" | "-") => each().for_each(|ready| schedule.ended(now, &ready.id, Some(sign == "+"))),
            (_, "!") => each().for_each(|ready| schedule.ended(now, &ready.id, None)),
            _ => {
                let time = Duration::from_secs(sign.trim_matches(['@', 's']).parse().unwrap());
                now += if names.is_empty() { time } else { Duration::ZERO };
                each().for_each(|ready| schedule.again(now, ready, time));
            }
        }
    }
    let wake = schedule.wake_at().map(|at| at.duration_since(now).as_secs_f64());
    (answers.join(" "), places(&schedule), wake)
}

fn places(schedule: &Schedule<()>) -> String {
    let line = schedule.targets.values().flat_map(|target| &target.line).map(|ready| ready.id.name.as_str());
    let waiting = schedule.waiting.values().map(|ready| ready.id.name.as_str());
    let at = |is: fn(&Stage) -> bool| {
        let mut names: Vec<&str> =
            schedule.stages.iter().filter(|(_, stage)| is(stage)).map(|(id, _)| id.name.as_str()).collect();
        names.sort_unstable();
        names.concat()
    };
    let (called, written) = (at(|stage| matches!(stage, Stage::Called(_))), at(|stage| *stage == Stage::Written));
    format!("{}/{called}/{written}/{}", line.collect::<String>(), waiting.collect::<String>())
}

#[test]
fn each_effect_goes_its_way() {
    // Of what calls `x`, three fail: its breaker is open.
    let down = "abc? > a- > b- c- abc.";
    for (what, script, answers, places, wake) in [
        ("nothing", "> ?", "- yes", "///", None),
        ("one attempt", "a? > a+ a.", "a", "///", None),
        ("what is in hand is passed over", "ab? > ab? >", "ab -", "/ab//", None),
        ("the bulkhead is full", "abc? > >", "ab -", "c/ab//", None),
        ("one target's bulkhead holds up no other", "abcA? >", "Aab", "c/Aab//", None),
        ("an end frees the bulkhead before its outcome is written", "abc? > a+ >", "ab c", "/bc/a/", None),
        ("but not its place among the claims held", "abcd?? > d? a+ > b+ >", "again ab c -", "d/c/ab/", None),
        ("until it is written", "abc? > d? a+ > b+ > a. >", "ab c - d", "/cd/b/", None),
        ("all claims are held", "abAB? > >", "ABa -", "b/ABa//", None),
        ("one is held no more", "abAB? > A. >", "ABa b", "/Bab//", None),
        // Breakers.
        ("open: nothing starts, until probes may", "DOWN de? >", "ab c -", "de///", Some(1.0)),
        ("open: nobody is to be woken for", "DOWN", "ab c", "///", None),
        ("open: another target's are called", "DOWN dA? >", "ab c A", "d/A//", Some(1.0)),
        ("half open: one probe at a time", "DOWN def? 1s > >", "ab c d -", "e/d//", None),
        ("the probe went well", "DOWN def? 1s > d+ >", "ab c d e", "/e/d/", None),
        ("the probe failed", "DOWN def? 1s > d- >", "ab c d -", "e//d/", Some(2.0)),
        ("the probe wasn't claimed: the next", "DOWN def? 1s > d. >", "ab c d e", "/e//", None),
        ("our own panics open none", "abc? > a! > b! c! abc. d? >", "ab c d", "/d//", None),
        ("one that always fails opens none", "a? > a- a@0 > a- a@0 > a- a@0 > a- a@0 >", "a a a a a", "/a//", None),
        // Next attempts.
        ("a wait", "a? > a- a@2 1s >", "a -", "///a", Some(1.0)),
        ("a wait is over", "a? > a- a@2 2s >", "a a", "/a//", None),
        ("by their times, and then as they came", "abc? > a+ > bc+ c@2 a@2 b@1 2s >", "ab c bc", "a/bc//", None),
        ("before what is found later", "a? > a+ a@1 1s bc? >", "a ab", "c/ab//", None),
        ("in line again behind what was found before", "ab? > cd? ab+ a@1 b. 1s >", "ab cd", "a/cd//", None),
        ("too many wait: one is forgotten", "abc? > ab+ ab@9 > c+ c@9 d? > d+ d@9", "ab c d", "///abc", Some(9.0)),
        ("and found again", "abc? > ab+ ab@9 > c+ c@9 d? > d+ d@9 d?", "ab c d", "d///abc", Some(9.0)),
        ("its time has come and the line is full", "a? > a+ a@1 bcd? 1s > a? >", "a bc -", "da/bc//", None),
        // Claims.
        ("not claimed", "abc? > a. >", "ab c", "/bc//", None),
        ("nobody knows whether they were claimed", "abc? > ab. > ab? >", "ab c a", "b/ac//", None),
        ("at its next attempt it can't be used", "a? > a- a. a? >", "a a", "/a//", None),
        // Lines that are full.
        ("too much, and the page is read again", "abcd??", "again", "abc///", None),
        ("whatever else is in the page", "abcdA??", "again", "Aabc///", None),
        ("not while there is no room", "abcd?? ?", "again no", "abc///", None),
        ("but once there is", "abcd?? > ? abcd??", "again ab yes", "cd/ab//", None),
        ("or after a second, and on to what is behind", "abcd?? 1s ? abcd?? A?? ? >", "again yes yes Aab", "c/Aab//", None),
        ("once a pass", "abcd?? 1s ? abcd?? abcd? ? abcd?", "again yes yes again", "abc///", None),
        ("another target's full line holds it up, too", "abcd?? A?? ? > ?", "again no Aab yes", "c/Aab//", None),
        ("it is down: few are lined up, and what it has no room for waits", "DOWN defg? ?", "ab c yes", "de///", Some(1.0)),
        (
            "it goes down: nothing holds it up any more",
            "abc? > a- a. > defg?? ? bc- ?",
            "ab c again no yes",
            "def//bc/",
            Some(1.0),
        ),
        ("all that may be known is", "abcABC? > d? ? A. ?", "ABa no yes", "Cbcd/Ba//", None),
        // News of what isn't there.
        ("an end told twice frees one place", "abc? > a+ a+ a. a. de? >", "ab c", "de/bc//", None),
        ("what wasn't called can't end", "a? a+ a. a@1 b+ b. b@1 >", "a", "/a//", None),
    ] {
        let script = script.replace("DOWN", down);
        let expected = (answers.to_owned(), places.to_owned(), wake);
        assert_eq!(run(&script), expected, "{what}: {script}");
    }
}

/// Guard: the batch is counted over all targets. Without, one statement claims as many as there are.
#[test]
fn no_more_starts_than_is_asked_for() {
    let (now, mut schedule) = (Instant::now(), Schedule::new(Arc::new(config())));
    schedule.found(now, "abAB".chars().map(effect).collect(), false);
    assert!(schedule.start(now, 0).is_empty());
    assert_eq!(schedule.start(now, 1).len(), 1);
    assert_eq!(schedule.start(now, 1).len(), 1);
    assert_eq!(schedule.start(now, 9).len(), 1, "three claims in all");
}
