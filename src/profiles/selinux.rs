//! SELinux modules in CIL, as udica writes them for a container: one block that inherits from the container templates, and what its processes may do besides.
//!
//! ```text
//! (block app
//!   (blockinherit container)
//!   (blockinherit restricted_net_container)
//!   (allow process http_port_t (tcp_socket (name_bind))))
//! ```
//!
//! A module is loaded into the policy of the whole host, so nothing else is accepted: no other statement, no source but the block's own processes, no target that belongs to
//! the host but the ports.

use super::PROFILE_MAX;
use super::capability::Capabilities;
use super::error::{Code, Refusal};
use crate::text::quoted;

const DEPTH_MAX: usize = 8;
const NODES_MAX: usize = 65_536;

/// Blocks of udica's templates that give no more than a container has anyway.
const TEMPLATES: [&str; 4] = ["container", "base_container", "net_container", "restricted_net_container"];
/// Blocks that hosts have.
const TAKEN: [&str; 11] = [
    "config_container",
    "home_container",
    "log_container",
    "tmp_container",
    "tty_container",
    "virt_container",
    "x_container",
    "system",
    "unconfined",
    "secure",
    "sys",
];
/// Of what a process may do to itself, that which leads to another type or loads code; and CIL's word for all of it.
const LEADS_OUT: [&str; 5] = ["transition", "dyntransition", "setcurrent", "ptrace", "all"];

/// A module that was read, and found to be about its own processes alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelinuxModule {
    block: String,
    /// The capabilities that it allows, which are to be among those that the container keeps.
    capabilities: Capabilities,
}

