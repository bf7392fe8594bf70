//! The files of an image: its layers from the base up, stacked as loaders stack them [OCI image-spec, layer, Applying Changesets].
//!
//! Loaders differ. Some unpack each layer over the ones below, some unpack each into a folder of its own and let the kernel stack these
//! (overlayfs). An image on which the two kinds could differ is refused; what is left has one reading.
//!
//! Rules:
//! - `.wh.NAME` hides NAME, and `.wh..wh..opq` all that is in its folder, of the layers below and never of its own. Both are empty regular files. Names are
//!   compared whole: `x.wh..wh..opq` and `.wh.status-old` are what they are called. Any other name that starts with `.wh..wh.`, and a whiteout of `.`, `..` or
//!   nothing, is refused.
//! - A whiteout of what the same layer put there before is refused. The other order is plain, unless both are folders.
//! - Of several entries of one name in a layer the last counts. Anything but a folder replaces the whole tree below its name.
//! - A folder that comes to stand in the place of a folder of the layers below that this layer hid first is refused: overlayfs shows the old content again.
//! - The root is never opaque over something: overlayfs always merges roots. A folder is opaque as long as nothing replaces it. An opaque mark after what the layer has
//!   below without an entry of just that name is refused: loaders that unpack over the layers below remove it.
//! - A hard link is bound to what its target is at that moment, not to the name. It may give the file more permissions.
//! - An entry is never put through a symbolic link of a layer below, nor below anything that is no folder. Within one layer links are
//!   followed, inside the image, and must lead somewhere.

use std::borrow::Cow;
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem;
use std::ops::Bound;

use crate::image::contents::{EntryKind, FileFacts, LayerContents, LayerEntry, shown};
use crate::image::error::{Code, Refusal};

/// A layer with fewer than one node for so many of those below is looked up in them, node by node.
const WALK: usize = 8;
/// As many links as Linux follows in one path [path_resolution(7)].
const LINKS_MAX: usize = 40;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const RESERVED: &[u8] = b".wh..wh.";

/// A path below the image's root, cleaned; the root itself is empty.
pub(crate) type Path = Box<[u8]>;
/// The same, borrowed from the entry that is at it: almost all of them are.
type Key<'c> = Cow<'c, [u8]>;

/// The files of an image.
#[derive(Debug)]
pub(crate) struct Tree<'c> {
    layers: Vec<&'c LayerContents>,
    nodes: BTreeMap<Key<'c>, Node>,
    /// The permissions that hard links give to what they name, for a file has one set of them.
    modes: BTreeMap<(usize, usize), u32>,
}

/// What stands at a path: a folder that no entry may speak of, or what an entry of a layer put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    Entry { layer: usize, entry: usize },
}

/// What there is at a path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'t> {
    File { facts: &'t FileFacts, mode: u32, origin: Origin<'t> },
    Folder,
    Symlink(&'t [u8]),
    Device,
    Fifo,
}

/// Which entry of which layer a file is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'t> {
    /// Counted from the base, 0.
    pub(crate) layer: usize,
    /// Counted from the layer's first, 0.
    pub(crate) entry: usize,
    /// The path as that layer writes it.
    pub(crate) written: &'t [u8],
}

impl<'c> Tree<'c> {
    /// Stacks layers, base first.
    pub(crate) fn stack(layers: &[&'c LayerContents]) -> Result<Self, Refusal> {
        let mut tree = Self { layers: layers.to_vec(), nodes: BTreeMap::new(), modes: BTreeMap::new() };
        for layer in 0..layers.len() {
            let mut upper = Upper {
                lower: &tree,
                layer,
                nodes: BTreeMap::new(),
                hidden: BTreeSet::new(),
                opaque: BTreeSet::new(),
                linked: Vec::new(),
                inexact: BTreeSet::new(),
                modes: Vec::new(),
                placed: HashMap::new(),
            };
            for entry in 0..tree.entries(layer).len() {
                upper.add(entry).map_err(|refusal| in_layer(layer, refusal))?;
            }
            let Upper { nodes, hidden, opaque, linked, modes, .. } = upper;
            for (file, mode) in modes {
                *tree.modes.entry(file).or_default() |= mode;
            }
            tree.merge(nodes, &hidden, &opaque, &linked).map_err(|refusal| in_layer(layer, refusal))?;
        }
        Ok(tree)
    }

    /// All that there is, in the order of the paths, without following a link.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Found<'_>)> {
        self.nodes.iter().map(|(path, node)| (&**path, self.found(*node)))
    }

