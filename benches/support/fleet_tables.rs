//! The tables of `docs/scale.md`, as the model in `fleet.rs` has them: `cargo bench --bench growth -- --fleet` prints them.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each program uses its own part of this")]

use crate::fleet::{self, Day, FLEET, Fleet, Layout, Repository, best};

/// A heading that says what the table is, and the table.
pub struct Table {
    pub title: &'static str,
    pub text: String,
}

/// The registry of the page.
const IMAGES: f64 = 1e7;
const BITS: [u32; 8] = [8, 10, 11, 12, 13, 14, 15, 16];

/// When nodes refresh and when snapshots are signed, on the page.
const RHYTHMS: [(&str, f64, f64); 4] = [
    ("at each lookup, snapshot each 6 hours", 20.0, 4.0),
    ("at each lookup, snapshot each hour or more often", 20.0, 24.0),
    ("each 15 minutes, snapshot each hour", 96.0, 24.0),
    ("each 15 minutes, snapshot at each publication", 96.0, 1e4),
];

pub fn all() -> Vec<Table> {
    vec![
        Table { title: "weights", text: weights() },
        Table { title: "files", text: files() },
        Table { title: "days", text: days() },
        Table { title: "hashes", text: hashes() },
        Table { title: "flat", text: flat() },
        Table { title: "requests", text: requests() },
        Table { title: "parts", text: parts() },
        Table { title: "edges", text: edges() },
        Table { title: "publisher", text: publisher() },
    ]
}

fn weights() -> String {
    let zero = Repository { images: 0.0, layout: Layout::Succinct(12), hashes: false };
    let delegations = |bits| Repository { layout: Layout::Listed(bits), ..zero }.targets() / 2_f64.powi(bits as i32);
    rows(
        &["what", "bytes"],
        &[
            vec!["an image in a role that lists targets".to_owned(), plain(fleet::IMAGE)],
            vec!["a bin in the snapshot, version alone".to_owned(), plain(entry(false))],
            vec!["a bin in the snapshot, with length and hash".to_owned(), plain(entry(true))],
            vec!["a listed delegation to a bin of 2^12 (one prefix)".to_owned(), plain(delegations(12))],
            vec!["a listed delegation to a bin of 2^14 (four prefixes)".to_owned(), plain(delegations(14))],
            vec!["a role file that lists nothing".to_owned(), plain(fleet::ROLE)],
            vec!["`timestamp.json`".to_owned(), plain(zero.timestamp())],
            vec!["`root.json`".to_owned(), plain(fleet::ROOT)],
            vec!["an image manifest with six layers".to_owned(), plain(fleet::MANIFEST)],
        ],
    )
}

fn entry(hashes: bool) -> f64 {
    let of = |bits| Repository { images: 0.0, layout: Layout::Succinct(bits), hashes }.snapshot();
    (of(12) - of(11)) / 2_f64.powi(11)
}

fn files() -> String {
    let row = |bits: u32| {
        let of = |layout, hashes| Repository { images: IMAGES, layout, hashes };
        let (succinct, listed) = (Layout::Succinct(bits), Layout::Listed(bits));
        vec![
            format!("2^{bits}"),
            plain(IMAGES / 2_f64.powi(bits as i32)),
            bytes(of(succinct, false).bin()),
            bytes(of(succinct, false).snapshot()),
            bytes(of(succinct, true).snapshot()),
            bytes(of(listed, false).targets()),
            bytes(of(succinct, false).cold().0),
            bytes(of(listed, true).cold().0),
        ]
    };
    let flat = Repository { images: IMAGES, layout: Layout::Flat, hashes: false };
    let mut lines = vec![vec![
        "flat".to_owned(),
        "-".to_owned(),
        "-".to_owned(),
        bytes(flat.snapshot()),
        bytes(flat.snapshot()),
        bytes(flat.targets()),
        bytes(flat.cold().0),
        bytes(flat.cold().0),
    ]];
    lines.extend(BITS.map(row));
    rows(
        &[
            "bins",
            "images in each",
            "a bin",
            "snapshot, versions",
            "snapshot, hashes",
            "`targets.json`, listed roles",
            "first image of a new node, succinct, versions",
            "the same, listed, hashes",
        ],
        &lines,
    )
}

