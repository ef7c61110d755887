//! Who comes in, and what each client may do: the users in force, and the clients they are.

use crate::data::channels::Scope;
use crate::data::conn::{Conn, Pause};
use crate::data::core::Core;
use crate::data::denials::{Context, Refusal};
use crate::data::server::Server;
use crate::data::session::Session;
use cairn_acl::{Denied, Reason, Stored, User, Users, full_name};
use cairn_keyspace::command::{Command, Flags};
use cairn_resp::Args;
use std::sync::Arc;

/// What a client that says nothing is let in as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Whether it needs no password.
    pub authenticated: bool,
    /// Whether nothing that it asks for has to be checked.
    pub free: bool,
}

/// The users in force, from the resource and from clients.
#[derive(Debug, Default)]
pub struct Doors {
    /// All of them.
    pub users: Users,
    /// Those that clients have made or changed.
    pub stored: Stored,
}

impl Core {
    /// As whom clients come in.
    #[must_use]
    pub fn entry(&self) -> Entry {
        let user = self.doors.users.default_user();
        Entry { authenticated: user.is_open(), free: user.is_open() && user.is_free() }
    }

    /// The user that a client is.
    #[must_use]
    pub fn user_of<'a>(&'a self, session: &'a Session) -> &'a Arc<User> {
        session.user.as_ref().unwrap_or_else(|| self.doors.users.default_user())
    }

    /// Whether a client has to say who it is before anything else.
    #[must_use]
    pub fn is_shut_out(&self, session: &Session) -> bool {
        !session.authenticated && !self.doors.users.default_user().is_open()
    }

    /// Whether nothing that a client asks for has to be checked.
    fn is_free(&self, session: &Session) -> bool {
        !self.is_shut_out(session) && self.user_of(session).is_free()
    }

    /// Makes the users anew from what is known of them.
    pub(super) fn renew_users(&mut self) {
        self.doors.users = Users::new(&self.config.fixed(), &self.doors.stored);
    }
}

/// What a client is told whose request is refused.
fn refusal(denied: &Denied, command: &Command, args: Args<'_>) -> String {
    match denied.reason {
        Reason::Command => format!(
            "NOPERM this user has no permissions to run the '{}' command",
            full_name(command, args)
        ),
        Reason::Key => "NOPERM this user has no permissions to access one of the keys used as \
                        arguments"
            .to_owned(),
        Reason::Channel => "NOPERM this user has no permissions to access one of the channels \
                            used as arguments"
            .to_owned(),
    }
}

impl Server {
    /// A client has come in as `user`, by its password.
    pub(super) fn come_in(&mut self, index: usize, user: &Arc<User>) {
        let is_default = user.name() == cairn_acl::DEFAULT;
        let session = self.session(index);
        (session.authenticated, session.user) = (true, (!is_default).then(|| Arc::clone(user)));
        self.look_whether_free(index);
    }

    /// Notes whether requests of a client have to be checked.
    pub(super) fn look_whether_free(&mut self, index: usize) {
        let Some(conn) = self.net.conn(index) else { return };
        conn.session.free = self.core.is_free(&conn.session);
    }

    /// Whether a client's user may have this executed.
    ///
    /// # Errors
    /// The text of the error reply; it is noted for ACL LOG.
    pub(super) fn allow(
        &mut self,
        index: usize,
        command: &Command,
        args: Args<'_>,
        context: Context,
    ) -> Result<(), String> {
        let denied = match self.denied(index, command, args) {
            None => return Ok(()),
            Some(denied) => denied,
        };
        let text = refusal(&denied, command, args);
        self.note_denied(index, context, denied);
        Err(text)
    }

    /// What a client's user is refused for, if it is.
    pub(super) fn denied(
        &mut self,
        index: usize,
        command: &Command,
        args: Args<'_>,
    ) -> Option<Denied> {
        let conn = self.net.get(index)?;
        if conn.session.free {
            return None;
        }
        self.core.user_of(&conn.session).check(command, args).err()
    }

    /// Keeps a refusal for ACL LOG.
    pub(super) fn note_denied(&mut self, index: usize, context: Context, denied: Denied) {
        let Some(conn) = self.net.get(index) else { return };
        let user = self.core.user_of(&conn.session).name().to_vec();
        let refusal =
            Refusal { reason: denied.reason.into(), context, object: denied.object, user };
        self.note_refusal(index, refusal);
    }

    /// The resource or clients have changed users: who is gone is closed, and what the others may
    /// do holds from now on.
    pub(super) fn users_changed(&mut self) {
        self.core.renew_users();
        for index in self.net.indexes() {
            let Some(conn) = self.net.conn(index) else { continue };
            let known = conn.session.user.as_ref().map(|user| user.name().to_vec());
            if let Some(name) = known {
                match self.core.doors.users.get(&name) {
                    Some(user) => conn.session.user = Some(Arc::clone(user)),
                    None => {
                        self.expel(index);
                        continue;
                    }
                }
            }
            self.look_whether_free(index);
            if self.conn(index).session.free {
                continue;
            }
            if self.hears_too_much(index) {
                self.expel(index);
                continue;
            }
            self.stop_waiting_if_denied(index);
        }
    }

    /// Closes a client; the one that has asked for the change hears what became of it before.
    fn expel(&mut self, index: usize) {
        let Some(conn) = self.net.conn(index) else { return };
        if matches!(conn.pause, Pause::Users { .. }) {
            conn.session.expelled = true;
        } else {
            tracing::info!(client = %conn.peer, "closing a client: its user is gone, or may not \
                hear what it listens to");
            self.net.close(index);
        }
    }

    /// Whether a client listens to something that its user may not hear.
    fn hears_too_much(&self, index: usize) -> bool {
        let Some(Conn { session, .. }) = self.net.get(index) else { return false };
        let Some(listens) = &session.listens else { return false };
        let user = self.core.user_of(session);
        [Scope::Channel, Scope::Pattern, Scope::Shard].into_iter().any(|scope| {
            let is_pattern = scope == Scope::Pattern;
            listens.of(scope).iter().any(|name| !user.may_hear(name, is_pattern))
        })
    }

    /// A command that waits is refused once it would be.
    fn stop_waiting_if_denied(&mut self, index: usize) {
        let Some(conn) = self.net.get(index) else { return };
        let (id, Some(waiting)) = (conn.id, &conn.waiting) else { return };
        let (command, args) = (waiting.command, waiting.args.as_args());
        let Err(denied) = self.core.user_of(&conn.session).check(command, args) else { return };
        let text = refusal(&denied, command, args);
        self.note_denied(index, Context::Toplevel, denied);
        self.refuse_wait((index, id), text);
    }

    /// Whether a client that has to say who it is may ask for this first.
    pub(super) fn must_come_in(&mut self, index: usize, command: &Command) -> bool {
        let Some(conn) = self.net.get(index) else { return false };
        !command.flags.has(Flags::NO_AUTH) && self.core.is_shut_out(&conn.session)
    }
}
