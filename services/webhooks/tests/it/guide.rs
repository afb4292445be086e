//! The commands and the code of docs/webhooks.md do what they say.

use std::process::{Command, Output};

use crate::world::World;

const GUIDE: &str = include_str!("../../../../docs/webhooks.md");

/// The blocks of this language, one after the other.
fn blocks(language: &str) -> String {
    let parts = GUIDE.split("\n```").enumerate().filter(|(i, _)| i % 2 == 1);
    let ours = parts.filter_map(|(_, block)| block.strip_prefix(language)?.strip_prefix('\n'));
    let all: Vec<&str> = ours.collect();
    assert!(!all.is_empty(), "no block in {language}");
    all.join("\n")
}

fn succeeded(output: Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_by_hand() {
    let world = World::new(&[]).await;
    let (base, folder) = (world.base.clone(), tempfile::tempdir().unwrap());
    let run = move || {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &blocks("sh")]).current_dir(folder.path()).env("WEBHOOKS", base).output().unwrap()
    };
    let said = succeeded(tokio::task::spawn_blocking(run).await.unwrap());
    for words in [r#""types":["order.confirmed","order.completed"]"#, r#""next":null"#, r#"{"orders":[],"next":null}"#] {
        assert!(said.contains(words), "{words} is missing in:\n{said}");
    }
    assert_eq!(world.get("/subscriptions").await["subscriptions"][0]["state"], "removed");
}

/// With the specification's own example.
#[test]
fn the_verification_takes_what_is_signed_and_nothing_else() {
    let tried = r#"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
headers = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,bm9uZQ== v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}
body = b'{"test": 2432232314}'
verify(secret, headers, body, 1614265300)
for wrong in [(secret, headers, b"{}", 1614265300), (secret, headers, body, 1614266000), ("whsec_" + 32 * "A", headers, body, 1614265300)]:
    try:
        verify(*wrong)
    except ValueError:
        continue
    raise SystemExit("it took " + repr(wrong))
"#;
    succeeded(Command::new("python3").args(["-c", &format!("{}\n{tried}", blocks("python"))]).output().unwrap());
}