    /// Everything below a folder, whose path is as [`resolve`](Self::resolve) returns it.
    pub(crate) fn below<'t>(&'t self, folder: &[u8]) -> impl Iterator<Item = (&'t [u8], Found<'t>)> + use<'t, 'c> {
        let range = below(folder);
        self.nodes
            .range::<[u8], _>((range.0.as_ref().map(|p| &**p), range.1.as_ref().map(|p| &**p)))
            .map(|(path, node)| (&**path, self.found(*node)))
    }

    /// What stands at a path, which must be physical: no part of it is a link.
    pub(crate) fn get(&self, path: &[u8]) -> Option<Found<'_>> {
        self.nodes.get(path).map(|node| self.found(*node))
    }

    /// Where a path leads within the image, all links followed. `None` if it leads nowhere.
    pub(crate) fn resolve(&self, path: &[u8]) -> Option<(Path, Found<'_>)> {
        let path = self.walk(path)?;
        let found = if path.is_empty() { Found::Folder } else { self.get(&path)? };
        Some((path, found))
    }

    /// The physical path of what a path names: the links in its folders are followed, the last part is not.
    pub(crate) fn resolve_folder(&self, path: &[u8]) -> Option<Path> {
        let (folder, name) = split(path);
        self.folder(folder).map(|folder| join(&folder, name))
    }

    /// The physical path of the folder that a path leads to.
    pub(crate) fn folder(&self, path: &[u8]) -> Option<Path> {
        let folder = self.walk(path)?;
        let is_folder = folder.is_empty() || matches!(self.get(&folder)?, Found::Folder);
        is_folder.then_some(folder)
    }

    fn walk(&self, path: &[u8]) -> Option<Path> {
        let mut at = Vec::new();
        let mut links = 0_usize;
        let mut rest: VecDeque<&[u8]> = parts(path).collect();
        while let Some(part) = rest.pop_front() {
            if part == b".." {
                pop(&mut at);
                continue;
            }
            let next = join(&at, part);
            match self.get(&next)? {
                Found::Symlink(target) => {
                    links = links.checked_add(1).filter(|links| *links <= LINKS_MAX)?;
                    if target.first() == Some(&b'/') {
                        at.clear();
                    }
                    parts(target).rev().for_each(|part| rest.push_front(part));
                }
                // What stands below it will not be found; `..` and `.` must not lead out of it again.
                Found::File { .. } | Found::Device | Found::Fifo if !rest.is_empty() => return None,
                _ => at = next.into_vec(),
            }
        }
        Some(at.into())
    }

    fn entries(&self, layer: usize) -> &'c [LayerEntry] {
        self.layers.get(layer).map_or(&[], |layer| &layer.entries)
    }

    fn entry(&self, layer: usize, entry: usize) -> Option<&'c LayerEntry> {
        self.entries(layer).get(entry)
    }

    fn found(&self, node: Node) -> Found<'c> {
        let Node::Entry { layer, entry } = node else { return Found::Folder };
        match self.entry(layer, entry) {
            Some(LayerEntry { path, mode, kind: EntryKind::File(facts) }) => {
                let mode = mode | self.modes.get(&(layer, entry)).copied().unwrap_or_default();
                Found::File { facts, mode, origin: Origin { layer, entry, written: path } }
            }
            Some(LayerEntry { kind: EntryKind::Symlink(target), .. }) => Found::Symlink(target),
            Some(LayerEntry { kind: EntryKind::Device, .. }) => Found::Device,
            Some(LayerEntry { kind: EntryKind::Fifo, .. }) => Found::Fifo,
            // A hard link is never a node: its target's is.
            Some(LayerEntry { kind: EntryKind::Directory | EntryKind::HardLink(_), .. }) | None => Found::Folder,
        }
    }

    /// Puts a layer's nodes over what is there.
    fn merge(
        &mut self,
        upper: BTreeMap<Key<'c>, Node>,
        hidden: &BTreeSet<Path>,
        opaque: &BTreeSet<Path>,
        linked: &[Path],
    ) -> Result<(), Refusal> {
        for folder in opaque {
            if folder.is_empty() && !self.nodes.is_empty() {
                return Err(ambiguous(folder, "an opaque root, which overlayfs merges with those below all the same"));
            }
            self.remove_below(folder);
        }
        // Nothing below that could be hidden.
        if self.nodes.is_empty() {
            self.nodes = upper;
            return Ok(());
        }
        for path in hidden {
            let is_folder_again = upper.get(&**path).is_some_and(|node| matches!(self.found(*node), Found::Folder));
            // An empty one has nothing to show.
            if is_folder_again && self.below(path).next().is_some() {
                let text = "the layer hides a folder and brings one of the same name, whose old content some loaders show again";
                return Err(ambiguous(path, text));
            }
            self.remove_below(path);
            self.nodes.remove(&**path);
        }
        let is_covered = |path: &Path| {
            let not_folder =
                |path: &[u8]| upper.get(path).is_some_and(|node| !matches!(self.found(*node), Found::Folder));
            upper.contains_key(&**path) || ancestors(path).any(not_folder)
        };
        if let Some(path) = linked.iter().find(|path| !self.nodes.contains_key(&***path) || is_covered(path)) {
            return Err(ambiguous(path, "a hard link to what the same layer hides"));
        }
        for path in self.put_over(upper) {
            self.remove_below(&path);
        }
        Ok(())
    }

    /// Puts nodes over what is there. Returns where a folder was replaced by something else, so that nothing below it is there any more: the layer
    /// itself has nothing below what is no folder.
    fn put_over(&mut self, upper: BTreeMap<Key<'c>, Node>) -> Vec<Key<'c>> {
        let layers = &self.layers;
        let mut replaced = Vec::new();
        let mut laid = |path: &Key<'c>, below: Node, node: Node| {
            let was_folder = is_folder(layers, below);
            if was_folder && !is_folder(layers, node) {
                replaced.push(path.clone());
            }
            // A folder that is only implied leaves the one below as it is.
            if was_folder && node == Node::Folder { below } else { node }
        };
        // A large layer is merged in one walk over both, a small one is looked up.
        if upper.len() < self.nodes.len() / WALK {
            for (path, node) in upper {
                match self.nodes.entry(path) {
                    Slot::Vacant(place) => _ = place.insert(node),
                    Slot::Occupied(mut below) => {
                        let node = laid(below.key(), *below.get(), node);
                        below.insert(node);
                    }
                }
            }
            return replaced;
        }
        let mut merged = Vec::with_capacity(self.nodes.len().saturating_add(upper.len()));
        let mut lower = mem::take(&mut self.nodes).into_iter().peekable();
        for (path, node) in upper {
            while let Some(before) = lower.next_if(|(below, _)| *below < path) {
                merged.push(before);
            }
            let node = match lower.next_if(|(below, _)| *below == path) {
                Some((_, below)) => laid(&path, below, node),
                None => node,
            };
            merged.push((path, node));
        }
        merged.extend(lower);
        self.nodes = merged.into_iter().collect();
        replaced
    }

    fn remove_below(&mut self, folder: &[u8]) {
        remove_below(&mut self.nodes, folder);
    }
}