#[derive(Debug)]
enum Node<'t> {
    Word(&'t str),
    List(Vec<Node<'t>>),
}

impl SelinuxModule {
    /// Reads a module.
    ///
    /// # Errors
    ///
    /// [`Code::Malformed`], [`Code::NameTaken`], [`Code::Loosens`]; [`Code::WidensHost`] for what is about more than the container's own processes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > PROFILE_MAX {
            return Err(Refusal::malformed("", format!("longer than {PROFILE_MAX} bytes")));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::malformed("", "not UTF-8"))?;
        let nodes = Parser { text, nodes: 0 }.all()?;
        let [Node::List(block)] = nodes.as_slice() else {
            let found = format!("{} of them", nodes.len());
            return Err(Refusal::new(Code::WidensHost, "", "not one block and nothing else")
                .expected("(block NAME ...)")
                .found(found));
        };
        let [Node::Word("block"), Node::Word(name), statements @ ..] = block.as_slice() else {
            return Err(Refusal::new(Code::WidensHost, "", "a statement outside a block").expected("(block NAME ...)"));
        };
        let is_plain = name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !is_plain {
            return Err(Refusal::malformed("", "not a name for a block")
                .expected("lower-case letters, digits and _")
                .found(quoted(name)));
        }
        if TEMPLATES.contains(name) || TAKEN.contains(name) {
            return Err(Refusal::new(Code::NameTaken, "", "hosts have a block of this name").found(quoted(name)));
        }
        let mut module = Self { block: (*name).to_owned(), capabilities: Capabilities::NONE };
        let mut inherits = false;
        for statement in statements {
            inherits |= module.statement(statement)?;
        }
        if inherits {
            Ok(module)
        } else {
            Err(Refusal::malformed("", "it inherits from no template").expected("(blockinherit container)"))
        }
    }

    /// The type of the container's processes.
    ///
    /// # Errors
    ///
    /// [`Code::Loosens`] if it allows a capability that the container does not keep.
    pub fn within(&self, kept: Capabilities) -> Result<String, Refusal> {
        if !self.capabilities.is_within(kept) {
            let beyond = self.capabilities.without(kept);
            return Err(Refusal::new(Code::Loosens, "", "capabilities that the container does not keep")
                .expected(format!("at most {kept}"))
                .found(beyond));
        }
        Ok(format!("{}.process", self.block))
    }

    /// Whether it is what makes the block a container's.
    fn statement(&mut self, statement: &Node<'_>) -> Result<bool, Refusal> {
        let Node::List(words) = statement else {
            return Err(Refusal::malformed("", "a word where a statement should be"));
        };
        match words.as_slice() {
            [Node::Word("blockinherit"), Node::Word(template)] => match TEMPLATES.contains(template) {
                true => Ok(*template == "container" || *template == "base_container"),
                false => {
                    Err(Refusal::new(Code::Loosens, "blockinherit", "this template gives more than containers have")
                        .expected(TEMPLATES.join(", "))
                        .found(quoted(template)))
                }
            },
            [Node::Word("allow"), Node::Word("process"), Node::Word(target), Node::List(what)] => {
                self.allow(target, what).map(|()| false)
            }
            [Node::Word("allow"), Node::Word(source), ..] => {
                Err(Refusal::new(Code::WidensHost, "allow", "it is about others than the container's processes")
                    .expected("process")
                    .found(quoted(source)))
            }
            [Node::Word(word), ..] => {
                Err(Refusal::new(Code::WidensHost, "", "a statement that a container's module has no use for")
                    .expected("blockinherit or allow")
                    .found(quoted(word)))
            }
            _ => Err(Refusal::malformed("", "a statement without a word at its head")),
        }
    }

    fn allow(&mut self, target: &str, what: &[Node<'_>]) -> Result<(), Refusal> {
        let [Node::Word(class), Node::List(permissions)] = what else {
            return Err(
                Refusal::malformed("allow", "not a class with its permissions").expected("(CLASS (PERMISSION ...))")
            );
        };
        let mut words = Vec::new();
        for permission in permissions {
            match permission {
                Node::Word(word) if word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') => {
                    words.push(*word)
                }
                _ => return Err(Refusal::malformed("allow", "an expression of permissions").expected("their names")),
            }
        }
        let is_own = matches!(target, "process" | "self");
        match *class {
            "capability" | "capability2" | "cap_userns" | "cap2_userns" if is_own => {
                for word in words {
                    let more = Capabilities::named([word.to_uppercase().as_str()])
                        .map_err(|refusal| refusal.in_file("allow"))?;
                    self.capabilities = self.capabilities.and(more);
                }
                Ok(())
            }
            _ if is_own => match words.iter().find(|word| LEADS_OUT.contains(word)) {
                Some(word) => Err(Refusal::new(Code::Loosens, "allow", "it leads to another type").found(quoted(word))),
                None => Ok(()),
            },
            "tcp_socket" | "udp_socket" | "sctp_socket" if target.ends_with("_port_t") => {
                match words
                    .iter()
                    .find(|word| !matches!(**word, "name_bind" | "name_connect" | "recv_msg" | "send_msg"))
                {
                    Some(word) => Err(Refusal::new(Code::WidensHost, "allow", "not for ports").found(quoted(word))),
                    None => Ok(()),
                }
            }
            _ => Err(Refusal::new(Code::WidensHost, "allow", "it is about what belongs to the host")
                .expected("process, self, or a port")
                .found(quoted(target))),
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    nodes: usize,
}

impl<'t> Parser<'t> {
    fn all(mut self) -> Result<Vec<Node<'t>>, Refusal> {
        let mut open: Vec<Vec<Node<'t>>> = vec![Vec::new()];
        while let Some(token) = self.token()? {
            self.nodes = self.nodes.saturating_add(1);
            if self.nodes > NODES_MAX {
                return Err(Refusal::malformed("", format!("more than {NODES_MAX} words")));
            }
            let node = match token {
                "(" if open.len() > DEPTH_MAX => {
                    return Err(Refusal::malformed("", format!("nested deeper than {DEPTH_MAX} levels")));
                }
                "(" => {
                    open.push(Vec::new());
                    continue;
                }
                ")" => Node::List(open.pop().unwrap_or_default()),
                word => Node::Word(word),
            };
            let list = open.last_mut().ok_or_else(|| Refusal::malformed("", "a parenthesis without its beginning"))?;
            list.push(node);
        }
        match (open.pop(), open.is_empty()) {
            (Some(nodes), true) => Ok(nodes),
            _ => Err(Refusal::malformed("", "a parenthesis without its end")),
        }
    }

    fn token(&mut self) -> Result<Option<&'t str>, Refusal> {
        self.text = self.text.trim_start();
        while self.text.starts_with(';') {
            self.text = self.text.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
        }
        let is_end = |c: char| c.is_whitespace() || "();\"".contains(c);
        let Some(first) = self.text.chars().next() else { return Ok(None) };
        let length = match first {
            '(' | ')' => 1,
            '"' => return Err(Refusal::malformed("", "a string, which a container's module has no use for")),
            _ => self.text.find(is_end).unwrap_or(self.text.len()),
        };
        let (token, rest) = self.text.split_at_checked(length).unwrap_or((self.text, ""));
        if let Some(c) = token.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(Refusal::malformed("", "a character beyond ASCII").found(quoted(&c.to_string())));
        }
        self.text = rest;
        Ok(Some(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
; For the sample.
(block app
    (blockinherit container)
    (blockinherit restricted_net_container)
    (allow process process (capability (chown net_bind_service)))
    (allow process self (fifo_file (read write)))
    (allow process http_port_t (tcp_socket (name_bind))))
";

    #[test]
    fn a_container_module_is_read_and_each_change_refused_has_its_reason() {
        let code = |text: &str| {
            let module = SelinuxModule::parse(text.as_bytes());
            module.and_then(|module| module.within(Capabilities::docker())).err().map(|refusal| refusal.code)
        };
        assert_eq!(
            SelinuxModule::parse(SAMPLE.as_bytes()).unwrap().within(Capabilities::docker()).unwrap(),
            "app.process"
        );
        let (malformed, widens, loosens) = (Some(Code::Malformed), Some(Code::WidensHost), Some(Code::Loosens));
        for (old, new, expected) in [
            ("block app", "block other_app", None),
            ("block app", "block App", malformed),
            ("block app", "block app.process", malformed),
            ("block app", "block container", Some(Code::NameTaken)),
            ("block app", "block unconfined", Some(Code::NameTaken)),
            ("(block app", "(optional app", widens),
            ("(blockinherit container)", "(blockinherit base_container)", None),
            ("(blockinherit container)", "", malformed),
            ("(blockinherit container)", "(blockinherit virt_container)", loosens),
            ("restricted_net_container", "net_container", None),
            ("restricted_net_container", "home_container", loosens),
            ("restricted_net_container", "x_container", loosens),
            ("(chown net_bind_service)", "(sys_admin)", loosens),
            ("(chown net_bind_service)", "(all)", Some(Code::Unknown)),
            ("(capability (", "(capability2 (bpf ", loosens),
            ("(read write)", "(not (read))", malformed),
            ("self (fifo_file (read write))", "self (process (transition))", loosens),
            ("self (fifo_file (read write))", "self (process (all))", loosens),
            ("self (fifo_file (read write))", "self (process (fork signal))", None),
            ("self (fifo_file (read write))", "unconfined_t (process (transition))", widens),
            ("self (fifo_file (read write))", "shadow_t (file (read))", widens),
            ("(allow process self", "(allow init_t self", widens),
            ("(allow process self", "(allow .init_t self", widens),
            ("http_port_t (tcp_socket (name_bind))", "http_port_t (tcp_socket (relabelto))", widens),
            ("http_port_t (tcp_socket (name_bind))", "shadow_port_t (file (read))", widens),
            ("(allow process self", "(dontaudit process self", widens),
            ("(blockinherit container)", "(blockinherit container) (typepermissive process)", widens),
            (
                "(blockinherit container)",
                "(blockinherit container) (typeattributeset unconfined_domain (process))",
                widens,
            ),
            ("(blockinherit container)", "(blockinherit container) (boolean b true)", widens),
            ("(blockinherit container)", "(blockinherit container) ((allow))", malformed),
            ("; For the sample.\n", "(handleunknown allow)", widens),
            ("; For the sample.\n", "(policycap x)", widens),
            ("; For the sample.\n", "(in container (allow process self (file (read))))", widens),
            ("(name_bind))))", "(name_bind)))", malformed),
            ("(name_bind))))", "(name_bind)))))", malformed),
            ("(name_bind))))", "(name_bind)))(block b (allow process self (file (read))))", malformed),
            ("; For the sample.", "\"x\"", malformed),
        ] {
            let text = SAMPLE.replacen(old, new, 1);
            assert_ne!(text, SAMPLE, "{old}");
            assert_eq!(code(&text), expected, "{text}");
        }
        assert_eq!(code(&"(".repeat(100_000)), malformed);
        assert_eq!(code(""), widens);
    }
}