fn days() -> String {
    let fleets = RHYTHMS.map(|(_, refreshes, snapshots)| Fleet { refreshes, snapshots, ..FLEET });
    let mut heads = vec!["bins".to_owned()];
    heads.extend(RHYTHMS.map(|(name, ..)| name.to_owned()));
    heads.push("the second, the same images each day".to_owned());
    let least = fleets.map(|fleet| best(IMAGES, false, &fleet).layout);
    let mut lines = vec![line("flat", Layout::Flat, &fleets, &least)];
    lines.extend(BITS.map(|bits| line(&format!("2^{bits}"), Layout::Succinct(bits), &fleets, &least)));
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    rows(&heads, &lines)
}

fn line(name: &str, layout: Layout, fleets: &[Fleet; 4], least: &[Layout; 4]) -> Vec<String> {
    let repository = Repository { images: IMAGES, layout, hashes: false };
    let cell = |(fleet, least): (&Fleet, &Layout)| {
        let text = bytes(repository.day(fleet).bytes());
        if *least == layout { format!("**{text}**") } else { text }
    };
    let mut cells = vec![name.to_owned()];
    cells.extend(fleets.iter().zip(least).map(cell));
    cells.push(bytes(repository.day_of_the_same(&fleets[1]).bytes()));
    cells
}

fn hashes() -> String {
    let line = |(name, refreshes, snapshots): (&str, f64, f64)| {
        let fleet = Fleet { refreshes, snapshots, ..FLEET };
        let mut cells = vec![name.to_owned()];
        for hashes in [false, true] {
            let repository = best(IMAGES, hashes, &fleet);
            cells.push(format!("2^{}", repository.bits().unwrap()));
            cells.push(bytes(repository.day(&fleet).bytes()));
        }
        cells
    };
    rows(&["refresh", "best bins, versions", "a node's day", "best bins, hashes", "a node's day"], &RHYTHMS.map(line))
}

fn flat() -> String {
    let fleet = Fleet { refreshes: 20.0, snapshots: 24.0, ..FLEET };
    let quiet = Fleet { snapshots: 1.0, ..fleet };
    let line = |images: f64| {
        let flat = Repository { images, layout: Layout::Flat, hashes: false };
        let (hourly, daily) = (best(images, false, &fleet), best(images, false, &quiet));
        vec![
            count(images),
            bytes(flat.targets()),
            bytes(flat.day(&fleet).bytes()),
            format!("{} (2^{})", bytes(hourly.day(&fleet).bytes()), hourly.bits().unwrap()),
            bytes(flat.day(&quiet).bytes()),
            format!("{} (2^{})", bytes(daily.day(&quiet).bytes()), daily.bits().unwrap()),
        ]
    };
    rows(
        &[
            "images",
            "flat `targets.json`",
            "snapshot each hour, flat",
            "best bins",
            "snapshot each day, flat",
            "best bins",
        ],
        &[1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8].map(line),
    )
}

fn requests() -> String {
    let line = |(name, refreshes, snapshots): (&str, f64, f64)| {
        let fleet = Fleet { refreshes, snapshots, ..FLEET };
        let day = best(IMAGES, false, &fleet).day(&fleet);
        let all = day.requests * fleet.nodes;
        let traffic = day.bytes() * fleet.nodes;
        vec![
            name.to_owned(),
            plain(day.requests),
            count(all),
            plain(all / 86_400.0),
            bytes(traffic),
            format!("{} Mbit/s", plain(traffic * 8.0 / 86_400.0 / 1e6)),
        ]
    };
    let heads = ["refresh", "requests of a node in a day", "of all", "in a second", "bytes in a day", "on average"];
    rows(&heads, &RHYTHMS.map(line))
}