/// A layer while its entries are added.
struct Upper<'t, 'c> {
    lower: &'t Tree<'c>,
    layer: usize,
    /// What the layer has, and the folders that its paths imply.
    nodes: BTreeMap<Key<'c>, Node>,
    /// Where it hides what is below without a trace among its nodes: whiteouts, and what a folder of its own took the place of.
    hidden: BTreeSet<Path>,
    opaque: BTreeSet<Path>,
    /// What of the layers below its hard links name.
    linked: Vec<Path>,
    /// What of its nodes no entry has the name of: implied folders, and what came through a link.
    inexact: BTreeSet<Path>,
    /// Permissions that its hard links give, and to which entry.
    modes: Vec<((usize, usize), u32)>,
    /// Folders as entries write them, and where these are: true until something of the layer is replaced.
    placed: HashMap<Path, Path>,
}

impl<'c> Upper<'_, 'c> {
    fn add(&mut self, index: usize) -> Result<(), Refusal> {
        let Some(entry) = self.lower.entry(self.layer, index) else { return Ok(()) };
        if entry.path.is_empty() {
            return Ok(());
        }
        let (folder, name) = split(&entry.path);
        let path = match self.placed.get(folder) {
            Some(placed) if **placed == *folder => Cow::Borrowed(&*entry.path),
            Some(placed) => Cow::Owned(join(placed, name).into_vec()),
            None => {
                if parts(folder).any(|part| part.starts_with(WHITEOUT)) {
                    return Err(ambiguous(&entry.path, "an entry below a whiteout"));
                }
                let placed = self.place(folder, &entry.path)?;
                let path = join(&placed, name).into_vec();
                self.placed.insert(folder.into(), placed);
                Cow::Owned(path)
            }
        };
        if name.starts_with(WHITEOUT) {
            return self.whiteout(split(&path).0, name, entry);
        }
        let node = Node::Entry { layer: self.layer, entry: index };
        let is_exact = *path == *entry.path;
        if !is_exact {
            self.inexact.insert((&*path).into());
        }
        match &entry.kind {
            EntryKind::Directory => {
                let before = self.nodes.insert(path.clone(), node);
                if is_exact && before.is_some() {
                    self.inexact.remove(&*path);
                }
                if before.is_some_and(|node| !matches!(self.lower.found(node), Found::Folder)) {
                    self.hidden.insert((&*path).into());
                    self.placed = HashMap::new();
                }
            }
            EntryKind::HardLink(target) => {
                let node = self.link_target(target, &path, &entry.path)?;
                if let Node::Entry { layer, entry: file } = node {
                    self.modes.push(((layer, file), entry.mode));
                }
                self.put(path, node, is_exact);
            }
            EntryKind::File(_) | EntryKind::Symlink(_) | EntryKind::Device | EntryKind::Fifo => {
                self.put(path, node, is_exact);
            }
        }
        Ok(())
    }

    /// Anything but a folder.
    fn put(&mut self, path: Key<'c>, node: Node, is_exact: bool) {
        let mut before = match self.nodes.entry(path) {
            Slot::Occupied(before) => before,
            Slot::Vacant(place) => {
                place.insert(node);
                return;
            }
        };
        // It may have been a part of the way to a folder, or a link on it.
        self.placed = HashMap::new();
        if is_exact {
            self.inexact.remove(&**before.key());
        }
        if is_folder(&self.lower.layers, before.insert(node)) {
            let path = before.key().clone();
            remove_below(&mut self.nodes, &path);
            // The mark is gone with the folder. What is below of the layers below is hidden by this, unless a folder comes again.
            self.opaque.remove(&*path);
        }
    }

    fn whiteout(&mut self, folder: &[u8], name: &[u8], entry: &LayerEntry) -> Result<(), Refusal> {
        let is_empty_file = matches!(&entry.kind, EntryKind::File(facts) if facts.size == 0);
        if !is_empty_file {
            return Err(ambiguous(&entry.path, "a whiteout that is no empty file"));
        }
        if name == OPAQUE {
            if self.hidden.contains(folder) && self.nodes.get(folder) == Some(&Node::Folder) {
                return Err(ambiguous(
                    &entry.path,
                    "an opaque mark in a folder that the layer hides and has no entry for",
                ));
            }
            if self.inexact.range(below(folder)).next().is_some() {
                let text = "an opaque mark after what the layer has below without an entry of that name";
                return Err(ambiguous(&entry.path, text));
            }
            self.opaque.insert(folder.into());
            return Ok(());
        }
        let hidden = name.strip_prefix(WHITEOUT).unwrap_or_default();
        if name.starts_with(RESERVED) || matches!(hidden, b"" | b"." | b"..") {
            return Err(ambiguous(&entry.path, "a whiteout that loaders understand differently"));
        }
        let path = join(folder, hidden);
        if self.nodes.contains_key(&*path) {
            return Err(ambiguous(&entry.path, "a whiteout of what the same layer put there before"));
        }
        self.hidden.insert(path);
        Ok(())
    }

    /// The physical path of the folder that an entry is put in, which is made if nothing is there.
    fn place(&mut self, folder: &[u8], whole: &[u8]) -> Result<Path, Refusal> {
        let mut at: Vec<u8> = Vec::new();
        let mut links = 0_usize;
        // Each part, and whether it is a link's.
        let mut rest: VecDeque<(&[u8], bool)> = parts(folder).map(|part| (part, false)).collect();
        while let Some((part, of_link)) = rest.pop_front() {
            if part == b".." {
                pop(&mut at);
                continue;
            }
            let next = join(&at, part);
            match self.nodes.get(&*next).map(|node| self.lower.found(*node)) {
                Some(Found::Folder) => {}
                Some(Found::Symlink(target)) => {
                    links = links.saturating_add(1);
                    if links > LINKS_MAX {
                        return Err(ambiguous(whole, "an entry below a link that leads nowhere"));
                    }
                    if target.first() == Some(&b'/') {
                        at.clear();
                    }
                    parts(target).rev().for_each(|part| rest.push_front((part, true)));
                    continue;
                }
                Some(_) => return Err(ambiguous(whole, "an entry below something that is no folder")),
                None => self.make_folder(&next, of_link, whole)?,
            }
            at = next.into_vec();
        }
        Ok(at.into())
    }

    /// A folder that the layer has no entry for.
    fn make_folder(&mut self, path: &Path, of_link: bool, whole: &[u8]) -> Result<(), Refusal> {
        let is_hidden = self.is_hidden(path);
        match self.lower.get(path) {
            Some(Found::Folder) if of_link && is_hidden => {
                return Err(ambiguous(whole, "an entry below a link to a folder that the same layer hides"));
            }
            Some(Found::Folder) => {}
            None if of_link => return Err(ambiguous(whole, "an entry below a link that leads nowhere")),
            None => {}
            Some(Found::Symlink(_)) if !is_hidden => {
                let text = "an entry that is put through a symbolic link of a layer below, which some loaders follow and others replace";
                return Err(ambiguous(whole, text).found(format!("the link {}", shown(path))));
            }
            Some(_) if !is_hidden => return Err(ambiguous(whole, "an entry below something that is no folder")),
            Some(_) => {}
        }
        self.nodes.insert(path.to_vec().into(), Node::Folder);
        self.inexact.insert(path.clone());
        Ok(())
    }

    /// Whether this layer has hidden a path of the layers below so far.
    fn is_hidden(&self, path: &[u8]) -> bool {
        let mut path = path;
        loop {
            if self.hidden.contains(path) {
                return true;
            }
            path = split(path).0;
            if path.is_empty() {
                return self.opaque.contains(path);
            }
            if self.opaque.contains(path) {
                return true;
            }
        }
    }

    /// What a hard link stands for, now.
    fn link_target(&mut self, target: &[u8], link: &[u8], whole: &[u8]) -> Result<Node, Refusal> {
        let missing = || ambiguous(whole, "a hard link to nothing").found(shown(target));
        let (folder, name) = split(target);
        let folder = self.place(folder, whole)?;
        let path = join(&folder, name);
        if *path == *link {
            return Err(ambiguous(whole, "a hard link to itself"));
        }
        let node = match (self.nodes.get(&*path), self.lower.nodes.get(&*path)) {
            (Some(node), _) => *node,
            (None, Some(node)) => {
                self.linked.push(path);
                *node
            }
            (None, None) => return Err(missing()),
        };
        match self.lower.found(node) {
            Found::Folder => Err(ambiguous(whole, "a hard link to a folder").found(shown(target))),
            _ => Ok(node),
        }
    }
}

