//! Which files folders and globs give: both use the same walk.

use super::*;

/// The files that `sources` give, by name below the source, prepared into `out`.
fn files(options: &PrepareOptions) -> (u64, normfree::data::LeftOut) {
    let meta = run(options).unwrap();
    (meta.source.files, meta.skipped.left_out)
}

#[test]
fn hidden_and_ignored_files_are_left_out_alike() {
    let (source, out) = (corpus(6), TempDir::new().unwrap());
    let text = "left_out = True\n".repeat(40);
    for name in [".hidden.py", ".cache/x.py", "build/made.py", "sub/local.py", "notes.tmp.py"] {
        write(source.path(), name, &text);
    }
    write(source.path(), ".gitignore", "build/\n*.tmp.py\n");
    write(source.path(), "sub/.gitignore", "local.py\n");
    let mut options = options(&source, &out);
    for pattern in ["", "/**/*.py", "/**/*", "/**"] {
        options.sources = vec![format!("{}{pattern}", source.path().display())];
        options.all_files = false;
        let (count, left_out) = files(&options);
        // Two of the hidden ones are .gitignore files.
        assert_eq!((count, left_out.hidden, left_out.gitignore), (6, 4, true), "{pattern}");
        assert!(!texts(&options).concat().contains("left_out"), "{pattern}");
        options.all_files = true;
        let (count, left_out) = files(&options);
        let all = if pattern == "/**/*.py" { 11 } else { 13 };
        assert_eq!((count, left_out), (all, Default::default()), "{pattern}");
    }

    // If nothing is left, the message says how to include more.
    let only = TempDir::new().unwrap();
    write(only.path(), ".only.py", &text);
    for (pattern, words) in [("", "corpus is empty"), ("/*", "glob matches no file")] {
        let options = self::options(format!("{}{pattern}", only.path().display()), &out);
        assert_fault(run(&options), Kind::Data, &[words, "--all-files"]);
    }
    // A file given by name is read, whatever it is called.
    let named = self::options(only.path().join(".only.py"), &out);
    assert_eq!(files(&named).0, 1);
}

#[test]
fn a_gitignore_above_counts_within_its_repository() {
    let (top, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for name in ["src/a.txt", "src/b.txt", "src/made.log"] {
        write(top.path(), name, format!("{name} ").repeat(60));
    }
    write(top.path(), ".gitignore", "*.log\n");
    let options = options(top.path().join("src"), &out);
    assert_eq!(files(&options), (3, Default::default()), "a folder that is in no repository");
    fs::create_dir(top.path().join(".git")).unwrap();
    let (count, left_out) = files(&options);
    assert_eq!((count, left_out.gitignore), (2, true));
    // An ignored folder is read if it is given by name.
    write(top.path(), ".gitignore", "src/\n");
    assert_eq!(files(&options).0, 3);
}

#[test]
#[cfg(unix)]
fn loops_of_links_end() {
    use std::os::unix::fs::symlink;
    let (source, out) = (corpus(6), TempDir::new().unwrap());
    for folder in ["a", "b"] {
        write(source.path(), &format!("{folder}/x.py"), format!("in_{folder} = 1\n").repeat(40));
        symlink("..", source.path().join(folder).join("up")).unwrap();
    }
    symlink("x.py", source.path().join("a/link.py")).unwrap();
    let mut options = options(&source, &out);
    for pattern in ["", "/**/*.py", "/**/*", "/*/**/*.py"] {
        options.sources = vec![format!("{}{pattern}", source.path().display())];
        let count = files(&options).0;
        // The last pattern names only files in folders: two of the six, and two more.
        assert_eq!(count, if pattern == "/*/**/*.py" { 4 } else { 8 }, "{pattern}");
    }
    // A link from a glob to a file is one file with its target; it is also read if the target is elsewhere.
    let elsewhere = TempDir::new().unwrap();
    symlink(source.path().join("a/x.py"), elsewhere.path().join("linked.py")).unwrap();
    options.sources = vec![format!("{}/*.py", elsewhere.path().display())];
    assert_eq!(files(&options).0, 1);
}

#[test]
fn the_output_folder_is_never_read() {
    let (source, out) = (corpus(6), TempDir::new().unwrap());
    let mut options = options(&source, &out);
    options.out = source.path().join("sub/prepared");
    for pattern in ["", "/**/*", "/**"] {
        options.sources = vec![format!("{}{pattern}", source.path().display())];
        for all_files in [false, true] {
            options.all_files = all_files;
            let first = run(&options).unwrap().source;
            assert_eq!(first.files, 6, "{pattern}");
            assert_eq!(run(&options).unwrap().source, first, "{pattern}");
        }
    }
    let before = folder_bytes(&options.out);
    for inside in ["", "/meta.json", "/*", "/**/*.json"] {
        options.sources = vec![format!("{}{inside}", options.out.display())];
        assert_fault(run(&options), Kind::Usage, &["a source is inside the output folder"]);
    }
    assert_eq!(folder_bytes(&options.out), before);
}
