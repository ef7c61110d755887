//! The only place that writes to the Kubernetes API: bounded, counted, and only while leading.

use crate::leader::{Leadership, WRITE_MAX};
use crate::metrics::{Metrics, Verb};
use crate::names;
use crate::object::{Kind, Object, is_owned_by};
use crate::store::Store;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::timeout;

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another replica leads, or may lead by now.
    #[error("this replica may not write any more")]
    NotLeading,
    /// The API did not answer in time; it may have been written.
    #[error("no answer from the API to {what} in time")]
    Late {
        /// What was asked.
        what: String,
    },
    /// The API refused.
    #[error("the API refused {what}")]
    Refused {
        /// What was asked.
        what: String,
        /// What it said.
        source: Box<kube::Error>,
    },
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// It is not there.
    Nobodys,
    /// It belongs to the cluster.
    Ours,
    /// It was made for a resource that is gone.
    Former,
    /// Somebody else made it.
    Foreign,
}

/// Writes while leading.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    store: Arc<Store>,
}

impl Writer {
    /// Writes by `client` while `leadership` lasts, and notes what came back in `store`.
    #[must_use]
    pub fn new(
        client: Client,
        leadership: Leadership,
        metrics: Arc<Metrics>,
        store: Arc<Store>,
    ) -> Self {
        Self { client, leadership, metrics, store }
    }

    /// The client, for reading.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Objects of a kind in a namespace.
    #[must_use]
    pub fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.api())
    }

    async fn write<T>(
        &self,
        what: String,
        verb: Verb,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        if !self.leadership.may_write() {
            return Err(Error::NotLeading);
        }
        self.metrics.wrote(verb);
        match timeout(WRITE_MAX, call).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(source)) => Err(Error::Refused { what, source: Box::new(source) }),
            Err(_) => Err(Error::Late { what }),
        }
    }

    /// Whose the object of that name is, `owners` being the uids of ours.
    ///
    /// # Errors
    /// The API did not answer.
    pub async fn whose(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
        owners: &[String],
    ) -> Result<Whose, Error> {
        let what = format!("to look at {} {name}", kind.as_str());
        let api = self.api(kind, namespace);
        let found = match timeout(WRITE_MAX, api.get_metadata_opt(name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(source)) => return Err(Error::Refused { what, source: Box::new(source) }),
            Err(_) => return Err(Error::Late { what }),
        };
        let Some(found) = found else { return Ok(Whose::Nobodys) };
        let mut object = DynamicObject::new(name, &kind.api());
        object.metadata = found.metadata;
        if is_owned_by(&object, owners) {
            return Ok(Whose::Ours);
        }
        let made = object.labels().get(names::MANAGED_BY).is_some_and(|by| by == names::MANAGER);
        Ok(if made { Whose::Former } else { Whose::Foreign })
    }

    /// Server-side apply of all that `object` says.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn apply(&self, namespace: &str, object: &Object) -> Result<(), Error> {
        let what = format!("{} {}", object.kind.as_str(), object.name);
        tracing::info!(namespace, object = %what, "applying");
        let api = self.api(object.kind, namespace);
        let params = PatchParams::apply(names::MANAGER).force();
        let patch = Patch::Apply(&object.value);
        let call = api.patch(&object.name, &params, &patch);
        let written = self.write(what, Verb::Apply, call).await?;
        self.store.put(object.kind, written);
        Ok(())
    }

    /// Makes an object that must not be there yet; whether it was made.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create(&self, namespace: &str, object: &Object) -> Result<bool, Error> {
        let what = format!("{} {}", object.kind.as_str(), object.name);
        let api = self.api(object.kind, namespace);
        let body: DynamicObject =
            serde_json::from_value(object.value.clone()).expect("what is built is an object");
        let params = PostParams { field_manager: Some(names::MANAGER.to_owned()), dry_run: false };
        match self.write(what, Verb::Apply, api.create(&params, &body)).await {
            Ok(made) => {
                self.store.put(object.kind, made);
                Ok(true)
            }
            Err(Error::Refused { source, .. }) if is_conflict(&source) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Merges `patch` into an object.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn merge(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
        patch: &Value,
    ) -> Result<(), Error> {
        let what = format!("{} {name}", kind.as_str());
        let params =
            PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..Default::default() };
        let api = self.api(kind, namespace);
        let patch = Patch::Merge(patch);
        let call = api.patch(name, &params, &patch);
        let written = self.write(what, Verb::Apply, call).await?;
        self.store.put(kind, written);
        Ok(())
    }

    /// Says by its subresource `scale` how many an object is to have.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn scale(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
        replicas: i32,
    ) -> Result<(), Error> {
        let what = format!("scale of {} {name}", kind.as_str());
        let params =
            PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..Default::default() };
        let api = self.api(kind, namespace);
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        self.write(what, Verb::Apply, api.patch_scale(name, &params, &patch)).await?;
        Ok(())
    }

    /// Replaces the status that this operator owns.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn status(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
        status: &Value,
    ) -> Result<(), Error> {
        let api_resource = kind.api();
        let body = json!({
            "apiVersion": api_resource.api_version, "kind": api_resource.kind,
            "metadata": { "name": name }, "status": status,
        });
        let params = PatchParams::apply(names::MANAGER).force();
        let api = self.api(kind, namespace);
        let patch = Patch::Apply(&body);
        let call = api.patch_status(name, &params, &patch);
        let what = format!("the status of {} {name}", kind.as_str());
        let written = self.write(what, Verb::Status, call).await?;
        self.store.put(kind, written);
        Ok(())
    }

    /// Deletes exactly the object with that uid; `keep_pods` leaves what belongs to it.
    ///
    /// # Errors
    /// See [`Error`]; one that is gone already is none.
    pub async fn delete(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
        uid: &str,
        keep_pods: bool,
    ) -> Result<(), Error> {
        let what = format!("to delete {} {name}", kind.as_str());
        tracing::info!(namespace, kind = kind.as_str(), name, keep_pods, "deleting");
        let params = match keep_pods {
            true => DeleteParams::orphan(),
            false => DeleteParams::background(),
        };
        let params = params
            .preconditions(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let api = self.api(kind, namespace);
        match self.write(what, Verb::Delete, api.delete(name, &params)).await {
            Ok(_) => Ok(()),
            Err(Error::Refused { source, .. }) if is_gone(&source) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}
