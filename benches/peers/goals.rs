//! What plimsoll is to reach, and whether it does.

use crate::race::Outcome;
use crate::table::{memory, ratio};

pub(crate) enum Goal {
    /// At most this part of the time of a program whose name begins so.
    Wall { peer: &'static str, most: f64 },
    /// At most so many bytes of memory.
    Peak { most: u64, why: String },
    /// So many requests, and the same as a program whose name begins so. It does not depend on the machine: if it is not met, the bench fails.
    Requests { peer: &'static str, number: usize },
}

pub(crate) struct Judged {
    pub(crate) text: String,
    pub(crate) is_met: bool,
}

impl Goal {
    /// Whether a machine, or a small size, has a part in it.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self, Self::Requests { .. })
    }

    /// `None` if the peer was not there.
    pub(crate) fn judge(&self, outcomes: &[Outcome]) -> Option<Judged> {
        let plimsoll = &outcomes[0];
        let find = |peer: &str| outcomes[1..].iter().find(|it| it.name.starts_with(peer));
        Some(match self {
            Self::Wall { peer, most } => {
                let is = plimsoll.wall.as_secs_f64() / find(peer)?.wall.as_secs_f64();
                Judged { text: format!("wall/{peer}: goal {}, is {}", ratio(*most), ratio(is)), is_met: is <= *most }
            }
            Self::Peak { most, why } => {
                let is = plimsoll.peak;
                let text = format!("peak memory: goal {}{why}, is {}", memory(*most), memory(is));
                Judged { text, is_met: is <= *most }
            }
            Self::Requests { peer, number } => {
                let sorted = |it: &Outcome| {
                    let mut requests = it.traffic.requests.clone();
                    requests.sort();
                    requests
                };
                let (is, its) = (sorted(plimsoll), sorted(find(peer)?));
                let text = format!("requests: goal {number} and those of {peer}, is {} and {}", is.len(), its.len());
                Judged { text, is_met: is.len() == *number && is == its }
            }
        })
    }
}
