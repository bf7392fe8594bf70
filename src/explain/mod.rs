//! "Who am I trusting?" For the name of an image: which keys decide on it, how many of them it takes, by which delegations, until when, and what a thief of
//! each key could do.
//!
//! It rests on the same refresh and the same search as a verification, so it tells what a verification would do; it looks at no archive. What is said of one
//! repository ([`RepositoryExplanation::of`]) is a pure function of its trusted metadata, so a program with a client of its own can have it as well.
//!
//! What cannot be known is not said: whether a key is online, and whether its owner is who the metadata says.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::path::Path;
//!
//! use plimsoll::client::{Client, DirSource, Store};
//! use plimsoll::explain::{Answer, Explainer};
//!
//! let root = std::fs::read("test-repos/root.json")?;
//! let source = DirSource::repository(Path::new("test-repos/good"))?;
//! let client = Client::new(root, source, Store::in_memory());
//! let explanation = Explainer::new("registry.example/team/app:1.4".parse()?).by_client(&client);
//! assert_eq!(explanation.answer, Answer::Signed);
//! let steps: Vec<_> = explanation.repositories[0].delegations.iter().map(|step| step.to.as_str()).collect();
//! assert_eq!(steps, ["team"]);
//! # Ok(())
//! # }
//! ```

mod repository;
mod text;
mod theft;

use chrono::TimeDelta;
use serde::Serialize;

pub use self::repository::{
    AskedRole, DelegationStep, Expiry, KeyExplanation, Matched, RepositoryAnswer, RepositoryExplanation,
    RoleExplanation, RootExplanation, SignedFile, Warning, WarningCode,
};
pub use self::theft::{Holding, Power, PowerKind, Theft, Together, WithMore};
use crate::client::{Client, ClientError, Source};
use crate::image::signable::MANIFEST_FILE;
use crate::map::{LookupError, Repositories, Says};
use crate::name::ImageName;
use crate::template::TargetPaths;
use crate::verdict::{Finding, without_control};

/// Explains one image name.
#[derive(Debug, Clone)]
pub struct Explainer {
    name: ImageName,
    target_paths: TargetPaths,
    soon: TimeDelta,
}

/// Who is trusted for an image name.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    schema: &'static str,
    /// Whether the name is signed.
    pub answer: Answer,
    /// The name, in full.
    pub image: String,
    /// The target path of its manifest. `None` if no repository was asked.
    pub target: Option<String>,
    /// With a map, the rules that decided, in their order; without, none.
    pub rules: Vec<Rule>,
    /// The repositories that were asked; without a map one, without a name.
    pub repositories: Vec<RepositoryExplanation>,
    /// Why the answer is not "signed".
    pub findings: Vec<Finding>,
}

/// Whether a name is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// By enough keys, and by enough repositories.
    Signed,
    /// All who may sign it were asked, and it is not signed, or not by enough.
    NotSigned,
    /// A check of the metadata failed.
    NotTrusted,
    /// It could not be found out.
    Undecided,
}

/// A rule of the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rule {
    /// Its place in the map, from 0.
    pub mapping: usize,
    /// The patterns of the paths that it decides on.
    pub paths: Vec<String>,
    /// How many repositories must agree.
    pub threshold: usize,
    /// Which.
    pub repositories: Vec<String>,
    /// Those that do agree.
    pub agree: Vec<String>,
    /// Whether the search ends here in any case.
    pub terminating: bool,
}

impl Explainer {
    /// Explains this name, with the default target paths. What expires within seven days is warned of.
    #[must_use]
    pub fn new(name: ImageName) -> Self {
        Self { name, target_paths: TargetPaths::default(), soon: TimeDelta::days(7) }
    }

    /// Where the signed files of an image are; see [`Verifier::with_target_paths`](crate::verify::Verifier::with_target_paths).
    #[must_use]
    pub fn with_target_paths(self, target_paths: TargetPaths) -> Self {
        Self { target_paths, ..self }
    }

    /// Warns of what expires within this time.
    #[must_use]
    pub fn with_soon(self, soon: TimeDelta) -> Self {
        Self { soon, ..self }
    }

    /// By one repository.
    pub fn by_client<S: Source>(&self, client: &Client<S>) -> Explanation {
        let Some(target) = self.target() else { return self.without_path() };
        let mut explanation = self.explanation(Some(&target));
        let looked = client.refresh().and_then(|mut session| {
            let found = session.find(&target)?;
            let is_signed = found.is_ok();
            Ok((RepositoryExplanation::of(session.trusted(), &target, self.soon), is_signed))
        });
        match looked {
            Ok((repository, is_signed)) => {
                explanation.answer = if is_signed { Answer::Signed } else { Answer::NotSigned };
                if let Some(why) = repository.why.as_ref().filter(|_| !is_signed) {
                    let text = format!("{}: not signed: {why}", self.name);
                    explanation.findings.push(Finding::new("image-not-signed", text).about(&target));
                }
                explanation.repositories.push(repository);
            }
            Err(error) => {
                let (answer, finding) = failed(&error);
                explanation.answer = answer;
                explanation.repositories.push(RepositoryExplanation::failed(&error));
                explanation.findings.push(finding);
            }
        }
        explanation
    }

