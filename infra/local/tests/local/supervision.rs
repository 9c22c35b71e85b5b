//! The supervisor, with small children in place of the components.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use helix_local::{
    Component, Error, Home, Probe, Process, Work,
    process::{Identity, Launch},
    state::{Condition, Phase, StackState},
    supervisor::{Limits, run},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

use crate::folder;

fn child(name: &str, needs: &[&str], script: &str) -> Component {
    let launch = Launch::new("/bin/sh", ["-c", script]);
    Component {
        name: name.to_owned(),
        port: None,
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        work: Work::Process(Box::new(Process::new(launch, Probe::Running))),
    }
}

fn quick() -> Limits {
    Limits {
        first_backoff: Duration::from_millis(1),
        longest_backoff: Duration::from_millis(4),
        crash_loop: 3,
        least_free_bytes: 0,
        ..Limits::default()
    }
}

fn home(folder: &tempfile::TempDir) -> Home {
    let home = Home::at(&folder.path().join("home")).unwrap();
    home.create().unwrap();
    home
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// Runs the components on this thread; `watch` sees every state and says when it has seen enough.
async fn supervised(
    home: &Home,
    components: Vec<Component>,
    mut watch: impl FnMut(&StackState) -> bool,
) -> Result<(), Error> {
    let ownership = home.own().unwrap().unwrap();
    let (enough, mut seen_enough) = mpsc::unbounded_channel();
    let stop = async move {
        seen_enough.recv().await;
    };
    run(home, &ownership, components, quick(), stop, |state| {
        if watch(state) {
            let _already_told = enough.send(());
        }
    })
    .await
}

#[tokio::test]
async fn a_killed_child_is_started_again_and_counted() {
    let folder = folder();
    let mut first = None;
    supervised(&home(&folder), vec![child("one", &[], "exec sleep 1000")], |state| {
        let one = &state.components[0];
        match (one.process, first) {
            (Some(process), None) if one.condition == Condition::Ready => {
                first = Some(process);
                kill(process.pid);
                false
            }
            (Some(process), Some(killed)) => {
                let again = process != killed && one.condition == Condition::Ready;
                if again {
                    assert_eq!(one.restarts, 1);
                    assert!(one.reason.as_ref().unwrap().contains("SIGKILL"), "{:?}", one.reason);
                }
                again
            }
            (Some(_) | None, _) => false,
        }
    })
    .await
    .unwrap();
}

/// A probe that is answered once the line stands in the file: what is ready has then really begun.
fn ready_once(line: &'static str, file: &Path) -> Probe {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let file = file.to_path_buf();
    std::thread::spawn(move || {
        loop {
            let (mut socket, _) = listener.accept().unwrap();
            let there = std::fs::read_to_string(&file).is_ok_and(|text| text.lines().any(|found| found == line));
            let answer = if there { "200 OK" } else { "503 Not Yet" };
            // The one who asks may have given up.
            let _gone = write!(socket, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    Probe::Http { address, path: "/".to_owned(), status: 200 }
}

#[tokio::test]
async fn components_start_after_what_they_need_and_stop_before_it() {
    let folder = folder();
    let home = home(&folder);
    let order = folder.path().join("order");
    let traced = |name: &str, needs: &[&str], up: &'static str| {
        let file = order.display();
        let trap = format!("trap 'echo down-{name} >> {file}; exit 0' TERM");
        let mut component =
            child(name, needs, &format!("{trap}; echo up-{name} >> {file}; while :; do sleep 0.02; done"));
        if let Work::Process(process) = &mut component.work {
            process.probe = ready_once(up, &order);
        }
        component
    };
    let components = vec![traced("leaf", &["base"], "up-leaf"), traced("base", &[], "up-base")];
    supervised(&home, components, |state| state.phase == Phase::Ready).await.unwrap();
    let text = std::fs::read_to_string(&order).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), ["up-base", "up-leaf", "down-leaf", "down-base"]);
}

#[tokio::test]
async fn what_does_not_come_up_stops_all_and_shows_its_last_words() {
    let folder = folder();
    let home = home(&folder);
    let mut other = None;
    let mut broken = child("broken", &["well"], "echo the disk is on fire; exit 3");
    if let Work::Process(process) = &mut broken.work {
        // Never healthy, so that only its end is seen.
        process.probe = Probe::Http { address: ([127, 0, 0, 1], 9).into(), path: "/".to_owned(), status: 200 };
    }
    let outcome = supervised(&home, vec![child("well", &[], "exec sleep 1000"), broken], |state| {
        other = state.components[0].process.or(other);
        false
    })
    .await;
    let Err(Error::Component { component, reason, log }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(component, "broken");
    assert!(reason.contains("exit status: 3") && reason.contains("helix logs broken"), "{reason}");
    assert!(log.iter().any(|line| line == "the disk is on fire"), "{log:?}");
    assert!(other.unwrap().is_gone());
    let state = StackState::load(&home).unwrap().unwrap();
    assert_eq!(state.phase, Phase::Failed);
}

#[tokio::test]
async fn a_crash_loop_after_the_start_is_seen_and_still_tried() {
    let folder = folder();
    let mut failed = false;
    supervised(&home(&folder), vec![child("loop", &[], "sleep 0.05; exit 1")], |state| {
        let own = &state.components[0];
        failed |= own.condition == Condition::Failed;
        failed && own.restarts > 3 && own.condition == Condition::Ready && state.phase == Phase::Ready
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_disk_with_too_little_space_is_told() {
    let folder = folder();
    let home = home(&folder);
    let ownership = home.own().unwrap().unwrap();
    let (enough, mut seen) = mpsc::unbounded_channel();
    let limits = Limits { least_free_bytes: u64::MAX, ..quick() };
    let stop = async move {
        seen.recv().await;
    };
    run(&home, &ownership, vec![child("one", &[], "exec sleep 1000")], limits, stop, |state| {
        if let [warning] = state.warnings.as_slice() {
            assert!(warning.contains("are free on the disk of") && warning.contains("--home"), "{warning}");
            let _already_told = enough.send(());
        }
    })
    .await
    .unwrap();
}

const SUPERVISE: &str = "HELIX_TEST_SUPERVISE";

/// Not a test of its own: the process that the next one kills.
#[tokio::test]
async fn the_supervisor_that_another_test_kills() {
    let Some(path) = std::env::var_os(SUPERVISE) else {
        return;
    };
    let home = Home::at(path.as_ref()).unwrap();
    home.create().unwrap();
    let children = vec![
        child("one", &[], "exec sleep 1000"),
        child("two", &[], "trap '' TERM HUP INT; exec sleep 1000"),
        child("three", &["one"], "exec sleep 1000"),
    ];
    supervised(&home, children, |state| {
        println!("\nSTATE {}", serde_json::to_string(state).unwrap());
        false
    })
    .await
    .unwrap();
}

#[test]
fn no_child_outlives_a_supervisor_that_is_killed_and_the_home_is_free_again() {
    let folder = folder();
    let path = folder.path().join("home");
    let mut supervisor = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "supervision::the_supervisor_that_another_test_kills", "--nocapture"])
        .env(SUPERVISE, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
    let states =
        lines.filter_map(|line| serde_json::from_str::<StackState>(line.unwrap().strip_prefix("STATE ")?).ok());
    let ready = states.into_iter().find(|state| state.phase == Phase::Ready).expect("it never became ready");
    let children: Vec<Identity> = ready.components.iter().map(|component| component.process.unwrap()).collect();
    assert!(children.len() == 3 && children.iter().all(|child| child.is_alive()));
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    // They are not our children, so their end is no event for us.
    let begun = std::time::Instant::now();
    while !children.iter().all(|child| child.is_gone()) {
        assert!(begun.elapsed() < Duration::from_secs(60), "an orphan is left: {children:?}");
        std::thread::yield_now();
    }
    assert!(Home::at(&path).unwrap().own().unwrap().is_some());
}