fn parts() -> String {
    let line = |bits: u32| {
        let repository = Repository { images: IMAGES, layout: Layout::Succinct(bits), hashes: false };
        let Day { snapshots, targets, rest, .. } = repository.day(&FLEET);
        vec![format!("2^{bits}"), bytes(snapshots), bytes(targets), bytes(rest)]
    };
    rows(&["bins", "20 snapshots", "20 bins", "all else"], &BITS.map(line))
}

/// Places of a CDN, each of which asks the publisher's server once for each version of a file, and each minute for what changes in place.
const EDGES: f64 = 100.0;

fn edges() -> String {
    let line = |(name, snapshots): (&str, f64)| {
        let fleet = Fleet { snapshots, ..FLEET };
        let repository = best(IMAGES, false, &fleet);
        let unversioned = 2.0 * 24.0 * 60.0;
        // Nobody asks for more snapshots than there are minutes, for the timestamp that names them is a minute old.
        let seen = snapshots.min(24.0 * 60.0);
        let lookups = fleet.nodes * fleet.images;
        let each = fleet.publications / snapshots * (snapshots / seen);
        let changed = repository.bins() * (1.0 - (-each / repository.bins()).exp()) * seen;
        // At most each changed bin once, and never more than are looked up at that place.
        let bins = changed.min(lookups / EDGES);
        let manifests = lookups / EDGES;
        let requests = EDGES * (unversioned + seen + bins + manifests);
        let (light, heavy) = (repository.timestamp() + 2.0 * fleet::HEADERS, repository.snapshot());
        let out = EDGES
            * (unversioned / 2.0 * light
                + seen * heavy
                + bins * repository.bin()
                + manifests * (fleet::MANIFEST + fleet::HEADERS));
        let nodes = repository.day(&fleet);
        vec![
            name.to_owned(),
            format!("2^{}", repository.bits().unwrap()),
            count(nodes.requests * fleet.nodes),
            bytes(nodes.bytes() * fleet.nodes),
            count(requests),
            bytes(out),
        ]
    };
    rows(
        &["snapshot", "bins", "requests of the nodes", "bytes to the nodes", "requests of the CDN", "bytes to the CDN"],
        &[("each hour", 24.0), ("at each publication", 1e4)].map(line),
    )
}

fn publisher() -> String {
    let line = |(name, snapshots, bits): (&str, f64, Option<u32>)| {
        let fleet = Fleet { snapshots, ..FLEET };
        let repository =
            Repository { images: IMAGES, layout: bits.map_or(Layout::Flat, Layout::Succinct), hashes: false };
        vec![
            bits.map_or("flat".to_owned(), |bits| format!("2^{bits}")),
            name.to_owned(),
            bytes(repository.written(&fleet)),
        ]
    };
    let cases = [
        ("each hour", 24.0, None),
        ("each hour", 24.0, Some(12)),
        ("each hour", 24.0, Some(13)),
        ("each hour", 24.0, Some(14)),
        ("at each publication", 1e4, Some(12)),
        ("at each publication", 1e4, Some(13)),
        ("at each publication", 1e4, Some(14)),
    ];
    rows(&["bins", "snapshot", "written in a day"], &cases.map(line))
}

fn rows(heads: &[&str], lines: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for line in lines {
        text += &format!("| {} |\n", line.join(" | "));
    }
    text
}

/// Three digits and a decimal unit.
pub fn bytes(n: f64) -> String {
    scaled(n, &[" B", " kB", " MB", " GB", " TB", " PB", " EB"])
}

fn count(n: f64) -> String {
    scaled(n, &["", " thousand", " million", " billion"])
}

fn scaled(n: f64, units: &[&str]) -> String {
    let mut n = n;
    let mut units = units.iter();
    let mut unit = units.next().unwrap();
    while n >= 999.5 {
        let Some(next) = units.next() else { break };
        (n, unit) = (n / 1000.0, next);
    }
    let digits = if n >= 99.95 || n.fract() == 0.0 { 0 } else { 1 };
    format!("{n:.digits$}{unit}")
}

fn plain(n: f64) -> String {
    format!("{n:.0}")
}
