//! One repository at several locations.

use std::fmt;
use std::io::Read;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{Source, SourceError};

/// A repository at several locations, of which the first that answers serves.
///
/// The location is changed only when it cannot be read, never because it has no such file: else two mirrors in different states would
/// be mixed, and one that is cut off could hide the newest root of another. Once a location has answered, a failure of it is a failure;
/// the next refresh begins at the next location.
pub struct Mirrors<S> {
    mirrors: Vec<Mirror<S>>,
    state: Mutex<State>,
}

struct Mirror<S> {
    open: Box<dyn Fn() -> Result<S, SourceError> + Send + Sync>,
    opened: OnceLock<S>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    current: usize,
    has_answered: bool,
}

impl<S: Source> Mirrors<S> {
    /// Locations in the order in which they are tried, each as a function that opens it, which is called when it is first needed.
    pub fn new<F>(locations: impl IntoIterator<Item = F>) -> Self
    where
        F: Fn() -> Result<S, SourceError> + Send + Sync + 'static,
    {
        let mirror = |open: F| Mirror { open: Box::new(open), opened: OnceLock::new() };
        let state = Mutex::new(State { current: 0, has_answered: false });
        Self { mirrors: locations.into_iter().map(mirror).collect(), state }
    }

    fn ask<'a, T>(&'a self, ask: impl Fn(&'a S) -> Result<T, SourceError>) -> Result<T, SourceError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = if state.has_answered { 1 } else { self.mirrors.len() };
        let mut first_error = None;
        for (place, mirror) in self.mirrors.iter().enumerate().cycle().skip(state.current).take(tries) {
            match mirror.source().and_then(&ask) {
                Ok(answer) => {
                    *state = State { current: place, has_answered: true };
                    return Ok(answer);
                }
                Err(error) => first_error.get_or_insert(error),
            };
        }
        let next = state.current.saturating_add(1);
        *state = State { current: if next < self.mirrors.len() { next } else { 0 }, has_answered: false };
        let none = || SourceError::NoRepository { place: String::new(), what: "no location was given".to_owned() };
        Err(first_error.unwrap_or_else(none))
    }
}

impl<S> Mirror<S> {
    fn source(&self) -> Result<&S, SourceError> {
        match self.opened.get() {
            Some(source) => Ok(source),
            None => {
                let source = (self.open)()?;
                Ok(self.opened.get_or_init(|| source))
            }
        }
    }
}

impl<S: Source> Source for Mirrors<S> {
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        self.ask(|source| source.metadata(name))
    }

    fn target(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        self.ask(|source| source.target(name))
    }
}

impl<S> fmt::Debug for Mirrors<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirrors").field("locations", &self.mirrors.len()).field("state", &self.state).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::io;
    use std::rc::Rc;

    /// A location that has these files; one named `!` cannot be read at all.
    struct Place {
        name: char,
        files: &'static [&'static str],
        log: Rc<RefCell<String>>,
    }

    impl Source for Place {
        fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
            self.log.borrow_mut().push(self.name);
            if self.files.contains(&"!") {
                return Err(SourceError::Io { file: name.to_owned(), source: io::ErrorKind::TimedOut.into() });
            }
            let file: Box<dyn Read> = Box::new(io::empty());
            Ok(Some(file).filter(|_| self.files.contains(&name)))
        }

        fn target(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
            self.metadata(name)
        }
    }

    /// Asks for `a`, `b`, `a`; returns what came of each, and which locations were asked.
    fn asked(places: &[&'static [&'static str]]) -> (String, String) {
        let log = Rc::new(RefCell::new(String::new()));
        let sources = places.iter().zip('1'..).map(|(files, name)| Place { name, files, log: Rc::clone(&log) });
        let state = Mutex::new(State { current: 0, has_answered: false });
        // Opened already: what opens them would have to be sent to other threads, and the log cannot.
        let never = || Err(SourceError::Path(String::new()));
        let mirrors = sources.map(|source| Mirror { open: Box::new(never), opened: OnceLock::from(source) }).collect();
        let mirrors = Mirrors { mirrors, state };
        let results = ["a", "b", "a"].map(|name| match mirrors.metadata(name) {
            Ok(Some(_)) => "+",
            Ok(None) => "-",
            Err(_) => "!",
        });
        (results.concat(), log.take())
    }

    #[test]
    fn the_first_location_that_answers_serves() {
        let rows: &[(&[&[&str]], &str, &str)] = &[
            (&[&["a", "b"]], "+++", "111"),
            (&[&["a"], &["a", "b"]], "+-+", "111"),
            (&[&["!"], &["a", "b"]], "+++", "1222"),
            (&[&["!"], &["!"], &["a"]], "+-+", "12333"),
            (&[&["!"], &["!"]], "!!!", "122112"),
            (&[], "!!!", ""),
        ];
        for (places, results, log) in rows {
            assert_eq!(asked(places), ((*results).to_owned(), (*log).to_owned()), "{places:?}");
        }
    }

    #[test]
    fn a_location_that_cannot_be_opened_is_tried_again_when_its_turn_comes() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let open = |name: &'static str| move || super::super::DirSource::repository(&folder.join(name));
        let mirrors = Mirrors::new([open("no/such/folder"), open("test-repos/good")]);
        assert!(mirrors.metadata("timestamp.json").unwrap().is_some());
        assert!(mirrors.metadata("99.root.json").unwrap().is_none());
        let mirrors = Mirrors::new([open("no/such/folder")]);
        assert!(matches!(mirrors.metadata("timestamp.json"), Err(SourceError::NoRepository { .. })));
    }
}
