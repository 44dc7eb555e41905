//! Tests of rotation and of locks, with real files.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::*;

fn settings(path: PathBuf) -> Settings {
    Settings {
        path,
        rotate_size: None,
        rotate_age: None,
        fsync: Fsync::Always,
    }
}

fn clock() -> Timestamp {
    "2026-11-29T22:00:00Z".parse().unwrap()
}

/// Returns the files of a folder in the order in which they were written, with their contents.
fn files(folder: &Path, current: &str) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort_by_key(|(name, _)| (name == current, name.clone()));
    files
}

#[test]
fn a_file_is_rotated_by_size_between_two_lines_and_no_line_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        rotate_size: NonZeroU64::new(20),
        ..settings(folder.path().join("log"))
    };
    let (mut sink, torn) = RotatedFile::open(settings, "00ff", clock).unwrap();
    assert!(torn.is_none());
    sink.stage(b"12345678\n12345678\n12345678\n");
    sink.push().unwrap();
    sink.stage(b"a line that is longer than a file\n1\n");
    sink.push().unwrap();
    let name = |number| format!("log.20261129T220000Z.00ff.{number}");
    assert_eq!(
        files(folder.path(), "log"),
        [
            (name(0), "12345678\n12345678\n".to_owned()),
            (name(1), "12345678\n".to_owned()),
            (name(2), "a line that is longer than a file\n".to_owned()),
            ("log".to_owned(), "1\n".to_owned()),
        ]
    );
}

#[test]
fn a_file_is_rotated_by_the_age_of_its_first_line_even_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let hour = Duration::from_secs(3600);
    for (first, rotated) in [("21:00:01", false), ("21:00:00", true)] {
        let line = format!("{{\"time\":\"2026-11-29T{first}Z\"}}\n");
        fs::write(&path, &line).unwrap();
        let settings = Settings {
            rotate_age: Some(hour),
            ..settings(path.clone())
        };
        let (mut sink, _) = RotatedFile::open(settings, "00ff", clock).unwrap();
        sink.stage(b"next\n");
        sink.push().unwrap();
        let found = files(folder.path(), "log");
        let expected = match rotated {
            false => format!("{line}next\n"),
            true => "next\n".to_owned(),
        };
        assert_eq!(found.last().unwrap().1, expected);
        assert_eq!(found.len(), 1 + usize::from(rotated));
    }
}

#[test]
fn a_rotation_that_fails_is_repeated_and_no_line_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        rotate_size: NonZeroU64::new(4),
        ..settings(folder.path().join("log"))
    };
    let (mut sink, _) = RotatedFile::open(settings, "00ff", clock).unwrap();
    sink.stage(b"one\n");
    sink.push().unwrap();
    // A folder in the place of the next name.
    let next = folder.path().join("log.20261129T220000Z.00ff.0");
    fs::create_dir(&next).unwrap();
    sink.stage(b"two\n");
    for _ in 0..3 {
        sink.push().unwrap_err();
    }
    fs::remove_dir(&next).unwrap();
    sink.push().unwrap();
    let contents: Vec<_> = files(folder.path(), "log")
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(contents, ["one\n", "two\n"]);
}

#[test]
fn two_processes_never_write_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path().join("log"));
    let first = RotatedFile::open(settings.clone(), "00ff", clock).unwrap();
    let error = RotatedFile::open(settings.clone(), "00fe", clock)
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("another process writes it"),
        "{error}"
    );
    drop(first);
    RotatedFile::open(settings, "00fe", clock).unwrap();
}

#[test]
fn a_folder_that_does_not_exist_is_an_error_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path().join("none/log"));
    let error = RotatedFile::open(settings, "00ff", clock).err().unwrap();
    assert!(
        error
            .to_string()
            .ends_with("create its folder, writable for the controller"),
        "{error}"
    );
}

#[test]
fn a_rotation_waits_for_another_process_that_has_taken_the_path_and_removes_none_of_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path().join("log"));
    let (mut sink, _) = RotatedFile::open(settings.clone(), "00ff", clock).unwrap();
    sink.stage(b"one\n");
    sink.push().unwrap();
    sink.rename(clock()).unwrap();
    sink.open = None;
    let (mut other, _) = RotatedFile::open(settings, "00fe", clock).unwrap();
    other.stage(b"theirs\n");
    other.push().unwrap();
    sink.stage(b"two\n");
    for _ in 0..3 {
        let error = sink.push().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        assert!(
            error.to_string().contains("another process writes it"),
            "{error}"
        );
    }
    drop(other);
    // It was killed within a line.
    let path = folder.path().join("log");
    fs::write(&path, b"theirs\ntorn").unwrap();
    sink.push().unwrap();
    let (name, text) = files(folder.path(), "log").pop().unwrap();
    assert_eq!((&*name, &*text), ("log", "theirs\ntorn\ntwo\n"));
}

/// Opens the file again and again, as replicas with the same path do that start while another one rotates it.
#[test]
fn no_line_is_lost_when_another_process_opens_the_file_while_it_is_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Settings {
        rotate_size: NonZeroU64::new(1),
        fsync: Fsync::Never,
        ..settings(folder.path().join("log"))
    };
    let theirs = Settings {
        rotate_size: None,
        ..ours.clone()
    };
    let over = AtomicBool::new(false);
    let (mut sink, _) = RotatedFile::open(ours, "00ff", clock).unwrap();
    let others = thread::scope(|scope| {
        let intruder = scope.spawn(|| {
            let mut taken = 0;
            while !over.load(Ordering::Relaxed) {
                if let Ok((mut other, _)) = RotatedFile::open(theirs.clone(), "00fe", clock) {
                    other.stage(format!("theirs {taken}\n").as_bytes());
                    other.push().unwrap();
                    taken += 1;
                }
            }
            taken
        });
        'writing: for number in 0..20_000 {
            sink.stage(format!("ours {number}\n").as_bytes());
            let begun = Instant::now();
            while sink.push().is_err() {
                if begun.elapsed() > Duration::from_secs(30) {
                    break 'writing;
                }
            }
        }
        over.store(true, Ordering::Relaxed);
        intruder.join().unwrap()
    });
    let mut found: Vec<String> = files(folder.path(), "log")
        .iter()
        .flat_map(|(_, text)| text.lines().map(str::to_owned))
        .collect();
    let mut expected: Vec<String> = (0..20_000).map(|number| format!("ours {number}")).collect();
    expected.extend((0..others).map(|number| format!("theirs {number}")));
    found.sort_unstable();
    expected.sort_unstable();
    assert!(found == expected, "{} of {}", found.len(), expected.len());
}