    /// By several that must agree.
    pub fn by_map<S: Source>(&self, repositories: &Repositories<S>) -> Explanation {
        let Some(target) = self.target() else { return self.without_path() };
        let mut explanation = self.explanation(Some(&target));
        let mut session = repositories.session();
        let lookup = session.lookup(&target);
        for answer in &lookup.answers {
            let name = answer.repository.as_str();
            let agrees = matches!(answer.says, Says::Agrees(_));
            let at = explanation.rules.iter().position(|rule| rule.mapping == answer.mapping);
            let at = at.or_else(|| {
                let mapping = repositories.map().mappings().get(answer.mapping)?;
                explanation.rules.push(Rule {
                    mapping: answer.mapping,
                    paths: mapping.paths().to_vec(),
                    threshold: mapping.threshold(),
                    repositories: mapping.repositories().iter().map(ToString::to_string).collect(),
                    agree: Vec::new(),
                    terminating: mapping.terminating(),
                });
                explanation.rules.len().checked_sub(1)
            });
            if let Some(rule) = at.and_then(|at| explanation.rules.get_mut(at)).filter(|_| agrees) {
                rule.agree.push(name.to_owned());
            }
            if explanation.repositories.iter().any(|known| known.name.as_deref() == Some(name)) {
                continue;
            }
            let mut repository = match (&answer.says, session.trusted(&answer.repository)) {
                (Says::Failed(error), _) => RepositoryExplanation::failed(error),
                (_, Some(trusted)) => RepositoryExplanation::of(trusted, &target, self.soon),
                // Whatever says something was refreshed.
                (_, None) => continue,
            };
            if let Some(finding) = Finding::why_not(answer).filter(|_| !matches!(answer.says, Says::NotSigned(_))) {
                repository.why = Some(finding.message().to_owned());
            }
            repository.name = Some(name.to_owned());
            explanation.repositories.push(repository);
        }
        if let Err(error) = &lookup.result {
            explanation.findings.push(Finding::of_lookup(&self.name, &target, error));
            explanation.findings.extend(lookup.answers.iter().filter_map(|answer| Finding::of_answer(answer, error)));
        }
        explanation.answer = match &lookup.result {
            Ok(_) => Answer::Signed,
            Err(LookupError::NotTrusted(_)) => Answer::NotSigned,
            Err(LookupError::Undecided(_)) => Answer::Undecided,
        };
        explanation
    }

    fn target(&self) -> Option<String> {
        self.target_paths.path(&self.name, MANIFEST_FILE).ok()
    }

    fn explanation(&self, target: Option<&str>) -> Explanation {
        Explanation {
            schema: SCHEMA,
            answer: Answer::Undecided,
            image: self.name.to_string(),
            target: target.map(str::to_owned),
            rules: Vec::new(),
            repositories: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// No name is known that has no path; if there were one, nobody could sign it.
    fn without_path(&self) -> Explanation {
        let finding = Finding::new("image-not-signed", format!("{}: not signed: it has no target path", self.name));
        Explanation { answer: Answer::NotSigned, findings: vec![finding], ..self.explanation(None) }
    }
}

const SCHEMA: &str = "plimsoll/explanation/v1";

fn failed(error: &ClientError) -> (Answer, Finding) {
    match error {
        ClientError::NotTrusted(error) => (Answer::NotTrusted, Finding::from(error)),
        ClientError::Undecided(error) => (Answer::Undecided, Finding::from(error)),
    }
}

impl Explanation {
    /// An explanation for a program that could not even start to look: wrong usage, a file that cannot be opened.
    ///
    /// `code` is a stable kebab-case code, `message` is for people.
    #[must_use]
    pub fn not_started(code: &'static str, message: &str, image: &str) -> Self {
        Self {
            schema: SCHEMA,
            answer: Answer::Undecided,
            image: image.to_owned(),
            target: None,
            rules: Vec::new(),
            repositories: Vec::new(),
            findings: vec![Finding::new(code, message)],
        }
    }

    /// The exit code of the command: 0 signed, 1 not signed or not trusted, 2 undecided.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.answer {
            Answer::Signed => 0,
            Answer::NotSigned | Answer::NotTrusted => 1,
            Answer::Undecided => 2,
        }
    }

    /// One JSON object of the schema `plimsoll/explanation/v1`, indented, with a newline at the end. Safe to print.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and integers with fixed keys: there is nothing in it that cannot be written.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_else(|_| UNWRITABLE.to_owned());
        text.push('\n');
        without_control(&text)
    }
}

/// Never "signed".
const UNWRITABLE: &str = r#"{"schema": "plimsoll/explanation/v1", "answer": "undecided", "repositories": []}"#;