/// Whether a node is a folder, by the layers that it is of.
fn is_folder(layers: &[&LayerContents], node: Node) -> bool {
    let Node::Entry { layer, entry } = node else { return true };
    let entry = layers.get(layer).and_then(|layer| layer.entries.get(entry));
    entry.is_none_or(|entry| entry.kind == EntryKind::Directory)
}

fn ambiguous(path: &[u8], message: &str) -> Refusal {
    Refusal::new(Code::LayerAmbiguous, shown(path), message)
}

fn in_layer(layer: usize, refusal: Refusal) -> Refusal {
    // People count from one, as the messages about diff ids do.
    let subject = format!("layer {}: {}", layer.saturating_add(1), refusal.subject);
    Refusal { subject, ..refusal }
}

/// The folder and the last part of a path.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at.saturating_add(1)..).unwrap_or_default()),
        None => (&[], path),
    }
}

pub(crate) fn join(folder: &[u8], name: &[u8]) -> Path {
    if folder.is_empty() { name.into() } else { [folder, b"/", name].concat().into() }
}

/// The folders that a path is in, the nearest first, without the root.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    fn above(path: &[u8]) -> Option<&[u8]> {
        Some(split(path).0).filter(|folder| !folder.is_empty())
    }
    std::iter::successors(above(path), |folder| above(folder))
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."))
}

