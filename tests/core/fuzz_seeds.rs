//! Every seed of the fuzz targets through its target function, so that they are run on every toolchain.

use crate::fuzz_targets;

fn run(target: &str, check: fn(&[u8])) {
    let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}")) {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&std::fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= 10, "{folder}: {count} seeds");
}

#[test]
fn review() {
    run("review", fuzz_targets::review);
}

#[test]
fn set_api() {
    run("set_api", fuzz_targets::set_api);
}

#[test]
fn inject() {
    run("inject", fuzz_targets::inject);
}
