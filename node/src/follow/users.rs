//! A change of the users of a keyspace: one Txn on the key that holds them all.

use super::session::{Ended, Session, put, version_is};
use super::{UsersAsk, UsersHeard};
use cairn_acl::Stored;
use cairn_global::Changed;
use cairn_settings::directory_keys as keys;
use cairn_wire::etcd::etcdserverpb as etcd;
use keys::KeyspaceUsers;

/// Tries of a change that others make impossible meanwhile.
const TRIES: usize = 20;

const UNKNOWN: &str = "ERR the global plane was lost meanwhile: look at ACL LIST, the change may or \
    may not be made";
const NO_KEYSPACE: &str = "ERR this keyspace is not there any more";
const UNREADABLE: &str = "ERR the users in the directory cannot be read by this version";
const BUSY: &str = "ERR others change users all the time: try again";

/// What a try came to.
enum Tried {
    Done(UsersHeard),
    Again,
}

impl Session<'_> {
    /// Makes a change, and says what became of it also when the session ends meanwhile.
    pub(super) async fn change_users(&mut self, ask: UsersAsk) -> (UsersHeard, Result<(), Ended>) {
        let token = ask.token;
        let failed = |text: &str| UsersHeard { token, outcome: Err(text.to_owned()), now: None };
        for _ in 0..TRIES {
            match self.try_users(&ask).await {
                Ok(Tried::Done(heard)) => return (heard, Ok(())),
                Ok(Tried::Again) => {}
                Err(ended) => return (failed(UNKNOWN), Err(ended)),
            }
        }
        (failed(BUSY), Ok(()))
    }

    async fn try_users(&mut self, ask: &UsersAsk) -> Result<Tried, Ended> {
        let UsersAsk { token, keyspace, fixed, change } = ask;
        let token = *token;
        let heard = |outcome, now| Ok(Tried::Done(UsersHeard { token, outcome, now }));
        let (key, home) = (keys::users_key(keyspace), keys::keyspace_key(keyspace));
        let (_, home_version) = self.read_key(&home).await?;
        if home_version == 0 {
            return heard(Err(NO_KEYSPACE.to_owned()), None);
        }
        let (value, version) = self.read_key(&key).await?;
        let before = match value.as_deref().map(KeyspaceUsers::decode).transpose() {
            Ok(users) => Stored::from_texts(users.unwrap_or_default().users),
            Err(error) => {
                tracing::error!(%error, key, "unreadable users");
                return heard(Err(UNREADABLE.to_owned()), None);
            }
        };
        let (after, deleted) = match before.change(fixed, change) {
            Ok(changed) => changed,
            Err(refused) => return heard(Err(refused.text()), None),
        };
        let value = KeyspaceUsers { users: after.into_texts() }.encode();
        let txn = etcd::TxnRequest {
            // A keyspace that goes takes its users along.
            compare: vec![version_is(&home, home_version), version_is(&key, version)],
            success: vec![put(&key, value.clone(), 0)],
            failure: Vec::new(),
        };
        if !self.kv.txn(txn).await?.get_ref().succeeded {
            return Ok(Tried::Again);
        }
        let version = u64::try_from(version).unwrap_or(0) + 1;
        heard(Ok(deleted), Some(Changed { key: key.into_bytes(), value: Some((value, version)) }))
    }
}