fn pop(path: &mut Vec<u8>) {
    let parent = split(path).0.len();
    path.truncate(parent);
}

/// The keys of all that is below a folder: they follow each other.
pub(crate) fn below(folder: &[u8]) -> (Bound<Path>, Bound<Path>) {
    if folder.is_empty() {
        return (Bound::Unbounded, Bound::Unbounded);
    }
    // `0` is the byte after `/`.
    (Bound::Excluded([folder, b"/"].concat().into()), Bound::Excluded([folder, b"0"].concat().into()))
}

fn remove_below(nodes: &mut BTreeMap<Key<'_>, Node>, folder: &[u8]) {
    let (from, to) = below(folder);
    let (from, to) = (from.as_ref().map(|path| &**path), to.as_ref().map(|path| &**path));
    let keys: Vec<Key<'_>> = nodes.range::<[u8], _>((from, to)).map(|(path, _)| path.clone()).collect();
    for key in &keys {
        nodes.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of a few words: `a/` a folder, `a=TEXT` a file, `a->TARGET` a link, `a=>TARGET` a hard link, `a!` a device.
    fn layer(words: &[&str]) -> LayerContents {
        let entry = |word: &&str| {
            let (path, kind) = if let Some((path, target)) = word.split_once("=>") {
                (path, EntryKind::HardLink(target.as_bytes().into()))
            } else if let Some((path, target)) = word.split_once("->") {
                (path, EntryKind::Symlink(target.as_bytes().into()))
            } else if let Some((path, text)) = word.split_once('=') {
                let (size, content) = (text.len().try_into().unwrap(), Some(text.as_bytes().into()));
                (path, EntryKind::File(FileFacts { size, digest: None, sha1: None, content, is_program: false }))
            } else if let Some(path) = word.strip_suffix('!') {
                (path, EntryKind::Device)
            } else {
                (word.strip_suffix('/').unwrap(), EntryKind::Directory)
            };
            LayerEntry { path: path.as_bytes().into(), mode: 0o644, kind }
        };
        LayerContents { entries: words.iter().map(entry).collect() }
    }

    fn text(found: Found<'_>) -> String {
        match found {
            Found::File { facts, .. } => {
                format!("={}", String::from_utf8_lossy(facts.content.as_deref().unwrap_or_default()))
            }
            Found::Folder => "/".to_owned(),
            Found::Symlink(target) => format!("->{}", shown(target)),
            Found::Device | Found::Fifo => "!".to_owned(),
        }
    }

    fn files(tree: &Tree<'_>) -> String {
        let words = tree.iter().map(|(path, found)| shown(path) + &text(found));
        words.collect::<Vec<_>>().join(" ")
    }

    type Case = (&'static str, &'static [&'static [&'static str]], Result<&'static str, &'static str>);

    const CASES: &[Case] = &[
        ("one layer", &[&["a/", "a/b=1", "c=2"]], Ok("a/ a/b=1 c=2")),
        ("folders are implied", &[&["a/b/c=1"]], Ok("a/ a/b/ a/b/c=1")),
        ("the root has no entry", &[&["/", "a=1"]], Ok("a=1")),
        ("a file is replaced", &[&["a=1"], &["a=2"]], Ok("a=2")),
        ("folders are merged", &[&["a/", "a/b=1"], &["a/", "a/c=2"]], Ok("a/ a/b=1 a/c=2")),
        ("folders that are implied too", &[&["a/b=1"], &["a/c=2"]], Ok("a/ a/b=1 a/c=2")),
        ("a file in the place of a folder", &[&["a/b=1", "a0=1"], &["a=2"]], Ok("a=2 a0=1")),
        ("a folder in the place of a file", &[&["a=1"], &["a/"]], Ok("a/")),
        ("a folder in the place of a link", &[&["a->c", "c/"], &["a/", "a/b=1"]], Ok("a/ a/b=1 c/")),
        // Whiteouts.
        ("a whiteout", &[&["a=1", "b=2"], &[".wh.a="]], Ok("b=2")),
        ("a whiteout of a folder", &[&["a/b/c=1", "a.b=1"], &[".wh.a="]], Ok("a.b=1")),
        ("a whiteout in a folder", &[&["a/b=1", "b=1"], &["a/.wh.b="]], Ok("a/ b=1")),
        ("a whiteout of nothing", &[&["a=1"], &[".wh.b="]], Ok("a=1")),
        ("a whiteout hides no other name", &[&["status=1"], &[".wh.status-old="]], Ok("status=1")),
        ("a whiteout, then the name again", &[&["a=1"], &[".wh.a=", "a=2"]], Ok("a=2")),
        ("the name, then its whiteout", &[&["a=1"], &["a=2", ".wh.a="]], Err(".wh.a")),
        ("an implied folder, then its whiteout", &[&["a/b=1"], &["a/c=2", ".wh.a="]], Err(".wh.a")),
        ("a folder hidden and brought again", &[&["a/b=1"], &[".wh.a=", "a/", "a/c=2"]], Err("a")),
        ("a folder hidden and implied again", &[&["a/b=1"], &[".wh.a=", "a/c=2"]], Err("a")),
        ("a folder hidden by a file, and brought again", &[&["a/b=1"], &["a=1", "a/"]], Err("a")),
        ("a file hidden, a folder brought", &[&["a=1"], &[".wh.a=", "a/c=2"]], Ok("a/ a/c=2")),
        ("a link hidden, a folder brought", &[&["a->b", "b/"], &[".wh.a=", "a/c=2"]], Ok("a/ a/c=2 b/")),
        ("hidden, brought again, and opaque", &[&["a/b=1"], &[".wh.a=", "a/", "a/.wh..wh..opq="]], Ok("a/")),
        ("a whiteout with content", &[&["a=1"], &[".wh.a=x"]], Err(".wh.a")),
        ("a whiteout that is a folder", &[&["a=1"], &[".wh.a/"]], Err(".wh.a")),
        ("an entry below a whiteout", &[&["a=1"], &[".wh.a/b=1"]], Err(".wh.a/b")),
        ("a whiteout of nothing at all", &[&["a=1"], &[".wh.="]], Err(".wh.")),
        ("a whiteout of the folder", &[&["a/b=1"], &["a/.wh..="]], Err("a/.wh..")),
        ("a whiteout of the folder above", &[&["a/b=1"], &["a/.wh...="]], Err("a/.wh...")),
        ("three dots are a name", &[&["a/...=1"], &["a/.wh....="]], Ok("a/")),
        ("a mark of aufs", &[&["a=1"], &[".wh..wh.plnk/"]], Err(".wh..wh.plnk")),
        ("a whiteout of a whiteout", &[&["a=1"], &[".wh..wh.a="]], Err(".wh..wh.a")),
        ("the base has whiteouts", &[&[".wh.a=", "b=1"]], Ok("b=1")),
        // Opaque folders.
        ("opaque", &[&["a/b=1", "a/c/d=1", "e=1"], &["a/", "a/.wh..wh..opq=", "a/f=2"]], Ok("a/ a/f=2 e=1")),
        ("opaque after the folder's own entries", &[&["a/b=1"], &["a/f=2", "a/.wh..wh..opq="]], Ok("a/ a/f=2")),
        ("an opaque root", &[&["a/b=1", "c=1"], &[".wh..wh..opq=", "d=1"]], Err("")),
        ("an opaque root over nothing", &[&[".wh..wh..opq=", "d=1"]], Ok("d=1")),
        ("opaque, then a file, then a folder", &[&["a/b=1"], &["a/", "a/.wh..wh..opq=", "a=1", "a/"]], Err("a")),
        ("a file, then a folder, then opaque", &[&["a/b=1"], &["a=1", "a/", "a/.wh..wh..opq="]], Ok("a/")),
        (
            "hidden, then opaque, then a folder",
            &[&["a/b=1"], &[".wh.a=", "a/.wh..wh..opq=", "a/"]],
            Err("a/.wh..wh..opq"),
        ),
        (
            "opaque after what a folder without an entry has",
            &[&["a/b=1"], &["a/x/f=2", "a/.wh..wh..opq="]],
            Err("a/.wh..wh..opq"),
        ),
        ("and with an entry", &[&["a/b=1"], &["a/x/", "a/x/f=2", "a/.wh..wh..opq="]], Ok("a/ a/x/ a/x/f=2")),
        ("opaque before it", &[&["a/b=1"], &["a/.wh..wh..opq=", "a/x/f=2"]], Ok("a/ a/x/ a/x/f=2")),
        (
            "opaque after what came through a link",
            &[&["a/b=1"], &["a/", "l->a", "l/f=2", "a/.wh..wh..opq="]],
            Err("a/.wh..wh..opq"),
        ),
        ("opaque before that", &[&["a/b=1"], &["a/", "l->a", "a/.wh..wh..opq=", "l/f=2"]], Ok("a/ a/f=2 l->a")),
        ("a name that only ends so", &[&["a/b=1"], &["a/x.wh..wh..opq="]], Ok("a/ a/b=1 a/x.wh..wh..opq=")),
        (
            "an opaque folder's folder, named again",
            &[&["a/b/c=1"], &["a/.wh..wh..opq=", "a/b/d=1"]],
            Ok("a/ a/b/ a/b/d=1"),
        ),
        // Several entries of one name.
        ("the last of two files counts", &[&["a=1", "a=2"]], Ok("a=2")),
        ("a file after a folder", &[&["a/b=1", "a=2"]], Ok("a=2")),
        ("a folder after a file", &[&["a=2", "a/b=1"]], Err("a/b")),
        ("a folder after a file, by an entry", &[&["a=2", "a/", "a/b=1"]], Ok("a/ a/b=1")),
        // Hard links.
        ("a hard link", &[&["a=1", "b=>a"]], Ok("a=1 b=1")),
        ("a hard link keeps what it named", &[&["a=1", "b=>a", "a=2"]], Ok("a=2 b=1")),
        ("a hard link keeps what is hidden later", &[&["a=1", "b=>a"], &[".wh.a="]], Ok("b=1")),
        ("a hard link to a layer below", &[&["a=1"], &["b=>a"]], Ok("a=1 b=1")),
        ("a hard link to what the layer hides", &[&["a=1"], &["b=>a", ".wh.a="]], Err("a")),
        ("a hard link to what the layer hid", &[&["a=1"], &[".wh.a=", "b=>a"]], Err("a")),
        ("a hard link to what an opaque folder hides", &[&["d/a=1"], &["b=>d/a", "d/.wh..wh..opq="]], Err("d/a")),
        ("a hard link to what the layer replaces", &[&["a=1"], &["b=>a", "a=2"]], Err("a")),
        ("a hard link to below what the layer replaces", &[&["d/a=1"], &["b=>d/a", "d=2"]], Err("d/a")),
        ("a hard link to below what the layer keeps", &[&["d/a=1"], &["b=>d/a", "d/c=2"]], Ok("b=1 d/ d/a=1 d/c=2")),
        (
            "the way to a folder changes",
            &[&["x/", "y/", "l->x", "l/a=1", "l->y", "l/b=2"]],
            Ok("l->y x/ x/a=1 y/ y/b=2"),
        ),
        ("a folder on the way becomes a link", &[&["y/", "d/a=1", "d->y", "d/b=2"]], Ok("d->y y/ y/b=2")),
        ("a hard link to what comes later", &[&["b=>a", "a=1"]], Err("b")),
        ("a hard link to nothing", &[&["b=>a"]], Err("b")),
        ("a hard link to itself", &[&["a=1", "a=>a"]], Err("a")),
        ("a hard link to a folder", &[&["a/", "b=>a"]], Err("b")),
        ("a hard link to a link is that link", &[&["a=1", "l->a", "b=>l"]], Ok("a=1 b->a l->a")),
        ("a hard link to a device", &[&["a!", "b=>a"]], Ok("a! b!")),
        // Links in the way.
        (
            "within a layer links are followed",
            &[&["usr/bin/", "bin->usr/bin", "bin/a=1"]],
            Ok("bin->usr/bin usr/ usr/bin/ usr/bin/a=1"),
        ),
        (
            "links from the root",
            &[&["usr/bin/", "x/bin->/usr/bin", "x/bin/a=1"]],
            Ok("usr/ usr/bin/ usr/bin/a=1 x/ x/bin->/usr/bin"),
        ),
        (
            "links that climb",
            &[&["usr/bin/", "x/y/bin->../../usr/bin", "x/y/bin/a=1"]],
            Ok("usr/ usr/bin/ usr/bin/a=1 x/ x/y/ x/y/bin->../../usr/bin"),
        ),
        ("links that climb above the root", &[&["b/", "a->../../b", "a/c=1"]], Ok("a->../../b b/ b/c=1")),
        (
            "`..` leaves the folder that a link led to",
            &[&["d/e/", "s->d/e", "l->s/../x", "d/x/", "x/", "l/a=1"]],
            Ok("d/ d/e/ d/x/ d/x/a=1 l->s/../x s->d/e x/"),
        ),
        ("a link to nothing", &[&["bin->usr/bin", "bin/a=1"]], Err("bin/a")),
        ("a link to a file", &[&["b=1", "bin->b", "bin/a=1"]], Err("bin/a")),
        ("links in a circle", &[&["a->b", "b->a", "a/c=1"]], Err("a/c")),
        ("through a link of a layer below", &[&["usr/bin/", "bin->usr/bin"], &["bin/a=1"]], Err("bin/a")),
        ("through such a link, further down", &[&["usr/bin/x/", "bin->usr/bin"], &["bin/x/a=1"]], Err("bin/x/a")),
        ("around it", &[&["usr/bin/", "bin->usr/bin"], &["usr/bin/a=1"]], Ok("bin->usr/bin usr/ usr/bin/ usr/bin/a=1")),
        ("a whiteout through such a link", &[&["usr/bin/a=1", "bin->usr/bin"], &["bin/.wh.a="]], Err("bin/.wh.a")),
        (
            "opaque through such a link",
            &[&["usr/bin/a=1", "bin->usr/bin"], &["bin/.wh..wh..opq="]],
            Err("bin/.wh..wh..opq"),
        ),
        ("a hard link through such a link", &[&["usr/bin/a=1", "bin->usr/bin"], &["b=>bin/a"]], Err("b")),
        ("the folder comes too late", &[&["usr/bin/", "bin->usr/bin"], &["bin/a=1", "bin/"]], Err("bin/a")),
        (
            "a link to a folder of a layer below",
            &[&["usr/bin/"], &["bin->usr/bin", "bin/a=1"]],
            Ok("bin->usr/bin usr/ usr/bin/ usr/bin/a=1"),
        ),
        (
            "a link to a folder that the layer hides",
            &[&["usr/bin/"], &["usr/.wh.bin=", "bin->usr/bin", "bin/a=1"]],
            Err("bin/a"),
        ),
        ("a link to a link of a layer below", &[&["usr/bin/", "bin->usr/bin"], &["b->bin", "b/a=1"]], Err("b/a")),
        ("below a file of a layer below", &[&["a=1"], &["a/b=1"]], Err("a/b")),
    ];

    #[test]
    fn layers_are_stacked_in_one_way_or_refused() {
        for (name, layers, expected) in CASES {
            let layers: Vec<LayerContents> = layers.iter().map(|words| layer(words)).collect();
            assert_eq!(stacked(&layers), expected.map(str::to_owned).map_err(str::to_owned), "{name}");
        }
    }

    /// The files of these layers, or where they are refused.
    fn stacked(layers: &[LayerContents]) -> Result<String, String> {
        let tree = Tree::stack(&layers.iter().collect::<Vec<_>>());
        tree.map(|tree| files(&tree)).map_err(|refusal| {
            assert_eq!(refusal.code, Code::LayerAmbiguous);
            refusal.subject.split_once(": ").unwrap().1.to_owned()
        })
    }

    #[test]
    fn small_layers_are_stacked_on_a_large_one_as_on_any() {
        // Before and after all that the cases have.
        let names: Vec<String> = (0..99).flat_map(|n| [format!("!{n}=0"), format!("~{n}=0")]).collect();
        let large = || layer(&names.iter().map(String::as_str).collect::<Vec<_>>());
        for (name, layers, expected) in CASES {
            if *name == "an opaque root over nothing" {
                continue;
            }
            let own = layers.iter().map(|words| layer(words));
            let layers: Vec<LayerContents> = [large()].into_iter().chain(own).collect();
            let got = stacked(&layers).map(|files| {
                let own: Vec<&str> = files.split(' ').filter(|word| !word.starts_with(['!', '~'])).collect();
                assert_eq!(files.split(' ').count() - own.len(), names.len(), "{name}");
                own.join(" ")
            });
            assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{name}");
        }
    }

    #[test]
    fn paths_lead_where_the_kernel_would_lead_them() {
        let layer = layer(&[
            "usr/lib/x=1",
            "lib->usr/lib",
            "etc/alt->/lib",
            "up->../../usr",
            "loop->loop",
            "a->b",
            "b->a",
            "file=2",
            "f->file",
            "deep/l->../file",
            "dots->usr/lib/../lib/./x",
        ]);
        let tree = Tree::stack(&[&layer]).unwrap();
        for (path, expected) in [
            ("usr/lib/x", Some("usr/lib/x=1")),
            ("/usr//lib/./x", Some("usr/lib/x=1")),
            ("lib/x", Some("usr/lib/x=1")),
            ("etc/alt/x", Some("usr/lib/x=1")),
            ("up/lib/x", Some("usr/lib/x=1")),
            ("../../lib/x", Some("usr/lib/x=1")),
            ("lib/../lib/x", Some("usr/lib/x=1")),
            ("lib/../file", None),
            ("dots", Some("usr/lib/x=1")),
            ("f", Some("file=2")),
            ("deep/l", Some("file=2")),
            ("f/..", None),
            ("file/.", Some("file=2")),
            ("loop", None),
            ("a", None),
            ("lib", Some("usr/lib/")),
            ("", Some("/")),
            ("nothing", None),
        ] {
            let got = tree.resolve(path.as_bytes()).map(|(path, found)| shown(&path) + &text(found));
            assert_eq!(got.as_deref(), expected, "{path}");
        }
        for (path, expected) in [
            ("lib/x", Some("usr/lib/x")),
            ("f", Some("f")),
            ("lib", Some("lib")),
            ("a/x", None),
            ("file/x", None),
            ("lib/y", Some("usr/lib/y")),
        ] {
            let got = tree.resolve_folder(path.as_bytes()).map(|path| shown(&path));
            assert_eq!(got.as_deref(), expected, "{path}");
        }
        let below: Vec<_> = tree.below(b"usr").map(|(path, _)| shown(path)).collect();
        assert_eq!(below, ["usr/lib", "usr/lib/x"]);
    }

    #[test]
    fn as_many_links_are_followed_as_linux_follows() {
        for (links, found) in [(40, true), (41, false)] {
            let mut words: Vec<String> = (0..links).map(|i| format!("l{i}->l{}", i + 1)).collect();
            words.push(format!("l{links}=x"));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let layer = layer(&words);
            let tree = Tree::stack(&[&layer]).unwrap();
            assert_eq!(tree.resolve(b"l0").is_some(), found, "{links}");
        }
    }
}
