//! What follows when a part of this node's copy differs from its master's: it is said, the master
//! is asked to write that part anew, and what was replaced is kept aside. docs/anti-entropy.md.

mod aside;

use crate::clock;
use crate::data::link::{Compared, DataLink, Feeder, ToData};
use crate::peer::{Identity, client};
use aside::Aside;
use cairn_files::{Folder, RealDisk, Result};
use cairn_keyspace::{Pace, Part};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::time::{Duration, Instant};
use cairn_settings::NodeCondition;
use cairn_wire::peer::pb::{self, wish_request::Body};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;

/// Parts asked for in one go.
const ASKED_MAX: usize = 16;
/// How long the master may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// For so long after the last difference the condition is shown at least: others look now and then.
const SHOWN: Duration = Duration::from_secs(30);
/// Parts named in the condition.
const NAMED_MAX: usize = 3;

/// The differences of one group's copy on this node.
pub struct Entropy {
    identity: Identity,
    group: GroupId,
    aside: Aside,
    /// Whether the data thread was told that nothing may be replaced.
    full: bool,
    /// All parts that are known to differ.
    differing: Vec<Part>,
    /// When the last difference was found.
    found: Option<Instant>,
    /// When this node may ask for a part.
    asking: Pace,
    /// When this node, as master, writes a part anew.
    granting: Pace,
    work: Option<JoinHandle<()>>,
}

impl Entropy {
    /// Those of `group`; what is replaced goes into a folder beside its snapshots.
    ///
    /// # Errors
    /// The folders cannot be made.
    pub fn open(
        folder: &Folder<RealDisk>,
        uid: u128,
        group: &GroupId,
        identity: &Identity,
        feeder: Feeder,
    ) -> Result<Self> {
        let aside = Aside::open(&folder.group(group).join("aside"), uid, group, feeder)?;
        Ok(Self {
            identity: identity.clone(),
            group: group.clone(),
            aside,
            full: false,
            differing: Vec::new(),
            found: None,
            asking: Pace::default(),
            granting: Pace::default(),
            work: None,
        })
    }

    /// The data thread has compared.
    pub fn compared(&mut self, compared: Compared) {
        let Compared { last, findings, differing } = compared;
        let group = &self.group;
        for (part, at) in &findings.differ {
            tracing::error!(%group, %part, %at, "this copy differs from the master's");
            self.found = Some(clock::now());
        }
        for (part, at) in &findings.left {
            tracing::error!(%group, %part, %at, "a part that differs is left: no room to keep it");
        }
        for of_entry in findings.replaced.chunk_by(|one, next| one.at == next.at) {
            let (at, slots) = (of_entry[0].at, of_entry.len());
            let own: u32 = of_entry.iter().map(|one| one.own.keys).sum();
            let masters: u32 = of_entry.iter().map(|one| one.masters.keys).sum();
            tracing::warn!(%group, %at, slots, own, masters, "took keys that the master has");
            self.found = Some(clock::now());
        }
        if differing.is_empty() && !self.differing.is_empty() {
            tracing::info!(%group, "this copy is the same as the master's again");
        }
        self.differing = differing;
        if !findings.replaced.is_empty() {
            self.aside.keep(last.epoch, findings.replaced);
        }
    }

    /// Asks the master, at `master`, for parts that differ; none: this node has none.
    pub fn tick(&mut self, data: &mut DataLink, master: Option<(NodeId, String)>) {
        let full = self.aside.is_full();
        if full != self.full {
            self.full = full;
            data.send(ToData::MayMend(!full));
        }
        let busy = self.work.as_ref().is_some_and(|work| !work.is_finished());
        let Some((id, address)) = master.filter(|_| !busy && !full) else { return };
        let now = clock::now();
        let asking = &mut self.asking;
        let due = self.differing.iter().filter(|part| asking.take(now, part).is_ok());
        let parts: Vec<Part> = due.take(ASKED_MAX).cloned().collect();
        if !parts.is_empty() {
            let (identity, group) = (self.identity.clone(), self.group.clone());
            self.work = Some(tokio::spawn(ask(identity, group, id, address, parts)));
        }
    }

    /// As master: whether a part is written anew for a member, and which.
    ///
    /// # Errors
    /// It was written a short while ago, or too much was; no part was named.
    pub fn grant(&mut self, wish: &pb::RepairPart) -> std::result::Result<Part, Status> {
        let part = Part::decode(&wish.part);
        let part = part.ok_or_else(|| Status::invalid_argument("these bytes name no part"))?;
        self.granting.take(clock::now(), &part).map_err(|wait| {
            let wait_s = wait.as_secs() + 1;
            Status::resource_exhausted(format!(
                "{part} was written anew a short while ago, or too much was: not before {wait_s} s"
            ))
        })?;
        Ok(part)
    }

    /// What a person should know of it; `masters`: this node's copy is what the others' should be.
    pub fn condition(&self, masters: bool) -> Option<pb::Condition> {
        let recent = self.found.is_some_and(|found| clock::now().since(found) < SHOWN);
        if self.differing.is_empty() && !recent {
            return None;
        }
        let group = self.group.as_str();
        let aside = format!("groups/{group}/aside of its folder (cairn inspect)");
        let count = self.differing.len();
        let named: Vec<_> = self.differing.iter().take(NAMED_MAX).map(Part::to_string).collect();
        let named = format!("{}{}", named.join("; "), if count > NAMED_MAX { "; …" } else { "" });
        let message = match (count, self.full) {
            (0, _) => format!(
                "parts of this node's copy differed from the master's; they are the same again, \
                 and what was here is kept in {aside}. If it comes again, its memory or disk is \
                 not to be trusted"
            ),
            (_, true) => format!(
                "{count} parts of this node's copy differ from the master's ({named}) and stay so: \
                 {aside} holds as much as it may. Look at what is there, and remove it"
            ),
            _ if masters => format!(
                "{count} parts of this node's copy differed from its master's ({named}) when it \
                 became master itself: now the others take what it has. What they had is kept in \
                 {aside} of theirs"
            ),
            _ => format!(
                "{count} parts of this node's copy differ from the master's ({named}); they are \
                 replaced by what the master has, and what was here is kept in {aside}"
            ),
        };
        let reason = NodeCondition::CopiesDiffer.as_str().to_owned();
        Some(pb::Condition { reason, group: group.to_owned(), message })
    }
}

/// Asks the master for parts, one after the other; they come in the log.
async fn ask(identity: Identity, group: GroupId, id: NodeId, address: String, parts: Vec<Part>) {
    let channel = match client::channel(&identity, &address).await {
        Ok(channel) => channel,
        Err(error) => {
            tracing::warn!(%group, master = %id, %error, "cannot ask for parts that differ");
            return;
        }
    };
    let mut master = client::client(&identity, id.as_str(), channel);
    for part in parts {
        let wish = pb::RepairPart { group: group.as_str().to_owned(), part: part.encode().into() };
        let request = pb::WishRequest { body: Some(Body::RepairPart(wish)) };
        match timeout(ANSWER_MAX, master.wish(request)).await {
            Ok(Ok(_)) => tracing::info!(%group, %part, master = %id, "asked for a part anew"),
            Ok(Err(status)) => {
                let why = status.message();
                tracing::info!(%group, %part, master = %id, why, "a part is not written anew");
            }
            Err(_) => tracing::info!(%group, %part, master = %id, "no answer about a part"),
        }
    }
}
